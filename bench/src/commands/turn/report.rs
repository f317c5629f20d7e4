//! What a measurement has shown.

use super::payload::Phase;
use super::run::{Flooded, Measured};
use crate::report::figures::mib;
use crate::report::{IDLE_THREAD, Mark, Measurement, Times, is_disturbed, rounded};
use plausch_client::Histogram;
use serde::Serialize;
use std::thread::available_parallelism;

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
    /// Threads of the server and their shares of a CPU, this program's share, and packets that came late.
    #[serde(skip)]
    threads: Vec<(String, f64)>,
    #[serde(skip)]
    seconds: f64,
    #[serde(skip)]
    bench_cpu: f64,
    #[serde(skip)]
    reordered: u64,
    #[serde(skip)]
    pub(crate) stopped: bool,
    /// Limits of the server that were met.
    #[serde(skip)]
    pub(crate) limits: Vec<String>,
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

impl Quantiles {
    /// Of nanoseconds.
    fn of(histogram: &Histogram) -> Self {
        let us = |ns: Option<u64>| ns.map(|ns| rounded(ns as f64 / 1e3));
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| us(histogram.quantile(share)));
        Self { p50, p99, p999, max: us(histogram.max()) }
    }

    fn minus(&self, other: &Self) -> Self {
        let difference = |one: Option<f64>, other: Option<f64>| Some(rounded(one? - other?));
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

impl FloodReport {
    fn of(flooded: &Flooded, latency: &Histogram) -> Self {
        Self {
            requests: flooded.requests,
            requests_per_s: rounded(flooded.requests as f64 / flooded.seconds.max(1e-3)),
            replies: flooded.replies,
            reply_bytes_ratio: flooded.reply_bytes as f64 / flooded.request_bytes.max(1) as f64,
            rss_bytes_before: flooded.rss_before,
            rss_bytes_after: flooded.rss_after,
            latency_us: Quantiles::of(latency),
        }
    }
}

impl Report {
    pub(crate) fn of(scenario: String, target: String, measured: &Measured) -> Self {
        let (begin, end, tally) = (&measured.begin, &measured.end, &measured.tally);
        let packets = end.received - begin.received;
        let per_packet = |ns: u64| (packets > 0).then(|| rounded(ns as f64 / packets as f64));
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
        let mut threads = Vec::new();
        if let (Some(now), Some(then)) = (&end.server, &begin.server) {
            for thread in &now.threads {
                let before =
                    then.threads.iter().find(|before| before.id == thread.id).map_or(0, |thread| thread.cpu_ns);
                threads.push((thread.name.clone(), thread.cpu_ns.saturating_sub(before) as f64 / wall_ns));
            }
        }
        Self {
            scenario,
            target,
            forwarded_packets: tally.received,
            expected_packets: tally.sent,
            loss_ratio: tally.loss_ratio(),
            packets_per_s: rounded(packets as f64 / (wall_ns / 1e9)),
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
            disturbed: is_disturbed(steal_ratio, others_ratio),
            behind_ms: rounded(measured.behind.as_secs_f64() * 1e3),
            misrouted: tally.misrouted,
            faults: tally.faults(),
            latency_curve: tally.latency[Phase::Measured as usize].curve(1e3),
            direct_curve: measured.direct.as_ref().map(|direct| direct.curve(1e3)).unwrap_or_default(),
            threads,
            seconds: wall_ns / 1e9,
            bench_cpu: bench_ns as f64 / wall_ns,
            reordered: tally.reordered,
            stopped: measured.stopped,
            limits: Vec::new(),
        }
    }

    /// The figures of one run.
    pub(crate) fn figures(&self, out: &mut Measurement) {
        out.figure("target", self.target.clone());
        out.figure("measured", format!("{:.1} s", self.seconds));
        out.figure("relayed", format!("{} of {} packets", self.forwarded_packets, self.expected_packets));
        out.figure("rate", format!("{:.0} packets/s", self.packets_per_s));
        out.figure("loss ratio", format!("{:.6}", self.loss_ratio));
        out.figure("latency", self.latency_us.text());
        self.direct_latency_us.iter().for_each(|direct| out.figure("  direct", direct.text()));
        self.added_latency_us.iter().for_each(|added| out.figure("  added", added.text()));
        out.figure("allocation", self.join_ms.text_with(2));
        match self.cpu_ns_per_packet {
            Some(ns) => out.figure("server CPU", format!("{ns:.0} ns per relayed packet")),
            None => out.figure("server CPU", "unknown: no process of this machine that we may look at; give --pid"),
        }
        if let Some(ns) = self.whole_cpu_ns_per_packet {
            let what = "with all else that the server's CPUs did, as the kernel's receiving";
            out.figure("  whole", format!("{ns:.0} ns, {what}"));
        }
        if let Some(ns) = self.softirq_ns_per_packet {
            out.figure("softirq", format!("{ns:.0} ns per relayed packet on the whole machine, not to be added"));
        }
        for (name, share) in self.threads.iter().filter(|(_, share)| *share >= IDLE_THREAD) {
            out.figure("  thread", format!("{name:<16} {:5.1} % of a CPU", share * 100.0));
        }
        if let Some(bytes) = self.rss_bytes_per_participant {
            out.figure("memory", format!("{:.1} KiB of the server per allocation", bytes as f64 / 1024.0));
        }
        if let Some(flood) = &self.flood {
            let (requests, rate, replies) = (flood.requests, flood.requests_per_s, flood.replies);
            out.figure("flood", format!("{requests} spoofed requests, {rate:.0} in a second, {replies} replies seen"));
            out.figure("  bytes", format!("{:.2} of replies for each of requests", flood.reply_bytes_ratio));
            if let (Some(before), Some(after)) = (flood.rss_bytes_before, flood.rss_bytes_after) {
                out.figure("  memory", format!("{} before, {} after", mib(before), mib(after)));
            }
            out.figure("  latency", flood.latency_us.text());
        }
        let cpus = available_parallelism().map_or(1, usize::from);
        out.figure("bench", format!("{:.0} % of a CPU of {cpus} (it never sleeps long)", self.bench_cpu * 100.0));
        out.figure("  behind", format!("{:.1} ms at most", self.behind_ms));
        let (steal, others) = (self.steal_ratio * 100.0, self.others_ratio * 100.0);
        out.figure("others", format!("{others:.1} % of the machine, steal {steal:.1} %"));
        if self.reordered > 0 {
            out.figure("reordered", format!("{} packets", self.reordered));
        }
    }

    /// What makes the figures doubtful. Faults are those of a server that must not have any.
    pub(crate) fn warnings(&self, out: &mut Measurement, is_peer: bool) {
        out.stopped(self.stopped);
        out.disturbed(self.disturbed);
        if self.behind_ms > BEHIND_MS {
            out.warn(Mark::Limited, "this program fell behind its schedule; give more --cpus, or less load");
        }
        self.limits.iter().for_each(|limit| out.warn(Mark::ServerLimit, limit));
        match is_peer {
            false => out.wrong(&self.faults),
            true => self.faults.iter().for_each(|fault| out.figure("wrong", fault)),
        }
    }
}
