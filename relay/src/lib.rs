//! Plausch's media relay as a process: pinned shards with their drivers, handshake threads, the link to control.
//!
//! The way of a packet: [`driver`] → [`shard`] → `plausch_engine` → [`driver`]. Everything that may wait or take
//! milliseconds is on other threads: DTLS in [`handshake`], TCP and TLS in [`edge`], control's commands in [`link`].
//! [`process`] puts the parts together.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod cpus;
pub mod drain;
pub mod driver;
pub mod edge;
pub mod handshake;
pub mod host;
pub mod hub;
pub mod interfaces;
pub mod metrics;
pub mod neighbours;
pub mod process;
pub mod reach;
pub mod ring;
pub mod shard;
pub mod sockets;
#[cfg(test)]
mod tests;
