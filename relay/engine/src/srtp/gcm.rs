//! AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714).

use super::context::{OpenError, SealError};
use super::keys::{KeyError, SessionKey, SessionKeyPair};
use super::{RTCP_ENCRYPTED, RTCP_HEADER_LEN, RTCP_INDEX_LEN};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// RFC 7714, section 5: SRTP uses GCM's full tag only.
pub(super) const TAG_LEN: usize = 16;
const NONCE_LEN: usize = 12;

/// Expanded keys of one direction.
#[derive(Debug)]
pub(super) struct Gcm {
    rtp: GcmKey,
    rtcp: GcmKey,
}

impl Gcm {
    pub(super) fn new(keys: &SessionKeyPair) -> Result<Self, KeyError> {
        Ok(Self { rtp: GcmKey::new(&keys.rtp)?, rtcp: GcmKey::new(&keys.rtcp)? })
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
        let (plain, tag) = packet.split_at_mut(plain_len);
        let (header, payload) = plain.split_at_mut_checked(header_len).ok_or(SealError::Room)?;
        let nonce = self.rtp.rtp_nonce(ssrc, index);
        self.rtp.seal(nonce, header, payload, tag)?;
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
        let (header, payload) = sealed.split_at_mut_checked(header_len).ok_or(OpenError::Truncated)?;
        let nonce = self.rtp.rtp_nonce(ssrc, index);
        self.rtp.open(nonce, header, payload, tag)?;
        Ok(plain_len)
    }

    /// RFC 7714, section 9: header, cipher text, tag, then the word of E bit and index, which the tag covers.
    pub(super) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        plain_len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<usize, SealError> {
        let sealed_len = plain_len.saturating_add(TAG_LEN + RTCP_INDEX_LEN);
        let packet = packet.get_mut(..sealed_len).ok_or(SealError::Room)?;
        let (plain, trailer) = packet.split_at_mut(plain_len);
        let (tag, word) = trailer.split_at_mut(TAG_LEN);
        let (header, payload) = plain.split_first_chunk_mut::<RTCP_HEADER_LEN>().ok_or(SealError::Room)?;
        let index_word = (RTCP_ENCRYPTED | index).to_be_bytes();
        self.rtcp.seal(self.rtcp.rtcp_nonce(ssrc, index), &rtcp_aad(header, index_word), payload, tag)?;
        word.copy_from_slice(&index_word);
        Ok(sealed_len)
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index_word: u32) -> Result<usize, OpenError> {
        let plain_len = packet
            .len()
            .checked_sub(TAG_LEN + RTCP_INDEX_LEN)
            .filter(|&len| len >= RTCP_HEADER_LEN)
            .ok_or(OpenError::Truncated)?;
        let index = index_word & !RTCP_ENCRYPTED;
        let nonce = self.rtcp.rtcp_nonce(ssrc, index);
        let index_word_bytes = index_word.to_be_bytes();
        if index_word & RTCP_ENCRYPTED != 0 {
            let (sealed, trailer) = packet.split_at_mut(plain_len);
            let (header, payload) = sealed.split_first_chunk_mut::<RTCP_HEADER_LEN>().ok_or(OpenError::Truncated)?;
            let tag = trailer.get(..TAG_LEN).ok_or(OpenError::Truncated)?;
            self.rtcp.open(nonce, &rtcp_aad(header, index_word_bytes), payload, tag)?;
        } else {
            // Section 9.3: not encrypted, only authenticated. Packet and index are one run of associated data,
            // so the tag, which stands between them, makes room.
            let (plain, trailer) = packet.split_at_mut(plain_len);
            let (tag, _) = trailer.split_first_chunk_mut::<TAG_LEN>().ok_or(OpenError::Truncated)?;
            let tag_copy = *tag;
            tag.first_chunk_mut().map(|place| *place = index_word_bytes).ok_or(OpenError::Truncated)?;
            let covered_len = plain.len() + RTCP_INDEX_LEN;
            let covered = packet.get(..covered_len).ok_or(OpenError::Truncated)?;
            self.rtcp.open(nonce, covered, &mut [], &tag_copy)?;
        }
        Ok(plain_len)
    }
}

/// RFC 7714, section 9.2: the first eight bytes and the word of E bit and index.
fn rtcp_aad(
    header: &[u8; RTCP_HEADER_LEN],
    index_word: [u8; RTCP_INDEX_LEN],
) -> [u8; RTCP_HEADER_LEN + RTCP_INDEX_LEN] {
    let [h0, h1, h2, h3, h4, h5, h6, h7] = *header;
    let [w0, w1, w2, w3] = index_word;
    [h0, h1, h2, h3, h4, h5, h6, h7, w0, w1, w2, w3]
}

#[derive(Debug)]
struct GcmKey {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl GcmKey {
    fn new(session: &SessionKey) -> Result<Self, KeyError> {
        let algorithm = if session.key().len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let salt = *session.salt.first_chunk().ok_or(KeyError)?;
        Ok(Self { key: LessSafeKey::new(UnboundKey::new(algorithm, session.key())?), salt })
    }

    /// RFC 7714, section 8.1: two zero bytes, SSRC, rollover counter and sequence number, masked with the salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        self.masked([0, 0, a, b, c, d, e, f, g, h, i, j])
    }

    /// RFC 7714, section 9.1: two zero bytes, SSRC, two zero bytes and the index, masked with the salt.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [e, f, g, h] = index.to_be_bytes();
        self.masked([0, 0, a, b, c, d, 0, 0, e, f, g, h])
    }

    fn masked(&self, mut nonce: [u8; NONCE_LEN]) -> Nonce {
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(nonce)
    }

    /// `tag` has [`TAG_LEN`] bytes.
    fn seal(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &mut [u8]) -> Result<(), SealError> {
        let sealed =
            self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload).map_err(|_| SealError::Room)?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(())
    }

    fn open(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &[u8]) -> Result<(), OpenError> {
        self.key
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, payload)
            .map(|_| ())
            .map_err(|_| OpenError::Authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody sends this, so the packet is made here: authenticated, not encrypted.
    #[test]
    fn rtcp_without_encryption_is_authenticated() {
        let pair = SessionKeyPair {
            rtp: SessionKey::from_parts(&[1; 16], &[2; 12], &[0; 20]),
            rtcp: SessionKey::from_parts(&[3; 16], &[4; 12], &[0; 20]),
        };
        let gcm = Gcm::new(&pair).unwrap();
        let plain = [0x80, 201, 0, 1, 0, 0, 0, 9];
        let index_word = 77u32.to_be_bytes();
        let covered = [plain.as_slice(), &index_word].concat();
        let tag =
            gcm.rtcp.key.seal_in_place_separate_tag(gcm.rtcp.rtcp_nonce(9, 77), Aad::from(&covered), &mut []).unwrap();
        let sealed = [plain.as_slice(), tag.as_ref(), &index_word].concat();
        let mut opened = sealed.clone();
        assert_eq!(gcm.open_rtcp(&mut opened, 9, 77), Ok(plain.len()));
        assert_eq!(opened[..plain.len()], plain);
        for at in 0..plain.len() + TAG_LEN {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(gcm.open_rtcp(&mut forged, 9, 77), Err(OpenError::Authentication), "{at}");
        }
    }
}
