//! Session descriptions, both ways. SDP ends here: the relay learns what was negotiated as plain data.
//!
//! [`RemoteOffer::read`] takes a browser's offer apart, [`RemoteOffer::answer`] writes the answer to it.

mod answer;
mod bare;
mod extension;
mod fragment;
mod offer;
mod parse;

pub use answer::LocalSide;
pub use bare::Purpose;
pub use fragment::{IceFragment, LocalFragment};
pub use offer::RemoteOffer;

use plausch_relay_api::Codec;

/// What the operator decides about codecs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecPolicy {
    /// Video codecs that are accepted, most preferred first: browsers send with the first that they know.
    pub video: Vec<Codec>,
    /// Ask browsers to send almost nothing while nobody speaks (`usedtx`, RFC 7587, section 6.1).
    pub opus_dtx: bool,
}

/// Why an offer cannot be used. The texts go to logs, so they quote nothing of the offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    #[error("the SDP does not begin with v=0")]
    Version,
    #[error("the SDP has too many lines")]
    Lines,
    #[error("a line of the SDP is too long")]
    LineLength,
    #[error("a line of the SDP is malformed")]
    Malformed,
    #[error("the SDP has too many m-lines")]
    MediaLines,
    #[error("two m-lines have the same MID")]
    DuplicateMid,
    #[error("a MID that the offer names is not in the SDP")]
    UnknownMid,
    #[error("a MID is named twice")]
    MidTwice,
    #[error("an m-line is of another kind than the offer says")]
    Kind,
    #[error("an m-line is not in the BUNDLE group")]
    Bundle,
    #[error("an m-line does not offer rtcp-mux")]
    RtcpMux,
    #[error("an m-line is not DTLS-SRTP over UDP")]
    Protocol,
    #[error("a slot does not offer to receive")]
    Direction,
    #[error("no common codec")]
    Codec,
    #[error("no ICE user fragment and password")]
    Ice,
    #[error("no SHA-256 fingerprint")]
    Fingerprint,
    #[error("the browser must offer to be the DTLS client")]
    Setup,
    #[error("too many slots")]
    Slots,
    #[error("an m-line has no MID")]
    NoMid,
    #[error("a publisher must send one audio track, or one video track, or one of each")]
    Published,
    #[error("a viewer must receive one audio track and one video track, and send none")]
    Watched,
}

impl SdpError {
    /// It is not SDP as WebRTC knows it, rather than something that is not served.
    pub fn is_malformed(self) -> bool {
        match self {
            Self::Version
            | Self::Lines
            | Self::LineLength
            | Self::Malformed
            | Self::MediaLines
            | Self::DuplicateMid
            | Self::UnknownMid
            | Self::MidTwice
            | Self::NoMid
            | Self::Ice => true,
            Self::Kind
            | Self::Bundle
            | Self::RtcpMux
            | Self::Protocol
            | Self::Direction
            | Self::Codec
            | Self::Fingerprint
            | Self::Setup
            | Self::Slots
            | Self::Published
            | Self::Watched => false,
        }
    }
}

#[cfg(test)]
mod tests;
