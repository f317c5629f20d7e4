//! Moments of a run, and what lies between them.

use super::course::Course;
use crate::commands::turn::Flooding;
use crate::ground::{Machine, MachineUse, Process, ProcessSample};
use crate::run::crowd::Crowd;
use crate::run::target::Target;
use anyhow::anyhow;
use plausch_client::{Ages, Histogram, Tally};
use std::time::{Duration, Instant};

/// Between two lines of progress.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// All counters at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) received: u64,
    pub(crate) expected: u64,
    /// The server's processes, the one that carries media first; none where they are out of sight.
    pub(crate) server: Vec<ProcessSample>,
    pub(crate) bench: ProcessSample,
    pub(crate) machine: Machine,
    /// The CPUs that nobody but the server should use.
    pub(crate) pinned: Option<Machine>,
    pub(crate) pinned_cpus: usize,
}

/// A whole run.
pub(crate) struct Measured {
    pub(crate) target: Target,
    pub(crate) tally: Tally,
    pub(crate) course: Course,
    /// Ages at the receivers' devices.
    pub(crate) arrived: Histogram,
    pub(crate) joins: Histogram,
    pub(crate) participants: usize,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    /// Memory of the server when one participant had joined.
    pub(crate) rss_alone: Option<u64>,
    pub(crate) profile: Option<&'static str>,
    /// Somebody ended it early.
    pub(crate) stopped: bool,
    /// Limits of the server that were met, a sentence each.
    pub(crate) limits: Vec<String>,
    pub(crate) flooded: Option<Flooded>,
}

/// What was measured beside a flood, after the rest.
pub(crate) struct Flooded {
    pub(crate) flooding: Flooding,
    pub(crate) ages: Ages,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
}

impl Measured {
    /// What the server's own CPUs did, where it has such.
    pub(crate) fn pinned_use(&self) -> Option<MachineUse> {
        Some(self.end.pinned.as_ref()?.since(self.begin.pinned.as_ref()?))
    }

    /// For how long they did anything: what is left of the time. Sums of samples at ticks miss most of what is short.
    pub(crate) fn pinned_busy_ns(&self) -> Option<u64> {
        let used = self.pinned_use()?;
        let wall_ns = (self.end.at - self.begin.at).as_nanos() as u64 * self.target.cpus.len() as u64;
        Some(wall_ns.saturating_sub(used.idle_ns + used.steal_ns))
    }
}

impl Moment {
    pub(crate) fn take(crowd: &Crowd, target: &Target) -> anyhow::Result<Self> {
        let traffic = crowd.traffic();
        Ok(Self {
            at: Instant::now(),
            received: traffic.received.all(),
            expected: traffic.expected.all(),
            server: sample(target)?,
            bench: Process::own().sample().unwrap_or_default(),
            machine: Machine::sample().unwrap_or_default(),
            pinned_cpus: target.cpus.len(),
            pinned: (!target.cpus.is_empty()).then(|| Machine::sample_of(&target.cpus)).flatten(),
        })
    }

    /// CPU time of the server since then.
    pub(crate) fn server_cpu_ns(&self, before: &Self) -> Option<u64> {
        let used = |(now, then): (&ProcessSample, &ProcessSample)| now.cpu_ns_since(then);
        (!self.server.is_empty()).then(|| self.server.iter().zip(&before.server).map(used).sum())
    }

    pub(crate) fn bench_cpu_ns(&self, before: &Self) -> u64 {
        self.bench.cpu_ns_since(&before.bench)
    }

    /// One line about the time since `before`.
    pub(crate) fn progress(&self, begin: &Self, before: &Self) -> String {
        let time = (self.at - before.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / time;
        let share = |ns: u64| ns as f64 / 1e9 / time * 100.0;
        let server = match self.server_cpu_ns(before) {
            Some(ns) => {
                let packets = self.received.saturating_sub(before.received).max(1);
                format!("server {:3.0} % CPU, {:6} ns/packet", share(ns), ns / packets)
            }
            None => "server out of sight".to_owned(),
        };
        format!(
            "{:4.0} s  in {:7.0} of {:7.0} packets/s  {server}  bench {:3.0} % CPU",
            (self.at - begin.at).as_secs_f64(),
            rate(self.received, before.received),
            rate(self.expected, before.expected),
            share(self.bench_cpu_ns(before)),
        )
    }
}

/// What the server's processes have used so far.
pub(crate) fn sample(target: &Target) -> anyhow::Result<Vec<ProcessSample>> {
    let ended = |process: &Process| {
        let pid = process.pid;
        anyhow!("the server (process {pid}) ended in the middle of the run; look into its log")
    };
    target.processes.iter().map(|process| process.sample().ok_or_else(|| ended(process))).collect()
}
