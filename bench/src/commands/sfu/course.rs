//! How a run went, second by second, for its pictures.

use super::measure::Moment;
use crate::report::figures::{counts_ms, curve_ms};
use plausch_client::{Ages, Histogram};

/// See the module. Times are in seconds since the measurement began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    pub(crate) seconds: Vec<Second>,
    /// Shares of the packets that were looked into, and the largest age of each share in milliseconds.
    pub(crate) latency_curve: Vec<(f64, f64)>,
    /// The same at the receiver's device.
    pub(crate) arrival_curve: Vec<(f64, f64)>,
    /// Join times in milliseconds, and how many took so long.
    pub(crate) joins: Vec<(f64, u64)>,
}

/// One step of the measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    pub(crate) at: f64,
    pub(crate) received_per_second: f64,
    pub(crate) expected_per_second: f64,
    pub(crate) cpu_ns_per_packet: Option<f64>,
    /// Shares of a CPU.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) bench_cpu: f64,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

impl Course {
    /// Takes one step, and the ages of what was looked into meanwhile.
    pub(crate) fn add(&mut self, begin: &Moment, before: &Moment, now: &Moment, latency: &Histogram) {
        let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
        let received = now.received.saturating_sub(before.received);
        let share = |ns: u64| ns as f64 / 1e9 / seconds;
        let server_ns = now.server_cpu_ns(before);
        let ms = |quantile: f64| latency.quantile(quantile).map(|us| us as f64 / 1e3);
        self.seconds.push(Second {
            at: (now.at - begin.at).as_secs_f64(),
            received_per_second: received as f64 / seconds,
            expected_per_second: now.expected.saturating_sub(before.expected) as f64 / seconds,
            cpu_ns_per_packet: server_ns.filter(|_| received > 0).map(|ns| ns as f64 / received as f64),
            server_cpu: server_ns.map(share),
            bench_cpu: share(now.bench_cpu_ns(before)),
            latency_p50_ms: ms(0.5),
            latency_p99_ms: ms(0.99),
        });
    }

    /// What is known in the end only.
    pub(crate) fn close(&mut self, ages: &Ages, joins: &Histogram) {
        self.latency_curve = curve_ms(&ages.handled);
        self.arrival_curve = curve_ms(&ages.arrived);
        self.joins = counts_ms(joins);
    }

    /// The points of a line.
    pub(crate) fn line(&self, value: fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
        self.seconds.iter().filter_map(|second| Some((second.at, value(second)?))).collect()
    }
}
