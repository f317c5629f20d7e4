//! All clients of a run.

use crate::run::load::LoadArguments;
use crate::run::target::Target;
use anyhow::bail;
use plausch_client::{
    Ages, Client, ClientError, Counts, Flow, Histogram, JoinOptions, Picture, Speech, Stats, Tally, Traffic,
};
use plausch_signalling::MediaState;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Until what publishers have sent has come, or never will.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// Control must have told everybody whom to see within this time.
const SLOTS_WITHIN: Duration = Duration::from_secs(10);
/// Who is shown where, has settled within this time.
const ARRANGED_WITHIN: Duration = Duration::from_secs(1);
/// RFC 6464, section 3.
const SILENCE: u8 = 127;
/// How fast those come who take the place of others.
const REPLACEMENTS_PER_SECOND: u32 = 200;

/// One participant and its place.
struct Member {
    client: Client,
    seat: Seat,
    /// Its id in the room, with which its media is stamped.
    participant: u64,
    slots: u16,
    /// Ids of those that it is shown, where these are not all.
    shown: Option<Vec<u64>>,
}

/// A place in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seat {
    room: u32,
    /// Which of the room's publishers this is; `None` for viewers.
    publisher: Option<u16>,
    /// What comes for this one is only counted.
    deaf: bool,
}

impl Member {
    async fn join(options: JoinOptions, seat: Seat) -> Result<Self, ClientError> {
        let slots = options.slots;
        let client = Client::join(options).await?;
        let participant = u64::from_str_radix(&client.participant(), 16).unwrap_or(0);
        Ok(Self { client, seat, participant, slots, shown: None })
    }
}

/// All participants of all rooms.
pub(crate) struct Crowd {
    template: JoinOptions,
    publishers: u16,
    tiles: Option<u16>,
    seed: u64,
    dtx: bool,
    media: MediaState,
    waiting: Vec<Seat>,
    members: Vec<Member>,
    /// Joins begun so far.
    joined: usize,
}

impl Crowd {
    pub(crate) fn new(arguments: &LoadArguments, decrypt_every: u32) -> Self {
        Self::at(&arguments.target(), arguments, decrypt_every)
    }

    /// At another server than the arguments name.
    pub(crate) fn at(target: &Target, arguments: &LoadArguments, decrypt_every: u32) -> Self {
        let (listeners, quiet_from) = (arguments.listeners(), arguments.listening_rooms());
        let room = |room: u32| {
            let quiet = room >= quiet_from;
            let publishers = (0..arguments.publishers).map(move |index| (Some(index), quiet));
            let viewers = (0..arguments.viewers).map(move |index| (None, quiet || index >= listeners));
            publishers.chain(viewers).map(move |(publisher, deaf)| Seat { room, publisher, deaf })
        };
        // The last ones join first: rooms one after another, and publishers before viewers, so that slots are theirs.
        let mut waiting: Vec<Seat> = (0..arguments.rooms).flat_map(room).collect();
        waiting.reverse();
        // Rooms of a run that was killed may not be empty yet.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self {
            template: JoinOptions {
                entry: target.entry,
                trust: target.trust.clone(),
                turn: arguments.turn_server(),
                media: MediaState::default(),
                picture: Picture::Load { kbps: arguments.video_kbps, fps: arguments.fps },
                decrypt_every,
                microphone: arguments.audio,
                camera_layers: if arguments.video_kbps > 0 { arguments.layers } else { 0 },
                follow_layers: arguments.layers > 1,
                ..JoinOptions::new(&target.url, format!("bench-{}-{started}", std::process::id()), "")
            },
            publishers: arguments.publishers,
            tiles: arguments.tiles,
            seed: arguments.seed,
            dtx: arguments.dtx,
            media: MediaState { microphone: arguments.audio, camera: arguments.video_kbps > 0, screen: false },
            waiting,
            members: Vec::new(),
            joined: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    fn options(&self, seat: Seat, number: usize) -> JoinOptions {
        let publisher = seat.publisher.is_some();
        let mut options = self.template.clone();
        options.room = format!("{}-{}", options.room, seat.room);
        options.name = match seat.publisher {
            Some(index) => publisher_name(index),
            None => format!("Viewer {number}"),
        };
        options.watches = (0..self.publishers).filter(|of| Some(*of) != seat.publisher).map(publisher_name).collect();
        let others = self.publishers - u16::from(publisher);
        options.slots = self.tiles.map_or(others, |tiles| tiles.min(others));
        options.deaf = seat.deaf;
        options.microphone &= publisher;
        options.camera_layers *= u8::from(publisher);
        if self.tiles.is_some() {
            // Who speaks is shown; where all are silent, everybody stays in their tiles, and what must come is known.
            options.audio_level = SILENCE;
            return options;
        }
        options.speech = seat.publisher.map(|index| Speech {
            seed: self.seed.wrapping_add(seat.room.into()),
            index,
            people: self.publishers,
            dtx: self.dtx,
        });
        options
    }

    /// The first one shows whether the server is there, and where its relay is.
    pub(crate) async fn join_first(&mut self) -> Result<(), ClientError> {
        let Some(seat) = self.waiting.pop() else { return Ok(()) };
        let member = Member::join(self.options(seat, 0), seat).await?;
        self.members.push(member);
        Ok(())
    }

    /// How many have not joined yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next `count`, `pace` in a second, whether or not those before them are through.
    pub(crate) async fn join(&mut self, count: usize, pace: u32) -> Result<(), ClientError> {
        self.try_join(count, pace).await.into_iter().next().map_or(Ok(()), Err)
    }

    /// The same; returns why some could not.
    pub(crate) async fn try_join(&mut self, count: usize, pace: u32) -> Vec<ClientError> {
        let all = self.members.len() + count;
        let mut left = count;
        let mut failures = Vec::new();
        let mut joining: JoinSet<Result<Member, ClientError>> = JoinSet::new();
        let mut begin = interval(Duration::from_secs(1) / pace.max(1));
        begin.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut said = Instant::now();
        while left > 0 || !joining.is_empty() {
            tokio::select! {
                _ = begin.tick(), if left > 0 => {
                    left -= 1;
                    let Some(seat) = self.waiting.pop() else { continue };
                    self.joined += 1;
                    let options = self.options(seat, self.joined);
                    joining.spawn(Member::join(options, seat));
                }
                Some(joined) = joining.join_next() => match joined {
                    Ok(Ok(member)) => self.members.push(member),
                    Ok(Err(error)) => failures.push(error),
                    // A join that panicked has said so itself.
                    Err(_) => failures.push(ClientError::Left),
                }
            }
            if said.elapsed() >= Duration::from_secs(1) {
                said = Instant::now();
                eprintln!("joined {:4} of {all}", self.members.len());
            }
        }
        failures
    }

    /// The `count` viewers that came first go, half of them without a goodbye but with closed connections, and as
    /// many come. Returns what those who left had seen.
    pub(crate) async fn replace(&mut self, count: usize) -> Result<Vec<Stats>, ClientError> {
        let (leaving, staying): (Vec<_>, Vec<_>) = {
            let mut left = count;
            std::mem::take(&mut self.members).into_iter().partition(|member| {
                let leaves = member.seat.publisher.is_none() && left > 0;
                left -= usize::from(leaves);
                leaves
            })
        };
        self.members = staying;
        let seen = leaving.iter().map(|member| member.client.stats()).collect();
        self.waiting.extend(leaving.iter().map(|member| member.seat));
        let mut going = JoinSet::new();
        for (index, member) in leaving.into_iter().enumerate() {
            going.spawn(async move {
                match index % 2 {
                    0 => member.client.leave().await,
                    _ => member.client.close_tab().await,
                }
            });
        }
        going.join_all().await;
        self.join(self.waiting.len(), REPLACEMENTS_PER_SECOND).await?;
        Ok(seen)
    }

    /// Of all publishers or all viewers.
    pub(crate) fn stats(&self, publishers: bool) -> impl Iterator<Item = Stats> {
        let members = self.members.iter().filter(move |member| member.seat.publisher.is_some() == publishers);
        members.map(|member| member.client.stats())
    }

    /// Pauses are measured from now on.
    pub(crate) fn clear_pauses(&self) {
        self.members.iter().for_each(|member| member.client.clear_pauses());
    }

    /// Until everybody is shown as many publishers of the room as they have tiles for.
    pub(crate) async fn wait_for_slots(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let tiles = self.tiles.is_some();
        if tiles {
            // Until those who joined last have found their places.
            sleep(ARRANGED_WITHIN).await;
        }
        for member in &mut self.members {
            loop {
                let stats = member.client.stats();
                let filled = stats.slots.iter().filter(|slot| slot.content.is_some()).count();
                if filled >= usize::from(member.slots) {
                    let contents = stats.slots.iter().filter_map(|slot| slot.content.as_ref());
                    let ids = contents.map(|content| u64::from_str_radix(&content.participant, 16).unwrap_or(0));
                    member.shown = tiles.then(|| ids.collect());
                    break;
                }
                if begin.elapsed() > SLOTS_WITHIN {
                    bail!(
                        "a participant was shown {filled} of {} publishers within {} s; look into the server's log",
                        member.slots,
                        SLOTS_WITHIN.as_secs()
                    );
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Publishers begin or stop to send.
    pub(crate) fn talk(&self, on: bool) {
        let media = if on { self.media } else { MediaState::default() };
        self.publishers().for_each(|member| member.client.set_media(media));
    }

    /// Publishers stop to send, and what is still under way comes in, retransmissions included.
    pub(crate) async fn fall_silent(&self) {
        self.talk(false);
        sleep(UNDER_WAY).await;
    }

    /// Everybody of the first so many rooms joins, if they have not yet.
    pub(crate) async fn fill(&mut self, rooms: u32, pace: u32) -> anyhow::Result<()> {
        let count = self.waiting.iter().filter(|seat| seat.room < rooms).count();
        if count > 0 {
            self.join(count, pace).await?;
            self.wait_for_slots().await?;
        }
        Ok(())
    }

    /// Publishers of the first so many rooms send, and nobody else.
    pub(crate) fn talk_in(&self, rooms: u32) {
        for member in self.publishers() {
            let media = if member.seat.room < rooms { self.media } else { MediaState::default() };
            member.client.set_media(media);
        }
    }

    /// Publishers go on with this bitrate of the picture.
    pub(crate) fn set_video_kbps(&self, kbps: u32) {
        self.publishers().for_each(|member| member.client.set_video_kbps(kbps));
    }

    fn publishers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.seat.publisher.is_some())
    }

    /// Somebody comes into a room of their own, and goes again; how long it took until media could flow.
    pub(crate) async fn guest(&self) -> Result<Duration, ClientError> {
        let options = JoinOptions {
            room: format!("{}-guest", self.template.room),
            name: "Guest".to_owned(),
            microphone: false,
            camera_layers: 0,
            slots: 1,
            ..self.template.clone()
        };
        let begin = Instant::now();
        let guest = Client::join(options).await?;
        let took = begin.elapsed();
        guest.leave().await;
        Ok(took)
    }

    /// Holes in the sequence numbers of those who listen, and packets that came to them.
    pub(crate) fn holes(&self) -> (u64, u64) {
        let listening = self.members.iter().filter(|member| !member.seat.deaf);
        let tracks = listening.flat_map(|member| member.client.stats().slots).flat_map(|slot| [slot.audio, slot.video]);
        tracks.fold((0, 0), |(holes, came), track| (holes + track.missing, came + track.packets))
    }

    pub(crate) fn relay_address(&self) -> Option<SocketAddr> {
        self.members.first()?.client.stats().relay
    }

    pub(crate) fn profile(&self) -> Option<&'static str> {
        self.members.first()?.client.stats().srtp_profile
    }

    pub(crate) fn lost_sockets(&self) -> u32 {
        self.members.iter().map(|member| member.client.lost_sockets()).sum()
    }

    /// What all have received, and what they should have: each sender's sound and one layer of its picture for each
    /// other member of its room.
    pub(crate) fn traffic(&self) -> Traffic {
        let counts: Vec<Counts> = self.members.iter().map(|member| member.client.counts()).collect();
        let expected = self.expected(&counts).into_iter().fold(Flow::default(), Flow::plus);
        // What was thrown away unseen counts as pictures, sound and all: most of it is.
        let received = counts.iter().map(|counts| Flow { audio: counts.audio, video: counts.video + counts.unseen });
        Traffic { received: received.fold(Flow::default(), Flow::plus), expected }
    }

    /// For each member, what should have come from the others of its room.
    fn expected(&self, counts: &[Counts]) -> Vec<Flow> {
        let mut senders = HashMap::<u32, Vec<(u64, &Counts)>>::new();
        for (member, counts) in self.members.iter().zip(counts) {
            if member.seat.publisher.is_some() {
                senders.entry(member.seat.room).or_default().push((member.participant, counts));
            }
        }
        let of_room = |room: u32| senders.get(&room).map(Vec::as_slice).unwrap_or_default();
        let expected = |(member, own): (&Member, &Counts)| {
            let shown = |sender: u64| member.shown.as_ref().is_none_or(|shown| shown.contains(&sender));
            let others = of_room(member.seat.room).iter();
            let others = others.filter(|(sender, _)| *sender != member.participant && shown(*sender));
            let all = others.map(|(sender, theirs)| Flow::expected_of(*sender, theirs, own));
            let all = all.fold(Flow::default(), Flow::plus);
            if member.seat.deaf { Flow { audio: 0, video: all.all() } } else { all }
        };
        self.members.iter().zip(counts).map(expected).collect()
    }

    /// Datagrams that were thrown away unseen, as they should.
    pub(crate) fn unseen(&self) -> u64 {
        self.members.iter().map(|member| member.client.counts().unseen).sum()
    }

    pub(crate) fn take_latencies(&self) -> Ages {
        let mut all = Ages::default();
        self.members.iter().for_each(|member| all.add(&member.client.take_latencies()));
        all
    }

    /// Everything that was seen since the start; nobody may be sending now.
    pub(crate) fn tally(&self, latency: Histogram) -> Tally {
        let mut tally = Tally { latency, ..Tally::default() };
        let counts: Vec<Counts> = self.members.iter().map(|member| member.client.counts()).collect();
        for ((member, counts), expected) in self.members.iter().zip(&counts).zip(self.expected(&counts)) {
            tally.add(&member.client.stats(), expected.all());
            tally.received += counts.unseen;
        }
        tally
    }

    /// From the first byte of the WebSocket to the end of the DTLS handshake, in microseconds.
    pub(crate) fn join_times(&self) -> Histogram {
        let mut times = Histogram::default();
        let took = self.members.iter().filter_map(|member| member.client.stats().timings.dtls);
        took.for_each(|took| times.record(took.as_micros() as u64));
        times
    }

    pub(crate) async fn leave(self) {
        let mut leaving = JoinSet::new();
        for member in self.members {
            leaving.spawn(member.client.leave());
        }
        leaving.join_all().await;
    }
}

/// By which WHEP finds it.
fn publisher_name(index: u16) -> String {
    format!("Publisher {}", index + 1)
}
