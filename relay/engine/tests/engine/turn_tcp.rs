//! TCP allocations (RFC 6062): what is granted and refused, who may connect, and how it ends. The edge is the test.

use super::harness::World;
use super::turn::*;
use plausch_engine::batch::Path;
use plausch_engine::effect::{EdgeNews, EdgeTask, Effect, EngineCommand};
use plausch_engine::stun::{AttributeType, Class, Message, MessageWriter, Method};
use plausch_engine::turn::{ConnectionId, Prefix, TcpAllocations, TurnConfig, TurnLimits};
use plausch_relay_api::{Command, TurnSecret, TurnSettings};
use proptest::prelude::*;
use std::net::SocketAddr;

const OWN_PORT: u16 = 3478;
const CONTROL_PORT: u16 = 8080;
const LOCAL: &str = "192.168.1.4";

fn tcp_config() -> TurnConfig {
    let tcp = TcpAllocations {
        own_ports: vec![OWN_PORT],
        connections: 6,
        connections_per_allocation: 3,
        connections_per_user: 5,
    };
    // An operator who lets clients reach services of this very host.
    let single = |ip: &str, bits| Prefix { address: ip.parse().unwrap(), bits };
    let mut allow_peers = turn_config().allow_peers;
    allow_peers.extend([single("127.0.0.0", 8), single("198.41.0.4", 32)]);
    TurnConfig { tcp: Some(tcp), allow_peers, ..turn_config() }
}

fn tcp_world() -> World {
    let mut world = world_with(tcp_config());
    let settings =
        TurnSettings { secrets: vec![TurnSecret::new(SECRET)], ports: vec![CONTROL_PORT], ..TurnSettings::default() };
    world.control(Command::SetTurn(Box::new(settings))).unwrap();
    world
}

fn tcp(writer: &mut MessageWriter<'_>) {
    writer.attribute(AttributeType::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
}

fn member(port: u16) -> Caller {
    Caller::member(port).at_edge()
}

/// With an allocation; and its relayed address as the edge's socket has it.
fn allocated(world: &mut World, port: u16) -> (Caller, SocketAddr) {
    let mut caller = member(port);
    let reply = caller.ask(world, Method::ALLOCATE, &tcp);
    assert_eq!((reply.code(), reply.lifetime()), (0, 600));
    let relayed = reply.relayed()[0];
    assert_eq!(relayed.ip(), address(MEDIA).ip(), "the announced address");
    (caller, SocketAddr::new(LOCAL.parse().unwrap(), relayed.port()))
}

impl World {
    /// What the edge was told since this was asked last.
    fn tasks(&mut self) -> Vec<(Path, EdgeTask)> {
        let told = std::mem::take(&mut self.effects).into_iter().map(|effect| match effect {
            Effect::Edge { client, task } => (client, task),
            other => panic!("{other:?} is not for the edge"),
        });
        told.collect()
    }

    fn task(&mut self) -> EdgeTask {
        let mut tasks = self.tasks();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        tasks.remove(0).1
    }

    fn news(&mut self, news: EdgeNews) {
        self.command(EngineCommand::Edge(news));
    }
}

fn peer_attribute(peer: SocketAddr) -> impl Fn(&mut MessageWriter<'_>) {
    move |writer| {
        writer.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
    }
}

/// A refusal, or 0 when there is no answer yet.
fn connect(caller: &mut Caller, world: &mut World, peer: &str) -> u16 {
    let request = caller.request(Method::CONNECT, &peer_attribute(address(peer)));
    caller.exchange(world, request).map_or(0, |reply| reply.code())
}

/// Asks for a connection, which the edge begins.
fn connecting(caller: &mut Caller, world: &mut World, from: SocketAddr, peer: &str) -> ConnectionId {
    world.tasks();
    assert_eq!(connect(caller, world, peer), 0);
    match world.task() {
        EdgeTask::Connect { connection, from: local, to } => {
            assert_eq!((local, to), (from, address(peer)));
            connection
        }
        other => panic!("{other:?}"),
    }
}

fn id_of(message: &Message<'_>) -> Option<ConnectionId> {
    ConnectionId::of(message)
}

/// The connection is there, and the client is told.
fn connected(caller: &mut Caller, world: &mut World, from: SocketAddr, peer: &str) -> ConnectionId {
    let connection = connecting(caller, world, from, peer);
    world.news(EdgeNews::Connected { connection });
    let answers = world.sent_to(caller.path);
    assert_eq!(answers.len(), 1);
    let message = Message::parse(&answers[0]).unwrap();
    assert_eq!((message.class, message.method), (Class::Success, Method::CONNECT));
    assert!(message.integrity_kind().is_some());
    assert_eq!(id_of(&message), Some(connection));
    connection
}

fn bind(caller: &mut Caller, world: &mut World, connection: ConnectionId) -> u16 {
    caller.code(world, Method::CONNECTION_BIND, &|writer| {
        writer.attribute(AttributeType::CONNECTION_ID, &connection.0.to_be_bytes());
    })
}

fn gauges(world: &World) -> (u64, u64, u64) {
    let counters = world.engine.counters();
    (counters.turn_allocations, counters.turn_ports, counters.turn_connections)
}

#[test]
fn a_tcp_allocation_is_for_who_came_by_tcp_and_may_have_peers() {
    let code = |world: &mut World, caller: Caller, more: &[(AttributeType, &[u8])]| {
        let fill = |writer: &mut MessageWriter<'_>| {
            tcp(writer);
            more.iter().for_each(|(kind, value)| {
                writer.attribute(*kind, value);
            });
        };
        caller.clone().code(world, Method::ALLOCATE, &fill)
    };
    assert_eq!(code(&mut world(), member(1), &[]), 442, "it is switched off");
    let mut world = tcp_world();
    assert_eq!(code(&mut world, Caller::member(1), &[]), 400, "by UDP");
    assert_eq!(code(&mut world, Caller::visitor(1).at_edge(), &[]), 403);
    for udp_only in [
        (AttributeType::EVEN_PORT, &[0][..]),
        (AttributeType::DONT_FRAGMENT, &[]),
        (AttributeType::RESERVATION_TOKEN, &[0; 8]),
    ] {
        assert_eq!(code(&mut world, member(1), &[udp_only]), 400, "{:?}", udp_only.0);
    }
    assert_eq!(world.engine.counters().turn_allocations, 0);
    assert_eq!(code(&mut world, member(1), &[(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])]), 0);
    assert_eq!(code(&mut world, member(2), &[]), 0);
    assert!(world.tasks().is_empty(), "no socket before there is somebody to expect");
}

#[test]
fn a_client_connects_to_a_peer_and_binds_the_connection() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    let connection = connected(&mut caller, &mut world, from, PEER);
    let mut data = member(2);
    assert_eq!(bind(&mut data, &mut world, connection), 0);
    let counters = *world.engine.counters();
    assert_eq!((counters.turn_connections, counters.turn_connected, counters.turn_bound), (1, 1, 1));
    assert_eq!(bind(&mut member(3), &mut world, connection), 400, "bound is bound");
    assert_eq!(connect(&mut caller, &mut world, PEER), 446);
    assert_eq!(world.engine.counters().turn_refused_connection_exists, 1);
    world.wait_s(300);
    assert!(world.tasks().is_empty(), "it lives as long as the allocation");
    world.edge_closed(data.path);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Close { connection })]);
    assert_eq!(gauges(&world), (1, 0, 0));
    // Another connection from the same address is another one.
    let again = connected(&mut caller, &mut world, from, PEER);
    assert_ne!(again, connection);
}

#[test]
fn numbers_of_connections_do_not_follow_each_other() {
    let mut config = tcp_config();
    config.tcp = config.tcp.map(|tcp| TcpAllocations {
        connections: 200,
        connections_per_allocation: 200,
        connections_per_user: 200,
        ..tcp
    });
    config.limits = TurnLimits { new_peers_per_second: 1_000_000, ..config.limits };
    let mut world = world_with(config);
    let (mut caller, from) = allocated(&mut world, 1);
    let ids: Vec<u32> =
        (0..64).map(|port| connecting(&mut caller, &mut world, from, &format!("8.8.4.4:{}", 1_000 + port)).0).collect();
    let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 1 << 20).count();
    assert!(near < 4, "{ids:?}");
    let ones: u32 = ids.iter().map(|id| id.count_ones()).sum();
    assert!((900..1_150).contains(&ones), "{ones} of 2048 bits");
}

#[test]
fn a_connection_that_fails_or_takes_too_long_is_answered_with_447() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    let failed = |world: &mut World, caller: &Caller| {
        let answers = world.sent_to(caller.path);
        assert_eq!(answers.len(), 1);
        Reply(answers[0].clone()).code()
    };
    let connection = connecting(&mut caller, &mut world, from, PEER);
    assert_eq!(connect(&mut caller, &mut world, PEER), 446, "it is under way");
    world.news(EdgeNews::Failed { connection });
    assert_eq!(failed(&mut world, &caller), 447);
    assert_eq!(gauges(&world), (1, 0, 0));
    assert!(world.tasks().is_empty(), "the edge knows");

    let connection = connecting(&mut caller, &mut world, from, PEER);
    assert_eq!(bind(&mut member(2), &mut world, connection), 400, "not yet");
    world.wait_s(29);
    assert!(world.sent_to(caller.path).is_empty());
    world.wait_s(1);
    assert_eq!(failed(&mut world, &caller), 447);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Close { connection })]);
    world.news(EdgeNews::Connected { connection });
    assert!(world.sent_to(caller.path).is_empty(), "too late");
    assert_eq!(world.engine.counters().turn_refused_connection_failed, 2);
}

#[test]
fn a_connection_that_nobody_binds_is_closed() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    let connection = connected(&mut caller, &mut world, from, PEER);
    world.wait_s(29);
    assert!(world.tasks().is_empty());
    world.wait_s(1);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Close { connection })]);
    assert_eq!(bind(&mut member(2), &mut world, connection), 400);
    assert_eq!(world.engine.counters().drop_turn_unbound, 1);
    assert_eq!(gauges(&world), (1, 0, 0));
}

#[test]
fn connect_has_the_deny_list_and_never_reaches_ourselves() {
    let mut world = tcp_world();
    let (mut caller, _) = allocated(&mut world, 1);
    let own_port = |ip: &str, port: u16| format!("{ip}:{port}");
    for forbidden in [
        "0.0.0.0:80",
        "10.21.3.4:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "172.16.0.1:80",
        "192.168.1.1:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "8.8.4.4:0",
        "[::ffff:10.21.3.4]:80",
        // Allowed hosts, but what listens there is ours.
        &own_port("127.0.0.1", OWN_PORT),
        &own_port("127.8.7.6", OWN_PORT),
        &own_port("[::ffff:127.0.0.1]", CONTROL_PORT),
        &own_port("198.41.0.4", OWN_PORT),
        &own_port("198.41.0.4", CONTROL_PORT),
    ] {
        assert_eq!(connect(&mut caller, &mut world, forbidden), 403, "{forbidden}");
    }
    assert!(world.tasks().is_empty());
    for allowed in ["8.8.4.4:80", "127.0.0.1:80", "10.20.3.4:3478"] {
        assert_eq!(connect(&mut caller, &mut world, allowed), 0, "{allowed}");
    }
    assert_eq!(world.tasks().len(), 3);
    assert_eq!(connect(&mut caller, &mut world, "[2a00::1]:80"), 443, "another family");

    // Without such a range nothing of this host is reached, its media neither.
    let mut world = world_with(TurnConfig { allow_peers: vec![], ..tcp_config() });
    let (mut caller, from) = allocated(&mut world, 1);
    for forbidden in [MEDIA, OTHER_SHARD, "127.0.0.1:80", "198.41.0.4:80", &from.to_string()] {
        assert_eq!(connect(&mut caller, &mut world, forbidden), 403, "{forbidden}");
        let code = caller.permit(&mut world, forbidden);
        assert_eq!(code, 403, "{forbidden}: media by UDP is no reason for TCP");
    }
    let mut six = member(2);
    let fill = |writer: &mut MessageWriter<'_>| {
        tcp(writer);
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    };
    assert_eq!(six.code(&mut world, Method::ALLOCATE, &fill), 0);
    for forbidden in
        ["[::]:80", "[::1]:80", "[64:ff9b::808:808]:80", "[2002:808:808::1]:80", "[fe80::1]:80", "[fd00::1]:80"]
    {
        assert_eq!(connect(&mut six, &mut world, forbidden), 403, "{forbidden}");
    }
    assert_eq!(connect(&mut six, &mut world, "[2a00::1]:80"), 0);
}

#[test]
fn nobody_connects_to_themselves() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    let announced = format!("198.41.0.4:{}", from.port());
    assert_eq!(connect(&mut caller, &mut world, &announced), 403);
    let next = format!("198.41.0.4:{}", from.port() ^ 1);
    assert_eq!(connect(&mut caller, &mut world, &next), 0, "another's relayed address, which the operator allows");
}

#[test]
fn requests_that_make_no_sense() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    assert_eq!(caller.code(&mut world, Method::CONNECT, &|_| {}), 400);
    let malformed = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 1, 2]);
    };
    assert_eq!(caller.code(&mut world, Method::CONNECT, &malformed), 400);
    assert_eq!(caller.bind(&mut world, 0x4000, PEER), 403, "channels are for datagrams");
    world.raw(caller.path, send_indication(address(PEER), b"datum"));
    world.raw(caller.path, channel_data(0x4000, b"datum"));
    assert_eq!(world.engine.counters().drop_turn_malformed, 1);
    assert!(world.elsewhere.is_empty() && world.tasks().is_empty());

    let mut without = member(2);
    assert_eq!(without.code(&mut world, Method::CONNECT, &peer_attribute(address(PEER))), 437);
    let mut by_udp = member(3);
    by_udp.allocate(&mut world);
    assert_eq!(connect(&mut by_udp, &mut world, PEER), 403);

    let connection = connected(&mut caller, &mut world, from, PEER);
    assert_eq!(member(4).code(&mut world, Method::CONNECTION_BIND, &|_| {}), 400);
    assert_eq!(bind(&mut member(4), &mut world, ConnectionId(connection.0 ^ 1)), 400);
    assert_eq!(bind(&mut Caller::member(4), &mut world, connection), 400, "by UDP");
    assert_eq!(bind(&mut caller, &mut world, connection), 400, "this is the control connection");
    assert_eq!(bind(&mut member(4).named("other"), &mut world, connection), 441);
    assert_eq!(bind(&mut Caller::visitor(4).at_edge(), &mut world, connection), 441);
    assert_eq!(bind(&mut member(4).named("nobody"), &mut world, connection), 401);
    let unknown = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::CONNECTION_ID, &connection.0.to_be_bytes());
        writer.attribute(AttributeType(0x7777), b"?");
    };
    assert_eq!(member(4).code(&mut world, Method::CONNECTION_BIND, &unknown), 420);
    let bare = member(4).request(Method::CONNECTION_BIND, &|writer| {
        writer.attribute(AttributeType::CONNECTION_ID, &connection.0.to_be_bytes());
    });
    assert_eq!(member(4).exchange(&mut world, bare).unwrap().code(), 401);
    let mut data = member(4);
    assert_eq!(bind(&mut data, &mut world, connection), 0, "and it is there still");
    let second = connected(&mut caller, &mut world, from, "8.8.4.4:5001");
    assert_eq!(bind(&mut data, &mut world, second), 400, "one for one");
}

#[test]
fn a_nonce_is_good_for_all_tcp_connections_of_a_client_and_for_no_others() {
    let mut world = tcp_world();
    let (mut caller, from) = allocated(&mut world, 1);
    let connection = connected(&mut caller, &mut world, from, PEER);
    let fill = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::CONNECTION_ID, &connection.0.to_be_bytes());
    };
    let mut elsewhere = caller.clone();
    elsewhere.path.remote = address("192.0.2.34:2");
    let request = elsewhere.request(Method::CONNECTION_BIND, &fill);
    assert_eq!(elsewhere.exchange(&mut world, request).unwrap().code(), 438);
    let mut data = caller.clone();
    data.path.remote.set_port(2);
    let request = data.request(Method::CONNECTION_BIND, &fill);
    assert_eq!(data.exchange(&mut world, request).unwrap().code(), 0, "at once");
}

#[test]
fn peers_with_a_permission_are_announced_and_others_closed() {
    let mut world = tcp_world();
    let (mut caller, local) = allocated(&mut world, 1);
    let accepted = |socket, peer: &str, at: SocketAddr, client: Path| EdgeNews::Accepted {
        client,
        address: at,
        socket,
        peer: address(peer),
    };
    assert_eq!(caller.permit(&mut world, PEER), 0);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Listen { address: local })]);
    assert_eq!(caller.permit(&mut world, "1.1.1.1:1"), 0);
    assert!(world.tasks().is_empty(), "once");

    let refused = |world: &mut World, news: EdgeNews| {
        world.news(news);
        assert!(world.elsewhere.is_empty(), "nothing is said of it");
        assert!(matches!(world.task(), EdgeTask::Judge { connection: None, .. }));
    };
    refused(&mut world, accepted(1, "9.9.9.9:5", local, caller.path));
    assert_eq!(world.engine.counters().drop_turn_peer_forbidden, 1);
    let mut other_port = local;
    other_port.set_port(local.port() ^ 1);
    refused(&mut world, accepted(2, PEER, other_port, caller.path));
    refused(&mut world, accepted(3, PEER, local, member(9).path));

    world.news(accepted(4, "8.8.4.4:777", local, caller.path));
    let EdgeTask::Judge { socket: 4, connection: Some(connection) } = world.task() else { panic!("it is wanted") };
    let told = world.sent_to(caller.path);
    let message = Message::parse(&told[0]).unwrap();
    assert_eq!((told.len(), message.class, message.method), (1, Class::Indication, Method::CONNECTION_ATTEMPT));
    assert_eq!(id_of(&message), Some(connection));
    let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten();
    assert_eq!(peer, Some(address("8.8.4.4:777")));
    assert_eq!(bind(&mut member(2), &mut world, connection), 0);
    assert_eq!(connect(&mut caller, &mut world, "8.8.4.4:777"), 446);

    // One that could not be kept.
    world.news(accepted(5, "8.8.4.4:778", local, caller.path));
    let EdgeTask::Judge { connection: Some(lost), .. } = world.task() else { panic!("it is wanted") };
    world.sent_to(caller.path);
    world.news(EdgeNews::Failed { connection: lost });
    assert_eq!(gauges(&world), (1, 1, 1));
    assert_eq!(bind(&mut member(3), &mut world, lost), 400);

    world.wait_s(301);
    refused(&mut world, accepted(6, "8.8.4.4:779", local, caller.path));
    assert_eq!(world.engine.counters().turn_accepted, 2);
}

#[test]
fn a_port_that_cannot_be_listened_on_is_tried_again_when_asked() {
    let mut world = tcp_world();
    let (mut caller, local) = allocated(&mut world, 1);
    assert_eq!(caller.permit(&mut world, PEER), 0);
    let failed = EdgeNews::ListenFailed { client: caller.path, address: local };
    world.news(failed);
    world.news(failed);
    world.news(EdgeNews::ListenFailed { client: member(2).path, address: local });
    assert_eq!(gauges(&world), (1, 0, 0));
    assert_eq!(world.engine.counters().turn_ports_failed, 1);
    world.tasks();
    assert_eq!(caller.permit(&mut world, PEER), 0);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Listen { address: local })]);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    assert_eq!(world.tasks(), [(caller.path, EdgeTask::Unlisten { address: local })]);
    assert_eq!(gauges(&world), (0, 0, 0));
}

#[test]
fn connections_have_limits() {
    let mut world = tcp_world();
    let peer = |n: u16| format!("8.8.4.4:{n}");
    let (mut first, _) = allocated(&mut world, 1);
    let (mut second, _) = allocated(&mut world, 2);
    for port in 1..=3 {
        assert_eq!(connect(&mut first, &mut world, &peer(port)), 0);
    }
    assert_eq!(connect(&mut first, &mut world, &peer(4)), 486, "one allocation has three");
    assert_eq!(connect(&mut second, &mut world, &peer(1)), 0);
    assert_eq!(connect(&mut second, &mut world, &peer(2)), 0);
    assert_eq!(connect(&mut second, &mut world, &peer(3)), 486, "and one user five");
    let mut other = member(3).named("other");
    let reply = other.ask(&mut world, Method::ALLOCATE, &tcp);
    let local = SocketAddr::new(LOCAL.parse().unwrap(), reply.relayed()[0].port());
    assert_eq!(other.permit(&mut world, PEER), 0);
    assert_eq!(connect(&mut other, &mut world, &peer(1)), 0);
    assert_eq!(connect(&mut other, &mut world, &peer(2)), 508, "and all six");
    world.tasks();
    world.news(EdgeNews::Accepted { client: other.path, address: local, socket: 1, peer: address("8.8.4.4:3") });
    assert_eq!(world.task(), EdgeTask::Judge { socket: 1, connection: None });
    assert_eq!(world.engine.counters().drop_turn_peer_limit, 1);
    assert_eq!(first.refresh(&mut world, 0), 0);
    assert_eq!(connect(&mut other, &mut world, &peer(2)), 0, "places come back");
}

#[test]
fn connecting_everywhere_is_slow() {
    let mut config = tcp_config();
    let limits = TurnLimits { new_peers_per_second: 2, permissions_per_allocation: 4, ..config.limits };
    config.limits = limits;
    let mut world = world_with(config);
    let (mut caller, from) = allocated(&mut world, 1);
    for port in 1..=4 {
        let connection = connecting(&mut caller, &mut world, from, &format!("8.8.4.4:{port}"));
        world.news(EdgeNews::Failed { connection });
        world.sent_to(caller.path);
    }
    assert_eq!(connect(&mut caller, &mut world, "8.8.4.4:5"), 508);
    world.wait_s(1);
    assert_eq!(connect(&mut caller, &mut world, "8.8.4.4:5"), 0);
}

#[test]
fn everything_ends_with_the_allocation() {
    type End = fn(&mut World, &mut Caller);
    let ends: [End; 3] = [
        |world, caller| assert_eq!(caller.refresh(world, 0), 0),
        |world, caller| world.edge_closed(caller.path),
        |world, _| world.wait_s(601),
    ];
    for end in ends {
        let mut world = tcp_world();
        let (mut caller, local) = allocated(&mut world, 1);
        assert_eq!(caller.permit(&mut world, PEER), 0);
        let bound = connected(&mut caller, &mut world, local, "8.8.4.4:1");
        let mut data = member(2);
        assert_eq!(bind(&mut data, &mut world, bound), 0);
        let waiting = connected(&mut caller, &mut world, local, "8.8.4.4:2");
        let under_way = connecting(&mut caller, &mut world, local, "8.8.4.4:3");
        end(&mut world, &mut caller);
        let mut closed: Vec<_> = world.tasks().into_iter().map(|(_, task)| task).collect();
        // Those that wait may have come to their own end before.
        let expected = [bound, waiting, under_way].map(|connection| EdgeTask::Close { connection });
        for task in expected.into_iter().chain([EdgeTask::Unlisten { address: local }]) {
            let place = closed.iter().position(|it| *it == task);
            closed.remove(place.unwrap_or_else(|| panic!("{task:?} is missing")));
        }
        assert_eq!(closed, []);
        assert_eq!(gauges(&world), (0, 0, 0));
        world.edge_closed(data.path);
        assert!(world.tasks().is_empty());
    }
}

#[test]
fn a_family_takes_its_connections_with_it() {
    let mut world = tcp_world();
    let mut caller = member(1);
    let both = |writer: &mut MessageWriter<'_>| {
        tcp(writer);
        writer.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    };
    let reply = caller.ask(&mut world, Method::ALLOCATE, &both);
    let [four, six] = reply.relayed()[..] else { panic!("two families") };
    let four = SocketAddr::new(LOCAL.parse().unwrap(), four.port());
    let stays = connected(&mut caller, &mut world, four, PEER);
    let goes = connected(&mut caller, &mut world, six, "[2a00::1]:80");
    assert_eq!(bind(&mut member(2), &mut world, stays), 0);
    let end = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::LIFETIME, &[0; 4]);
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    };
    assert_eq!(caller.code(&mut world, Method::REFRESH, &end), 0);
    assert_eq!(world.task(), EdgeTask::Close { connection: goes });
    assert_eq!(gauges(&world), (1, 0, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u16),
    Refresh(u16, bool),
    Permit(u16),
    Connect(u16, u16),
    Result(prop::sample::Index, bool),
    Peer(u16, u16),
    Bind(u16, prop::sample::Index),
    Close(u16),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (caller, port) = (1..=3_u16, 1..=4_u16);
    prop_oneof![
        2 => caller.clone().prop_map(Step::Allocate),
        1 => (caller.clone(), any::<bool>()).prop_map(|(caller, ends)| Step::Refresh(caller, ends)),
        2 => caller.clone().prop_map(Step::Permit),
        5 => (caller.clone(), port.clone()).prop_map(|(caller, port)| Step::Connect(caller, port)),
        5 => (any::<prop::sample::Index>(), prop::bool::weighted(0.8)).prop_map(|(it, good)| Step::Result(it, good)),
        4 => (caller.clone(), port).prop_map(|(caller, port)| Step::Peer(caller, port)),
        5 => (11..=14_u16, any::<prop::sample::Index>()).prop_map(|(data, it)| Step::Bind(data, it)),
        2 => prop_oneof![caller, 11..=14_u16].prop_map(Step::Close),
        2 => prop_oneof![0..20_u64, 25..40_u64, 290..620_u64].prop_map(Step::Wait),
    ]
}

/// What the edge has of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AtEdge {
    Connecting,
    Kept,
}

/// The edge, which believes whatever the engine says, and must end with nothing.
#[derive(Default)]
struct ModelEdge {
    listening: Vec<(Path, SocketAddr)>,
    connections: Vec<(ConnectionId, AtEdge)>,
    ended: Vec<ConnectionId>,
}

impl ModelEdge {
    fn take(&mut self, world: &mut World) -> Result<(), TestCaseError> {
        for (client, task) in world.tasks() {
            match task {
                EdgeTask::Listen { address } => {
                    prop_assert!(!self.listening.contains(&(client, address)), "twice");
                    self.listening.push((client, address));
                }
                EdgeTask::Unlisten { address } => {
                    let place = self.listening.iter().position(|it| *it == (client, address));
                    prop_assert!(place.is_some(), "it did not listen");
                    self.listening.remove(place.unwrap());
                }
                EdgeTask::Connect { connection, .. } => self.connections.push((connection, AtEdge::Connecting)),
                EdgeTask::Judge { connection, .. } => {
                    self.connections.extend(connection.map(|it| (it, AtEdge::Kept)));
                }
                EdgeTask::Close { connection } => {
                    let before = self.connections.len();
                    self.connections.retain(|(it, _)| *it != connection);
                    prop_assert_eq!(self.connections.len() + 1, before, "closed what is not there");
                    self.ended.push(connection);
                }
            }
        }
        let counters = world.engine.counters();
        prop_assert_eq!(counters.turn_connections as usize, self.connections.len());
        prop_assert_eq!(counters.turn_ports as usize, self.listening.len());
        prop_assert!(self.connections.len() <= 6);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_edge_and_the_engine_agree_about_what_there_is(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = tcp_world();
        let mut edge = ModelEdge::default();
        let mut callers: Vec<Caller> = (0..15).map(member).collect();
        for step in steps {
            match step {
                Step::Allocate(caller) => {
                    let code = callers[usize::from(caller)].code(&mut world, Method::ALLOCATE, &tcp);
                    prop_assert!([0, 437].contains(&code));
                }
                Step::Refresh(caller, ends) => {
                    callers[usize::from(caller)].refresh(&mut world, if ends { 0 } else { 600 });
                }
                Step::Permit(caller) => {
                    callers[usize::from(caller)].permit(&mut world, PEER);
                }
                Step::Connect(caller, port) => {
                    let code = connect(&mut callers[usize::from(caller)], &mut world, &format!("8.8.4.4:{port}"));
                    prop_assert!([0, 401, 437, 438, 446, 486, 508].contains(&code), "{code}");
                }
                Step::Result(which, good) => {
                    let under_way = edge.connections.iter_mut().filter(|(_, state)| *state == AtEdge::Connecting);
                    let mut under_way: Vec<_> = under_way.collect();
                    if !under_way.is_empty() {
                        let place = which.index(under_way.len());
                        let (connection, state) = &mut *under_way[place];
                        let connection = *connection;
                        *state = AtEdge::Kept;
                        if good {
                            world.news(EdgeNews::Connected { connection });
                        } else {
                            edge.connections.retain(|(it, _)| *it != connection);
                            world.news(EdgeNews::Failed { connection });
                        }
                    } else if let Some(&connection) = edge.ended.last() {
                        // Late news of what is over.
                        world.news(EdgeNews::Connected { connection });
                        world.news(EdgeNews::Failed { connection });
                    }
                }
                Step::Peer(caller, port) => {
                    let client = callers[usize::from(caller)].path;
                    if let Some(&(_, at)) = edge.listening.iter().find(|(it, _)| *it == client) {
                        let peer = address(&format!("8.8.4.4:{port}"));
                        world.news(EdgeNews::Accepted { client, address: at, socket: 7, peer });
                    }
                }
                Step::Bind(data, which) => {
                    if !edge.connections.is_empty() {
                        let (connection, state) = edge.connections[which.index(edge.connections.len())];
                        let code = bind(&mut callers[usize::from(data)], &mut world, connection);
                        prop_assert!(code == 400 || code == 0 && state == AtEdge::Kept, "{code}");
                    }
                }
                Step::Close(caller) => {
                    world.edge_closed(callers[usize::from(caller)].path);
                }
                Step::Wait(seconds) => world.wait_s(seconds),
            }
            world.elsewhere.clear();
            edge.take(&mut world)?;
        }
        world.wait_s(601);
        edge.take(&mut world)?;
        prop_assert_eq!(gauges(&world), (0, 0, 0));
        prop_assert!(edge.listening.is_empty() && edge.connections.is_empty());
    }
}
