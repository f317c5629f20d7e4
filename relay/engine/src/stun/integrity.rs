//! MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489, sections 14.5 and 14.7).

use aws_lc_rs::hmac;

/// A prepared key of MESSAGE-INTEGRITY: HMAC-SHA1 with its inner and outer states computed once.
#[derive(Clone, Debug)]
pub struct IntegrityKey {
    key: hmac::Key,
}

impl IntegrityKey {
    /// Short-term credentials (RFC 8489, section 9.1.1): the password's bytes. ICE's are ASCII, so no preparation is needed.
    pub fn short_term(password: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password) }
    }

    pub(super) fn key(&self) -> &hmac::Key {
        &self.key
    }
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
    Wrong,
}
