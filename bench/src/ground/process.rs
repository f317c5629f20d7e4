//! CPU time and memory of a process by /proc, and which process owns a UDP port.

use super::NS_PER_TICK;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A process of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
}

/// What it has used so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessSample {
    pub(crate) name: String,
    /// User and system time, in steps of 10 ms; with that of threads that have ended.
    pub(crate) cpu_ns: u64,
    pub(crate) rss_bytes: u64,
    /// Open files and sockets, 0 where we may not see them.
    pub(crate) descriptors: usize,
    pub(crate) threads: Vec<ThreadSample>,
}

/// One of its threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ThreadSample {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) cpu_ns: u64,
}

impl ProcessSample {
    /// CPU time of all threads that are there now, since an earlier sample.
    pub(crate) fn cpu_ns_since(&self, before: &Self) -> u64 {
        self.threads.iter().map(|thread| thread.cpu_ns_since(before)).sum()
    }
}

impl ThreadSample {
    /// CPU time since an earlier sample of its process.
    pub(crate) fn cpu_ns_since(&self, before: &ProcessSample) -> u64 {
        let then = before.threads.iter().find(|thread| thread.id == self.id).map_or(0, |thread| thread.cpu_ns);
        self.cpu_ns.saturating_sub(then)
    }
}

impl Process {
    /// This program itself.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// The process that receives at this UDP address of this machine, if we may see that.
    pub(crate) fn at_udp(address: SocketAddr) -> Option<Self> {
        let table = fs::read_to_string(if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" }).ok()?;
        Self::holder_of(socket_inode(&table, address)?)
    }

    /// The process that listens at this TCP address of this machine, if we may see that.
    pub(crate) fn listening_at(address: SocketAddr) -> Option<Self> {
        const LISTENS: &str = "0A";
        let table = fs::read_to_string(if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" }).ok()?;
        let listening: Vec<&str> = table
            .lines()
            .enumerate()
            .filter(|(index, line)| *index == 0 || line.split_whitespace().nth(3) == Some(LISTENS))
            .map(|(_, line)| line)
            .collect();
        Self::holder_of(socket_inode(&listening.join("\n"), address)?)
    }

    fn holder_of(inode: u64) -> Option<Self> {
        let wanted = format!("socket:[{inode}]");
        let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.map(|pid| Self { pid }).find(|process| process.holds(Path::new(&wanted)))
    }

    fn holds(&self, link: &Path) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == link))
    }

    /// What it has used so far; `None` when it has ended.
    pub(crate) fn sample(&self) -> Option<ProcessSample> {
        let folder = format!("/proc/{}", self.pid);
        let (name, state, cpu_ns) = parse_stat(&fs::read_to_string(format!("{folder}/stat")).ok()?)?;
        // Zombies and the dead are still listed.
        if matches!(state, 'Z' | 'X') {
            return None;
        }
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let mut threads: Vec<ThreadSample> = fs::read_dir(format!("{folder}/task"))
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let (name, _, ticked_ns) = parse_stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
                // To the nanosecond, unless the kernel is built without it.
                let exact = fs::read_to_string(entry.path().join("schedstat")).ok();
                let exact_ns = exact.and_then(|line| line.split(' ').next()?.parse().ok());
                let id = entry.file_name().to_str()?.parse().ok()?;
                Some(ThreadSample { id, name, cpu_ns: exact_ns.unwrap_or(ticked_ns) })
            })
            .collect();
        threads.sort_by_key(|thread| thread.id);
        let descriptors = fs::read_dir(format!("{folder}/fd")).map_or(0, |folder| folder.count());
        Some(ProcessSample { name, cpu_ns, rss_bytes: parse_rss(&status)?, descriptors, threads })
    }
}

/// How many descriptors this program may have now, and may ask for.
pub(crate) fn open_files_limits() -> Option<(u64, u64)> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
    let mut words = line.split_whitespace();
    Some((number(words.next()?)?, number(words.next()?)?))
}

/// Name, state, and user and system time of a line of /proc/PID/stat. The name may hold anything, even brackets.
fn parse_stat(line: &str) -> Option<(String, char, u64)> {
    let (start, rest) = line.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 3, 14 and 15, counted from 1.
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((name.to_owned(), fields.first()?.chars().next()?, ticks * NS_PER_TICK))
}

fn parse_rss(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The socket bound to `address`, or to its port on all addresses, in a table like /proc/net/udp.
fn socket_inode(table: &str, address: SocketAddr) -> Option<u64> {
    let sockets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some((parse_ip(ip)?, port, fields.get(9)?.parse().ok()?))
    });
    let matching: Vec<(IpAddr, u16, u64)> = sockets.filter(|(_, port, _)| *port == address.port()).collect();
    let exact = matching.iter().find(|(ip, ..)| *ip == address.ip());
    exact.or_else(|| matching.iter().find(|(ip, ..)| ip.is_unspecified())).map(|(.., inode)| *inode)
}

/// The kernel prints addresses as words in the machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for start in (0..hex.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn the_owner_of_a_port_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to find there.
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            assert_eq!(Process::at_udp(socket.local_addr().unwrap()), Some(Process::own()));
        }
        let mut closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        closed.set_ip([127, 99, 1, 2].into());
        assert_eq!(Process::at_udp(closed), None);
    }

    #[test]
    fn the_listener_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _connected = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(Process::listening_at(address), Some(Process::own()));
        drop(listener);
        assert_eq!(Process::listening_at(address), None);
    }

    #[test]
    fn time_and_memory_are_read() {
        let sample = Process::own().sample().unwrap();
        assert!(sample.rss_bytes > 100_000);
        assert!(sample.threads.iter().any(|thread| thread.id == std::process::id()));
        let before = Process::own().sample().unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_millis(60) {}
        // Other tests may run beside it, in this process or others.
        let used = Process::own().sample().unwrap().cpu_ns_since(&before);
        assert!(used > 1_000_000, "{used}");
        let line = "7 (a ) b) S 1 7 7 0 -1 4194560 99 0 0 0 12 30 0 0 20 0 3 0 100 1 2";
        assert_eq!(parse_stat(line), Some(("a ) b".to_owned(), 'S', 42 * NS_PER_TICK)));
        assert!(Process { pid: u32::MAX }.sample().is_none());
    }
}
