//! What becomes of a measurement: a table for people, JSON for programs, a page to be sent around.

mod circumstances;
pub(crate) mod figures;
pub(crate) mod page;
mod rounds;
mod spread;
mod trend;

pub(crate) use circumstances::Circumstances;
pub(crate) use rounds::{Rounds, Side, alternate};
pub(crate) use spread::Spread;
pub(crate) use trend::Trend;
