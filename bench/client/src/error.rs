//! Why a client could not do what it was asked, each in one sentence that says what to do.

use crate::turn::TurnError;
use plausch_signalling::ErrorCode;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a client could not join or go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url:?} is not an address to join; give http://host:port or https://host")]
    BadUrl { url: String },
    #[error("{url} does not prove who it is ({cause}); give its certificate, or that of its issuer, as a PEM file")]
    Untrusted { url: String, cause: String },
    #[error("no certificates can be read from {file}: {cause}; give a PEM file")]
    BadTrust { file: String, cause: String },
    #[error("cannot reach {url}: {cause}; check that the server runs there and that the port is right")]
    Unreachable { url: String, cause: String },
    #[error("{url} answers, but not as a Plausch server ({cause}); check the address")]
    NotPlausch { url: String, cause: String },
    #[error("the server refused: {}", refusal(*.0))]
    Refused(ErrorCode),
    #[error("{url} answers, but not as a Janus with its WebSocket transport ({cause}); check the address")]
    NotJanus { url: String, cause: String },
    #[error("Janus refused {what}: {cause}")]
    JanusRefused { what: &'static str, cause: String },
    #[error("the server refused {what} ({cause}); look into its log, or at its limits")]
    HttpRefused { what: &'static str, cause: String },
    #[error("this is only possible with our own signalling")]
    Unsupported,
    #[error("the server closed the connection while {during}; look into its log, or try again")]
    Closed { during: &'static str },
    #[error("the server did not answer within {within:?} while {during}; look into its log, or try again")]
    Silent { during: &'static str, within: Duration },
    #[error("the server's SDP answer cannot be used: {0}; client and server may be of different versions")]
    BadAnswer(String),
    #[error(
        "no answer to ICE checks at {candidates:?} within {within:?}; check that these UDP ports are reachable from here"
    )]
    NoIce { candidates: Vec<SocketAddr>, within: Duration },
    #[error("the DTLS handshake failed: {0}")]
    Dtls(String),
    #[error("cannot open a UDP socket: {0}")]
    Socket(String),
    #[error("the SRTP keys cannot be used: {0}")]
    Srtp(String),
    #[error("waited {within:?} for {what} in vain")]
    WaitedInVain { what: String, within: Duration },
    #[error(transparent)]
    Turn(TurnError),
    #[error("the client has already left")]
    Left,
}

fn refusal(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadMessage => "it does not understand our message; client and server may be of different versions",
        ErrorCode::Version => "it speaks another version of the signalling; use the client of the same release",
        ErrorCode::BadRoomName => "this room name is not allowed; choose another one",
        ErrorCode::BadName => "this participant name is not allowed; choose another one",
        ErrorCode::BadOffer => "it cannot use our SDP offer; client and server may be of different versions",
        ErrorCode::RoomFull => "the room is full; choose another one or raise its limit",
        ErrorCode::ServerFull => "the server is full; raise its limits or use fewer participants",
        ErrorCode::RateLimited => "too many joins or messages from this address; slow down or raise the limit",
        ErrorCode::NoRelay => "no relay is connected to it; start plausch-relay",
        ErrorCode::Replaced => "the same participant joined from another place",
        ErrorCode::RoomBlocked | ErrorCode::RoomClosed => "the room is closed; choose another one",
        ErrorCode::PasswordNeeded | ErrorCode::PasswordWrong => "the room has a password; choose another room",
        ErrorCode::TokenNeeded => "the room asks for a token; choose another room",
        ErrorCode::Quota => "too many rooms or participants come from here; use fewer",
        ErrorCode::Lobby | ErrorCode::Rejected => "a moderator decides who enters the room; choose another one",
        ErrorCode::NotModerator => "only a moderator may do this",
        ErrorCode::Unknown => "it gives a reason that this client does not know; use the client of the same release",
    }
}
