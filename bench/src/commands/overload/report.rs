//! What an overload has shown.

use super::plots::{plots, step_table};
use super::{BENT, Moment};
use crate::report::figures::{curve_ms, mib};
use crate::report::{Circumstances, Mark, Measurement, Quantiles};
use anyhow::anyhow;
use plausch_client::{Histogram, Tally, Traffic, loss_ratio};
use serde::Serialize;
use serde_json::json;
use std::thread::available_parallelism;
use std::time::Duration;

/// A thread, or the bench, that has used this share of what it could use has nothing left.
const FULL: f64 = 0.9;
/// A machine that was idle for less than this share of its time has nothing left.
const IDLE: f64 = 0.05;
/// The bench may lose this share of what should have come before it counts as full.
const DROPS: f64 = 0.001;
/// "Audio loss < 0.1 %" and "at least 95 % of peak" at twice the load: the targets.
const AUDIO_LOSS: f64 = 0.001;
const KEPT: f64 = 0.95;

/// Why this bitrate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    Rising,
    /// Twice the last rate that came through whole.
    Twice,
    /// Half of it, afterwards.
    After,
}

/// One bitrate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) phase: Phase,
    /// Of each picture.
    pub(super) kbps: u32,
    /// What should have come, and what came.
    pub(super) offered_per_second: f64,
    pub(super) goodput_per_second: f64,
    /// From the first packet at this bitrate to the last, with what was under way.
    pub(super) audio_loss_ratio: f64,
    pub(super) video_loss_ratio: f64,
    pub(super) latency_us: Quantiles,
    /// Shares of one CPU: all of the relay, its busiest thread, and the bench.
    pub(super) relay_cpu: Option<f64>,
    pub(super) busiest_thread_cpu: Option<f64>,
    pub(super) bench_cpu: f64,
    /// Share of the machine that nobody used.
    pub(super) idle_ratio: f64,
    /// Datagrams that were too many for the sockets of the relay, and of the bench.
    pub(super) relay_socket_drops: u64,
    pub(super) bench_socket_drops: u64,
    /// A thread of the relay had no CPU left, or its socket overflowed.
    pub(super) server_bound: bool,
    /// The bench had no CPU left, or its sockets overflowed: this step says nothing about the server.
    pub(super) client_bound: bool,
    /// Somebody who joined meanwhile; `None`: could not.
    pub(super) join_ms: Option<f64>,
    /// Questions to `/api/health`, and how long the slowest answer took.
    pub(super) questions: usize,
    pub(super) unanswered: usize,
    pub(super) slowest_answer_ms: Option<f64>,
    pub(super) rss_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) latency_curve: Vec<(f64, f64)>,
}

impl Step {
    pub(super) fn between(
        kbps: u32,
        phase: Phase,
        (begin, end): (&Moment, &Moment),
        whole: Traffic,
        latency: Histogram,
        join: Option<Duration>,
        answers: Vec<Option<Duration>>,
    ) -> Self {
        let seconds = (end.at - begin.at).as_secs_f64().max(1e-3);
        let traffic = end.traffic.since(begin.traffic);
        let share = |ns: u64| ns as f64 / 1e9 / seconds;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (mut relay_cpu, mut busiest) = (None, None);
        if let (Some(now), Some(then)) = (&end.relay, &begin.relay) {
            let used = now.threads.iter().map(|thread| {
                let before = then.threads.iter().find(|before| before.id == thread.id);
                thread.cpu_ns.saturating_sub(before.map_or(0, |before| before.cpu_ns))
            });
            relay_cpu = Some(share(now.cpu_ns.saturating_sub(then.cpu_ns)));
            busiest = used.max().map(share);
        }
        let machine = end.machine.since(&begin.machine);
        let idle_ratio = 1.0 - (machine.busy_ns + machine.steal_ns) as f64 / machine.total_ns.max(1) as f64;
        let bench_cpu = share(end.bench.cpu_ns.saturating_sub(begin.bench.cpu_ns));
        let expected = traffic.expected.all() as f64;
        let relay_drops = end.relay_drops.saturating_sub(begin.relay_drops);
        let bench_drops = end.bench_drops.saturating_sub(begin.bench_drops);
        let cpus = available_parallelism().map_or(1, usize::from) as f64;
        // What the relay has used of the same CPUs was not the bench's to use; and the kernel's receiving for clients that
        // have CPUs of their own is in nobody's time.
        let all_used = match (&end.clients, &begin.clients) {
            (Some(now), Some(then)) => {
                let used = now.since(then);
                ((used.idle_ns + used.steal_ns) as f64) < IDLE * used.total_ns as f64
            }
            _ => idle_ratio < IDLE && bench_cpu >= FULL * (cpus - relay_cpu.unwrap_or(0.0)).max(0.0),
        };
        Self {
            phase,
            kbps,
            offered_per_second: expected / seconds,
            goodput_per_second: traffic.received.all() as f64 / seconds,
            audio_loss_ratio: loss_ratio(whole.received.audio, whole.expected.audio),
            video_loss_ratio: loss_ratio(whole.received.video, whole.expected.video),
            latency_us: Quantiles::of(&latency),
            relay_cpu,
            busiest_thread_cpu: busiest,
            bench_cpu,
            idle_ratio,
            relay_socket_drops: relay_drops,
            bench_socket_drops: bench_drops,
            server_bound: busiest.is_some_and(|share| share >= FULL) || relay_drops > 0,
            client_bound: bench_cpu >= FULL * cpus || all_used || bench_drops as f64 > DROPS * expected,
            join_ms: join.map(ms),
            questions: answers.len(),
            unanswered: answers.iter().filter(|answer| answer.is_none()).count(),
            slowest_answer_ms: answers.into_iter().flatten().max().map(ms),
            rss_bytes: end.relay.as_ref().map(|relay| relay.rss_bytes),
            latency_curve: curve_ms(&latency),
        }
    }

    /// Packets were lost.
    pub(super) fn bent(&self) -> bool {
        self.goodput_per_second < BENT * self.offered_per_second
    }

    fn control_answers(&self) -> bool {
        self.questions > self.unanswered && self.unanswered * 10 <= self.questions && self.join_ms.is_some()
    }

    pub(super) fn bound(&self) -> &'static str {
        match (self.server_bound, self.client_bound) {
            (true, false) => "server-bound",
            (false, true) => "client-bound",
            (true, true) => "server- and client-bound",
            (false, false) => "",
        }
    }

    /// One line.
    pub(super) fn text(&self) -> String {
        let percent =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.0}", share * 100.0));
        let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.1}", us as f64 / 1e3));
        format!(
            "{:7} kbit/s  {:7.0} of {:7.0} packets/s  lost: audio {:.3} %, video {:.3} %  latency p50 {} p99 {} ms  relay {} %, bench {:.0} % CPU  join {} ms  {}",
            self.kbps,
            self.goodput_per_second,
            self.offered_per_second,
            self.audio_loss_ratio * 100.0,
            self.video_loss_ratio * 100.0,
            ms(self.latency_us.p50),
            ms(self.latency_us.p99),
            percent(self.relay_cpu),
            self.bench_cpu * 100.0,
            self.join_ms.map_or_else(|| "none".to_owned(), |ms| format!("{ms:.0}")),
            self.bound(),
        )
    }
}

/// What `--json` holds.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) scenario: String,
    pub(super) target: String,
    /// Over the whole run, and of the step at twice the load.
    forwarded_packets: u64,
    expected_packets: u64,
    loss_ratio: f64,
    latency_us: Quantiles,
    pub(super) saturating_kbps: u32,
    pub(super) peak_goodput_per_second: f64,
    /// At twice the load that saturates.
    pub(super) goodput_per_second_at_twice: f64,
    pub(super) goodput_ratio_at_twice: f64,
    pub(super) audio_loss_ratio_at_twice: f64,
    pub(super) video_loss_ratio_at_twice: f64,
    pub(super) control_answers_at_twice: bool,
    pub(super) recovered: bool,
    /// The bench was at its own end where goodput bent, or at twice that.
    pub(super) client_bound: bool,
    pub(super) rss_bytes_first: Option<u64>,
    pub(super) rss_bytes_last: Option<u64>,
    pub(super) steps: Vec<Step>,
    pub(super) faults: Vec<String>,
    #[serde(flatten)]
    pub(super) circumstances: Circumstances,
}

impl Report {
    pub(super) fn of(scenario: String, target: String, steps: Vec<Step>, tally: &Tally) -> anyhow::Result<Self> {
        let find = |phase: Phase| steps.iter().find(|step| step.phase == phase);
        let incomplete = || anyhow!("the measurement is not complete");
        let (twice, after) = (find(Phase::Twice).ok_or_else(incomplete)?, find(Phase::After).ok_or_else(incomplete)?);
        let bend = steps.iter().find(|step| step.bent()).ok_or_else(incomplete)?;
        let rising = || steps.iter().filter(|step| step.phase == Phase::Rising);
        let peak = steps.iter().map(|step| step.goodput_per_second).fold(0.0, f64::max);
        let whole = rising().filter(|step| !step.bent()).map(|step| step.kbps).max();
        // Loss is what this is about; the rest must not happen under any load.
        let loss = |fault: &String| fault.contains("were lost") || fault.starts_with("1 %");
        Ok(Self {
            scenario,
            target,
            forwarded_packets: tally.received,
            expected_packets: tally.expected,
            loss_ratio: tally.loss_ratio(),
            latency_us: twice.latency_us,
            saturating_kbps: whole.unwrap_or(bend.kbps),
            peak_goodput_per_second: peak,
            goodput_per_second_at_twice: twice.goodput_per_second,
            goodput_ratio_at_twice: twice.goodput_per_second / peak.max(1.0),
            audio_loss_ratio_at_twice: twice.audio_loss_ratio,
            video_loss_ratio_at_twice: twice.video_loss_ratio,
            control_answers_at_twice: twice.control_answers(),
            recovered: !after.bent(),
            client_bound: bend.client_bound || twice.client_bound,
            rss_bytes_first: steps.first().and_then(|step| step.rss_bytes),
            rss_bytes_last: steps.last().and_then(|step| step.rss_bytes),
            faults: tally.faults().into_iter().filter(|fault| !loss(fault)).collect(),
            circumstances: Circumstances::now(),
            steps,
        })
    }

    pub(super) fn measurement(&self) -> anyhow::Result<Measurement> {
        let yes = |is: bool| if is { "yes" } else { "NO" };
        let kept = |is: bool| if is { "" } else { " (target missed)" };
        let mut out = Measurement::new(&self.scenario, self)?;
        out.figure("target", self.target.clone());
        out.figure("saturated at", format!("{} kbit/s a picture", self.saturating_kbps));
        out.figure("peak goodput", format!("{:.0} packets/s", self.peak_goodput_per_second));
        let (goodput, ratio) = (self.goodput_per_second_at_twice, self.goodput_ratio_at_twice);
        let missed = kept(ratio >= KEPT);
        out.figure("at twice that", format!("{goodput:.0} packets/s, {:.1} % of the peak{missed}", ratio * 100.0));
        let lost = self.audio_loss_ratio_at_twice;
        out.figure("audio lost", format!("{:.3} %{}", lost * 100.0, kept(lost < AUDIO_LOSS)));
        out.figure("video lost", format!("{:.3} %", self.video_loss_ratio_at_twice * 100.0));
        let join = self.steps.iter().find(|step| step.phase == Phase::Twice).and_then(|step| step.join_ms);
        let join = join.map_or_else(|| "no join".to_owned(), |ms| format!("join in {ms:.0} ms"));
        out.figure("control", format!("answers meanwhile: {}, {join}", yes(self.control_answers_at_twice)));
        out.figure("recovers", yes(self.recovered));
        let growth = self.rss_bytes_first.zip(self.rss_bytes_last);
        let growth = growth.map(|(first, last)| format!("{} → {}", mib(first), mib(last)));
        out.figure("relay memory", growth.unwrap_or_else(|| "unknown".to_owned()));
        if self.client_bound {
            out.warn(
                Mark::ClientBound,
                "the bench had no CPU left, or its sockets overflowed, where packets were lost; this is no limit of the server. Use more viewers with less bitrate each, more CPUs, or another machine",
            );
        }
        out.wrong(&self.faults);
        out.tables.push(step_table(&self.steps));
        out.plots = plots(&self.steps, self.saturating_kbps);
        out.circumstances(&self.target, None, &self.circumstances);
        Ok(out)
    }
}

/// What there is of a run that was ended early.
pub(super) fn unfinished(scenario: &str, target: &str, steps: &[Step]) -> anyhow::Result<Measurement> {
    let circumstances = Circumstances::now();
    let report = json!({ "scenario": scenario, "target": target, "steps": steps });
    let mut out = Measurement::new(scenario, &report)?;
    out.figure("target", target);
    let best = steps.iter().map(|step| step.goodput_per_second).fold(0.0, f64::max);
    out.figure("goodput", format!("{best:.0} packets/s at best, in {} steps", steps.len()));
    out.stopped(true);
    out.tables.push(step_table(steps));
    out.plots = plots(steps, steps.last().map_or(0, |step| step.kbps));
    out.circumstances(target, None, &circumstances);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(phase: Phase, kbps: u32, offered: f64, goodput: f64, client_bound: bool) -> Step {
        Step {
            phase,
            kbps,
            offered_per_second: offered,
            goodput_per_second: goodput,
            audio_loss_ratio: 0.0004,
            video_loss_ratio: 1.0 - goodput / offered,
            latency_us: Quantiles { p50: Some(400), p99: Some(9_000), p999: Some(12_000), max: Some(20_000) },
            relay_cpu: Some(0.99),
            busiest_thread_cpu: Some(0.97),
            bench_cpu: 0.6,
            idle_ratio: 0.2,
            relay_socket_drops: 0,
            bench_socket_drops: 0,
            server_bound: true,
            client_bound,
            join_ms: Some(12.0),
            questions: 10,
            unanswered: 0,
            slowest_answer_ms: Some(3.0),
            rss_bytes: Some(50 << 20),
            latency_curve: vec![(0.5, 0.4), (1.0, 20.0)],
        }
    }

    fn report(client_bound: bool) -> Report {
        let steps = vec![
            step(Phase::Rising, 1_000, 100_000.0, 100_000.0, false),
            step(Phase::Rising, 1_400, 140_000.0, 139_900.0, false),
            step(Phase::Rising, 1_960, 196_000.0, 160_000.0, client_bound),
            step(Phase::Twice, 2_800, 280_000.0, 156_000.0, false),
            step(Phase::After, 700, 70_000.0, 70_000.0, false),
        ];
        Report::of("overload: 1 → 100".to_owned(), "http://localhost".to_owned(), steps, &Tally::default()).unwrap()
    }

    #[test]
    fn the_bend_the_peak_and_twice_the_load_are_told() {
        let report = report(false);
        assert_eq!((report.saturating_kbps, report.peak_goodput_per_second), (1_400, 160_000.0));
        assert!((report.goodput_ratio_at_twice - 0.975).abs() < 1e-9);
        assert!(report.recovered && report.control_answers_at_twice && !report.client_bound);
        assert!(report.measurement().unwrap().warnings.is_empty());
        let text = report.measurement().unwrap().text();
        assert!(text.contains("97.5 % of the peak\n") && text.contains("audio lost    0.040 %\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        for key in ["scenario", "target", "forwarded_packets", "expected_packets", "loss_ratio", "latency_us", "steps"]
        {
            assert!(!json[key].is_null(), "{key}");
        }
        assert_eq!(json["steps"][3]["phase"], "twice");
    }

    #[test]
    fn the_bench_claims_no_limit_that_is_its_own() {
        let report = report(true);
        assert!(
            report.client_bound && report.measurement().unwrap().text().contains("CLIENT-BOUND"),
            "{}",
            report.measurement().unwrap().text()
        );
    }

    #[test]
    fn a_server_that_breaks_down_is_seen() {
        let mut steps = report(false).steps;
        steps[3].goodput_per_second = 90_000.0;
        steps[3].audio_loss_ratio = 0.02;
        steps[3].join_ms = None;
        steps[4].goodput_per_second = 10_000.0;
        let report = Report::of(String::new(), String::new(), steps, &Tally::default()).unwrap();
        let text = report.measurement().unwrap().text();
        assert_eq!(text.matches("(target missed)").count(), 2, "{text}");
        assert!(text.contains("answers meanwhile: NO, no join") && text.contains("recovers      NO"), "{text}");
    }

    #[test]
    fn pages_hold_figures_plots_and_the_mark() {
        let html = report(true).measurement().unwrap().html();
        for text in ["CLIENT-BOUND", "160000", "Goodput", "2800 (twice)", "10 of 10", "plausch_bench"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 6);
    }

    #[test]
    fn a_run_that_was_ended_early_tells_what_there_is() {
        let steps = vec![step(Phase::Rising, 1_000, 100_000.0, 100_000.0, false)];
        let measurement = unfinished("overload: 1 → 100", "http://localhost", &steps).unwrap();
        assert!(measurement.text().contains("100000 packets/s at best, in 1 steps"), "{}", measurement.text());
        assert!(measurement.json().contains("\"kbps\": 1000"), "{}", measurement.json());
        assert!(measurement.verdict().unwrap_err().to_string().starts_with("STOPPED"));
    }
}
