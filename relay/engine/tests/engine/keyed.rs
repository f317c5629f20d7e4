//! Participants that control gives their path and their keys: processes of our own.

use super::harness::*;
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::Effect;
use plausch_engine::engine::EngineConfig;
use plausch_engine::stun::IceRole;
use plausch_relay_api::*;
use std::net::SocketAddr;

const GATEWAY: u64 = 3;

fn media() -> Vec<SocketAddr> {
    vec![([203, 0, 113, 1], 7882).into(), ([127, 0, 0, 1], 7882).into()]
}

/// Participant 3 as a telephone gateway has it: sound both ways, no picture.
fn telephone(generation: u32) -> ParticipantSpec {
    let key = |byte: u8| SrtpMasterKey { key: vec![byte; 16].into(), salt: vec![byte; 12].into() };
    let generation_byte = generation as u8;
    let keyed = KeyedTransport {
        local: media()[1],
        remote: ([127, 0, 0, 1], 5_000 + generation as u16).into(),
        keys: SrtpKeys {
            profile: SrtpProfile::AeadAes128Gcm,
            from_participant: key(0x40 + generation_byte),
            to_participant: key(0x80 + generation_byte),
        },
    };
    let mut spec = spec(GATEWAY);
    spec.generation = generation;
    spec.transport = Transport::Keyed { keyed };
    spec.sends.truncate(1);
    for slot in &mut spec.slots {
        slot.video = None;
    }
    spec
}

fn keyed(spec: &mut ParticipantSpec) -> &mut KeyedTransport {
    match &mut spec.transport {
        Transport::Keyed { keyed } => keyed,
        Transport::Browser(_) => panic!("a browser"),
    }
}

/// Browsers 1 and 2 and the telephone, who all hear each other.
fn call() -> World {
    let mut world = World::with(EngineConfig { media: media(), ..EngineConfig::new(ShardId(0), 42) });
    for spec in [spec(1), spec(2), telephone(1)] {
        world.put(spec.clone()).unwrap();
        world.add_client(spec);
    }
    for (id, others) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
        let slots = (0..).zip(others).map(|(slot, other)| assignment(slot, other, Source::Person)).collect();
        world.assign(id, slots).unwrap();
    }
    world.connect(0);
    world.connect(1);
    world
}

fn connected(world: &World) -> Vec<(u64, u32)> {
    let all = world.effects.iter().filter_map(|effect| match effect {
        Effect::Connected { participant, generation } => Some((participant.0, *generation)),
        _ => None,
    });
    all.collect()
}

fn ended(world: &World) -> Vec<(u64, u32, DisconnectReason)> {
    let all = world.effects.iter().filter_map(|effect| match effect {
        Effect::Disconnected { participant, generation, reason } => Some((participant.0, *generation, *reason)),
        _ => None,
    });
    all.collect()
}

#[test]
fn it_is_connected_at_once_and_hears_and_is_heard() {
    let mut world = call();
    assert_eq!(connected(&world), [(3, 1), (1, 1), (2, 1)]);
    assert_eq!(world.clients[2].path, Path { local: LocalSocket(1), remote: ([127, 0, 0, 1], 5_001).into() });
    for sequence in 0..50 {
        for (client, ssrc) in [(0, 100), (1, 200), (2, 300)] {
            world.send(client, &Rtp::audio(ssrc, sequence));
        }
        world.send(0, &Rtp::video(101, sequence, sequence, sequence == 0));
        world.pass(20);
    }
    for client in 0..3 {
        for slot in [0x1000, 0x1001] {
            assert_eq!(world.clients[client].take(slot).len(), 50, "{client}");
        }
    }
    assert_eq!(world.clients[1].take(0x2000).len(), 50);
    assert!(world.clients[2].rtp.is_empty(), "a telephone has no picture");
    assert!(!world.clients[2].rtcp.is_empty() && world.clients[2].stun.is_empty() && world.clients[2].dtls.is_empty());
    let counters = world.engine.counters();
    assert_eq!((counters.connected, counters.tuples, counters.handshakes), (3, 3, 0));
    let dtls = |effect: &Effect| matches!(effect, Effect::Dtls { participant: ParticipantId(GATEWAY), .. });
    assert!(!world.effects.iter().any(dtls));
}

#[test]
fn foreign_addresses_wrong_keys_and_reused_numbers_are_counted_drops() {
    let mut world = call();
    world.send(2, &Rtp::audio(300, 1));
    let before = *world.engine.counters();
    // From another port, from another address, to another of our addresses.
    let own = world.clients[2].path;
    let foreign = [
        Path { remote: ([127, 0, 0, 1], 5_002).into(), ..own },
        Path { remote: ([127, 0, 0, 2], 5_001).into(), ..own },
        Path { local: LocalSocket(0), ..own },
    ];
    for (sequence, path) in (2..).zip(foreign) {
        let datagram = world.seal(2, &Rtp::audio(300, sequence));
        world.raw(path, datagram);
    }
    assert_eq!(world.engine.counters().drop_srtp_unchecked - before.drop_srtp_unchecked, 3);
    // Under somebody else's keys.
    let datagram = world.seal(0, &Rtp::audio(300, 9));
    world.raw(own, datagram);
    assert_eq!(world.engine.counters().drop_srtp_forged - before.drop_srtp_forged, 1);
    // A number that was used, and an SSRC that is nobody's: those of the slots are ours.
    world.send(2, &Rtp::audio(300, 1));
    assert_eq!(world.engine.counters().drop_srtp_replayed - before.drop_srtp_replayed, 1);
    world.send(2, &Rtp::audio(0x1000, 1));
    assert_eq!(world.engine.counters().drop_rtp_unknown_ssrc - before.drop_rtp_unknown_ssrc, 1);
    assert_eq!(world.clients[0].take(0x1001).len(), 1);
    assert!(ended(&world).is_empty());
}

#[test]
fn neither_ice_nor_dtls_nor_turn_gets_at_its_path() {
    let mut world = call();
    let own = world.clients[2].path;
    // Browser 1 knows its password, and claims the telephone's address.
    let check = world.binding_request(0, true, IceRole::Controlling(1));
    world.raw(own, check);
    world.raw(own, vec![22, 254, 253, 0]);
    world.raw(own, vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    world.raw(own, vec![0x40, 0, 0, 0]);
    let counters = *world.engine.counters();
    assert_eq!((counters.drop_keyed_protocol, counters.drop_turn_channel, counters.tuples), (3, 1, 3));
    assert!(world.clients[2].stun.is_empty() && world.clients[2].dtls.is_empty());
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[2].take(0x1000).len(), 1);
    world.send(2, &Rtp::audio(300, 1));
    assert_eq!(world.clients[0].take(0x1001).len(), 1);
}

#[test]
fn a_browser_that_claimed_the_address_before_loses_it() {
    let mut world = World::with(EngineConfig { media: media(), ..EngineConfig::new(ShardId(0), 42) });
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    let telephone = telephone(1);
    let client = world.add_client(telephone.clone());
    world.answering = false;
    let request = world.binding_request(0, true, IceRole::Controlling(1));
    world.raw(world.clients[client].path, request);
    world.answering = true;
    world.put(telephone).unwrap();
    world.connect(0);
    world.assign(GATEWAY, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[client].take(0x1000).len(), 1);
    assert_eq!(world.engine.counters().tuples, 2);
}

#[test]
fn silence_ends_it_and_reports_alone_keep_it() {
    let mut world = call();
    for _ in 0..30 {
        world.pass(4_000);
        world.send_rtcp(2, |_| {});
    }
    assert!(ended(&world).is_empty());
    world.pass(limits::KEYED_SILENCE_MS - 1);
    // What does not open is no sign of life.
    let forged = world.seal(0, &Rtp::audio(300, 9));
    world.raw(world.clients[2].path, forged);
    assert!(ended(&world).is_empty());
    world.pass(2);
    assert_eq!(ended(&world), [(3, 1, DisconnectReason::KeyedSilent)]);
    let counters = *world.engine.counters();
    assert_eq!((counters.connected, counters.tuples, counters.participants), (2, 2, 3));
    world.send(0, &Rtp::audio(100, 1));
    assert!(world.clients[2].rtp.is_empty());
    world.send(2, &Rtp::audio(300, 1));
    assert_eq!(world.engine.counters().drop_srtp_unchecked, 1);
}

#[test]
fn a_new_generation_has_new_keys_and_perhaps_another_address() {
    let mut world = call();
    world.send(2, &Rtp::audio(300, 1));
    let old = world.clients[2].path;
    let mut same_keys = telephone(2);
    keyed(&mut same_keys).keys = keyed(&mut telephone(1)).keys.clone();
    assert!(matches!(world.put(same_keys), Err(CommandError::Invalid(_))));
    world.put(telephone(2)).unwrap();
    let client = world.add_client(telephone(2));
    assert_eq!(connected(&world).last(), Some(&(3, 2)));
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[client].take(0x1000).len(), 1);
    assert!(world.clients[2].rtp.is_empty());
    world.send(client, &Rtp::audio(300, 1));
    assert_eq!(world.clients[0].take(0x1001).len(), 2);
    let late = world.seal(2, &Rtp::audio(300, 2));
    world.raw(old, late);
    let counters = *world.engine.counters();
    assert_eq!((counters.drop_srtp_unchecked, counters.tuples, counters.connected), (1, 3, 3));
    // The person hangs up and comes back by browser.
    let mut browser = spec(GATEWAY);
    browser.generation = 3;
    world.put(browser.clone()).unwrap();
    assert_eq!(world.engine.counters().connected, 2);
    world.remove(GATEWAY);
    assert_eq!((world.engine.counters().tuples, world.engine.counters().tracks), (2, 6));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut world = call();
    let invalid: [&dyn Fn(&mut ParticipantSpec); 8] = [
        &|spec| keyed(spec).local = ([203, 0, 113, 1], 9).into(),
        &|spec| keyed(spec).remote = ([0, 0, 0, 0], 5_009).into(),
        &|spec| keyed(spec).remote = ([127, 0, 0, 1], 0).into(),
        &|spec| keyed(spec).remote = "[::1]:5009".parse().unwrap(),
        &|spec| keyed(spec).keys.to_participant = keyed(&mut telephone(5)).keys.from_participant.clone(),
        &|spec| keyed(spec).keys.profile = SrtpProfile::AeadAes256Gcm,
        &|spec| keyed(spec).keys.from_participant.salt = vec![1; 14].into(),
        // The address of the telephone that there is.
        &|spec| keyed(spec).remote = keyed(&mut telephone(1)).remote,
    ];
    for (number, change) in invalid.into_iter().enumerate() {
        let mut other = telephone(5);
        other.participant = ParticipantId(9);
        change(&mut other);
        assert!(matches!(world.put(other), Err(CommandError::Invalid(_))), "{number}");
    }
    let mut moved = telephone(1);
    keyed(&mut moved).remote = ([127, 0, 0, 1], 6_000).into();
    assert!(matches!(world.put(moved), Err(CommandError::Invalid(_))), "a new address needs a new generation");
    let mut browser = spec(GATEWAY);
    browser.slots = telephone(1).slots;
    assert!(matches!(world.put(browser), Err(CommandError::Invalid(_))), "so does a browser");
    world.put(telephone(1)).unwrap();
    assert_eq!((world.engine.counters().participants, world.engine.counters().tuples), (3, 3));
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[2].take(0x1000).len(), 1);
}

#[test]
fn a_slot_with_one_medium_follows_that_only() {
    let mut world = World::new();
    let mut picture = spec(2);
    picture.slots.truncate(1);
    picture.slots[0].audio = None;
    let mut nothing = spec(3);
    (nothing.slots[0].audio, nothing.slots[0].video) = (None, None);
    assert!(matches!(world.put(nothing), Err(CommandError::Invalid(_))));
    for spec in [spec(1), picture] {
        world.put(spec.clone()).unwrap();
        world.add_client(spec);
    }
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.connect(0);
    world.connect(1);
    world.send(0, &Rtp::audio(100, 1));
    world.send(0, &Rtp::video(101, 1, 1, true));
    assert_eq!(world.clients[1].rtp.len(), 1);
    assert_eq!(world.clients[1].take(0x2000).len(), 1);
    assert_eq!(world.engine.counters().drop_egress_codec, 0);
}
