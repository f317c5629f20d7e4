//! Session descriptions, both ways. SDP ends here: the relay learns what was negotiated as plain data.
//!
//! [`RemoteOffer::read`] takes a browser's offer apart, [`RemoteOffer::answer`] writes the answer to it.

mod answer;
mod bare;
mod extension;
mod fragment;
mod h264;
mod offer;
mod parse;

pub use answer::LocalSide;
pub use bare::Purpose;
pub use fragment::{IceFragment, LocalFragment};
pub use offer::{RemoteOffer, SlotLines};

use plausch_relay_api::Codec;
use std::fmt;

/// What the operator decides about codecs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecPolicy {
    /// Video codecs that are accepted, most preferred first: browsers send with the first that they know.
    pub video: Vec<Codec>,
    /// Ask browsers to send almost nothing while nobody speaks (`usedtx`, RFC 7587, section 6.1).
    pub opus_dtx: bool,
}

/// Why an offer cannot be used, and where in it.
///
/// `Display` is for whoever sent the offer: it names the line, quotes it and says what to change. Logs take
/// [`SdpError::reason`], which quotes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SdpError {
    reason: SdpReason,
    place: Option<Place>,
}

/// A line of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Counted from 1.
    number: u32,
    excerpt: Excerpt,
}

/// The beginning of a line, short enough to be copied with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Excerpt {
    bytes: [u8; EXCERPT_BYTES],
    len: u8,
}

/// Enough for an `a=rtpmap` or `a=fmtp` to be recognised.
const EXCERPT_BYTES: usize = 60;

/// The rule that an offer breaks. The texts say what to change and quote nothing of the offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpReason {
    #[error("an SDP begins with v=0")]
    Version,
    #[error("the SDP has more lines than are read")]
    Lines,
    #[error("the line is longer than is read")]
    LineLength,
    #[error("a line is a lower-case letter, `=` and a value without NUL, as RFC 8866 has it")]
    Malformed,
    #[error("the SDP has more m-lines than are served")]
    MediaLines,
    #[error("two m-lines have this MID; each needs its own")]
    DuplicateMid,
    #[error("a MID that the offer names is not in the SDP")]
    UnknownMid,
    #[error("a MID is named twice")]
    MidTwice,
    #[error("the m-line is of another kind than the offer says")]
    Kind,
    #[error("the m-line is not in the BUNDLE group; name all MIDs in one a=group:BUNDLE")]
    Bundle,
    #[error("the m-line does not offer rtcp-mux; add a=rtcp-mux")]
    RtcpMux,
    #[error("media is DTLS-SRTP here; offer UDP/TLS/RTP/SAVPF")]
    Protocol,
    #[error("a slot has to offer to receive; say a=recvonly")]
    Direction,
    #[error(
        "none of its codecs is served; send opus, or VP8, VP9 (profile 0), AV1 (profile 0) or \
         H.264 (packetization-mode 0 or 1, up to profile High or High 4:4:4), as far as the operator allows"
    )]
    Codec,
    #[error("an ICE user fragment (4 to 256 characters) and password (22 to 256) are needed")]
    Ice,
    #[error("both sides would be ICE lite; offer full ICE, without a=ice-lite")]
    BothLite,
    #[error("a certificate fingerprint is needed, by sha-256, sha-384 or sha-512")]
    Fingerprint,
    #[error("DTLS needs a=setup:actpass, active or passive")]
    Setup,
    #[error("the header extension number belongs to another extension in this BUNDLE group; give each its own")]
    ExtensionConflict,
    #[error("the offer has more slots than are served")]
    Slots,
    #[error("the m-line has no MID; add a=mid")]
    NoMid,
    #[error("a publisher sends one audio track, or one video track, or one of each")]
    Published,
    #[error("a viewer receives at least one audio or video track, and sends none")]
    Watched,
}

impl SdpReason {
    /// The error of a line, counted from 1.
    fn at(self, number: u32, line: &str) -> SdpError {
        self.at_place(Place::new(number, line))
    }

    fn at_place(self, place: Place) -> SdpError {
        SdpError { reason: self, place: Some(place) }
    }
}

impl From<SdpReason> for SdpError {
    fn from(reason: SdpReason) -> Self {
        Self { reason, place: None }
    }
}

impl Place {
    fn new(number: u32, line: &str) -> Self {
        let mut len = line.len().min(EXCERPT_BYTES);
        while !line.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; EXCERPT_BYTES];
        bytes[..len].copy_from_slice(&line.as_bytes()[..len]);
        Self { number, excerpt: Excerpt { bytes, len: len as u8 } }
    }
}

impl SdpError {
    /// The rule that is broken.
    pub fn reason(self) -> SdpReason {
        self.reason
    }

    /// Whether this is not SDP as WebRTC knows it, rather than something that is not served.
    pub fn is_malformed(self) -> bool {
        match self.reason {
            SdpReason::Version
            | SdpReason::Lines
            | SdpReason::LineLength
            | SdpReason::Malformed
            | SdpReason::MediaLines
            | SdpReason::DuplicateMid
            | SdpReason::UnknownMid
            | SdpReason::MidTwice
            | SdpReason::NoMid
            | SdpReason::Ice => true,
            SdpReason::Kind
            | SdpReason::Bundle
            | SdpReason::RtcpMux
            | SdpReason::Protocol
            | SdpReason::Direction
            | SdpReason::Codec
            | SdpReason::BothLite
            | SdpReason::Fingerprint
            | SdpReason::Setup
            | SdpReason::ExtensionConflict
            | SdpReason::Slots
            | SdpReason::Published
            | SdpReason::Watched => false,
        }
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { number, excerpt }) = &self.place {
            let text = String::from_utf8_lossy(&excerpt.bytes[..usize::from(excerpt.len)]);
            // Control characters of the offer must not reach whoever reads the answer in a terminal.
            let text: String =
                text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
            write!(f, "line {number} (`{text}`): ")?;
        }
        fmt::Display::fmt(&self.reason, f)
    }
}

/// Without the quoted line, which may hold an ICE password.
impl fmt::Debug for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.place.map(|place| place.number);
        f.debug_struct("SdpError").field("reason", &self.reason).field("line", &line).finish()
    }
}

impl std::error::Error for SdpError {}

#[cfg(test)]
mod tests;
