//! Random ids and secrets.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // aws-lc falls back to nothing: without the kernel's randomness no secret may be made.
    #[allow(clippy::expect_used)]
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives no random bytes");
    bytes
}

/// A random id, never 0.
pub fn id() -> u64 {
    u64::from_be_bytes(bytes()).max(1)
}

/// A random SSRC, never 0, which some receivers take for "none".
pub fn ssrc() -> u32 {
    u32::from_be_bytes(bytes()).max(1)
}

/// `N` random characters of `[A-Za-z0-9+/]`, 6 bits each: what ICE allows (RFC 8839, section 5.4).
pub fn ice_chars<const N: usize>() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes::<N>().into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}
