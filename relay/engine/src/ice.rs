//! The ICE lite agent of one participant (RFC 8445): which paths passed a check, and which one is used.

use crate::batch::Path;
use crate::stun::IntegrityKey;
use crate::time::Time;
use plausch_relay_api::IceParameters;
use plausch_relay_api::limits::{CONSENT_TIMEOUT_MS, TUPLES_PER_PARTICIPANT};
use std::time::Duration;

const CONSENT_TIMEOUT: Duration = Duration::from_millis(CONSENT_TIMEOUT_MS);
/// A selected path of which nothing was heard for so long gives way to any nomination.
const SILENT: Duration = Duration::from_secs(2);
/// A repeated nomination of the old path that comes this soon after a move was overtaken by the new path's.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// A path on which authenticated media came within this time is not given to somebody else: a check says only what
/// password its sender knows, and not that its source address is true. Two reports of a browser that only listens.
const HEARD: Duration = Duration::from_secs(5);

/// Our user fragment and password.
#[derive(Debug)]
struct Credentials {
    ufrag: Box<[u8]>,
    key: IntegrityKey,
}

impl Credentials {
    fn new(parameters: &IceParameters) -> Self {
        Self {
            ufrag: parameters.local_ufrag.as_bytes().into(),
            key: IntegrityKey::short_term(parameters.local_pwd.reveal().as_bytes()),
        }
    }
}

/// A path that passed a check.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    path: Path,
    /// When it was first nominated since the last restart.
    nominated: bool,
    checked: Time,
    /// The last authenticated packet of media.
    media: Time,
}

/// What a check changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CheckOutcome {
    /// The path was not known before.
    pub new_path: bool,
    /// The path that had to go for it.
    pub evicted: Option<Path>,
    /// First check with the fragment of a restart: the old fragment is over.
    pub restarted: bool,
    /// Another path is selected now.
    pub moved: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    current: Credentials,
    /// Valid until the first check with `current` (RFC 8445, section 9: media goes on meanwhile).
    previous: Option<Credentials>,
    tuples: Vec<Tuple>,
    selected: Option<Path>,
    selected_since: Time,
    last_valid: Option<Path>,
    checked: Option<Time>,
}

impl Agent {
    pub(crate) fn new(parameters: &IceParameters) -> Self {
        Self {
            current: Credentials::new(parameters),
            previous: None,
            tuples: Vec::new(),
            selected: None,
            selected_since: Time(0),
            last_valid: None,
            checked: None,
        }
    }

    /// An ICE restart. Returns the fragment that is over now, if any: the one before stays valid, unless it
    /// never served.
    pub(crate) fn restart(&mut self, parameters: &IceParameters) -> Option<Box<[u8]>> {
        let before = std::mem::replace(&mut self.current, Credentials::new(parameters));
        if self.previous.is_some() {
            return Some(before.ufrag);
        }
        self.previous = Some(before);
        None
    }

    /// The fragments by which checks find this agent.
    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.current).chain(&self.previous).map(|credentials| &*credentials.ufrag)
    }

    /// The key for checks with this fragment.
    pub(crate) fn key(&self, ufrag: &[u8]) -> Option<&IntegrityKey> {
        let mut all = std::iter::once(&self.current).chain(&self.previous);
        all.find(|credentials| *credentials.ufrag == *ufrag).map(|credentials| &credentials.key)
    }

    /// The fragment before the restart, if it is still valid.
    pub(crate) fn previous_ufrag(&self) -> Option<&[u8]> {
        self.previous.as_ref().map(|credentials| &*credentials.ufrag)
    }

    /// A check with valid integrity came.
    pub(crate) fn check(&mut self, path: Path, ufrag: &[u8], use_candidate: bool, now: Time) -> CheckOutcome {
        let mut outcome = CheckOutcome::default();
        self.checked = Some(now);
        self.last_valid = Some(path);
        if self.previous.is_some() && *self.current.ufrag == *ufrag {
            self.previous = None;
            outcome.restarted = true;
            self.tuples.iter_mut().for_each(|tuple| tuple.nominated = false);
        }
        match self.tuples.iter_mut().find(|tuple| tuple.path == path) {
            Some(tuple) => tuple.checked = now,
            None => {
                outcome.new_path = true;
                outcome.evicted = self.make_room();
                self.tuples.push(Tuple { path, nominated: false, checked: now, media: Time(0) });
            }
        }
        if use_candidate && self.nominate(path, now) {
            self.selected = Some(path);
            self.selected_since = now;
            outcome.moved = true;
        }
        outcome
    }

    /// Whether a nomination moves us to `path`. Each first one does, so the latest wins. Aggressive nomination
    /// (Firefox) repeats all of them with every check: a repeated one moves us only where the browser's media
    /// follows it, or where the selected path is silent, else we would go to and fro; nor does one that a move overtook.
    fn nominate(&mut self, path: Path, now: Time) -> bool {
        let selected = self.tuples.iter().find(|tuple| Some(tuple.path) == self.selected).copied();
        let settled = now.since(self.selected_since) > OVERTAKEN;
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) else { return false };
        let first = !std::mem::replace(&mut tuple.nominated, true);
        match selected {
            Some(selected) if selected.path == path => false,
            Some(selected) => {
                let silent = now.since(selected.checked.max(selected.media)) > SILENT;
                first || silent || settled && tuple.media > selected.media
            }
            None => true,
        }
    }

    fn make_room(&mut self) -> Option<Path> {
        if self.tuples.len() < TUPLES_PER_PARTICIPANT {
            return None;
        }
        let candidates = self.tuples.iter().enumerate().filter(|(_, tuple)| Some(tuple.path) != self.selected);
        let (oldest, _) = candidates.min_by_key(|(_, tuple)| tuple.checked.max(tuple.media))?;
        Some(self.tuples.swap_remove(oldest).path)
    }

    /// Authenticated media came on this path.
    pub(crate) fn note_media(&mut self, path: Path, now: Time) {
        if let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) {
            tuple.media = now;
        }
    }

    /// Whether authenticated media came on this path a moment ago.
    pub(crate) fn is_heard(&self, path: Path, now: Time) -> bool {
        self.tuples.iter().any(|tuple| tuple.path == path && tuple.media != Time(0) && now.since(tuple.media) < HEARD)
    }

    /// Where to send: the selected path; before there is one, the last that passed a check.
    pub(crate) fn send_path(&self) -> Option<Path> {
        self.selected.or(self.last_valid)
    }

    /// When consent ends, once there was any (RFC 7675, section 5.1): that of the path on which we send, for checks
    /// from elsewhere say nothing of whether somebody there wants our packets.
    pub(crate) fn consent_until(&self) -> Time {
        let selected = self.tuples.iter().find(|tuple| Some(tuple.path) == self.selected).map(|tuple| tuple.checked);
        selected.or(self.checked).map_or(Time::NEVER, |checked| checked + CONSENT_TIMEOUT)
    }

    /// Consent for the selected path is over: goes on with the path that was checked last. `false`: none has consent.
    pub(crate) fn renew_consent(&mut self, now: Time) -> bool {
        let last = self.tuples.iter().max_by_key(|tuple| tuple.checked);
        let Some(last) = last.filter(|tuple| tuple.checked + CONSENT_TIMEOUT > now) else { return false };
        self.selected = Some(last.path);
        self.selected_since = now;
        true
    }

    /// Another participant has this path now.
    pub(crate) fn lose_path(&mut self, path: Path) {
        self.tuples.retain(|tuple| tuple.path != path);
        self.selected = self.selected.filter(|&selected| selected != path);
        self.last_valid = self.last_valid.filter(|&last| last != path);
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.tuples.iter().map(|tuple| tuple.path)
    }

    /// Forgets all paths.
    pub(crate) fn close(&mut self) {
        self.tuples = Vec::new();
        self.selected = None;
        self.last_valid = None;
        self.checked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::LocalSocket;

    fn parameters(ufrag: &str) -> IceParameters {
        IceParameters {
            local_ufrag: ufrag.into(),
            local_pwd: "p".repeat(22).into(),
            remote_ufrag: "them".into(),
            remote_pwd: "q".repeat(22).into(),
        }
    }

    fn path(port: u16) -> Path {
        Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn the_latest_first_nomination_wins_and_repetitions_do_not_flap() {
        let mut agent = Agent::new(&parameters("one-ufrag"));
        assert!(agent.check(path(1), b"one-ufrag", false, Time(0)).new_path);
        assert_eq!(agent.send_path(), Some(path(1)));
        assert!(agent.check(path(2), b"one-ufrag", true, Time(1)).moved);
        assert!(agent.check(path(1), b"one-ufrag", true, Time(2)).moved);
        assert!(!agent.check(path(2), b"one-ufrag", true, Time(3)).moved);
        assert_eq!(agent.send_path(), Some(path(1)));
        agent.note_media(path(2), Time(4));
        assert!(!agent.check(path(2), b"one-ufrag", true, Time(5)).moved, "this check was overtaken");
        let settled = Time::from_millis(1_500);
        assert!(agent.check(path(2), b"one-ufrag", true, settled).moved, "where the media is");
        let later = Time::from_millis(10_000);
        assert!(agent.check(path(1), b"one-ufrag", true, later).moved, "the selected path is silent");
    }

    #[test]
    fn a_handful_of_paths_is_kept_and_the_selected_one_always() {
        let mut agent = Agent::new(&parameters("one-ufrag"));
        agent.check(path(1), b"one-ufrag", true, Time(0));
        for port in 2..100 {
            let outcome = agent.check(path(port), b"one-ufrag", false, Time(u64::from(port)));
            let evicted = (port > 8).then(|| path(port - 7));
            assert_eq!(outcome.evicted, evicted);
        }
        assert_eq!(agent.paths().count(), TUPLES_PER_PARTICIPANT);
        assert_eq!(agent.send_path(), Some(path(1)));
    }

    #[test]
    fn after_a_restart_the_old_fragment_is_valid_until_the_new_one_serves() {
        let mut agent = Agent::new(&parameters("one-ufrag"));
        agent.check(path(1), b"one-ufrag", true, Time(0));
        assert_eq!(agent.restart(&parameters("two-ufrag")), None);
        assert_eq!(agent.restart(&parameters("three-ufrag")).as_deref(), Some(&b"two-ufrag"[..]));
        assert!(agent.key(b"one-ufrag").is_some() && agent.key(b"two-ufrag").is_none());
        assert!(!agent.check(path(1), b"one-ufrag", true, Time(1)).restarted);
        assert!(agent.check(path(2), b"three-ufrag", false, Time(2)).restarted);
        assert!(agent.key(b"one-ufrag").is_none());
        assert_eq!(agent.send_path(), Some(path(1)), "media goes on over the old path");
        assert!(agent.check(path(2), b"three-ufrag", true, Time(3)).moved);
    }

    #[test]
    fn consent_runs_out() {
        let mut agent = Agent::new(&parameters("one-ufrag"));
        assert_eq!(agent.consent_until(), Time::NEVER);
        agent.check(path(1), b"one-ufrag", false, Time::from_millis(7));
        assert_eq!(agent.consent_until(), Time::from_millis(7 + CONSENT_TIMEOUT_MS));
    }
}
