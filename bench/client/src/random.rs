//! Random numbers and ICE strings.

use std::array;

/// Random bytes from the system.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    // From the system itself: aws-lc takes 30 ms in each thread to begin, which would be counted as time to join.
    getrandom::fill(&mut out).expect("the system has random numbers");
    out
}

/// A random number.
pub(crate) fn u64() -> u64 {
    u64::from_be_bytes(bytes())
}

/// An SSRC: random and not zero.
pub(crate) fn ssrc() -> u32 {
    u32::from_be_bytes(bytes()).max(1)
}

/// `N` random characters that ICE allows (RFC 8839, section 5.4), six bits of randomness each.
pub(crate) fn ice_string<const N: usize>() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let random = bytes::<N>();
    array::from_fn::<char, N, _>(|i| ALPHABET[usize::from(random[i] & 63)] as char).iter().collect()
}
