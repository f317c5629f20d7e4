//! A simulated browser: ICE, the DTLS of the simulation, and its media.

use crate::media::StreamId;
use crate::random::Random;
use crate::sim::publisher::{Published, PublishedKind, Publisher};
use crate::sim::receiver::Receiver;
use crate::sim::session::Session;
use crate::sim::setup::Setup;
use crate::wire::rtcp::Rtcp;
use crate::wire::rtp::RtpPacket;
use crate::wire::stun::{self, Check, Reply};
use bytes::Bytes;
use plausch_engine::{LocalSocket, Path, SessionKeys, Time};
use plausch_relay_api::{IceParameters, MediaKind, ParticipantId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// DTLS records of the simulation: a plausible record header (RFC 6347, section 4.1), then one of these words.
pub const HELLO: [&str; 2] = ["SIM-HELLO-1", "SIM-HELLO-2"];
pub const FLIGHT: [&str; 2] = ["SIM-FLIGHT-1", "SIM-FLIGHT-2"];
pub const FINISHED: &str = "SIM-FINISHED";
pub const DONE: &str = "SIM-DONE";
pub const CLOSE: &str = "SIM-CLOSE";
/// Of somebody whose address never passed a check.
pub const STRANGER: &str = "SIM-STRANGER";

/// A record that carries `word`.
pub fn record(word: &str) -> Vec<u8> {
    let mut out = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, word.len() as u8];
    out.extend_from_slice(word.as_bytes());
    out
}

/// The word of a record.
pub fn word_of(record: &[u8]) -> &str {
    record.get(13..).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
}

/// A datagram on its way to the engine.
#[derive(Clone, Debug)]
pub struct Upward {
    pub path: Path,
    pub bytes: Bytes,
    pub what: What,
}

/// What the model knows of an upward datagram.
#[derive(Clone, Debug)]
pub enum What {
    Check {
        participant: ParticipantId,
        local_ufrag: String,
        use_candidate: bool,
    },
    /// To a check of the engine.
    Answer {
        participant: ParticipantId,
        generation: u32,
        transaction: [u8; 12],
    },
    Dtls {
        participant: ParticipantId,
        generation: u32,
        word: &'static str,
    },
    Rtp {
        stream: StreamId,
        counter: u32,
        kind: PublishedKind,
        transport_sequence: Option<u16>,
    },
    Rtcp {
        participant: ParticipantId,
        generation: u32,
        compound: Vec<Rtcp>,
    },
    Hostile,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handshake {
    Waiting,
    Hello,
    Finished,
    Done,
}

/// One browser, with one PeerConnection.
pub struct Client {
    pub setup: Setup,
    /// Where media goes out.
    pub path: Path,
    /// Where it shall go out as soon as a check succeeds there.
    next_path: Option<Path>,
    /// `None`: a keyed participant.
    ice: Option<IceParameters>,
    /// Those before a restart: the engine uses them until it has seen the new ones.
    ice_before: Option<IceParameters>,
    checks: BTreeMap<[u8; 12], (Path, String)>,
    next_check: Time,
    nominated: bool,
    valid: bool,
    handshake: Handshake,
    flight: [bool; 2],
    next_handshake: Time,
    pub session: Session,
    pub publisher: Option<Publisher>,
    pub receivers: BTreeMap<u32, Receiver>,
    next_report: Time,
    own_ssrc: u32,
    pub random: Random,
    pub connected_at: Option<Time>,
    /// Sends nothing any more.
    pub silent: bool,
}

impl Client {
    /// Begins to connect.
    pub fn new(setup: Setup, keys: &SessionKeys, path: Path, mut random: Random, now: Time) -> Self {
        let mut client = Self {
            ice: setup.ice().cloned(),
            ice_before: None,
            setup,
            path,
            next_path: None,
            checks: BTreeMap::new(),
            next_check: now,
            nominated: false,
            valid: false,
            handshake: Handshake::Waiting,
            flight: [false; 2],
            next_handshake: now,
            session: Session::new(keys),
            publisher: None,
            receivers: BTreeMap::new(),
            next_report: now,
            own_ssrc: random.bits() as u32 | 1,
            random,
            connected_at: None,
            silent: false,
        };
        client.add_receivers();
        if client.ice.is_none() {
            client.begin_media(now);
        }
        client
    }

    /// For slots that were added.
    pub fn add_receivers(&mut self) {
        for slot in &self.setup.spec.slots {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                let Some(ssrc) = slot.stream(kind).map(|stream| stream.ssrc) else { continue };
                self.receivers.entry(ssrc).or_insert_with(|| Receiver::new(ssrc, kind));
            }
        }
    }

    /// An ICE restart: checks with new names from now on.
    pub fn restart_ice(&mut self, ice: IceParameters, now: Time) {
        self.ice_before = self.ice.replace(ice);
        self.next_check = now;
        self.nominated = false;
    }

    /// Wi-Fi to mobile: checks from there, media follows when one succeeds.
    pub fn move_to(&mut self, path: Path, now: Time) {
        self.next_path = Some(path);
        self.next_check = now;
    }

    /// Where the browser is, or is going.
    pub fn newest_path(&self) -> Path {
        self.next_path.unwrap_or(self.path)
    }

    /// Says goodbye.
    pub fn close(&mut self) -> Upward {
        self.silent = true;
        self.dtls(CLOSE)
    }

    /// Everything that is due at `now`.
    pub fn poll(&mut self, now: Time) -> Result<Vec<Upward>, String> {
        let mut out = Vec::new();
        if self.silent {
            return Ok(out);
        }
        if self.ice.is_some() && now >= self.next_check {
            let settled = self.nominated && self.next_path.is_none();
            let pause = if settled { self.random.micros(1_000_000, 2_500_000) } else { Duration::from_millis(50) };
            self.next_check = now + pause;
            let checked = if self.valid || self.next_path.is_none() { Some(self.path) } else { None };
            for path in checked.into_iter().chain(self.next_path) {
                out.extend(self.check(path));
            }
        }
        if self.valid && self.handshake != Handshake::Done && now >= self.next_handshake {
            self.next_handshake = now + Duration::from_millis(200);
            match self.handshake {
                Handshake::Waiting | Handshake::Hello => {
                    self.handshake = Handshake::Hello;
                    out.extend(HELLO.map(|word| self.dtls(word)));
                }
                _ => out.push(self.dtls(FINISHED)),
            }
        }
        if self.handshake == Handshake::Done {
            self.poll_media(now, &mut out)?;
        }
        Ok(out)
    }

    fn poll_media(&mut self, now: Time, out: &mut Vec<Upward>) -> Result<(), String> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let published = publisher.poll(&self.setup, &mut self.session, &mut self.random, now);
        let mut compounds = publisher.poll_reports(now);
        out.extend(published.into_iter().map(|published| upward(self.path, published)));
        for receiver in self.receivers.values_mut() {
            let requests = receiver.poll(now, self.own_ssrc)?;
            if !requests.is_empty() {
                // Compound, as RFC 3550 wants it: a report first.
                let mut compound = vec![Rtcp::ReceiverReport { ssrc: self.own_ssrc, blocks: Vec::new() }];
                compound.extend(requests);
                compounds.push(compound);
            }
        }
        if now >= self.next_report {
            self.next_report = now + self.random.micros(800_000, 1_200_000);
            let blocks: Vec<_> = self.receivers.values_mut().filter_map(Receiver::report).take(31).collect();
            if !blocks.is_empty() {
                compounds.push(vec![Rtcp::ReceiverReport { ssrc: self.own_ssrc, blocks }]);
            }
        }
        for compound in compounds {
            out.push(self.rtcp(compound));
        }
        Ok(())
    }

    fn check(&mut self, path: Path) -> Option<Upward> {
        let ice = self.ice.clone()?;
        let transaction: [u8; 12] = self.random.bytes(12).try_into().expect("twelve bytes");
        // Regular nomination: first a check without. Only the newest path is nominated.
        let use_candidate = (self.setup.aggressive || self.valid) && path == self.newest_path();
        let check = Check {
            transaction,
            username: format!("{}:{}", ice.local_ufrag, ice.remote_ufrag),
            password: ice.local_pwd.reveal().to_owned(),
            use_candidate,
            controlling: true,
        };
        self.checks.insert(transaction, (path, ice.local_pwd.reveal().to_owned()));
        Some(Upward {
            path,
            bytes: check.encode().into(),
            what: What::Check { participant: self.setup.spec.participant, local_ufrag: ice.local_ufrag, use_candidate },
        })
    }

    fn dtls(&self, word: &'static str) -> Upward {
        Upward {
            path: self.path,
            bytes: record(word).into(),
            what: What::Dtls { participant: self.setup.spec.participant, generation: self.setup.spec.generation, word },
        }
    }

    /// An RTCP compound, sealed.
    pub fn rtcp(&mut self, compound: Vec<Rtcp>) -> Upward {
        let mut plain = Vec::new();
        compound.iter().for_each(|rtcp| rtcp.encode(&mut plain));
        Upward {
            path: self.path,
            bytes: self.session.seal_rtcp(&plain),
            what: What::Rtcp {
                participant: self.setup.spec.participant,
                generation: self.setup.spec.generation,
                compound,
            },
        }
    }

    /// A STUN reply or DTLS from the engine, received on `path`, where the relay knows us as `seen_as`.
    pub fn receive(
        &mut self,
        now: Time,
        path: Path,
        seen_as: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<Upward>, String> {
        match datagram[0] {
            0 if datagram.get(1) == Some(&1) => self.receive_check(path, seen_as, datagram),
            0..=3 => self.receive_stun(now, path, seen_as, datagram).map(|()| None),
            20..=63 => {
                self.receive_dtls(now, word_of(datagram));
                Ok(None)
            }
            first => Err(format!("a datagram of the engine that begins with {first}")),
        }
    }

    /// A check of the engine: answered, unless the browser is frozen or gone.
    fn receive_check(&mut self, path: Path, seen_as: SocketAddr, datagram: &[u8]) -> Result<Option<Upward>, String> {
        let known = self.ice.iter().chain(&self.ice_before);
        let password = |username: &str| {
            let mut known = known;
            known
                .find(|ice| username == format!("{}:{}", ice.remote_ufrag, ice.local_ufrag))
                .map(|ice| ice.remote_pwd.reveal().to_owned())
        };
        let answer = stun::answer_check(datagram, password, seen_as)?;
        let participant = self.setup.spec.participant;
        let transaction = datagram.get(8..20).ok_or("a check cut short")?.try_into().expect("twelve bytes");
        let what = What::Answer { participant, generation: self.setup.spec.generation, transaction };
        let answer = answer.filter(|_| !self.silent);
        Ok(answer.map(|bytes| Upward { path, bytes: bytes.into(), what }))
    }

    fn receive_stun(&mut self, now: Time, path: Path, seen_as: SocketAddr, datagram: &[u8]) -> Result<(), String> {
        let transaction: [u8; 12] = datagram.get(8..20).ok_or("STUN cut short")?.try_into().expect("twelve bytes");
        let Some((asked, password)) = self.checks.get(&transaction) else { return Ok(()) };
        if *asked != path {
            return Err(format!("the reply to a check from {asked:?} came to {path:?}"));
        }
        match stun::decode_reply(datagram, password)? {
            Reply::Success { mapped, .. } if mapped == seen_as => {}
            Reply::Success { mapped, .. } => return Err(format!("mapped address {mapped} for {seen_as}")),
            Reply::Error { code, .. } => return Err(format!("a good check was answered with {code}")),
        }
        let first = !self.valid;
        self.valid = true;
        // The check that was answered named the candidate, or the next will.
        self.nominated = !first || self.setup.aggressive;
        if !self.nominated {
            self.next_check = now;
        }
        if self.next_path == Some(path) {
            self.path = path;
            self.next_path = None;
            self.next_check = now;
        }
        Ok(())
    }

    fn receive_dtls(&mut self, now: Time, word: &str) {
        if self.handshake == Handshake::Hello {
            for (part, seen) in FLIGHT.iter().zip(&mut self.flight) {
                *seen |= *part == word;
            }
            if self.flight == [true; 2] {
                self.handshake = Handshake::Finished;
                self.next_handshake = now;
            }
        }
        if word == DONE && self.handshake == Handshake::Finished {
            self.begin_media(now);
        }
    }

    /// Both sides have the keys.
    fn begin_media(&mut self, now: Time) {
        self.handshake = Handshake::Done;
        self.connected_at = Some(now);
        self.next_report = now + self.random.micros(0, 1_000_000);
        self.publisher = Some(Publisher::new(&self.setup, &mut self.random, now));
    }

    /// RTP from the engine.
    pub fn receive_rtp(&mut self, now: Time, packet: &RtpPacket) -> Result<(), String> {
        let picture = match self.setup.mapping(plausch_relay_api::Codec::Vp8) {
            Some(mapping) if mapping.payload_type == packet.payload_type => {
                crate::media::vp8_picture(&packet.payload).map(|(id, _)| id)
            }
            _ => None,
        };
        match self.receivers.get_mut(&packet.ssrc) {
            Some(receiver) => receiver.receive(now, packet, picture),
            None => Err(format!("RTP with SSRC {}, which is of no slot", packet.ssrc)),
        }
    }

    /// RTCP from the engine; what is to be sent again comes back.
    pub fn receive_rtcp(&mut self, compound: &[Rtcp]) -> Vec<Upward> {
        let Some(publisher) = &mut self.publisher else { return Vec::new() };
        if self.silent {
            return Vec::new();
        }
        let again = compound.iter().flat_map(|rtcp| publisher.feedback(rtcp));
        let path = self.path;
        again.collect::<Vec<_>>().into_iter().map(|published| upward(path, published)).collect()
    }
}

fn upward(path: Path, published: Published) -> Upward {
    Upward {
        path,
        bytes: published.sealed,
        what: What::Rtp {
            stream: published.stream,
            counter: published.counter,
            kind: published.kind,
            transport_sequence: published.transport_sequence,
        },
    }
}

/// A path that nobody had before.
pub fn fresh_path(count: &mut u32, ipv6: bool) -> Path {
    *count += 1;
    let n = *count;
    let port = 20_000 + (n % 40_000) as u16;
    let (remote, local) = match ipv6 {
        true => (
            SocketAddr::new(
                std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, (n >> 16) as u16, n as u16).into(),
                port,
            ),
            1,
        ),
        false => (SocketAddr::new(std::net::Ipv4Addr::from(0xc633_6400 | n & 0xff).into(), port), 0),
    };
    Path { local: LocalSocket(local), remote }
}
