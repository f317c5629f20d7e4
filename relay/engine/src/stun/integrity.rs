//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489, sections 14.5 to 14.7).

use super::HEADER_LEN;
use super::attribute::AttributeType;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// Bytes of an HMAC-SHA256, the longer one.
pub(super) const MAX_INTEGRITY_LEN: usize = 32;
/// Bytes of a FINGERPRINT.
pub(super) const FINGERPRINT_LEN: usize = 4;
/// RFC 8489, section 14.7: so that the CRC differs from that of other protocols on the same port.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Which of the two attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntegrityKind {
    /// MESSAGE-INTEGRITY, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256. Shorter values than all 32 bytes are for usages that say so; none of ours does.
    Sha256,
}

impl IntegrityKind {
    pub(super) const fn attribute(self) -> AttributeType {
        match self {
            Self::Sha1 => AttributeType::MESSAGE_INTEGRITY,
            Self::Sha256 => AttributeType::MESSAGE_INTEGRITY_SHA256,
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A prepared key: the HMAC with its inner and outer states computed once.
#[derive(Clone, Debug)]
pub struct IntegrityKey {
    key: hmac::Key,
    kind: IntegrityKind,
}

/// An HMAC: its first `len` bytes.
pub(super) struct Integrity {
    bytes: [u8; MAX_INTEGRITY_LEN],
    len: usize,
}

impl Integrity {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl IntegrityKey {
    /// A key of any length for this attribute.
    pub fn new(kind: IntegrityKind, key: &[u8]) -> Self {
        let algorithm = match kind {
            IntegrityKind::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            IntegrityKind::Sha256 => hmac::HMAC_SHA256,
        };
        Self { key: hmac::Key::new(algorithm, key), kind }
    }

    /// Short-term credentials (RFC 8489, section 9.1.1) with HMAC-SHA1: the password's bytes. ICE's passwords are ASCII,
    /// so there is nothing to prepare.
    pub fn short_term(password: &[u8]) -> Self {
        Self::new(IntegrityKind::Sha1, password)
    }

    /// The attribute that it makes and checks.
    pub fn kind(&self) -> IntegrityKind {
        self.kind
    }

    /// The HMAC over `covered`, a message up to the attribute, as if the message ended with that: the header's length
    /// says so, whatever follows.
    pub(super) fn sign(&self, covered: &[u8]) -> Option<Integrity> {
        let len = self.kind.len();
        let header = header_ending_after(covered, len)?;
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&header);
        context.update(covered.get(HEADER_LEN..)?);
        let mut bytes = [0; MAX_INTEGRITY_LEN];
        bytes.get_mut(..len)?.copy_from_slice(context.sign().as_ref());
        Some(Integrity { bytes, len })
    }

    pub(super) fn verify(&self, covered: &[u8], value: &[u8]) -> bool {
        self.sign(covered).is_some_and(|expected| verify_slices_are_equal(expected.as_slice(), value).is_ok())
    }
}

/// The header of `covered` with the length it has when one more attribute of `value_len` bytes ends the message.
fn header_ending_after(covered: &[u8], value_len: usize) -> Option<[u8; HEADER_LEN]> {
    let mut header = *covered.first_chunk::<HEADER_LEN>()?;
    let len = u16::try_from(covered.len() - HEADER_LEN + 4 + value_len).ok()?;
    header.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
    Some(header)
}

/// The outcome of looking for a valid MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256.
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
