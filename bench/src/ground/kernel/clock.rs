//! CPU time of the calling thread, and the CPU it runs on.

use std::io;
use std::mem::{size_of, zeroed};

/// CPU time that this thread has used, in user and in kernel mode, to the nanosecond. On kernels without
/// IRQ_TIME_ACCOUNTING it holds the softirqs that ran on top of it.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that lives until the call returns. The clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What getrusage(2) says of the calling thread.
#[derive(Clone, Copy, Default, Debug)]
pub struct ThreadUse {
    pub user_ns: u64,
    pub system_ns: u64,
    /// How often somebody else took the CPU.
    pub preemptions: u64,
}

impl ThreadUse {
    pub fn sample() -> Self {
        // SAFETY: a C struct of integers, for which zeroes are valid.
        let mut usage: libc::rusage = unsafe { zeroed() };
        // SAFETY: `usage` lives until the call returns.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
        Self { user_ns: ns(usage.ru_utime), system_ns: ns(usage.ru_stime), preemptions: usage.ru_nivcsw as u64 }
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
            preemptions: self.preemptions.saturating_sub(before.preemptions),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.preemptions += other.preemptions;
    }
}

/// The CPUs that this process may use, in order.
pub fn cpus() -> io::Result<Vec<usize>> {
    // SAFETY: a bit set, for which zeroes are valid.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `set` is as large as said.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the index is below the size of the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// Keeps the calling thread on these CPUs.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a bit set, for which zeroes are valid.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: `set` is as large as said and lives until the call returns.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
