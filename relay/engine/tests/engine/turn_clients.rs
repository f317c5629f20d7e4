//! TURN clients of one relay with each other, and what one of them cannot take from others.

use super::harness::World;
use super::turn::*;
use plausch_engine::LocalSocket;
use plausch_engine::batch::Path;
use plausch_engine::effect::EngineCommand;
use plausch_engine::stun::Method;
use plausch_engine::turn::{Neighbour, TurnConfig, TurnLimits};
use plausch_relay_api::{ShardId, limits};
use std::net::SocketAddr;
use std::time::Duration;

const CHANNEL: u16 = 0x4123;

/// Two users, each with a relayed address and a permission for the other's.
fn pair(world: &mut World) -> [(Caller, SocketAddr); 2] {
    let mut a = Caller::member(1);
    let mut b = Caller::member(2).named("other");
    let relayed = [a.allocate(world), b.allocate(world)];
    assert_eq!(a.permit(world, &relayed[1].to_string()), 0);
    assert_eq!(b.permit(world, &relayed[0].to_string()), 0);
    [(a, relayed[0]), (b, relayed[1])]
}

#[test]
fn relayed_addresses_reach_each_other_in_memory() {
    let mut world = world();
    let [(mut a, relayed_a), (b, relayed_b)] = pair(&mut world);
    world.raw(a.path, send_indication(relayed_b, b"hello"));
    assert_eq!(read_indication(&world.sent_to(b.path)[0]), (relayed_a, b"hello".to_vec()));
    world.raw(b.path, send_indication(relayed_a, b""));
    assert_eq!(read_indication(&world.sent_to(a.path)[0]), (relayed_b, vec![]), "also what is empty");
    assert_eq!(a.bind(&mut world, CHANNEL, &relayed_b.to_string()), 0);
    world.raw(a.path, channel_data(CHANNEL, b"by channel"));
    assert_eq!(read_indication(&world.sent_to(b.path)[0]), (relayed_a, b"by channel".to_vec()));
    world.raw(b.path, send_indication(relayed_a, b"and back"));
    assert_eq!(world.sent_to(a.path), [channel_data(CHANNEL, b"and back")]);
    assert_eq!(world.engine.counters().turn_between_clients, 4);
    assert_eq!(world.open_ports(), [], "no socket is needed");
    assert_eq!(world.elsewhere, []);
}

#[test]
fn no_other_port_of_the_host_is_reached_and_nobody_without_a_permission() {
    let mut world = world();
    let [(mut a, relayed_a), (mut b, relayed_b)] = pair(&mut world);
    for port in [22, 3478, FIRST_PORT - 1, LAST_PORT + 1] {
        let peer = SocketAddr::new(relayed_b.ip(), port);
        world.raw(a.path, send_indication(peer, b"hello"));
        assert_eq!(a.bind(&mut world, CHANNEL, &peer.to_string()), 403, "{port}");
    }
    assert_eq!(world.engine.counters().drop_turn_forbidden_peer, 4);
    let free = (FIRST_PORT..=LAST_PORT).find(|port| ![relayed_a.port(), relayed_b.port()].contains(port)).unwrap();
    world.raw(a.path, send_indication(SocketAddr::new(relayed_b.ip(), free), b"hello"));
    assert_eq!(world.engine.counters().drop_turn_no_allocation, 1);
    assert_eq!(b.refresh(&mut world, 0), 0);
    let mut other = Caller::member(3).named("other");
    let relayed = other.allocate(&mut world);
    world.raw(a.path, send_indication(relayed, b"hello"));
    assert_eq!(world.engine.counters().drop_turn_no_permission, 1, "the other side has none");
    // Who was let in for media has a permission for media at the same address, which is not one for others.
    let mut visitor = Caller::visitor(4);
    let relayed = visitor.allocate(&mut world);
    assert_eq!(visitor.permit(&mut world, MEDIA), 0);
    world.raw(a.path, send_indication(relayed, b"hello"));
    assert_eq!(world.engine.counters().drop_turn_no_permission, 2);
    world.raw(visitor.path, send_indication(relayed_a, b"hello"));
    assert_eq!(world.engine.counters().drop_turn_forbidden_peer, 5);
    assert_eq!((world.open_ports(), &*world.elsewhere), (vec![], &[][..]));
}

/// Two shards of one relay.
fn shards() -> [World; 2] {
    let ranges = [FIRST_PORT..=FIRST_PORT + 49, FIRST_PORT + 50..=LAST_PORT];
    [0, 1].map(|shard: usize| {
        let other = 1 - shard;
        let neighbour = Neighbour { shard: ShardId(other as u16), relay_ports: ranges[other].clone() };
        let relay_ports = ranges[shard].clone();
        world_with(TurnConfig { relay_ports, neighbours: vec![neighbour], ..turn_config() })
    })
}

#[test]
fn relayed_addresses_of_two_shards_reach_each_other() {
    let [mut one, mut two] = shards();
    let (mut a, mut b) = (Caller::member(1), Caller::member(2).named("other"));
    let (relayed_a, relayed_b) = (a.allocate(&mut one), b.allocate(&mut two));
    assert_eq!(a.bind(&mut one, CHANNEL, &relayed_b.to_string()), 0);
    assert_eq!(b.permit(&mut two, &relayed_a.to_string()), 0);
    for data in [&b"hello"[..], b""] {
        one.raw(a.path, channel_data(CHANNEL, data));
        let to_two = Path { local: LocalSocket::neighbour(ShardId(1)), remote: relayed_b };
        let handed = one.sent_to(to_two);
        assert_eq!(handed.len(), 1);
        two.raw(Path { local: LocalSocket::neighbour(ShardId(0)), remote: relayed_b }, handed[0].clone());
        assert_eq!(read_indication(&two.sent_to(b.path)[0]), (relayed_a, data.to_vec()));
    }
    two.raw(Path { local: LocalSocket::neighbour(ShardId(0)), remote: relayed_b }, vec![4; 18]);
    assert_eq!(two.engine.counters().drop_turn_malformed, 1);
    assert_eq!((one.open_ports(), two.open_ports()), (vec![], vec![]));
}

#[test]
fn there_is_no_turn_within_turn() {
    let [mut one, mut two] = shards();
    let mut a = Caller::member(1);
    let relayed = a.allocate(&mut one);
    let nested = |relayed: SocketAddr| {
        let mut nested = Caller::member(3);
        nested.path.remote = SocketAddr::new("192.168.1.4".parse().unwrap(), relayed.port());
        nested
    };
    for world in [&mut one, &mut two] {
        let mut nested = nested(relayed);
        let request = nested.request(Method::ALLOCATE, &udp);
        assert_eq!(nested.exchange(world, request), None);
        nested.path.remote.set_ip(relayed.ip());
        let request = nested.request(Method::ALLOCATE, &udp);
        assert_eq!(nested.exchange(world, request), None);
        assert_eq!(world.engine.counters().drop_turn_within_turn, 2);
    }
}

#[test]
fn empty_datagrams_go_to_peers_and_come_from_them() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    assert_eq!(caller.bind(&mut world, CHANNEL, PEER), 0);
    let (local, _) = world.open_ports()[0];
    let path = Path { local, remote: address(PEER) };
    world.raw_batch(vec![
        (caller.path, channel_data(CHANNEL, b"x")),
        (caller.path, channel_data(CHANNEL, b"")),
        (caller.path, send_indication(address(PEER), b"")),
        (caller.path, channel_data(CHANNEL, b"y")),
    ]);
    let runs: usize = world.elsewhere.iter().filter(|(to, _)| *to == path).count();
    assert_eq!(runs, 4, "an empty datagram is not joined with others");
    assert_eq!(world.engine.counters().turn_to_peers, 4);
    world.elsewhere.clear();
    world.raw(path, vec![]);
    assert_eq!(world.sent_to(caller.path), [channel_data(CHANNEL, b"")]);
}

#[test]
fn a_network_has_its_share_of_relayed_addresses() {
    let limits = TurnLimits { allocations_per_user: 10_000, ..TurnLimits::default() };
    let mut world = world_with(TurnConfig { relay_ports: 50_000..=51_023, limits, ..turn_config() });
    let from = |host: u8, port: u16| {
        let mut caller = Caller::member(port);
        caller.path.remote.set_ip([192, 0, 2, host].into());
        caller
    };
    let mut take = |host: u8| {
        (1..2_000).take_while(|&port| from(host, port).code(&mut world, Method::ALLOCATE, &udp) == 0).count()
    };
    // 1024 ports on two addresses.
    let share = 2_048 / limits::TURN_SHARE_OF_ADDRESS;
    assert_eq!([take(1), take(2), take(3)], [share, share, 0]);
    assert!(world.engine.counters().turn_refused_network >= 3);
    let mut elsewhere = Caller::member(1);
    elsewhere.path.remote.set_ip([198, 51, 100, 1].into());
    elsewhere.allocate(&mut world);
    let mut joined = Caller::visitor(5_000);
    joined.path.remote.set_ip([192, 0, 2, 1].into());
    joined.allocate(&mut world);
}

#[test]
fn an_allocation_that_lets_nobody_in_does_not_live_for_long() {
    let unused = Duration::from_millis(limits::TURN_UNUSED_MS).as_secs();
    let mut world = world_with(TurnConfig { limits: TurnLimits::default(), ..turn_config() });
    let (mut idle, mut used) = (Caller::member(1), Caller::member(2).named("other"));
    idle.allocate(&mut world);
    used.allocate(&mut world);
    world.wait_s(unused - 1);
    assert_eq!(idle.refresh(&mut world, 600), 0);
    assert_eq!(used.permit(&mut world, PEER), 0);
    world.wait_s(2);
    assert_eq!(idle.refresh(&mut world, 600), 437, "asking for more time is no use of it");
    assert_eq!(used.refresh(&mut world, 3_600), 0);
    assert_eq!((world.engine.counters().turn_allocations, world.engine.counters().turn_unused), (1, 1));
    world.wait_s(300 + unused - 3);
    assert_eq!(used.refresh(&mut world, 3_600), 0);
    world.wait_s(3);
    assert_eq!(used.refresh(&mut world, 3_600), 437);
    assert_eq!(world.open_ports(), []);
}

#[test]
fn one_who_guesses_does_not_hold_up_the_neighbours() {
    let mut world = world();
    let guesser = |host: u8| {
        let mut guesser = Caller::member(1).named("nobody");
        guesser.path.remote.set_ip([192, 0, 2, host].into());
        guesser
    };
    let mut first = guesser(1);
    for _ in 0..2 * limits::TURN_GUESSES_BURST {
        let request = first.request(Method::ALLOCATE, &udp);
        if let Some(challenge) = first.exchange(&mut world, request) {
            first.take_nonce(&challenge);
        }
    }
    assert!(world.engine.counters().drop_turn_stranger_limit > 900);
    Caller::visitor(7).allocate(&mut world);
    let mut member = Caller::member(8);
    member.allocate(&mut world);
}

#[test]
fn a_clock_that_jumps_ends_no_allocation_and_keeps_nobody_out() {
    let mut world = world();
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    assert_eq!(caller.permit(&mut world, MEDIA), 0);
    for (at, newcomer) in [(40_000, 0), (-80_000_i64, 0), (90_000, 401), (0, 0), (-1_000_000_000, 0), (7, 0)] {
        world.command(EngineCommand::UnixTime { seconds: NOW_UNIX.saturating_add_signed(at) });
        let stale = caller.request(Method::REFRESH, &|_| {});
        assert_eq!(caller.exchange(&mut world, stale).unwrap().code(), 438, "{at}");
        assert_eq!(caller.refresh(&mut world, 3_600), 0, "{at}");
        // Its credentials are good until a day from the beginning.
        let mut late = Caller::visitor(2);
        assert_eq!(late.code(&mut world, Method::ALLOCATE, &udp), newcomer, "{at}");
        if newcomer == 0 {
            assert_eq!(late.refresh(&mut world, 0), 0);
        }
    }
}
