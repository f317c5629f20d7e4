//! Where a run takes place that starts its server itself: on which CPUs, and in which network namespaces.
//!
//! Namespaces have no names. Ours begins when this program starts itself again in it, the server's is held by a
//! process that ends with us, and both go, with the pair of devices between them, when the last process in them ends:
//! nothing is left behind, however a run ends. Nobody else on the machine or its network is reached from there. The
//! kernel's threads are kept off the server's CPUs meanwhile, as from a dedicated server's.

mod cable;
mod kernel_threads;

pub(crate) use cable::{Cable, ReceiveWork};
use kernel_threads::{KernelThread, MOVE_BACK};

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

/// Tells the program that it was started again.
const MARK: &str = "PLAUSCH_BENCH_GROUND";
/// The pair of devices and its network: private addresses.
pub(crate) const DEVICE: &str = "plausch0";
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 2);
const PREFIX: u8 = 30;
/// Addresses that clients may have beside, to be many.
const MORE_CLIENTS: &str = "10.0.0.0/9";
/// And those of the server.
const MORE_SERVERS: &str = "10.214.0.0/16";
/// Until a namespace is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a lab cannot be had, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    #[error("{program} is needed, but cannot be started ({cause}); install Debian's util-linux and iproute2")]
    Missing { program: &'static str, cause: io::Error },
    #[error("`{command}` failed ({cause}); --lab makes network namespaces, so run it as root")]
    Failed { command: String, cause: String },
    #[error("--server-cpus {given:?} is no list like 1 or 2,3 of CPUs of this machine that leaves one for the clients")]
    Cpus { given: String },
    #[error("{MARK} is set, but this is no namespace of a lab; unset it")]
    NotOurs,
}

/// The prepared ground of a run.
pub(crate) struct Ground {
    server_cpus: Vec<usize>,
    client_cpus: Vec<usize>,
    cable: Cable,
    /// Holds the server's namespace until its input is closed, which it is when we end.
    holder: Option<Child>,
}

impl Ground {
    /// Prepares it: starts the program again, on the CPUs that the server does not use and, for a lab, in a network
    /// namespace of its own with this cable between both. Returns in the second start only. `server_cpus`: a list, or
    /// the last CPU.
    ///
    /// # Errors
    /// Without root (for a lab), without the programs of util-linux and iproute2, or with wrong CPUs.
    pub(crate) fn prepare(lab: bool, cable: Cable, server_cpus: Option<&str>) -> Result<Self, LabError> {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|list| parse_cpus(&list)).unwrap_or_else(own_cpus);
        let given = server_cpus.map(str::to_owned).or_else(|| Some(online.last()?.to_string())).unwrap_or_default();
        let wrong = || LabError::Cpus { given: given.clone() };
        let server_cpus = parse_cpus(&given).ok_or_else(wrong)?;
        let client_cpus: Vec<usize> = online.iter().copied().filter(|cpu| !server_cpus.contains(cpu)).collect();
        if client_cpus.is_empty() || server_cpus.iter().any(|cpu| !online.contains(cpu)) {
            return Err(wrong());
        }
        if std::env::var_os(MARK).is_none() {
            return Err(start_again(lab, &client_cpus));
        }
        let holder = match lab {
            true => Some(connect_namespaces(cable, &client_cpus, &server_cpus)?),
            false => None,
        };
        Ok(Self { server_cpus, client_cpus, cable, holder })
    }

    /// A command that runs `program` where the server belongs; it ends when we do.
    pub(crate) fn server_command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &self.server_cpu_list()]);
        if let Some(holder) = &self.holder {
            command.arg("nsenter").arg(format!("--net=/proc/{}/ns/net", holder.id())).arg("--");
        }
        // As many open files as we may have at all.
        command.args(["sh", "-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""]).arg(program);
        command
    }

    /// The address at which the server is to listen.
    pub(crate) fn server_address(&self) -> Ipv4Addr {
        if self.holder.is_some() { SERVER } else { Ipv4Addr::LOCALHOST }
    }

    /// More addresses of the server, the first of them that of `server_address`. There are 60 000.
    pub(crate) fn server_addresses(&self, count: usize) -> Vec<Ipv4Addr> {
        let more: u32 = if self.holder.is_some() { 0x0ad6_0000 } else { 0x7f00_0001 };
        let more = (1..count as u32).map(|index| Ipv4Addr::from(more + index));
        std::iter::once(self.server_address()).chain(more).collect()
    }

    pub(crate) fn server_cpus(&self) -> &[usize] {
        &self.server_cpus
    }

    pub(crate) fn client_cpus(&self) -> &[usize] {
        &self.client_cpus
    }

    /// What lies between server and clients; `None`: loopback.
    pub(crate) fn cable(&self) -> Option<Cable> {
        self.holder.is_some().then_some(self.cable)
    }

    fn server_cpu_list(&self) -> String {
        let cpus: Vec<String> = self.server_cpus.iter().map(usize::to_string).collect();
        cpus.join(",")
    }

    /// What packets go over, and where server and clients run, for reports.
    pub(crate) fn device(&self) -> String {
        let (path, alone) = match self.cable() {
            Some(cable) => {
                let path = format!("veth between two network namespaces; {}", cable.describe());
                (path, ", off which the kernel's threads are kept")
            }
            None => ("loopback".to_owned(), ""),
        };
        format!("{path}; server on CPU {}{alone}", self.server_cpu_list())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}

/// Replaces this process by a new start of itself; returns only what kept it from that.
fn start_again(lab: bool, cpus: &[usize]) -> LabError {
    let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &list.join(",")]);
    if lab {
        // Told before it is tried, because `unshare` would speak in its own words.
        if let Err(error) = run(&["unshare", "--net", "true"]) {
            return error;
        }
        command.args(["unshare", "--net", "--"]);
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    command.arg(program).args(std::env::args_os().skip(1)).env(MARK, "1");
    LabError::Missing { program: "taskset", cause: command.exec() }
}

/// Makes the server's namespace and joins it to ours; returns the process that holds it.
fn connect_namespaces(cable: Cable, clients: &[usize], servers: &[usize]) -> Result<Child, LabError> {
    // Where there are other devices, somebody else's network begins.
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    if devices.lines().skip(2).any(|line| !line.trim_start().starts_with("lo:")) {
        return Err(LabError::NotOurs);
    }
    run(&["ip", "link", "set", "lo", "up"])?;
    let kernel_threads = KernelThread::on(servers);
    let holder = Command::new("unshare")
        .args(["--net", "sh", "-c", MOVE_BACK, "sh"])
        .args(kernel_threads.iter().flat_map(KernelThread::back))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|cause| LabError::Missing { program: "unshare", cause })?;
    kernel_threads.iter().for_each(KernelThread::move_away);
    let pid = holder.id().to_string();
    let theirs = format!("--net=/proc/{pid}/ns/net");
    let begin = Instant::now();
    // `unshare` is still in our namespace for a moment.
    while fs::read_link(format!("/proc/{pid}/ns/net")).ok() == fs::read_link("/proc/self/ns/net").ok() {
        if begin.elapsed() > PATIENCE {
            return Err(LabError::Failed { command: "unshare --net".to_owned(), cause: "no namespace".to_owned() });
        }
        sleep(Duration::from_millis(5));
    }
    run(&["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", &pid])?;
    run(&["ip", "address", "add", &format!("{CLIENTS}/{PREFIX}"), "dev", DEVICE])?;
    run(&["ip", "link", "set", DEVICE, "up"])?;
    run(&["nsenter", &theirs, "ip", "link", "set", "lo", "up"])?;
    run(&["nsenter", &theirs, "ip", "address", "add", &format!("{SERVER}/{PREFIX}"), "dev", DEVICE])?;
    run(&["nsenter", &theirs, "ip", "link", "set", DEVICE, "up"])?;
    for (network, ours, gateway) in [(MORE_CLIENTS, true, CLIENTS), (MORE_SERVERS, false, SERVER)] {
        let near: &[&str] = if ours { &[] } else { &["nsenter", &theirs] };
        let far: &[&str] = if ours { &["nsenter", &theirs] } else { &[] };
        run(&[near, &["ip", "route", "add", "local", network, "dev", "lo"]].concat())?;
        run(&[far, &["ip", "route", "add", network, "via", &gateway.to_string(), "dev", DEVICE]].concat())?;
    }
    cable.set_up(&[], DEVICE, clients, false)?;
    cable.set_up(&["nsenter", &theirs], DEVICE, servers, true)?;
    Ok(holder)
}

/// Runs a command to its end.
fn run(words: &[&str]) -> Result<(), LabError> {
    let failed = |cause: String| LabError::Failed { command: words.join(" "), cause };
    let [program, arguments @ ..] = words else { return Ok(()) };
    let output = Command::new(program).args(arguments).output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

fn own_cpus() -> Vec<usize> {
    (0..available_parallelism().map_or(1, usize::from)).collect()
}

/// A list like `0-3,8` (`cpulist` of the kernel).
pub(crate) fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last > 4096 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_cpus("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse_cpus("1"), Some(vec![1]));
        assert_eq!(parse_cpus("0,2-4"), Some(vec![0, 2, 3, 4]));
        for wrong in ["", "a", "3-1", "1-", "0-99999"] {
            assert_eq!(parse_cpus(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn cpus_that_leave_none_for_clients_are_refused() {
        let all = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        for wrong in [all.trim(), "4095", "x"] {
            assert!(
                matches!(Ground::prepare(false, Cable::default(), Some(wrong)), Err(LabError::Cpus { .. })),
                "{wrong:?}"
            );
        }
    }
}
