//! How a participant is reached: on the paths that ICE found, or on the one that control named.

use crate::batch::Path;
use crate::ice::Agent;
use crate::time::Time;
use plausch_relay_api::limits::KEYED_SILENCE_MS;
use std::time::Duration;

const KEYED_SILENCE: Duration = Duration::from_millis(KEYED_SILENCE_MS);

/// See the module.
#[derive(Debug)]
pub(crate) enum Access {
    /// Browsers and other ICE agents.
    Ice(Box<Agent>),
    /// Processes of our own.
    Keyed(KeyedPath),
}

/// The only path of a keyed participant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedPath {
    path: Path,
    /// The last authentic packet, or the begin.
    heard: Time,
    closed: bool,
}

impl KeyedPath {
    pub(crate) fn new(path: Path, now: Time) -> Self {
        Self { path, heard: now, closed: false }
    }

    /// When the process counts as gone if nothing authentic comes from it.
    pub(crate) fn silent_at(&self) -> Time {
        self.heard + KEYED_SILENCE
    }
}

impl Access {
    /// The ICE agent, where there is one.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        match self {
            Self::Ice(agent) => Some(agent),
            Self::Keyed(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn agent_mut(&mut self) -> Option<&mut Agent> {
        match self {
            Self::Ice(agent) => Some(agent),
            Self::Keyed(_) => None,
        }
    }

    /// Where to send DTLS, if there is consent or the datagram is small enough to go without.
    pub(crate) fn dtls_path(&self) -> Option<Path> {
        self.agent()?.dtls_path()
    }

    /// Where to send media.
    pub(crate) fn send_path(&self) -> Option<Path> {
        match self {
            Self::Ice(agent) => agent.send_path(),
            Self::Keyed(keyed) => (!keyed.closed).then_some(keyed.path),
        }
    }

    /// Authenticated media came on this path.
    pub(crate) fn note_media(&mut self, path: Path, now: Time) {
        match self {
            Self::Ice(agent) => agent.note_media(path, now),
            Self::Keyed(keyed) => keyed.heard = now,
        }
    }

    /// Whether nobody else may have this path at the moment.
    pub(crate) fn holds(&self, path: Path, now: Time) -> bool {
        match self {
            Self::Ice(agent) => agent.is_heard(path, now),
            Self::Keyed(_) => true,
        }
    }

    /// When the transport ends, or goes on over another path, if there is no sign of life until then.
    pub(crate) fn deadline(&self) -> Time {
        match self {
            Self::Ice(agent) => agent.consent_until(),
            Self::Keyed(keyed) => keyed.silent_at(),
        }
    }

    /// When something is to be sent that keeps the paths open.
    pub(crate) fn next_check(&self) -> Time {
        self.agent().map_or(Time::NEVER, Agent::next_check)
    }

    /// All paths from which packets are taken.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        let (agent, keyed) = match self {
            Self::Ice(agent) => (Some(agent.paths()), None),
            Self::Keyed(keyed) => (None, (!keyed.closed).then_some(keyed.path)),
        };
        agent.into_iter().flatten().chain(keyed)
    }

    /// Forgets all paths.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Ice(agent) => agent.close(),
            Self::Keyed(keyed) => keyed.closed = true,
        }
    }
}
