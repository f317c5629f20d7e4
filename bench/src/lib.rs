//! The load client of Plausch as a library: an independent WebRTC participant on the webrtc-rs crates, which
//! shares no media code with the engine. The program `plausch-bench` and the end-to-end tests use it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod against;
pub mod client;
pub mod kernel;
pub mod lab;
pub mod load;
pub mod page;
pub mod servers;
pub mod turn;
