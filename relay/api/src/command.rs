//! What control tells the relay.

use crate::ids::{ParticipantId, RoomId, ShardId, SlotId};
use crate::media::{CodecMapping, ExtensionIds, Fingerprint, MediaKind, Source, SrtpProfile, TrackKind};
use crate::private::{IcePassword, Note, TlsKey, TurnSecret};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

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
    SetNote { participant: ParticipantId, note: Note },
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
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TurnSettings {
    /// Secrets of time-limited credentials, newest first, at most `limits::TURN_SECRETS`. User names are
    /// `expiry:shard:anything`, with the expiry in Unix seconds and the shard to serve it; the password is the
    /// base64 of HMAC-SHA1(secret, user name). Such users reach the relay's own media addresses only.
    pub secrets: Vec<TurnSecret>,
    /// With which the edge answers TLS. `None`: it takes no TLS.
    pub certificate: Option<TlsCertificate>,
    /// Where control takes the HTTP of the edge's TLS ports: plain, each connection begun by a PROXY protocol
    /// version 2 header with the client's address. `None`: the edge closes such connections.
    #[serde(default)]
    pub edge_socket: Option<EdgeSocket>,
    /// The TCP ports on which control listens: no TCP connection of a TURN client goes to them on this machine.
    pub ports: Vec<u16>,
}

/// A Unix socket of control.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EdgeSocket {
    pub path: PathBuf,
    /// The user id of control's process: whoever else answers there is an impostor.
    pub uid: u32,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TlsCertificate {
    pub chain: Bytes,
    pub key: TlsKey,
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
    /// How it is reached, and what protects its media.
    #[serde(flatten)]
    pub transport: Transport,
    pub codecs: Vec<CodecMapping>,
    pub extensions: ExtensionIds,
    pub sends: Vec<SendTrack>,
    pub slots: Vec<SlotSpec>,
    /// Control's own memory of this participant, opaque to the relay and given back in its snapshot:
    /// this is how a restarted control finds its rooms again.
    pub note: Note,
}

/// How a participant is reached. In JSON a browser's fields stand beside the others of the [`ParticipantSpec`], as they
/// did before there was a choice, so that either process may be of the release before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Transport {
    /// A process of our own.
    Keyed { keyed: KeyedTransport },
    /// A browser, or whatever else speaks ICE and DTLS.
    Browser(BrowserTransport),
}

impl Transport {
    /// The transport of a participant who is reached by ICE and DTLS.
    pub fn browser(ice: IceParameters, remote_fingerprint: Fingerprint) -> Self {
        Self::Browser(BrowserTransport { ice, remote_fingerprint, dtls_role: DtlsRole::Server })
    }

    /// The ICE parameters, where there is ICE.
    pub fn ice(&self) -> Option<&IceParameters> {
        match self {
            Self::Browser(browser) => Some(&browser.ice),
            Self::Keyed { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn ice_mut(&mut self) -> Option<&mut IceParameters> {
        match self {
            Self::Browser(browser) => Some(&mut browser.ice),
            Self::Keyed { .. } => None,
        }
    }

    /// The fingerprint of the participant's DTLS certificate, where there is DTLS.
    pub fn remote_fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Browser(browser) => Some(browser.remote_fingerprint),
            Self::Keyed { .. } => None,
        }
    }
}

/// ICE and DTLS: the path is found by checks, the keys by a handshake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BrowserTransport {
    pub ice: IceParameters,
    /// The hash of the participant's DTLS certificate.
    pub remote_fingerprint: Fingerprint,
    /// Ours in the handshake.
    #[serde(default, skip_serializing_if = "DtlsRole::is_server")]
    pub dtls_role: DtlsRole,
}

/// Who begins the DTLS handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DtlsRole {
    /// The relay: `a=setup:active`.
    Client,
    /// The other side, as every browser does: `a=setup:passive`.
    #[default]
    Server,
}

impl DtlsRole {
    fn is_server(&self) -> bool {
        *self == Self::Server
    }
}

/// SRTP alone, for processes of our own: control names the addresses and the keys, and the participant is connected at
/// once. It is disconnected after `limits::KEYED_SILENCE_MS` without an authentic packet; RTCP every five seconds
/// (RFC 3550, section 6.2) is enough. Whatever else comes from `remote` is a counted drop, STUN and DTLS too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyedTransport {
    /// A media address of the shard as it is bound: one of its candidates that no operator announces for it.
    pub local: SocketAddr,
    /// The only address from which packets are taken, and to which they are sent.
    pub remote: SocketAddr,
    pub keys: SrtpKeys,
}

/// SRTP master keys of both directions (RFC 3711, section 3.2.1). They serve one generation of one participant, and
/// one life of the shard: what begins anew counts its packets anew, and no key may see an index twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SrtpKeys {
    pub profile: SrtpProfile,
    pub from_participant: SrtpMasterKey,
    pub to_participant: SrtpMasterKey,
}

/// A master key and its salt, with the profile's lengths.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpMasterKey {
    pub key: Bytes,
    pub salt: Bytes,
}

impl std::fmt::Debug for SrtpMasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpMasterKey").finish_non_exhaustive()
    }
}

/// ICE user fragments and passwords (RFC 8445, section 5.3), both ours and the browser's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IceParameters {
    /// Ours: unique in the relay, it finds the participant of a check.
    pub local_ufrag: String,
    pub local_pwd: IcePassword,
    pub remote_ufrag: String,
    pub remote_pwd: IcePassword,
    #[serde(default, skip_serializing_if = "IceMode::is_lite")]
    pub mode: IceMode,
}

/// What the participant was told of our ICE agent (RFC 8445, sections 2.5 and 6.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IceMode {
    /// That it is lite: the participant nominates.
    #[default]
    LiteControlled,
    /// Nothing, or that it is a full one in the controlling role: we nominate.
    Controlling,
}

impl IceMode {
    fn is_lite(&self) -> bool {
        *self == Self::LiteControlled
    }
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

/// A receiving place: the m-lines of one MediaStream, one of each medium at the most.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "FlatSlot", into = "FlatSlot")]
pub struct SlotSpec {
    pub slot: SlotId,
    /// `None`: the source's sound is not heard here.
    pub audio: Option<SlotStream>,
    /// `None`: its picture is not seen here, as on a telephone.
    pub video: Option<SlotStream>,
}

/// What the relay sends on one m-line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotStream {
    /// RFC 9143.
    pub mid: String,
    /// The SSRC that the relay sends with, as control wrote it into the answer.
    pub ssrc: u32,
}

/// A slot in JSON, where one with both media is as it was when all slots had both.
#[derive(Clone, Serialize, Deserialize)]
struct FlatSlot {
    slot: SlotId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_mid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    video_mid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_ssrc: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    video_ssrc: Option<u32>,
}

/// A slot's m-line without its SSRC, or an SSRC without its m-line.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a stream of a slot has a MID and an SSRC, or neither")]
struct HalfStream;

impl TryFrom<FlatSlot> for SlotSpec {
    type Error = HalfStream;

    fn try_from(flat: FlatSlot) -> Result<Self, HalfStream> {
        let stream = |mid: Option<String>, ssrc: Option<u32>| match (mid, ssrc) {
            (Some(mid), Some(ssrc)) => Ok(Some(SlotStream { mid, ssrc })),
            (None, None) => Ok(None),
            _ => Err(HalfStream),
        };
        Ok(Self {
            slot: flat.slot,
            audio: stream(flat.audio_mid, flat.audio_ssrc)?,
            video: stream(flat.video_mid, flat.video_ssrc)?,
        })
    }
}

impl From<SlotSpec> for FlatSlot {
    fn from(spec: SlotSpec) -> Self {
        let (audio_mid, audio_ssrc) = spec.audio.map(|stream| (stream.mid, stream.ssrc)).unzip();
        let (video_mid, video_ssrc) = spec.video.map(|stream| (stream.mid, stream.ssrc)).unzip();
        Self { slot: spec.slot, audio_mid, video_mid, audio_ssrc, video_ssrc }
    }
}

impl SlotSpec {
    /// A slot with both media.
    pub fn both(slot: SlotId, audio: SlotStream, video: SlotStream) -> Self {
        Self { slot, audio: Some(audio), video: Some(video) }
    }

    /// The stream of one medium.
    pub fn stream(&self, media: MediaKind) -> Option<&SlotStream> {
        match media {
            MediaKind::Audio => self.audio.as_ref(),
            MediaKind::Video => self.video.as_ref(),
        }
    }

    /// The streams that there are.
    pub fn streams(&self) -> impl Iterator<Item = &SlotStream> {
        self.audio.iter().chain(&self.video)
    }
}

impl SlotStream {
    /// On the m-line with this MID.
    pub fn new(mid: impl Into<String>, ssrc: u32) -> Self {
        Self { mid: mid.into(), ssrc }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A participant as the release before put it on the link, and gave it back in its snapshot.
    const OLD: &str = r#"{"participant":7,"room":1,"shard":0,"generation":3,
        "ice":{"local_ufrag":"ours","local_pwd":"p","remote_ufrag":"them","remote_pwd":"q"},
        "remote_fingerprint":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],
        "codecs":[{"codec":"opus","payload_type":111}],"extensions":{"mid":4,"rid":null},
        "sends":[{"kind":"microphone","mid":"0","ssrcs":[5],"rids":[]}],
        "slots":[{"slot":0,"audio_mid":"1","video_mid":"2","audio_ssrc":10,"video_ssrc":11}],
        "note":[1,2,3]}"#;

    fn keyed() -> ParticipantSpec {
        let key = |byte: u8| SrtpMasterKey { key: vec![byte; 16].into(), salt: vec![byte; 12].into() };
        let mut spec: ParticipantSpec = serde_json::from_str(OLD).unwrap();
        spec.transport = Transport::Keyed {
            keyed: KeyedTransport {
                local: "127.0.0.1:7882".parse().unwrap(),
                remote: "127.0.0.1:4000".parse().unwrap(),
                keys: SrtpKeys {
                    profile: SrtpProfile::AeadAes128Gcm,
                    from_participant: key(201),
                    to_participant: key(202),
                },
            },
        };
        spec
    }

    #[test]
    fn the_release_before_is_understood_and_understands() {
        let spec: ParticipantSpec = serde_json::from_str(OLD).unwrap();
        assert_eq!(spec.transport.ice().unwrap().remote_ufrag, "them");
        assert_eq!(spec.transport.remote_fingerprint(), Some(Fingerprint::Sha256([1; 32])));
        let slot = SlotSpec::both(SlotId(0), SlotStream::new("1", 10), SlotStream::new("2", 11));
        assert_eq!(spec.slots, [slot]);
        let old: serde_json::Value = serde_json::from_str(OLD).unwrap();
        let new = serde_json::to_value(&spec).unwrap();
        for (field, value) in old.as_object().unwrap() {
            if field != "extensions" {
                assert_eq!(new.get(field), Some(value), "{field}");
            }
        }
        let put = serde_json::to_string(&Command::PutParticipant(Box::new(spec.clone()))).unwrap();
        assert_eq!(serde_json::from_str::<Command>(&put).unwrap(), Command::PutParticipant(Box::new(spec)));
    }

    #[test]
    fn a_keyed_participant_goes_over_the_link() {
        let put = Command::PutParticipant(Box::new(keyed()));
        let json = serde_json::to_string(&put).unwrap();
        assert!(json.contains("aead-aes-128-gcm") && !json.contains("remote_fingerprint"), "{json}");
        assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), put);
    }

    #[test]
    fn keys_are_not_printed() {
        let text = format!("{:?} {:#?}", keyed(), keyed());
        assert!(text.contains("AeadAes128Gcm") && !text.contains("201") && !text.contains("202"), "{text}");
    }

    #[test]
    fn a_slot_may_have_one_medium_and_no_halves() {
        let telephone = SlotSpec { slot: SlotId(2), audio: Some(SlotStream::new("1", 10)), video: None };
        let json = serde_json::to_string(&telephone).unwrap();
        assert_eq!(json, r#"{"slot":2,"audio_mid":"1","audio_ssrc":10}"#);
        assert_eq!(serde_json::from_str::<SlotSpec>(&json).unwrap(), telephone);
        assert!(serde_json::from_str::<SlotSpec>(r#"{"slot":2,"audio_mid":"1"}"#).is_err());
    }

    #[test]
    fn neither_a_browser_nor_keyed_is_refused() {
        let mut json: serde_json::Value = serde_json::from_str(OLD).unwrap();
        json.as_object_mut().unwrap().remove("ice");
        assert!(serde_json::from_value::<ParticipantSpec>(json).is_err());
    }
}
