//! One person in a room, and how the relay reaches them.

use plausch_relay_api::{ParticipantSpec, Source, SourceRef, TrackKind};
use plausch_signalling::MediaState;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// By what somebody is in a room.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The web client's signalling: there while its socket is, or may come back.
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

/// One person in a room.
#[derive(Debug)]
pub struct Member {
    pub(crate) name: String,
    pub(crate) presence: Presence,
    pub(crate) media: MediaState,
    /// The signalling session, if there is one.
    pub(crate) session: Option<u64>,
    /// Since when there is none.
    pub(crate) detached_at: Option<Duration>,
    /// `false` while the first offer is on its way to the relay: nobody knows of this person yet.
    pub(crate) visible: bool,
    /// As the relay was last told.
    pub(crate) transport: Option<Transport>,
    /// Others have last been told that this person is connected.
    pub(crate) shown_connected: bool,
    /// What each slot shows.
    pub(crate) shown: Vec<Option<SourceRef>>,
    /// When the person joined, last spoke (0: never) and began to share, counted by `Room::events`.
    pub(crate) joined: u64,
    pub(crate) spoke: u64,
    pub(crate) shared: u64,
}

/// A PeerConnection of a member.
#[derive(Debug)]
pub struct Transport {
    pub(crate) spec: ParticipantSpec,
    /// DTLS is finished.
    pub(crate) connected: bool,
    /// The relay has it no more; the browser must offer a new one.
    pub(crate) lost: bool,
}

impl Member {
    /// The transport, if the relay has it.
    pub(crate) fn live(&self) -> Option<&Transport> {
        self.transport.as_ref().filter(|transport| !transport.lost)
    }

    /// Nobody but its media can say that it is there, or be told when that is lost.
    pub(crate) fn is_its_media(&self) -> bool {
        self.presence != Presence::Signalling && self.session.is_none()
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
        self.media.screen && self.transport.as_ref().is_some_and(sends_screen)
    }
}
