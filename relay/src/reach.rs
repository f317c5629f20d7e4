//! How browsers reach this machine: the addresses that the operator announces, by names too, and those that are bound. Both
//! may change while calls go on.

use crate::interfaces;
use plausch_relay_api::ShardInfo;
use plausch_relay_api::limits::HOST_ADDRESSES_INTERVAL_MS;
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at this machine's addresses.
const LOOK: Duration = Duration::from_millis(HOST_ADDRESSES_INTERVAL_MS);
/// Between two look-ups of a name: dynamic DNS has lifetimes of a minute and more.
const LOOKUP: Duration = Duration::from_secs(60);
/// For one look-up: a resolver that is away is asked again the next time.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);

/// An entry of `announce`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Announced {
    Address(IpAddr),
    /// Looked up again and again.
    Name(String),
}

impl Announced {
    fn parse(text: &str) -> Option<Self> {
        let name = || {
            let sound = (1..=253).contains(&text.len())
                && !text.starts_with(['.', '-'])
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
                // What ends in a number is meant as an address, and is a wrong one.
                && text.rsplit('.').next().is_some_and(|last| last.bytes().any(|byte| !byte.is_ascii_digit()));
            sound.then(|| Self::Name(text.to_owned()))
        };
        text.parse().map(Self::Address).ok().or_else(name)
    }
}

impl<'de> Deserialize<'de> for Announced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` in `announce` is no address and no name of a machine"))
        })
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What is known of this machine's addresses.
pub struct Reach {
    announce: Vec<Announced>,
    /// What each entry was last looked up as.
    found: Vec<Vec<IpAddr>>,
    /// What each shard is bound to, best first.
    bound: Vec<ShardInfo>,
    /// Those of them that interfaces had at start: only what was there can go.
    had: HashSet<IpAddr>,
    /// Those that have gone.
    gone: HashSet<IpAddr>,
    /// Addresses that nobody is bound to, and that was said.
    told: HashSet<IpAddr>,
}

impl Reach {
    /// Looks all names up once. One that cannot be found now is tried again later.
    pub async fn new(announce: Vec<Announced>) -> Self {
        let mut reach = Self {
            found: vec![Vec::new(); announce.len()],
            announce,
            bound: Vec::new(),
            had: HashSet::new(),
            gone: HashSet::new(),
            told: HashSet::new(),
        };
        reach.look_up().await;
        reach
    }

    /// The addresses by which the operator says that we are reached.
    pub fn outside(&self) -> Vec<IpAddr> {
        let mut outside = Vec::new();
        for address in self.found.iter().flatten() {
            if !outside.contains(address) {
                outside.push(*address);
            }
        }
        outside
    }

    /// Takes what the shards are bound to.
    pub fn bind(&mut self, bound: Vec<ShardInfo>) {
        self.bound = bound;
        let host: HashSet<IpAddr> = interfaces::all_addresses().unwrap_or_default().into_iter().collect();
        self.had = self.bound_addresses().filter(|address| host.contains(address)).collect();
        self.told = host;
        if self.had.iter().all(IpAddr::is_loopback) && self.outside().is_empty() {
            tracing::warn!(
                "this machine has no address but its own loopback, so nobody else reaches it; start the relay again when the \
                 network is up"
            );
        }
    }

    fn bound_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.bound.iter().flat_map(|shard| &shard.candidates).map(SocketAddr::ip)
    }

    /// What browsers are told now: the addresses outside of a NAT first, then those that are bound and still there.
    pub fn shards(&self) -> Vec<ShardInfo> {
        let outside = self.outside();
        let told = |shard: &ShardInfo| {
            let port = shard.candidates.first().map_or(0, SocketAddr::port);
            let outside = outside.iter().map(|address| SocketAddr::new(*address, port));
            let local = shard.candidates.iter().copied().filter(|address| !self.gone.contains(&address.ip()));
            let mut candidates = Vec::new();
            for address in outside.chain(local) {
                if !candidates.contains(&address) {
                    candidates.push(address);
                }
            }
            ShardInfo { shard: shard.shard, candidates }
        };
        self.bound.iter().map(told).collect()
    }

    /// Compares with the addresses that this machine has now.
    fn compare(&mut self, host: &[IpAddr]) {
        let host: HashSet<IpAddr> = host.iter().copied().collect();
        let gone = self.had.difference(&host).copied().collect();
        for address in self.gone.symmetric_difference(&gone) {
            match gone.contains(address) {
                true => tracing::warn!("this machine has lost its address {address}: browsers are told of it no more"),
                false => tracing::info!("this machine has its address {address} again"),
            }
        }
        self.gone = gone;
        for address in host.difference(&self.told) {
            tracing::warn!("this machine has a new address, {address}: start the relay again to use it");
        }
        self.told.extend(host);
    }

    async fn look_up(&mut self) {
        for (entry, found) in self.announce.iter().zip(&mut self.found) {
            let name = match entry {
                Announced::Address(address) => {
                    *found = vec![*address];
                    continue;
                }
                Announced::Name(name) => name,
            };
            match timeout(LOOKUP_PATIENCE, lookup_host((name.as_str(), 0))).await {
                Ok(Ok(addresses)) => {
                    let mut now: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
                    now.sort();
                    now.dedup();
                    if now != *found {
                        tracing::info!("{name} in `announce` is {now:?} now");
                        *found = now;
                    }
                }
                // What it was goes on: resolvers are away more often than addresses change.
                Ok(Err(_)) | Err(_) if !found.is_empty() => {}
                Ok(Err(error)) => tracing::warn!("{name} in `announce` cannot be looked up yet: {error}"),
                Err(_) => tracing::warn!("{name} in `announce` cannot be looked up yet: no answer"),
            }
        }
    }

    /// Says whenever browsers are to be told something else. `now`: names are looked up at once. Never ends.
    pub async fn watch(mut self, told: watch::Sender<Vec<ShardInfo>>, now: Arc<Notify>) {
        let mut due = Instant::now() + LOOKUP;
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = now.notified() => due = Instant::now(),
            }
            if Instant::now() >= due {
                self.look_up().await;
                due = Instant::now() + LOOKUP;
            }
            if let Ok(host) = interfaces::all_addresses() {
                self.compare(&host);
            }
            let shards = self.shards();
            told.send_if_modified(|known| {
                let other = *known != shards;
                *known = shards;
                other
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plausch_relay_api::ShardId;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn entries_are_addresses_or_names() {
        assert_eq!(Announced::parse("2001:db8::1"), Some(Announced::Address(address("2001:db8::1"))));
        assert_eq!(Announced::parse("conf.example.org"), Some(Announced::Name("conf.example.org".to_owned())));
        for bad in
            ["", "203.0.113.5.6", "203.0.113.500", "a b", "https://conf.example.org", "conf.example.org:443", "-a"]
        {
            assert_eq!(Announced::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn gone_addresses_are_told_no_more_and_come_back() {
        let mut reach = Reach::new(vec![Announced::Address(address("203.0.113.5"))]).await;
        let candidates = ["198.51.100.1:7882", "10.0.0.1:7882", "127.0.0.2:7882"].map(|text| text.parse().unwrap());
        reach.bind(vec![ShardInfo { shard: ShardId(0), candidates: candidates.to_vec() }]);
        reach.had = [address("198.51.100.1"), address("10.0.0.1")].into();
        let told = |reach: &Reach| reach.shards()[0].candidates.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = ["203.0.113.5:7882", "198.51.100.1:7882", "10.0.0.1:7882", "127.0.0.2:7882"];
        assert_eq!(told(&reach), all);
        reach.compare(&[address("10.0.0.1"), address("198.51.100.77")]);
        assert_eq!(told(&reach), [all[0], all[2], all[3]]);
        reach.compare(&[address("10.0.0.1"), address("198.51.100.1")]);
        assert_eq!(told(&reach), all);
    }

    #[tokio::test]
    async fn names_are_looked_up_and_what_cannot_be_found_keeps_nobody_waiting() {
        let entries = ["localhost", "no-such-name.invalid"].map(|text| Announced::parse(text).unwrap());
        let reach = Reach::new(entries.to_vec()).await;
        assert!(reach.outside().iter().all(IpAddr::is_loopback) && !reach.outside().is_empty());
    }
}
