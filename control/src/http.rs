//! What is served over HTTP, on which sockets and to whom.

pub mod assets;
pub mod caller;
pub mod certificate;
pub mod connections;
pub mod edge;
mod pages;
pub mod proxy_protocol;
mod router;

pub use router::router;
