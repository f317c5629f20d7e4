//! Plausch's media relay as a process: pinned shards with their drivers, handshake threads, the link to control.
//!
//! The way of a packet: [`driver`] → [`shard`] → `plausch_engine` → [`driver`]. Everything that may wait or take
//! milliseconds is on other threads: DTLS in [`handshake`], control's commands on the main thread.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod driver;
pub mod handshake;
pub mod ring;
