//! Rate limits: token buckets, for one socket and for each address prefix. Addresses stay in memory only.

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

/// Where a client comes from, as far as rates are concerned: an IPv4 address, or the /64 that one IPv6 site has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix(u64);

impl Prefix {
    /// `None` for this machine itself, which is not limited.
    pub fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(match address {
            // 0:0:0:0/64 holds no IPv6 site, so both families fit into one number.
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64),
        })
    }
}

/// A bucket for each prefix, bounded.
#[derive(Debug)]
pub struct PrefixRates {
    rate: Rate,
    buckets: HashMap<Prefix, Bucket>,
}

impl PrefixRates {
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    pub fn take(&mut self, prefix: Option<Prefix>, now: Duration) -> bool {
        let Some(prefix) = prefix else { return true };
        let rate = self.rate;
        if self.buckets.len() >= RATE_PREFIXES && !self.buckets.contains_key(&prefix) {
            self.buckets.retain(|_, bucket| bucket.level(rate, now) < f64::from(rate.burst));
            // Everybody at once is an attack from everywhere; forgetting it keeps the memory flat.
            if self.buckets.len() >= RATE_PREFIXES {
                self.buckets.clear();
            }
        }
        self.buckets.entry(prefix).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
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
        for n in 0..2 * RATE_PREFIXES as u64 {
            rates.take(Some(Prefix(n << 20)), Duration::ZERO);
            assert!(rates.buckets.len() <= RATE_PREFIXES);
        }
    }
}
