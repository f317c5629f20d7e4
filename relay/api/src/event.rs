//! What the relay tells control.

use crate::command::{CommandError, ParticipantSpec, SlotAssignment};
use crate::ids::{CommandId, ParticipantId, RoomId, ShardId};
use crate::media::Fingerprint;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// An event of the relay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// First on every connection.
    Hello(Hello),
    /// One participant that the relay has; all of them follow `Hello`, then `SnapshotEnd`.
    Snapshot(Box<ParticipantSnapshot>),
    /// The snapshot is complete: what it did not name, the relay does not have.
    SnapshotEnd,
    /// The command took effect, or did not.
    Done { id: CommandId, result: Result<(), CommandError> },
    /// DTLS is finished, or the keys were named: media flows.
    Connected { participant: ParticipantId, generation: u32 },
    /// This generation of the participant's transport is over.
    Disconnected { participant: ParticipantId, generation: u32, reason: DisconnectReason },
    /// The loudest speakers of a room changed: loudest first, at most `limits::SPEAKERS_PER_EVENT`.
    Speakers { room: RoomId, speakers: Vec<SpeakerLevel> },
    /// Every `limits::LOAD_INTERVAL_MS`, and when the relay begins to drain.
    Load {
        shards: Vec<ShardLoad>,
        /// The relay is about to end: it takes nobody into new rooms.
        #[serde(default)]
        draining: bool,
    },
    /// The shard died and started again, empty: its participants are gone.
    ShardRestarted { shard: ShardId },
}

/// Who this relay is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// `framing::PROTOCOL_VERSION` of the relay.
    pub version: u32,
    /// Tells this relay from the others of the same control: at most `limits::RELAY_NAME_BYTES` letters, digits and
    /// `.:_-`, the same after a restart. Empty: of a release in which there was one relay only.
    #[serde(default)]
    pub name: String,
    /// Random for each start of the process; 0: not said.
    #[serde(default)]
    pub instance: u64,
    /// Of the DTLS certificate with which all shards answer.
    pub fingerprint: Fingerprint,
    pub shards: Vec<ShardInfo>,
    /// Where TURN is to be had; `None` where it is switched off.
    #[serde(default)]
    pub turn: Option<TurnPorts>,
}

/// The ports at which every shard, or the edge for all of them, takes TURN clients.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TurnPorts {
    /// 0: not to be had.
    pub udp: u16,
    /// `None`: not to be had.
    pub tcp: Option<u16>,
    /// Best first. Where 443 is among them, it takes HTTPS as well.
    pub tls: Vec<u16>,
}

/// One shard and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardInfo {
    pub shard: ShardId,
    /// Addresses to announce as ICE host candidates, best first.
    pub candidates: Vec<SocketAddr>,
}

/// What the relay has of one participant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParticipantSnapshot {
    pub spec: ParticipantSpec,
    pub assignments: Vec<SlotAssignment>,
    /// DTLS is finished.
    pub connected: bool,
}

/// Why a transport ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisconnectReason {
    /// No answer to our checks for `limits::CONSENT_TIMEOUT_MS` (RFC 7675).
    ConsentExpired,
    /// No ICE check or no DTLS handshake in time after the participant was put.
    ConnectTimeout,
    /// The DTLS handshake failed, or the certificate was not the announced one.
    DtlsFailed,
    /// The browser closed its side (DTLS close_notify).
    DtlsClosed,
    /// No authentic packet of a keyed participant for `limits::KEYED_SILENCE_MS`.
    KeyedSilent,
    /// A reason that a later release gives.
    #[serde(other)]
    Other,
}

/// How loud somebody is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpeakerLevel {
    pub participant: ParticipantId,
    /// RFC 6464: 0 is the loudest, 127 is silence (−dBov), smoothed.
    pub level: u8,
}

/// How busy a shard is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardLoad {
    pub shard: ShardId,
    pub participants: u32,
    /// Time outside the wait, in thousandths of the last interval.
    pub busy_permille: u16,
    /// Packets received and sent since start.
    pub received_packets: u64,
    pub sent_packets: u64,
}
