//! Which CPUs there are, which of them carry media, and how a thread stays on one.

use std::io;
use std::mem::{size_of, zeroed};

/// The CPUs that this process may use, in order.
pub fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: a bit set, for which zeroes are valid; the call fills it.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `set` is as large as said.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the index is below the size of the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// What "auto" means: the last CPU of a small machine, else three of four. The first ones often serve interrupts.
pub fn for_shards(allowed: &[usize]) -> Vec<usize> {
    let count = if allowed.len() <= 3 { 1 } else { allowed.len() - allowed.len().div_ceil(4) };
    let count = count.min(plausch_relay_api::limits::SHARDS);
    allowed[allowed.len().saturating_sub(count)..].to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_leaves_cpus_for_the_rest() {
        assert_eq!(for_shards(&[0]), [0]);
        assert_eq!(for_shards(&[0, 1]), [1]);
        assert_eq!(for_shards(&[4, 5, 9]), [9]);
        assert_eq!(for_shards(&[0, 1, 2, 3]), [1, 2, 3]);
        assert_eq!(for_shards(&(0..16).collect::<Vec<_>>()).len(), 12);
    }

    #[test]
    fn a_thread_stays_where_it_is_pinned() {
        let all = allowed().unwrap();
        let last = all[all.len() - 1];
        std::thread::spawn(move || {
            pin(&[last]).unwrap();
            assert_eq!(allowed().unwrap(), [last]);
        })
        .join()
        .unwrap();
        assert!(pin(&[]).is_err());
    }
}
