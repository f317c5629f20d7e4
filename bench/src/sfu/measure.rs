//! Moments of a run, and what lies between them.

use crate::crowd::Crowd;
use anyhow::anyhow;
use plausch_bench::client::Histogram;
use plausch_bench::load::{Machine, Process, ProcessSample, Tally};
use std::time::{Duration, Instant};

/// Between two lines of progress.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// All counters at one moment.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) received: u64,
    pub(super) expected: u64,
    pub(super) relay: Option<ProcessSample>,
    pub(super) bench: ProcessSample,
    pub(super) machine: Machine,
}

/// A whole run.
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) joins: Histogram,
    pub(super) participants: usize,
    pub(super) begin: Moment,
    pub(super) end: Moment,
    pub(super) relay: Option<Process>,
    /// Memory of the relay when one participant had joined.
    pub(super) rss_alone: Option<u64>,
    pub(super) profile: Option<&'static str>,
}

impl Moment {
    pub(super) fn take(crowd: &Crowd, relay: Option<Process>) -> anyhow::Result<Self> {
        let sample = |relay: Process| {
            relay.sample().ok_or_else(|| {
                anyhow!("the relay (process {}) ended in the middle of the run; look into its log", relay.pid)
            })
        };
        let relay = relay.map(sample).transpose()?;
        let traffic = crowd.traffic();
        Ok(Self {
            at: Instant::now(),
            received: traffic.received.all(),
            expected: traffic.expected.all(),
            relay,
            bench: Process::own().sample().unwrap_or_default(),
            machine: Machine::sample().unwrap_or_default(),
        })
    }

    /// CPU time of the relay since then.
    pub(super) fn relay_cpu_ns(&self, before: &Self) -> Option<u64> {
        Some(self.relay.as_ref()?.cpu_ns.saturating_sub(before.relay.as_ref()?.cpu_ns))
    }

    pub(super) fn bench_cpu_ns(&self, before: &Self) -> u64 {
        self.bench.cpu_ns.saturating_sub(before.bench.cpu_ns)
    }

    /// One line about the time since `before`.
    pub(super) fn progress(&self, begin: &Self, before: &Self) -> String {
        let time = (self.at - before.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| (now - then) as f64 / time;
        let share = |ns: u64| ns as f64 / 1e9 / time * 100.0;
        let relay = match self.relay_cpu_ns(before) {
            Some(ns) => {
                let packets = (self.received - before.received).max(1);
                format!("relay {:3.0} % CPU, {:6} ns/packet", share(ns), ns / packets)
            }
            None => "relay out of sight".to_owned(),
        };
        format!(
            "{:4.0} s  in {:7.0} of {:7.0} packets/s  {relay}  bench {:3.0} % CPU",
            (self.at - begin.at).as_secs_f64(),
            rate(self.received, before.received),
            rate(self.expected, before.expected),
            share(self.bench_cpu_ns(before)),
        )
    }
}
