//! SRTP and SRTCP (RFC 3711, RFC 7714).

mod context;
mod counter_mode;
mod gcm;
mod keys;
#[cfg(test)]
mod oracle_tests;
mod replay;
#[cfg(test)]
mod vector_tests;

pub use context::{
    Inbound, MAX_RTCP_OVERHEAD, MAX_RTP_OVERHEAD, OpenError, OpenedRtp, Outbound, SealError, rtcp_sender,
};
pub use keys::KeyError;
pub use plausch_relay_api::SrtpProfile as Profile;
pub use replay::{ReceiveStream, RtcpReplay};

/// Bytes of an SRTCP packet that are never encrypted: common header and sender (RFC 3711, section 3.4).
const RTCP_HEADER_LEN: usize = 8;
/// Bytes of the word of E bit and index.
const RTCP_INDEX_LEN: usize = 4;
/// The E bit of that word: the packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;
