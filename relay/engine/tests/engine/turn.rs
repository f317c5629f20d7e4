//! A relay with TURN on the workbench, and its clients.

use super::harness::World;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use plausch_engine::batch::{LocalSocket, Path};
use plausch_engine::effect::{Effect, EngineCommand};
use plausch_engine::engine::EngineConfig;
use plausch_engine::stun::{
    AttributeType, Class, IntegrityCheck, IntegrityKey, IntegrityKind, Message, MessageWriter, Method, TransactionId,
};
use plausch_engine::turn::{MediaAddress, Prefix, RelayAddress, StaticUser, TurnConfig, TurnLimits};
use plausch_relay_api::{Command, ShardId, TurnSecret, TurnSettings};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const NOW_UNIX: u64 = 1_795_500_000;
pub(super) const SECRET: &[u8] = b"a secret of control";
const PASSWORD: &str = "the password of talk";
/// Of this shard, by IPv4 and IPv6, and of another one of the same relay.
pub(super) const MEDIA: &str = "198.41.0.4:7882";
pub(super) const MEDIA_V6: &str = "[2a01:4f8::4]:7882";
pub(super) const OTHER_SHARD: &str = "198.41.0.4:7883";
/// Somebody on the internet.
pub(super) const PEER: &str = "8.8.4.4:5000";
pub(super) const FIRST_PORT: u16 = 50_000;
pub(super) const LAST_PORT: u16 = 50_099;

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn turn_config() -> TurnConfig {
    let media = [(MEDIA, true), (MEDIA_V6, true), (OTHER_SHARD, false)];
    let relay = |local: &str, announced: &str| RelayAddress {
        local: local.parse().unwrap(),
        announced: announced.parse().unwrap(),
    };
    TurnConfig {
        realm: "plausch".into(),
        nonce_key: [9; 32],
        unix_seconds: NOW_UNIX,
        users: vec![
            StaticUser { name: "talk".into(), password: PASSWORD.into() },
            StaticUser { name: "other".into(), password: PASSWORD.into() },
        ],
        shared_secrets: vec![],
        media: media.map(|(text, here)| MediaAddress { address: address(text), here }).to_vec(),
        host_addresses: vec!["198.41.0.4".parse().unwrap(), "2a01:4f8::4".parse().unwrap()],
        allow_peers: vec![Prefix { address: "10.20.0.0".parse().unwrap(), bits: 16 }],
        relay: vec![relay("192.168.1.4", "198.41.0.4"), relay("2a01:4f8::4", "2a01:4f8::4")],
        relay_ports: FIRST_PORT..=LAST_PORT,
        neighbours: vec![],
        nat_discovery: None,
        tcp: None,
        // What ends an allocation that nobody uses has tests of its own.
        limits: TurnLimits { unused: Duration::from_secs(86_400), ..TurnLimits::default() },
    }
}

pub(super) fn world_with(turn: TurnConfig) -> World {
    let mut world = World::with(EngineConfig { turn: Some(turn), ..EngineConfig::new(ShardId(0), 42) });
    let settings = TurnSettings { secrets: vec![TurnSecret::new(SECRET)], ..TurnSettings::default() };
    world.control(Command::SetTurn(Box::new(settings))).unwrap();
    world
}

pub(super) fn world() -> World {
    world_with(turn_config())
}

/// What a client wants to be put into its request.
pub(super) type Fill<'a> = &'a dyn Fn(&mut MessageWriter<'_>);

/// A client of TURN.
#[derive(Clone)]
pub(super) struct Caller {
    pub path: Path,
    pub name: String,
    password: String,
    nonce: Vec<u8>,
    requests: u32,
}

impl Caller {
    fn new(path: Path, name: String, password: String) -> Self {
        Self { path, name, password, nonce: Vec::new(), requests: 0 }
    }

    fn path(port: u16) -> Path {
        Path { local: LocalSocket(1), remote: ([192, 0, 2, 33], port).into() }
    }

    /// Somebody who joins a room.
    pub(super) fn visitor(port: u16) -> Self {
        let name = format!("{}:0:{port}", NOW_UNIX + 86_400);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET);
        let password = STANDARD.encode(hmac::sign(&key, name.as_bytes()));
        Self::new(Self::path(port), name, password)
    }

    /// A user of the configuration.
    pub(super) fn member(port: u16) -> Self {
        Self::new(Self::path(port), "talk".into(), PASSWORD.into())
    }

    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The same, by TCP.
    pub(super) fn at_edge(mut self) -> Self {
        self.path.local = LocalSocket(LocalSocket::FIRST_EDGE + 1);
        self
    }

    fn key(&self) -> IntegrityKey {
        let text = format!("{}:plausch:{}", self.name, self.password);
        IntegrityKey::new(IntegrityKind::Sha1, &Md5::digest(text.as_bytes()))
    }

    fn transaction(&self) -> TransactionId {
        let mut id = [7; 12];
        id[..4].copy_from_slice(&self.requests.to_be_bytes());
        id[4..6].copy_from_slice(&self.path.remote.port().to_be_bytes());
        TransactionId(id)
    }

    /// The next request; without credentials as long as there is no nonce.
    pub(super) fn request(&mut self, method: Method, fill: Fill<'_>) -> Vec<u8> {
        self.requests += 1;
        self.repeat(method, fill)
    }

    /// The last request once more.
    pub(super) fn repeat(&self, method: Method, fill: Fill<'_>) -> Vec<u8> {
        let mut buffer = vec![0; 2_000];
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, self.transaction());
        fill(&mut writer);
        if !self.nonce.is_empty() {
            writer.username(self.name.as_bytes()).attribute(AttributeType::REALM, b"plausch");
            writer.attribute(AttributeType::NONCE, &self.nonce).integrity(&self.key());
        }
        let len = writer.finish().unwrap();
        buffer.truncate(len);
        buffer
    }

    /// Sends a datagram and takes the answer.
    pub(super) fn exchange(&self, world: &mut World, datagram: Vec<u8>) -> Option<Reply> {
        world.raw(self.path, datagram);
        let is_answer = |message: &Vec<u8>| {
            Message::parse(message).is_ok_and(|message| matches!(message.class, Class::Success | Class::Error))
        };
        let (answers, data): (Vec<_>, Vec<_>) = world.sent_to(self.path).into_iter().partition(is_answer);
        world.elsewhere.extend(data.into_iter().map(|message| (self.path, vec![message])));
        let mut all = answers.into_iter();
        let reply = all.next().map(Reply);
        assert_eq!(all.next(), None, "two answers to one request");
        reply
    }

    pub(super) fn take_nonce(&mut self, challenge: &Reply) {
        self.nonce = challenge.message().attribute(AttributeType::NONCE).unwrap().to_vec();
    }

    /// Asks, with a new nonce where that is needed, and takes the answer, whose integrity must be right.
    pub(super) fn ask(&mut self, world: &mut World, method: Method, fill: Fill<'_>) -> Reply {
        let request = self.request(method, fill);
        let mut reply = self.exchange(world, request).unwrap();
        if reply.code() == 438 || reply.code() == 401 && self.nonce.is_empty() {
            self.take_nonce(&reply);
            let request = self.request(method, fill);
            reply = self.exchange(world, request).unwrap();
        }
        let message = reply.message();
        assert_eq!((message.method, message.transaction_id), (method, self.transaction()));
        if ![401, 438].contains(&reply.code()) && message.integrity_kind().is_some() {
            assert_eq!(message.check_integrity(&self.key()), IntegrityCheck::Valid);
        }
        reply
    }

    pub(super) fn code(&mut self, world: &mut World, method: Method, fill: Fill<'_>) -> u16 {
        self.ask(world, method, fill).code()
    }

    /// Allocates and says what was granted.
    pub(super) fn allocate(&mut self, world: &mut World) -> SocketAddr {
        let reply = self.ask(world, Method::ALLOCATE, &udp);
        assert_eq!(reply.code(), 0);
        reply.relayed()[0]
    }

    pub(super) fn permit(&mut self, world: &mut World, peer: &str) -> u16 {
        self.code(world, Method::CREATE_PERMISSION, &|writer| {
            writer.xor_address(AttributeType::XOR_PEER_ADDRESS, address(peer));
        })
    }

    pub(super) fn bind(&mut self, world: &mut World, number: u16, peer: &str) -> u16 {
        self.code(world, Method::CHANNEL_BIND, &|writer| {
            let [n0, n1] = number.to_be_bytes();
            writer.attribute(AttributeType::CHANNEL_NUMBER, &[n0, n1, 0, 0]);
            writer.xor_address(AttributeType::XOR_PEER_ADDRESS, address(peer));
        })
    }

    pub(super) fn refresh(&mut self, world: &mut World, lifetime_s: u32) -> u16 {
        self.code(world, Method::REFRESH, &|writer| {
            writer.attribute(AttributeType::LIFETIME, &lifetime_s.to_be_bytes());
        })
    }
}

/// REQUESTED-TRANSPORT for UDP.
pub(super) fn udp(writer: &mut MessageWriter<'_>) {
    writer.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

/// An answer of the relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply(pub Vec<u8>);

impl Reply {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    /// 0: success.
    pub(super) fn code(&self) -> u16 {
        let message = self.message();
        match message.class {
            Class::Success => 0,
            Class::Error => message.error_code().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn relayed(&self) -> Vec<SocketAddr> {
        self.message().xor_addresses(AttributeType::XOR_RELAYED_ADDRESS).map(Option::unwrap).collect()
    }

    pub(super) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.message().fixed(AttributeType::LIFETIME).unwrap())
    }

    pub(super) fn token(&self) -> Option<[u8; 8]> {
        self.message().fixed(AttributeType::RESERVATION_TOKEN)
    }
}

pub(super) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

pub(super) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; data.len() + 100];
    let len = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([5; 12]))
        .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        .attribute(AttributeType::DATA, data)
        .finish()
        .unwrap();
    buffer.truncate(len);
    buffer
}

/// Peer and data of a Data indication.
pub(super) fn read_indication(datagram: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = Message::parse(datagram).unwrap();
    assert_eq!((message.class, message.method), (Class::Indication, Method::DATA));
    let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().unwrap().unwrap();
    (peer, message.attribute(AttributeType::DATA).unwrap().to_vec())
}

/// A Binding request of somebody without credentials.
pub(super) fn binding(id: u8, more: &[(AttributeType, &[u8])], fingerprint: bool) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([id; 12]));
    more.iter().for_each(|(kind, value)| {
        writer.attribute(*kind, value);
    });
    if fingerprint {
        writer.fingerprint();
    }
    let len = writer.finish().unwrap();
    buffer.truncate(len);
    buffer
}

impl World {
    /// Everything that was sent to this path, message by message.
    pub(super) fn sent_to(&mut self, path: Path) -> Vec<Vec<u8>> {
        let (taken, left) = std::mem::take(&mut self.elsewhere).into_iter().partition(|(to, _)| *to == path);
        self.elsewhere = left;
        let taken: Vec<(Path, Vec<Vec<u8>>)> = taken;
        taken.into_iter().flat_map(|(_, datagrams)| datagrams).collect()
    }

    /// Ports that were opened and not closed again, with their addresses.
    pub(super) fn open_ports(&self) -> Vec<(LocalSocket, SocketAddr)> {
        let mut open = Vec::new();
        for effect in &self.effects {
            match effect {
                Effect::OpenPort { local, address } => open.push((*local, *address)),
                Effect::ClosePort { local } => {
                    let before = open.len();
                    open.retain(|(other, _)| other != local);
                    assert_eq!(open.len(), before - 1, "closed what was not open");
                }
                _ => {}
            }
        }
        open
    }

    pub(super) fn edge_closed(&mut self, path: Path) {
        self.command(EngineCommand::EdgeClosed { path });
    }

    /// Time goes by without any browser.
    pub(super) fn wait_s(&mut self, seconds: u64) {
        self.pass_silently(seconds * 1_000, false);
    }
}
