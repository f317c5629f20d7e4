//! Codecs, track kinds and what SDP negotiated about them.

use serde::{Deserialize, Serialize};

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    Audio,
    Video,
}

/// What one published track is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackKind {
    Microphone,
    Camera,
    Screen,
    ScreenAudio,
}

impl TrackKind {
    /// Audio or video.
    pub fn media(self) -> MediaKind {
        match self {
            Self::Microphone | Self::ScreenAudio => MediaKind::Audio,
            Self::Camera | Self::Screen => MediaKind::Video,
        }
    }

    /// The pair that this track belongs to.
    pub fn source(self) -> Source {
        match self {
            Self::Microphone | Self::Camera => Source::Person,
            Self::Screen | Self::ScreenAudio => Source::Screen,
        }
    }
}

/// A pair of an audio and a video track that belong together and share a slot, so that lips stay in sync.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Microphone and camera.
    Person,
    /// Shared screen and its sound.
    Screen,
}

/// A codec as the relay forwards it. One profile each, chosen in control's SDP code
/// (VP9 profile 0, H.264 constrained baseline with packetization-mode 1, AV1 profile 0), so that a codec
/// of one participant is the same codec of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// RFC 7587, 48 kHz.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
    /// RFC 6184, packetization-mode 1.
    H264,
    /// The AV1 RTP payload format of AOMedia.
    Av1,
}

impl Codec {
    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
        }
    }

    /// Audio or video.
    pub fn media(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => MediaKind::Video,
        }
    }
}

/// The payload type that one participant's PeerConnection uses for a codec, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodecMapping {
    pub codec: Codec,
    /// 0–127, and outside 64–95, which RFC 5761 leaves to RTCP.
    pub payload_type: u8,
    /// The RTX payload type (RFC 4588) whose `apt` is `payload_type`, where negotiated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_payload_type: Option<u8>,
}

/// The RTP header extension ids (RFC 8285) that one participant's PeerConnection negotiated, the same for all
/// its m-lines; each 1–14 so that the one-byte form always serves. `None`: not negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub audio_level: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    pub transport_cc: Option<u8>,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    pub dependency_descriptor: Option<u8>,
}

/// SHA-256 of a DTLS certificate in DER (RFC 8122). Other hash functions are refused in control.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub [u8; 32]);

/// A protection profile of SRTP (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SrtpProfile {
    /// SRTP_AES128_CM_HMAC_SHA1_80: every WebRTC endpoint has it.
    #[serde(rename = "aes-128-cm-sha1-80")]
    Aes128CmSha1_80,
    /// SRTP_AEAD_AES_128_GCM: the fastest by far.
    #[serde(rename = "aead-aes-128-gcm")]
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM.
    #[serde(rename = "aead-aes-256-gcm")]
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay may hold notes from a release that knew more extensions than this one.
    #[test]
    fn unknown_extensions_are_ignored() {
        let json = r#"{"mid":4,"video_orientation":13,"of_a_later_release":null}"#;
        let ids = serde_json::from_str(json).ok();
        assert_eq!(ids, Some(ExtensionIds { mid: Some(4), ..ExtensionIds::default() }));
    }
}
