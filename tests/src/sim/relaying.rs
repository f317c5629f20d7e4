//! Browsers that reach the relay by TURN: nothing else is different for them, and nothing else may be.

use crate::random::Random;
use crate::sim::model::Counts;
use crate::wire::turn::{self, Login, Said};
use plausch_engine::turn::{MediaAddress, RelayAddress, StaticUser, TurnConfig, TurnLimits};
use plausch_engine::{Engine, EngineConfig, Path, RxPacket, Time, TxBatch};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use stun::attributes::ATTR_LIFETIME;
use stun::message::METHOD_REFRESH;

const CHANNEL: u16 = 0x4321;
/// Users who share the allocations, each below `limits::TURN_ALLOCATIONS_PER_USER`.
const USERS: u64 = 64;
const PASSWORD: &str = "a password of the simulation";

fn media() -> SocketAddr {
    ([198, 41, 0, 4], 7_882).into()
}

fn name(user: u64) -> String {
    format!("simulated-{user}")
}

/// The engine's configuration, with TURN.
pub fn config(config: EngineConfig) -> EngineConfig {
    let turn = TurnConfig {
        realm: "plausch".into(),
        nonce_key: [5; 32],
        unix_seconds: 1_795_500_000,
        users: (0..USERS).map(|user| StaticUser { name: name(user), password: PASSWORD.into() }).collect(),
        shared_secrets: vec![],
        media: vec![MediaAddress { address: media(), here: true }],
        host_addresses: vec![media().ip()],
        allow_peers: vec![],
        relay: vec![RelayAddress { local: media().ip(), announced: media().ip() }],
        relay_ports: 49_152..=65_535,
        neighbours: vec![],
        nat_discovery: None,
        tcp: None,
        limits: TurnLimits::default(),
    };
    EngineConfig { turn: Some(turn), ..config }
}

/// Who comes by TURN.
pub struct Relaying {
    random: Random,
    permille: u64,
    /// By the client's own address: its login, and its relayed address.
    clients: BTreeMap<SocketAddr, (Path, Login, SocketAddr)>,
    requests: u64,
    tx: TxBatch,
}

impl Relaying {
    /// So many of a thousand paths are to be by TURN.
    pub fn new(random: Random, permille: u64) -> Self {
        Self { random, permille, clients: BTreeMap::new(), requests: 0, tx: TxBatch::new(1 << 16, 16) }
    }

    fn ask(
        &mut self,
        engine: &mut Engine,
        now: Time,
        counts: &mut Counts,
        path: Path,
        login: &Login,
        make: impl FnOnce([u8; 12], &Login) -> Vec<u8>,
    ) -> Said {
        self.requests += 1;
        let mut id = *b"turn........";
        id[4..].copy_from_slice(&self.requests.to_be_bytes());
        let mut request = make(id, login);
        counts.delivered += 1;
        counts.delivered_bytes += request.len() as u64;
        engine.handle_batch(now, &mut [RxPacket { path, data: &mut request }], &mut self.tx);
        let answer = self.tx.datagrams().next().filter(|(to, _)| *to == path);
        let answer = answer.map(|(_, datagram)| turn::read(datagram, Some(login)).expect("an answer is read"));
        self.tx.clear();
        answer.expect("every request is answered")
    }

    /// A client comes from a path that nobody had before: perhaps by TURN.
    pub fn begin(&mut self, engine: &mut Engine, now: Time, counts: &mut Counts, path: Path) {
        if !self.random.chance(self.permille) {
            return;
        }
        let name = name(self.clients.len() as u64 % USERS);
        let mut login = Login { name, realm: "plausch".into(), password: PASSWORD.into(), nonce: Vec::new() };
        let Said::Error(401, Some((nonce, _))) =
            self.ask(engine, now, counts, path, &login, |id, _| turn::allocate(id, None))
        else {
            panic!("no challenge")
        };
        login.nonce = nonce;
        let Said::Success(Some(relayed)) =
            self.ask(engine, now, counts, path, &login, |id, login| turn::allocate(id, Some(login)))
        else {
            panic!("no allocation")
        };
        let bind = |id, login: &Login| turn::channel_bind(id, login, CHANNEL, media());
        assert_eq!(self.ask(engine, now, counts, path, &login, bind), Said::Success(None));
        self.clients.insert(path.remote, (path, login, relayed));
    }

    /// What a client on this path sends for its browser's datagram.
    pub fn wrap(&self, path: Path, datagram: &[u8]) -> Option<Vec<u8>> {
        self.clients.contains_key(&path.remote).then(|| turn::channel_data(CHANNEL, datagram))
    }

    /// The browser's datagram in one that came to its client on this path.
    pub fn unwrap<'a>(&self, path: Path, datagram: &'a [u8]) -> Result<&'a [u8], String> {
        if !self.clients.contains_key(&path.remote) {
            return Ok(datagram);
        }
        let inner = datagram.strip_prefix(&CHANNEL.to_be_bytes()).and_then(|rest| rest.split_first_chunk::<2>());
        match inner {
            Some((length, data)) if usize::from(u16::from_be_bytes(*length)) == data.len() => Ok(data),
            _ => Err(format!("{} bytes to a TURN client that are no ChannelData of its channel", datagram.len())),
        }
    }

    /// By which address the relay knows who is on this path.
    pub fn seen_as(&self, path: Path) -> SocketAddr {
        self.clients.get(&path.remote).map_or(path.remote, |(_, _, relayed)| *relayed)
    }

    /// How many came so.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody did.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Everybody gives up what they have.
    pub fn end(&mut self, engine: &mut Engine, now: Time, counts: &mut Counts) {
        for (path, login, _) in std::mem::take(&mut self.clients).into_values() {
            let refresh = |id, login: &Login| {
                turn::request(METHOD_REFRESH, id, Some(login), |message| message.add(ATTR_LIFETIME, &[0; 4]))
            };
            assert_eq!(self.ask(engine, now, counts, path, &login, refresh), Said::Success(None));
        }
    }
}
