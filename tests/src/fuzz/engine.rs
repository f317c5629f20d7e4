//! The whole engine: datagrams from strangers and from a participant, in the clear and sealed, commands between them.

use crate::random::Random;
use crate::sim::network::Quality;
use crate::sim::setup::{Habits, Setup};
use crate::sim::world::World;
use crate::wire::rtp::Unwrap;
use plausch_engine::counters::CounterKind;
use plausch_engine::rtp::RtpHeader;
use plausch_engine::srtp::Outbound;
use plausch_engine::{Counters, RxPacket, Time, TxBatch};
use plausch_relay_api::limits::{SSRCS_PER_PARTICIPANT, TUPLES_PER_PARTICIPANT};
use plausch_relay_api::{Codec, Command, ParticipantId, RoomId, SlotAssignment, SlotId, Source, SourceRef};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a record of the input does with its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// A datagram of a stranger.
    Stranger,
    /// A datagram on the publisher's path, as it is.
    Raw,
    /// An RTP packet in the clear, which the publisher seals.
    Rtp,
    /// An RTCP compound in the clear, which the publisher seals.
    Rtcp,
    /// The same of the subscriber.
    SubscriberRtcp,
    /// Time goes by: the first byte times 10 ms.
    Wait,
}

const OPS: [Op; 6] = [Op::Stranger, Op::Raw, Op::Rtp, Op::Rtcp, Op::SubscriberRtcp, Op::Wait];
/// Participants of the fuzzed room.
pub const PUBLISHER: ParticipantId = ParticipantId(1);
/// See [`PUBLISHER`].
pub const SUBSCRIBER: ParticipantId = ParticipantId(2);

/// One record: the op, two bytes of length, the bytes.
pub fn record(op: Op, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(op as u8);
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A publisher and a subscriber who are connected, and nothing sent yet.
pub fn meeting() -> World {
    let mut random = Random::new(11);
    let mut world = World::new(11);
    let habits = Habits { video: Codec::Vp8, simulcast: false, screen_permille: 1000 };
    for id in [PUBLISHER, SUBSCRIBER] {
        let setup = Setup::random(&mut random, id, RoomId(1), 2, habits);
        world.join(setup, [Quality::perfect(Duration::from_millis(1)); 2]).expect("a good spec is taken");
    }
    let slots = [Source::Person, Source::Screen].into_iter().zip(0..);
    let slots = slots.map(|(source, slot)| SlotAssignment {
        slot: SlotId(slot),
        source: SourceRef { participant: PUBLISHER, source },
        max_layer: 2,
    });
    let slots: Vec<_> = slots.collect();
    world.model.assign(world.now, SUBSCRIBER, &slots);
    let assigned = world.control(Command::AssignSlots { participant: SUBSCRIBER, slots });
    assigned.expect("nothing is sent").expect("the slots are there");
    while world.clients.values().any(|client| client.connected_at.is_none()) {
        world.step(Duration::from_millis(1)).expect("the handshake goes well");
    }
    world
}

/// Runs the records of `input`.
pub fn demux(input: &[u8]) {
    run(input, None);
}

/// As [`demux`]; what was counted, and into `sent` what the participants were sent for it.
pub fn run(mut input: &[u8], mut sent: Option<&mut Vec<Vec<u8>>>) -> Counters {
    let mut world = meeting();
    let stranger = world.hostile_path();
    let mut tx = TxBatch::new(1 << 20, 1024);
    let [mut publisher, mut subscriber] = [PUBLISHER, SUBSCRIBER].map(|id| Sealer::new(&world, id));
    let [publisher_path, subscriber_path] = [PUBLISHER, SUBSCRIBER].map(|id| world.clients[&id].path);
    while let [op, high, low, rest @ ..] = input {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        let op = OPS[usize::from(*op) % OPS.len()];
        if op == Op::Wait {
            wait(&mut world, bytes.first().copied().unwrap_or_default(), &mut tx);
            continue;
        }
        let (path, datagram) = match op {
            Op::Stranger => (stranger, Some(bytes.to_vec())),
            Op::Raw => (publisher_path, Some(bytes.to_vec())),
            Op::SubscriberRtcp => (subscriber_path, subscriber.seal(op, bytes)),
            _ => (publisher_path, publisher.seal(op, bytes)),
        };
        if let Some(mut datagram) = datagram {
            let asked = datagram.len();
            let mut rx = [RxPacket { path, data: &mut datagram }];
            world.engine.handle_batch(world.now, &mut rx, &mut tx);
            if let Some(sent) = &mut sent {
                sent.extend(tx.datagrams().map(|(_, datagram)| datagram.to_vec()));
            }
            check(&mut world, path == stranger, asked, &mut tx);
        }
    }
    let commands = [SUBSCRIBER, PUBLISHER].map(|participant| Command::RemoveParticipant { participant });
    for command in commands {
        let command = plausch_engine::EngineCommand::Control(command);
        world.engine.handle_command(world.now, command, &mut tx).expect("removal is always possible");
    }
    let left = world.engine.counters().entries().find(|entry| entry.kind == CounterKind::Gauge && entry.value != 0);
    assert_eq!(left, None, "something is left when all are gone");
    *world.engine.counters()
}

/// Seals as a browser does, whatever the bytes are. The engine's own cipher: the published one panics on some.
struct Sealer {
    outbound: Outbound,
    rollovers: BTreeMap<u32, Unwrap>,
}

impl Sealer {
    fn new(world: &World, id: ParticipantId) -> Self {
        let keys = world.keys(id, 1).expect("everybody in the meeting has keys");
        let outbound = Outbound::new(keys.profile, &keys.remote_key, &keys.remote_salt);
        Self { outbound: outbound.expect("keys of the right length"), rollovers: BTreeMap::new() }
    }

    fn seal(&mut self, op: Op, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        sealed.resize(plain.len() + self.outbound.rtcp_overhead(), 0);
        let len = if op == Op::Rtp {
            let header = RtpHeader::parse(plain).ok()?;
            // Unwrap begins one wrap up.
            let extended = self.rollovers.entry(header.ssrc).or_default().extend(header.sequence);
            let rollover = (extended >> 16).saturating_sub(1) as u32;
            self.outbound.seal_rtp(&mut sealed, header.header_len, plain.len(), rollover).ok()?
        } else {
            self.outbound.seal_rtcp(&mut sealed, plain.len()).ok()?
        };
        sealed.truncate(len);
        Some(sealed)
    }
}

fn wait(world: &mut World, tens_of_ms: u8, tx: &mut TxBatch) {
    world.now = world.now + Duration::from_millis(10) * u32::from(tens_of_ms);
    for _ in 0..64 {
        if world.engine.poll_timeout() > world.now {
            break;
        }
        world.engine.handle_timeout(world.now, tx);
    }
    assert!(world.engine.poll_timeout() > world.now || world.now == Time::NEVER, "the timer makes no progress");
    tx.clear();
    while world.engine.poll_effect().is_some() {}
}

fn check(world: &mut World, stranger: bool, asked: usize, tx: &mut TxBatch) {
    if stranger {
        let sent: usize = tx.datagrams().map(|(_, datagram)| datagram.len()).sum();
        assert!(sent <= asked, "a stranger who sent {asked} bytes got {sent}");
        assert!(world.engine.poll_effect().is_none(), "a stranger made work");
    }
    tx.clear();
    while world.engine.poll_effect().is_some() {}
    let counters = world.engine.counters();
    assert!(counters.ssrcs <= 2 * SSRCS_PER_PARTICIPANT as u64);
    assert!(counters.tuples <= 2 * TUPLES_PER_PARTICIPANT as u64);
    assert_eq!(counters.participants, 2);
    assert_eq!(counters.drop_egress_seal, 0, "two packets under one nonce");
}
