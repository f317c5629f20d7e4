//! Plausch's control: who is in which room, who sees whom, and the web page. It talks to browsers over HTTP and
//! WebSockets ([`http`], [`session`]) and to the relay over the link ([`relay_link`]); the rooms themselves
//! ([`rooms`]) and session descriptions ([`sdp`]) are pure.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod assets;
pub mod config;
pub mod host;
pub mod http;
pub mod https;
pub mod metrics;
pub mod names;
pub mod proxy;
pub mod random;
pub mod rates;
pub mod relay_link;
pub mod resume;
pub mod room;
pub mod rooms;
pub mod sdp;
pub mod server;
pub mod service;
pub mod session;
pub mod state_dir;
pub mod turn;
pub mod whip;
