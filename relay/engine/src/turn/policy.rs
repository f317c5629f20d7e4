//! Whom TURN relays to. Without a word of the operator that is the public internet and the media addresses of our own
//! shards: whoever may use a relay must not get behind the firewall in front of it.

use super::config::{MediaAddress, Neighbour, Prefix, TurnConfig};
use crate::batch::LocalSocket;
use crate::peers::HashKeys;
use crate::random::Random;
use plausch_relay_api::ShardId;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

/// Which peers a user may have at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Scope {
    /// Media addresses of our own shards, and nothing else: users whom control has let in.
    Media,
    /// Also whatever the policy allows: users of the configuration, and of other programs.
    Peers,
}

/// What a permission for an address is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permit {
    /// Addresses of ours with that IP address: of media, and of other allocations.
    Own,
    /// All its ports.
    All,
}

/// How a peer is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// It is this shard: see [`LocalSocket::inner`].
    Inner(u16),
    /// It is an allocation of this shard.
    Relayed,
    /// It is an allocation of another shard.
    Neighbour(ShardId),
    /// Through a relay port.
    Port,
}

/// Addresses that are nobody's on the public internet, by the registries of IANA for special-purpose addresses.
const V4_DENIED: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network; 0.0.0.0 is this host
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared, behind carriers' NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, and what clouds tell their machines
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 3),     // multicast, reserved, broadcast
];

/// Within 2000::/3, outside of which nothing is global unicast: no loopback, no unspecified or v4-compatible address, no
/// NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), no unique-local, link-local, site-local or multicast address.
const V6_DENIED: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: an IPv4 address, any one
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];
const V6_GLOBAL: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// See the module.
pub(super) struct Policy {
    /// Our media addresses; the place in `inner` of those of this shard.
    media: HashMap<SocketAddr, Option<u16>, HashKeys>,
    inner: Vec<SocketAddr>,
    media_hosts: HashSet<IpAddr, HashKeys>,
    host: Vec<IpAddr>,
    /// Addresses of this host behind NAT, of which it does not know.
    announced: Vec<IpAddr>,
    /// Hosts with relay ports, as clients know them, and as they are here.
    relay_hosts: Vec<IpAddr>,
    relay_locals: Vec<IpAddr>,
    relay_ports: RangeInclusive<u16>,
    neighbours: Vec<Neighbour>,
    allowed: Vec<Prefix>,
    /// TCP ports of this relay and of control.
    own_ports: [Vec<u16>; 2],
}

impl Policy {
    pub(super) fn new(config: &TurnConfig, random: &mut Random) -> Self {
        let keys = HashKeys::new(random);
        let mut policy = Self {
            media: HashMap::with_hasher(keys.clone()),
            inner: Vec::new(),
            media_hosts: HashSet::with_hasher(keys),
            host: Vec::new(),
            announced: Vec::new(),
            relay_hosts: config.relay.iter().map(|relay| relay.announced.to_canonical()).collect(),
            relay_locals: config.relay.iter().map(|relay| relay.local.to_canonical()).collect(),
            relay_ports: config.relay_ports.clone(),
            neighbours: config.neighbours.clone(),
            allowed: config.allow_peers.clone(),
            own_ports: [config.tcp.as_ref().map(|tcp| tcp.own_ports.clone()).unwrap_or_default(), Vec::new()],
        };
        for &MediaAddress { address, here } in &config.media {
            let address = canonical(address);
            let place = (here && policy.inner.len() < LocalSocket::INNER_ADDRESSES).then(|| {
                policy.inner.push(address);
                (policy.inner.len() - 1) as u16
            });
            policy.media.insert(address, place);
            policy.media_hosts.insert(address.ip());
        }
        policy.announced = policy.media_hosts.iter().chain(&policy.relay_hosts).copied().collect();
        policy.set_host_addresses(&config.host_addresses);
        policy
    }

    pub(super) fn set_host_addresses(&mut self, addresses: &[IpAddr]) {
        self.host = addresses.iter().map(IpAddr::to_canonical).collect();
    }

    /// Control's TCP ports.
    pub(super) fn set_control_ports(&mut self, ports: &[u16]) {
        let [_, control] = &mut self.own_ports;
        *control = ports.to_vec();
    }

    /// Our media address at this place.
    pub(super) fn inner(&self, place: usize) -> Option<SocketAddr> {
        self.inner.get(place).copied()
    }

    /// Whether there can be a permission for an address, which is canonical.
    pub(super) fn permit(&self, scope: Scope, ip: IpAddr) -> Option<Permit> {
        if scope == Scope::Peers && self.is_allowed(ip) {
            Some(Permit::All)
        } else if self.media_hosts.contains(&ip) || scope == Scope::Peers && self.relay_hosts.contains(&ip) {
            Some(Permit::Own)
        } else {
            None
        }
    }

    /// How to reach a peer, which is canonical, if it may be reached.
    pub(super) fn way(&self, scope: Scope, peer: SocketAddr) -> Option<Way> {
        match self.media.get(&peer) {
            Some(Some(place)) => Some(Way::Inner(*place)),
            Some(None) => Some(Way::Port),
            None if peer.port() == 0 || scope == Scope::Media => None,
            None => self.way_to_relayed(peer).or_else(|| self.is_allowed(peer.ip()).then_some(Way::Port)),
        }
    }

    /// How to reach a relayed address of this relay.
    fn way_to_relayed(&self, peer: SocketAddr) -> Option<Way> {
        if !self.relay_hosts.contains(&peer.ip()) {
            return None;
        }
        if self.relay_ports.contains(&peer.port()) {
            return Some(Way::Relayed);
        }
        let neighbour = self.neighbours.iter().find(|neighbour| neighbour.relay_ports.contains(&peer.port()))?;
        Some(Way::Neighbour(neighbour.shard))
    }

    /// Whether a datagram from this address has come through a relay port of another shard, or of this one if `is_open`
    /// says that there is one: TURN within TURN.
    pub(super) fn is_relayed(&self, from: SocketAddr, is_open: impl FnOnce(SocketAddr) -> bool) -> bool {
        let from = canonical(from);
        if !self.relay_locals.contains(&from.ip()) && !self.relay_hosts.contains(&from.ip()) {
            return false;
        }
        if self.relay_ports.contains(&from.port()) {
            return is_open(from);
        }
        self.neighbours.iter().any(|neighbour| neighbour.relay_ports.contains(&from.port()))
    }

    /// Whether a TCP connection may go to a peer, which is canonical. Nothing of ours is reached so, neither media nor
    /// anything else: who comes from this very host may be trusted with more than strangers are.
    pub(super) fn may_connect(&self, scope: Scope, peer: SocketAddr) -> bool {
        let here = peer.ip().is_loopback() || self.is_own(peer.ip());
        let own = here && self.own_ports.iter().flatten().any(|&port| port == peer.port());
        peer.port() != 0 && scope == Scope::Peers && self.is_allowed(peer.ip()) && !own
    }

    /// Whether this is a media address of ours.
    pub(super) fn is_media(&self, peer: SocketAddr) -> bool {
        self.media.contains_key(&peer)
    }

    /// Whether an address is this host's, by itself or behind NAT.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.host.contains(&ip) || self.announced.contains(&ip)
    }

    fn is_allowed(&self, ip: IpAddr) -> bool {
        let nobody = match ip {
            // Sending to the unspecified address reaches this host.
            IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
        };
        if nobody {
            return false;
        }
        // Ranges that an operator allows are of neighbours; this host with all its services is meant only by name.
        let own = self.is_own(ip) && !ip.is_loopback();
        let mut allowed = self.allowed.iter().filter(|prefix| contains(prefix.address, prefix.bits, ip));
        if own { allowed.any(is_single) } else { is_global(ip) || allowed.next().is_some() }
    }
}

/// The address as we compare it: IPv4 in IPv6 is IPv4, and there is neither flow nor scope.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_single(prefix: &Prefix) -> bool {
    usize::from(prefix.bits) == if prefix.address.is_ipv4() { 32 } else { 128 }
}

fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => !V4_DENIED.iter().any(|&(denied, bits)| contains(denied.into(), bits, ip)),
        IpAddr::V6(_) => {
            contains(V6_GLOBAL.0.into(), V6_GLOBAL.1, ip)
                && !V6_DENIED.iter().any(|&(denied, bits)| contains(denied.into(), bits, ip))
        }
    }
}

fn contains(prefix: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let bits = u32::from(bits);
    match (prefix.to_canonical(), ip) {
        (IpAddr::V4(prefix), IpAddr::V4(ip)) => {
            (u32::from(prefix) ^ u32::from(ip)).checked_shr(32_u32.saturating_sub(bits)).is_none_or(|rest| rest == 0)
        }
        (IpAddr::V6(prefix), IpAddr::V6(ip)) => {
            (u128::from(prefix) ^ u128::from(ip)).checked_shr(128_u32.saturating_sub(bits)).is_none_or(|rest| rest == 0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
