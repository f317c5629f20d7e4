//! What a load run needs beside its clients: what the machine spent on them, and whether it was disturbed.

mod circumstances;
mod drops;
mod machine;
mod process;
mod target;
mod trend;

pub use circumstances::Circumstances;
pub use machine::{Machine, MachineUse};
pub use process::{Process, ProcessSample, ThreadSample, open_files_limits};
pub use target::{check_target, is_of_this_machine};
pub use trend::Trend;

/// The kernel tells CPU time in hundredths of a second, whatever its own tick is (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;
