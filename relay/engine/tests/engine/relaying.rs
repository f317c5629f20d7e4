//! TURN's data: in memory between a client and this very shard, through ports to everybody else, and to nobody without
//! a permission.

use super::harness::*;
use super::turn::*;
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::Effect;
use plausch_engine::stun::{AttributeType, Class, IceRole, MessageWriter, Method, TransactionId};
use plausch_engine::turn::{TurnConfig, TurnLimits};
use plausch_relay_api::*;
use std::net::SocketAddr;

const CHANNEL: u16 = 0x4123;

/// A call of two, of whom the first, client 0, reaches the relay by TURN only.
struct Call {
    world: World,
    caller: Caller,
    relayed: SocketAddr,
    /// Whether a channel is bound.
    channel: bool,
}

impl Call {
    fn new(caller: Caller, channel: bool) -> Self {
        let mut call = Self { world: world(), caller, relayed: address(MEDIA), channel: false };
        let Self { world, caller, relayed, .. } = &mut call;
        *relayed = caller.allocate(world);
        assert_eq!(caller.permit(world, MEDIA), 0);
        for id in [1, 2] {
            world.put(spec(id)).unwrap();
            world.add_client(spec(id));
        }
        for (id, other) in [(1, 2), (2, 1)] {
            world.assign(id, vec![assignment(0, other, Source::Person)]).unwrap();
        }
        // What is for this path never leaves the engine.
        world.clients[0].path = Path { local: LocalSocket(0xefff), remote: *relayed };
        world.connect(1);
        let check = call.world.binding_request(0, true, IceRole::Controlling(1));
        call.say(check);
        call.hear_checks();
        if channel {
            assert_eq!(call.caller.bind(&mut call.world, CHANNEL, MEDIA), 0);
            call.channel = true;
        }
        call.say(vec![22, 254, 253, 0]);
        call.world.give_keys(0);
        assert_eq!(call.world.engine.counters().connected, 2);
        call
    }

    /// Sends a datagram of client 0.
    fn say(&mut self, datagram: Vec<u8>) {
        let wrapped = self.wrap(&datagram);
        self.world.raw(self.caller.path, wrapped);
    }

    /// The same, and answers the checks among it.
    fn hear_checks(&mut self) {
        self.hear();
        for answer in self.world.clients[0].answers() {
            self.say(answer);
        }
    }

    fn wrap(&self, datagram: &[u8]) -> Vec<u8> {
        if self.channel { channel_data(CHANNEL, datagram) } else { send_indication(address(MEDIA), datagram) }
    }

    /// Gives client 0 what was sent to it.
    fn hear(&mut self) {
        for message in self.world.sent_to(self.caller.path) {
            let data = if self.channel {
                assert_eq!(message[..2], CHANNEL.to_be_bytes());
                assert_eq!(usize::from(u16::from_be_bytes([message[2], message[3]])), message.len() - 4, "no padding");
                message[4..].to_vec()
            } else {
                let (peer, data) = read_indication(&message);
                assert_eq!(peer, address(MEDIA));
                data
            };
            self.world.clients[0].receive(&data);
        }
    }
}

#[test]
fn a_browser_behind_turn_is_in_the_call_like_any_other() {
    for caller in [Caller::visitor(1), Caller::visitor(1).at_edge(), Caller::member(1)] {
        for channel in [false, true] {
            let mut call = Call::new(caller.clone(), channel);
            let answer = plausch_engine::stun::Message::parse(&call.world.clients[0].stun[0]).unwrap();
            assert_eq!(answer.class, Class::Success);
            assert_eq!(answer.xor_mapped_address(), Some(call.relayed), "it comes from its relayed address");
            for sequence in 0..10 {
                let sealed = call.world.seal(0, &Rtp::audio(100, sequence));
                call.say(sealed);
                call.world.send(1, &Rtp::audio(200, sequence));
            }
            call.hear();
            assert_eq!(call.world.clients[1].take(0x1000).len(), 10);
            assert_eq!(call.world.clients[0].take(0x1000).len(), 10);
            call.world.dtls(0, plausch_engine::effect::DtlsInput::Send(vec![vec![22, 3], vec![22, 4, 5]]));
            call.hear();
            assert_eq!(call.world.clients[0].dtls, [vec![22, 3], vec![22, 4, 5]]);
            let counters = *call.world.engine.counters();
            assert!(counters.turn_inner_received >= 12 && counters.turn_inner_sent >= 13);
            assert_eq!((counters.turn_ports, counters.turn_to_peers, counters.turn_from_peers), (0, 0, 0));
            assert!(!call.world.effects.iter().any(|effect| matches!(effect, Effect::OpenPort { .. })), "no socket");
        }
    }
}

#[test]
fn pictures_leave_as_one_run() {
    let mut call = Call::new(Caller::visitor(1), true);
    let frames = (0..12).map(|n| Rtp::video(201, n, 1, n == 0)).collect::<Vec<_>>();
    let path = call.world.clients[1].path;
    let batch = frames.iter().map(|rtp| (path, call.world.seal(1, rtp))).collect();
    call.world.elsewhere.clear();
    call.world.raw_batch(batch);
    let runs: Vec<_> = call.world.elsewhere.iter().filter(|(path, _)| *path == call.caller.path).collect();
    let longest = runs.iter().map(|(_, datagrams)| datagrams.len()).max();
    assert_eq!(longest, Some(12), "{} runs", runs.len());
    call.hear();
    assert_eq!(call.world.clients[0].take(0x2000).len(), 12);
}

#[test]
fn nobody_s_call_waits_for_answers_to_strangers() {
    for channel in [false, true] {
        let mut call = Call::new(Caller::visitor(1), channel);
        let sound = (call.world.clients[1].path, call.world.seal(1, &Rtp::audio(200, 1)));
        let strangers: Vec<_> = (2..5).map(Caller::visitor).collect();
        let mut batch: Vec<_> =
            strangers.iter().map(|caller| (caller.path, caller.clone().request(Method::ALLOCATE, &udp))).collect();
        batch[1].1 = binding(1, &[], false);
        batch.insert(2, sound);
        call.world.elsewhere.clear();
        call.world.raw_batch(batch);
        let order: Vec<_> = call.world.elsewhere.iter().map(|(path, _)| *path).collect();
        let wanted: Vec<_> = std::iter::once(&call.caller).chain(&strangers).map(|caller| caller.path).collect();
        assert_eq!(order, wanted);
        call.hear();
        assert_eq!(call.world.clients[0].take(0x1000).len(), 1);
    }
}

#[test]
fn pictures_without_a_channel_come_as_indications() {
    let mut call = Call::new(Caller::visitor(1), false);
    let frames = (0..12).map(|n| Rtp::video(201, n, 1, n == 0)).collect::<Vec<_>>();
    let path = call.world.clients[1].path;
    let batch = frames.iter().map(|rtp| (path, call.world.seal(1, rtp))).collect();
    call.world.raw_batch(batch);
    call.hear();
    assert_eq!(call.world.clients[0].take(0x2000).len(), 12);
}

#[test]
fn without_a_permission_nothing_passes_in_memory_either() {
    let mut call = Call::new(Caller::visitor(1), true);
    assert_eq!(call.caller.refresh(&mut call.world, 3_600), 0);
    // Five minutes are over; the channel would live five more. Consent of ICE goes on as long as the permission does.
    for _ in 0..299 {
        call.world.wait_s(1);
        let check = call.world.binding_request(0, false, IceRole::Controlling(1));
        call.say(check);
        call.hear_checks();
        call.world.check(1, false);
    }
    call.hear();
    call.world.send(1, &Rtp::audio(200, 1));
    call.hear();
    assert_eq!(call.world.clients[0].take(0x1000).len(), 1);
    call.world.wait_s(2);
    call.world.check(1, false);
    let before = *call.world.engine.counters();
    call.world.send(1, &Rtp::audio(200, 2));
    let sealed = call.world.seal(0, &Rtp::audio(100, 3));
    call.say(sealed.clone());
    call.world.raw(call.caller.path, send_indication(address(MEDIA), &sealed));
    call.hear();
    assert!(call.world.clients[0].take(0x1000).is_empty());
    assert!(call.world.clients[1].take(0x1000).is_empty());
    assert!(call.world.engine.counters().drop_turn_no_permission >= before.drop_turn_no_permission + 3);
    assert_eq!(call.caller.permit(&mut call.world, MEDIA), 0);
    call.world.send(1, &Rtp::audio(200, 3));
    call.hear();
    assert_eq!(call.world.clients[0].take(0x1000).len(), 1);
}

#[test]
fn when_the_allocation_ends_its_client_is_not_sent_to() {
    let mut call = Call::new(Caller::visitor(1), true);
    call.hear();
    assert_eq!(call.caller.refresh(&mut call.world, 0), 0);
    call.world.send(1, &Rtp::audio(200, 1));
    assert!(call.world.sent_to(call.caller.path).is_empty());
    assert!(call.world.engine.counters().drop_turn_no_allocation > 0);
    call.world.pass(40_000);
    let ended = call.world.effects.iter().any(|effect| {
        let gone = (ParticipantId(1), DisconnectReason::ConsentExpired);
        matches!(effect, Effect::Disconnected { participant, reason, .. } if (*participant, *reason) == gone)
    });
    assert!(ended, "no checks, no consent");
}

#[test]
fn one_socket_may_ask_for_a_relay_and_call_without() {
    let mut world = world();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    // The same path: browsers do so where TURN is at the media port.
    world.clients[0].path = caller.path;
    world.connect(0);
    assert_eq!(world.engine.counters().connected, 1);
    world.clients[0].path = Path { local: LocalSocket(0xefff), ..caller.path };
    assert_eq!(caller.refresh(&mut world, 600), 0);
    assert_eq!(caller.refresh(&mut world, 0), 0);
    world.clients[0].path = caller.path;
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.engine.counters().rtp_received, 1);
    world.remove(1);
    let counters = world.engine.counters();
    assert_eq!((counters.tuples, counters.turn_allocations), (0, 0));
}

#[test]
fn there_is_no_turn_within_turn() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    assert_eq!(caller.bind(&mut world, CHANNEL, MEDIA), 0);
    let before = *world.engine.counters();
    let mut inner = Caller::member(2);
    for datagram in [
        inner.request(Method::ALLOCATE, &udp),
        send_indication(address(MEDIA), b"again"),
        channel_data(CHANNEL, &channel_data(CHANNEL, b"deeper")),
        inner.request(Method::BINDING, &|_| {}),
        vec![200; 40],
        vec![0x80; 40],
        vec![0x80, 200, 0, 1],
        vec![22; 40],
    ] {
        world.raw(caller.path, channel_data(CHANNEL, &datagram));
        world.raw(caller.path, send_indication(address(MEDIA), &datagram));
    }
    assert!(world.elsewhere.is_empty() && world.effects.is_empty());
    let counters = *world.engine.counters();
    assert_eq!(counters.turn_inner_received - before.turn_inner_received, 16);
    assert_eq!(counters.turn_allocations, 1);
}

/// A member with a port and a channel to [`PEER`]; the port's path from there.
fn with_peer(config: TurnConfig, channel: bool) -> (World, Caller, Path) {
    let mut world = world_with(config);
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    let code = if channel { caller.bind(&mut world, CHANNEL, PEER) } else { caller.permit(&mut world, PEER) };
    assert_eq!(code, 0);
    let (local, _) = world.open_ports()[0];
    (world, caller, Path { local, remote: address(PEER) })
}

#[test]
fn peers_outside_are_reached_through_a_port() {
    let (mut world, caller, port) = with_peer(turn_config(), true);
    world.raw(caller.path, channel_data(CHANNEL, b"by channel"));
    world.raw(caller.path, send_indication(address(PEER), b"by indication"));
    assert_eq!(world.sent_to(port), [b"by channel".to_vec(), b"by indication".to_vec()]);
    let batch = (0..8_u8).map(|n| (caller.path, channel_data(CHANNEL, &[n; 1_000]))).collect();
    world.raw_batch(batch);
    assert_eq!(world.elsewhere.len(), 1, "one run");
    assert_eq!(world.sent_to(port).len(), 8);
    world.raw(port, b"answer".to_vec());
    assert_eq!(world.sent_to(caller.path), [channel_data(CHANNEL, b"answer")]);
    let batch = (0..8_u8).map(|n| (port, vec![n; 1_000])).collect();
    world.raw_batch(batch);
    assert_eq!(world.elsewhere.len(), 1, "one run");
    assert_eq!(world.sent_to(caller.path).len(), 8);
    // Another port of the same host: the permission is for the host, the channel is not.
    let other = Path { remote: SocketAddr::new(address(PEER).ip(), 9), ..port };
    world.raw(other, b"hello".to_vec());
    let indication = world.sent_to(caller.path).remove(0);
    assert_eq!(read_indication(&indication), (other.remote, b"hello".to_vec()));
    world.raw(caller.path, send_indication(other.remote, b"hi"));
    assert_eq!(world.sent_to(other), [b"hi".to_vec()]);
    let counters = *world.engine.counters();
    assert_eq!((counters.turn_to_peers, counters.turn_from_peers), (11, 10));
}

#[test]
fn who_has_no_permission_is_not_heard_and_not_spoken_to() {
    let (mut world, mut caller, port) = with_peer(turn_config(), true);
    for stranger in ["8.8.4.5:5000", "127.0.0.1:5000", "198.41.0.4:7882", "[2a00::1]:5000", "[::ffff:8.8.4.5]:5000"] {
        let remote = address(stranger);
        world.raw(Path { remote, ..port }, b"let me in".to_vec());
        world.raw(caller.path, send_indication(remote, b"hello"));
    }
    assert!(world.elsewhere.is_empty());
    assert_eq!(world.engine.counters().drop_turn_no_permission, 10);
    assert_eq!(caller.refresh(&mut world, 3_600), 0);
    world.wait_s(301);
    world.raw(port, b"too late".to_vec());
    world.raw(caller.path, channel_data(CHANNEL, b"too late"));
    assert!(world.elsewhere.is_empty());
    assert_eq!(world.engine.counters().drop_turn_no_permission, 12);
    // Data does not keep a permission alive, and the channel alone does not either.
    assert_eq!(caller.permit(&mut world, PEER), 0);
    world.raw(port, b"now".to_vec());
    assert_eq!(world.sent_to(caller.path), [channel_data(CHANNEL, b"now")], "the channel was still bound");
    assert_eq!(caller.refresh(&mut world, 0), 0);
    world.raw(port, b"nobody".to_vec());
    assert!(world.elsewhere.is_empty());
}

#[test]
fn a_permission_for_our_media_is_for_nothing_else_of_this_host() {
    let mut world = world();
    let mut caller = Caller::member(1);
    caller.allocate(&mut world);
    assert_eq!(caller.permit(&mut world, OTHER_SHARD), 0);
    let (local, _) = world.open_ports()[0];
    for remote in ["198.41.0.4:22", "198.41.0.4:7884", "198.41.0.4:0"] {
        world.raw(caller.path, send_indication(address(remote), b"GET /"));
        world.raw(Path { local, remote: address(remote) }, b"200 OK".to_vec());
    }
    assert!(world.elsewhere.is_empty());
    assert_eq!(world.engine.counters().drop_turn_forbidden_peer, 3);
    assert_eq!(world.engine.counters().drop_turn_no_permission, 3);
    let shard = Path { local, remote: address(OTHER_SHARD) };
    world.raw(caller.path, send_indication(shard.remote, b"media"));
    world.raw(shard, b"media back".to_vec());
    assert_eq!(world.sent_to(shard), [b"media".to_vec()]);
    assert_eq!(read_indication(&world.sent_to(caller.path)[0]), (shard.remote, b"media back".to_vec()));
}

#[test]
fn the_first_packet_to_another_shard_opens_the_port_if_the_permission_did_not_say() {
    let mut world = world();
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    assert_eq!(caller.permit(&mut world, "198.41.0.4:0"), 0);
    world.raw(caller.path, send_indication(address(OTHER_SHARD), b"one"));
    assert_eq!(world.engine.counters().drop_turn_no_port, 1);
    let (local, _) = world.open_ports()[0];
    world.raw(caller.path, send_indication(address(OTHER_SHARD), b"two"));
    assert_eq!(world.sent_to(Path { local, remote: address(OTHER_SHARD) }), [b"two".to_vec()]);
}

#[test]
fn channel_data_that_does_not_hold_together_is_dropped() {
    let (mut world, caller, port) = with_peer(turn_config(), true);
    let [n0, n1] = CHANNEL.to_be_bytes();
    for (datagram, reason) in [
        (vec![n0], "malformed"),
        (vec![n0, n1, 0], "malformed"),
        (vec![n0, n1, 0, 5, 1, 2, 3, 4], "malformed"),
        (vec![n0, n1, 0xff, 0xff, 1, 2, 3, 4], "malformed"),
        (vec![n0, n1, 0xff, 0xfc, 1, 2, 3, 4], "malformed"),
        (vec![0x40, 0, 0, 1, 1], "channel"),
        (vec![0x4f, 0xff, 0, 1, 1], "channel"),
    ] {
        let before = *world.engine.counters();
        world.raw(caller.path, datagram.clone());
        let after = *world.engine.counters();
        let counted = match reason {
            "malformed" => after.drop_turn_malformed - before.drop_turn_malformed,
            _ => after.drop_turn_channel - before.drop_turn_channel,
        };
        assert_eq!(counted, 1, "{datagram:?}");
    }
    assert!(world.elsewhere.is_empty());
    // Padding is allowed in datagrams, and is not data.
    world.raw(caller.path, [channel_data(CHANNEL, b"12345"), vec![9, 9, 9]].concat());
    assert_eq!(world.sent_to(port), [b"12345".to_vec()]);
}

#[test]
fn a_channel_is_its_clients_own() {
    let (mut world, caller, port) = with_peer(turn_config(), true);
    let mut thief = Caller::member(2);
    world.raw(thief.path, channel_data(CHANNEL, b"without an allocation"));
    world.raw(thief.path, send_indication(address(PEER), b"without an allocation"));
    thief.allocate(&mut world);
    world.raw(thief.path, channel_data(CHANNEL, b"with one"));
    world.raw(thief.path, send_indication(address(PEER), b"with one, but no permission"));
    assert!(world.elsewhere.is_empty());
    let counters = *world.engine.counters();
    assert_eq!((counters.drop_turn_channel, counters.drop_turn_no_allocation), (2, 1));
    assert_eq!(counters.drop_turn_no_permission, 1);
    world.raw(caller.path, channel_data(CHANNEL, b"its own"));
    assert_eq!(world.sent_to(port).len(), 1);
}

#[test]
fn send_indications_that_lack_something_are_dropped() {
    let (mut world, caller, _) = with_peer(turn_config(), false);
    let with = |fill: &dyn Fn(&mut MessageWriter<'_>)| {
        let mut buffer = vec![0; 200];
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([1; 12]));
        fill(&mut writer);
        let len = writer.finish().unwrap();
        buffer.truncate(len);
        buffer
    };
    let peer = |writer: &mut MessageWriter<'_>| {
        writer.xor_address(AttributeType::XOR_PEER_ADDRESS, address(PEER));
    };
    let bad = [
        with(&peer),
        with(&|writer| {
            writer.attribute(AttributeType::DATA, b"data");
        }),
        with(&|writer| {
            peer(writer);
            writer.attribute(AttributeType::DATA, b"data").attribute(AttributeType(0x7777), b"");
        }),
        with(&|writer| {
            writer.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 3, 0, 0, 1, 2, 3, 4]);
            writer.attribute(AttributeType::DATA, b"data");
        }),
        // What stands behind an integrity is not there.
        with(&|writer| {
            peer(writer);
            writer.attribute(AttributeType::MESSAGE_INTEGRITY, &[0; 20]).attribute(AttributeType::DATA, b"data");
        }),
    ];
    let count = bad.len() as u64;
    bad.into_iter().for_each(|datagram| world.raw(caller.path, datagram));
    assert!(world.elsewhere.is_empty());
    assert_eq!(world.engine.counters().drop_turn_malformed, count);
}

#[test]
fn padding_tells_nothing_of_what_was_sent_before() {
    // CVE-2020-4067: what others had sent stood in the padding.
    let (mut world, caller, port) = with_peer(turn_config(), false);
    for _ in 0..4 {
        world.raw(port, vec![0xee; 1_400]);
    }
    for len in 1..=8 {
        world.elsewhere.clear();
        world.raw(port, vec![0xaa; len]);
        let indication = world.sent_to(caller.path).remove(0);
        let data = indication.len() - len.next_multiple_of(4);
        assert_eq!(indication[data..data + len], vec![0xaa; len]);
        assert!(indication[data + len..].iter().all(|&byte| byte == 0), "{indication:?}");
    }
    let mut stranger = Caller::member(9);
    let challenge = stranger.request(Method::ALLOCATE, &udp);
    let reply = stranger.exchange(&mut world, challenge).unwrap();
    assert!(!reply.0.contains(&0xee));
    let after_realm = 20 + 8 + 4 + b"plausch".len();
    assert_eq!(reply.0[after_realm], 0, "the realm's padding");
}

#[test]
fn bandwidth_is_limited_in_both_directions_together() {
    let limits = TurnLimits { bytes_per_second: 100_000, ..TurnLimits::default() };
    let (mut world, caller, port) = with_peer(TurnConfig { limits, ..turn_config() }, true);
    let mut relayed = 0;
    for _ in 0..1_000 {
        world.raw(caller.path, channel_data(CHANNEL, &[1; 1_000]));
        world.raw(port, vec![2; 1_000]);
        relayed += world.sent_to(port).len() + world.sent_to(caller.path).len();
        world.now = world.now + std::time::Duration::from_millis(1);
    }
    // A second, and half a second's burst.
    assert!((145..=151).contains(&relayed), "{relayed}");
    assert_eq!(world.engine.counters().drop_turn_bandwidth, 2_000 - relayed as u64);
}

#[test]
fn a_call_over_turn_has_the_same_limit() {
    let limits = TurnLimits { bytes_per_second: 20_000, ..TurnLimits::default() };
    let mut world = world_with(TurnConfig { limits, ..turn_config() });
    let mut caller = Caller::visitor(1);
    caller.allocate(&mut world);
    assert_eq!(caller.bind(&mut world, CHANNEL, MEDIA), 0);
    for _ in 0..1_000 {
        world.raw(caller.path, channel_data(CHANNEL, &[0x80; 1_000]));
    }
    let counters = world.engine.counters();
    assert_eq!(counters.turn_inner_received + counters.drop_turn_bandwidth, 1_000);
    assert_eq!(counters.turn_inner_received, 10);
}
