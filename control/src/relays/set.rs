//! All relays of this control: which are linked, and since when the others are away.

use super::placement::{Location, Locations, RelayId};
use super::relay::Relay;
use plausch_relay_api::ShardLoad;
use std::collections::BTreeMap;
use std::time::Duration;

/// A relay that is away for longer gives its rooms up to one that is there; a link that broke alone is back within two
/// attempts to dial. A relay whose process is gone for certain is not waited for. On this machine that is known, so one
/// that is only silent is likelier slow than dead, and its media may flow.
const GRACE: Duration = Duration::from_secs(2);
pub(super) const LOCAL_GRACE: Duration = Duration::from_secs(5);
/// A relay that has said who it is has begun to come back, and has so long for its snapshot.
pub(super) const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// The relays that have people, or may have.
#[derive(Default, Debug)]
pub struct Relays {
    known: BTreeMap<RelayId, Known>,
}

#[derive(Debug)]
struct Known {
    /// Which start of its process was linked last.
    instance: u64,
    /// A process whose link was replaced by another's, while it was up. When it dials again, two relays have one name.
    replaced: Option<u64>,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    Linked(Box<Relay>),
    Away(Away),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Away {
    since: Duration,
    grace: Duration,
    /// Its process has ended, and all media there with it.
    gone: bool,
    /// It is about to be back: until then it is not given up.
    returns_by: Duration,
    /// It was there before this control, and may have rooms that nobody knows of.
    expected: bool,
}

impl Away {
    fn new(relay: &Relay, now: Duration) -> Self {
        let grace = if relay.local { LOCAL_GRACE } else { GRACE };
        Self { since: now, grace, gone: false, returns_by: Duration::ZERO, expected: false }
    }

    fn is_over(self, now: Duration) -> bool {
        (self.gone || now.saturating_sub(self.since) >= self.grace) && now >= self.returns_by
    }
}

/// What metrics say of a relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayGauge {
    pub relay: RelayId,
    pub linked: bool,
    pub draining: bool,
    pub shards: Vec<ShardLoad>,
}

/// Two running relays say the same name; it says what to do about that.
#[derive(Debug, thiserror::Error)]
#[error("another relay is linked as \"{0}\"; give each a name of its own, in [link] of its configuration")]
pub struct NameTaken(RelayId);

impl Relays {
    /// Relays of the control before, when this one starts.
    pub fn expect(&mut self, relays: impl IntoIterator<Item = RelayId>, now: Duration) {
        let away = Away { since: now, grace: GRACE, gone: false, returns_by: Duration::ZERO, expected: true };
        let known = || Known { instance: 0, replaced: None, standing: Standing::Away(away) };
        self.known.extend(relays.into_iter().map(|relay| (relay, known())));
    }

    /// Relays of the control before are still to come: a room that is not known may be on one of them.
    pub fn expects(&self, now: Duration) -> bool {
        self.known.values().any(|known| matches!(known.standing, Standing::Away(a) if a.expected && !a.is_over(now)))
    }

    /// All that are linked or waited for.
    pub fn ids(&self) -> impl Iterator<Item = &RelayId> {
        self.known.keys()
    }

    /// A relay said who it is: its link is to be taken, and it is waited for until its snapshot is read.
    pub fn greet(&mut self, relay: &RelayId, instance: u64, now: Duration) -> Result<(), NameTaken> {
        let Some(known) = self.known.get_mut(relay) else { return Ok(()) };
        match &mut known.standing {
            Standing::Linked(_) if known.replaced == Some(instance) && known.instance != instance => {
                return Err(NameTaken(relay.clone()));
            }
            Standing::Linked(_) => {}
            Standing::Away(away) => away.returns_by = now + SNAPSHOT_TIMEOUT,
        }
        Ok(())
    }

    /// A relay is linked from now on. An earlier link of the same one ends.
    pub fn arrive(&mut self, relay: Relay) {
        let instance = relay.hello.instance;
        let before = self.known.get(&relay.id);
        let replaced = match before {
            Some(Known { standing: Standing::Linked(_), instance: before, .. })
                if *before != instance && *before != 0 =>
            {
                Some(*before)
            }
            Some(known) if known.instance == instance => known.replaced,
            _ => None,
        };
        let id = relay.id.clone();
        self.known.insert(id, Known { instance, replaced, standing: Standing::Linked(Box::new(relay)) });
    }

    /// A link is over. Gives the relay, if that was its link.
    pub fn leave(&mut self, link: u64, now: Duration) -> Option<RelayId> {
        let id = self.by_link(link)?.id.clone();
        self.unlink(&id, now);
        Some(id)
    }

    /// Ends the link of a relay.
    pub fn unlink(&mut self, relay: &RelayId, now: Duration) {
        if let Some(known) = self.known.get_mut(relay)
            && let Standing::Linked(relay) = &known.standing
        {
            known.standing = Standing::Away(Away::new(relay, now));
        }
    }

    /// The process of a relay that is away has ended. `false` if the relay is back already.
    pub fn has_ended(&mut self, relay: &RelayId) -> bool {
        match self.known.get_mut(relay).map(|known| &mut known.standing) {
            Some(Standing::Away(away)) => {
                away.gone = true;
                true
            }
            _ => false,
        }
    }

    /// Ends all links. Whose they were is not forgotten.
    pub fn unlink_all(&mut self, now: Duration) {
        let linked: Vec<_> = self.linked().map(|relay| relay.id.clone()).collect();
        linked.iter().for_each(|relay| self.unlink(relay, now));
    }

    /// Forgets those that have been away for too long and gives them, if rooms can be elsewhere.
    pub fn give_up(&mut self, now: Duration) -> Vec<RelayId> {
        if self.linked().all(|relay| !relay.takes_rooms()) {
            return Vec::new();
        }
        let over = |known: &Known| matches!(known.standing, Standing::Away(away) if away.is_over(now));
        let lost: Vec<_> = self.known.iter().filter(|(_, known)| over(known)).map(|(id, _)| id.clone()).collect();
        self.known.retain(|id, _| !lost.contains(id));
        lost
    }

    /// Somebody is away, so that time may change something.
    pub fn waits(&self) -> bool {
        self.known.values().any(|known| matches!(known.standing, Standing::Away(_)))
    }

    pub fn get(&self, relay: &RelayId) -> Option<&Relay> {
        match &self.known.get(relay)?.standing {
            Standing::Linked(relay) => Some(relay),
            Standing::Away(_) => None,
        }
    }

    pub fn get_mut(&mut self, relay: &RelayId) -> Option<&mut Relay> {
        match &mut self.known.get_mut(relay)?.standing {
            Standing::Linked(relay) => Some(relay),
            Standing::Away(_) => None,
        }
    }

    /// The relay whose link in use this is.
    pub fn by_link(&mut self, link: u64) -> Option<&mut Relay> {
        self.linked_mut().find(|relay| relay.link == link)
    }

    pub fn linked(&self) -> impl Iterator<Item = &Relay> {
        self.known.values().filter_map(|known| match &known.standing {
            Standing::Linked(relay) => Some(&**relay),
            Standing::Away(_) => None,
        })
    }

    pub fn linked_mut(&mut self) -> impl Iterator<Item = &mut Relay> {
        self.known.values_mut().filter_map(|known| match &mut known.standing {
            Standing::Linked(relay) => Some(&mut **relay),
            Standing::Away(_) => None,
        })
    }

    /// Where rooms may be.
    pub fn locations(&self) -> Locations {
        Locations::new(self.linked().flat_map(|relay| {
            let location = |shard| Location { relay: relay.id.clone(), shard };
            relay.hello.shards.iter().map(move |info| (location(info.shard), !relay.draining))
        }))
    }

    pub fn gauges(&self) -> Vec<RelayGauge> {
        let gauge = |(id, known): (&RelayId, &Known)| match &known.standing {
            Standing::Linked(relay) => {
                let shards = relay.loads.clone();
                RelayGauge { relay: id.clone(), linked: true, draining: relay.draining, shards }
            }
            Standing::Away(_) => RelayGauge { relay: id.clone(), linked: false, draining: false, shards: Vec::new() },
        };
        self.known.iter().map(gauge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plausch_relay_api::{Fingerprint, Hello, ShardId, ShardInfo};

    const LATER: Duration = Duration::from_secs(100);

    fn id(name: &str) -> RelayId {
        RelayId::new(name).unwrap()
    }

    fn arrive(relays: &mut Relays, name: &str, instance: u64, link: u64) {
        let shards = vec![ShardInfo { shard: ShardId(0), candidates: Vec::new() }];
        let fingerprint = Fingerprint::Sha256([0; 32]);
        let hello = Hello { version: 1, name: name.into(), instance, fingerprint, shards, turn: None };
        relays.greet(&id(name), instance, Duration::ZERO).unwrap();
        relays.arrive(Relay::new(id(name), link, hello, name != "far").0);
    }

    fn names(ids: &[RelayId]) -> Vec<String> {
        ids.iter().map(RelayId::to_string).collect()
    }

    #[test]
    fn a_relay_that_stays_away_is_given_up_only_for_another() {
        let mut relays = Relays::default();
        arrive(&mut relays, "a", 1, 1);
        assert_eq!(relays.leave(1, Duration::ZERO), Some(id("a")));
        assert_eq!(relays.leave(1, Duration::ZERO), None);
        assert!(relays.get(&id("a")).is_none() && relays.waits());
        assert_eq!(relays.give_up(LATER), [], "nobody else is there");
        arrive(&mut relays, "b", 2, 2);
        assert_eq!(relays.give_up(LOCAL_GRACE / 2), [], "it may be back at once");
        relays.get_mut(&id("b")).unwrap().draining = true;
        assert_eq!(relays.give_up(LATER), [], "the other takes no rooms");
        relays.get_mut(&id("b")).unwrap().draining = false;
        assert_eq!(names(&relays.give_up(LOCAL_GRACE)), ["a"]);
        assert!(!relays.waits());
        assert_eq!(relays.give_up(LATER), []);
        arrive(&mut relays, "far", 3, 3);
        relays.leave(3, LATER);
        assert_eq!(relays.give_up(LATER), []);
        assert_eq!(names(&relays.give_up(LATER + GRACE)), ["far"], "of which nobody can say whether it lives");
    }

    #[test]
    fn a_process_that_ended_is_not_waited_for_and_one_that_is_coming_back_is() {
        let mut relays = Relays::default();
        for (name, link) in [("a", 1), ("b", 2), ("c", 3)] {
            arrive(&mut relays, name, link, link);
        }
        assert!(!relays.has_ended(&id("a")), "it is linked");
        relays.leave(1, Duration::ZERO);
        relays.leave(2, Duration::ZERO);
        assert!(relays.has_ended(&id("a")));
        relays.greet(&id("b"), 2, LOCAL_GRACE / 2).unwrap();
        assert_eq!(names(&relays.give_up(LOCAL_GRACE / 2)), ["a"]);
        assert_eq!(relays.give_up(LOCAL_GRACE * 2), [], "its snapshot is on its way");
        assert_eq!(names(&relays.give_up(LATER)), ["b"]);
    }

    #[test]
    fn relays_of_the_control_before_are_waited_for_a_little() {
        let mut relays = Relays::default();
        relays.expect([id("a"), id("b")], Duration::ZERO);
        arrive(&mut relays, "a", 1, 1);
        assert!(relays.expects(GRACE / 2));
        assert!(!relays.expects(GRACE), "it has had its time");
        arrive(&mut relays, "b", 2, 2);
        assert!(!relays.expects(Duration::ZERO));
        assert_eq!(relays.ids().count(), 2);
    }

    #[test]
    fn a_new_link_of_the_same_relay_replaces_the_old_one_and_no_other() {
        let mut relays = Relays::default();
        arrive(&mut relays, "a", 1, 1);
        arrive(&mut relays, "b", 2, 2);
        arrive(&mut relays, "a", 1, 3);
        assert!(relays.by_link(1).is_none());
        assert_eq!(relays.linked().map(|relay| relay.link).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(relays.leave(1, Duration::ZERO), None, "the old link ends later");
        assert_eq!(relays.locations().least(|_| 0).unwrap().relay, id("a"));
    }

    #[test]
    fn two_relays_of_one_name_do_not_push_each_other_out_for_ever() {
        let mut relays = Relays::default();
        arrive(&mut relays, "a", 1, 1);
        // A relay that started again: the link of the process before is up for a while.
        arrive(&mut relays, "a", 2, 2);
        let error = relays.greet(&id("a"), 1, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("\"a\"") && error.contains("[link]"), "{error}");
        // The one that is linked may dial again, and the other comes in when it is gone.
        arrive(&mut relays, "a", 2, 3);
        assert!(relays.greet(&id("a"), 1, Duration::ZERO).is_err());
        relays.leave(3, Duration::ZERO);
        arrive(&mut relays, "a", 1, 4);
        arrive(&mut relays, "a", 2, 5);
        assert!(relays.greet(&id("a"), 1, Duration::ZERO).is_err());
    }
}
