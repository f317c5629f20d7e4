//! `plausch-bench`: takes part in calls as real participants would, and tells what it saw. The participants themselves
//! are the crate `plausch-client`.
//!
//! `commands` holds what can be measured; `run` the load on a server and who makes it; `ground` the machine: labs,
//! servers that a run starts itself, processes, and the kernel; `report` what becomes of a measurement.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod commands;
pub mod ground;
mod report;
mod run;

pub use commands::run as run_command_line;
