//! A little world around [`Rooms`]: it keeps what each client was told and what the relay was told, and checks that
//! nobody is told nonsense.

use crate::admission::rates::Rate;
use crate::config::Limits;
use crate::relays::placement::{Location, Locations, RelayId};
use crate::rooms::events::{FilledSlot, Knock, Outbox, Person, RoomEvent};
use crate::rooms::member::{Capabilities, Media, Presence, Role};
use crate::rooms::names::RoomKey;
use crate::rooms::{EnterError, Entry, Fresh, Overview, Rooms};
use crate::sdp::{CodecPolicy, RemoteOffer};
use plausch_relay_api::{Codec, Command, ParticipantId, ParticipantSnapshot, RoomId, ShardId, SlotAssignment, Source};
use plausch_signalling::{Offer, Sends, SlotMids};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::time::Duration;

pub(super) fn relay_id(name: &str) -> RelayId {
    RelayId::new(name).unwrap()
}

/// Two shards of each.
pub(super) fn locations(relays: &[&str]) -> Locations {
    let of = |name: &&str| [0, 1].map(|shard| (Location { relay: relay_id(name), shard: ShardId(shard) }, true));
    Locations::new(relays.iter().flat_map(of))
}

pub(super) fn limits() -> Limits {
    let joins = Rate { burst: 1, per_second: 1.0 };
    Limits { rooms: 3, participants: 12, participants_per_room: 8, sockets: 10, joins }
}

/// An offer with `slots` slots, of a microphone, a camera and a screen.
pub(super) fn offer(slots: usize, ufrag: &str) -> RemoteOffer {
    let mids: Vec<_> = (0..3 + 2 * slots).map(|mid| mid.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\na=group:BUNDLE {}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
         a=fingerprint:sha-256 {}\r\n",
        mids.join(" "),
        ["AB"; 32].join(":")
    );
    for (n, mid) in mids.iter().enumerate() {
        let audio = n == 0 || (n > 2 && n % 2 == 1);
        let (kind, map) = if audio { ("audio", "opus/48000/2") } else { ("video", "VP8/90000") };
        let direction = if n < 3 { "sendonly" } else { "recvonly" };
        let format = if audio { 111 } else { 96 };
        write!(
            sdp,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {format}\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
             a=rtpmap:{format} {map}\r\n"
        )
        .unwrap();
    }
    let sends =
        Sends { microphone: Some("0".into()), camera: Some("1".into()), screen: Some("2".into()), screen_audio: None };
    let slots =
        (0..slots).map(|n| SlotMids { audio: (3 + 2 * n).to_string(), video: (4 + 2 * n).to_string() }).collect();
    let policy = CodecPolicy { video: vec![Codec::Vp8], opus_dtx: false };
    RemoteOffer::read(&Offer { id: 1, connection: 1, sdp, sends, slots }, &policy).unwrap()
}

pub(super) fn fresh(seed: u32, slots: usize) -> Fresh {
    let ssrcs = (0..2 * slots as u32).map(|n| seed * 1000 + n + 1).collect();
    Fresh { ufrag: format!("ufrag{seed}"), pwd: "p".repeat(24), ssrcs }
}

/// What a client knows.
#[derive(Default, Debug)]
pub(super) struct Client {
    pub(super) session: u64,
    pub(super) others: BTreeMap<ParticipantId, Person>,
    pub(super) slots: Vec<FilledSlot>,
    pub(super) speakers: Vec<ParticipantId>,
    pub(super) knocks: Vec<Knock>,
    /// Signs of the lobby.
    pub(super) signs: Vec<RoomEvent>,
    pub(super) media_lost: usize,
}

#[derive(Default)]
pub(super) struct Relay {
    pub(super) participants: BTreeMap<ParticipantId, ParticipantSnapshot>,
}

pub(super) struct World {
    pub(super) rooms: Rooms,
    pub(super) clients: BTreeMap<ParticipantId, Client>,
    /// The relay called east, and a second one, which is not linked at first.
    pub(super) relay: Relay,
    pub(super) west: Relay,
    pub(super) locations: Locations,
    pub(super) now: Duration,
    pub(super) sessions: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            rooms: Rooms::new(limits(), 1),
            clients: BTreeMap::new(),
            relay: Relay::default(),
            west: Relay::default(),
            locations: locations(&["east"]),
            now: Duration::ZERO,
            sessions: 0,
        }
    }

    pub(super) fn settle(&mut self, out: Outbox) {
        for (relay, command) in out.commands {
            self.command(&relay, command);
        }
        for (to, event) in out.events {
            for participant in to {
                if let Some(client) = self.clients.get_mut(&participant) {
                    client.hear(participant, event.clone());
                }
            }
        }
    }

    pub(super) fn command(&mut self, relay: &RelayId, command: Command) {
        let relay = if *relay == relay_id("east") { &mut self.relay } else { &mut self.west };
        match command {
            Command::PutParticipant(spec) => {
                let assignments =
                    relay.participants.get(&spec.participant).map(|p| p.assignments.clone()).unwrap_or_default();
                let known = ParticipantSnapshot { spec: *spec, assignments, connected: true };
                relay.participants.insert(known.spec.participant, known);
            }
            Command::RemoveParticipant { participant } => {
                relay.participants.remove(&participant);
            }
            Command::AssignSlots { participant, slots } => {
                for slot in &slots {
                    assert!(relay.participants.contains_key(&slot.source.participant), "an unknown source");
                }
                relay.participants.get_mut(&participant).unwrap().assignments = slots;
            }
            Command::SetNote { participant, note } => {
                relay.participants.get_mut(&participant).unwrap().spec.note = note;
            }
            Command::SetTurn(_) => panic!("rooms know nothing of TURN"),
        }
    }

    pub(super) fn join(&mut self, id: u64, room: &str, slots: usize, connection: u32) -> Result<(), EnterError> {
        self.join_as(id, room, slots, connection, Media::default())
    }

    pub(super) fn join_as(
        &mut self,
        id: u64,
        room: &str,
        slots: usize,
        connection: u32,
        media: Media,
    ) -> Result<(), EnterError> {
        let participant = ParticipantId(id);
        self.sessions += 1;
        let session = self.sessions;
        let key = RoomKey::normalise(room).unwrap();
        let title = room.to_owned();
        let new_room = RoomId(1000 + session);
        let (name, presence) = (format!("Person {id}"), Presence::Signalling);
        let (role, capabilities) = (Role::Guest, Capabilities::new());
        let entry = Entry { participant, session, key, title, name, presence, role, capabilities, media, new_room };
        self.clients.remove(&participant);
        let mut out = Outbox::default();
        self.rooms.enter(entry, &self.locations, &mut out)?;
        let remote = offer(slots, "abcd");
        let seed = (id * 50) as u32 + connection;
        let planned = self.rooms.plan(participant, connection, &remote, fresh(seed, slots), &self.locations).unwrap();
        out.commands.push((planned.relay.clone(), Command::PutParticipant(Box::new(planned.spec.clone()))));
        self.settle(std::mem::take(&mut out));
        self.rooms.commit(planned, session, &mut out).unwrap();
        self.rooms.connected(participant, connection, &mut out);
        self.settle(out);
        self.welcome(participant, session);
        Ok(())
    }

    pub(super) fn welcome(&mut self, participant: ParticipantId, session: u64) {
        let mut client = Client { session, ..Client::default() };
        client.enter(self.rooms.overview(participant).unwrap());
        self.clients.insert(participant, client);
    }

    pub(super) fn resume(&mut self, id: u64, room: &str) {
        let participant = ParticipantId(id);
        self.sessions += 1;
        let session = self.sessions;
        let key = RoomKey::normalise(room).unwrap();
        let (name, media, new_room) = (format!("Person {id}"), Media::default(), RoomId(9000 + session));
        let entry = Entry {
            participant,
            session,
            key,
            title: room.into(),
            name,
            presence: Presence::Signalling,
            role: Role::Guest,
            capabilities: Capabilities::new(),
            media,
            new_room,
        };
        let mut out = Outbox::default();
        self.rooms.enter(entry, &self.locations, &mut out).unwrap();
        self.rooms.show(participant, &mut out);
        self.settle(out);
        self.welcome(participant, session);
    }

    pub(super) fn act(&mut self, action: impl FnOnce(&mut Rooms, Duration, &mut Outbox)) {
        let mut out = Outbox::default();
        action(&mut self.rooms, self.now, &mut out);
        self.settle(out);
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.clients.remove(&ParticipantId(id));
        self.act(|rooms, _, out| rooms.remove(ParticipantId(id), out));
    }

    pub(super) fn detach(&mut self, id: u64) {
        let session = self.clients.remove(&ParticipantId(id)).map_or(0, |client| client.session);
        self.act(|rooms, now, out| rooms.detach(ParticipantId(id), session, now, out));
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.act(|rooms, now, out| rooms.tick(now, |_| true, out));
    }

    pub(super) fn reconcile(&mut self) {
        let snapshot = self.relay.participants.values().cloned().collect();
        self.act(|rooms, now, out| rooms.reconcile(&relay_id("east"), snapshot, now, out));
    }

    pub(super) fn reconcile_west(&mut self) {
        let snapshot = self.west.participants.values().cloned().collect();
        self.act(|rooms, now, out| rooms.reconcile(&relay_id("west"), snapshot, now, out));
    }

    /// A new control, which knows nothing; all sockets are gone.
    pub(super) fn restart_control(&mut self) {
        self.rooms = Rooms::new(limits(), self.rooms.control + 1);
        self.clients.clear();
        self.reconcile();
        self.reconcile_west();
    }

    pub(super) fn slots(&self, id: u64) -> Vec<(u16, ParticipantId, Source)> {
        let slots = &self.clients[&ParticipantId(id)].slots;
        slots.iter().map(|content| (content.slot, content.source.participant, content.source.source)).collect()
    }

    /// What must hold at any time.
    pub(super) fn check(&self) {
        for (name, relay) in [("east", &self.relay), ("west", &self.west)] {
            let mut shards: BTreeMap<RoomId, ShardId> = BTreeMap::new();
            for (id, known) in &relay.participants {
                let of = self.rooms.relay_of(*id).unwrap_or_else(|| panic!("{name} keeps {id}, who is in no room"));
                assert_eq!(*of, relay_id(name), "{id} is elsewhere");
                assert_eq!(*shards.entry(known.spec.room).or_insert(known.spec.shard), known.spec.shard);
                // Whose transport is over is told nothing more, until there is a new one.
                if self.rooms.has_media(*id) {
                    self.check_assignments(*id, known, relay);
                }
            }
        }
        for (id, client) in &self.clients {
            if self.rooms.member(*id).is_some_and(|member| member.is_waiting()) {
                assert!(client.others.is_empty() && client.slots.is_empty(), "{id} waits and knows of others");
                continue;
            }
            let room = self.rooms.room_of(*id).unwrap();
            let expected: BTreeMap<_, _> = room.others(*id).into_iter().map(|other| (other.id, other)).collect();
            assert_eq!(client.others, expected, "what {id} knows of others");
            assert_eq!(client.slots, room.slots(*id), "what {id} knows of its slots");
            let filled = client.slots.len();
            let sources = expected.len()
                + room.members.iter().filter(|(other, member)| *other != id && member.media.screen).count();
            let slots = self.rooms.member(*id).unwrap().shown().len();
            assert_eq!(filled, sources.min(slots), "slots are filled as far as there are sources");
        }
    }

    pub(super) fn check_assignments(&self, id: ParticipantId, known: &ParticipantSnapshot, relay: &Relay) {
        let mut slots = HashSet::new();
        let mut sources = HashSet::new();
        for SlotAssignment { slot, source, .. } in &known.assignments {
            assert!(slots.insert(*slot) && sources.insert(*source), "twice: {:?}", known.assignments);
            assert!(usize::from(slot.0) < known.spec.slots.len());
            assert_ne!(source.participant, id, "nobody sees themselves");
            let other = &relay.participants[&source.participant];
            assert_eq!(other.spec.room, known.spec.room);
        }
        let room = self.rooms.room_of(id).unwrap();
        // Where a source's media is lost, the relay may still name it: there is nothing to forward.
        let live = known.assignments.iter().filter(|slot| self.rooms.has_media(slot.source.participant));
        let live: Vec<_> = live.copied().collect();
        assert_eq!(live, room.assignments(id), "the relay does what the room decided");
        let mut ssrcs = HashSet::new();
        assert!(
            known
                .spec
                .slots
                .iter()
                .flat_map(plausch_relay_api::SlotSpec::streams)
                .all(|stream| ssrcs.insert(stream.ssrc))
        );
    }
}

impl Client {
    pub(super) fn enter(&mut self, overview: Overview) {
        self.others = overview.others.into_iter().map(|other| (other.id, other)).collect();
        self.slots = overview.slots;
        self.knocks = overview.knocks;
    }

    pub(super) fn hear(&mut self, own: ParticipantId, event: RoomEvent) {
        match event {
            RoomEvent::Joined(person) => {
                assert_ne!(person.id, own);
                assert!(self.others.insert(person.id, person).is_none(), "joined twice");
            }
            RoomEvent::Changed(person) => {
                assert!(self.others.insert(person.id, person).is_some(), "changed before it joined");
            }
            RoomEvent::Left(id) => {
                assert!(self.others.remove(&id).is_some(), "left before it joined");
                self.slots.retain(|slot| slot.source.participant != id);
            }
            RoomEvent::Slots(slots) => self.slots = slots,
            RoomEvent::Speakers(speakers) => self.speakers = speakers,
            RoomEvent::MediaLost => self.media_lost += 1,
            RoomEvent::Knocked(knock) => self.knocks.push(knock),
            RoomEvent::KnockEnded(id) => {
                let before = self.knocks.len();
                self.knocks.retain(|knock| knock.id != id);
                assert_eq!(self.knocks.len() + 1, before, "a knock ended that never was");
            }
            sign @ (RoomEvent::Admitted | RoomEvent::Rejected | RoomEvent::Replaced) => self.signs.push(sign),
        }
    }
}
