//! What becomes of a measurement: a table for people, JSON for programs, a page to be sent around.

mod circumstances;
mod disturbance;
pub(crate) mod figures;
mod limits;
mod measurement;
mod outputs;
pub(crate) mod page;
mod quantiles;
mod rounds;
mod spread;
mod trend;

pub(crate) use circumstances::Circumstances;
pub(crate) use disturbance::{IDLE_THREAD, is_disturbed};
pub(crate) use limits::{LimitArguments, Limits};
pub(crate) use measurement::{Mark, Measurement};
pub(crate) use outputs::{Outputs, check_writable, write};
pub(crate) use quantiles::{Quantiles, Times, rounded};
pub(crate) use rounds::{Rounds, Side, alternate};
pub(crate) use spread::Spread;
pub(crate) use trend::Trend;
