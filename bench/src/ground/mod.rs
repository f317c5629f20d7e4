//! The machine: labs of network namespaces, servers that a run starts itself, what processes use, and the kernel.

mod drops;
pub mod kernel;
pub(crate) mod lab;
mod machine;
mod process;
pub(crate) mod servers;

pub(crate) use machine::{Machine, MachineUse};
pub(crate) use process::{Process, ProcessSample, open_files_limits};

/// The kernel tells CPU time in hundredths of a second, whatever its own tick is (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;
