//! Plausch's control: who is in which room, who sees whom, and the web page. It talks to browsers over HTTP and
//! WebSockets ([`http`], [`fronts`]) and to relays over the link ([`relays`]); the rooms themselves ([`rooms`]) and
//! session descriptions ([`sdp`]) are pure.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admission;
pub mod config;
pub mod fronts;
pub mod http;
pub mod join;
pub mod metrics;
pub mod random;
pub mod relays;
pub mod rooms;
pub mod sdp;
pub mod server;
pub mod service;
pub mod site;
pub mod state_dir;
