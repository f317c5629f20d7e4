//! The pair of devices between two namespaces: which CPUs work for what comes out of it, and who cuts runs of packets.
//!
//! Left to itself, a packet that goes through veth is received within the system call that sends it: the whole way up to
//! the receiver's socket counts as the sender's work. Between two machines each does its own part. The kernel can hand
//! packets to chosen CPUs when they come out of a device (receive packet steering), which makes two machines of two sets
//! of CPUs.

use super::{LabError, run};
use clap::{Args, ValueEnum};

/// Flattened into the arguments of whatever makes a lab.
#[derive(Args, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cable {
    /// In a lab: on whose CPUs the kernel receives.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) receive_work: ReceiveWork,
    /// In a lab: who cuts the server's runs of packets (UDP_SEGMENT) into packets.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) segmentation: Segmentation,
}

/// On whose CPUs packets go from the device to the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum ReceiveWork {
    /// Those of the end that receives, as between two machines.
    #[default]
    Own,
    /// Those of the end that sends, within its system calls, as veth does by itself.
    Sender,
}

/// Who cuts runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Segmentation {
    /// Nobody at the server: network cards that can do it send runs as packets. Here they are cut where they are received.
    #[default]
    Device,
    /// The server's kernel, as where the network card cannot.
    Kernel,
}

impl Cable {
    /// For the heads of reports.
    pub(crate) fn describe(self) -> String {
        let receive = match self.receive_work {
            ReceiveWork::Own => "each end receives on its own CPUs, as two machines would",
            ReceiveWork::Sender => "all receive work is done within the sender's calls, and counts as its own",
        };
        let segmentation = match self.segmentation {
            Segmentation::Device => "runs are cut behind the server, as by a network card",
            Segmentation::Kernel => "runs are cut by the server's kernel",
        };
        format!("{receive}; {segmentation}")
    }

    /// As arguments; nothing where the default is meant.
    pub(crate) fn words(self) -> Vec<String> {
        let named = |default: bool, name: &str, value: Option<clap::builder::PossibleValue>| {
            let value = value.filter(|_| !default)?;
            Some([name.to_owned(), value.get_name().to_owned()])
        };
        let Self { receive_work, segmentation } = self;
        let receive_work =
            named(receive_work == ReceiveWork::default(), "--receive-work", receive_work.to_possible_value());
        let segmentation =
            named(segmentation == Segmentation::default(), "--segmentation", segmentation.to_possible_value());
        [receive_work, segmentation].into_iter().flatten().flatten().collect()
    }

    /// Sets up one end: `enter` is the command that leads into its namespace, `cpus` are its own.
    ///
    /// # Errors
    /// Without root, and on kernels without receive packet steering.
    pub(crate) fn set_up(self, enter: &[&str], device: &str, cpus: &[usize], is_server: bool) -> Result<(), LabError> {
        if self.receive_work == ReceiveWork::Own {
            let mask = mask(cpus);
            run(&[enter, &["unshare", "--mount", "sh", "-c", STEER, device, &mask]].concat())?;
        }
        if is_server && self.segmentation == Segmentation::Kernel {
            run(&[enter, &["ip", "link", "set", device, "gso_max_segs", "1"]].concat())?;
        }
        Ok(())
    }
}

/// A namespace's devices are seen in a sysfs that was mounted in it.
const STEER: &str = r#"mount -t sysfs sysfs /sys || exit
for queue in /sys/class/net/"$0"/queues/rx-*; do echo "$1" > "$queue/rps_cpus" || exit; done"#;

/// As the kernel reads sets of CPUs: hexadecimal words of 32 bits, the highest first.
fn mask(cpus: &[usize]) -> String {
    let words = cpus.iter().max().map_or(1, |highest| highest / 32 + 1);
    let word = |index: usize| {
        let bits = cpus.iter().filter(|cpu| **cpu / 32 == index).map(|cpu| 1u32 << (cpu % 32));
        format!("{:08x}", bits.fold(0, |all, bit| all | bit))
    };
    (0..words).rev().map(word).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_default_is_said() {
        assert!(Cable::default().words().is_empty());
        let cable = Cable { receive_work: ReceiveWork::Sender, segmentation: Segmentation::Kernel };
        assert_eq!(cable.words(), ["--receive-work", "sender", "--segmentation", "kernel"]);
    }

    #[test]
    fn masks_are_as_the_kernel_reads_them() {
        assert_eq!(mask(&[1]), "00000002");
        assert_eq!(mask(&[0, 2, 31]), "80000005");
        assert_eq!(mask(&[33, 0]), "00000002,00000001");
        assert_eq!(mask(&[]), "00000000");
    }
}
