//! CPU time of the whole machine, to tell whether something else disturbed a run.

use super::NS_PER_TICK;
use std::fs;

/// CPU time since boot, of all CPUs or some of them together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Machine {
    total_ns: u64,
    busy_ns: u64,
    /// Not by samples at ticks, but by when the CPU went to sleep and woke up.
    idle_ns: u64,
    softirq_ns: u64,
    steal_ns: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct MachineUse {
    pub(crate) total_ns: u64,
    pub(crate) busy_ns: u64,
    pub(crate) idle_ns: u64,
    /// Network work outside of any process's account. A kernel without IRQ_TIME_ACCOUNTING charges most of it to
    /// the process it interrupts, so it must not be added to that.
    pub(crate) softirq_ns: u64,
    /// Taken by the hypervisor for others.
    pub(crate) steal_ns: u64,
}

impl Machine {
    /// Of all CPUs, by /proc/stat.
    pub(crate) fn sample() -> Option<Self> {
        Self::parse(fs::read_to_string("/proc/stat").ok()?.lines().next()?)
    }

    /// Of these CPUs.
    pub(crate) fn sample_of(cpus: &[usize]) -> Option<Self> {
        Self::parse_of(&fs::read_to_string("/proc/stat").ok()?, cpus)
    }

    fn parse_of(stat: &str, cpus: &[usize]) -> Option<Self> {
        let mut all = Self::default();
        for cpu in cpus {
            let name = format!("cpu{cpu} ");
            let one = Self::parse(stat.lines().find(|line| line.starts_with(&name))?)?;
            all.total_ns += one.total_ns;
            all.busy_ns += one.busy_ns;
            all.idle_ns += one.idle_ns;
            all.softirq_ns += one.softirq_ns;
            all.steal_ns += one.steal_ns;
        }
        Some(all)
    }

    /// user nice system idle iowait irq softirq steal guest guest_nice; the guests are part of user and nice.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("cpu")?.split_whitespace();
        // `cpu` is all of them, and has no number.
        if !line.starts_with("cpu ") {
            fields.next();
        }
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *ticks.first_chunk::<8>()?;
        let busy = user + nice + system + irq + softirq;
        Some(Self {
            total_ns: (busy + idle + iowait + steal) * NS_PER_TICK,
            busy_ns: busy * NS_PER_TICK,
            idle_ns: (idle + iowait) * NS_PER_TICK,
            softirq_ns: softirq * NS_PER_TICK,
            steal_ns: steal * NS_PER_TICK,
        })
    }

    /// From an earlier sample to this one.
    pub(crate) fn since(&self, before: &Self) -> MachineUse {
        MachineUse {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            busy_ns: self.busy_ns.saturating_sub(before.busy_ns),
            idle_ns: self.idle_ns.saturating_sub(before.idle_ns),
            softirq_ns: self.softirq_ns.saturating_sub(before.softirq_ns),
            steal_ns: self.steal_ns.saturating_sub(before.steal_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let before = Machine::default();
        let now = Machine::parse("cpu  10 1 5 70 4 1 6 3 2 0").unwrap();
        let used = now.since(&before);
        assert_eq!(used.total_ns, 100 * NS_PER_TICK);
        assert_eq!(used.busy_ns, 23 * NS_PER_TICK);
        assert_eq!((used.softirq_ns, used.steal_ns), (6 * NS_PER_TICK, 3 * NS_PER_TICK));
        assert_eq!(used.idle_ns, 74 * NS_PER_TICK);
        assert!(Machine::parse("cpu  1 2").is_none());
        assert!(Machine::sample().is_some());
    }

    #[test]
    fn single_cpus_are_told_apart() {
        let stat = "cpu  9 9 9 9 9 9 9 9\ncpu1 1 0 0 5 0 0 0 0\ncpu10 2 0 0 6 0 0 0 1\ncpu2 4 0 0 7 0 0 0 2\nintr 1\n";
        let use_of = |cpus: &[usize]| Machine::parse_of(stat, cpus).map(|sum| sum.since(&Machine::default()));
        assert_eq!(use_of(&[1]).unwrap().busy_ns, NS_PER_TICK);
        let both = use_of(&[10, 2]).unwrap();
        assert_eq!((both.busy_ns, both.idle_ns, both.steal_ns), (6 * NS_PER_TICK, 13 * NS_PER_TICK, 3 * NS_PER_TICK));
        assert!(use_of(&[3]).is_none());
    }
}
