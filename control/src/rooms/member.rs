//! One member of a room: where it stands, what it may do, and how relays reach it.

use super::events::Person;
use plausch_relay_api::{ParticipantId, ParticipantSpec, Source, SourceRef, TrackKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How a member is connected.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Connected by a signalling session: there while the session is, or may come back.
    #[default]
    Signalling,
    /// WHIP: publishes, and is there for as long as its media flows.
    Publisher,
    /// WHEP: watches one person, and is there for as long as it does. Others see that it is there, for nobody is
    /// watched by the unseen, but it is no source.
    Viewer {
        /// An id or a name; without one, whoever speaks.
        follows: Option<String>,
    },
}

/// What a member may do to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    #[default]
    Guest,
    Moderator,
}

/// Something that not every client can do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Capability {
    /// It can wait until somebody lets it in.
    Lobby,
}

impl Capability {
    /// All that there are.
    pub const ALL: [Self; 1] = [Self::Lobby];

    /// As protocols and notes say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lobby => "lobby",
        }
    }
}

/// What a client can do.
pub type Capabilities = BTreeSet<Capability>;

/// The capabilities of these names; unknown ones are ignored.
pub fn capabilities(names: &[String]) -> Capabilities {
    Capability::ALL.into_iter().filter(|capability| names.iter().any(|name| name == capability.name())).collect()
}

/// What a member sends at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    pub microphone: bool,
    pub camera: bool,
    pub screen: bool,
}

/// One person in a room.
#[derive(Debug)]
pub struct Member {
    pub(crate) name: String,
    pub(crate) presence: Presence,
    pub(crate) role: Role,
    pub(crate) capabilities: Capabilities,
    pub(crate) media: Media,
    pub(crate) state: State,
    /// When the person joined, last spoke (0: never) and began to share, counted by `Room::events`.
    pub(crate) joined: u64,
    pub(crate) spoke: u64,
    pub(crate) shared: u64,
}

/// Where a member stands. Only members with a seat are known to the others.
#[derive(Debug)]
pub(crate) enum State {
    /// In the lobby: moderators know of it, and it knows of nobody.
    Waiting { session: u64 },
    /// Has a place; its first offer is on its way to the relay.
    Joining { session: u64 },
    /// In the room.
    Present { by: By, seat: Seat },
    /// In the room without anybody to speak for it, since then; it may come back.
    Away { since: Duration, seat: Seat },
}

/// What says that a member is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// A session that speaks for it.
    Session(u64),
    /// Its media alone, since then.
    Media { since: Duration },
}

/// What a member has in the room.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// As the relay was last told; `None` before the first offer was served.
    pub(crate) transport: Option<Transport>,
    /// What each slot shows.
    pub(crate) shown: Vec<Option<SourceRef>>,
    /// Others have last been told that this person is connected.
    pub(crate) shown_connected: bool,
}

/// A PeerConnection of a member.
#[derive(Debug)]
pub struct Transport {
    pub(crate) spec: ParticipantSpec,
    pub(crate) flow: Flow,
}

/// How far a transport is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// ICE and DTLS are under way.
    Connecting,
    /// DTLS is finished.
    Connected,
    /// The relay has it no more; the client must offer a new one.
    Lost,
}

impl Member {
    /// The session that speaks for it.
    pub(crate) fn session(&self) -> Option<u64> {
        match &self.state {
            State::Waiting { session }
            | State::Joining { session }
            | State::Present { by: By::Session(session), .. } => Some(*session),
            State::Present { by: By::Media { .. }, .. } | State::Away { .. } => None,
        }
    }

    /// What it has in the room; `None` while nobody knows of it.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        match &self.state {
            State::Present { seat, .. } | State::Away { seat, .. } => Some(seat),
            State::Waiting { .. } | State::Joining { .. } => None,
        }
    }

    pub(crate) fn seat_mut(&mut self) -> Option<&mut Seat> {
        match &mut self.state {
            State::Present { seat, .. } | State::Away { seat, .. } => Some(seat),
            State::Waiting { .. } | State::Joining { .. } => None,
        }
    }

    /// Others know of it.
    pub(crate) fn is_visible(&self) -> bool {
        self.seat().is_some()
    }

    /// Others know of it, and it can be told something.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.state, State::Present { by: By::Session(_), .. })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Since when no session speaks for it.
    pub(crate) fn alone_since(&self) -> Option<Duration> {
        match &self.state {
            State::Away { since, .. } | State::Present { by: By::Media { since }, .. } => Some(*since),
            State::Waiting { .. } | State::Joining { .. } | State::Present { .. } => None,
        }
    }

    /// The transport, whether the relay still has it or not.
    pub(crate) fn transport(&self) -> Option<&Transport> {
        self.seat()?.transport.as_ref()
    }

    pub(crate) fn transport_mut(&mut self) -> Option<&mut Transport> {
        self.seat_mut()?.transport.as_mut()
    }

    /// The transport, if the relay has it.
    pub(crate) fn live(&self) -> Option<&Transport> {
        self.transport().filter(|transport| transport.flow != Flow::Lost)
    }

    /// What each of its slots shows.
    pub(crate) fn shown(&self) -> &[Option<SourceRef>] {
        self.seat().map(|seat| seat.shown.as_slice()).unwrap_or_default()
    }

    /// Nobody but its media can say that it is there, or be told when that is lost.
    pub(crate) fn is_its_media(&self) -> bool {
        self.presence != Presence::Signalling && self.session().is_none()
    }

    /// A new session speaks for it.
    pub(crate) fn take_over(&mut self, session: u64) {
        self.state = match std::mem::replace(&mut self.state, State::Joining { session }) {
            State::Waiting { .. } => State::Waiting { session },
            State::Joining { .. } => State::Joining { session },
            State::Present { seat, .. } | State::Away { seat, .. } => State::Present { by: By::Session(session), seat },
        };
    }

    /// Gives a member that joins its seat, if it has none. `true` if it just got one.
    pub(crate) fn sit_down(&mut self, shown_connected: bool) -> bool {
        let State::Joining { session } = self.state else { return false };
        let seat = Seat { shown_connected, ..Seat::default() };
        self.state = State::Present { by: By::Session(session), seat };
        true
    }

    /// What its slots may show, of all sources.
    pub(crate) fn wants(&self, source: &SourceRef, of: Option<&str>) -> bool {
        match &self.presence {
            Presence::Signalling | Presence::Publisher => true,
            Presence::Viewer { follows } => {
                source.source == Source::Person
                    && follows
                        .as_ref()
                        .is_none_or(|wanted| of == Some(wanted.as_str()) || source.participant.to_string() == *wanted)
            }
        }
    }

    pub(crate) fn shares_screen(&self) -> bool {
        let sends_screen =
            |transport: &Transport| transport.spec.sends.iter().any(|send| send.kind == TrackKind::Screen);
        self.media.screen && self.transport().is_some_and(sends_screen)
    }

    /// As others see it; `None` while nobody knows of it.
    pub(crate) fn describe(&self, id: ParticipantId) -> Option<Person> {
        let connected = self.seat()?.shown_connected;
        Some(Person { id, name: self.name.clone().into(), media: self.media, connected, role: self.role })
    }
}
