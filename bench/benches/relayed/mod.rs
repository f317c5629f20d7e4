//! Clients of TURN in the engine, each with a channel to a peer outside, and the packets of both. What the bench of
//! relaying and the count of its instructions have in common. The clients' requests are by webrtc-rs.

use plausch_engine::batch::{LocalSocket, Path, RxPacket, TxBatch};
use plausch_engine::effect::Effect;
use plausch_engine::engine::{Engine, EngineConfig};
use plausch_engine::time::Time;
use plausch_engine::turn::{RelayAddress, StaticUser, TurnConfig, TurnLimits};
use plausch_relay_api::ShardId;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, Message, MessageType, Method, Setter,
};
use stun::xoraddr::XorMappedAddress;

/// Clients, of whom each has one packet in a batch: none can share a run with the next.
pub(crate) const CLIENTS: usize = 32;
const USER: &str = "bench";
const REALM: &str = "plausch";
const PASSWORD: &str = "the password of bench";
const CHANNEL: u16 = 0x4000;
/// Between two batches on the engine's clock: so little that no timer is due in a bench.
const STEP: Duration = Duration::from_micros(1);

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// ChannelData of clients becomes datagrams to their peers.
    ToPeers,
    /// Datagrams of peers become ChannelData for their clients.
    FromPeers,
}

pub(crate) struct Relayed {
    engine: Engine,
    now: Time,
    pub(crate) tx: TxBatch,
    clients: Vec<Path>,
    /// The relay ports, with the peers as senders.
    ports: Vec<Path>,
}

fn client(number: usize) -> Path {
    Path { local: LocalSocket(0), remote: (Ipv4Addr::from_bits(0x0b00_0000 + number as u32), 40_000).into() }
}

fn peer(number: usize) -> SocketAddr {
    (Ipv4Addr::from_bits(0x0808_0400 + number as u32), 5_000).into()
}

impl Relayed {
    pub(crate) fn new() -> Self {
        let now = Time::from_millis(1_000_000);
        let relay = Ipv4Addr::new(198, 41, 0, 4).into();
        let turn = TurnConfig {
            realm: REALM.into(),
            nonce_key: [3; 32],
            unix_seconds: 1_795_500_000,
            users: vec![StaticUser { name: USER.into(), password: PASSWORD.into() }],
            shared_secrets: vec![],
            media: vec![],
            host_addresses: vec![relay],
            allow_peers: vec![],
            relay: vec![RelayAddress { local: relay, announced: relay }],
            relay_ports: 50_000..=59_999,
            neighbours: vec![],
            nat_discovery: None,
            tcp: None,
            // No limit is in the way of measuring.
            limits: TurnLimits { bytes_per_second: 1 << 40, allocations_per_user: CLIENTS, ..TurnLimits::default() },
        };
        let config = EngineConfig { turn: Some(turn), ..EngineConfig::new(ShardId(0), 42) };
        let tx = TxBatch::new(1 << 20, 1_000);
        let mut relayed = Self { engine: Engine::new(config, now), now, tx, clients: vec![], ports: vec![] };
        (0..CLIENTS).for_each(|number| relayed.connect(number));
        relayed
    }

    /// An allocation with a channel; its relay port opens.
    fn connect(&mut self, number: usize) {
        let path = client(number);
        let mut nonce = Vec::new();
        self.ask(path, &mut nonce, METHOD_ALLOCATE, |request| request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]));
        self.ask(path, &mut nonce, METHOD_CHANNEL_BIND, |request| {
            let [n0, n1] = CHANNEL.to_be_bytes();
            request.add(ATTR_CHANNEL_NUMBER, &[n0, n1, 0, 0]);
            let address = XorMappedAddress { ip: peer(number).ip(), port: peer(number).port() };
            address.add_to_as(request, ATTR_XOR_PEER_ADDRESS).unwrap();
        });
        let Some(Effect::OpenPort { local, .. }) = self.engine.poll_effect() else { panic!("no port was opened") };
        self.clients.push(path);
        self.ports.push(Path { local, remote: peer(number) });
    }

    /// A request that must be granted; the first without a nonce brings one.
    fn ask(&mut self, path: Path, nonce: &mut Vec<u8>, method: Method, fill: impl Fn(&mut Message)) {
        loop {
            let mut request = Message::new();
            request.new_transaction_id().unwrap();
            request.set_type(MessageType::new(method, CLASS_REQUEST));
            request.write_header();
            fill(&mut request);
            if !nonce.is_empty() {
                request.add(ATTR_USERNAME, USER.as_bytes());
                request.add(ATTR_REALM, REALM.as_bytes());
                request.add(ATTR_NONCE, nonce);
                let credentials = MessageIntegrity::new_long_term_integrity(USER.into(), REALM.into(), PASSWORD.into());
                credentials.add_to(&mut request).unwrap();
            }
            self.now = self.now + STEP;
            let mut rx = [RxPacket { path, data: &mut request.raw }];
            self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
            let mut answer = Message::new();
            answer.raw = self.tx.datagrams().next().unwrap().1.to_vec();
            answer.decode().unwrap();
            self.tx.clear();
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                return;
            }
            assert!(nonce.is_empty(), "the request was refused: {answer}");
            *nonce = answer.get(ATTR_NONCE).unwrap();
        }
    }

    /// One packet for everybody.
    pub(crate) fn batch(&self, direction: Direction, bytes: usize) -> Vec<Vec<u8>> {
        let data = vec![0x55; bytes];
        let packet = match direction {
            Direction::ToPeers => [&CHANNEL.to_be_bytes(), &(bytes as u16).to_be_bytes(), &data[..]].concat(),
            Direction::FromPeers => data,
        };
        vec![packet; CLIENTS]
    }

    /// What is measured.
    pub(crate) fn relay(&mut self, direction: Direction, batch: &mut [Vec<u8>]) {
        let paths = match direction {
            Direction::ToPeers => &self.clients,
            Direction::FromPeers => &self.ports,
        };
        let mut rx: Vec<_> = paths.iter().zip(batch).map(|(path, data)| RxPacket { path: *path, data }).collect();
        self.now = self.now + STEP;
        self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
    }
}
