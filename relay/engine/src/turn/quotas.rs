//! How many allocations the clients of one network may have: nobody takes all relayed addresses, however many user names
//! and sockets they have.

use super::config::{TurnConfig, TurnLimits};
use super::policy::Scope;
use crate::peers::HashKeys;
use crate::random::Random;
use plausch_relay_api::limits::{
    TURN_ALLOCATIONS_PER_USER, TURN_SHARE_OF_ADDRESS, TURN_SHARE_OF_NETWORK, TURN_SHARE_OF_SITE,
};
use std::collections::HashMap;
use std::net::IpAddr;

/// The networks that an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Network {
    scope: Scope,
    bits: u8,
    prefix: u128,
}

/// An address with what one may have.
struct Level {
    network: Network,
    limit: u32,
}

/// The most of one address, one network and one site.
#[derive(Clone, Copy, Debug)]
struct Most([u32; 3]);

/// See the module. Users whom control has let in are counted apart from others: these cannot use up what those have.
pub(super) struct Quotas {
    counts: HashMap<Network, u32, HashKeys>,
    media: Most,
    peers: Most,
}

impl Quotas {
    pub(super) fn new(config: &TurnConfig, random: &mut Random) -> Self {
        let TurnLimits { allocations_per_address, allocations_per_network, allocations_per_site, .. } = config.limits;
        let limits = [allocations_per_address, allocations_per_network, allocations_per_site];
        let addresses = config.relay_ports.len() * config.relay.len();
        let shares = [TURN_SHARE_OF_ADDRESS, TURN_SHARE_OF_NETWORK, TURN_SHARE_OF_SITE]
            .map(|share| (addresses / share).max(TURN_ALLOCATIONS_PER_USER));
        let most = |limits: [usize; 3]| Most(limits.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)));
        let [a, b, c] = limits;
        let [x, y, z] = shares;
        Self {
            counts: HashMap::with_hasher(HashKeys::new(random)),
            media: most(limits),
            peers: most([a.min(x), b.min(y), c.min(z)]),
        }
    }

    /// Whether a client with this address may have one more.
    pub(super) fn admits(&self, scope: Scope, ip: IpAddr) -> bool {
        self.levels(scope, ip).all(|level| self.count(level.network) < level.limit)
    }

    /// It has one more.
    pub(super) fn take(&mut self, scope: Scope, ip: IpAddr) {
        for level in self.levels(scope, ip) {
            *self.counts.entry(level.network).or_default() += 1;
        }
    }

    /// It has one less.
    pub(super) fn give_back(&mut self, scope: Scope, ip: IpAddr) {
        for level in self.levels(scope, ip) {
            if let Some(count) = self.counts.get_mut(&level.network) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&level.network);
                }
            }
        }
    }

    fn count(&self, network: Network) -> u32 {
        self.counts.get(&network).copied().unwrap_or(0)
    }

    fn levels(&self, scope: Scope, ip: IpAddr) -> impl Iterator<Item = Level> + use<> {
        let Most(limits) = match scope {
            Scope::Media => self.media,
            Scope::Peers => self.peers,
        };
        let (address, bits) = match ip.to_canonical() {
            // As an IPv6 address that is nobody's: the two do not meet.
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), [128, 120, 0]),
            IpAddr::V6(ip) => (u128::from(ip), [64, 56, 48]),
        };
        bits.into_iter().zip(limits).filter(|&(bits, _)| bits > 0).map(move |(bits, limit)| {
            let prefix = address >> (128 - u32::from(bits));
            Level { network: Network { scope, bits, prefix }, limit }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn quotas() -> Quotas {
        let most = Most([2, 3, 4]);
        Quotas { counts: HashMap::with_hasher(HashKeys::new(&mut Random::new(1))), media: most, peers: most }
    }

    fn ip(v6: bool, site: u8, network: u8, address: u8) -> IpAddr {
        match v6 {
            false => Ipv4Addr::new(192, site, network, address).into(),
            true => {
                let network = u16::from(network) << 8 | u16::from(address);
                Ipv6Addr::new(0x2001, 0xdb8, site.into(), network, 0, 0, 0, address.into()).into()
            }
        }
    }

    proptest! {
        #[test]
        fn no_network_has_more_than_its_share(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0u8..2, 0u8..2, 0u8..3), 0..200),
        ) {
            let mut quotas = quotas();
            let mut held: Vec<(bool, [u8; 3])> = Vec::new();
            for (give_back, v6, site, network, address) in steps {
                let place = (v6, [site, network, address]);
                let ip = ip(v6, site, network, address);
                if give_back {
                    if let Some(at) = held.iter().position(|&known| known == place) {
                        held.swap_remove(at);
                        quotas.give_back(Scope::Peers, ip);
                    }
                    continue;
                }
                let of = |len: usize| held.iter().filter(|(six, at)| *six == v6 && at[..len] == place.1[..len]).count();
                let expected = of(3) < 2 && of(2) < 3 && (!v6 || of(1) < 4);
                prop_assert_eq!(quotas.admits(Scope::Peers, ip), expected);
                prop_assert!(quotas.admits(Scope::Media, ip));
                if expected {
                    quotas.take(Scope::Peers, ip);
                    held.push(place);
                }
            }
            for (v6, [site, network, address]) in held {
                quotas.give_back(Scope::Peers, ip(v6, site, network, address));
            }
            prop_assert_eq!(quotas.counts.len(), 0);
        }
    }

    #[test]
    fn a_mapped_address_is_the_same_address() {
        let mut quotas = quotas();
        let v4 = Ipv4Addr::new(192, 0, 2, 1);
        (0..2).for_each(|_| quotas.take(Scope::Peers, v4.into()));
        assert!(!quotas.admits(Scope::Peers, v4.to_ipv6_mapped().into()));
    }
}
