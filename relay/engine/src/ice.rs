//! The ICE agent of one participant (RFC 8445): which paths passed a check, which of them answer ours, and which one is
//! used.
//!
//! A check says what password its sender knows, and nothing of whether its source address is true. So each path is
//! checked from here too, and media goes to those alone that have answered within `CONSENT_TIMEOUT_MS` (RFC 7675). Before
//! a path has answered, it is sent at most three times the bytes that came from it, as in RFC 9000, section 8.1.

use crate::batch::Path;
use crate::stun::{IceRole, IntegrityKey, TransactionId};
use crate::time::Time;
use plausch_relay_api::limits::{
    CONSENT_INTERVAL_MS, CONSENT_TIMEOUT_MS, ICE_RETRANSMIT_MS, ICE_TRANSMISSIONS, TUPLES_PER_PARTICIPANT,
};
use plausch_relay_api::{IceMode, IceParameters};
use std::time::Duration;

const CONSENT_TIMEOUT: Duration = Duration::from_millis(CONSENT_TIMEOUT_MS);
/// A selected path of which nothing was heard for so long gives way to any nomination.
const SILENT: Duration = Duration::from_secs(2);
/// A repeated nomination of the old path that comes this soon after a move was overtaken by the new path's.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// A path on which authenticated media came within this time is not given to somebody else: a check says only what
/// password its sender knows, and not that its source address is true. Two reports of a browser that only listens.
const HEARD: Duration = Duration::from_secs(5);
/// A check of theirs on a path that has not answered our last one is reason to ask again, after this time.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Bytes to a path that has not answered, for each byte that came from it.
const AMPLIFICATION: usize = 3;
/// Priority of a peer-reflexive candidate with the highest local preference, component 1 (RFC 8445, section 5.1.2.1).
pub(crate) const CHECK_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;
/// Header, USERNAME's head, PRIORITY, role, USE-CANDIDATE, integrity and FINGERPRINT.
const CHECK_BYTES_BESIDES_USERNAME: usize = 20 + 4 + 8 + 12 + 4 + 24 + 8;

/// User fragments and passwords of both sides.
#[derive(Debug)]
struct Credentials {
    ufrag: Box<[u8]>,
    /// For their checks and our answers.
    key: IntegrityKey,
    /// USERNAME of our checks, theirs first (RFC 8445, section 7.2.2).
    username: Box<[u8]>,
    /// For our checks and their answers.
    remote_key: IntegrityKey,
}

impl Credentials {
    fn new(parameters: &IceParameters) -> Self {
        Self {
            ufrag: parameters.local_ufrag.as_bytes().into(),
            key: IntegrityKey::short_term(parameters.local_pwd.reveal().as_bytes()),
            username: format!("{}:{}", parameters.remote_ufrag, parameters.local_ufrag).into_bytes().into(),
            remote_key: IntegrityKey::short_term(parameters.remote_pwd.reveal().as_bytes()),
        }
    }
}

/// A path that passed a check of theirs.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    path: Path,
    /// Whether it was nominated since the last restart.
    nominated: bool,
    checked: Time,
    /// The last authenticated packet of media.
    media: Time,
    /// The last answer to a check of ours.
    answered: Option<Time>,
    /// Bytes that may still go to a path without consent.
    allowance: usize,
    asked: Asked,
}

/// Our check of a path.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// `None`: it was answered, or there was none.
    pending: Option<TransactionId>,
    sent: Time,
    /// How often a path without consent was asked since their last check.
    tries: u32,
    next: Time,
}

impl Tuple {
    fn new(path: Path, now: Time) -> Self {
        let asked = Asked { pending: None, sent: Time(0), tries: 0, next: now };
        Self { path, nominated: false, checked: now, media: Time(0), answered: None, allowance: 0, asked }
    }

    fn consent_until(&self) -> Time {
        self.answered.map_or(Time(0), |answered| answered + CONSENT_TIMEOUT)
    }

    fn has_consent(&self, now: Time) -> bool {
        self.consent_until() > now
    }

    fn is_silent(&self, now: Time) -> bool {
        now.since(self.checked.max(self.media)) > SILENT
    }
}

/// What a check of theirs changed.
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

/// Who of the two nominates (RFC 8445, section 6.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// They do, for we said that we are lite; there is nothing to negotiate.
    LiteControlled,
    Controlled,
    Controlling,
}

/// A check of ours that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OwnCheck {
    pub path: Path,
    pub id: TransactionId,
    pub role: IceRole,
    pub use_candidate: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    current: Credentials,
    /// Valid until the first check with `current` (RFC 8445, section 9: media goes on meanwhile).
    previous: Option<Credentials>,
    role: Role,
    tie_breaker: u64,
    tuples: Vec<Tuple>,
    /// Where media goes.
    selected: Option<Path>,
    selected_since: Time,
    /// Nominated, and not selected before it has answered.
    awaited: Option<Path>,
    /// The path of the last check of theirs, and of the last answer.
    last_checked: Option<Path>,
    last_answered: Option<Path>,
    /// When the first check came.
    begun: Option<Time>,
    /// As [`Self::refresh`] left them.
    consent_until: Time,
    next_check: Time,
}

impl Agent {
    pub(crate) fn new(parameters: &IceParameters, tie_breaker: u64) -> Self {
        Self {
            current: Credentials::new(parameters),
            previous: None,
            role: match parameters.mode {
                IceMode::LiteControlled => Role::LiteControlled,
                IceMode::Controlling => Role::Controlling,
            },
            tie_breaker,
            tuples: Vec::new(),
            selected: None,
            selected_since: Time(0),
            awaited: None,
            last_checked: None,
            last_answered: None,
            begun: None,
            consent_until: Time::NEVER,
            next_check: Time::NEVER,
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

    /// USERNAME and key of our checks: after a restart those before it, until they have begun with the new ones.
    pub(crate) fn asking(&self) -> (&[u8], &IntegrityKey) {
        let credentials = self.previous.as_ref().unwrap_or(&self.current);
        (&credentials.username, &credentials.remote_key)
    }

    /// Whether a check that claims this role must be refused with 487. Otherwise we take the other one
    /// (RFC 8445, section 7.3.1.1).
    pub(crate) fn conflicts(&mut self, theirs: Option<IceRole>) -> bool {
        match (self.role, theirs) {
            (Role::LiteControlled, Some(IceRole::Controlled(_))) => true,
            (Role::Controlled, Some(IceRole::Controlled(tie_breaker))) => {
                let stay = self.tie_breaker < tie_breaker;
                if !stay {
                    self.role = Role::Controlling;
                }
                stay
            }
            (Role::Controlling, Some(IceRole::Controlling(tie_breaker))) => {
                let stay = self.tie_breaker >= tie_breaker;
                if !stay {
                    self.role = Role::Controlled;
                }
                stay
            }
            _ => false,
        }
    }

    /// A check with valid integrity came, in a message of so many bytes.
    pub(crate) fn check(
        &mut self,
        path: Path,
        ufrag: &[u8],
        use_candidate: bool,
        bytes: usize,
        now: Time,
    ) -> CheckOutcome {
        let mut outcome = CheckOutcome::default();
        self.begun.get_or_insert(now);
        self.last_checked = Some(path);
        if self.previous.is_some() && *self.current.ufrag == *ufrag {
            self.previous = None;
            outcome.restarted = true;
            for tuple in &mut self.tuples {
                tuple.nominated = false;
                // What was asked with the old password is not answered with the new one.
                tuple.asked = Asked { pending: None, next: tuple.asked.next.min(now), ..tuple.asked };
            }
        }
        if !self.tuples.iter().any(|tuple| tuple.path == path) {
            outcome.new_path = true;
            outcome.evicted = self.make_room();
            self.tuples.push(Tuple::new(path, now));
        }
        if let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) {
            tuple.checked = now;
            // What came less the answer, which is not longer than the check.
            tuple.allowance = tuple.allowance.saturating_add((AMPLIFICATION - 1) * bytes);
            tuple.asked.tries = 0;
            let unanswered = tuple.asked.pending.is_some() || !tuple.has_consent(now);
            if unanswered && now.since(tuple.asked.sent) >= ASK_AGAIN {
                tuple.asked.next = tuple.asked.next.min(now);
            }
        }
        if use_candidate && self.role != Role::Controlling && self.nominate(path, now) {
            outcome.moved = self.select_when_answered(path, now);
        }
        self.refresh();
        outcome
    }

    /// Selects a path, if not at once then as soon as it answers. Whether media goes there from now on.
    fn select_when_answered(&mut self, path: Path, now: Time) -> bool {
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) else { return false };
        if !tuple.has_consent(now) {
            if tuple.asked.pending.is_none() || tuple.asked.next == Time::NEVER {
                tuple.asked.next = now;
            }
            self.awaited = Some(path);
            return false;
        }
        self.awaited = None;
        self.selected = Some(path);
        self.selected_since = now;
        if self.role == Role::Controlling {
            // They learn of it by the next check.
            tuple.asked.next = now;
        }
        true
    }

    /// Whether a nomination moves us to `path`. Each first one does, so the latest wins. Aggressive nomination
    /// (Firefox) repeats all of them with every check: a repeated one moves us only where the browser's media
    /// follows it, or where the selected path is silent, else we would go to and fro; nor does one that a move overtook.
    fn nominate(&mut self, path: Path, now: Time) -> bool {
        let current = self.awaited.or(self.selected);
        let selected = self.tuples.iter().find(|tuple| Some(tuple.path) == current).copied();
        let settled = now.since(self.selected_since) > OVERTAKEN;
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) else { return false };
        let first = !std::mem::replace(&mut tuple.nominated, true);
        match selected {
            Some(selected) if selected.path == path => false,
            Some(selected) => first || selected.is_silent(now) || settled && tuple.media > selected.media,
            None => true,
        }
    }

    /// An answer to a check of ours came, whose integrity is right. `None`: we have not asked. Otherwise whether another
    /// path is selected now.
    pub(crate) fn answer(&mut self, path: Path, id: TransactionId, now: Time) -> Option<bool> {
        let tuple = self.tuples.iter_mut().find(|tuple| tuple.path == path)?;
        if tuple.asked.pending != Some(id) {
            return None;
        }
        let spread = u64::from(u16::from_be_bytes([id.0[0], id.0[1]])) * CONSENT_INTERVAL_MS * 400 / 65_536;
        // RFC 7675, section 5.1: between 0.8 and 1.2 times the interval.
        let pause = Duration::from_micros(CONSENT_INTERVAL_MS * 800 + spread);
        tuple.asked = Asked { pending: None, tries: 0, next: tuple.asked.sent + pause, ..tuple.asked };
        tuple.answered = Some(now);
        let candidate = *tuple;
        self.last_answered = Some(path);
        let wanted = match self.role {
            Role::Controlling => self.selected.is_none_or(|selected| {
                let selected = self.tuples.iter().find(|tuple| tuple.path == selected);
                selected.is_none_or(|selected| {
                    selected.path != path && (selected.is_silent(now) || candidate.media > selected.media)
                })
            }),
            Role::LiteControlled | Role::Controlled => self.awaited == Some(path),
        };
        let moved = wanted && self.select_when_answered(path, now);
        self.refresh();
        Some(moved)
    }

    /// One of our checks was refused with 487: they have our role, so we take the other one, unless we are lite
    /// (RFC 8445, section 7.2.5.1). `false`: we have not asked.
    pub(crate) fn refused_role(&mut self, path: Path, id: TransactionId, bytes: usize, now: Time) -> bool {
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) else { return false };
        if tuple.asked.pending != Some(id) {
            return false;
        }
        tuple.asked = Asked { pending: None, next: now, ..tuple.asked };
        tuple.allowance = tuple.allowance.saturating_add(AMPLIFICATION * bytes);
        self.role = match self.role {
            Role::Controlling => Role::Controlled,
            Role::Controlled => Role::Controlling,
            Role::LiteControlled => Role::LiteControlled,
        };
        self.refresh();
        true
    }

    /// When [`Self::take_check`] has something.
    pub(crate) fn next_check(&self) -> Time {
        self.next_check
    }

    /// The next check of ours that is due, until there is none.
    pub(crate) fn take_check(&mut self, now: Time, id: impl FnOnce() -> TransactionId) -> Option<OwnCheck> {
        if self.next_check > now {
            return None;
        }
        let bytes = CHECK_BYTES_BESIDES_USERNAME + self.asking().0.len().next_multiple_of(4);
        let (selected, role, tie_breaker) = (self.selected, self.role, self.tie_breaker);
        let tuple =
            self.tuples.iter_mut().filter(|tuple| tuple.asked.next <= now).min_by_key(|tuple| tuple.asked.next)?;
        let consent = tuple.has_consent(now);
        let given_up = !consent && (tuple.asked.tries >= ICE_TRANSMISSIONS || tuple.allowance < bytes);
        // A path that is not used and is not checked by them either is dead.
        let dead = Some(tuple.path) != selected && now.since(tuple.checked) >= CONSENT_TIMEOUT;
        if given_up || dead {
            tuple.asked.next = Time::NEVER;
            self.refresh();
            // The others are looked at in the same way.
            return self.take_check(now, id);
        }
        let pause = match consent {
            true => Duration::from_millis(CONSENT_INTERVAL_MS),
            false => Duration::from_millis(ICE_RETRANSMIT_MS << tuple.asked.tries),
        };
        if !consent {
            tuple.allowance -= bytes;
        }
        // RFC 8489, section 6.2.1: a repetition is the same request, so that a late answer counts.
        let id = tuple.asked.pending.filter(|_| !consent).unwrap_or_else(id);
        tuple.asked = Asked { pending: Some(id), sent: now, tries: tuple.asked.tries + 1, next: now + pause };
        let path = tuple.path;
        self.refresh();
        Some(OwnCheck {
            path,
            id,
            role: match role {
                Role::Controlling => IceRole::Controlling(tie_breaker),
                Role::Controlled | Role::LiteControlled => IceRole::Controlled(tie_breaker),
            },
            use_candidate: role == Role::Controlling && selected == Some(path),
        })
    }

    fn make_room(&mut self) -> Option<Path> {
        if self.tuples.len() < TUPLES_PER_PARTICIPANT {
            return None;
        }
        let candidates = self.tuples.iter().enumerate().filter(|(_, tuple)| Some(tuple.path) != self.selected);
        let (oldest, _) = candidates.min_by_key(|(_, tuple)| tuple.checked.max(tuple.media))?;
        let evicted = self.tuples.swap_remove(oldest).path;
        self.forget(evicted);
        Some(evicted)
    }

    /// Authenticated media came on this path.
    pub(crate) fn note_media(&mut self, path: Path, now: Time) {
        if let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) {
            tuple.media = now;
        }
    }

    /// DTLS came on this path: as much more may go back.
    pub(crate) fn note_dtls(&mut self, path: Path, bytes: usize) {
        if let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) {
            tuple.allowance = tuple.allowance.saturating_add(AMPLIFICATION * bytes);
        }
    }

    /// Whether a DTLS datagram of so many bytes may go to this path, and takes it into account.
    pub(crate) fn admit_dtls(&mut self, path: Path, bytes: usize, now: Time) -> bool {
        let Some(tuple) = self.tuples.iter_mut().find(|tuple| tuple.path == path) else { return false };
        if tuple.has_consent(now) {
            return true;
        }
        let left = tuple.allowance.checked_sub(bytes);
        tuple.allowance = left.unwrap_or(tuple.allowance);
        left.is_some()
    }

    /// Whether authenticated media came on this path a moment ago.
    pub(crate) fn is_heard(&self, path: Path, now: Time) -> bool {
        self.tuples.iter().any(|tuple| tuple.path == path && tuple.media != Time(0) && now.since(tuple.media) < HEARD)
    }

    /// Where media goes: the selected path; before there is one, the last that has answered.
    pub(crate) fn send_path(&self) -> Option<Path> {
        self.selected.or(self.last_answered)
    }

    /// Where DTLS goes, if [`Self::admit_dtls`] has it: with media, or before there is a path for that, where they want it.
    pub(crate) fn dtls_path(&self) -> Option<Path> {
        self.send_path().or(self.awaited).or(self.last_checked)
    }

    /// When consent ends, once there was a check (RFC 7675, section 5.1): that of the path on which we send, for answers
    /// from elsewhere say nothing of whether somebody there wants our packets.
    pub(crate) fn consent_until(&self) -> Time {
        self.consent_until
    }

    /// Consent for the path is over: goes on with the one that has answered last. `false`: none has consent.
    pub(crate) fn renew_consent(&mut self, now: Time) -> bool {
        let last = self.tuples.iter().filter(|tuple| tuple.has_consent(now)).max_by_key(|tuple| tuple.answered);
        let Some(last) = last.map(|tuple| tuple.path) else { return false };
        self.selected = Some(last);
        self.selected_since = now;
        self.refresh();
        true
    }

    /// Another participant has this path now.
    pub(crate) fn lose_path(&mut self, path: Path) {
        self.tuples.retain(|tuple| tuple.path != path);
        self.selected = self.selected.filter(|&selected| selected != path);
        self.forget(path);
        self.refresh();
    }

    fn forget(&mut self, path: Path) {
        for place in [&mut self.awaited, &mut self.last_checked, &mut self.last_answered] {
            *place = place.filter(|&other| other != path);
        }
    }

    /// Keeps what is asked of for each packet.
    fn refresh(&mut self) {
        self.next_check = self.tuples.iter().map(|tuple| tuple.asked.next).min().unwrap_or(Time::NEVER);
        let used = self.send_path();
        let used = self.tuples.iter().find(|tuple| Some(tuple.path) == used);
        let begun = self.begun.map_or(Time::NEVER, |begun| begun + CONSENT_TIMEOUT);
        self.consent_until = used.map_or(begun, Tuple::consent_until);
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.tuples.iter().map(|tuple| tuple.path)
    }

    /// Forgets all paths.
    pub(crate) fn close(&mut self) {
        self.tuples = Vec::new();
        (self.selected, self.awaited, self.last_checked, self.last_answered) = (None, None, None, None);
        self.begun = None;
        self.refresh();
    }
}

#[cfg(test)]
mod tests;
