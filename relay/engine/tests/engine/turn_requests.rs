//! What TURN grants, what it refuses and with which code, and how long things live.

use super::harness::World;
use super::turn::*;
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::EngineCommand;
use plausch_engine::stun::{AttributeType, IntegrityKind, Message, MessageWriter, Method};
use plausch_engine::turn::{DiscoverySocket, TurnConfig, TurnLimits};

fn with(more: &[(AttributeType, &[u8])]) -> impl Fn(&mut MessageWriter<'_>) + use<> {
    let more: Vec<(AttributeType, Vec<u8>)> = more.iter().map(|(kind, value)| (*kind, value.to_vec())).collect();
    move |writer| {
        udp(writer);
        more.iter().for_each(|(kind, value)| {
            writer.attribute(*kind, value);
        });
    }
}

fn allocate_with(more: &[(AttributeType, &[u8])]) -> Reply {
    let mut world = world();
    Caller::member(1).ask(&mut world, Method::ALLOCATE, &with(more))
}

const V4: [u8; 4] = [1, 0, 0, 0];
const V6: [u8; 4] = [2, 0, 0, 0];

#[test]
fn an_allocation_is_granted_to_who_answers_the_challenge() {
    let mut world = world();
    let mut caller = Caller::visitor(1);
    let bare = caller.request(Method::ALLOCATE, &udp);
    let challenge = caller.exchange(&mut world, bare.clone()).unwrap();
    assert_eq!(challenge.code(), 401);
    assert_eq!((bare.len(), challenge.0.len()), (28, 80));
    assert_eq!(challenge.message().integrity_kind(), None);
    assert_eq!(world.engine.counters().turn_allocations, 0, "nothing is remembered of strangers");
    let reply = caller.ask(&mut world, Method::ALLOCATE, &udp);
    assert_eq!(reply.code(), 0);
    assert_eq!(reply.lifetime(), 600);
    assert_eq!(reply.message().xor_mapped_address(), Some(caller.path.remote));
    assert_eq!(reply.message().integrity_kind(), Some(IntegrityKind::Sha1));
    assert_eq!(reply.relayed().len(), 1);
    assert_eq!(reply.relayed()[0].ip(), address(MEDIA).ip(), "the announced address");
    assert!((FIRST_PORT..=LAST_PORT).contains(&reply.relayed()[0].port()));
    assert_eq!(world.engine.counters().turn_allocations, 1);
    assert!(world.effects.is_empty(), "no socket yet");
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_another_one_a_mismatch() {
    let mut world = world();
    let mut caller = Caller::member(1);
    let first = caller.ask(&mut world, Method::ALLOCATE, &with(&[(AttributeType::EVEN_PORT, &[0x80])]));
    let again = caller.repeat(Method::ALLOCATE, &udp);
    assert_eq!(caller.exchange(&mut world, again).unwrap(), first, "with the token, too");
    assert_eq!(caller.code(&mut world, Method::ALLOCATE, &udp), 437);
    assert_eq!(caller.clone().named("other").code(&mut world, Method::ALLOCATE, &udp), 437);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    assert_eq!(caller.code(&mut world, Method::ALLOCATE, &udp), 0);
}

#[test]
fn lifetimes_are_at_least_the_usual_and_at_most_an_hour() {
    for (asked, granted) in [(None, 600), (Some(0), 600), (Some(599), 600), (Some(700), 700), (Some(u32::MAX), 3_600)] {
        let mut world = world();
        let mut caller = Caller::member(1);
        let value = asked.unwrap_or(0).to_be_bytes();
        let more: &[(AttributeType, &[u8])] = &[(AttributeType::LIFETIME, &value)];
        let more = if asked.is_some() { more } else { &[] };
        assert_eq!(caller.ask(&mut world, Method::ALLOCATE, &with(more)).lifetime(), granted);
        world.wait_s(u64::from(granted) - 1);
        assert_eq!(world.engine.counters().turn_allocations, 1);
        world.wait_s(1);
        assert_eq!(world.engine.counters().turn_allocations, 0);
    }
}

#[test]
fn the_transport_must_be_named_and_udp() {
    let mut world = world();
    let mut caller = Caller::member(1);
    assert_eq!(caller.code(&mut world, Method::ALLOCATE, &|_| {}), 400);
    for (value, code) in [(&[6, 0, 0, 0][..], 442), (&[0; 4], 442), (&[17], 400), (&[], 400), (&[17, 0, 0, 0, 0], 400)]
    {
        let fill = |writer: &mut MessageWriter<'_>| {
            writer.attribute(AttributeType::REQUESTED_TRANSPORT, value);
        };
        assert_eq!(caller.code(&mut world, Method::ALLOCATE, &fill), code, "{value:?}");
    }
}

#[test]
fn attributes_that_nobody_knows_are_listed() {
    let reply =
        allocate_with(&[(AttributeType(0x7777), b"?"), (AttributeType(0x8777), b"!"), (AttributeType(0x2b), &[0; 4])]);
    assert_eq!(reply.code(), 420);
    let unknown = reply.message().attribute(AttributeType::UNKNOWN_ATTRIBUTES).unwrap().to_vec();
    assert_eq!(unknown, [0x77, 0x77, 0, 0x2b]);
    assert_eq!(allocate_with(&[(AttributeType::DONT_FRAGMENT, &[])]).code(), 0);
}

#[test]
fn address_families() {
    use AttributeType as A;
    let families = |reply: &Reply| reply.relayed().iter().map(|it| it.is_ipv4()).collect::<Vec<_>>();
    assert_eq!(families(&allocate_with(&[(A::REQUESTED_ADDRESS_FAMILY, &V4)])), [true]);
    assert_eq!(families(&allocate_with(&[(A::REQUESTED_ADDRESS_FAMILY, &V6)])), [false]);
    assert_eq!(families(&allocate_with(&[(A::ADDITIONAL_ADDRESS_FAMILY, &V6)])), [true, false]);
    assert_eq!(allocate_with(&[(A::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])]).code(), 440);
    assert_eq!(allocate_with(&[(A::REQUESTED_ADDRESS_FAMILY, &[1])]).code(), 400);
    assert_eq!(allocate_with(&[(A::ADDITIONAL_ADDRESS_FAMILY, &V4)]).code(), 400);
    let both: [(AttributeType, &[u8]); 2] = [(A::REQUESTED_ADDRESS_FAMILY, &V4), (A::ADDITIONAL_ADDRESS_FAMILY, &V6)];
    assert_eq!(allocate_with(&both).code(), 400);
    let pair: [(AttributeType, &[u8]); 2] = [(A::ADDITIONAL_ADDRESS_FAMILY, &V6), (A::EVEN_PORT, &[0x80])];
    assert_eq!(allocate_with(&pair).code(), 400);
}

#[test]
fn where_one_of_two_families_is_not_to_be_had_the_client_is_told() {
    let mut config = turn_config();
    config.relay.pop();
    let mut world = world_with(config);
    let mut caller = Caller::member(1);
    let fill = with(&[(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &V6)]);
    let reply = caller.ask(&mut world, Method::ALLOCATE, &fill);
    assert_eq!((reply.code(), reply.relayed().len()), (0, 1));
    assert_eq!(reply.message().attribute(AttributeType::ADDRESS_ERROR_CODE), Some([2, 0, 4, 40].as_slice()));
    let fill = with(&[(AttributeType::REQUESTED_ADDRESS_FAMILY, &V6)]);
    assert_eq!(Caller::member(2).code(&mut world, Method::ALLOCATE, &fill), 440);
}

#[test]
fn even_ports_and_reservations() {
    let mut world = world();
    let even = with(&[(AttributeType::EVEN_PORT, &[0])]);
    for port in 1..=10 {
        let reply = Caller::member(port).ask(&mut world, Method::ALLOCATE, &even);
        assert_eq!((reply.relayed()[0].port() % 2, reply.token()), (0, None));
    }
    let pair = with(&[(AttributeType::EVEN_PORT, &[0x80])]);
    let reply = Caller::member(20).ask(&mut world, Method::ALLOCATE, &pair);
    let (first, token) = (reply.relayed()[0], reply.token().unwrap());
    assert_eq!(first.port() % 2, 0);
    assert_eq!(token[7], 0, "the shard, for the edge");
    assert_eq!(world.engine.counters().turn_reservations, 1);

    let take = |token: &[u8]| with(&[(AttributeType::RESERVATION_TOKEN, token)]);
    let mut guess = token;
    guess[7] ^= 1;
    let mut second = Caller::visitor(21);
    assert_eq!(second.code(&mut world, Method::ALLOCATE, &take(&guess)), 508);
    assert_eq!(second.code(&mut world, Method::ALLOCATE, &take(&token[..7])), 400);
    for more in [(AttributeType::EVEN_PORT, &[0][..]), (AttributeType::REQUESTED_ADDRESS_FAMILY, &V4)] {
        let both = with(&[(AttributeType::RESERVATION_TOKEN, &token), more]);
        assert_eq!(second.code(&mut world, Method::ALLOCATE, &both), 400);
    }
    let reply = second.ask(&mut world, Method::ALLOCATE, &take(&token));
    assert_eq!(reply.relayed(), [std::net::SocketAddr::new(first.ip(), first.port() + 1)]);
    assert_eq!(world.engine.counters().turn_reservations, 0);
    assert_eq!(Caller::member(22).code(&mut world, Method::ALLOCATE, &take(&token)), 508, "a token serves once");

    let reply = Caller::member(23).ask(&mut world, Method::ALLOCATE, &pair);
    world.wait_s(31);
    assert_eq!(world.engine.counters().turn_reservations, 0);
    let late = take(&reply.token().unwrap());
    assert_eq!(Caller::member(24).code(&mut world, Method::ALLOCATE, &late), 508);
    assert_eq!(allocate_with(&[(AttributeType::EVEN_PORT, &[])]).code(), 400);
}

#[test]
fn a_refresh_prolongs_or_ends() {
    let mut world = world();
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    world.wait_s(599);
    let reply = caller.ask(&mut world, Method::REFRESH, &|_| {});
    assert_eq!((reply.code(), reply.lifetime()), (0, 600));
    world.wait_s(599);
    assert_eq!(caller.refresh(&mut world, 1_200), 0);
    world.wait_s(1_199);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    assert_eq!(world.engine.counters().turn_allocations, 0);
    assert_eq!(caller.refresh(&mut world, 0), 437);
    assert_eq!(caller.refresh(&mut world, 600), 437);
    assert_eq!(caller.permit(&mut world, MEDIA), 437);
    assert_eq!(caller.bind(&mut world, 0x4000, MEDIA), 437);
}

#[test]
fn one_family_of_two_can_be_given_up() {
    let mut world = world();
    let mut caller = Caller::member(1);
    let fill = with(&[(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &V6)]);
    assert_eq!(caller.ask(&mut world, Method::ALLOCATE, &fill).relayed().len(), 2);
    for peer in [MEDIA, MEDIA_V6] {
        assert_eq!(caller.permit(&mut world, peer), 0);
    }
    let of = |family: &'static [u8; 4], lifetime: u32| {
        move |writer: &mut MessageWriter<'_>| {
            writer.attribute(AttributeType::LIFETIME, &lifetime.to_be_bytes());
            writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, family);
        }
    };
    assert_eq!(caller.code(&mut world, Method::REFRESH, &of(&[3, 0, 0, 0], 0)), 443);
    assert_eq!(caller.code(&mut world, Method::REFRESH, &of(&V4, 1_000)), 0);
    assert_eq!(caller.code(&mut world, Method::REFRESH, &of(&V6, 0)), 0);
    assert_eq!(caller.code(&mut world, Method::REFRESH, &of(&V6, 0)), 443);
    assert_eq!(caller.permit(&mut world, MEDIA_V6), 443);
    assert_eq!(caller.permit(&mut world, MEDIA), 0);
    world.wait_s(999);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    world.wait_s(2);
    assert_eq!(world.engine.counters().turn_allocations, 0);
}

#[test]
fn families_of_one_allocation_expire_each_for_itself() {
    let mut world = world();
    let mut caller = Caller::member(1);
    let fill = with(&[(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &V6)]);
    caller.ask(&mut world, Method::ALLOCATE, &fill);
    let v4_longer = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::LIFETIME, &2_000_u32.to_be_bytes());
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &V4);
    };
    assert_eq!(caller.code(&mut world, Method::REFRESH, &v4_longer), 0);
    world.wait_s(601);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    assert_eq!(caller.permit(&mut world, MEDIA_V6), 443);
    assert_eq!(caller.permit(&mut world, MEDIA), 0);
    world.wait_s(1_400);
    assert_eq!(world.engine.counters().turn_allocations, 0);
}

#[test]
fn an_allocation_is_its_owners() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    let mut other = caller.clone().named("other");
    assert_eq!(other.refresh(&mut world, 0), 441);
    assert_eq!(other.permit(&mut world, PEER), 441);
    assert_eq!(other.bind(&mut world, 0x4000, PEER), 441);
    let mut wrong = caller.clone().named("nobody");
    assert_eq!(wrong.refresh(&mut world, 0), 401);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    let mut elsewhere = caller.clone();
    elsewhere.path.remote.set_port(2);
    assert_eq!(elsewhere.refresh(&mut world, 0), 437, "another address, another nonce, no allocation");
}

#[test]
fn permissions_are_for_peers_of_the_policy_and_all_or_none() {
    let mut world = world();
    let mut member = Caller::member(1);
    member.allocate(&mut world);
    assert_eq!(member.permit(&mut world, PEER), 0);
    assert_eq!(member.permit(&mut world, "10.20.3.4:0"), 0, "the operator allows this range");
    for forbidden in ["10.21.3.4:5", "127.0.0.1:5", "0.0.0.0:5", "192.168.1.4:5", "224.0.0.1:5"] {
        assert_eq!(member.permit(&mut world, forbidden), 403, "{forbidden}");
    }
    assert_eq!(member.permit(&mut world, "[2a00::1]:5"), 443);
    assert_eq!(member.permit(&mut world, "[::1]:5"), 443);
    assert_eq!(member.permit(&mut world, "[::ffff:127.0.0.1]:5"), 403, "an IPv4 address whatever it is written as");
    let two = |second: &'static str| {
        move |writer: &mut MessageWriter<'_>| {
            for peer in ["9.9.9.9:1", second] {
                writer.xor_address(AttributeType::XOR_PEER_ADDRESS, address(peer));
            }
        }
    };
    assert_eq!(member.code(&mut world, Method::CREATE_PERMISSION, &two("127.0.0.1:1")), 403);
    world.raw(member.path, send_indication(address("9.9.9.9:1"), b"data"));
    assert_eq!(world.engine.counters().drop_turn_no_permission, 1);
    assert_eq!(member.code(&mut world, Method::CREATE_PERMISSION, &two("1.1.1.1:1")), 0);
    assert_eq!(member.code(&mut world, Method::CREATE_PERMISSION, &|_| {}), 400);
    let malformed = |writer: &mut MessageWriter<'_>| {
        writer.xor_address(AttributeType::XOR_PEER_ADDRESS, address(PEER));
        writer.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 1, 2]);
    };
    assert_eq!(member.code(&mut world, Method::CREATE_PERMISSION, &malformed), 400);

    let mut visitor = Caller::visitor(2);
    visitor.allocate(&mut world);
    assert_eq!(visitor.permit(&mut world, PEER), 403, "a visitor's relay is not open");
    assert_eq!(visitor.permit(&mut world, "10.20.3.4:9"), 403);
    assert_eq!(visitor.permit(&mut world, MEDIA), 0);
    assert_eq!(visitor.permit(&mut world, OTHER_SHARD), 0);
}

#[test]
fn channels_are_bound_to_one_peer_each() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(caller.bind(&mut world, number, PEER), 400, "{number:#x}");
    }
    assert_eq!(caller.bind(&mut world, 0x4000, PEER), 0);
    assert_eq!(caller.bind(&mut world, 0x4000, PEER), 0, "again");
    assert_eq!(caller.bind(&mut world, 0x4001, PEER), 400, "the peer has a channel");
    assert_eq!(caller.bind(&mut world, 0x4000, "8.8.4.4:5001"), 400, "the channel has a peer");
    assert_eq!(caller.bind(&mut world, 0x7fff, "8.8.4.4:5001"), 0);
    for (peer, code) in [("127.0.0.1:5", 403), ("8.8.4.4:0", 403), ("[2a00::1]:5", 443), ("198.41.0.4:22", 403)] {
        assert_eq!(caller.bind(&mut world, 0x4010, peer), code, "{peer}");
    }
    let without = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::CHANNEL_NUMBER, &[0x40, 0x10, 0, 0]);
    };
    assert_eq!(caller.code(&mut world, Method::CHANNEL_BIND, &without), 400);
    // Ten minutes later both are free; the allocation is prolonged meanwhile.
    assert_eq!(caller.refresh(&mut world, 3_600), 0);
    world.wait_s(601);
    assert_eq!(caller.bind(&mut world, 0x4001, PEER), 0);
    assert_eq!(caller.bind(&mut world, 0x4000, "8.8.4.4:5001"), 0);
}

#[test]
fn quotas() {
    let limits = TurnLimits {
        allocations: 4,
        allocations_per_user: 3,
        permissions_per_allocation: 2,
        channels_per_allocation: 1,
        open_ports: 1,
        ..TurnLimits::default()
    };
    let mut world = world_with(TurnConfig { limits, ..turn_config() });
    let mut members: Vec<_> = (1..=3).map(Caller::member).collect();
    members.iter_mut().for_each(|member| {
        member.allocate(&mut world);
    });
    assert_eq!(Caller::member(4).code(&mut world, Method::ALLOCATE, &udp), 486);
    Caller::visitor(5).allocate(&mut world);
    assert_eq!(Caller::visitor(6).code(&mut world, Method::ALLOCATE, &udp), 508, "the shard is full");
    let [first, second, _] = &mut members[..] else { unreachable!() };
    assert_eq!(first.permit(&mut world, PEER), 0);
    assert_eq!(second.permit(&mut world, PEER), 508, "no more sockets");
    world.raw(second.path, send_indication(address(PEER), b"data"));
    assert_eq!(world.engine.counters().drop_turn_no_permission, 1, "what was refused was not granted");
    assert_eq!(first.bind(&mut world, 0x4000, "1.1.1.1:1"), 0);
    assert_eq!(first.permit(&mut world, "9.9.9.9:1"), 508);
    assert_eq!(first.permit(&mut world, PEER), 0, "what is there can be renewed");
    assert_eq!(first.bind(&mut world, 0x4001, PEER), 508);
    assert_eq!(first.refresh(&mut world, 0), 0);
    assert_eq!(second.permit(&mut world, PEER), 0, "the socket is free again");
    assert_eq!(Caller::member(7).code(&mut world, Method::ALLOCATE, &udp), 0);
}

#[test]
fn new_peers_come_at_a_rate() {
    let limits = TurnLimits { new_peers_per_second: 2, permissions_per_allocation: 64, ..TurnLimits::default() };
    let mut world = world_with(TurnConfig { limits, ..turn_config() });
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    let mut scan = |world: &mut World, from: u16, to: u16| {
        (from..to).filter(|n| caller.permit(world, &format!("9.9.{}.{}:1", n / 250, n % 250)) == 0).count()
    };
    assert_eq!(scan(&mut world, 0, 100), 64);
    world.wait_s(301);
    assert_eq!(scan(&mut world, 1_000, 1_100), 64);
    world.wait_s(10);
    assert_eq!(scan(&mut world, 2_000, 2_100), 0, "they are still in force");
}

#[test]
fn all_ports_can_be_taken_and_come_back() {
    let mut config = turn_config();
    config.relay.pop();
    let mut world = world_with(config);
    let count = LAST_PORT - FIRST_PORT + 1;
    let mut callers: Vec<_> = (1..=count).map(Caller::visitor).collect();
    let mut relayed: Vec<_> = callers.iter_mut().map(|caller| caller.allocate(&mut world).port()).collect();
    assert_ne!(relayed, (FIRST_PORT..=LAST_PORT).collect::<Vec<_>>(), "in no order that is foreseen");
    relayed.sort_unstable();
    assert_eq!(relayed, (FIRST_PORT..=LAST_PORT).collect::<Vec<_>>(), "each once");
    let mut late = Caller::visitor(count + 1);
    assert_eq!(late.code(&mut world, Method::ALLOCATE, &udp), 508);
    assert_eq!(callers[7].refresh(&mut world, 0), 0);
    assert_eq!(late.code(&mut world, Method::ALLOCATE, &udp), 0);
    world.wait_s(601);
    let counters = world.engine.counters();
    assert_eq!((counters.turn_allocations, counters.turn_ports, counters.turn_reservations), (0, 0, 0));
}

#[test]
fn a_nonce_gets_old_and_the_allocation_does_not_mind() {
    let mut world = world();
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    assert_eq!(caller.refresh(&mut world, 3_600), 0);
    world.wait_s(3_590);
    assert_eq!(caller.refresh(&mut world, 3_600), 0);
    world.wait_s(20);
    let stale = caller.request(Method::REFRESH, &|_| {});
    assert_eq!(caller.exchange(&mut world, stale).unwrap().code(), 438);
    assert_eq!(caller.refresh(&mut world, 3_600), 0);
    // The clock was set: what counts is what the relay is told.
    world.command(EngineCommand::UnixTime { seconds: NOW_UNIX + 10_000 });
    let stale = caller.request(Method::REFRESH, &|_| {});
    assert_eq!(caller.exchange(&mut world, stale).unwrap().code(), 438);
    // A day later control's user is nobody, but for what it has.
    world.command(EngineCommand::UnixTime { seconds: NOW_UNIX + 90_000 });
    assert_eq!(caller.refresh(&mut world, 600), 0);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    assert_eq!(caller.code(&mut world, Method::ALLOCATE, &udp), 401);
}

#[test]
fn a_closed_connection_ends_its_allocation() {
    let mut world = world();
    let mut caller = Caller::visitor(1).at_edge();
    caller.allocate(&mut world);
    assert_eq!(caller.permit(&mut world, OTHER_SHARD), 0);
    assert_eq!(world.open_ports().len(), 1);
    world.edge_closed(Caller::visitor(2).at_edge().path);
    assert_eq!(world.engine.counters().turn_allocations, 1);
    world.edge_closed(caller.path);
    let counters = *world.engine.counters();
    assert_eq!((counters.turn_allocations, counters.turn_ports), (0, 0));
    assert!(world.open_ports().is_empty());
    world.edge_closed(caller.path);
}

#[test]
fn while_it_runs_empty_only_rooms_get_new_allocations() {
    let mut world = world();
    let mut member = Caller::member(1);
    member.allocate(&mut world);
    world.command(EngineCommand::Drain);
    assert_eq!(Caller::member(2).code(&mut world, Method::ALLOCATE, &udp), 508);
    assert_eq!(world.engine.counters().turn_refused_capacity, 1);
    assert_eq!(member.permit(&mut world, PEER), 0, "what there is goes on");
    assert_eq!(member.refresh(&mut world, 900), 0);
    Caller::visitor(3).allocate(&mut world);
    assert_eq!(member.refresh(&mut world, 0), 0);
    assert_eq!(member.code(&mut world, Method::ALLOCATE, &udp), 508);
}

#[test]
fn sockets_are_opened_for_peers_outside_only_and_closed_at_the_end() {
    let mut world = world();
    let mut visitor = Caller::visitor(1);
    let relayed = visitor.allocate(&mut world);
    assert_eq!(visitor.permit(&mut world, MEDIA), 0);
    assert_eq!(visitor.bind(&mut world, 0x4000, MEDIA), 0);
    assert_eq!(visitor.permit(&mut world, "198.41.0.4:0"), 0, "a port is not known yet");
    assert!(world.effects.is_empty());
    assert_eq!(visitor.bind(&mut world, 0x4001, OTHER_SHARD), 0);
    let local = std::net::SocketAddr::new("192.168.1.4".parse().unwrap(), relayed.port());
    let open = world.open_ports();
    assert_eq!(open, [(LocalSocket(LocalSocket::FIRST_RELAY_PORT), local)]);
    assert_eq!(visitor.permit(&mut world, OTHER_SHARD), 0);
    assert_eq!(world.open_ports(), open, "once");
    assert_eq!(world.engine.counters().turn_ports, 1);
    world.wait_s(601);
    assert!(world.open_ports().is_empty());
    assert_eq!(world.engine.counters().turn_ports, 0);
}

#[test]
fn a_port_that_cannot_be_opened_is_counted_and_tried_again_when_asked() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    assert_eq!(caller.bind(&mut world, 0x4000, PEER), 0);
    let (local, _) = world.open_ports()[0];
    world.command(EngineCommand::PortFailed { local });
    world.command(EngineCommand::PortFailed { local });
    world.command(EngineCommand::PortFailed { local: LocalSocket(0) });
    world.effects.clear();
    let counters = *world.engine.counters();
    assert_eq!((counters.turn_ports, counters.turn_ports_failed), (0, 1));
    world.raw(caller.path, channel_data(0x4000, b"data"));
    world.raw(caller.path, send_indication(address(PEER), b"data"));
    assert_eq!(world.engine.counters().drop_turn_no_port, 2);
    assert!(world.effects.is_empty(), "data does not try again");
    assert_eq!(caller.permit(&mut world, PEER), 0);
    assert_eq!(world.open_ports().len(), 1);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    assert!(world.open_ports().is_empty());
}

#[test]
fn whoever_asks_is_told_their_address() {
    let mut world = world();
    for path in [Caller::member(1).path, Caller::member(2).at_edge().path] {
        for fingerprint in [false, true] {
            world.raw(path, binding(1, &[], fingerprint));
            let answer = Reply(world.sent_to(path).remove(0));
            assert_eq!(answer.message().xor_mapped_address(), Some(path.remote));
            assert_eq!(answer.message().has_fingerprint(), fingerprint);
            assert_eq!(answer.message().attribute(AttributeType::OTHER_ADDRESS), None);
        }
        world.raw(path, binding(1, &[(AttributeType::CHANGE_REQUEST, &[0; 4])], false));
        assert_eq!(Reply(world.sent_to(path).remove(0)).code(), 420);
    }
    let counters = world.engine.counters();
    assert_eq!((counters.stun_bindings, counters.stun_bindings_refused), (6, 2));
}

#[test]
fn nat_behaviour_can_be_discovered() {
    let socket = |local, text: &str| DiscoverySocket { local: LocalSocket(local), address: address(text) };
    let sockets = [
        socket(4, "198.41.0.4:3478"),
        socket(5, "198.41.0.4:3479"),
        socket(6, "198.41.0.5:3478"),
        socket(7, "198.41.0.5:3479"),
    ];
    let mut world = world_with(TurnConfig { nat_discovery: Some(sockets), ..turn_config() });
    let client = address("192.0.2.1:6000");
    let mut ask = |local: u16, more: &[(AttributeType, &[u8])]| {
        world.elsewhere.clear();
        world.raw(Path { local: LocalSocket(local), remote: client }, binding(9, more, false));
        let (path, mut datagrams) = world.elsewhere.remove(0);
        (path, datagrams.remove(0))
    };
    let plain = |value: &[u8]| {
        let port = u16::from_be_bytes([value[2], value[3]]);
        std::net::SocketAddr::from(([value[4], value[5], value[6], value[7]], port))
    };
    for (flags, from) in [(0, 4_u16), (2, 5), (4, 6), (6, 7)] {
        let (path, answer) = ask(4, &[(AttributeType::CHANGE_REQUEST, &[0, 0, 0, flags])]);
        assert_eq!(path, Path { local: LocalSocket(from), remote: client });
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.xor_mapped_address(), Some(client));
        assert_eq!(plain(message.attribute(AttributeType::MAPPED_ADDRESS).unwrap()), client);
        let origin = plain(message.attribute(AttributeType::RESPONSE_ORIGIN).unwrap());
        assert_eq!(origin, sockets[usize::from(from) - 4].address);
        assert_eq!(plain(message.attribute(AttributeType::OTHER_ADDRESS).unwrap()), sockets[3].address);
    }
    let (path, _) = ask(5, &[(AttributeType::RESPONSE_PORT, &[0x1b, 0x58, 0, 0])]);
    assert_eq!(path, Path { local: LocalSocket(5), remote: address("192.0.2.1:7000") });
    let (_, padded) = ask(4, &[(AttributeType::PADDING, &[1; 1_000])]);
    let message = Message::parse(&padded).unwrap();
    assert_eq!(message.attribute(AttributeType::PADDING), Some([0; 1_000].as_slice()));
    for more in [
        &[(AttributeType::RESPONSE_PORT, &[0x1b, 0x58, 0, 0][..]), (AttributeType::PADDING, &[1; 100])][..],
        &[(AttributeType::CHANGE_REQUEST, &[0; 3])],
        &[(AttributeType::RESPONSE_PORT, &[0; 3])],
    ] {
        assert_eq!(Reply(ask(4, more).1).code(), 400);
    }
    let (_, answer) = ask(0, &[]);
    assert_eq!(Message::parse(&answer).unwrap().attribute(AttributeType::OTHER_ADDRESS), None, "no such socket");
}
