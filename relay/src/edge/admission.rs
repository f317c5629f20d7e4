//! How many connections there may be, in all and of one network.

use super::counters::{EdgeCounters, count};
use plausch_daemon::prefix::Networks;
use plausch_daemon::share::{Limits, Place, Refused, Share};
use std::net::IpAddr;
use std::sync::Arc;

/// Shared by all edge threads; asked once for each connection.
pub struct Admission {
    share: Arc<Share>,
    counters: Arc<EdgeCounters>,
}

impl Admission {
    /// `per_prefix`: for an IPv4 /24 or an IPv6 /56, which is what one household or office has; an IPv6 /48 has twice as
    /// many. A quarter of all is kept for those who have an allocation, or whom control has taken a WebSocket of.
    pub fn new(connections: usize, per_prefix: usize, counters: Arc<EdgeCounters>) -> Self {
        let limits = Limits {
            all: connections,
            strangers: connections - connections / 4,
            narrow: per_prefix,
            middle: per_prefix,
            wide: 2 * per_prefix,
        };
        Self { share: Share::new("TCP and TLS connections", limits), counters }
    }

    /// `None`: there are too many, which is counted.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Arc<Place>> {
        match self.share.enter(Networks::of(address)) {
            Ok(place) => {
                count(&self.counters.accepted);
                Some(Arc::new(place))
            }
            Err(Refused::Network(_)) => {
                count(&self.counters.refused_prefix);
                None
            }
            Err(Refused::Full) => {
                count(&self.counters.refused_connections);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn one_network_does_not_take_the_places_of_all() {
        let counters = Arc::new(EdgeCounters::default());
        let admission = Admission::new(8, 2, counters.clone());
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let greedy: Vec<_> = (1..=9).filter_map(|host| admit(&format!("192.0.2.{host}"))).collect();
        assert_eq!((greedy.len(), counters.refused_prefix.load(Ordering::Relaxed)), (2, 7));
        assert!(admit("::ffff:192.0.2.77").is_none(), "the same network in another dress");
        let six: Vec<_> = (0..9).filter_map(|net| admit(&format!("2001:db8:0:{net:x}::1"))).collect();
        assert_eq!(six.len(), 2, "one /56");
        let more: Vec<_> = (1..9).filter_map(|net| admit(&format!("2001:db8:0:{net:x}00::1"))).collect();
        assert_eq!(more.len(), 2, "one /48");
        // All that strangers may have is taken: the heaviest network makes room, and not for itself.
        assert!(admit("198.51.100.1").is_some());
        assert!(six[0].is_evicted() && !greedy[0].is_evicted());
        drop((greedy, six, more));
        assert!(admit("192.0.2.1").is_some());
        assert_eq!(admission.share.held(), 0);
    }

    #[test]
    fn all_networks_alike_are_refused_when_all_is_full() {
        let counters = Arc::new(EdgeCounters::default());
        let admission = Admission::new(2, 9, counters.clone());
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let _full: Vec<_> = (0..2).filter_map(|_| admit("127.0.0.1")).collect();
        assert!(admit("127.0.0.1").is_none());
        assert_eq!(counters.refused_connections.load(Ordering::Relaxed), 1);
    }
}
