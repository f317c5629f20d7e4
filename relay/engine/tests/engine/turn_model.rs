//! Random requests and time against a model of what RFC 8656 says, in maps and without any cleverness.

use super::harness::World;
use super::turn::*;
use plausch_engine::stun::{AttributeType, MessageWriter, Method};
use plausch_engine::turn::{TurnConfig, TurnLimits};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

const CALLERS: usize = 4;
const PEERS: [&str; 7] = [MEDIA, OTHER_SHARD, MEDIA_V6, PEER, "8.8.4.4:5001", "1.1.1.1:1", "127.0.0.1:1"];
const NUMBERS: [u16; 4] = [0x4000, 0x4001, 0x7fff, 0x8000];
const PERMISSIONS: usize = 3;
const CHANNELS: usize = 2;
const ALLOCATIONS: usize = 3;
/// Seconds without a permission.
const UNUSED: u64 = 400;

#[derive(Clone, Debug)]
enum Step {
    Allocate { caller: usize, even: bool, v6: bool, lifetime: u32 },
    Refresh { caller: usize, lifetime: u32 },
    Permit { caller: usize, peers: Vec<usize> },
    Bind { caller: usize, number: usize, peer: usize },
    Send { caller: usize, peer: usize },
    Channel { caller: usize, number: usize },
    Answer { caller: usize, peer: usize },
    Close { caller: usize },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let caller = 0..CALLERS;
    let peer = 0..PEERS.len();
    let lifetime = prop_oneof![Just(0), Just(600), Just(900), Just(100_000)];
    prop_oneof![
        3 => (caller.clone(), any::<bool>(), any::<bool>(), lifetime.clone())
            .prop_map(|(caller, even, v6, lifetime)| Step::Allocate { caller, even, v6, lifetime }),
        2 => (caller.clone(), lifetime).prop_map(|(caller, lifetime)| Step::Refresh { caller, lifetime }),
        4 => (caller.clone(), prop::collection::vec(peer.clone(), 0..3))
            .prop_map(|(caller, peers)| Step::Permit { caller, peers }),
        4 => (caller.clone(), 0..NUMBERS.len(), peer.clone())
            .prop_map(|(caller, number, peer)| Step::Bind { caller, number, peer }),
        3 => (caller.clone(), peer.clone()).prop_map(|(caller, peer)| Step::Send { caller, peer }),
        3 => (caller.clone(), 0..NUMBERS.len()).prop_map(|(caller, number)| Step::Channel { caller, number }),
        3 => (caller.clone(), peer).prop_map(|(caller, peer)| Step::Answer { caller, peer }),
        1 => caller.prop_map(|caller| Step::Close { caller }),
        3 => prop_oneof![0..30_u64, 250..350_u64, 550..700_u64].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What a caller has.
#[derive(Clone, Debug, Default)]
struct Held {
    relayed: Option<SocketAddr>,
    /// All times in seconds since the start.
    expires: u64,
    unused_at: u64,
    permissions: BTreeMap<std::net::IpAddr, u64>,
    channels: BTreeMap<u16, (SocketAddr, u64)>,
    port: bool,
}

impl Held {
    fn permits(&self, peer: SocketAddr, now: u64) -> bool {
        self.permissions.get(&peer.ip()).is_some_and(|&expires| expires > now)
    }

    fn new_permissions(&self, peers: &[SocketAddr], now: u64) -> (usize, usize) {
        let living = self.permissions.values().filter(|&&expires| expires > now).count();
        let new: BTreeSet<_> = peers.iter().filter(|peer| !self.permits(**peer, now)).map(SocketAddr::ip).collect();
        (living, new.len())
    }
}

/// Callers 0 and 1 are visitors, 2 and 3 members of the configuration.
fn reachable(caller: usize, peer: SocketAddr) -> bool {
    let media = [MEDIA, OTHER_SHARD, MEDIA_V6].map(address).contains(&peer);
    media || caller >= 2 && peer != address("127.0.0.1:1")
}

fn outside(peer: SocketAddr) -> bool {
    ![MEDIA, MEDIA_V6].map(address).contains(&peer)
}

struct Model {
    world: World,
    callers: Vec<Caller>,
    held: Vec<Option<Held>>,
    now: u64,
}

impl Model {
    fn new() -> Self {
        let limits = TurnLimits {
            allocations: ALLOCATIONS,
            permissions_per_allocation: PERMISSIONS,
            channels_per_allocation: CHANNELS,
            new_peers_per_second: 1_000_000,
            unused: Duration::from_secs(UNUSED),
            ..TurnLimits::default()
        };
        let callers = (0..CALLERS as u16)
            .map(|n| if n < 2 { Caller::visitor(n + 1).at_edge() } else { Caller::member(n + 1) })
            .collect();
        let world = world_with(TurnConfig { limits, ..turn_config() });
        Self { world, callers, held: vec![None; CALLERS], now: 0 }
    }

    fn expire(&mut self) {
        for held in &mut self.held {
            if held.as_ref().is_some_and(|held| held.expires.min(held.unused_at) <= self.now) {
                *held = None;
            }
        }
    }

    fn granted(lifetime: u32) -> u64 {
        u64::from(lifetime.clamp(600, 3_600))
    }

    /// The code that the RFC has for a permission for these peers.
    fn permit_code(&self, caller: usize, peers: &[SocketAddr]) -> u16 {
        let Some(held) = &self.held[caller] else { return 437 };
        if peers.is_empty() {
            return 400;
        }
        for peer in peers {
            if Some(peer.is_ipv4()) != held.relayed.map(|relayed| relayed.is_ipv4()) {
                return 443;
            }
            if !reachable(caller, *peer) {
                return 403;
            }
        }
        let (living, new) = held.new_permissions(peers, self.now);
        if living + new > PERMISSIONS { 508 } else { 0 }
    }

    fn bind_code(&self, caller: usize, number: u16, peer: SocketAddr) -> u16 {
        let Some(held) = &self.held[caller] else { return 437 };
        let living = || held.channels.iter().filter(|(_, (_, expires))| *expires > self.now);
        if !(0x4000..0x8000).contains(&number)
            || living().any(|(&other, &(bound, _))| (other == number) != (bound == peer))
        {
            return 400;
        }
        let full = living().count() >= CHANNELS && !living().any(|(&other, _)| other == number);
        match self.permit_code(caller, &[peer]) {
            0 if full => 508,
            code => code,
        }
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Allocate { caller, even, v6, lifetime } => {
                let fill = move |writer: &mut MessageWriter<'_>| {
                    udp(writer);
                    writer.attribute(AttributeType::LIFETIME, &lifetime.to_be_bytes());
                    if even {
                        writer.attribute(AttributeType::EVEN_PORT, &[0]);
                    }
                    if v6 {
                        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
                    }
                };
                let reply = self.callers[caller].ask(&mut self.world, Method::ALLOCATE, &fill);
                let full = self.held.iter().flatten().count() >= ALLOCATIONS;
                let expected = if self.held[caller].is_some() {
                    437
                } else if full {
                    508
                } else {
                    0
                };
                prop_assert_eq!(reply.code(), expected);
                if expected == 0 {
                    let relayed = reply.relayed()[0];
                    prop_assert_eq!(relayed.is_ipv6(), v6);
                    prop_assert!(!even || relayed.port().is_multiple_of(2));
                    prop_assert_eq!(u64::from(reply.lifetime()), Self::granted(lifetime));
                    let others: BTreeSet<_> = self.held.iter().flatten().filter_map(|held| held.relayed).collect();
                    prop_assert!(!others.contains(&relayed), "given twice");
                    let expires = self.now + Self::granted(lifetime);
                    let unused_at = self.now + UNUSED;
                    self.held[caller] = Some(Held { relayed: Some(relayed), expires, unused_at, ..Held::default() });
                }
            }
            Step::Refresh { caller, lifetime } => {
                let code = self.callers[caller].refresh(&mut self.world, lifetime);
                let expected = if self.held[caller].is_some() { 0 } else { 437 };
                prop_assert_eq!(code, expected);
                match &mut self.held[caller] {
                    Some(_) if lifetime == 0 => self.held[caller] = None,
                    Some(held) => held.expires = self.now + Self::granted(lifetime),
                    None => {}
                }
            }
            Step::Permit { caller, peers } => {
                let peers: Vec<_> = peers.into_iter().map(|peer| address(PEERS[peer])).collect();
                let fill = |writer: &mut MessageWriter<'_>| {
                    peers.iter().for_each(|&peer| {
                        writer.xor_address(AttributeType::XOR_PEER_ADDRESS, peer);
                    });
                };
                let code = self.callers[caller].code(&mut self.world, Method::CREATE_PERMISSION, &fill);
                prop_assert_eq!(code, self.permit_code(caller, &peers));
                if let (0, Some(held)) = (code, &mut self.held[caller]) {
                    held.unused_at = self.now + 300 + UNUSED;
                    for peer in peers {
                        held.permissions.insert(peer.ip(), self.now + 300);
                        held.port |= outside(peer);
                    }
                }
            }
            Step::Bind { caller, number, peer } => {
                let (number, peer) = (NUMBERS[number], PEERS[peer]);
                let code = self.callers[caller].bind(&mut self.world, number, peer);
                let peer = address(peer);
                prop_assert_eq!(code, self.bind_code(caller, number, peer));
                if let (0, Some(held)) = (code, &mut self.held[caller]) {
                    held.unused_at = self.now + 300 + UNUSED;
                    held.permissions.insert(peer.ip(), self.now + 300);
                    held.channels.retain(|_, (bound, _)| *bound != peer);
                    held.channels.insert(number, (peer, self.now + 600));
                    held.port |= outside(peer);
                }
            }
            Step::Send { caller, peer } => {
                let peer = address(PEERS[peer]);
                self.world.raw(self.callers[caller].path, send_indication(peer, b"datum"));
                self.check_sent(caller, Some(peer))?;
            }
            Step::Channel { caller, number } => {
                let number = NUMBERS[number];
                let bound = self.held[caller].as_ref().and_then(|held| held.channels.get(&number));
                let peer = bound.filter(|(_, expires)| *expires > self.now).map(|(peer, _)| *peer);
                self.world.raw(self.callers[caller].path, channel_data(number, b"datum"));
                self.check_sent(caller, peer)?;
            }
            Step::Answer { caller, peer } => self.answer(caller, address(PEERS[peer]))?,
            Step::Close { caller } => {
                let path = self.callers[caller].path;
                self.world.edge_closed(path);
                self.held[caller] = None;
            }
            Step::Wait { seconds } => {
                self.world.wait_s(seconds);
                self.now += seconds;
                self.expire();
            }
        }
        self.check_state()
    }

    /// Where data that a caller has sent to a peer went.
    fn check_sent(&mut self, caller: usize, peer: Option<SocketAddr>) -> Result<(), TestCaseError> {
        let held = self.held[caller].as_ref();
        let passes = held.zip(peer).filter(|(held, peer)| held.permits(*peer, self.now) && reachable(caller, *peer));
        let sent: Vec<_> = self.world.elsewhere.drain(..).collect();
        match passes {
            Some((held, peer)) if outside(peer) && held.port => {
                prop_assert_eq!(sent.len(), 1);
                let (path, datagrams) = &sent[0];
                prop_assert_eq!(path.remote, peer);
                prop_assert_eq!(&datagrams[0], b"datum");
                let open = self.world.open_ports();
                let port = open.iter().find(|(local, _)| *local == path.local).map(|(_, address)| address.port());
                prop_assert_eq!(port, held.relayed.map(|relayed| relayed.port()), "from its own relayed address");
            }
            // Ours, or opened by this very packet: nothing is sent.
            _ => prop_assert!(sent.is_empty(), "{:?}", sent),
        }
        if let Some((_, peer)) = passes
            && outside(peer)
            && let Some(held) = &mut self.held[caller]
        {
            held.port = true;
        }
        Ok(())
    }

    /// A peer sends something to the caller's port.
    fn answer(&mut self, caller: usize, peer: SocketAddr) -> Result<(), TestCaseError> {
        let Some(held) = self.held[caller].as_ref().filter(|held| held.port) else { return Ok(()) };
        let relayed = held.relayed.map(|relayed| (relayed.is_ipv4(), relayed.port()));
        let open = self.world.open_ports();
        let mut mine = open.iter().filter(|(_, address)| Some((address.is_ipv4(), address.port())) == relayed);
        let Some(&(local, _)) = mine.next() else {
            return Err(TestCaseError::fail("the port is not open"));
        };
        self.world.raw(plausch_engine::batch::Path { local, remote: peer }, b"reply".to_vec());
        let got = self.world.sent_to(self.callers[caller].path);
        // A permission for a host that only has media of ours is for that media.
        let permitted = held.permits(peer, self.now) && reachable(caller, peer);
        let channel = held.channels.iter().find(|(_, (bound, expires))| *bound == peer && *expires > self.now);
        match (permitted, channel) {
            (false, _) => prop_assert!(got.is_empty()),
            (true, Some((&number, _))) => prop_assert_eq!(got, vec![channel_data(number, b"reply")]),
            (true, None) => {
                prop_assert_eq!(got.len(), 1);
                prop_assert_eq!(read_indication(&got[0]), (peer, b"reply".to_vec()));
            }
        }
        Ok(())
    }

    fn check_state(&mut self) -> Result<(), TestCaseError> {
        prop_assert!(self.world.elsewhere.is_empty());
        let counters = *self.world.engine.counters();
        prop_assert_eq!(counters.turn_allocations as usize, self.held.iter().flatten().count());
        let ports = self.held.iter().flatten().filter(|held| held.port).count();
        prop_assert_eq!(counters.turn_ports as usize, ports);
        prop_assert_eq!(self.world.open_ports().len(), ports);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn behaves_as_the_rfc_says(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step)?;
        }
        model.world.wait_s(3_601);
        let counters = model.world.engine.counters();
        prop_assert_eq!((counters.turn_allocations, counters.turn_ports), (0, 0));
        prop_assert!(model.world.open_ports().is_empty());
    }
}
