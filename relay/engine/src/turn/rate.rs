//! How much of something in a second: one number for each who is limited (the generic cell rate algorithm).

use crate::batch::Path;
use crate::peers::HashKeys;
use crate::random::Random;
use crate::time::Time;
use plausch_relay_api::limits;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::time::Duration;

/// What a unit costs, and how much may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tariff {
    /// 2^-8 nanoseconds of a unit: a byte at a rate of many gigabits is less than a nanosecond.
    cost: u64,
    /// Nanoseconds.
    burst: u64,
}

impl Tariff {
    /// So many units a second; at once as many as come in `burst` of time.
    pub(super) fn new(units_per_second: u64, burst: Duration) -> Self {
        let cost = (1_000_000_000 << 8) / units_per_second.max(1);
        Self { cost, burst: u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// So many units a second, and `units` at once.
    pub(super) fn with_burst(units_per_second: u64, units: u64) -> Self {
        let rate = units_per_second.max(1);
        Self::new(rate, Duration::from_micros(units.saturating_mul(1_000_000) / rate))
    }
}

/// Of one who is limited: until when what was taken is paid for, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rate(u64);

impl Rate {
    /// Gives so many units back; what is not used up is not saved.
    fn give_back(&mut self, tariff: Tariff, units: u64) {
        self.0 = self.0.saturating_sub(tariff.cost.saturating_mul(units) >> 8);
    }

    /// Whether [`Self::admit`] would.
    fn would_admit(&self, tariff: Tariff, units: u64, now: Time) -> bool {
        Self(self.0).admit(tariff, units, now)
    }

    /// Takes so many units, or nothing.
    pub(super) fn admit(&mut self, tariff: Tariff, units: u64, now: Time) -> bool {
        let now = now.0.saturating_mul(1_000);
        let paid = self.0.max(now).saturating_add(tariff.cost.saturating_mul(units) >> 8);
        let admitted = paid - now <= tariff.burst;
        if admitted {
            self.0 = paid;
        }
        admitted
    }
}

/// What strangers are answered, by the prefix of their address, which may be forged: so that nobody has us send much to
/// somebody else. Whoever proves to have got an answer makes up for it, so that many people behind one address do not use
/// up what there is for forgers. Of a fixed size, whatever comes.
pub(super) struct Strangers {
    rates: Box<[Rate]>,
    tariff: Tariff,
    prefixes: Prefixes,
    keys: HashKeys,
}

impl Strangers {
    /// For those who may be forged: in bytes.
    pub(super) fn forgers(random: &mut Random) -> Self {
        Self::new(limits::TURN_STRANGER_BYTES_PER_SECOND, limits::TURN_STRANGER_BYTES_BURST, Prefixes::NETWORK, random)
    }

    fn new(per_second: u32, burst: u32, prefixes: Prefixes, random: &mut Random) -> Self {
        let rates = vec![Rate::default(); limits::TURN_STRANGER_PREFIXES].into_boxed_slice();
        let tariff = Tariff::with_burst(per_second.into(), burst.into());
        Self { rates, tariff, prefixes, keys: HashKeys::new(random) }
    }

    /// Whether an answer may go there that costs so much.
    pub(super) fn admit(&mut self, path: Path, cost: usize, now: Time) -> bool {
        let tariff = self.tariff;
        self.rate_of(path).is_some_and(|rate| rate.admit(tariff, cost as u64, now))
    }

    /// Whether [`Self::admit`] would.
    pub(super) fn would_admit(&mut self, path: Path, cost: usize, now: Time) -> bool {
        let tariff = self.tariff;
        self.rate_of(path).is_some_and(|rate| rate.would_admit(tariff, cost as u64, now))
    }

    /// An answer of this cost has reached who is there.
    pub(super) fn give_back(&mut self, path: Path, cost: usize) {
        let tariff = self.tariff;
        if let Some(rate) = self.rate_of(path) {
            rate.give_back(tariff, cost as u64);
        }
    }

    fn rate_of(&mut self, path: Path) -> Option<&mut Rate> {
        let prefix = match path.remote.ip().to_canonical() {
            IpAddr::V4(ip) => u64::from(u32::from(ip) >> (32 - self.prefixes.v4)),
            // Beyond all of IPv4's, so that the two do not meet.
            IpAddr::V6(ip) => (u128::from(ip) >> (128 - self.prefixes.v6)) as u64 | 1 << 63,
        };
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(prefix);
        // Addresses of datagrams may be forged: they are not to be in the way of those who have connected.
        hasher.write_u8(u8::from(path.local.is_edge()));
        let place = hasher.finish() as usize % self.rates.len();
        self.rates.get_mut(place)
    }
}

/// Bits of the addresses that count as one.
#[derive(Clone, Copy, Debug)]
struct Prefixes {
    v4: u32,
    v6: u32,
}

impl Prefixes {
    /// What one machine has, or all behind one address.
    const ADDRESS: Self = Self { v4: 32, v6: 64 };
    /// What a household or an office has.
    const NETWORK: Self = Self { v4: 24, v6: 56 };
}

/// Wrong user names and passwords, of those who are there but perhaps not who they say: what one address may try, so that it
/// does not hold up others of its network; and what a network may try in all.
pub(super) struct Guessers {
    addresses: Strangers,
    networks: Strangers,
}

impl Guessers {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut strangers = |per_second, burst, prefixes| Strangers::new(per_second, burst, prefixes, random);
        Self {
            addresses: strangers(limits::TURN_GUESSES_PER_SECOND, limits::TURN_GUESSES_BURST, Prefixes::ADDRESS),
            networks: strangers(
                limits::TURN_NETWORK_GUESSES_PER_SECOND,
                limits::TURN_NETWORK_GUESSES_BURST,
                Prefixes::NETWORK,
            ),
        }
    }

    /// Whether somebody there may try.
    pub(super) fn would_admit(&mut self, path: Path, now: Time) -> bool {
        self.addresses.would_admit(path, 1, now) && self.networks.would_admit(path, 1, now)
    }

    /// Somebody there has tried in vain.
    pub(super) fn admit(&mut self, path: Path, now: Time) -> bool {
        // An address that has used up its own share takes nothing of its network's.
        self.addresses.admit(path, 1, now) && self.networks.admit(path, 1, now)
    }
}

/// What an answer costs: what it is longer than its request.
pub(super) fn cost(answer: usize, request: usize) -> usize {
    answer.saturating_sub(request).max(limits::TURN_STRANGER_BYTES_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::LocalSocket;
    use std::net::{IpAddr, SocketAddr};

    #[test]
    fn a_burst_and_then_the_rate() {
        let tariff = Tariff::with_burst(10, 5);
        let mut rate = Rate::default();
        let start = Time::from_millis(1_000);
        assert_eq!((0..20).filter(|_| rate.admit(tariff, 1, start)).count(), 5);
        let later = start + Duration::from_secs(10);
        let admitted: usize =
            (1..=100).map(|tenth| usize::from(rate.admit(tariff, 1, start + Duration::from_millis(100 * tenth)))).sum();
        assert_eq!(admitted, 100);
        assert!(!rate.admit(tariff, 6, later + Duration::from_secs(100)), "more than a burst never passes");
        assert!(rate.admit(tariff, 5, later + Duration::from_secs(100)));
    }

    #[test]
    fn what_is_given_back_is_there_again_and_never_more_than_a_burst() {
        let tariff = Tariff::with_burst(10, 5);
        let mut rate = Rate::default();
        let start = Time::from_millis(1_000);
        assert!(rate.admit(tariff, 5, start) && !rate.admit(tariff, 1, start));
        rate.give_back(tariff, 2);
        assert!(rate.admit(tariff, 2, start) && !rate.admit(tariff, 1, start));
        rate.give_back(tariff, 1_000_000);
        assert!(rate.admit(tariff, 5, start) && !rate.admit(tariff, 1, start));
        rate.give_back(tariff, u64::MAX);
        assert_eq!((0..20).filter(|_| rate.admit(tariff, 1, start)).count(), 5);
    }

    #[test]
    fn rates_of_many_gigabits_are_kept() {
        let tariff = Tariff::new(5_000_000_000, Duration::from_millis(10));
        let mut rate = Rate::default();
        let mut bytes = 0_u64;
        for microsecond in 0..100_000 {
            while rate.admit(tariff, 1_200, Time(microsecond)) {
                bytes += 1_200;
            }
        }
        // A tenth of a second and the burst.
        assert!((549_000_000..=556_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn neighbours_share_and_strangers_elsewhere_are_not_held_up() {
        let mut strangers = Strangers::forgers(&mut Random::new(3));
        let now = Time::from_millis(5);
        let burst = 1_000;
        let bytes = limits::TURN_STRANGER_BYTES_BURST as usize / burst;
        let from = |ip: IpAddr, edge: bool| {
            let local = if edge { LocalSocket(LocalSocket::FIRST_EDGE) } else { LocalSocket(0) };
            Path { local, remote: SocketAddr::new(ip, 1) }
        };
        let count = |strangers: &mut Strangers, ip: &dyn Fn(u16) -> IpAddr| {
            (0..3_000).filter(|&n| strangers.admit(from(ip(n), false), bytes, now)).count()
        };
        assert_eq!(count(&mut strangers, &|n| IpAddr::from([192, 0, 2, n as u8])), burst);
        assert_eq!(count(&mut strangers, &|n| IpAddr::from([0x2001, 0xdb8, 0, 7, n, 0, 0, 1])), burst);
        assert_eq!(count(&mut strangers, &|n| IpAddr::from([0x2001, 0xdb8, 0, 0x100, n, 0, 0, 1])), burst);
        let mapped = IpAddr::from(std::net::Ipv4Addr::new(192, 0, 2, 77).to_ipv6_mapped());
        assert!(!strangers.admit(from(mapped, false), bytes, now), "a mapped address is the same address");
        assert!(!strangers.would_admit(from(mapped, false), bytes, now));
        assert!(strangers.would_admit(from(mapped, true), bytes, now), "who has connected has a place of their own");
        assert!(strangers.admit(from([198, 51, 100, 1].into(), false), bytes, now));
    }
}
