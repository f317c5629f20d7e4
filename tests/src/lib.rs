//! Machinery that Plausch's tests share: wire formats of their own, simulated browsers, a lossy network in
//! virtual time, a reference model of who receives what, and the bodies of the fuzz targets.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fuzz;
pub mod media;
pub mod random;
pub mod sim;
pub mod wire;
