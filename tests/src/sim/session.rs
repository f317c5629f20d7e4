//! SRTP of a simulated browser, by the published `webrtc-srtp`: independent of the engine's own.

use crate::random::Random;
use bytes::Bytes;
use plausch_engine::SessionKeys;
use plausch_engine::srtp::Profile;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// Keys as a DTLS handshake would leave them on both sides.
pub fn random_keys(random: &mut Random, profile: Profile) -> SessionKeys {
    SessionKeys {
        profile,
        remote_key: random.bytes(profile.key_len()),
        local_key: random.bytes(profile.key_len()),
        remote_salt: random.bytes(profile.salt_len()),
        local_salt: random.bytes(profile.salt_len()),
    }
}

/// The browser's ends of both directions.
pub struct Session {
    seal: Context,
    open: Context,
}

impl Session {
    /// Of these keys.
    pub fn new(keys: &SessionKeys) -> Self {
        let profile = match keys.profile {
            Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        };
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None).expect("keys have the lengths of their profile")
        };
        Self { seal: context(&keys.remote_key, &keys.remote_salt), open: context(&keys.local_key, &keys.local_salt) }
    }

    /// An RTP packet as the browser sends it.
    pub fn seal_rtp(&mut self, plain: &[u8]) -> Bytes {
        self.seal.encrypt_rtp(plain).expect("the client's own RTP is well-formed")
    }

    /// An RTCP compound as the browser sends it.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Bytes {
        self.seal.encrypt_rtcp(plain).expect("the client's own RTCP is well-formed")
    }

    /// Seals whatever has the shape of RTP.
    pub fn try_seal_rtp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal.encrypt_rtp(plain).ok().map(|sealed| sealed.to_vec())
    }

    /// Seals whatever has the shape of RTCP.
    pub fn try_seal_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal.encrypt_rtcp(plain).ok().map(|sealed| sealed.to_vec())
    }

    /// What the engine sealed. No replay check here: a retransmission is the same packet again, on purpose.
    pub fn open_rtp(&mut self, sealed: &[u8]) -> Result<Bytes, String> {
        self.open.decrypt_rtp(sealed).map_err(|error| format!("SRTP of the engine does not open: {error}"))
    }

    /// What the engine sealed.
    pub fn open_rtcp(&mut self, sealed: &[u8]) -> Result<Bytes, String> {
        self.open.decrypt_rtcp(sealed).map_err(|error| format!("SRTCP of the engine does not open: {error}"))
    }
}
