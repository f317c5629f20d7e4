//! Plausch's media engine: ICE, SRTP and selective forwarding as a pure function of its inputs.
//!
//! No clock, no sockets, no threads, no `unsafe`, no allocation per packet: time and randomness are arguments,
//! packets come in batches and leave in batches, and everything that needs the world outside (DTLS handshakes,
//! news for control) is an [`Effect`] that the caller drains. A simulation, a fuzzer, a benchmark and the real
//! process run the same code.
//!
//! To read it, follow a packet: `engine` (the entry points) → `transport` and `checks` (STUN and DTLS, with `ice` and `access`) or `ingress`
//! (with `participant`, `track`, `reception`, `missing`, `cache`) → `gather` →
//! `egress` (with `slot` and `stream`, where numbers
//! are rewritten); RTCP comes in through `feedback` and goes out through `reports`. Control's commands are `commands`.
//! Clients that come through a relay, which is this very engine, are in `turn`: their packets are unwrapped before all
//! that, and wrapped after it.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod codec;
pub mod counters;
pub mod demux;
pub mod effect;
pub mod engine;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod stun;
pub mod time;
pub mod turn;

mod access;
mod cache;
mod checks;
mod commands;
mod egress;
mod feedback;
mod gather;
mod ice;
mod ingress;
mod missing;
mod overload;
mod packet;
mod participant;
mod peers;
mod random;
mod reception;
mod reports;
mod room;
mod slab;
mod slot;
mod speakers;
mod spec;
mod stream;
mod target;
mod timers;
mod track;
mod transport;
mod wallclock;

pub use batch::{LocalSocket, Path, RxPacket, TxBatch, TxRun};
pub use counters::{CounterEntry, CounterKind, Counters};
pub use effect::{DtlsInput, EdgeNews, EdgeTask, Effect, EngineCommand, SessionKeys};
pub use engine::{Engine, EngineConfig};
pub use overload::Load;
pub use time::Time;
