//! How many connections there may be, in all and of one network.

use super::counters::EdgeCounters;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all edge threads; asked once for each connection.
pub struct Admission {
    connections: usize,
    per_prefix: usize,
    present: Mutex<Present>,
    counters: Arc<EdgeCounters>,
}

#[derive(Default)]
struct Present {
    all: usize,
    by_prefix: HashMap<Prefix, usize>,
}

/// /24 of IPv4, /56 of IPv6: what one household or office has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Prefix([u8; 8]);

impl Prefix {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self([4, a, b, c, 0, 0, 0, 0])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, ..] = v6.octets();
                Self([6, a, b, c, d, e, f, g])
            }
        }
    }
}

/// One connection's place, given back when dropped.
pub(super) struct Place {
    admission: Arc<Admission>,
    prefix: Prefix,
}

impl Admission {
    pub fn new(connections: usize, per_prefix: usize, counters: Arc<EdgeCounters>) -> Self {
        Self { connections, per_prefix, present: Mutex::default(), counters }
    }

    /// `None`: there are too many, which is counted.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let prefix = Prefix::of(address);
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.all >= self.connections {
            self.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let of_prefix = present.by_prefix.entry(prefix).or_default();
        if *of_prefix >= self.per_prefix {
            self.counters.refused_prefix.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *of_prefix += 1;
        present.all += 1;
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        self.counters.connections.store(present.all as u64, Ordering::Relaxed);
        Some(Place { admission: self.clone(), prefix })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.admission.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.all -= 1;
        if let Some(count) = present.by_prefix.get_mut(&self.prefix) {
            *count -= 1;
            if *count == 0 {
                present.by_prefix.remove(&self.prefix);
            }
        }
        self.admission.counters.connections.store(present.all as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_does_not_take_the_places_of_all() {
        let counters = Arc::new(EdgeCounters::default());
        let admission = Arc::new(Admission::new(5, 2, counters.clone()));
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let greedy: Vec<_> = (1..=9).filter_map(|host| admit(&format!("192.0.2.{host}"))).collect();
        assert_eq!((greedy.len(), counters.refused_prefix.load(Ordering::Relaxed)), (2, 7));
        assert!(admit("::ffff:192.0.2.77").is_none(), "the same network in another dress");
        let six: Vec<_> = (0..9).filter_map(|net| admit(&format!("2001:db8:0:{net:x}::1"))).collect();
        assert_eq!(six.len(), 2, "one /56");
        let other = admit("2001:db8:0:100::1");
        assert!(other.is_some());
        assert!(admit("198.51.100.1").is_none());
        assert_eq!(counters.refused_connections.load(Ordering::Relaxed), 1);
        drop((greedy, six, other));
        assert_eq!(counters.connections.load(Ordering::Relaxed), 0);
        assert!(admission.present.lock().unwrap().by_prefix.is_empty());
        assert!(admit("192.0.2.1").is_some());
    }
}
