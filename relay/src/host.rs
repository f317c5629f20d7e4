//! What this host gives a relay and what it lacks, in plain sentences: `plausch-relay check`. Nothing is changed, and
//! everything that can be tried is tried, for what a kernel says it can and what a container allows are two things.

use crate::config::Config;
use crate::cpus::{self, Topology};
use crate::driver::uring::Uring;
use crate::driver::{self, Driver, Sockets, Waker, set_option};
use plausch_engine::{LocalSocket, Path as PacketPath, TxBatch};
use plausch_relay_api::limits::{RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES};
use std::fmt;
use std::fs;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// One sentence about the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// It works, and could be better.
    Lacking(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(sentence) => write!(f, "ok    {sentence}"),
            Self::Lacking(sentence) => write!(f, "note  {sentence}"),
        }
    }
}

use Finding::{Good, Lacking};

/// Looks at everything that matters for media.
pub fn check(config: &Config) -> Vec<Finding> {
    let root = Path::new("/");
    let topology = Topology::read(root);
    let mut findings = Vec::new();
    findings.extend(cpus_of(config, &topology, root));
    findings.push(io_uring());
    findings.extend(udp());
    findings.extend(rights());
    findings.extend(interrupts(&config.cpus, root));
    findings
}

/// The CPUs of the shards and what they share.
fn cpus_of(config: &Config, topology: &Topology, root: &Path) -> Vec<Finding> {
    let shards = &config.cpus;
    let mut findings = Vec::new();
    let allowed = cpus::allowed().unwrap_or_default();
    let list = cpu_list(shards);
    findings.push(if shards.len() < allowed.len() {
        Good(format!("Media runs on CPU {list} of {}; the others are for everything else.", allowed.len()))
    } else {
        Lacking(format!(
            "Media runs on CPU {list}, which is all there is: handshakes and the kernel's work disturb it."
        ))
    });
    let isolated = read(root, "sys/devices/system/cpu/isolated").map(|text| parse_cpu_list(&text)).unwrap_or_default();
    let alone = shards.iter().all(|cpu| isolated.contains(cpu));
    findings.push(if alone {
        Good("These CPUs are isolated from other programs.".to_owned())
    } else {
        Lacking(format!(
            "Other programs may run on these CPUs; the kernel parameter isolcpus={list} would keep them away."
        ))
    });
    if let (false, Some(model)) = (alone, preemption(root)) {
        findings.push(match model.as_str() {
            "full" | "rt" => Good("The kernel's own threads are interrupted for media.".to_owned()),
            model => Lacking(format!(
                "The kernel's own threads may run on these CPUs, too, and are not interrupted for media (preempt={model}): \
                 packets wait for milliseconds then; preempt=full would end that, and so would isolcpus={list}."
            )),
        });
    }
    let shared: Vec<usize> =
        shards.iter().copied().filter(|cpu| topology.siblings(*cpu).any(|other| other != *cpu)).collect();
    if let Some(&cpu) = shared.first() {
        let siblings: Vec<usize> = topology.siblings(cpu).collect();
        let both = siblings.iter().filter(|sibling| shards.contains(sibling)).count() > 1;
        findings.push(if both {
            Lacking(format!(
                "CPUs {} are halves of one core and both carry media: they share its time.",
                cpu_list(&siblings)
            ))
        } else {
            Good(format!("CPUs {} are halves of one core, and only one of them carries media.", cpu_list(&siblings)))
        });
    } else {
        findings
            .push(Good("Each of these CPUs is a core of its own, or the machine does not say otherwise.".to_owned()));
    }
    for (interface, node) in network_nodes(root) {
        let far: Vec<usize> = shards.iter().copied().filter(|cpu| topology.node(*cpu) != Some(node)).collect();
        findings.push(if far.is_empty() {
            Good(format!("Network device {interface} and the CPUs of media belong to the same memory node {node}."))
        } else {
            Lacking(format!(
                "Network device {interface} belongs to memory node {node}, but CPU {} does not: packets travel between nodes.",
                cpu_list(&far)
            ))
        });
    }
    let governors: Vec<String> = shards
        .iter()
        .filter_map(|cpu| read(root, &format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")))
        .collect();
    match governors.iter().find(|governor| *governor != "performance") {
        Some(governor) => findings.push(Lacking(format!(
            "The CPU governor is \"{governor}\"; \"performance\" spares media the time in which clocks rise."
        ))),
        None if governors.is_empty() => {}
        None => findings.push(Good("The CPU governor is \"performance\".".to_owned())),
    }
    findings
}

/// How the kernel interrupts itself: `none`, `voluntary`, `lazy`, `full` or `rt`, as it was told at its start, as it says
/// where that may be read, or as it was built.
fn preemption(root: &Path) -> Option<String> {
    let told =
        || read(root, "proc/cmdline")?.split(' ').find_map(|word| Some(word.strip_prefix("preempt=")?.to_owned()));
    let says = || Some(read(root, "sys/kernel/debug/sched/preempt")?.split_once('(')?.1.split_once(')')?.0.to_owned());
    let built = || {
        let configuration = read(root, &format!("boot/config-{}", read(root, "proc/sys/kernel/osrelease")?))?;
        let is_set = |name: &str| configuration.lines().any(|line| line.strip_suffix("=y") == Some(name));
        let models = [
            ("CONFIG_PREEMPT_RT", "rt"),
            ("CONFIG_PREEMPT", "full"),
            ("CONFIG_PREEMPT_LAZY", "lazy"),
            ("CONFIG_PREEMPT_VOLUNTARY", "voluntary"),
            ("CONFIG_PREEMPT_NONE", "none"),
        ];
        models.into_iter().find_map(|(name, model)| is_set(name).then(|| model.to_owned()))
    };
    told().or_else(says).or_else(built)
}

fn io_uring() -> Finding {
    let opened = loopback().and_then(|sockets| Uring::open(sockets, Waker::new()?, &()).map(drop));
    match opened {
        Ok(()) => Good("io_uring is there, with multishot receive.".to_owned()),
        Err(error) => Lacking(format!(
            "io_uring is not to be had ({error}); the relay uses recvmmsg instead, which works as well and costs a little more."
        )),
    }
}

/// Segmentation, aggregation and buffers of UDP sockets.
fn udp() -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match segmentation() {
        Ok(true) => Good("The kernel cuts runs of packets apart (UDP_SEGMENT): a frame costs one system call for each viewer.".to_owned()),
        Ok(false) | Err(_) => Lacking(
            "The kernel does not cut runs of packets apart (UDP_SEGMENT, Linux 4.18): sending costs several times as much.".to_owned(),
        ),
    });
    let Ok(sockets) = loopback() else {
        return vec![Lacking("No UDP socket can be bound on 127.0.0.1.".to_owned())];
    };
    let socket = &sockets[0];
    let aggregates = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
    findings.push(if aggregates {
        Good("The kernel can hand over packets of one sender together (UDP_GRO).".to_owned())
    } else {
        Lacking("The kernel cannot hand over packets of one sender together (UDP_GRO, Linux 5.0).".to_owned())
    });
    let granted = driver::received_buffer(socket);
    findings.push(if granted >= 2 * RECEIVE_BUFFER_BYTES {
        Good(format!("Receive buffers are {} KiB.", granted / 2048))
    } else {
        Lacking(format!(
            "Receive buffers are {} KiB, and bursts may be lost: sysctl net.core.rmem_max={RECEIVE_BUFFER_BYTES} allows {} KiB (and wmem_max={SEND_BUFFER_BYTES} as much as is useful to send).",
            granted / 2048,
            RECEIVE_BUFFER_BYTES / 1024
        ))
    });
    findings.push(match set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, 50) {
        Ok(()) => Good(
            "Sockets may be polled without interrupts (SO_BUSY_POLL), where the network device knows how.".to_owned(),
        ),
        Err(error) => Lacking(format!("Sockets may not be polled without interrupts (SO_BUSY_POLL): {error}.")),
    });
    findings
}

/// Locked memory and real-time scheduling.
fn rights() -> Vec<Finding> {
    let limit = |resource| {
        // SAFETY: a C struct of integers, for which zeroes are valid.
        let mut limit: libc::rlimit = unsafe { zeroed() };
        // SAFETY: `limit` lives until the call returns.
        let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
        (result == 0).then_some(limit.rlim_cur)
    };
    let locked = match limit(libc::RLIMIT_MEMLOCK) {
        Some(libc::RLIM_INFINITY) => {
            Good("Memory may be locked without limit, as lock_memory in [media] wants.".to_owned())
        }
        Some(bytes) if locks_more_than(bytes) => {
            Good("Memory may be locked by this user without limit, as lock_memory in [media] wants.".to_owned())
        }
        Some(bytes) => Lacking(format!(
            "Only {} KiB may be locked in memory: lock_memory in [media] would fail; ulimit -l unlimited allows it.",
            bytes / 1024
        )),
        None => Lacking("The limit for locked memory is not to be had.".to_owned()),
    };
    // On a thread of its own, which ends: the scheduling of this one stays.
    let tried = std::thread::spawn(cpus::set_realtime).join().unwrap_or_else(|_| Err(io::Error::other("no thread")));
    let scheduled = match tried {
        Ok(()) => Good("Threads of media may have real-time priority, as realtime in [media] wants.".to_owned()),
        Err(error) => Lacking(format!(
            "Real-time priority is refused ({error}): realtime in [media] needs CAP_SYS_NICE or ulimit -r {}.",
            cpus::REALTIME_PRIORITY
        )),
    };
    vec![locked, scheduled]
}

/// Whether the limit does not hold for this process (CAP_IPC_LOCK). Tried with memory that is given back at once.
fn locks_more_than(limit: u64) -> bool {
    const TRIED_AT_MOST: u64 = 64 << 20;
    if limit > TRIED_AT_MOST {
        return false;
    }
    let memory = vec![0u8; limit as usize + 4096];
    // SAFETY: the range is `memory`, which lives until it is unlocked.
    unsafe {
        let locked = libc::mlock(memory.as_ptr().cast(), memory.len()) == 0;
        libc::munlock(memory.as_ptr().cast(), memory.len());
        locked
    }
}

/// Interrupts of network devices that only the CPUs of media serve.
fn interrupts(shards: &[usize], root: &Path) -> Option<Finding> {
    let mut bound = Vec::new();
    for name in network_devices(root) {
        for number in children(root, &format!("sys/class/net/{name}/device/msi_irqs")) {
            let list = read(root, &format!("proc/irq/{number}/smp_affinity_list")).unwrap_or_default();
            let cpus = parse_cpu_list(&list);
            if !cpus.is_empty() && cpus.iter().all(|cpu| shards.contains(cpu)) {
                bound.push(format!("{number} ({name})"));
            }
        }
    }
    (!bound.is_empty()).then(|| {
        Lacking(format!(
            "Interrupts {} come to CPUs of media only; other CPUs in /proc/irq/…/smp_affinity_list would spare media that work.",
            bound.join(", ")
        ))
    })
}

fn loopback() -> io::Result<Sockets> {
    Ok(vec![driver::bind((Ipv4Addr::LOCALHOST, 0).into())?].into())
}

/// Sends a run of two over loopback and looks whether two arrive.
fn segmentation() -> io::Result<bool> {
    let sockets = loopback()?;
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    peer.set_read_timeout(Some(Duration::from_millis(200)))?;
    let path = PacketPath { local: LocalSocket(0), remote: peer.local_addr()? };
    let mut tx = TxBatch::new(4096, 4);
    tx.push(path, &[1; 100]);
    tx.push(path, &[2; 100]);
    let mut driver = driver::mmsg::Mmsg::open(sockets, Waker::new()?, &())?;
    driver.send(&mut tx)?;
    let mut buffer = [0; 400];
    let lens = [peer.recv(&mut buffer)?, peer.recv(&mut buffer)?];
    Ok(lens == [100, 100] && driver.counters().sent_messages == 1)
}

/// Network devices that are hardware, or look like it.
fn network_devices(root: &Path) -> Vec<String> {
    let mut names = children(root, "sys/class/net");
    names.retain(|name| root.join(format!("sys/class/net/{name}/device")).exists());
    names
}

/// Those that say which memory node they belong to.
fn network_nodes(root: &Path) -> Vec<(String, usize)> {
    let node = |name: &String| read(root, &format!("sys/class/net/{name}/device/numa_node"))?.parse().ok();
    network_devices(root).into_iter().filter_map(|name| Some((name.clone(), node(&name)?))).collect()
}

fn children(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn read(root: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(root.join(file)).ok()?.trim().to_owned())
}

/// "0-3,8" as the kernel writes it.
pub(crate) fn parse_cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?.min(libc::CPU_SETSIZE as usize))
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn cpu_list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cpus: &[usize]) -> Config {
        let mut config = Config::load(None, |name| (name == "HOME").then(|| "/nowhere".to_owned())).unwrap();
        config.cpus = cpus.to_vec();
        config
    }

    fn machine(files: &[(&str, &str)]) -> std::path::PathBuf {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("plausch-host-test-{}-{number}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_cpu_list("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_cpu_list("5\n"), [5]);
        assert!(parse_cpu_list("").is_empty() && parse_cpu_list("x-,3-y").is_empty());
        assert!(parse_cpu_list("0-99999999999").len() <= libc::CPU_SETSIZE as usize + 1);
    }

    #[test]
    fn how_the_kernel_interrupts_itself() {
        let built = "# CONFIG_PREEMPT_NONE is not set\nCONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y\n";
        let release = ("proc/sys/kernel/osrelease", "6.12.1\n");
        for (files, expected) in [
            (vec![("proc/cmdline", "quiet preempt=full ro\n"), release, ("boot/config-6.12.1", built)], Some("full")),
            (vec![("proc/cmdline", "quiet ro\n"), release, ("boot/config-6.12.1", built)], Some("voluntary")),
            (vec![release, ("boot/config-6.12.1", "CONFIG_PREEMPT_BUILD=y\nCONFIG_PREEMPT=y\n")], Some("full")),
            (vec![release], None),
        ] {
            let root = machine(&files);
            assert_eq!(preemption(&root).as_deref(), expected, "{files:?}");
            fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn what_a_machine_lacks_is_said() {
        let root = machine(&[
            ("sys/devices/system/cpu/isolated", "\n"),
            ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2,6\n"),
            ("sys/devices/system/cpu/cpu6/topology/thread_siblings_list", "2,6\n"),
            ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/node/node0/cpulist", "0-7\n"),
            ("sys/devices/system/node/node1/cpulist", "8-15\n"),
            ("sys/class/net/eth0/device/numa_node", "1\n"),
            ("sys/class/net/eth0/device/msi_irqs/40", ""),
            ("sys/class/net/eth0/device/msi_irqs/41", ""),
            ("proc/irq/40/smp_affinity_list", "2\n"),
            ("proc/irq/41/smp_affinity_list", "0-3\n"),
            ("sys/kernel/debug/sched/preempt", "none (voluntary) full lazy\n"),
        ]);
        let topology = Topology::read(&root);
        let said = |findings: &[Finding]| findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n");
        let text = said(&cpus_of(&config(&[2, 6]), &topology, &root));
        for part in [
            "isolcpus=2,6",
            "preempt=voluntary",
            "CPUs 2,6 are halves of one core and both",
            "\"powersave\"",
            "eth0 belongs to memory node 1",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let text = said(&interrupts(&[2, 6], &root).into_iter().collect::<Vec<_>>());
        assert!(text.contains("40 (eth0)") && !text.contains("41"), "{text}");
        assert_eq!(interrupts(&[7], &root), None);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_host_is_looked_at_and_nothing_stays_changed() {
        let before = cpus::allowed().unwrap();
        let findings = check(&config(&before));
        assert!(findings.len() >= 8, "{findings:?}");
        // Each a sentence.
        assert!(findings.iter().all(|finding| finding.to_string().ends_with('.')), "{findings:?}");
        assert_eq!(cpus::allowed().unwrap(), before);
    }
}
