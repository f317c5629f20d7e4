//! TURN's memory: none for strangers, little for who does nothing, and none per relayed packet.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use plausch_allocation_count::{allocations, live_bytes};
use plausch_engine::stun::{
    AttributeType, Class, IntegrityKey, IntegrityKind, Message, MessageWriter, Method, TransactionId,
};
use plausch_engine::turn::{MediaAddress, RelayAddress, StaticUser, TurnConfig, TurnLimits};
use plausch_engine::{Effect, Engine, EngineCommand, EngineConfig, LocalSocket, Path, RxPacket, Time, TxBatch};
use plausch_relay_api::{Command, ShardId, TurnSecret, TurnSettings};
use std::net::SocketAddr;
use std::time::Duration;

const SECRET: &[u8] = b"a secret of control";
const UNIX_SECONDS: u64 = 1_795_500_000;
const CHANNEL: u16 = 0x4001;

fn peer() -> SocketAddr {
    ([8, 8, 4, 4], 5_000).into()
}

/// A relay with TURN.
pub(super) struct Bench {
    pub engine: Engine,
    pub tx: TxBatch,
    pub now: Time,
    requests: u64,
}

impl Bench {
    /// Where this shard has its media.
    pub(super) fn media() -> SocketAddr {
        ([198, 41, 0, 4], 7_882).into()
    }

    pub(super) fn new() -> Self {
        let relay =
            (0..2).map(|n| RelayAddress { local: [198, 41, 0, 4 + n].into(), announced: [198, 41, 0, 4 + n].into() });
        let turn = TurnConfig {
            realm: "plausch".into(),
            nonce_key: [3; 32],
            unix_seconds: UNIX_SECONDS,
            users: vec![StaticUser { name: "talk".into(), password: "a password".into() }],
            shared_secrets: vec![],
            media: vec![MediaAddress { address: Self::media(), here: true }],
            host_addresses: vec![Self::media().ip()],
            allow_peers: vec![],
            relay: relay.collect(),
            relay_ports: 1_024..=65_535,
            neighbours: vec![],
            nat_discovery: None,
            tcp: None,
            // No limit is in the way of counting.
            limits: TurnLimits { bytes_per_second: 1 << 40, ..TurnLimits::default() },
        };
        let now = Time::from_millis(1_000);
        let mut engine = Engine::new(EngineConfig { turn: Some(turn), ..EngineConfig::new(ShardId(0), 1) }, now);
        let mut tx = TxBatch::new(1 << 20, 1024);
        let settings = TurnSettings { secrets: vec![TurnSecret::new(SECRET)], ..TurnSettings::default() };
        let set = EngineCommand::Control(Command::SetTurn(Box::new(settings)));
        engine.handle_command(now, set, &mut tx).unwrap();
        Self { engine, tx, now, requests: 0 }
    }

    fn receive(&mut self, path: Path, datagram: &mut [u8]) -> Vec<(Path, Vec<u8>)> {
        self.tx.clear();
        self.engine.handle_batch(self.now, &mut [RxPacket { path, data: datagram }], &mut self.tx);
        self.tx.datagrams().map(|(path, datagram)| (path, datagram.to_vec())).collect()
    }

    /// A request that must be granted; the first without a nonce brings one.
    fn ask(&mut self, caller: &mut Caller, method: Method, fill: impl Fn(&mut MessageWriter<'_>)) {
        loop {
            self.requests += 1;
            let mut id = [0; 12];
            id[..8].copy_from_slice(&self.requests.to_be_bytes());
            let mut buffer = [0; 400];
            let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, TransactionId(id));
            fill(&mut writer);
            if !caller.nonce.is_empty() {
                writer.username(caller.name.as_bytes()).attribute(AttributeType::REALM, b"plausch");
                writer.attribute(AttributeType::NONCE, &caller.nonce).integrity(&caller.key);
            }
            let len = writer.finish().unwrap();
            let answers = self.receive(caller.path, &mut buffer[..len]);
            let answer = Message::parse(&answers[0].1).unwrap();
            if answer.class == Class::Success {
                return;
            }
            assert_eq!((answer.error_code(), caller.nonce.len()), (Some(401), 0));
            caller.nonce = answer.attribute(AttributeType::NONCE).unwrap().to_vec();
        }
    }

    pub(super) fn allocate(&mut self, caller: &mut Caller) {
        self.ask(caller, Method::ALLOCATE, |writer| {
            writer.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
    }

    pub(super) fn bind(&mut self, caller: &mut Caller, peer: SocketAddr) {
        self.ask(caller, Method::CHANNEL_BIND, |writer| {
            let [n0, n1] = CHANNEL.to_be_bytes();
            writer.attribute(AttributeType::CHANNEL_NUMBER, &[n0, n1, 0, 0]);
            writer.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
        });
    }
}

/// A client of TURN.
pub(super) struct Caller {
    pub path: Path,
    name: String,
    key: IntegrityKey,
    nonce: Vec<u8>,
}

impl Caller {
    fn new(number: u32, name: String, password: &str) -> Self {
        let remote = SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + number * 64), 40_000));
        let key = Md5::digest(format!("{name}:plausch:{password}"));
        let key = IntegrityKey::new(IntegrityKind::Sha1, &key);
        Self { path: Path { local: LocalSocket(0), remote }, name, key, nonce: vec![] }
    }

    /// Somebody whom control lets in.
    pub(super) fn visitor(number: u32) -> Self {
        let name = format!("{}:0:{number:016x}", UNIX_SECONDS + 86_400);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET);
        let password = STANDARD.encode(hmac::sign(&key, name.as_bytes()));
        Self::new(number, name, &password)
    }

    fn member(number: u32) -> Self {
        Self::new(number, "talk".into(), "a password")
    }
}

/// The figure of the design: 1 KiB for an allocation that is authenticated and has no port outside, with all entries in
/// tables, and a hundred thousand of them.
#[test]
fn a_hundred_thousand_idle_allocations_are_small() {
    const COUNT: u32 = 100_000;
    let mut bench = Bench::new();
    // The buffers of the first request are no allocation's.
    bench.allocate(&mut Caller::visitor(COUNT));
    let before = live_bytes();
    (0..COUNT).for_each(|number| bench.allocate(&mut Caller::visitor(number)));
    let each = (live_bytes() - before) / i64::from(COUNT);
    assert_eq!(bench.engine.counters().turn_allocations, u64::from(COUNT) + 1);
    assert!((1..1_024).contains(&each), "{each} bytes");
    println!("{each} bytes for an idle allocation");

    // With a channel to our media, as in a call.
    (0..1_000).for_each(|number| {
        let mut caller = Caller::visitor(number);
        bench.ask(&mut caller, Method::REFRESH, |_| {});
        bench.bind(&mut caller, Bench::media());
    });
    let each = (live_bytes() - before) / i64::from(COUNT);
    assert!(each < 1_024, "{each} bytes");
    assert!(bench.engine.poll_effect().is_none(), "a socket was asked for");

    // And all of it ends by itself, without a look at all of them at once.
    let start = bench.now;
    while bench.engine.counters().turn_allocations > 0 {
        bench.now = bench.engine.poll_timeout();
        assert!(bench.now.since(start) <= Duration::from_secs(601));
        bench.engine.handle_timeout(bench.now, &mut bench.tx);
    }
    assert_eq!(bench.engine.poll_timeout(), Time::NEVER);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }
}

#[test]
fn a_million_spoofed_requests_leave_nothing_behind() {
    let mut bench = Bench::new();
    let mut caller = Caller::member(7);
    bench.allocate(&mut caller);
    let mut bare = [0; 100];
    let fill = |writer: &mut MessageWriter<'_>| {
        writer.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    };
    let mut writer = MessageWriter::new(&mut bare, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    fill(&mut writer);
    let bare_len = writer.finish().unwrap();
    // With somebody else's nonce, and with one that nobody made: both cost no key.
    let mut signed = [0; 300];
    let mut writer = MessageWriter::new(&mut signed, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    fill(&mut writer);
    writer.username(b"talk").attribute(AttributeType::REALM, b"plausch").attribute(AttributeType::NONCE, &caller.nonce);
    let signed_len = writer.integrity(&caller.key).finish().unwrap();
    let mut binding = [0; 20];
    MessageWriter::new(&mut binding, Class::Request, Method::BINDING, TransactionId([1; 12])).finish().unwrap();
    let mut channel_data = [0; 24];
    channel_data[..4].copy_from_slice(&[0x40, 1, 0, 20]);

    let mut random = Random(1);
    let before = live_bytes();
    let (mut received, mut sent) = (0_u64, 0_u64);
    for round in 0..1_000_000 / 32 {
        bench.tx.clear();
        let mut kinds: [Vec<u8>; 4] =
            [bare[..bare_len].to_vec(), signed[..signed_len].to_vec(), binding.to_vec(), channel_data.to_vec()];
        let [a, b, c, d] = &mut kinds;
        for data in [a, b, c, d] {
            // Any address at all, from our own /24 to everybody's.
            let word = random.next();
            let ip = if word.is_multiple_of(8) { [192, 0, 2, word as u8 >> 3] } else { (word as u32).to_be_bytes() };
            let path = Path { local: LocalSocket(0), remote: (ip, (word >> 40) as u16).into() };
            let mut copies = vec![data.clone(); 8];
            let mut rx: Vec<_> = copies.iter_mut().map(|data| RxPacket { path, data }).collect();
            received += rx.iter().map(|packet| packet.data.len() as u64).sum::<u64>();
            bench.engine.handle_batch(bench.now, &mut rx, &mut bench.tx);
        }
        sent += bench.tx.datagrams().map(|(_, datagram)| datagram.len() as u64).sum::<u64>();
        if round % 100 == 0 {
            bench.now = bench.now + Duration::from_millis(2);
        }
    }
    let grown = live_bytes() - before;
    assert!(grown.abs() < 4_096, "{grown} bytes");
    let counters = *bench.engine.counters();
    assert_eq!(counters.turn_allocations, 1);
    assert!(counters.drop_turn_stranger_limit > 0 && counters.turn_refused_stale_nonce > 200_000);
    assert!(sent * 10 < received * 32, "{sent} bytes for {received}");
    assert!(bench.engine.poll_effect().is_none());
    assert_eq!(bench.engine.poll_timeout(), bench.engine.poll_timeout().min(bench.now + Duration::from_secs(601)));
    // The one who was there before goes on.
    bench.ask(&mut caller, Method::REFRESH, |_| {});
}

pub(super) fn channel_data(data: &[u8]) -> Vec<u8> {
    [&CHANNEL.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

fn send_indication(peer: SocketAddr, len: usize) -> Vec<u8> {
    let mut buffer = vec![0; len + 100];
    let written = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([5; 12]))
        .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        .attribute(AttributeType::DATA, &vec![0x55; len])
        .finish()
        .unwrap();
    buffer.truncate(written);
    buffer
}

#[test]
fn relaying_allocates_nothing() {
    let mut bench = Bench::new();
    let mut caller = Caller::member(1);
    bench.allocate(&mut caller);
    bench.bind(&mut caller, peer());
    let Some(Effect::OpenPort { local, .. }) = bench.engine.poll_effect() else { panic!("no port") };
    let port = Path { local, remote: peer() };
    let elsewhere = Path { local, remote: (peer().ip(), 6_000).into() };
    let mut edge = Caller::member(2);
    edge.path.local = LocalSocket(LocalSocket::FIRST_EDGE);
    bench.allocate(&mut edge);
    bench.bind(&mut edge, peer());
    let Some(Effect::OpenPort { local, .. }) = bench.engine.poll_effect() else { panic!("no port") };
    let edge_port = Path { local, remote: peer() };
    let kinds = [
        (caller.path, channel_data(&[0x55; 1_100])),
        (caller.path, send_indication(peer(), 200)),
        (port, vec![0x55; 1_100]),
        (elsewhere, vec![0x55; 200]),
        (edge.path, channel_data(&[0x55; 200])),
        (edge_port, vec![0x55; 200]),
    ];
    let mut counted = 0;
    for round in 0..1_000 {
        let mut packets: Vec<_> = (0..30).map(|n| kinds[n / 5].clone()).collect();
        let mut rx: Vec<_> = packets.iter_mut().map(|(path, data)| RxPacket { path: *path, data }).collect();
        bench.tx.clear();
        let before = allocations();
        bench.engine.handle_batch(bench.now, &mut rx, &mut bench.tx);
        counted += if round > 0 { allocations() - before } else { 0 };
        assert_eq!(bench.tx.datagrams().count(), 30);
        assert_eq!(bench.tx.runs().len(), 6, "each kind is one run");
        bench.now = bench.now + Duration::from_millis(20);
    }
    let counters = bench.engine.counters();
    assert_eq!((counters.turn_to_peers, counters.turn_from_peers), (15_000, 15_000));
    assert_eq!(counted, 0, "allocations for 30 000 packets");
}
