//! Real processes over loopback, with the independent client `plausch-client` as participants.
//!
//! Each test starts its own plausch-control and plausch-relay on free ports with an own state folder; they must
//! have been built before: `cargo build -p plausch-relay -p plausch-control`.

#![allow(clippy::unwrap_used)]

mod call;
mod draining;
mod hostile;
mod layers;
mod leaving;
mod lossy;
mod moving;
mod people;
mod privacy;
mod processes;
mod relays;
mod restarts;
mod service;
mod speech;
mod turn;
mod turn_tcp;
mod whip;
