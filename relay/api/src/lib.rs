//! What control and relay say to each other: commands, events and their framing. No IO.
//!
//! Commands are declarative ("this is what participant 7 shall be") and so idempotent: sending one twice
//! does what sending it once does. That is what lets control and relay reconcile after either restarts.

pub mod command;
pub mod event;
pub mod framing;
pub mod ids;
pub mod limits;
pub mod media;

pub use command::{
    Command, CommandError, IceParameters, ParticipantSpec, SendTrack, SlotAssignment, SlotSpec, SourceRef,
    TlsCertificate, TurnSettings,
};
pub use event::{DisconnectReason, Event, Hello, ParticipantSnapshot, ShardInfo, ShardLoad, SpeakerLevel, TurnPorts};
pub use ids::{CommandId, ParticipantId, RoomId, ShardId, SlotId};
pub use media::{Codec, CodecMapping, ExtensionIds, Fingerprint, MediaKind, Source, TrackKind};
