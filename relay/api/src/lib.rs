//! What control and relay say to each other: commands, events and their framing. No IO.
//!
//! Commands are declarative ("this is what participant 7 shall be") and so idempotent: sending one twice
//! does what sending it once does. That is what lets control and relay reconcile after either restarts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command;
pub mod event;
pub mod framing;
pub mod ids;
pub mod limits;
pub mod media;
pub mod private;

pub use command::{
    BrowserTransport, Command, CommandError, DtlsRole, EdgeSocket, IceMode, IceParameters, KeyedTransport,
    ParticipantSpec, SendTrack, SlotAssignment, SlotSpec, SlotStream, SourceRef, SrtpKeys, SrtpMasterKey,
    TlsCertificate, Transport, TurnSettings,
};
pub use event::{DisconnectReason, Event, Hello, ParticipantSnapshot, ShardInfo, ShardLoad, SpeakerLevel, TurnPorts};
pub use ids::{CommandId, ParticipantId, RoomId, ShardId, SlotId};
pub use media::{Codec, CodecMapping, ExtensionIds, Fingerprint, MediaKind, Source, SrtpProfile, TrackKind};
pub use private::{ClientAddress, IcePassword, Note, TlsKey, TurnPassword, TurnSecret};
