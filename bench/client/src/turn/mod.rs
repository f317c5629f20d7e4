//! A TURN client that shares no code with the engine: messages, legs to the server, allocations, and one used as a socket.

mod allocation;
mod datagrams;
mod error;
mod leg;
mod message;
mod relayed;
mod trust;
mod user;

pub use allocation::Allocation;
pub use datagrams::{BATCH, Datagrams, Received, enlarge_buffers, send_from, send_run, wait_readable};
pub use error::TurnError;
pub use leg::{CONNECT_WITHIN, Leg, Stream, Transport};
pub use message::{
    Answer, CHANNELS, FIRST_CHANNEL, Inbound, Request, Session, channel_head, classify, indication_head,
    parse_response, relayed_address,
};
pub use relayed::{RelayedSocket, TurnServer};
pub use user::{User, Users};

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in nanoseconds.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
