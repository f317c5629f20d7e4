//! What a run has shown: for people as a table, for programs as JSON.

use super::measure::Measured;
use plausch_bench::client::Histogram;
use serde::Serialize;
use std::fmt::Write;
use std::thread::available_parallelism;

/// Shares of the machine's CPU time above which a run counts as disturbed by others.
const STEAL_DISTURBS: f64 = 0.02;
const OTHERS_DISTURB: f64 = 0.05;
/// Threads that used less than this share of a CPU are left out of the table.
const IDLE_THREAD: f64 = 0.001;

/// The keys of `--json`; others rely on them.
#[derive(Serialize)]
pub(super) struct Report {
    scenario: String,
    target: String,
    /// Over the whole run.
    forwarded_packets: u64,
    expected_packets: u64,
    loss_ratio: f64,
    /// While it was measured; the process's time holds the softirq work done in its sends.
    cpu_ns_per_packet: Option<f64>,
    softirq_ns_per_packet: Option<f64>,
    latency_us: LatencyReport,
    join_ms: JoinReport,
    rss_bytes_per_participant: Option<u64>,
}

#[derive(Serialize)]
struct LatencyReport {
    p50: Option<u64>,
    p99: Option<u64>,
    p999: Option<u64>,
    max: Option<u64>,
}

#[derive(Serialize)]
struct JoinReport {
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

impl Report {
    pub(super) fn of(scenario: String, target: &str, measured: &Measured) -> Self {
        let (begin, end) = (&measured.begin, &measured.end);
        let packets = end.received - begin.received;
        let per_packet = |ns: u64| (packets > 0).then(|| round(ns as f64 / packets as f64));
        let grown = match (&end.relay, measured.rss_alone) {
            (Some(relay), Some(alone)) => Some(relay.rss_bytes.saturating_sub(alone)),
            _ => None,
        };
        let latency = &measured.tally.latency;
        let join = |us: Option<u64>| us.map(|us| round(us as f64 / 1e3));
        Self {
            scenario,
            target: target.to_owned(),
            forwarded_packets: measured.tally.received,
            expected_packets: measured.tally.expected,
            loss_ratio: measured.tally.loss_ratio(),
            cpu_ns_per_packet: end.relay_cpu_ns(begin).and_then(per_packet),
            // The counters of another machine cannot be seen.
            softirq_ns_per_packet: measured
                .relay
                .and_then(|_| per_packet(end.machine.since(&begin.machine).softirq_ns)),
            latency_us: LatencyReport {
                p50: latency.quantile(0.5),
                p99: latency.quantile(0.99),
                p999: latency.quantile(0.999),
                max: latency.max(),
            },
            join_ms: JoinReport {
                p50: join(measured.joins.quantile(0.5)),
                p99: join(measured.joins.quantile(0.99)),
                max: join(measured.joins.max()),
            },
            rss_bytes_per_participant: grown
                .and_then(|bytes| bytes.checked_div(measured.participants.saturating_sub(1) as u64)),
        }
    }

    /// The same with what helps to understand it.
    pub(super) fn table(&self, measured: &Measured) -> String {
        let mut out = Lines::default();
        let (begin, end, tally) = (&measured.begin, &measured.end, &measured.tally);
        let wall_ns = (end.at - begin.at).as_nanos() as f64;
        let share = |ns: u64| ns as f64 / wall_ns;
        out.line("scenario", &self.scenario);
        let seconds = wall_ns / 1e9;
        out.line("target", format!("{}, {}", self.target, measured.profile.unwrap_or("no SRTP")));
        out.line("measured", format!("{seconds:.1} s with {} participants", measured.participants));
        out.line("forwarded", format!("{} of {} packets", self.forwarded_packets, self.expected_packets));
        let rate = (end.received - begin.received) as f64 / seconds;
        out.line("rate", format!("{rate:.0} packets/s"));
        out.line("loss ratio", format!("{:.6}", self.loss_ratio));
        out.line("latency", quantiles(&tally.latency));
        out.line("join", joins(&measured.joins));
        match self.cpu_ns_per_packet {
            Some(ns) => out.line("relay CPU", format!("{ns:.0} ns per forwarded packet")),
            None => out.line("relay CPU", "unknown: no process of this machine that we may look at; give --relay-pid"),
        }
        if let Some(ns) = self.softirq_ns_per_packet {
            out.line("softirq", format!("{ns:.0} ns per forwarded packet on the whole machine, not to be added"));
        }
        if let (Some(now), Some(then)) = (&end.relay, &begin.relay) {
            for thread in &now.threads {
                let before =
                    then.threads.iter().find(|before| before.id == thread.id).map_or(0, |before| before.cpu_ns);
                let share = share(thread.cpu_ns.saturating_sub(before));
                if share >= IDLE_THREAD {
                    out.line("  thread", format!("{:<16} {:5.1} % of a CPU", thread.name, share * 100.0));
                }
            }
        }
        if let Some(bytes) = self.rss_bytes_per_participant {
            out.line("memory", format!("{:.1} KiB of the relay per participant", bytes as f64 / 1024.0));
        }
        let machine = end.machine.since(&begin.machine);
        let bench = end.bench_cpu_ns(begin);
        let cpus = available_parallelism().map_or(1, usize::from);
        out.line("bench", format!("{:.0} % of a CPU of {cpus}", share(bench) * 100.0));
        let of_machine = |ns: u64| ns as f64 / machine.total_ns.max(1) as f64;
        let others = machine.busy_ns.saturating_sub(bench + end.relay_cpu_ns(begin).unwrap_or(0));
        let (steal, others) = (of_machine(machine.steal_ns), of_machine(others));
        out.line("others", format!("{:.1} % of the machine, steal {:.1} %", others * 100.0, steal * 100.0));
        if steal > STEAL_DISTURBS || others > OTHERS_DISTURB {
            out.line("DISTURBED", "others used the machine meanwhile; read ratios at most, or run again");
        }
        out.line(
            "looked into",
            format!(
                "{} packets decrypted, {} frames, {} late, {} asked for again, {} holes left",
                tally.decrypted, tally.frames, tally.reordered, tally.nacks, tally.missing
            ),
        );
        for fault in tally.faults() {
            out.line("WRONG", fault);
        }
        out.0
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, value: impl AsRef<str>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<12} {}", value.as_ref());
    }
}

fn quantiles(latency: &Histogram) -> String {
    let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.2}", us as f64 / 1e3));
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| ms(latency.quantile(share)));
    let (max, samples) = (ms(latency.max()), latency.samples());
    format!("p50 {p50}  p99 {p99}  p99.9 {p999}  max {max} ms, client to client, {samples} samples")
}

fn joins(joins: &Histogram) -> String {
    let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.0}", us as f64 / 1e3));
    let [p50, p99] = [0.5, 0.99].map(|share| ms(joins.quantile(share)));
    format!("p50 {p50}  p99 {p99}  max {} ms", ms(joins.max()))
}

/// To a tenth.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
