//! MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489, sections 14.5 and 14.7).

use super::HEADER_LEN;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// Bytes of an HMAC-SHA1.
pub(super) const INTEGRITY_LEN: usize = 20;
/// Bytes of a FINGERPRINT.
pub(super) const FINGERPRINT_LEN: usize = 4;
/// RFC 8489, section 14.7: so that the CRC differs from that of other protocols on the same port.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A prepared key of MESSAGE-INTEGRITY: HMAC-SHA1 with its inner and outer states computed once.
#[derive(Clone, Debug)]
pub struct IntegrityKey {
    key: hmac::Key,
}

impl IntegrityKey {
    /// Short-term credentials (RFC 8489, section 9.1.1): the password's bytes. ICE's passwords are ASCII, so
    /// there is nothing to prepare.
    pub fn short_term(password: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password) }
    }

    /// The HMAC over `covered`, a message up to MESSAGE-INTEGRITY, as if the message ended with that attribute:
    /// the header's length says so, whatever follows.
    pub(super) fn sign(&self, covered: &[u8]) -> Option<[u8; INTEGRITY_LEN]> {
        let header = header_ending_after(covered, INTEGRITY_LEN)?;
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&header);
        context.update(covered.get(HEADER_LEN..)?);
        context.sign().as_ref().first_chunk().copied()
    }

    pub(super) fn verify(&self, covered: &[u8], value: &[u8]) -> bool {
        self.sign(covered).is_some_and(|expected| verify_slices_are_equal(&expected, value).is_ok())
    }
}

/// The header of `covered` with the length it has when one more attribute of `value_len` bytes ends the message.
fn header_ending_after(covered: &[u8], value_len: usize) -> Option<[u8; HEADER_LEN]> {
    let mut header = *covered.first_chunk::<HEADER_LEN>()?;
    let len = u16::try_from(covered.len() - HEADER_LEN + 4 + value_len).ok()?;
    header.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
    Some(header)
}

/// The outcome of looking for a valid MESSAGE-INTEGRITY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntegrityCheck {
    Absent,
    Valid,
    Wrong,
}

/// The outcome of looking for a valid FINGERPRINT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FingerprintCheck {
    Absent,
    Valid,
    /// Not the right value, or not the last attribute.
    Wrong,
}

/// The value of a FINGERPRINT that follows `covered` and ends the message.
pub(super) fn fingerprint(covered: &[u8]) -> Option<[u8; FINGERPRINT_LEN]> {
    let header = header_ending_after(covered, FINGERPRINT_LEN)?;
    let crc = crc32(crc32(!0, &header), covered.get(HEADER_LEN..)?);
    Some((!crc ^ FINGERPRINT_XOR).to_be_bytes())
}

/// CRC-32 of ISO 3309, not inverted at either end so that it can go on. Every datagram that looks like STUN is
/// summed up before anything else is believed of it, so a table of bytes it is.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const REFLECTED_POLYNOMIAL: u32 = 0xedb8_8320;
    static TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 != 0 { crc >> 1 ^ REFLECTED_POLYNOMIAL } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value that catalogues of CRCs give for CRC-32.
    #[test]
    fn crc_has_its_check_value() {
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
        assert_eq!(!crc32(crc32(!0, b"1234"), b"56789"), 0xcbf4_3926);
    }
}
