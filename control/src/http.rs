//! What is served over HTTP, on which sockets and to whom.

pub mod assets;
pub mod caller;
pub mod certificate;
mod pages;
pub mod proxy_protocol;
mod router;

pub use router::router;
