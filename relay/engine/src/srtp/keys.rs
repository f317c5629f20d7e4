//! Session keys from master keys (RFC 3711, section 4.3; RFC 7714, section 11).

use super::Profile;
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;

/// Bytes of the longest session key: AES-256.
const MAX_KEY_LEN: usize = 32;
/// Bytes of an AES-CM salt; GCM's twelve are its front.
const SALT_LEN: usize = 14;
/// RFC 3711, section 5.2: the session authentication key has 160 bits.
const AUTH_KEY_LEN: usize = 20;

/// Keys or salts do not have the profile's lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("key or salt has the wrong length for the SRTP profile")]
pub struct KeyError;

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// What one direction of one protocol, RTP or RTCP, is protected with.
pub(super) struct SessionKey {
    key: [u8; MAX_KEY_LEN],
    key_len: usize,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) auth: [u8; AUTH_KEY_LEN],
}

impl SessionKey {
    /// The cipher's key.
    pub(super) fn key(&self) -> &[u8] {
        self.key.get(..self.key_len).unwrap_or(&[])
    }

    /// Given session keys, as test vectors have them.
    #[cfg(test)]
    pub(super) fn from_parts(key: &[u8], salt: &[u8], auth: &[u8; AUTH_KEY_LEN]) -> Self {
        let mut session = Self { key: [0; MAX_KEY_LEN], key_len: key.len(), salt: [0; SALT_LEN], auth: *auth };
        session.key[..key.len()].copy_from_slice(key);
        session.salt[..salt.len()].copy_from_slice(salt);
        session
    }
}

/// The session keys of RTP and of RTCP.
pub(super) struct SessionKeyPair {
    pub(super) rtp: SessionKey,
    pub(super) rtcp: SessionKey,
}

impl SessionKeyPair {
    /// Derives them. The key derivation rate is zero, so this is done once (RFC 3711, section 4.3.1).
    pub(super) fn derive(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, KeyError> {
        if master_key.len() != profile.key_len() || master_salt.len() != profile.salt_len() {
            return Err(KeyError);
        }
        let mut salt = [0; SALT_LEN];
        // RFC 7714, section 11: GCM's shorter salt is filled up with zeros at its end.
        salt.get_mut(..master_salt.len()).ok_or(KeyError)?.copy_from_slice(master_salt);
        let algorithm = if master_key.len() == 32 { &AES_256 } else { &AES_128 };
        let prf = Prf { key: EncryptingKey::ctr(UnboundCipherKey::new(algorithm, master_key)?)?, salt };
        // RFC 3711, section 4.3.2: labels 0–2 are RTP's, 3–5 RTCP's.
        Ok(Self { rtp: prf.session_key(0, master_key.len())?, rtcp: prf.session_key(3, master_key.len())? })
    }
}

/// RFC 3711, section 4.3.3: AES in counter mode, keyed with the master key.
struct Prf {
    key: EncryptingKey,
    salt: [u8; SALT_LEN],
}

impl Prf {
    fn session_key(&self, first_label: u8, key_len: usize) -> Result<SessionKey, KeyError> {
        let mut session = SessionKey { key: [0; MAX_KEY_LEN], key_len, salt: [0; SALT_LEN], auth: [0; AUTH_KEY_LEN] };
        self.fill(first_label, session.key.get_mut(..key_len).ok_or(KeyError)?)?;
        self.fill(first_label + 1, &mut session.auth)?;
        self.fill(first_label + 2, &mut session.salt)?;
        Ok(session)
    }

    /// Fills `out`, which is all zeros, with the key stream of `label`.
    fn fill(&self, label: u8, out: &mut [u8]) -> Result<(), KeyError> {
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = self.salt;
        // The label stands before the 48 bits of the index, which is zero.
        let iv = [s0, s1, s2, s3, s4, s5, s6, s7 ^ label, s8, s9, s10, s11, s12, s13, 0, 0];
        self.key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::vector_tests::unhex;

    /// RFC 3711, appendix B.3.
    #[test]
    fn key_derivation_matches_the_rfc() {
        let master_key = unhex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let master_salt = unhex("0EC675AD498AFEEBB6960B3AABE6");
        let SessionKeyPair { rtp, .. } =
            SessionKeyPair::derive(Profile::Aes128CmSha1_80, &master_key, &master_salt).unwrap();
        assert_eq!(rtp.key(), unhex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(rtp.salt.as_slice(), unhex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(rtp.auth.as_slice(), unhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm] {
            for key_len in 0..40 {
                for salt_len in 0..20 {
                    let derived = SessionKeyPair::derive(profile, &vec![1; key_len], &vec![2; salt_len]);
                    let right = key_len == profile.key_len() && salt_len == profile.salt_len();
                    assert_eq!(derived.is_ok(), right, "{profile:?} {key_len} {salt_len}");
                }
            }
        }
    }
}
