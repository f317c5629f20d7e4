//! Sealing and opening packets.

use super::Profile;
use super::replay::{ReceiveStream, RtcpReplay};

/// Bytes that SRTP adds to an RTP packet at the most (the GCM tag).
pub const MAX_RTP_OVERHEAD: usize = 16;
/// Bytes that SRTCP adds at the most: the GCM tag and the index word.
pub const MAX_RTCP_OVERHEAD: usize = 20;

/// Why a packet was not opened. Each is a counted drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    #[error("shorter than header and tag")]
    Truncated,
    #[error("forged or damaged")]
    Authentication,
    #[error("seen before, or too old for the replay window")]
    Replayed,
}

/// Why a packet was not sealed: a mistake of the caller, or a key that is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("no room for the tag, or a header longer than the packet")]
    Room,
    #[error("2^31 RTCP packets were sealed with this key")]
    Exhausted,
}

/// Keys or salts do not have the profile's lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("key or salt has the wrong length for the SRTP profile")]
pub struct KeyError;

/// An opened RTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenedRtp {
    /// Bytes of header and payload: the packet without its tag.
    pub len: usize,
    /// The packet index (RFC 3711, section 3.3.1): rollover counter × 2^16 + sequence number. Within one stream
    /// it is the extended sequence number.
    pub index: u64,
}

/// One participant's keys for what it sends to us. Immutable: per-stream state lies with the caller.
#[derive(Debug)]
pub struct Inbound {
    profile: Profile,
}

impl Inbound {
    /// Derives the session keys.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        let _ = (master_key, master_salt);
        Ok(Self { profile })
    }

    /// Authenticates and decrypts in place. `header_len` is that of [`crate::rtp::RtpHeader`]. `stream` belongs to the packet's SSRC and
    /// only changes on success, so for an SSRC never seen a fresh one can be handed in and kept only if this succeeds.
    pub fn open_rtp(
        &self,
        stream: &mut ReceiveStream,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<OpenedRtp, OpenError> {
        let _ = (self.profile, stream, packet, header_len);
        Err(OpenError::Truncated)
    }

    /// Authenticates and decrypts a compound packet in place; returns its plain length. `replay` belongs to the
    /// SSRC of the first packet's sender ([`rtcp_sender`]) and only changes on success.
    pub fn open_rtcp(&self, replay: &mut RtcpReplay, packet: &mut [u8]) -> Result<usize, OpenError> {
        let _ = (replay, packet);
        Err(OpenError::Truncated)
    }
}

/// The sender's SSRC of an SRTCP packet, which is not encrypted.
pub fn rtcp_sender(packet: &[u8]) -> Option<u32> {
    packet.get(4..).and_then(|rest| rest.first_chunk()).map(|&bytes| u32::from_be_bytes(bytes))
}

/// Our keys for what we send to one participant.
#[derive(Debug)]
pub struct Outbound {
    profile: Profile,
}

impl Outbound {
    /// Derives the session keys.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        let _ = (master_key, master_salt);
        Ok(Self { profile })
    }

    /// Bytes that [`Self::seal_rtp`] appends.
    pub fn rtp_overhead(&self) -> usize {
        0
    }

    /// Bytes that [`Self::seal_rtcp`] appends.
    pub fn rtcp_overhead(&self) -> usize {
        0
    }

    /// Seals the plain packet `packet[..plain_len]` in place and appends the tag; returns the sealed length. `rollover` counts
    /// how often the stream's sequence number wrapped.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        plain_len: usize,
        rollover: u32,
    ) -> Result<usize, SealError> {
        let _ = (self.profile, packet, header_len, plain_len, rollover);
        Err(SealError::Room)
    }

    /// Seals the compound packet `packet[..plain_len]` in place, appends tag and index; returns the sealed length.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        let _ = (packet, plain_len);
        Err(SealError::Room)
    }
}
