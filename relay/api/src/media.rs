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

/// A codec as the relay forwards it, one profile each (VP9 profile 0, AV1 profile 0; those of H.264 apart), as control's
/// SDP code tells them apart, so that a codec of one participant is the same codec of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// RFC 7587, 48 kHz.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
    /// RFC 6184, Constrained Baseline and Baseline.
    H264,
    H264Main,
    H264Extended,
    /// High and Constrained High.
    H264High,
    /// High 4:4:4 Predictive.
    H264High444,
    /// The AV1 RTP payload format of AOMedia.
    Av1,
}

impl Codec {
    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// Whether a decoder of this codec decodes what `sent` produces: its own, and of H.264 the profiles that are a part of
    /// its own (ITU-T H.264, annex A.2).
    pub fn decodes(self, sent: Self) -> bool {
        self == sent
            || match self {
                Self::H264Main | Self::H264Extended => sent == Self::H264,
                Self::H264High => matches!(sent, Self::H264 | Self::H264Main),
                Self::H264High444 => matches!(sent, Self::H264 | Self::H264Main | Self::H264High),
                Self::Opus | Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => false,
            }
    }

    /// Audio or video.
    pub fn media(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            _ => MediaKind::Video,
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

/// The hash of a DTLS certificate in DER (RFC 8122, section 5). On the wire its bytes alone: their number tells the hash
/// function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub enum Fingerprint {
    Sha256([u8; 32]),
    Sha384([u8; 48]),
    Sha512([u8; 64]),
}

impl Fingerprint {
    /// The bytes of the hash.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The hash function as SDP names it (RFC 8122, section 5).
    pub fn hash_function(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha-256",
            Self::Sha384(_) => "sha-384",
            Self::Sha512(_) => "sha-512",
        }
    }
}

impl TryFrom<&[u8]> for Fingerprint {
    type Error = FingerprintLength;

    fn try_from(bytes: &[u8]) -> Result<Self, FingerprintLength> {
        let sha256 = || bytes.try_into().map(Self::Sha256);
        let sha384 = || bytes.try_into().map(Self::Sha384);
        let sha512 = || bytes.try_into().map(Self::Sha512);
        sha256().or_else(|_| sha384()).or_else(|_| sha512()).map_err(|_| FingerprintLength)
    }
}

impl TryFrom<Vec<u8>> for Fingerprint {
    type Error = FingerprintLength;

    fn try_from(bytes: Vec<u8>) -> Result<Self, FingerprintLength> {
        Self::try_from(bytes.as_slice())
    }
}

impl From<Fingerprint> for Vec<u8> {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.bytes().to_vec()
    }
}

/// The hash has the length of no function that is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a fingerprint has 32, 48 or 64 bytes")]
pub struct FingerprintLength;

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

    #[test]
    fn a_fingerprint_is_its_bytes_on_the_wire() {
        // As the release before wrote it.
        let json = serde_json::to_string(&[7u8; 32]).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), Fingerprint::Sha256([7; 32]));
        for fingerprint in [Fingerprint::Sha256([1; 32]), Fingerprint::Sha384([2; 48]), Fingerprint::Sha512([3; 64])] {
            let json = serde_json::to_string(&fingerprint).unwrap();
            assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
        }
        assert!(serde_json::from_str::<Fingerprint>("[1,2,3]").is_err());
    }

    #[test]
    fn a_decoder_of_high_decodes_what_is_less() {
        assert!(Codec::H264High.decodes(Codec::H264) && Codec::H264High.decodes(Codec::H264Main));
        assert!(!Codec::H264.decodes(Codec::H264High) && !Codec::H264Main.decodes(Codec::H264Extended));
        assert!(Codec::Vp8.decodes(Codec::Vp8) && !Codec::Vp8.decodes(Codec::Vp9));
    }

    /// A relay may hold notes from a release that knew more extensions than this one.
    #[test]
    fn unknown_extensions_are_ignored() {
        let json = r#"{"mid":4,"video_orientation":13,"of_a_later_release":null}"#;
        let ids = serde_json::from_str(json).ok();
        assert_eq!(ids, Some(ExtensionIds { mid: Some(4), ..ExtensionIds::default() }));
    }
}
