//! What those get who have proved nothing, and that nobody can have us send much to somebody else; while a school may.

use super::harness::World;
use super::turn::*;
use plausch_engine::batch::Path;
use plausch_engine::stun::{AttributeType, MessageWriter, Method};
use plausch_engine::turn::{TurnConfig, TurnLimits};
use plausch_relay_api::limits;

/// With room for thousands.
fn large_world() -> World {
    let limits = TurnLimits { allocations_per_user: 10_000, ..TurnLimits::default() };
    world_with(TurnConfig { relay_ports: 20_000..=40_000, limits, ..turn_config() })
}

fn forged(caller: &Caller, host: u32) -> Path {
    let [.., b, c] = host.to_be_bytes();
    Path { remote: ([192, 0, 2, c], 7 + u16::from(b)).into(), ..caller.path }
}

/// Answers, and their bytes.
fn answered(world: &mut World) -> (usize, usize) {
    let all: Vec<_> = world.elsewhere.drain(..).flat_map(|(_, datagrams)| datagrams).collect();
    (all.len(), all.iter().map(Vec::len).sum())
}

#[test]
fn forgers_have_little_more_sent_than_they_send() {
    let mut world = world();
    let bare = Caller::member(1).request(Method::ALLOCATE, &udp);
    let kinds = [
        bare.clone(),
        binding(1, &[], false),
        binding(1, &[(AttributeType(0x7fff), b"?")], true),
        binding(1, &[(AttributeType::MESSAGE_INTEGRITY, &[0; 20])], false),
    ];
    let burst = limits::TURN_STRANGER_BYTES_BURST as usize;
    for request in &kinds {
        for host in 0..20_000 {
            world.raw(forged(&Caller::member(1), host), request.clone());
        }
        let (answers, bytes) = answered(&mut world);
        assert!((1_000..=burst / limits::TURN_STRANGER_BYTES_LEAST).contains(&answers), "{answers}");
        assert!(bytes <= answers * request.len() + burst, "{answers} answers with {bytes} bytes");
        assert_eq!(world.engine.counters().drop_turn_stranger_limit, 20_000 - answers as u64);
        // And then as much as is allowed in a second.
        world.wait_s(10);
        for host in 0..20_000 {
            world.raw(forged(&Caller::member(1), host), request.clone());
        }
        let (answers, bytes) = answered(&mut world);
        // And what is left of a nanosecond now and then.
        let allowed = 10 * limits::TURN_STRANGER_BYTES_PER_SECOND as usize + 100;
        assert!(answers > 100 && bytes <= answers * request.len() + allowed, "{answers} answers with {bytes} bytes");
        // Somebody from elsewhere is served.
        let mut caller = Caller::visitor(1);
        caller.path.remote = ([198, 51, 100, 1], 7).into();
        caller.allocate(&mut world);
        world = self::world();
    }
}

#[test]
fn a_request_as_long_as_the_challenge_is_answered_with_no_more() {
    let mut world = world();
    let mut caller = Caller::member(1);
    for padding in [0, 24, 44, 48, 200] {
        let request = caller.request(Method::ALLOCATE, &|writer: &mut MessageWriter<'_>| {
            udp(writer);
            writer.attribute(AttributeType::SOFTWARE, &vec![b'x'; padding]);
        });
        let asked = request.len();
        let reply = caller.exchange(&mut world, request).unwrap();
        assert_eq!((reply.code(), reply.0.len()), (401, 80));
        assert!(asked < 80 || reply.0.len() <= asked);
    }
}

#[test]
fn a_thousand_people_behind_one_address_reload_at_once() {
    let mut world = large_world();
    for round in 0..5 {
        // Each with two networks, and nobody has had an answer before the last one asks.
        let mut callers: Vec<_> = (0..2_000).map(|n| Caller::visitor(1 + round * 2_000 + n)).collect();
        for caller in &mut callers {
            let request = caller.request(Method::ALLOCATE, &udp);
            let challenge = caller.exchange(&mut world, request).expect("a challenge");
            caller.take_nonce(&challenge);
        }
        for caller in &mut callers {
            caller.allocate(&mut world);
        }
        assert_eq!(world.engine.counters().drop_turn_stranger_limit, 0, "round {round}");
        for caller in &mut callers {
            assert_eq!(caller.refresh(&mut world, 0), 0);
        }
    }
}

#[test]
fn whoever_guesses_gets_nothing_back() {
    let mut world = world();
    let mut guesser = Caller::member(1).named("nobody");
    let request = guesser.request(Method::ALLOCATE, &udp);
    let challenge = guesser.exchange(&mut world, request).unwrap();
    guesser.take_nonce(&challenge);
    let mut guesses = 0;
    for _ in 0..20_000 {
        let request = guesser.request(Method::ALLOCATE, &udp);
        guesses += usize::from(guesser.exchange(&mut world, request).is_some_and(|reply| reply.code() == 401));
    }
    let most = limits::TURN_GUESSES_BURST as usize;
    assert_eq!(guesses, most);
    // By TCP they are as slow, and who only asks is not held up.
    let mut by_tcp = Caller::member(2).named("nobody").at_edge();
    let request = by_tcp.request(Method::ALLOCATE, &udp);
    let challenge = by_tcp.exchange(&mut world, request).unwrap();
    by_tcp.take_nonce(&challenge);
    let mut guesses = 0;
    for _ in 0..20_000 {
        let request = by_tcp.request(Method::ALLOCATE, &udp);
        guesses += usize::from(by_tcp.exchange(&mut world, request).is_some());
    }
    assert_eq!(guesses, most);
    let mut asks = Caller::visitor(3).at_edge();
    let request = asks.request(Method::ALLOCATE, &udp);
    assert_eq!(asks.exchange(&mut world, request).unwrap().code(), 401);
}

#[test]
fn one_who_answers_does_not_pay_for_forgers_elsewhere() {
    let mut world = large_world();
    let bare = Caller::member(1).request(Method::ALLOCATE, &udp);
    let mut honest = Caller::visitor(1);
    honest.allocate(&mut world);
    let before = answered_to_forgers(&mut world, &bare);
    // Its requests have more bytes than what they make up for.
    let mut sent = 0;
    for _ in 0..1_000 {
        let request = honest.request(Method::REFRESH, &|_| {});
        sent += request.len();
        honest.exchange(&mut world, request).unwrap();
    }
    let after = answered_to_forgers(&mut world, &bare);
    assert!(before > 2_000 && after > 0);
    assert!(after * (80 - bare.len()) <= sent, "{after} answers for {sent} bytes");
}

#[test]
fn forgers_do_not_keep_out_who_has_had_an_answer() {
    let mut world = large_world();
    let mut honest = Caller::visitor(1);
    let request = honest.request(Method::ALLOCATE, &udp);
    let challenge = honest.exchange(&mut world, request).unwrap();
    honest.take_nonce(&challenge);
    let bare = Caller::member(1).request(Method::ALLOCATE, &udp);
    answered_to_forgers(&mut world, &bare);
    let late = Caller::visitor(2).request(Method::ALLOCATE, &udp);
    assert_eq!(honest.exchange(&mut world, late), None, "who comes later has to come by TCP");
    honest.allocate(&mut world);
    assert_eq!(honest.refresh(&mut world, 0), 0);
    Caller::visitor(2).at_edge().allocate(&mut world);
}

fn answered_to_forgers(world: &mut World, request: &[u8]) -> usize {
    for host in 0..20_000 {
        world.raw(forged(&Caller::member(1), host), request.to_vec());
    }
    answered(world).0
}
