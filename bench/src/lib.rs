//! The load client of Plausch as a library: its lab, servers, figures and pages. Its participants are `plausch-client`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod against;
pub mod kernel;
pub mod lab;
pub mod load;
pub mod page;
pub mod servers;
pub mod turn;
