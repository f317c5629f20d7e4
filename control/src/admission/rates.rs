//! Rate limits: token buckets, for one socket and for each address prefix. Addresses stay in memory only.

use plausch_daemon::prefix::{self as network, Networks, Width};
use plausch_relay_api::limits::RATE_PREFIXES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    pub burst: u32,
    pub per_second: f64,
}

/// What is left of a [`Rate`].
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    pub fn full(rate: Rate, now: Duration) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, rate: Rate, now: Duration) -> bool {
        self.tokens = self.level(rate, now);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    fn level(&self, rate: Rate, now: Duration) -> f64 {
        let gained = now.saturating_sub(self.at).as_secs_f64() * rate.per_second;
        (self.tokens + gained).min(f64::from(rate.burst))
    }
}

/// Where a client comes from, as far as rates and shares are concerned: the networks that its address is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix(pub Networks);

impl Prefix {
    /// `None` for this machine itself, which is not limited.
    pub fn of(address: IpAddr) -> Option<Self> {
        Networks::of(address).map(Self)
    }

    /// The prefix of a proxy that does not say for whom it asks, also on this machine.
    pub fn of_proxy(address: IpAddr) -> Self {
        Self(Networks::of_any(address))
    }
}

/// A wide network may do so many times as much as a narrow one: a street whose households have an address each.
const WIDE_FACTOR: u32 = 4;

/// A bucket for each network, narrow, middle and wide, bounded.
#[derive(Debug)]
pub struct PrefixRates {
    rate: Rate,
    buckets: HashMap<network::Prefix, Bucket>,
}

impl PrefixRates {
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    /// Takes one of what each of the networks has left; where one has nothing left, the others lose nothing.
    pub fn take(&mut self, prefix: Option<Prefix>, now: Duration) -> bool {
        let Some(Prefix(networks)) = prefix else { return true };
        if self.buckets.len() + networks.0.len() > RATE_PREFIXES {
            let rate = self.rate;
            self.buckets.retain(|network, bucket| {
                let rate = rate_of(rate, *network);
                bucket.level(rate, now) < f64::from(rate.burst)
            });
            // Everybody at once is an attack from everywhere; forgetting it keeps the memory flat.
            if self.buckets.len() + networks.0.len() > RATE_PREFIXES {
                self.buckets.clear();
            }
        }
        let mut taken = networks.0.map(|network| {
            let rate = rate_of(self.rate, network);
            (network, *self.buckets.entry(network).or_insert_with(|| Bucket::full(rate, now)))
        });
        let allowed = taken.iter_mut().all(|(network, bucket)| bucket.take(rate_of(self.rate, *network), now));
        if allowed {
            self.buckets.extend(taken);
        }
        allowed
    }
}

fn rate_of(rate: Rate, network: network::Prefix) -> Rate {
    match network.width() {
        Width::Narrow => rate,
        // A /56 is one household's.
        Width::Middle if network.is_ipv6() => rate,
        Width::Middle | Width::Wide => {
            Rate { burst: rate.burst.saturating_mul(WIDE_FACTOR), per_second: rate.per_second * f64::from(WIDE_FACTOR) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 2.0 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::full(RATE, Duration::ZERO);
        let at = |ms| Duration::from_millis(ms);
        assert!((0..3).all(|_| bucket.take(RATE, at(0))));
        assert!(!bucket.take(RATE, at(499)));
        assert!(bucket.take(RATE, at(500)));
        assert!(!bucket.take(RATE, at(501)));
        assert!((0..3).all(|_| bucket.take(RATE, at(60_000))));
        assert!(!bucket.take(RATE, at(60_000)));
        assert!(!bucket.take(RATE, at(0)), "a clock that goes back gives nothing");
    }

    #[test]
    fn prefixes_are_apart_and_bounded() {
        let mut rates = PrefixRates::new(RATE);
        let of = |text: &str| Prefix::of(text.parse().unwrap());
        assert_eq!(of("127.0.0.1"), None);
        assert_eq!(of("::1"), None);
        assert_eq!(of("::ffff:127.0.0.1"), None);
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        let one = of("192.0.2.1");
        assert!((0..3).all(|_| rates.take(one, Duration::ZERO)));
        assert!(!rates.take(one, Duration::ZERO));
        assert!(rates.take(of("192.0.2.2"), Duration::ZERO));
        for n in 0..RATE_PREFIXES as u32 {
            rates.take(Prefix::of(std::net::Ipv4Addr::from((n << 8) | 0x2000_0001).into()), Duration::ZERO);
            assert!(rates.buckets.len() <= RATE_PREFIXES);
        }
    }

    #[test]
    fn a_site_with_many_links_or_addresses_has_one_rate() {
        let took = |address: &dyn Fn(u32) -> String| {
            let mut rates = PrefixRates::new(RATE);
            (0..100).filter(|n| rates.take(Prefix::of(address(*n).parse().unwrap()), Duration::ZERO)).count()
        };
        assert_eq!(took(&|n| format!("2001:db8:0:{n:x}::1")), 3, "a /56");
        assert_eq!(took(&|n| format!("2001:db8:0:{n:x}00::1")), 12, "a /48");
        assert_eq!(took(&|n| format!("192.0.2.{n}")), 12, "a /24");
        assert_eq!(took(&|n| format!("192.0.{n}.1")), 100);
    }
}
