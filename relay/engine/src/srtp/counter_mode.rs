//! AES_CM with HMAC-SHA1 (RFC 3711, sections 4.1.1 and 4.2.1).

use super::context::{OpenError, SealError};
use super::keys::{KeyError, SessionKey, SessionKeyPair};
use super::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

/// HMAC-SHA1-80.
pub(super) const TAG_LEN: usize = 10;

/// Expanded keys and prepared HMAC states of one direction.
#[derive(Debug)]
pub(super) struct CounterMode {
    rtp: CounterModeKey,
    rtcp: CounterModeKey,
}

impl CounterMode {
    pub(super) fn new(keys: &SessionKeyPair) -> Result<Self, KeyError> {
        Ok(Self { rtp: CounterModeKey::new(&keys.rtp)?, rtcp: CounterModeKey::new(&keys.rtcp)? })
    }

    /// Seals `packet[..plain_len]`; the tag goes behind it.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        plain_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SealError> {
        let packet = packet.get_mut(..plain_len.saturating_add(TAG_LEN)).ok_or(SealError::Room)?;
        let (plain, tag_place) = packet.split_at_mut(plain_len);
        let payload = plain.get_mut(header_len..).ok_or(SealError::Room)?;
        self.rtp.apply_key_stream(payload, ssrc, index).ok_or(SealError::Room)?;
        tag_place.copy_from_slice(&self.rtp.tag(plain, &rollover_bytes(index)));
        Ok(plain_len + TAG_LEN)
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, OpenError> {
        let plain_len = packet.len().checked_sub(TAG_LEN).ok_or(OpenError::Truncated)?;
        let (sealed, tag) = packet.split_at_mut(plain_len);
        if header_len > plain_len {
            return Err(OpenError::Truncated);
        }
        verify_slices_are_equal(tag, &self.rtp.tag(sealed, &rollover_bytes(index)))
            .map_err(|_| OpenError::Authentication)?;
        let payload = sealed.get_mut(header_len..).ok_or(OpenError::Truncated)?;
        self.rtp.apply_key_stream(payload, ssrc, index).ok_or(OpenError::Truncated)?;
        Ok(plain_len)
    }

    /// RFC 3711, section 3.4: header, cipher text, the word of E bit and index, then the tag over all of it.
    pub(super) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        plain_len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SealError> {
        let covered_len = plain_len.saturating_add(RTCP_INDEX_LEN);
        let packet = packet.get_mut(..covered_len.saturating_add(TAG_LEN)).ok_or(SealError::Room)?;
        let (covered, tag_place) = packet.split_at_mut(covered_len);
        let (plain, word) = covered.split_at_mut(plain_len);
        let payload = plain.get_mut(RTCP_HEADER_LEN..).ok_or(SealError::Room)?;
        self.rtcp.apply_key_stream(payload, ssrc, u64::from(index)).ok_or(SealError::Room)?;
        word.copy_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        tag_place.copy_from_slice(&self.rtcp.tag(covered, &[]));
        Ok(covered_len + TAG_LEN)
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index_word: u32) -> Result<usize, OpenError> {
        let covered_len = packet.len().checked_sub(TAG_LEN).ok_or(OpenError::Truncated)?;
        let plain_len = covered_len.checked_sub(RTCP_INDEX_LEN).ok_or(OpenError::Truncated)?;
        let (covered, tag) = packet.split_at_mut(covered_len);
        let payload = covered.get(RTCP_HEADER_LEN..plain_len).ok_or(OpenError::Truncated)?.len();
        verify_slices_are_equal(tag, &self.rtcp.tag(covered, &[])).map_err(|_| OpenError::Authentication)?;
        if index_word & RTCP_ENCRYPTED != 0 {
            let index = u64::from(index_word & !RTCP_ENCRYPTED);
            let payload = covered.get_mut(RTCP_HEADER_LEN..RTCP_HEADER_LEN + payload).ok_or(OpenError::Truncated)?;
            self.rtcp.apply_key_stream(payload, ssrc, index).ok_or(OpenError::Truncated)?;
        }
        Ok(plain_len)
    }

    /// The index word of an SRTCP packet: before the tag.
    pub(super) fn rtcp_index_word(packet: &[u8]) -> Option<u32> {
        let covered = packet.get(..packet.len().checked_sub(TAG_LEN)?)?;
        covered.last_chunk().map(|&word| u32::from_be_bytes(word))
    }
}

/// The rollover counter, which the tag of an RTP packet covers though it is not sent.
fn rollover_bytes(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[derive(Debug)]
struct CounterModeKey {
    cipher: EncryptingKey,
    /// The inner and outer states after the key: cloned for each packet, never computed again.
    auth: hmac::Key,
    salt: [u8; 14],
}

impl CounterModeKey {
    fn new(session: &SessionKey) -> Result<Self, KeyError> {
        Ok(Self {
            cipher: EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, session.key())?)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &session.auth),
            salt: session.salt,
        })
    }

    /// RFC 3711, section 4.1.1: encrypts and decrypts. The counter block is the salt, with SSRC and packet index
    /// mixed in, and sixteen bits that count blocks.
    fn apply_key_stream(&self, payload: &mut [u8], ssrc: u32, index: u64) -> Option<()> {
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = self.salt;
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        let counter =
            [s0, s1, s2, s3, s4 ^ a, s5 ^ b, s6 ^ c, s7 ^ d, s8 ^ e, s9 ^ f, s10 ^ g, s11 ^ h, s12 ^ i, s13 ^ j, 0, 0];
        self.cipher.less_safe_encrypt(payload, EncryptionContext::Iv128(FixedLength::from(counter))).ok()?;
        Some(())
    }

    fn tag(&self, covered: &[u8], suffix: &[u8]) -> [u8; TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(covered);
        context.update(suffix);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}
