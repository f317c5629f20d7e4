//! What control tells the relay.

use crate::ids::{ParticipantId, RoomId, ShardId, SlotId};
use crate::media::{CodecMapping, ExtensionIds, Fingerprint, Source, TrackKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A command of control. Every one is idempotent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Command {
    /// Creates the participant, or changes it to what the spec says. A larger `generation` is a new
    /// PeerConnection: ICE, DTLS and SRTP state start anew. With the same generation, new `ice` is an ICE
    /// restart, and `sends` or `slots` may have grown.
    PutParticipant(Box<ParticipantSpec>),
    /// Forgets the participant; its media stops in the batch in which this is read. Unknown ids are no error.
    RemoveParticipant { participant: ParticipantId },
    /// Replaces all slot assignments of the participant: a slot that is not named is emptied.
    AssignSlots { participant: ParticipantId, slots: Vec<SlotAssignment> },
    /// Replaces control's note of the participant.
    SetNote { participant: ParticipantId, note: Bytes },
    /// Replaces what control says of TURN: for all shards and the edge.
    SetTurn(Box<TurnSettings>),
}

impl Command {
    /// The participant that the command is about; `None` for what concerns the whole relay.
    pub fn participant(&self) -> Option<ParticipantId> {
        match self {
            Self::PutParticipant(spec) => Some(spec.participant),
            Self::RemoveParticipant { participant }
            | Self::AssignSlots { participant, .. }
            | Self::SetNote { participant, .. } => Some(*participant),
            Self::SetTurn(_) => None,
        }
    }
}

/// What control says of TURN. The relay forgets it when it ends, and goes on with it while control is away.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TurnSettings {
    /// Secrets of time-limited credentials, newest first, at most `limits::TURN_SECRETS`. User names are
    /// `expiry:shard:anything`, with the expiry in Unix seconds and the shard to serve it; the password is the
    /// base64 of HMAC-SHA1(secret, user name). Such users reach the relay's own media addresses only.
    pub secrets: Vec<Bytes>,
    /// With which the edge answers TLS. `None`: it takes no TLS.
    pub certificate: Option<TlsCertificate>,
    /// Where control takes the HTTP of the edge's TLS ports: plain, each connection begun by a PROXY protocol
    /// version 2 header with the client's address. `None`: the edge closes such connections.
    pub http: Option<SocketAddr>,
    /// The TCP ports on which control listens: no TCP connection of a TURN client goes to them on this machine.
    pub ports: Vec<u16>,
}

impl std::fmt::Debug for TurnSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnSettings").field("http", &self.http).finish_non_exhaustive()
    }
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCertificate {
    pub chain: Bytes,
    pub key: Bytes,
}

/// All that the relay must know of one participant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParticipantSpec {
    pub participant: ParticipantId,
    pub room: RoomId,
    /// All members of a room name the same shard.
    pub shard: ShardId,
    /// Counts the PeerConnections of this participant.
    pub generation: u32,
    pub ice: IceParameters,
    /// Of the browser's DTLS certificate.
    pub remote_fingerprint: Fingerprint,
    pub codecs: Vec<CodecMapping>,
    pub extensions: ExtensionIds,
    pub sends: Vec<SendTrack>,
    pub slots: Vec<SlotSpec>,
    /// Control's own memory of this participant, opaque to the relay and given back in its snapshot:
    /// this is how a restarted control finds its rooms again.
    pub note: Bytes,
}

/// ICE user fragments and passwords (RFC 8445, section 5.3), both ours and the browser's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IceParameters {
    /// Ours: unique in the relay, it finds the participant of a check.
    pub local_ufrag: String,
    pub local_pwd: String,
    pub remote_ufrag: String,
    pub remote_pwd: String,
}

/// An m-line on which the participant sends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendTrack {
    pub kind: TrackKind,
    /// RFC 9143.
    pub mid: String,
    /// SSRCs that SDP named, primary first; empty where packets are told apart by MID and RID only.
    #[serde(default)]
    pub ssrcs: Vec<u32>,
    /// Simulcast layers by RID (RFC 8851), smallest picture first; empty without simulcast.
    #[serde(default)]
    pub rids: Vec<String>,
}

/// A receiving place: two m-lines of one MediaStream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlotSpec {
    pub slot: SlotId,
    pub audio_mid: String,
    pub video_mid: String,
    /// The SSRCs that the relay sends with, as control wrote them into the answer.
    pub audio_ssrc: u32,
    pub video_ssrc: u32,
}

/// What is seen and heard in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlotAssignment {
    pub slot: SlotId,
    pub source: SourceRef,
    /// The largest simulcast layer to forward, 0 the smallest; larger than there is means the largest.
    pub max_layer: u8,
}

/// A source in the same room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SourceRef {
    pub participant: ParticipantId,
    pub source: Source,
}

/// Why the relay refused a command. Nothing was changed then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CommandError {
    #[error("no participant with this id")]
    UnknownParticipant,
    #[error("no shard with this number")]
    UnknownShard,
    #[error("the participant is on another shard or in another room; remove it first")]
    Moved,
    #[error("the generation is older than the one in force")]
    Stale,
    #[error("another participant has this local ICE user fragment")]
    UfragTaken,
    #[error("limit reached: {0}")]
    Limit(String),
    #[error("invalid: {0}")]
    Invalid(String),
    #[error("the shard takes no commands at the moment")]
    Busy,
    #[error("the relay is about to end and takes no new rooms")]
    Draining,
}
