//! The engine as a whole against small models of browsers: the same SRTP from the other side, time by hand.
#![allow(clippy::unwrap_used)]

mod consent;
mod feedback;
mod forwarding;
mod gathering;
mod harness;
mod keyed;
mod lifecycle;
mod overload;
mod recovery;
mod relaying;
mod transport;
mod turn;
mod turn_clients;
mod turn_model;
mod turn_requests;
mod turn_strangers;
mod turn_tcp;
