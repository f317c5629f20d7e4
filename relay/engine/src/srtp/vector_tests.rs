//! Published test vectors of the transforms.

use super::keys::{SessionKey, SessionKeyPair};
use super::{Inbound, Outbound, Profile, ReceiveStream, RtcpReplay};
use crate::rtp::RtpHeader;

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The same session keys for RTP and RTCP, as the vectors have them.
fn session_keys(key: &[u8], salt: &[u8]) -> SessionKeyPair {
    let auth = [0; 20];
    SessionKeyPair { rtp: SessionKey::from_parts(key, salt, &auth), rtcp: SessionKey::from_parts(key, salt, &auth) }
}

fn check_rtp(inbound: &Inbound, outbound: &Outbound, plain: &str, sealed: &str) {
    let (plain, sealed) = (unhex(plain), unhex(sealed));
    let header_len = RtpHeader::parse(&plain).unwrap().header_len;
    let mut packet = plain.clone();
    packet.resize(plain.len() + outbound.rtp_overhead(), 0);
    assert_eq!(outbound.seal_rtp(&mut packet, header_len, plain.len(), 0), Ok(sealed.len()));
    assert_eq!(packet, sealed);
    let opened = inbound.open_rtp(&mut ReceiveStream::new(), &mut packet, header_len).unwrap();
    assert_eq!(packet[..opened.len], plain);
}

fn check_rtcp(inbound: &Inbound, outbound: &mut Outbound, plain: &str, sealed: &str) {
    let (plain, sealed) = (unhex(plain), unhex(sealed));
    let mut packet = plain.clone();
    packet.resize(plain.len() + outbound.rtcp_overhead(), 0);
    assert_eq!(outbound.seal_rtcp(&mut packet, plain.len()), Ok(sealed.len()));
    assert_eq!(packet, sealed);
    let len = inbound.open_rtcp(&mut RtcpReplay::new(), &mut packet).unwrap();
    assert_eq!(packet[..len], plain);
}

/// RFC 7714, section 16.1: "Gallia est omnis divisa in partes tres".
const GALLIA: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
    69736120 696e2070 61727465 73207472 6573";
/// RFC 7714, section 17: a sender report of "Lunadeadbeef".
const SENDER_REPORT: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
    deadbeef deadbeef deadbeef deadbeef deadbeef";
const SALT: &str = "51756964 2070726f 2071756f";

#[test]
fn rfc_7714_aes_128() {
    let keys = session_keys(&unhex("000102030405060708090a0b0c0d0e0f"), &unhex(SALT));
    let inbound = Inbound::from_session_keys(Profile::AeadAes128Gcm, &keys);
    let mut outbound = Outbound::from_session_keys(Profile::AeadAes128Gcm, &keys, 0x5d4);
    check_rtp(
        &inbound,
        &outbound,
        GALLIA,
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
         36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    check_rtcp(
        &inbound,
        &mut outbound,
        SENDER_REPORT,
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
         86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
}

#[test]
fn rfc_7714_aes_256() {
    let key = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let keys = session_keys(&key, &unhex(SALT));
    check_rtp(
        &Inbound::from_session_keys(Profile::AeadAes256Gcm, &keys),
        &Outbound::from_session_keys(Profile::AeadAes256Gcm, &keys, 0),
        GALLIA,
        "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
         1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
    );
}

/// RFC 3711, appendix B.2: the key stream itself, which a payload of zeros shows.
#[test]
fn rfc_3711_key_stream() {
    let keys = session_keys(&unhex("2B7E151628AED2A6ABF7158809CF4F3C"), &unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    let outbound = Outbound::from_session_keys(Profile::Aes128CmSha1_80, &keys, 0);
    let mut packet = [0; 12 + 48 + 10];
    packet[0] = 0x80;
    assert_eq!(outbound.seal_rtp(&mut packet, 12, 60, 0), Ok(70));
    let key_stream =
        "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(packet[12..60], unhex(key_stream));
}

/// The packet with which libsrtp tests its own AES_CM_128_HMAC_SHA1_80, from the master key on.
#[test]
fn libsrtp_reference_packet() {
    let (key, salt) = (unhex("e1f97a0d3e018be0d64fa32c06de4139"), unhex("0ec675ad498afeebb6960b3aabe6"));
    check_rtp(
        &Inbound::new(Profile::Aes128CmSha1_80, &key, &salt).unwrap(),
        &Outbound::new(Profile::Aes128CmSha1_80, &key, &salt).unwrap(),
        "800f1234 decafbad cafebabe abababab abababab abababab abababab",
        "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb",
    );
}
