//! Why a TURN client could not do what it was asked, each in one sentence that says what to do.

use super::leg::Transport;
use std::net::SocketAddr;
use std::time::Duration;

/// Why an allocation could not be made or used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TurnError {
    #[error("cannot open a UDP socket: {0}")]
    Socket(String),
    #[error("cannot reach {server} by {}: {cause}; check that the server runs there and that the port is right", .transport.name())]
    Unreachable { server: SocketAddr, transport: Transport, cause: String },
    #[error("the TLS handshake with {server} failed: {cause}; check that this is its TLS port")]
    Tls { server: SocketAddr, cause: String },
    #[error("{server} did not answer {during} within {within:?}; check that a TURN server runs there")]
    Silent { server: SocketAddr, during: &'static str, within: Duration },
    #[error("{server} refused {during} for user {user:?} with {code} {reason}; {}", advice(*.code))]
    Refused { server: SocketAddr, during: &'static str, user: String, code: u16, reason: String },
    #[error("{server} answered {during} without {what}; it is no TURN server, or a broken one")]
    Broken { server: SocketAddr, during: &'static str, what: &'static str },
}

/// What to do about an error code (RFC 8489 section 14.8, RFC 8656 section 19).
fn advice(code: u16) -> &'static str {
    match code {
        400 => "some servers answer so to a wrong password: check user and password, or look into its log",
        300 => "it wants another server to be asked",
        401 | 441 => "check user and password, or the secret",
        403 => "allow this machine's addresses as peers in its configuration",
        437 => "an allocation of an earlier run may still be there; wait or restart it",
        486 => "raise its quota of allocations per user, or use fewer allocations",
        508 => "it has no more ports; widen its range, or use fewer allocations",
        _ => "look into its log",
    }
}
