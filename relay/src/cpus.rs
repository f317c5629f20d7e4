//! Which CPUs there are, which of them carry media, and how a thread stays on one.

use crate::host::parse_cpu_list;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::path::Path;
use std::time::Duration;

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

/// Which CPUs are parts of one core, and which belong to one memory node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// By CPU: the CPUs of its core.
    siblings: BTreeMap<usize, Vec<usize>>,
    /// By CPU.
    nodes: BTreeMap<usize, usize>,
    /// The node of the network devices, if all that say so say the same.
    network: Option<usize>,
}

impl Topology {
    /// As the kernel says it below `root`. What it does not say is left open.
    pub fn read(root: &Path) -> Self {
        let read = |file: String| fs::read_to_string(root.join(file)).ok();
        let mut topology = Self::default();
        for cpu in 0..libc::CPU_SETSIZE as usize {
            if let Some(text) = read(format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) {
                topology.siblings.insert(cpu, parse_cpu_list(&text));
            }
        }
        for node in 0..libc::CPU_SETSIZE as usize {
            let Some(text) = read(format!("sys/devices/system/node/node{node}/cpulist")) else { break };
            topology.nodes.extend(parse_cpu_list(&text).into_iter().map(|cpu| (cpu, node)));
        }
        let devices = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
        let mut nodes = devices.filter_map(|device| {
            let text = fs::read_to_string(device.path().join("device/numa_node")).ok()?;
            text.trim().parse::<usize>().ok()
        });
        topology.network = nodes.next().filter(|first| nodes.all(|node| node == *first));
        topology
    }

    /// The CPUs of one core, the given one among them.
    pub fn siblings(&self, cpu: usize) -> impl Iterator<Item = usize> {
        self.siblings.get(&cpu).map_or(vec![cpu], Clone::clone).into_iter()
    }

    /// The memory node of a CPU.
    pub fn node(&self, cpu: usize) -> Option<usize> {
        self.nodes.get(&cpu).copied()
    }
}

/// What "auto" means: the last core of a small machine, else three of four. One CPU of each core, for two halves share
/// its time; those at the network device's memory first; and the last ones, for the first ones often serve interrupts.
pub fn for_shards(allowed: &[usize], topology: &Topology) -> Vec<usize> {
    let mut cores: Vec<usize> = Vec::new();
    for &cpu in allowed {
        // The last of a core's CPUs that may be used stands for it.
        if topology.siblings(cpu).filter(|other| allowed.contains(other)).max().is_none_or(|last| last == cpu) {
            cores.push(cpu);
        }
    }
    let count = if cores.len() <= 3 { 1 } else { cores.len() - cores.len().div_ceil(4) };
    let far = |cpu: &usize| topology.network.is_some_and(|network| topology.node(*cpu) != Some(network));
    cores.sort_by_key(|cpu| (far(cpu), std::cmp::Reverse(*cpu)));
    cores.truncate(count.min(plausch_relay_api::limits::SHARDS));
    cores.sort_unstable();
    cores
}

/// The slice of CPU time that a shard asks for, the least that Linux grants. It needs little at once, and often.
const SLICE: Duration = Duration::from_micros(100);
/// Nine times the share of others, where the system lets us: media comes first, and a CPU that is shared with control
/// still serves both.
const NICE: i32 = -10;

/// Has the calling thread run soon after it is woken, though others run on its CPU: a thread with the usual slice waits
/// until the others have had theirs, milliseconds. Whoever asks for a shorter one (Linux 6.12 and newer; others ignore it)
/// does not. Needs no rights; niceness does, and is left as it is without them.
pub fn set_prompt() -> io::Result<()> {
    // SAFETY: takes no pointers.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    set_slice(NICE.min(nice)).or_else(|_| set_slice(nice))
}

fn set_slice(nice: i32) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `attributes` lives until the call returns, which only reads it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sleeps as long as it says; the kernel makes sleeps up to 50 µs longer by itself, so that timers of about the same time
/// end together, which is good for all others of the thread.
pub fn sleep_exactly(duration: Duration) {
    // SAFETY: takes no pointers, and cannot fail with these arguments.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    std::thread::sleep(duration);
    // SAFETY: as above; 0 is what the thread began with.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 0) };
}

/// Above all ordinary threads, below the kernel's own.
pub const REALTIME_PRIORITY: i32 = 10;

/// Gives the calling thread SCHED_FIFO.
pub fn set_realtime() -> io::Result<()> {
    // SAFETY: a C struct of integers, for which zeroes are valid.
    let mut parameter: libc::sched_param = unsafe { zeroed() };
    parameter.sched_priority = REALTIME_PRIORITY;
    // SAFETY: `parameter` lives until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings all memory of the process in and keeps it there, also what comes.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

    fn auto(allowed: &[usize]) -> Vec<usize> {
        for_shards(allowed, &Topology::default())
    }

    #[test]
    fn auto_leaves_cpus_for_the_rest() {
        assert_eq!(auto(&[0]), [0]);
        assert_eq!(auto(&[0, 1]), [1]);
        assert_eq!(auto(&[4, 5, 9]), [9]);
        assert_eq!(auto(&[0, 1, 2, 3]), [1, 2, 3]);
        assert_eq!(auto(&(0..16).collect::<Vec<_>>()).len(), 12);
    }

    #[test]
    fn auto_takes_one_cpu_of_a_core_and_those_near_the_network() {
        let halves = (0..8).map(|cpu| (cpu, vec![cpu % 4, cpu % 4 + 4])).collect();
        let mut topology = Topology { siblings: halves, ..Topology::default() };
        let all: Vec<usize> = (0..8).collect();
        assert_eq!(for_shards(&all, &topology), [5, 6, 7]);
        assert_eq!(for_shards(&[0, 1, 2, 3, 5], &topology), [2, 3, 5]);
        topology.nodes = (0..8).map(|cpu| (cpu, cpu % 2)).collect();
        topology.network = Some(0);
        assert_eq!(for_shards(&all, &topology), [4, 6, 7], "the two near ones, and the best of the others");
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

    #[test]
    fn a_prompt_thread_has_a_short_slice() {
        std::thread::spawn(|| {
            set_prompt().unwrap();
            // SAFETY: a C struct of integers, for which zeroes are valid.
            let mut is: libc::sched_attr = unsafe { zeroed() };
            let size = size_of::<libc::sched_attr>();
            // SAFETY: `is` is as large as said and lives until the call returns, which fills it.
            let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut is, size, 0) };
            assert_eq!((result, is.sched_policy), (0, libc::SCHED_OTHER as u32));
            // 0 where the kernel does not know slices of threads.
            assert!([0, SLICE.as_nanos() as u64].contains(&is.sched_runtime), "{}", is.sched_runtime);
            assert!(is.sched_nice <= 0);
        })
        .join()
        .unwrap();
    }
}
