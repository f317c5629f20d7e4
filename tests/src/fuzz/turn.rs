//! TURN: datagrams of strangers, of a user with an allocation, of peers and of TCP clients, and requests that are signed
//! whatever is in them.

use crate::wire::turn::{self, Login, Said};
use plausch_engine::counters::CounterKind;
use plausch_engine::stun::Message;
use plausch_engine::turn::framing::Framer;
use plausch_engine::turn::{
    ConnectionId, MediaAddress, RelayAddress, StaticUser, TcpAllocations, TurnConfig, TurnLimits,
};
use plausch_engine::{
    Counters, EdgeNews, EdgeTask, Effect, Engine, EngineCommand, EngineConfig, LocalSocket, Path, RxPacket, Time,
    TxBatch,
};
use plausch_relay_api::{ShardId, TurnSecret};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use stun::attributes::{ATTR_FINGERPRINT, AttrType};
use stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CONNECT, METHOD_CONNECTION_BIND,
    METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, MessageType, Method,
};

/// What a record of the input does with its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// A datagram of a stranger.
    Stranger,
    /// A datagram of the user, as it is.
    Raw,
    /// A request of the user: the first byte is the method, the others are attributes (type, length, value); then it is
    /// signed.
    Request,
    /// A datagram of the peer at an open port, if there is one.
    Peer,
    /// Bytes of the user's stream, by TCP.
    Stream,
    /// Time goes by: the first byte times 4 s.
    Wait,
    /// As `Request`, by TCP: ConnectionBind by a connection of its own.
    StreamRequest,
    /// News of the edge: the first byte says what becomes of the latest connection, or who comes to the latest listener.
    Edge,
    /// The connection of `StreamRequest` that binds is closed.
    Close,
}

const OPS: [Op; 9] =
    [Op::Stranger, Op::Raw, Op::Request, Op::Peer, Op::Stream, Op::Wait, Op::StreamRequest, Op::Edge, Op::Close];
/// A peer on the internet, and our own media.
pub const PEER: &str = "8.8.4.4:5000";
/// See [`PEER`].
pub const MEDIA: &str = "198.41.0.4:7882";

/// One record: the op, two bytes of length, the bytes.
pub fn record(op: Op, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(op as u8);
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A relay with TURN, small enough that its limits are reached.
pub fn config() -> EngineConfig {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let relay = ["198.41.0.4", "2a01:4f8::4"].map(|ip| ip.parse().expect("an address"));
    let turn = TurnConfig {
        realm: "plausch".into(),
        nonce_key: [3; 32],
        unix_seconds: 1_795_500_000,
        users: vec![StaticUser { name: "talk".into(), password: "a password".into() }],
        shared_secrets: vec![TurnSecret::new("of another program")],
        media: vec![MediaAddress { address: address(MEDIA), here: true }],
        host_addresses: relay.to_vec(),
        allow_peers: vec![],
        relay: relay.map(|ip| RelayAddress { local: ip, announced: ip }).to_vec(),
        relay_ports: 50_000..=50_009,
        neighbours: vec![],
        nat_discovery: None,
        tcp: Some(TcpAllocations {
            own_ports: vec![443],
            connections: 6,
            connections_per_allocation: 4,
            connections_per_user: 5,
        }),
        limits: TurnLimits { permissions_per_allocation: 8, channels_per_allocation: 4, ..TurnLimits::default() },
    };
    EngineConfig { turn: Some(turn), ..EngineConfig::new(ShardId(0), 7) }
}

/// A relay, a user, and the ports that are open.
pub struct Scene {
    pub engine: Engine,
    pub now: Time,
    pub tx: TxBatch,
    pub login: Login,
    pub user: Path,
    pub edge: Path,
    /// Another connection by TCP.
    pub data: Path,
    pub stranger: Path,
    pub open: BTreeMap<u16, SocketAddr>,
    /// Where the edge listens, and the connections of peers that it has.
    pub listening: BTreeMap<SocketAddr, Path>,
    pub connections: Vec<ConnectionId>,
    /// Of the user by TCP.
    edge_nonce: Vec<u8>,
    requests: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// Nobody has an allocation yet; the user has a nonce.
    pub fn new() -> Self {
        let now = Time::from_millis(5_000);
        let path = |local, host: u8| Path { local: LocalSocket(local), remote: ([192, 0, 2, host], 40_000).into() };
        let mut scene = Self {
            engine: Engine::new(config(), now),
            now,
            tx: TxBatch::new(1 << 20, 1024),
            login: Login {
                name: "talk".into(),
                realm: "plausch".into(),
                password: "a password".into(),
                nonce: Vec::new(),
            },
            user: path(0, 1),
            edge: path(LocalSocket::FIRST_EDGE, 1),
            data: Path { local: LocalSocket(LocalSocket::FIRST_EDGE), remote: ([192, 0, 2, 1], 40_001).into() },
            stranger: path(1, 66),
            open: BTreeMap::new(),
            listening: BTreeMap::new(),
            connections: Vec::new(),
            edge_nonce: Vec::new(),
            requests: 0,
        };
        scene.renew();
        scene
    }

    fn transaction(&mut self) -> [u8; 12] {
        self.requests += 1;
        let mut id = *b"........turn";
        id[..8].copy_from_slice(&self.requests.to_be_bytes());
        id
    }

    /// Has new nonces from the relay.
    fn renew(&mut self) {
        for path in [self.user, self.edge] {
            let request = turn::allocate(self.transaction(), None);
            let answers = self.receive(path, &request);
            let Some((_, answer)) = answers.first() else { continue };
            match turn::read(answer, None) {
                Ok(Said::Error(401, Some((nonce, _)))) if path == self.edge => self.edge_nonce = nonce,
                Ok(Said::Error(401, Some((nonce, realm)))) => (self.login.nonce, self.login.realm) = (nonce, realm),
                other => panic!("a challenge was expected: {other:?}"),
            }
        }
    }

    /// One datagram, and what is sent for it.
    pub fn receive(&mut self, path: Path, datagram: &[u8]) -> Vec<(Path, Vec<u8>)> {
        let mut data = datagram.to_vec();
        self.engine.handle_batch(self.now, &mut [RxPacket { path, data: &mut data }], &mut self.tx);
        self.taken()
    }

    fn taken(&mut self) -> Vec<(Path, Vec<u8>)> {
        let sent = self.tx.datagrams().map(|(path, datagram)| (path, datagram.to_vec())).collect();
        self.tx.clear();
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::OpenPort { local, address } => {
                    assert!(self.open.insert(local.0, address).is_none(), "a number in use was given again");
                }
                Effect::ClosePort { local } => assert!(self.open.remove(&local.0).is_some(), "closed what is not open"),
                Effect::Edge { client, task } => self.edge_does(client, task),
                other => panic!("TURN asked for {other:?}"),
            }
        }
        sent
    }

    fn edge_does(&mut self, client: Path, task: EdgeTask) {
        match task {
            EdgeTask::Listen { address } => {
                assert!(self.listening.insert(address, client).is_none(), "one address for two");
            }
            EdgeTask::Unlisten { address } => assert!(self.listening.remove(&address).is_some(), "nobody listens"),
            EdgeTask::Connect { connection, to, .. } => {
                let ip = to.ip();
                assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
                self.connections.push(connection);
            }
            EdgeTask::Judge { connection, .. } => self.connections.extend(connection),
            EdgeTask::Close { connection } => {
                let place = self.connections.iter().position(|known| *known == connection);
                self.connections.remove(place.expect("only what there is can be closed"));
            }
        }
    }

    /// Something that the edge says.
    fn news(&mut self, kind: u8) {
        let news = match (kind % 4, self.connections.last().copied(), self.listening.last_key_value()) {
            (0, Some(connection), _) => EdgeNews::Connected { connection },
            (1, Some(connection), _) => {
                self.connections.pop();
                EdgeNews::Failed { connection }
            }
            (2, _, Some((&address, &client))) => {
                self.listening.remove(&address);
                EdgeNews::ListenFailed { client, address }
            }
            (3, _, Some((&address, &client))) => {
                let mut peer: SocketAddr = PEER.parse().expect("an address");
                peer.set_port(4_000 + u16::from(kind));
                EdgeNews::Accepted { client, address, socket: 1, peer }
            }
            _ => return,
        };
        self.engine.handle_command(self.now, EngineCommand::Edge(news), &mut self.tx).expect("news are no command");
        self.taken();
    }

    /// A signed request of the user, and the answer.
    pub fn ask(&mut self, path: Path, make: impl Fn([u8; 12], &Login) -> Vec<u8>) -> Option<Said> {
        let mut login = self.login.clone();
        if path.local.is_edge() {
            login.nonce.clone_from(&self.edge_nonce);
        }
        let request = make(self.transaction(), &login);
        let answers = self.receive(path, &request);
        answers.first().map(|(_, answer)| turn::read(answer, Some(&self.login)).expect("a message of ours is read"))
    }

    /// A connection of a client by TCP is closed.
    fn close(&mut self, path: Path) {
        let command = EngineCommand::EdgeClosed { path };
        self.engine.handle_command(self.now, command, &mut self.tx).expect("it is done");
        self.taken();
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for _ in 0..64 {
            if self.engine.poll_timeout() > self.now {
                break;
            }
            self.engine.handle_timeout(self.now, &mut self.tx);
        }
        assert!(self.engine.poll_timeout() > self.now, "the timer makes no progress");
        self.taken();
    }
}

/// Runs the records of `input`.
pub fn turn(input: &[u8]) {
    run(input);
}

/// As [`turn`]; what was counted.
pub fn run(mut input: &[u8]) -> Counters {
    let mut scene = Scene::new();
    let mut framer = Framer::default();
    let mut stream_ended = false;
    while let [op, high, low, rest @ ..] = input {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        match OPS[usize::from(*op) % OPS.len()] {
            Op::Stranger => {
                let before = *scene.engine.counters();
                let sent = scene.receive(scene.stranger, bytes);
                let answered: usize = sent.iter().map(|(_, datagram)| datagram.len()).sum();
                assert!(sent.len() <= 1 && answered <= 96 + 3 * len, "{answered} bytes to a stranger for {len}");
                assert!(sent.iter().all(|(path, _)| *path == scene.stranger));
                let after = scene.engine.counters();
                assert_eq!(before.turn_allocations, after.turn_allocations, "a stranger has an allocation");
            }
            Op::Raw => {
                let sent = scene.receive(scene.user, bytes);
                check_sent(&scene, &sent);
            }
            Op::Request => {
                let Some((method, attributes)) = bytes.split_first() else { continue };
                let answer = scene.ask(scene.user, |id, login| signed(*method, attributes, id, login));
                if matches!(answer, Some(Said::Error(438, _))) {
                    scene.renew();
                }
            }
            Op::StreamRequest => {
                let Some((method, attributes)) = bytes.split_first() else { continue };
                let binds = method_of(*method) == METHOD_CONNECTION_BIND;
                let path = if binds { scene.data } else { scene.edge };
                // A number that no input can guess.
                let id = scene.connections.last().filter(|_| binds).map(|id| id.0.to_be_bytes());
                let head = id.map(|id| [&[0, 0x2a, 4], id.as_slice()].concat()).unwrap_or_default();
                let attributes = [&head, attributes].concat();
                let answer = scene.ask(path, |id, login| signed(*method, &attributes, id, login));
                if matches!(answer, Some(Said::Error(438, _))) {
                    scene.renew();
                }
            }
            Op::Edge => scene.news(bytes.first().copied().unwrap_or_default()),
            Op::Close => scene.close(scene.data),
            Op::Peer => {
                let Some(&number) = scene.open.keys().next() else { continue };
                let remote = PEER.parse().expect("an address");
                let sent = scene.receive(Path { local: LocalSocket(number), remote }, bytes);
                assert!(sent.len() <= 1);
                for (path, message) in &sent {
                    assert!(*path == scene.user || *path == scene.edge);
                    let data = match turn::read(message, Some(&scene.login)) {
                        Ok(Said::Data(peer, data)) if peer == remote => data,
                        _ => message[4..].to_vec(),
                    };
                    assert_eq!(data, bytes, "what a peer says comes as it was");
                }
            }
            Op::Stream if stream_ended => {}
            Op::Stream => {
                let mut messages = Vec::new();
                let mut keep = |message: &[u8]| {
                    messages.push(message.to_vec());
                    true
                };
                stream_ended = framer.feed(bytes, &mut keep).is_err();
                for message in messages {
                    let sent = scene.receive(scene.edge, &message);
                    check_sent(&scene, &sent);
                }
            }
            Op::Wait => scene.wait(Duration::from_secs(4) * u32::from(bytes.first().copied().unwrap_or_default())),
        }
        let counters = scene.engine.counters();
        assert!(counters.turn_allocations <= 2);
        assert_eq!(counters.turn_ports, (scene.open.len() + scene.listening.len()) as u64);
        assert_eq!(counters.turn_connections, scene.connections.len() as u64);
        assert!(scene.connections.len() <= 4);
    }
    scene.close(scene.edge);
    scene.wait(Duration::from_secs(3_601));
    let left = scene.engine.counters().entries().find(|entry| entry.kind == CounterKind::Gauge && entry.value != 0);
    assert_eq!(left, None, "something is left when all is over");
    *scene.engine.counters()
}

/// A request whose attributes are whatever was found.
fn signed(method: u8, mut attributes: &[u8], id: [u8; 12], login: &Login) -> Vec<u8> {
    turn::request(method_of(method), id, Some(login), |message| {
        while let [t0, t1, len, rest @ ..] = attributes {
            let (value, others) = rest.split_at(usize::from(*len).min(rest.len()));
            let kind = AttrType(u16::from_be_bytes([*t0, *t1]));
            // The published crate signs nothing behind a FINGERPRINT.
            if kind != ATTR_FINGERPRINT {
                message.add(kind, value);
            }
            attributes = others;
        }
    })
}

/// The method with this number; every other one is one that TURN does not have.
fn method_of(number: u8) -> Method {
    let known = [
        METHOD_BINDING,
        METHOD_ALLOCATE,
        METHOD_REFRESH,
        METHOD_SEND,
        METHOD_DATA,
        METHOD_CREATE_PERMISSION,
        METHOD_CHANNEL_BIND,
        METHOD_CONNECT,
    ];
    known
        .into_iter()
        .find(|method| MessageType::new(*method, CLASS_REQUEST).value() == u16::from(number))
        .unwrap_or(METHOD_CONNECTION_BIND)
}

/// What goes out for a user's datagram goes to the user, or through an open port to where the policy allows.
fn check_sent(scene: &Scene, sent: &[(Path, Vec<u8>)]) {
    for (path, datagram) in sent {
        let back = *path == scene.user || *path == scene.edge;
        assert!(back || scene.open.contains_key(&path.local.0), "{path:?}");
        if !back {
            let ip = path.remote.ip();
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
            assert_ne!(path.remote.port(), 0);
        }
        if back && datagram[0] < 4 {
            assert!(Message::parse(datagram).is_ok(), "we read what we write");
        }
    }
}

/// The stream of a TCP client: the first byte says in pieces of which size it comes. It must make no difference.
pub fn framed(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let take = |size: usize| {
        let (mut framer, mut found, mut failed) = (Framer::default(), Vec::new(), false);
        for piece in stream.chunks(size.max(1)) {
            let mut bytes = 0;
            failed = framer
                .feed(piece, |message| {
                    bytes += message.len();
                    found.push(message.to_vec());
                    true
                })
                .is_err();
            assert!(bytes <= plausch_relay_api::limits::DATAGRAM_BYTES + piece.len(), "more than there was");
            if failed {
                break;
            }
        }
        (found, failed, framer.take_oversized())
    };
    let (whole, failed, oversized) = take(stream.len());
    let (pieces, failed_too, oversized_too) = take(usize::from(*size));
    assert_eq!((&whole, failed, oversized), (&pieces, failed_too, oversized_too));
    for message in &whole {
        assert!(!message.is_empty() && message[0] < 0x80);
        if message[0] < 0x40 {
            assert_eq!(message.len() % 4, 0);
        }
    }
}
