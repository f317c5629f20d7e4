//! ICE and DTLS: who may speak with us, from where, and for how long.

use super::harness::*;
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::{DtlsInput, Effect};
use plausch_engine::stun::{Class, IceRole, IntegrityCheck, IntegrityKey, Message};
use plausch_relay_api::*;

fn path(port: u16) -> Path {
    Path { local: LocalSocket(1), remote: ([198, 51, 100, 7], port).into() }
}

fn ended(world: &World) -> Vec<(u64, DisconnectReason)> {
    let ended = world.effects.iter().filter_map(|effect| match effect {
        Effect::Disconnected { participant, reason, .. } => Some((participant.0, *reason)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_check_is_answered_with_the_address_it_came_from() {
    let world = World::meeting(1);
    let answer = Message::parse(&world.clients[0].stun[0]).unwrap();
    assert_eq!(answer.class, Class::Success);
    assert_eq!(answer.xor_mapped_address(), Some(world.clients[0].path.remote));
    let key = IntegrityKey::short_term(world.clients[0].spec.transport.ice().unwrap().local_pwd.reveal().as_bytes());
    assert_eq!(answer.check_integrity(&key), IntegrityCheck::Valid);
    assert_eq!(world.engine.counters().stun_checks, 1);
}

#[test]
fn strangers_get_no_answer_and_leave_nothing() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    let good = world.binding_request(0, true, IceRole::Controlling(1));
    world.clients[0].spec.transport.ice_mut().unwrap().local_pwd = IcePassword::new("a-wrong-password-of-some-length");
    let wrong_password = world.binding_request(0, true, IceRole::Controlling(1));
    world.clients[0].spec.transport.ice_mut().unwrap().local_ufrag = "nobody".into();
    let unknown = world.binding_request(0, true, IceRole::Controlling(1));
    let stranger = world.clients[0].path;
    world.raw(stranger, wrong_password);
    world.raw(stranger, unknown);
    world.raw(stranger, good[..good.len() - 8].to_vec());
    world.raw(stranger, good[..10].to_vec());
    for byte in 0..good.len() {
        let mut changed = good.clone();
        changed[byte] ^= 0x10;
        world.raw(stranger, changed);
    }
    world.raw(stranger, vec![22, 254, 253, 0]);
    world.raw(stranger, vec![0x80; 60]);
    world.raw(stranger, vec![0x80, 200, 0, 1, 0, 0, 0, 0]);
    world.raw(stranger, vec![64; 60]);
    world.raw(stranger, vec![255; 60]);
    world.raw(stranger, vec![]);
    world.raw(stranger, vec![0; 3_000]);
    let counters = *world.engine.counters();
    assert!(world.clients[0].stun.is_empty() && world.effects.is_empty());
    assert_eq!((counters.tuples, counters.stun_checks, counters.drop_dtls_unchecked), (0, 0, 1));
    assert_eq!((counters.drop_srtp_unchecked, counters.drop_turn_channel), (2, 1));
    assert_eq!((counters.drop_unknown_protocol, counters.drop_oversized), (3, 1));
    assert!(counters.drop_stun_integrity >= 1 && counters.drop_stun_unknown_user >= 1);
    assert!(counters.drop_stun_fingerprint >= 1 && counters.drop_stun_malformed >= 1);
    let drops: u64 = counters.entries().filter(|entry| entry.name.starts_with("drop_")).map(|entry| entry.value).sum();
    assert_eq!(drops, counters.received_packets, "each for one reason");
}

#[test]
fn two_who_are_controlled_are_a_conflict() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    let request = world.binding_request(0, true, IceRole::Controlled(9));
    world.raw(world.clients[0].path, request);
    let answer = Message::parse(&world.clients[0].stun[0]).unwrap();
    assert_eq!((answer.class, answer.error_code()), (Class::Error, Some(487)));
    assert_eq!((world.engine.counters().tuples, world.engine.counters().stun_role_conflicts), (0, 1));
}

#[test]
fn dtls_goes_to_a_handshake_thread_and_back() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    let from = world.clients[0].path;
    world.check(0, false);
    world.raw_batch(vec![(from, vec![22, 1]), (from, vec![22, 2])]);
    let datagrams: Vec<_> = world
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Dtls { participant: ParticipantId(1), generation: 1, fingerprint, datagram } => {
                assert_eq!(fingerprint.bytes(), [1; 32]);
                Some(datagram.clone())
            }
            _ => None,
        })
        .collect();
    assert_eq!(datagrams, [vec![22, 1], vec![22, 2]]);
    world.dtls(0, DtlsInput::Send(vec![vec![22, 3], vec![22, 4, 5]]));
    assert_eq!(world.clients[0].dtls, [vec![22, 3], vec![22, 4, 5]]);
    assert_eq!(world.engine.counters().handshakes, 1);
    world.give_keys(0);
    assert_eq!((world.engine.counters().handshakes, world.engine.counters().connected), (0, 1));
    assert!(matches!(world.effects.last(), Some(Effect::Connected { participant: ParticipantId(1), generation: 1 })));
    world.give_keys(0);
    assert_eq!(world.engine.counters().drop_dtls_stale, 1, "keys are set once");
    for _ in 0..1_000 {
        world.raw(from, vec![22, 9]);
    }
    assert_eq!(world.engine.counters().drop_dtls_limit, 1_000 - u64::from(limits::HANDSHAKE_DATAGRAMS));
}

#[test]
fn where_we_are_the_dtls_client_a_check_begins_the_handshake() {
    let mut world = World::new();
    let mut passive = spec(1);
    if let Transport::Browser(browser) = &mut passive.transport {
        browser.dtls_role = DtlsRole::Client;
    }
    world.put(passive.clone()).unwrap();
    world.add_client(passive.clone());
    let begun = |world: &World| {
        let connect = |effect: &&Effect| {
            matches!(effect, Effect::DtlsConnect { participant: ParticipantId(1), generation: 1, fingerprint }
                if fingerprint.bytes() == [1; 32])
        };
        world.effects.iter().filter(connect).count()
    };
    assert_eq!(begun(&world), 0, "nobody is reachable yet");
    world.check(0, true);
    world.check(0, true);
    assert_eq!(begun(&world), 2, "said again until there is an answer");
    assert_eq!(world.engine.counters().handshakes, 1);
    world.raw(world.clients[0].path, vec![22, 2]);
    world.check(0, true);
    assert_eq!(begun(&world), 2);
    world.give_keys(0);
    world.check(0, true);
    assert_eq!((begun(&world), world.engine.counters().handshakes), (2, 0));
    assert!(world.put(spec(1)).is_err(), "the role changes only with a new generation");
}

#[test]
fn media_before_the_keys_is_dropped() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    world.check(0, true);
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.engine.counters().drop_srtp_no_keys, 1);
}

#[test]
fn a_failed_or_closed_session_ends_the_transport_once() {
    for (input, reason) in
        [(DtlsInput::Failed, DisconnectReason::DtlsFailed), (DtlsInput::Closed, DisconnectReason::DtlsClosed)]
    {
        let mut world = World::meeting(2);
        world.dtls(0, input);
        world.dtls(0, DtlsInput::Closed);
        assert_eq!(ended(&world), [(1, reason)]);
        assert!(world.effects.iter().any(|effect| matches!(effect, Effect::DtlsEnd { .. })));
        let counters = *world.engine.counters();
        assert_eq!((counters.connected, counters.tuples, counters.participants), (1, 1, 2));
        world.send(0, &Rtp::audio(100, 1));
        world.check(0, true);
        let counters = *world.engine.counters();
        assert_eq!((counters.drop_srtp_unchecked, counters.drop_stun_unknown_user), (1, 1));
        let connected: Vec<_> = world.engine.snapshot().map(|snapshot| snapshot.connected).collect();
        assert_eq!(connected, [false, true]);
    }
}

#[test]
fn consent_is_renewed_by_checks_and_ends_without() {
    let mut world = World::meeting(1);
    world.pass(120_000);
    assert!(ended(&world).is_empty());
    // Our last check may have been answered six seconds ago.
    world.answering = false;
    world.pass(23_900);
    assert!(ended(&world).is_empty());
    for sequence in 0..62 {
        world.send(0, &Rtp::audio(100, sequence));
        world.pass(100);
    }
    assert_eq!(
        ended(&world),
        [(1, DisconnectReason::ConsentExpired)],
        "neither media nor a check of theirs is consent"
    );
}

#[test]
fn who_does_not_connect_is_told_of() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    world.pass(29_000);
    assert!(ended(&world).is_empty());
    world.pass(2_000);
    assert_eq!(ended(&world), [(1, DisconnectReason::ConnectTimeout)]);
    assert_eq!(world.engine.counters().participants, 1);
}

#[test]
fn media_follows_the_nominated_path() {
    let mut world = World::meeting(2);
    let before = world.clients[1].path;
    // From Wi-Fi to the mobile network.
    world.clients[1].path = path(1);
    world.check(1, false);
    world.send(0, &Rtp::audio(100, 1));
    assert!(world.clients[1].rtp.is_empty());
    world.check(1, true);
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 1);
    world.clients[1].path = before;
    world.send(1, &Rtp::audio(200, 1));
    assert_eq!(world.clients[0].rtp.len(), 1, "packets under way on the old path still count");
}

#[test]
fn an_address_belongs_to_the_last_who_proved_its_password() {
    let mut world = World::meeting(2);
    world.clients[1].path = world.clients[0].path;
    world.check(1, true);
    assert_eq!(world.engine.counters().tuples, 2);
    world.remove(1);
    world.remove(2);
    assert_eq!(world.engine.counters().tuples, 0);
}

#[test]
fn an_ice_restart_keeps_the_media() {
    let mut world = World::meeting(2);
    let mut restarted = spec(1);
    restarted.transport.ice_mut().unwrap().local_ufrag = "local-1-2".into();
    restarted.transport.ice_mut().unwrap().local_pwd = IcePassword::new("another-password-of-participant-1");
    world.put(restarted.clone()).unwrap();
    world.check(0, true);
    assert_eq!(world.engine.counters().drop_stun_unknown_user, 0, "the old fragment is still valid");
    world.send(0, &Rtp::audio(100, 1));
    world.clients[0].spec = restarted;
    let old = world.clients[0].path;
    world.clients[0].path = path(9);
    world.check(0, true);
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 2);
    assert_eq!(world.engine.counters().ice_restarts, 1);
    world.clients[0].spec = spec(1);
    world.clients[0].path = old;
    world.check(0, true);
    assert_eq!(world.engine.counters().drop_stun_unknown_user, 1, "now it is not");
    assert!(ended(&world).is_empty());
}

#[test]
fn an_address_with_living_media_is_not_taken_over() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::audio(100, 1));
    let own = world.clients[1].path;
    world.clients[1].path = world.clients[0].path;
    world.check(1, true);
    assert_eq!(world.engine.counters().drop_stun_path_taken, 1);
    world.clients[1].path = own;
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].take(0x1000).len(), 2, "the victim is still heard");
    world.pass(6_000);
    world.clients[1].path = world.clients[0].path;
    world.check(1, true);
    assert_eq!(world.engine.counters().drop_stun_path_taken, 1, "a silent one's address may be somebody else's now");
}

#[test]
fn consent_is_that_of_the_path_on_which_we_send() {
    let mut world = World::meeting(2);
    let own = world.clients[1].path;
    // Nominates an address that is not its own, and goes on checking from its own.
    let forged = world.binding_request(1, true, IceRole::Controlling(1));
    let paid = forged.len();
    world.raw(path(1), forged);
    for sequence in 0..40 {
        world.send(0, &Rtp::audio(100, sequence));
        world.pass(1_000);
    }
    assert_eq!(world.clients[1].rtp.len(), 40, "media stays where there is consent");
    assert!(ended(&world).is_empty());
    let stranger: Vec<&Vec<u8>> = world.elsewhere.iter().flat_map(|(_, datagrams)| datagrams).collect();
    assert!(stranger.iter().all(|datagram| datagram[0] < 4), "nothing but STUN");
    assert!(stranger.iter().map(|datagram| datagram.len()).sum::<usize>() <= 3 * paid);
    // Its own path answers no more: no other has consent.
    world.answering = false;
    world.clients[1].path = path(2);
    world.pass(31_000);
    assert!(ended(&world).contains(&(2, DisconnectReason::ConsentExpired)));
    assert_eq!(own, world.elsewhere.last().unwrap().0);
}
