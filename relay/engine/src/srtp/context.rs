//! Sealing and opening packets.

use super::counter_mode::{self, CounterMode};
use super::gcm::{self, Gcm};
use super::keys::{KeyError, SessionKeyPair};
use super::replay::{ReceiveStream, RtcpReplay};
use super::{Profile, RTCP_ENCRYPTED, RTCP_INDEX_LEN};
use crate::rtp::FIXED_HEADER_LEN;
use plausch_relay_api::limits::DATAGRAM_BYTES;

/// Bytes that SRTP adds to an RTP packet at the most (the GCM tag).
pub const MAX_RTP_OVERHEAD: usize = gcm::TAG_LEN;
/// Bytes that SRTCP adds at the most: the GCM tag and the index word.
pub const MAX_RTCP_OVERHEAD: usize = gcm::TAG_LEN + RTCP_INDEX_LEN;

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
    cipher: Cipher,
}

impl Inbound {
    /// Derives and expands the session keys.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { cipher: Cipher::new(profile, &SessionKeyPair::derive(profile, master_key, master_salt)?)? })
    }

    /// Authenticates and decrypts in place. `header_len` is that of [`crate::rtp::RtpHeader`]. `stream` belongs
    /// to the packet's SSRC; for an SSRC never seen a fresh one can be handed in and kept only if this succeeds. A failure
    /// changes nothing but the count of them: after some in a row further indexes are tried, five for a packet at most. After an error the packet's bytes are of no use.
    pub fn open_rtp(
        &self,
        stream: &mut ReceiveStream,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<OpenedRtp, OpenError> {
        let (sequence, ssrc) = stream_position(packet, header_len).ok_or(OpenError::Truncated)?;
        let opened = match stream.is_in_doubt() {
            false => match stream.candidates(sequence).next() {
                Some(index) => self.open_rtp_at(packet, header_len, ssrc, index),
                None => Err(OpenError::Replayed),
            },
            true => self.search_rtp(stream, packet, header_len, (sequence, ssrc)),
        };
        match opened {
            Ok(opened) => stream.accept(opened.index),
            Err(_) => stream.note_failure(),
        }
        opened
    }

    /// Tries one index after the other, each on the packet as it came.
    fn search_rtp(
        &self,
        stream: &ReceiveStream,
        packet: &mut [u8],
        header_len: usize,
        (sequence, ssrc): (u16, u32),
    ) -> Result<OpenedRtp, OpenError> {
        let mut kept = [0; DATAGRAM_BYTES];
        let Some(kept) = kept.get_mut(..packet.len()) else { return Err(OpenError::Authentication) };
        kept.copy_from_slice(packet);
        let likeliest = stream.estimate_index(sequence);
        let mut error = OpenError::Replayed;
        for index in stream.candidates(sequence) {
            packet.copy_from_slice(kept);
            let opened = self.open_rtp_at(packet, header_len, ssrc, index);
            if opened.is_ok() {
                return opened;
            }
            // What is most likely a late copy is none the less for having failed as something else.
            if Some(index) == likeliest {
                error = OpenError::Authentication;
            }
        }
        Err(error)
    }

    fn open_rtp_at(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Result<OpenedRtp, OpenError> {
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => gcm.open_rtp(packet, header_len, ssrc, index)?,
            Cipher::CounterMode(cm) => cm.open_rtp(packet, header_len, ssrc, index)?,
        };
        Ok(OpenedRtp { len, index })
    }

    /// Authenticates and decrypts a compound packet in place; returns its plain length. `replay` belongs to the
    /// SSRC of the first packet's sender ([`rtcp_sender`]) and only changes on success. After an error the
    /// packet's bytes are of no use.
    pub fn open_rtcp(&self, replay: &mut RtcpReplay, packet: &mut [u8]) -> Result<usize, OpenError> {
        let ssrc = rtcp_sender(packet).ok_or(OpenError::Truncated)?;
        let index_word = match &self.cipher {
            Cipher::Gcm(_) => packet.last_chunk().map(|&word| u32::from_be_bytes(word)),
            Cipher::CounterMode(_) => CounterMode::rtcp_index_word(packet),
        };
        let index_word = index_word.ok_or(OpenError::Truncated)?;
        let index = index_word & !RTCP_ENCRYPTED;
        if !replay.is_fresh(index) {
            return Err(OpenError::Replayed);
        }
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => gcm.open_rtcp(packet, ssrc, index_word)?,
            Cipher::CounterMode(cm) => cm.open_rtcp(packet, ssrc, index_word)?,
        };
        replay.accept(index);
        Ok(len)
    }
}

/// The sender's SSRC of an SRTCP packet, which is not encrypted.
pub fn rtcp_sender(packet: &[u8]) -> Option<u32> {
    packet.get(4..).and_then(|rest| rest.first_chunk()).map(|&bytes| u32::from_be_bytes(bytes))
}

/// Our keys for what we send to one participant.
#[derive(Debug)]
pub struct Outbound {
    cipher: Cipher,
    /// Next SRTCP index. One counter for all of our SSRCs: each sees it rise, which is what receivers ask for.
    rtcp_index: u32,
}

impl Outbound {
    /// Derives and expands the session keys.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        let keys = SessionKeyPair::derive(profile, master_key, master_salt)?;
        Ok(Self { cipher: Cipher::new(profile, &keys)?, rtcp_index: 0 })
    }

    /// Bytes that [`Self::seal_rtp`] appends.
    pub fn rtp_overhead(&self) -> usize {
        match self.cipher {
            Cipher::Gcm(_) => gcm::TAG_LEN,
            Cipher::CounterMode(_) => counter_mode::TAG_LEN,
        }
    }

    /// Bytes that [`Self::seal_rtcp`] appends.
    pub fn rtcp_overhead(&self) -> usize {
        self.rtp_overhead() + RTCP_INDEX_LEN
    }

    /// Seals the plain packet `packet[..plain_len]` in place and appends the tag; returns the sealed length.
    /// `rollover` counts how often the stream's sequence number wrapped.
    ///
    /// One SSRC, rollover counter and sequence number may be sealed again only with the same bytes: other bytes
    /// would repeat a nonce, which gives the keys away.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        plain_len: usize,
        rollover: u32,
    ) -> Result<usize, SealError> {
        let (sequence, ssrc) = stream_position(packet, header_len).ok_or(SealError::Room)?;
        let index = u64::from(rollover) << 16 | u64::from(sequence);
        match &self.cipher {
            Cipher::Gcm(gcm) => gcm.seal_rtp(packet, header_len, plain_len, ssrc, index),
            Cipher::CounterMode(cm) => cm.seal_rtp(packet, header_len, plain_len, ssrc, index),
        }
    }

    /// Seals the compound packet `packet[..plain_len]` in place, appends tag and index; returns the sealed length.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        let ssrc = packet.get(..plain_len).and_then(rtcp_sender).ok_or(SealError::Room)?;
        let index = self.rtcp_index;
        // RFC 3711, section 9.2: never more than 2^31 packets with one key.
        if index & RTCP_ENCRYPTED != 0 {
            return Err(SealError::Exhausted);
        }
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => gcm.seal_rtcp(packet, plain_len, ssrc, index)?,
            Cipher::CounterMode(cm) => cm.seal_rtcp(packet, plain_len, ssrc, index)?,
        };
        self.rtcp_index = index + 1;
        Ok(len)
    }
}

/// Expanded keys. Those of AES-CM are two kilobytes, so they lie elsewhere.
#[derive(Debug)]
enum Cipher {
    Gcm(Gcm),
    CounterMode(Box<CounterMode>),
}

impl Cipher {
    fn new(profile: Profile, keys: &SessionKeyPair) -> Result<Self, KeyError> {
        Ok(match profile {
            Profile::Aes128CmSha1_80 => Self::CounterMode(Box::new(CounterMode::new(keys)?)),
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Self::Gcm(Gcm::new(keys)?),
        })
    }
}

/// Sequence number and SSRC of an RTP packet whose header has `header_len` bytes.
fn stream_position(packet: &[u8], header_len: usize) -> Option<(u16, u32)> {
    let [_, _, s0, s1, _, _, _, _, c0, c1, c2, c3] = *packet.first_chunk::<FIXED_HEADER_LEN>()?;
    (header_len >= FIXED_HEADER_LEN).then(|| (u16::from_be_bytes([s0, s1]), u32::from_be_bytes([c0, c1, c2, c3])))
}

#[cfg(test)]
impl Inbound {
    pub(super) fn from_session_keys(profile: Profile, keys: &SessionKeyPair) -> Self {
        Self { cipher: Cipher::new(profile, keys).unwrap() }
    }
}

#[cfg(test)]
impl Outbound {
    pub(super) fn from_session_keys(profile: Profile, keys: &SessionKeyPair, rtcp_index: u32) -> Self {
        Self { cipher: Cipher::new(profile, keys).unwrap(), rtcp_index }
    }
}
