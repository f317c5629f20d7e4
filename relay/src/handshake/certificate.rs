//! The relay's DTLS certificate and the settings that all sessions share.

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::ssl::{SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslSignatureAlgorithm, SslVersion};
use boring::x509::{X509, X509NameBuilder};
use plausch_relay_api::Fingerprint;
use std::sync::OnceLock;
use std::time::Instant;

/// Best first; BoringSSL takes the first that the browser has too. GCM seals a packet in a quarter of the time.
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";
/// Post-quantum first; browsers send a share for it.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
/// For DTLS 1.2; 1.3 has its own, which are all good.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";
/// Signatures that the other side's certificate may make: what browsers have, and what tools make (BoringSSL leaves out P-521 and Ed25519 unless asked).
const SIGNATURES: [SslSignatureAlgorithm; 11] = [
    SslSignatureAlgorithm::ECDSA_SECP256R1_SHA256,
    SslSignatureAlgorithm::ED25519,
    SslSignatureAlgorithm::ECDSA_SECP384R1_SHA384,
    SslSignatureAlgorithm::ECDSA_SECP521R1_SHA512,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA256,
    SslSignatureAlgorithm::RSA_PKCS1_SHA256,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA384,
    SslSignatureAlgorithm::RSA_PKCS1_SHA384,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA512,
    SslSignatureAlgorithm::RSA_PKCS1_SHA512,
    SslSignatureAlgorithm::RSA_PKCS1_SHA1,
];
/// What browsers put into theirs: it tells nothing.
const COMMON_NAME: &str = "WebRTC";
/// Browsers check the fingerprint only, and a relay makes a new certificate whenever it starts.
const VALID_DAYS: u32 = 3650;

/// Makes a certificate for this start of the process, and the settings of all its DTLS sessions.
pub fn context() -> Result<(SslContext, Fingerprint), ErrorStack> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let certificate = self_signed(&key)?;
    let mut digest = [0; 32];
    digest.copy_from_slice(&certificate.digest(MessageDigest::sha256())?);
    let fingerprint = Fingerprint::Sha256(digest);

    let mut builder = SslContext::builder(SslMethod::dtls())?;
    builder.set_certificate(&certificate)?;
    builder.set_private_key(&key)?;
    builder.check_private_key()?;
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    builder.set_max_proto_version(Some(SslVersion::DTLS1_3))?;
    builder.set_curves_list(GROUPS)?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_verify_algorithm_prefs(&SIGNATURES)?;
    builder.set_tlsext_use_srtp(SRTP_PROFILES)?;
    // No resumption: every PeerConnection is its own, and a ticket would be state without a use.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_QUERY_MTU | SslOptions::CIPHER_SERVER_PREFERENCE);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    // SAFETY: a live context, and a function with the signature that BoringSSL calls.
    unsafe { boring_sys::SSL_CTX_set_current_time_cb(builder.as_ptr(), Some(monotonic_time)) };
    Ok((builder.build(), fingerprint))
}

/// Time-outs by a clock that never jumps: BoringSSL's own is the wall clock. Nothing else here asks for the time,
/// as fingerprints have no validity.
unsafe extern "C" fn monotonic_time(_: *const boring_sys::SSL, out: *mut boring_sys::timeval) {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let now = ORIGIN.get_or_init(Instant::now).elapsed();
    // SAFETY: BoringSSL gives the address of its own timeval.
    unsafe { *out = boring_sys::timeval { tv_sec: now.as_secs() as i64, tv_usec: i64::from(now.subsec_micros()) } };
}

fn self_signed(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, COMMON_NAME)?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    // RFC 5280, section 4.1.2.2: positive and at most 20 octets.
    serial.rand(127, MsbOption::MAYBE_ZERO, true)?;
    let (serial, now) = (serial.to_asn1_integer()?, Asn1Time::days_from_now(0)?);
    let end = Asn1Time::days_from_now(VALID_DAYS)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(&now)?;
    builder.set_not_after(&end)?;
    builder.set_pubkey(key)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
