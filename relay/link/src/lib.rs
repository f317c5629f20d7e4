//! The link between relay and control: one QUIC connection, dialled by the relay, on which commands and events
//! travel as frames.
//!
//! Both sides are authenticated: each has a self-signed certificate and takes exactly one certificate from the
//! other side. On one host nobody has to do anything for that; see [`Identity`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connection;
mod endpoint;
mod identity;
mod pinning;
mod watch;

pub use connection::{Connection, Receiver, Sender};
pub use endpoint::{Dialer, Listener};
pub use identity::Identity;
pub use watch::{Peer, Watch};

/// Everything that ends a link or keeps it from beginning. Each text says what to do about it where a person can.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{what} {path}: {reason}; check that the folder exists and belongs to this user")]
    File { what: &'static str, path: std::path::PathBuf, reason: std::io::Error },
    #[error("{0} is missing or cannot be read; copy all files of the link folder, or delete the folder on both sides")]
    Incomplete(std::path::PathBuf),
    #[error("the link's certificates cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("the link's certificate or key is not usable: {0}; delete the link folder on both sides")]
    Tls(#[from] rustls::Error),
    #[error("cannot use UDP {address} for the link: {reason}; set another port with PLAUSCH_LINK_PORT")]
    Bind { address: std::net::SocketAddr, reason: std::io::Error },
    #[error("cannot dial: {0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("the connection is lost: {0}")]
    Lost(#[from] quinn::ConnectionError),
    #[error("the connection is lost while writing: {0}")]
    Write(#[from] quinn::WriteError),
    #[error("the connection is lost while reading: {0}")]
    Read(#[from] quinn::ReadError),
    #[error("the other side sent {0}")]
    Frame(#[from] plausch_relay_api::framing::FrameError),
    #[error("the other side ended in the middle of a frame")]
    Truncated,
    #[error("the other side did not answer in time")]
    Timeout,
    #[error("the listener has ended")]
    Closed,
}

/// Result of this crate.
pub type Result<T, E = LinkError> = std::result::Result<T, E>;
