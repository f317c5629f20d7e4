//! Nonces without memory: the time and whom it is for, signed. Nobody can use one from another address, and what one
//! says of our abilities cannot be taken away on its way (RFC 8489, section 9.2.1).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use plausch_relay_api::limits::TURN_NONCE_LIFETIME_S;
use std::net::{IpAddr, SocketAddr};

/// RFC 8489, section 9.2: such a nonce tells security features in the next four characters.
const COOKIE: &[u8; 9] = b"obMatJos2";
/// Base64 of 24 bits.
const FEATURES_LEN: usize = 4;
/// When it was made: the last 8 bits of the number of periods since 1970, all of which is signed. They tell 68 minutes
/// from the ones before and after, which nobody would accept.
const PERIOD_S: u64 = 16;
const STAMP_BYTES: usize = 1;
/// What is guessed is guessed online, one request each, and whoever succeeds has a hash computed in vain.
const SIGNATURE_BYTES: usize = 7;
/// Base64 of both, without padding. With what comes before these are 24 characters, a whole number of words.
const BODY_LEN: usize = (STAMP_BYTES + SIGNATURE_BYTES) * 4 / 3 + 1;
/// Characters of a nonce.
pub(super) const NONCE_LEN: usize = COOKIE.len() + FEATURES_LEN + BODY_LEN;
/// A nonce may come from another shard, whose clock was set a moment ago.
const CLOCK_SLACK_S: u64 = 5;

/// RFC 8489, section 18.1, with erratum 6290: bits from the right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Features(u8);

impl Features {
    /// Bit 0.
    pub(super) const PASSWORD_ALGORITHMS: Self = Self(0x01);
    /// Bit 0 and bit 1.
    pub(super) const WITH_USERNAME_ANONYMITY: Self = Self(0x03);

    fn encode(self) -> [u8; FEATURES_LEN] {
        let mut text = [0; FEATURES_LEN];
        let _ = STANDARD.encode_slice([0, 0, self.0], &mut text);
        text
    }
}

/// Makes and checks nonces.
pub(super) struct Nonces {
    key: hmac::Key,
}

impl Nonces {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// For this client, at this Unix time.
    pub(super) fn make(&self, client: SocketAddr, features: Features, unix_seconds: u64) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        let (head, body) = nonce.split_at_mut(COOKIE.len() + FEATURES_LEN);
        let (cookie, told) = head.split_at_mut(COOKIE.len());
        cookie.copy_from_slice(COOKIE);
        told.copy_from_slice(&features.encode());
        let period = unix_seconds / PERIOD_S;
        let mut content = [0; STAMP_BYTES + SIGNATURE_BYTES];
        let (first, second) = content.split_at_mut(STAMP_BYTES);
        first.copy_from_slice(&[period as u8]);
        second.copy_from_slice(&self.sign(client, told, period));
        let _ = STANDARD_NO_PAD.encode_slice(content, body);
        nonce
    }

    /// Whether we made it for this client, and not too long ago.
    pub(super) fn is_valid(&self, nonce: &[u8], client: SocketAddr, unix_seconds: u64) -> bool {
        let Some((head, body)) = nonce.split_at_checked(COOKIE.len() + FEATURES_LEN) else { return false };
        let mut content = [0; STAMP_BYTES + SIGNATURE_BYTES];
        if !head.starts_with(COOKIE) || STANDARD_NO_PAD.decode_slice(body, &mut content) != Ok(content.len()) {
            return false;
        }
        let Some((&[stamp], signature)) = content.split_first_chunk::<STAMP_BYTES>() else { return false };
        // The latest period with these bits.
        let latest = unix_seconds.saturating_add(CLOCK_SLACK_S) / PERIOD_S;
        let Some(period) = latest.checked_sub(u64::from((latest as u8).wrapping_sub(stamp))) else { return false };
        let expected = self.sign(client, head.get(COOKIE.len()..).unwrap_or(&[]), period);
        let fresh = unix_seconds.saturating_sub(period * PERIOD_S) <= TURN_NONCE_LIFETIME_S;
        fresh && verify_slices_are_equal(&expected, signature).is_ok()
    }

    fn sign(&self, client: SocketAddr, features: &[u8], period: u64) -> [u8; SIGNATURE_BYTES] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&period.to_be_bytes());
        context.update(&ip.octets());
        context.update(&client.port().to_be_bytes());
        context.update(features);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_500_000;

    fn client(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_nonce_is_good_for_its_client_and_for_an_hour() {
        let nonces = Nonces::new(&[7; 32]);
        let nonce = nonces.make(client(5), Features::PASSWORD_ALGORITHMS, NOW);
        assert!(nonces.is_valid(&nonce, client(5), NOW));
        assert!(nonces.is_valid(&nonce, client(5), NOW + 3_600));
        assert!(nonces.is_valid(&nonce, client(5), NOW - 5), "another shard's clock");
        let late = nonces.make(client(5), Features::PASSWORD_ALGORITHMS, NOW + PERIOD_S - 1);
        assert!(nonces.is_valid(&late, client(5), NOW + 3_600), "an hour, or a few seconds less");
        for later in [3_601, 4_095, 4_096, 4_097, 8_192, 1 << 31, 1 << 40] {
            assert!(!nonces.is_valid(&nonce, client(5), NOW + later), "{later}: the same bits, but another time");
        }
        assert!(!nonces.is_valid(&nonce, client(5), NOW + 3_601));
        assert!(!nonces.is_valid(&nonce, client(5), NOW - 6));
        assert!(!nonces.is_valid(&nonce, client(6), NOW));
        assert!(!nonces.is_valid(&nonce, ([192, 0, 2, 2], 5).into(), NOW));
        assert!(!Nonces::new(&[8; 32]).is_valid(&nonce, client(5), NOW));
    }

    #[test]
    fn it_begins_with_the_cookie_and_its_features_cannot_be_changed() {
        let nonces = Nonces::new(&[7; 32]);
        let nonce = nonces.make(client(5), Features::PASSWORD_ALGORITHMS, NOW);
        assert!(nonce.starts_with(b"obMatJos2AAAB"), "bit 0 of 24");
        let anonymous = nonces.make(client(5), Features::WITH_USERNAME_ANONYMITY, NOW);
        assert!(anonymous.starts_with(b"obMatJos2AAAD"), "bits 0 and 1");
        let mut bid_down = nonce;
        bid_down[9..13].copy_from_slice(b"AAAA");
        assert!(!nonces.is_valid(&bid_down, client(5), NOW));
        assert!(!nonces.is_valid(&nonce[9..], client(5), NOW));
    }

    #[test]
    fn no_other_bytes_are_a_nonce() {
        let nonces = Nonces::new(&[7; 32]);
        let nonce = nonces.make(client(5), Features::PASSWORD_ALGORITHMS, NOW);
        for at in 0..nonce.len() {
            let mut changed = nonce;
            changed[at] ^= 1;
            assert!(!nonces.is_valid(&changed, client(5), NOW), "{at}");
            assert!(!nonces.is_valid(&nonce[..at], client(5), NOW), "{at}");
        }
        assert!(!nonces.is_valid(&[nonce.as_slice(), b"A"].concat(), client(5), NOW));
        assert!(!nonces.is_valid(&[0xff; 763], client(5), NOW));
    }
}
