//! Why a handshake failed, for metrics and the log.

use boring::error::ErrorStack;
use std::sync::atomic::{AtomicU64, Ordering};

/// The reason for which a handshake cannot be finished any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeFailure {
    /// The certificate is not the one that SDP announced.
    Fingerprint,
    /// No certificate, or one whose key or signature is not read.
    Certificate,
    /// No cipher suite, group or version in common.
    Algorithms,
    /// No SRTP protection profile in common (RFC 5764).
    SrtpProfile,
    /// The other side gave up, with an alert.
    Alert,
    /// Not finished in time.
    Timeout,
    /// Anything else: broken or unexpected messages.
    Protocol,
}

impl HandshakeFailure {
    pub const ALL: [Self; 7] = [
        Self::Fingerprint,
        Self::Certificate,
        Self::Algorithms,
        Self::SrtpProfile,
        Self::Alert,
        Self::Timeout,
        Self::Protocol,
    ];

    /// Tells the reason from BoringSSL's names of errors, the first of which is the cause.
    pub(super) fn of(errors: Option<&ErrorStack>) -> Self {
        let reasons = errors.into_iter().flat_map(ErrorStack::errors).filter_map(|error| error.reason());
        for reason in reasons {
            match reason {
                "CERTIFICATE_VERIFY_FAILED" => return Self::Fingerprint,
                "PEER_DID_NOT_RETURN_A_CERTIFICATE"
                | "UNSUPPORTED_ALGORITHM"
                | "UNSUPPORTED_ELLIPTIC_CURVE"
                | "UNKNOWN_CERTIFICATE_TYPE"
                | "WRONG_CERTIFICATE_TYPE"
                | "WRONG_SIGNATURE_TYPE"
                | "BAD_SIGNATURE"
                | "CANNOT_PARSE_LEAF_CERT"
                | "NO_COMMON_SIGNATURE_ALGORITHMS" => return Self::Certificate,
                "NO_SHARED_CIPHER"
                | "NO_SHARED_GROUP"
                | "UNSUPPORTED_PROTOCOL"
                | "UNSUPPORTED_PROTOCOL_FOR_CUSTOM_KEY"
                | "WRONG_CIPHER_RETURNED"
                | "WRONG_CURVE" => return Self::Algorithms,
                alert if alert.contains("_ALERT_") => return Self::Alert,
                _ => {}
            }
        }
        Self::Protocol
    }

    /// As a label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Certificate => "certificate",
            Self::Algorithms => "algorithms",
            Self::SrtpProfile => "srtp-profile",
            Self::Alert => "alert",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }

    /// What is wrong and what helps, for the log.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Fingerprint => "its certificate is not the one whose fingerprint its SDP announced",
            Self::Certificate => "its certificate cannot be read; use ECDSA on P-256, P-384 or P-521, Ed25519, or RSA",
            Self::Algorithms => "no common cipher suite; DTLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20 is needed",
            Self::SrtpProfile => {
                "no common SRTP profile; AEAD_AES_128_GCM, AEAD_AES_256_GCM or AES128_CM_HMAC_SHA1_80 is needed"
            }
            Self::Alert => "the other side refused it by an alert; its own log says why",
            Self::Timeout => "it was not finished in time; DTLS may be filtered on the way",
            Self::Protocol => "the other side sent what is no DTLS handshake",
        }
    }
}

/// How many handshakes failed, by reason.
#[derive(Debug, Default)]
pub struct Failures([AtomicU64; HandshakeFailure::ALL.len()]);

impl Failures {
    pub(super) fn count(&self, failure: HandshakeFailure) {
        if let Some(counter) = self.0.get(failure as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each reason with its number.
    pub fn by_reason(&self) -> impl Iterator<Item = (HandshakeFailure, u64)> {
        HandshakeFailure::ALL.into_iter().zip(&self.0).map(|(failure, count)| (failure, count.load(Ordering::Relaxed)))
    }
}
