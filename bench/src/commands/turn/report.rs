//! What a measurement has shown: for people as a table, for programs as JSON.

use super::payload::Phase;
use super::run::{Flooded, Measured};
use plausch_client::Histogram;
use serde::Serialize;
use std::fmt::Write;
use std::thread::available_parallelism;

/// Shares of the machine's CPU time above which a run counts as disturbed by others.
const STEAL_DISTURBS: f64 = 0.02;
const OTHERS_DISTURB: f64 = 0.05;
/// Threads that used less than this share of a CPU are left out of the table.
const IDLE_THREAD: f64 = 0.001;
/// A bench that was further behind its schedule than this has made bursts that nobody asked for.
const BEHIND_MS: f64 = 20.0;

/// The keys of `--json`; others rely on them.
#[derive(Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) target: String,
    /// Over the whole run, warm-up included.
    pub(crate) forwarded_packets: u64,
    pub(crate) expected_packets: u64,
    pub(crate) loss_ratio: f64,
    /// While it was measured.
    pub(crate) packets_per_s: f64,
    /// Of the server's process; it holds the softirq work done in its sends.
    pub(crate) cpu_ns_per_packet: Option<f64>,
    /// Everything that the server's own CPUs did, the kernel's receive work outside of processes included.
    pub(crate) whole_cpu_ns_per_packet: Option<f64>,
    /// Of the whole machine; never to be added.
    pub(crate) softirq_ns_per_packet: Option<f64>,
    /// From before the client's send to the arrival at the receiver's socket.
    pub(crate) latency_us: Quantiles,
    /// The same way without a server, measured just before.
    pub(crate) direct_latency_us: Option<Quantiles>,
    /// The difference of both, quantile by quantile.
    pub(crate) added_latency_us: Option<Quantiles>,
    /// From nothing to the allocation.
    pub(crate) join_ms: Times,
    /// Of the server, with an allocation's permissions and channels.
    pub(crate) rss_bytes_per_participant: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flood: Option<FloodReport>,
    pub(crate) steal_ratio: f64,
    /// Of the machine, used by neither the server nor this program.
    pub(crate) others_ratio: f64,
    pub(crate) disturbed: bool,
    pub(crate) behind_ms: f64,
    pub(crate) misrouted: u64,
    pub(crate) faults: Vec<String>,
    #[serde(skip)]
    pub(crate) latency_curve: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(crate) direct_curve: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Clone, Serialize)]
pub(crate) struct FloodReport {
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) replies: u64,
    /// Bytes of replies for each byte of requests, without UDP and IP.
    pub(crate) reply_bytes_ratio: f64,
    pub(crate) rss_bytes_before: Option<u64>,
    pub(crate) rss_bytes_after: Option<u64>,
    /// Of the flows beside it.
    pub(crate) latency_us: Quantiles,
}

/// What a table shows beside the report.
pub(crate) struct Table {
    pub(crate) report: Report,
    threads: Vec<(String, f64)>,
    seconds: f64,
    bench_cpu: f64,
    reordered: u64,
}

impl Quantiles {
    /// Of nanoseconds.
    fn of(histogram: &Histogram) -> Self {
        let us = |ns: Option<u64>| ns.map(|ns| round(ns as f64 / 1e3));
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| us(histogram.quantile(share)));
        Self { p50, p99, p999, max: us(histogram.max()) }
    }

    fn minus(&self, other: &Self) -> Self {
        let difference = |one: Option<f64>, other: Option<f64>| Some(round(one? - other?));
        Self {
            p50: difference(self.p50, other.p50),
            p99: difference(self.p99, other.p99),
            p999: difference(self.p999, other.p999),
            max: difference(self.max, other.max),
        }
    }

    fn text(&self) -> String {
        let us = |us: Option<f64>| us.map_or_else(|| "–".to_owned(), |us| format!("{us:.1}"));
        format!("p50 {}  p99 {}  p99.9 {}  max {} µs", us(self.p50), us(self.p99), us(self.p999), us(self.max))
    }
}

impl Times {
    /// Of microseconds.
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let ms = |us: Option<u64>| us.map(|us| us as f64 / 1e3);
        Self { p50: ms(histogram.quantile(0.5)), p99: ms(histogram.quantile(0.99)), max: ms(histogram.max()) }
    }

    pub(crate) fn text(&self) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
        format!("p50 {}  p99 {}  max {} ms", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

impl FloodReport {
    fn of(flooded: &Flooded, latency: &Histogram) -> Self {
        Self {
            requests: flooded.requests,
            requests_per_s: round(flooded.requests as f64 / flooded.seconds.max(1e-3)),
            replies: flooded.replies,
            reply_bytes_ratio: flooded.reply_bytes as f64 / flooded.request_bytes.max(1) as f64,
            rss_bytes_before: flooded.rss_before,
            rss_bytes_after: flooded.rss_after,
            latency_us: Quantiles::of(latency),
        }
    }
}

impl Table {
    pub(crate) fn of(scenario: String, target: String, measured: &Measured) -> Self {
        let (begin, end, tally) = (&measured.begin, &measured.end, &measured.tally);
        let packets = end.received - begin.received;
        let per_packet = |ns: u64| (packets > 0).then(|| round(ns as f64 / packets as f64));
        let wall_ns = (end.at - begin.at).as_nanos() as f64;
        let machine = end.machine.since(&begin.machine);
        let bench_ns = end.bench_cpu_ns(begin);
        let of_machine = |ns: u64| ns as f64 / machine.total_ns.max(1) as f64;
        let pinned = end.pinned.as_ref().zip(begin.pinned.as_ref()).map(|(now, then)| now.since(then));
        // What is neither idle nor taken: sums of samples at ticks miss most of what is short.
        let whole_ns = pinned.map(|used| {
            let wall_ns = wall_ns as u64 * measured.server_cpus as u64;
            wall_ns.saturating_sub(used.idle_ns + used.steal_ns)
        });
        // Packets that come while the server sleeps are received in nobody's time.
        let apart = pinned.filter(|_| measured.receives_itself).map_or(0, |used| used.softirq_ns);
        let others = machine.busy_ns.saturating_sub(bench_ns + end.server_cpu_ns(begin).unwrap_or(0) + apart);
        let (steal_ratio, others_ratio) = (of_machine(machine.steal_ns), of_machine(others));
        let latency = Quantiles::of(&tally.latency[Phase::Measured as usize]);
        let direct = measured.direct.as_ref().map(Quantiles::of);
        let report = Report {
            scenario,
            target,
            forwarded_packets: tally.received,
            expected_packets: tally.sent,
            loss_ratio: tally.loss_ratio(),
            packets_per_s: round(packets as f64 / (wall_ns / 1e9)),
            cpu_ns_per_packet: end.server_cpu_ns(begin).and_then(per_packet),
            whole_cpu_ns_per_packet: whole_ns.and_then(per_packet),
            softirq_ns_per_packet: measured.has_process.then(|| per_packet(machine.softirq_ns)).flatten(),
            latency_us: latency,
            direct_latency_us: direct,
            added_latency_us: direct.map(|direct| latency.minus(&direct)),
            join_ms: Times::of(&measured.allocating),
            rss_bytes_per_participant: measured.rss_per_allocation,
            flood: measured
                .flooded
                .as_ref()
                .map(|flooded| FloodReport::of(flooded, &tally.latency[Phase::Flooded as usize])),
            steal_ratio,
            others_ratio,
            disturbed: steal_ratio > STEAL_DISTURBS || others_ratio > OTHERS_DISTURB,
            behind_ms: round(measured.behind.as_secs_f64() * 1e3),
            misrouted: tally.misrouted,
            faults: tally.faults(),
            latency_curve: tally.latency[Phase::Measured as usize].curve(1e3),
            direct_curve: measured.direct.as_ref().map(|direct| direct.curve(1e3)).unwrap_or_default(),
        };
        let mut threads = Vec::new();
        if let (Some(now), Some(then)) = (&end.server, &begin.server) {
            for thread in &now.threads {
                let before =
                    then.threads.iter().find(|before| before.id == thread.id).map_or(0, |thread| thread.cpu_ns);
                threads.push((thread.name.clone(), thread.cpu_ns.saturating_sub(before) as f64 / wall_ns));
            }
        }
        Self {
            report,
            threads,
            seconds: wall_ns / 1e9,
            bench_cpu: bench_ns as f64 / wall_ns,
            reordered: tally.reordered,
        }
    }

    pub(crate) fn text(&self) -> String {
        let report = &self.report;
        let mut out = Lines::default();
        out.line("scenario", &report.scenario);
        out.line("target", &report.target);
        out.line("measured", format!("{:.1} s", self.seconds));
        out.line("relayed", format!("{} of {} packets", report.forwarded_packets, report.expected_packets));
        out.line("rate", format!("{:.0} packets/s", report.packets_per_s));
        out.line("loss ratio", format!("{:.6}", report.loss_ratio));
        out.line("latency", report.latency_us.text());
        if let Some(direct) = &report.direct_latency_us {
            out.line("  direct", direct.text());
        }
        if let Some(added) = &report.added_latency_us {
            out.line("  added", added.text());
        }
        out.line("allocation", report.join_ms.text());
        match report.cpu_ns_per_packet {
            Some(ns) => out.line("server CPU", format!("{ns:.0} ns per relayed packet")),
            None => out.line("server CPU", "unknown: no process of this machine that we may look at; give --pid"),
        }
        if let Some(ns) = report.whole_cpu_ns_per_packet {
            out.line(
                "  whole",
                format!("{ns:.0} ns, with all else that the server's CPUs did, as the kernel's receiving"),
            );
        }
        if let Some(ns) = report.softirq_ns_per_packet {
            out.line("softirq", format!("{ns:.0} ns per relayed packet on the whole machine, not to be added"));
        }
        for (name, share) in self.threads.iter().filter(|(_, share)| *share >= IDLE_THREAD) {
            out.line("  thread", format!("{name:<16} {:5.1} % of a CPU", share * 100.0));
        }
        if let Some(bytes) = report.rss_bytes_per_participant {
            out.line("memory", format!("{:.1} KiB of the server per allocation", bytes as f64 / 1024.0));
        }
        if let Some(flood) = &report.flood {
            let (requests, rate, replies) = (flood.requests, flood.requests_per_s, flood.replies);
            out.line("flood", format!("{requests} spoofed requests, {rate:.0} in a second, {replies} replies seen"));
            out.line("  bytes", format!("{:.2} of replies for each of requests", flood.reply_bytes_ratio));
            if let (Some(before), Some(after)) = (flood.rss_bytes_before, flood.rss_bytes_after) {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                out.line("  memory", format!("{:.1} MiB before, {:.1} MiB after", mib(before), mib(after)));
            }
            out.line("  latency", flood.latency_us.text());
        }
        let cpus = available_parallelism().map_or(1, usize::from);
        out.line("bench", format!("{:.0} % of a CPU of {cpus} (it never sleeps long)", self.bench_cpu * 100.0));
        out.line("  behind", format!("{:.1} ms at most", report.behind_ms));
        if report.behind_ms > BEHIND_MS {
            out.line("LIMITED", "this program fell behind its schedule; give more --cpus, or less load");
        }
        let (steal, others) = (report.steal_ratio * 100.0, report.others_ratio * 100.0);
        out.line("others", format!("{others:.1} % of the machine, steal {steal:.1} %"));
        if report.disturbed {
            out.line("DISTURBED", "others used the machine meanwhile; read ratios at most, or run again");
        }
        if self.reordered > 0 {
            out.line("reordered", format!("{} packets", self.reordered));
        }
        for fault in &report.faults {
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

/// To a tenth.
pub(crate) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
