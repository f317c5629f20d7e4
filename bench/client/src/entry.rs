//! The ways into a room. Plausch's own signalling keeps one PeerConnection with slots for the whole call (`session`);
//! all others make one PeerConnection to send and one or more to receive (`visit`), and differ in what is behind
//! [`Door`] only. ICE, DTLS, SRTP, counting and stamps are the same for all.

use super::JoinOptions;
use super::error::ClientError;
use super::janus::Janus;
use super::receive::{Incoming, Line};
use super::sdp::{LocalDescription, RemoteDescription};
use super::whip::Whip;
use async_trait::async_trait;
use clap::ValueEnum;

/// How a client comes into a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Entry {
    /// Plausch's own signalling, as browsers use it.
    #[default]
    Native,
    /// WHIP to publish and WHEP to watch, as standard tools do.
    Whip,
    /// The video room of a Janus, through its WebSocket.
    Janus,
}

impl Entry {
    /// Connects to the server; `None` for our own signalling, which `session` speaks.
    pub(crate) async fn door(self, options: &JoinOptions) -> Result<Option<Box<dyn Door>>, ClientError> {
        match self {
            Self::Native => Ok(None),
            Self::Whip => Ok(Some(Box::new(Whip::new(options)))),
            Self::Janus => Ok(Some(Box::new(Janus::connect(options).await?))),
        }
    }
}

/// The signalling of one participant, in the order in which it is called.
#[async_trait]
pub(crate) trait Door: Send {
    /// Publishes with our offer (`local.sdp`); called once, and only for those who send.
    async fn publish(&mut self, local: &LocalDescription) -> Result<Published, ClientError>;

    /// Waits until `slots` others publish, and subscribes to them; `describe` makes our side of one more
    /// PeerConnection that receives in so many slots. Called once, and only for those who receive.
    async fn subscribe(&mut self, slots: u16, describe: &Describe) -> Result<Vec<Subscribed>, ClientError>;

    /// Keeps the session alive; returns when the server has ended it.
    async fn listen(&mut self) -> ClientError;

    /// Says goodbye. May be called at any time.
    async fn leave(&mut self);
}

/// Our side of a PeerConnection that receives in so many slots.
pub(crate) type Describe = dyn Fn(u16) -> LocalDescription + Send + Sync;

/// We send.
pub(crate) struct Published {
    /// Our id in the room, in hexadecimal digits: media is stamped with it.
    pub(crate) participant: String,
    pub(crate) remote: RemoteDescription,
}

/// A PeerConnection on which we receive.
pub(crate) struct Subscribed {
    pub(crate) local: LocalDescription,
    pub(crate) remote: RemoteDescription,
    pub(crate) incoming: Incoming,
    /// Which m-line fills which slot.
    pub(crate) lines: Vec<Line>,
    /// Whom we get: slots and participants.
    pub(crate) shown: Vec<(u16, String)>,
}
