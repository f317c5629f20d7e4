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
pub use replay::{ReceiveStream, RtcpReplay};

/// Bytes of an SRTCP packet that are never encrypted: common header and sender (RFC 3711, section 3.4).
const RTCP_HEADER_LEN: usize = 8;
/// Bytes of the word of E bit and index.
const RTCP_INDEX_LEN: usize = 4;
/// The E bit of that word: the packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// A protection profile (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// SRTP_AES128_CM_HMAC_SHA1_80, every WebRTC endpoint has it.
    Aes128CmSha1_80,
    /// SRTP_AEAD_AES_128_GCM, the fastest by far.
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM.
    AeadAes256Gcm,
}

impl Profile {
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
