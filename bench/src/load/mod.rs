//! What a load run needs beside its clients: the tally of what they saw, and what the machine spent on it.

mod circumstances;
mod drops;
mod flow;
mod machine;
mod process;
mod tally;
mod target;
mod trend;

pub use circumstances::Circumstances;
pub use flow::{Flow, Traffic, loss_ratio};
pub use machine::{Machine, MachineUse};
pub use process::{Process, ProcessSample, ThreadSample, open_files_limits};
pub use tally::Tally;
pub use target::{check_target, is_of_this_machine};
pub use trend::Trend;

/// The kernel tells CPU time in hundredths of a second, whatever its own tick is (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;
