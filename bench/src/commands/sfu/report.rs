//! What a run has shown.

use super::course::Course;
use super::drive::rss;
use super::measure::{Flooded, Measured};
use super::plots::plots;
use crate::commands::floor::FloorReport;
use crate::ground::MachineUse;
use crate::report::{Circumstances, IDLE_THREAD, Mark, Measurement, Quantiles, Times, is_disturbed, rounded};
use plausch_client::Tally;
use serde::Serialize;
use std::thread::available_parallelism;

/// The keys of `--json`; others rely on them.
#[derive(Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) target: String,
    /// Over the whole run.
    pub(crate) forwarded_packets: u64,
    pub(crate) expected_packets: u64,
    pub(crate) loss_ratio: f64,
    /// While it was measured; the processes' time holds the softirq work done in their sends.
    pub(crate) cpu_ns_per_packet: Option<f64>,
    /// Everything that the server's own CPUs did, the kernel's receive work outside of processes included.
    pub(crate) whole_cpu_ns_per_packet: Option<f64>,
    pub(crate) softirq_ns_per_packet: Option<f64>,
    /// What sealing and sending the same bytes cost just after, without any logic.
    pub(crate) floor: Option<FloorReport>,
    /// The same load, just after, beside forged requests for TURN.
    pub(crate) flood: Option<FloodReport>,
    pub(crate) latency_us: Quantiles,
    /// Until it came out of the network at the receiver, whose own waiting is not in it.
    pub(crate) arrival_latency_us: Quantiles,
    pub(crate) join_ms: Times,
    pub(crate) rss_bytes_per_participant: Option<u64>,
    /// What follows helps to judge it. The server's name and version, if the run started it.
    pub(crate) server: Option<String>,
    pub(crate) srtp_profile: Option<&'static str>,
    pub(crate) participants: usize,
    pub(crate) seconds: f64,
    pub(crate) packets_per_second: f64,
    /// Shares of one CPU.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) bench_cpu: f64,
    pub(crate) threads: Vec<ThreadReport>,
    /// Of the server's own CPUs where it has such, else of the machine.
    pub(crate) steal_ratio: f64,
    pub(crate) others_ratio: f64,
    pub(crate) disturbed: bool,
    pub(crate) device: Option<String>,
    /// What a right server would not have done, a sentence each.
    pub(crate) faults: Vec<String>,
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    #[serde(skip)]
    pub(crate) samples: u64,
    /// What was decrypted, and what the clients did about losses.
    #[serde(skip)]
    pub(crate) looked_into: String,
    #[serde(skip)]
    pub(crate) stopped: bool,
    #[serde(skip)]
    pub(crate) limits: Vec<String>,
    #[serde(skip)]
    pub(crate) course: Course,
}

/// Figures of the time beside the flood; what was lost then is in the whole run's loss.
#[derive(Clone, Serialize)]
pub(crate) struct FloodReport {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) replies: u64,
    pub(crate) server_cpu: Option<f64>,
    pub(crate) bench_cpu: f64,
    pub(crate) latency_us: Quantiles,
    pub(crate) arrival_latency_us: Quantiles,
}

impl FloodReport {
    fn of(flooded: &Flooded) -> Self {
        let Flooded { flooding, ages, begin, end } = flooded;
        let wall_ns = (end.at - begin.at).as_nanos().max(1) as f64;
        let share = |ns: u64| ns as f64 / wall_ns;
        Self {
            requests: flooding.requests,
            requests_per_second: rounded(flooding.requests as f64 / flooding.seconds),
            replies: flooding.replies,
            server_cpu: end.server_cpu_ns(begin).map(share),
            bench_cpu: share(end.bench_cpu_ns(begin)),
            latency_us: Quantiles::of(&ages.handled),
            arrival_latency_us: Quantiles::of(&ages.arrived),
        }
    }
}

/// A thread that worked, and its share of a CPU.
#[derive(Clone, Serialize)]
pub(crate) struct ThreadReport {
    pub(crate) process: String,
    pub(crate) name: String,
    pub(crate) cpu: f64,
}

impl Report {
    pub(crate) fn of(scenario: String, measured: &Measured) -> Self {
        let (begin, end) = (&measured.begin, &measured.end);
        let packets = end.received.saturating_sub(begin.received);
        let wall_ns = (end.at - begin.at).as_nanos().max(1) as f64;
        let seconds = wall_ns / 1e9;
        let share = |ns: u64| ns as f64 / wall_ns;
        let per_packet = |ns: u64| (packets > 0).then(|| rounded(ns as f64 / packets as f64));
        let server_ns = end.server_cpu_ns(begin);
        let bench_ns = end.bench_cpu_ns(begin);
        let grown = rss(&end.server).zip(measured.rss_alone).map(|(now, alone)| now.saturating_sub(alone));
        let (latency, joins) = (&measured.tally.latency, &measured.joins);
        let (steal_ratio, others_ratio) = disturbance(measured, server_ns.unwrap_or(0), bench_ns);
        Self {
            scenario,
            target: measured.target.url.clone(),
            forwarded_packets: measured.tally.received,
            expected_packets: measured.tally.expected,
            loss_ratio: measured.tally.loss_ratio(),
            cpu_ns_per_packet: server_ns.and_then(per_packet),
            whole_cpu_ns_per_packet: measured.pinned_busy_ns().and_then(per_packet),
            // The counters of another machine cannot be seen.
            softirq_ns_per_packet: server_ns.and_then(|_| per_packet(end.machine.since(&begin.machine).softirq_ns)),
            floor: None,
            flood: measured.flooded.as_ref().map(FloodReport::of),
            latency_us: Quantiles::of(latency),
            arrival_latency_us: Quantiles::of(&measured.arrived),
            join_ms: Times::of(joins),
            rss_bytes_per_participant: grown
                .and_then(|bytes| bytes.checked_div(measured.participants.saturating_sub(1) as u64)),
            server: measured.target.server.clone(),
            srtp_profile: measured.profile,
            participants: measured.participants,
            seconds,
            packets_per_second: rounded(packets as f64 / seconds),
            server_cpu: server_ns.map(share),
            bench_cpu: share(bench_ns),
            threads: threads(measured, share),
            steal_ratio,
            others_ratio,
            disturbed: is_disturbed(steal_ratio, others_ratio),
            device: measured.target.device.clone(),
            faults: measured.tally.faults(),
            circumstances: Circumstances::now(),
            samples: latency.samples(),
            looked_into: looked_into(&measured.tally),
            stopped: measured.stopped,
            limits: measured.limits.clone(),
            course: measured.course.clone(),
        }
    }

    /// The server's CPU as a multiple of the floor of a relay that sends each receiver the packets of a frame together.
    pub(crate) fn over_floor(&self) -> Option<f64> {
        Some(self.cpu_ns_per_packet? / self.floor.as_ref()?.frames_ns_per_packet?)
    }

    /// The whole run, to be shown.
    pub(crate) fn measurement(&self) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        let server = self.server.as_deref().map(|name| format!("{name} at ")).unwrap_or_default();
        out.figure("target", format!("{server}{}, {}", self.target, self.srtp_profile.unwrap_or("no SRTP")));
        self.device.iter().for_each(|device| out.figure("device", device));
        out.figure("measured", format!("{:.1} s with {} participants", self.seconds, self.participants));
        out.figure("forwarded", format!("{} of {} packets", self.forwarded_packets, self.expected_packets));
        out.figure("rate", format!("{:.0} packets/s", self.packets_per_second));
        out.figure("loss ratio", format!("{:.6}", self.loss_ratio));
        out.figure("latency", format!("{}, client to client, {} samples", self.latency_us.text(), self.samples));
        if self.arrival_latency_us.max.is_some() {
            let arrival = self.arrival_latency_us.text();
            out.figure("  at device", format!("{arrival} (without the receiver's own waiting)"));
        }
        out.figure("join", self.join_ms.text());
        match self.cpu_ns_per_packet {
            Some(ns) => out.figure("server CPU", format!("{ns:.0} ns per forwarded packet")),
            None => {
                out.figure("server CPU", "unknown: no process of this machine that we may look at; give --relay-pid");
            }
        }
        if let Some(ns) = self.whole_cpu_ns_per_packet {
            let what = "with all else that the server's CPUs did, as the kernel's receiving";
            out.figure("  whole", format!("{ns:.0} ns, {what}"));
        }
        if let (Some(floor), Some(ratio)) = (&self.floor, self.over_floor()) {
            let packets = floor.packets_ns_per_packet.unwrap_or_default();
            let frames = floor.frames_ns_per_packet.unwrap_or_default();
            let text = format!(
                "{frames:.0} ns by the frame, {packets:.0} packet by packet; server CPU is {ratio:.2} × the former"
            );
            out.figure("floor", text);
        }
        if let Some(flood) = &self.flood {
            let (requests, per_s) = (flood.requests, flood.requests_per_second);
            let replies = flood.replies;
            out.figure("flood", format!("{requests} forged requests, {per_s:.0} in a second, {replies} replies seen"));
            out.figure("  latency", flood.latency_us.text());
            out.figure("  at device", flood.arrival_latency_us.text());
            let (server, bench) = (flood.server_cpu.unwrap_or_default() * 100.0, flood.bench_cpu * 100.0);
            out.figure("  CPU", format!("{server:.1} % of one by the server, {bench:.1} by the bench"));
        }
        if let Some(ns) = self.softirq_ns_per_packet {
            out.figure("softirq", format!("{ns:.0} ns per forwarded packet on the whole machine, not to be added"));
        }
        for thread in &self.threads {
            out.figure("  thread", format!("{:<16} {:5.1} % of a CPU", thread.name, thread.cpu * 100.0));
        }
        if let Some(bytes) = self.rss_bytes_per_participant {
            out.figure("memory", format!("{:.1} KiB of the server per participant", bytes as f64 / 1024.0));
        }
        let cpus = available_parallelism().map_or(1, usize::from);
        out.figure("bench", format!("{:.0} % of a CPU of {cpus}", self.bench_cpu * 100.0));
        let whose = if self.whole_cpu_ns_per_packet.is_none() { "the machine" } else { "the server's CPUs" };
        let (steal, others) = (self.steal_ratio * 100.0, self.others_ratio * 100.0);
        out.figure("others", format!("{others:.1} % of {whose}, steal {steal:.1} %"));
        out.figure("looked into", self.looked_into.clone());
        out.stopped(self.stopped);
        out.disturbed(self.disturbed);
        self.limits.iter().for_each(|limit| out.warn(Mark::ServerLimit, limit));
        out.wrong(&self.faults);
        out.plots = plots(&[("server", self)]);
        out.circumstances(&self.target, self.device.as_deref(), &self.circumstances);
        Ok(out)
    }
}

fn looked_into(tally: &Tally) -> String {
    format!(
        "{} packets decrypted, {} frames, {} late, {} asked for again, {} holes left",
        tally.decrypted, tally.frames, tally.reordered, tally.nacks, tally.missing
    )
}

/// Shares of the CPU time that the hypervisor took, and that processes took which are neither server nor bench.
fn disturbance(measured: &Measured, server_ns: u64, bench_ns: u64) -> (f64, f64) {
    let (begin, end) = (&measured.begin.machine, &measured.end.machine);
    let of_all = |ns: u64, used: &MachineUse| ns as f64 / used.total_ns.max(1) as f64;
    let (Some(used), Some(busy_ns)) = (measured.pinned_use(), measured.pinned_busy_ns()) else {
        let used = end.since(begin);
        let busy_ns = used.total_ns.saturating_sub(used.idle_ns + used.steal_ns);
        let others_ns = busy_ns.saturating_sub(server_ns + bench_ns);
        return (of_all(used.steal_ns, &used), of_all(others_ns, &used));
    };
    // Packets that come while the server sleeps are received in nobody's time; while it works, in its own.
    let apart = match measured.target.receives_itself {
        true => used.softirq_ns as f64 * used.idle_ns as f64 / (used.idle_ns + server_ns).max(1) as f64,
        false => 0.0,
    };
    let others_ns = busy_ns.saturating_sub(server_ns + apart as u64);
    (of_all(used.steal_ns, &used), of_all(others_ns, &used))
}

fn threads(measured: &Measured, share: impl Fn(u64) -> f64) -> Vec<ThreadReport> {
    let mut threads = Vec::new();
    for (now, then) in measured.end.server.iter().zip(&measured.begin.server) {
        for thread in &now.threads {
            let cpu = share(thread.cpu_ns_since(then));
            if cpu >= IDLE_THREAD {
                threads.push(ThreadReport { process: now.name.clone(), name: thread.name.clone(), cpu });
            }
        }
    }
    threads
}

/// A report for tests; its p99 is given.
#[cfg(test)]
pub(crate) fn example(p99: u64) -> Report {
    Report {
        scenario: "sfu: 1 → 20".to_owned(),
        target: "http://localhost".to_owned(),
        forwarded_packets: 90,
        expected_packets: 100,
        loss_ratio: 0.1,
        cpu_ns_per_packet: None,
        whole_cpu_ns_per_packet: None,
        softirq_ns_per_packet: Some(1_000.0),
        floor: None,
        flood: None,
        latency_us: Quantiles { p50: Some(100), p99: Some(p99), p999: Some(2 * p99), max: Some(3 * p99) },
        arrival_latency_us: Quantiles { p50: Some(90), p99: Some(p99 / 2), p999: Some(p99), max: Some(2 * p99) },
        join_ms: Times { p50: Some(2.0), p99: Some(3.0), max: Some(4.0) },
        rss_bytes_per_participant: Some(50_000),
        server: None,
        srtp_profile: Some("AEAD_AES_128_GCM"),
        participants: 21,
        seconds: 5.0,
        packets_per_second: 18.0,
        server_cpu: Some(0.1),
        bench_cpu: 0.2,
        threads: Vec::new(),
        steal_ratio: 0.0,
        others_ratio: 0.0,
        disturbed: false,
        device: None,
        faults: Vec::new(),
        circumstances: Circumstances::now(),
        samples: 100,
        looked_into: String::new(),
        stopped: false,
        limits: Vec::new(),
        course: Course::default(),
    }
}
