//! Threads of the kernel that may run on any CPU, and would hold up a server on its own: many kernels do not interrupt
//! them (`preempt=none`), and looking at memory they work for milliseconds. Operators keep them off by `isolcpus`.

use super::{parse_cpus, run};
use std::fs;
use std::path::Path;

/// Of `/proc/pid/stat` (`PF_KTHREAD` and `PF_NO_SETAFFINITY` in Linux' `sched.h`).
const IS_KERNELS: u32 = 0x0020_0000;
const MAY_NOT_BE_MOVED: u32 = 0x0400_0000;
/// It only starts others.
const KTHREADD: u32 = 2;

/// Moves threads back when its input ends, whatever became of us. Its arguments are lists of CPUs and threads in turn.
pub(crate) const MOVE_BACK: &str = r#"trap "" INT TERM; cat; while [ $# -gt 1 ]; do taskset --cpu-list --pid "$1" "$2" >/dev/null 2>&1; shift 2; done"#;

/// One that is to be moved.
#[derive(Debug, PartialEq)]
pub(crate) struct KernelThread {
    id: u32,
    /// Where it may run, and where it may while the server has its CPUs to itself.
    before: String,
    meanwhile: String,
}

impl KernelThread {
    /// Those that may be on the servers' CPUs, and elsewhere, too.
    pub(crate) fn on(servers: &[usize]) -> Vec<Self> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter_map(|id: u32| Self::read(&Path::new("/proc").join(id.to_string()), id, servers)).collect()
    }

    fn read(folder: &Path, id: u32, servers: &[usize]) -> Option<Self> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // After the name, which may have any characters: state, four ids, the terminal and its group.
        let flags: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()?;
        if flags & IS_KERNELS == 0 || flags & MAY_NOT_BE_MOVED != 0 || id == KTHREADD {
            return None;
        }
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let before = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
        let allowed = parse_cpus(&before)?;
        let meanwhile: Vec<String> =
            allowed.iter().filter(|cpu| !servers.contains(cpu)).map(usize::to_string).collect();
        let moves = !meanwhile.is_empty() && meanwhile.len() < allowed.len();
        moves.then(|| Self { id, before, meanwhile: meanwhile.join(",") })
    }

    /// Moves it. One that ended meanwhile, or that the kernel keeps, stays a disturbance like others.
    pub(crate) fn move_away(&self) {
        let _ = run(&["taskset", "--cpu-list", "--pid", &self.meanwhile, &self.id.to_string()]);
    }

    /// For [`MOVE_BACK`].
    pub(crate) fn back(&self) -> [String; 2] {
        [self.before.clone(), self.id.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_of_the_kernel_that_may_be_elsewhere_are_moved() {
        let folder = std::env::temp_dir().join(format!("plausch-kernel-threads-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let read = |flags: u32, list: &str| {
            fs::write(folder.join("stat"), format!("77 (k) 1 (x) S 2 0 0 0 -1 {flags} 0 0 0")).unwrap();
            fs::write(folder.join("status"), format!("Name:\tk\nCpus_allowed_list:\t{list}\n")).unwrap();
            KernelThread::read(&folder, 77, &[1, 3])
        };
        let moved = |before: &str, meanwhile: &str| {
            Some(KernelThread { id: 77, before: before.to_owned(), meanwhile: meanwhile.to_owned() })
        };
        assert_eq!(read(0x0020_8040, "0-3"), moved("0-3", "0,2"));
        assert_eq!(read(0x0020_8040, "0,1"), moved("0,1", "0"));
        assert_eq!(read(0x0020_8040, "1"), None, "it would have no CPU");
        assert_eq!(read(0x0020_8040, "0,2"), None, "it is elsewhere");
        assert_eq!(read(0x0420_8040, "0-3"), None, "it belongs to a CPU");
        assert_eq!(read(0x0040_0040, "0-3"), None, "it is a program");
        fs::remove_dir_all(folder).unwrap();
    }
}
