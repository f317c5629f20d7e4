//! CPU time of the whole machine, to tell whether something else disturbed a run.

use super::NS_PER_TICK;
use std::fs;

/// CPU time since boot, all CPUs together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    total_ns: u64,
    busy_ns: u64,
    softirq_ns: u64,
    steal_ns: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct MachineUse {
    pub total_ns: u64,
    pub busy_ns: u64,
    /// Network work outside of any process's account. A kernel without IRQ_TIME_ACCOUNTING charges most of it to
    /// the process it interrupts, so it must not be added to that.
    pub softirq_ns: u64,
    /// Taken by the hypervisor for others.
    pub steal_ns: u64,
}

impl Machine {
    /// Reads /proc/stat.
    pub fn sample() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// user nice system idle iowait irq softirq steal guest guest_nice; the guests are part of user and nice.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *ticks.first_chunk::<8>()?;
        let busy = user + nice + system + irq + softirq;
        Some(Self {
            total_ns: (busy + idle + iowait + steal) * NS_PER_TICK,
            busy_ns: busy * NS_PER_TICK,
            softirq_ns: softirq * NS_PER_TICK,
            steal_ns: steal * NS_PER_TICK,
        })
    }

    /// From an earlier sample to this one.
    pub fn since(&self, before: &Self) -> MachineUse {
        MachineUse {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            busy_ns: self.busy_ns.saturating_sub(before.busy_ns),
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
        let now = Machine::parse("cpu  10 1 5 70 4 1 6 3 2 0\ncpu0 1 1 1\n").unwrap();
        let used = now.since(&before);
        assert_eq!(used.total_ns, 100 * NS_PER_TICK);
        assert_eq!(used.busy_ns, 23 * NS_PER_TICK);
        assert_eq!((used.softirq_ns, used.steal_ns), (6 * NS_PER_TICK, 3 * NS_PER_TICK));
        assert!(Machine::parse("cpu  1 2").is_none());
        assert!(Machine::sample().is_some());
    }
}
