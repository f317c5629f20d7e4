//! The simulation: simulated browsers in rooms, a lossy network between them and one engine, all in virtual time
//! and from one seed, with a model that says after each step who may receive what.

pub mod check;
pub mod client;
pub mod egress;
pub mod model;
pub mod mutation;
pub mod network;
pub mod publisher;
pub mod receiver;
pub mod relaying;
pub mod scenario;
pub mod session;
pub mod setup;
pub mod verdict;
pub mod world;
