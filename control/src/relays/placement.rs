//! Where rooms may be: relays by name, and their shards.

use plausch_relay_api::ShardId;
use plausch_relay_api::limits::RELAY_NAME_BYTES;
use std::fmt;
use std::sync::Arc;

/// The name of a relay, by which it is the same one on its next link.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayId(Arc<str>);

impl RelayId {
    /// Reads the name in a relay's `Hello`; `None` where that cannot be one. Relays that say none are one relay.
    pub fn new(name: &str) -> Option<Self> {
        let name = if name.is_empty() { "relay" } else { name };
        let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte));
        (sound && name.len() <= RELAY_NAME_BYTES).then(|| Self(name.into()))
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the media of a room is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    pub relay: RelayId,
    pub shard: ShardId,
}

/// The shards of all linked relays.
#[derive(Clone, Default, Debug)]
pub struct Locations {
    /// Each location, and whether new rooms may begin there.
    all: Vec<(Location, bool)>,
}

impl Locations {
    pub fn new(all: impl IntoIterator<Item = (Location, bool)>) -> Self {
        Self { all: all.into_iter().collect() }
    }

    /// What is there can be reached.
    pub fn contains(&self, location: &Location) -> bool {
        self.all.iter().any(|(other, _)| other == location)
    }

    /// A room without media may stay or begin there.
    pub fn is_open(&self, location: &Location) -> bool {
        self.all.iter().any(|(other, open)| *open && other == location)
    }

    /// The location with the least `load` of those where rooms may begin.
    pub fn least(&self, load: impl Fn(&Location) -> usize) -> Option<&Location> {
        let open = self.all.iter().filter(|(_, open)| *open).map(|(location, _)| location);
        open.min_by_key(|location| (load(location), *location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(relay: &str, shard: u16) -> Location {
        Location { relay: RelayId::new(relay).unwrap(), shard: ShardId(shard) }
    }

    #[test]
    fn a_name_is_what_metrics_and_logs_can_show() {
        assert_eq!(RelayId::new("host-1.example:7882").unwrap().to_string(), "host-1.example:7882");
        assert_eq!(RelayId::new(""), RelayId::new("relay"));
        for bad in ["two words", "a\nb", "\"", "ü", &"x".repeat(RELAY_NAME_BYTES + 1)] {
            assert_eq!(RelayId::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rooms_begin_where_there_is_least_and_not_where_a_relay_drains() {
        let (a, b, c) = (location("a", 0), location("a", 1), location("b", 0));
        let locations = Locations::new([(a.clone(), true), (b.clone(), true), (c.clone(), false)]);
        let load = |location: &Location| usize::from(*location == a);
        assert_eq!(locations.least(load), Some(&b));
        assert_eq!(locations.least(|_| 0), Some(&a), "the first of equals");
        assert!(locations.contains(&c) && !locations.is_open(&c) && locations.is_open(&a));
        assert!(!locations.contains(&location("b", 1)));
        assert_eq!(Locations::new([(c, false)]).least(load), None);
    }
}
