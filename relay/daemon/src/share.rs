//! Fair shares of what runs out: connections, sockets, handshakes, places in rooms.
//!
//! Each network (see [`crate::prefix`]) may hold so much and no more. Beyond that, whoever holds a place is a stranger at
//! first, and settled once it has shown to be in a call. Strangers together leave a reserve to those who settle. When their
//! part is full, a newcomer from a network that holds less than the heaviest one takes the place of that network's oldest
//! stranger: a flood from however many networks turns its own places over, and somebody else still comes in.

use crate::notice::Notice;
use crate::prefix::{Networks, Prefix, Width};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// How many places there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In all.
    pub all: usize,
    /// The part of them that strangers together may take.
    pub strangers: usize,
    /// For one network of each width.
    pub narrow: usize,
    pub middle: usize,
    pub wide: usize,
}

impl Limits {
    fn of(&self, width: Width) -> usize {
        match width {
            Width::Narrow => self.narrow,
            Width::Middle => self.middle,
            Width::Wide => self.wide,
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The newcomer's network of this width holds its share.
    Network(Width),
    /// All places are taken, and nobody holds more than the newcomer's network.
    Full,
}

/// The places of one kind. Shared by all who ask for one.
pub struct Share {
    name: &'static str,
    limits: Limits,
    state: Mutex<State>,
    notice: Notice,
    refused_network: AtomicU64,
    refused_full: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The number of the next place: younger ones have larger numbers.
    next: u64,
    places: HashMap<u64, Holder>,
    by_network: HashMap<Prefix, usize>,
    strangers: usize,
    /// Strangers by their wide network, oldest first; `None` is this machine.
    strangers_of: HashMap<Option<Prefix>, BTreeSet<u64>>,
    /// The heaviest network is last, and among equals the one with the oldest stranger.
    heaviest: BTreeSet<(usize, Reverse<u64>, Option<Prefix>)>,
}

struct Holder {
    networks: Option<Networks>,
    settled: bool,
    signal: Arc<Signal>,
}

impl Holder {
    fn evict(&self) {
        self.signal.evicted.store(true, SeqCst);
        self.signal.notify.notify_waiters();
    }
}

#[derive(Default)]
struct Signal {
    evicted: AtomicBool,
    notify: Notify,
}

/// A place, given back when it is dropped.
pub struct Place {
    share: Arc<Share>,
    number: u64,
    signal: Arc<Signal>,
}

impl Share {
    /// `name` is what the log calls it, in the plural.
    pub fn new(name: &'static str, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            name,
            limits,
            state: Mutex::default(),
            notice: Notice::default(),
            refused_network: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    /// A place for a stranger. `None`: from this machine, which has no share of its own.
    pub fn enter(self: &Arc<Self>, networks: Option<Networks>) -> Result<Place, Refused> {
        let entered = self.try_enter(networks);
        if let Err(refused) = &entered {
            self.count(*refused);
        }
        entered
    }

    fn try_enter(self: &Arc<Self>, networks: Option<Networks>) -> Result<Place, Refused> {
        let mut state = self.state();
        for prefix in networks.iter().flat_map(|networks| networks.0) {
            if state.by_network.get(&prefix).is_some_and(|held| *held >= self.limits.of(prefix.width())) {
                return Err(Refused::Network(prefix.width()));
            }
        }
        if state.strangers >= self.limits.strangers || state.places.len() >= self.limits.all {
            let wide = networks.map(Networks::wide);
            let own = state.strangers_of.get(&wide).map_or(0, BTreeSet::len);
            let Some((_, Reverse(oldest), _)) = state.heaviest.last().copied().filter(|(held, ..)| *held > own) else {
                return Err(Refused::Full);
            };
            if let Some(holder) = state.remove(oldest) {
                holder.evict();
                self.evicted.fetch_add(1, Relaxed);
            }
        }
        let signal = Arc::new(Signal::default());
        let number = state.add(Holder { networks, settled: false, signal: signal.clone() });
        Ok(Place { share: self.clone(), number, signal })
    }

    /// Places held now.
    pub fn held(&self) -> usize {
        self.state().places.len()
    }

    /// What was refused because a network holds its share, what because all is full, and who had to make room.
    pub fn counted(&self) -> [(&'static str, u64); 3] {
        [
            ("network", self.refused_network.load(Relaxed)),
            ("full", self.refused_full.load(Relaxed)),
            ("evicted", self.evicted.load(Relaxed)),
        ]
    }

    fn count(&self, refused: Refused) {
        let counter = match refused {
            Refused::Network(_) => &self.refused_network,
            Refused::Full => &self.refused_full,
        };
        counter.fetch_add(1, Relaxed);
        let Some(times) = self.notice.met(Instant::now()) else { return };
        match refused {
            Refused::Network(width) => tracing::warn!(
                "the limit of {} {} for one {} network was met; {times} were refused since this was last said",
                self.limits.of(width),
                self.name,
                match width {
                    Width::Narrow => "/32 or /64",
                    Width::Middle => "/24 or /56",
                    Width::Wide => "/48",
                },
            ),
            Refused::Full => tracing::warn!(
                "the limit of {} {} in all was met; {times} were refused since this was last said",
                self.limits.all,
                self.name
            ),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, holder: Holder) -> u64 {
        let number = self.next;
        self.next += 1;
        for prefix in holder.networks.iter().flat_map(|networks| networks.0) {
            *self.by_network.entry(prefix).or_default() += 1;
        }
        self.strangers += 1;
        self.change_strangers(holder.networks.map(Networks::wide), |strangers| strangers.insert(number));
        self.places.insert(number, holder);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Holder> {
        let holder = self.places.remove(&number)?;
        for prefix in holder.networks.iter().flat_map(|networks| networks.0) {
            if let Some(held) = self.by_network.get_mut(&prefix) {
                *held -= 1;
                if *held == 0 {
                    self.by_network.remove(&prefix);
                }
            }
        }
        if !holder.settled {
            self.no_stranger(number, &holder);
        }
        Some(holder)
    }

    fn no_stranger(&mut self, number: u64, holder: &Holder) {
        self.strangers -= 1;
        self.change_strangers(holder.networks.map(Networks::wide), |strangers| strangers.remove(&number));
    }

    fn change_strangers(&mut self, wide: Option<Prefix>, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let strangers = self.strangers_of.entry(wide).or_default();
        if let Some(oldest) = strangers.first() {
            self.heaviest.remove(&(strangers.len(), Reverse(*oldest), wide));
        }
        change(strangers);
        match strangers.first() {
            Some(oldest) => drop(self.heaviest.insert((strangers.len(), Reverse(*oldest), wide))),
            None => drop(self.strangers_of.remove(&wide)),
        }
    }
}

impl Place {
    /// The holder is in a call: the place is not given to somebody else any more.
    pub fn settle(&self) {
        let mut state = self.share.state();
        let Some(mut holder) = state.places.remove(&self.number) else { return };
        if !holder.settled {
            holder.settled = true;
            state.no_stranger(self.number, &holder);
        }
        state.places.insert(self.number, holder);
    }

    /// Gives the place back at once, and tells whoever waits for that.
    pub fn give_up(&self) {
        if let Some(holder) = self.share.state().remove(self.number) {
            holder.evict();
        }
    }

    /// The place is given up, or somebody else's.
    pub fn is_evicted(&self) -> bool {
        self.signal.evicted.load(SeqCst)
    }

    /// Ready when the place is given up, or somebody else's.
    pub fn evicted(&self) -> impl Future<Output = ()> + Send + 'static {
        let signal = self.signal.clone();
        async move {
            loop {
                let notified = signal.notify.notified();
                if signal.evicted.load(SeqCst) {
                    return;
                }
                notified.await;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.state().remove(self.number);
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("name", &self.name).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place(one of the {})", self.share.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { all: 20, strangers: 16, narrow: 4, middle: 6, wide: 8 };

    fn from(share: &Arc<Share>, address: &str) -> Result<Place, Refused> {
        share.enter(Networks::of(address.parse().unwrap()))
    }

    #[test]
    fn a_network_of_each_width_has_its_share() {
        let share = Share::new("places", LIMITS);
        let hosts =
            |range: std::ops::RangeInclusive<u8>| range.map(|host| format!("192.0.2.{host}")).collect::<Vec<_>>();
        let one: Vec<_> = (0..9).map(|_| from(&share, "192.0.2.1")).collect();
        assert_eq!(one.iter().filter(|place| place.is_ok()).count(), 4);
        assert_eq!(one[8].as_ref().unwrap_err(), &Refused::Network(Width::Narrow));
        let many: Vec<_> = hosts(2..=9).iter().map(|address| from(&share, address)).collect();
        assert_eq!(many.iter().filter(|place| place.is_ok()).count(), 2, "with those of the first host 6 of the /24");
        assert_eq!(many[7].as_ref().unwrap_err(), &Refused::Network(Width::Middle));
        drop((one, many));
        assert_eq!(share.held(), 0);
        let six: Vec<_> = (0..9).map(|net| from(&share, &format!("2001:db8:0:{net:x}::1"))).collect();
        assert_eq!(six.iter().filter(|place| place.is_ok()).count(), 6, "one /56");
        assert_eq!(six[6].as_ref().unwrap_err(), &Refused::Network(Width::Middle));
        let more: Vec<_> = (1..9).map(|net| from(&share, &format!("2001:db8:0:{net:x}00::1"))).collect();
        assert_eq!(more.iter().filter(|place| place.is_ok()).count(), 2, "one /48");
        drop((six, more));
        let state = share.state();
        assert!(state.by_network.is_empty() && state.strangers_of.is_empty() && state.heaviest.is_empty());
    }

    #[test]
    fn a_flood_from_many_networks_makes_room_for_others_and_never_touches_who_is_in_a_call() {
        let share = Share::new("places", LIMITS);
        let calls: Vec<_> = (1..=4).map(|net| from(&share, &format!("198.51.{net}.1")).unwrap()).collect();
        calls.iter().for_each(Place::settle);
        let mut flood = Vec::new();
        for round in 0..10u8 {
            for net in 0..40u8 {
                flood.extend(from(&share, &format!("10.{net}.0.{round}")));
            }
        }
        assert_eq!(share.held(), 20, "as many strangers as they may, and those in calls");
        let newcomer = from(&share, "203.0.113.9").expect("somebody else comes in");
        assert!(calls.iter().all(|place| !place.is_evicted()));
        newcomer.settle();
        for host in 0..40u8 {
            flood.extend(from(&share, &format!("10.{host}.1.1")));
            assert!(!newcomer.is_evicted());
        }
        assert!(share.held() <= 20);
        assert!(share.counted()[2].1 > 0);
        drop((flood, calls, newcomer));
        assert_eq!(share.held(), 0);
    }

    #[test]
    fn the_heaviest_network_gives_its_oldest_place_and_a_lighter_one_keeps_its_own() {
        let share = Share::new("places", Limits { strangers: 8, middle: 8, ..LIMITS });
        let light = from(&share, "192.0.2.1").unwrap();
        let heavy: Vec<_> = (0..7).map(|host| from(&share, &format!("10.0.0.{host}")).unwrap()).collect();
        let second = from(&share, "203.0.113.1").unwrap();
        assert!(heavy[0].is_evicted() && !light.is_evicted());
        assert_eq!(
            from(&share, "10.0.0.99").unwrap_err(),
            Refused::Full,
            "the heaviest itself takes no place of others"
        );
        drop(second);
        assert!(from(&share, "10.0.0.99").is_ok());
    }

    #[test]
    fn whoever_waits_for_the_end_of_a_place_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let share = Share::new("places", Limits { strangers: 1, ..LIMITS });
            let first = from(&share, "192.0.2.1").unwrap();
            let told = tokio::spawn(first.evicted());
            tokio::task::yield_now().await;
            assert!(!told.is_finished());
            let _second = from(&share, "203.0.113.1").unwrap();
            told.await.unwrap();
            first.evicted().await;
        });
    }

    proptest! {
        #[test]
        fn the_counts_are_those_of_the_places(steps in prop::collection::vec((0u8..3, 0u8..6, 0u8..4), 0..200)) {
            let share = Share::new("places", Limits { all: 12, strangers: 9, narrow: 3, middle: 3, wide: 5 });
            let mut held: Vec<Place> = Vec::new();
            for (action, net, host) in steps {
                match action {
                    0 => held.extend(from(&share, &format!("10.{net}.0.{host}"))),
                    1 if !held.is_empty() => drop(held.remove(usize::from(net) % held.len())),
                    _ if !held.is_empty() => held[usize::from(net) % held.len()].settle(),
                    _ => {}
                }
                let valid = held.iter().filter(|place| !place.is_evicted()).count();
                let state = share.state();
                prop_assert_eq!(state.places.len(), valid);
                let strangers = state.places.values().filter(|holder| !holder.settled).count();
                prop_assert_eq!(state.strangers, strangers);
                prop_assert_eq!(state.strangers_of.values().map(BTreeSet::len).sum::<usize>(), strangers);
                prop_assert_eq!(state.heaviest.iter().map(|(held, ..)| held).sum::<usize>(), strangers);
                prop_assert_eq!(state.by_network.values().sum::<usize>(), 3 * valid);
                prop_assert!(valid <= 12 && strangers <= 9);
            }
        }
    }
}
