//! What hours have shown.

use super::Seen;
use crate::report::figures::{counts_ms, curve_ms, latency_plot, mib};
use crate::report::page::{Columns, Lines, Plot, Series};
use crate::report::{Circumstances, Measurement, Quantiles, Times, Trend};
use serde::Serialize;

/// Growth that any process may have: a page table here, an arena there.
const LEAST_BYTES: f64 = 1_048_576.0;
/// Descriptors and threads that may be more at the end by chance: somebody is just joining.
const LEAST_COUNT: f64 = 16.0;

/// What growth is a leak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) kib_per_hour: u64,
}

/// One process at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Watched {
    pub(super) rss_bytes: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

impl Watched {
    pub(super) fn text(&self, name: &str) -> String {
        format!("{name} {}, {} descriptors, {} threads", mib(self.rss_bytes), self.descriptors, self.threads)
    }
}

/// All processes at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) at_s: f64,
    pub(super) processes: Vec<Watched>,
    pub(super) latency_p50_us: Option<u64>,
    pub(super) latency_p99_us: Option<u64>,
}

/// How one process has grown.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Growth {
    pub(super) process: &'static str,
    pub(super) first: Option<Watched>,
    pub(super) last: Option<Watched>,
    /// By a line through the second half of the samples.
    pub(super) rss: Option<Trend>,
    pub(super) descriptors: Option<Trend>,
    pub(super) threads: Option<Trend>,
    pub(super) grows: bool,
}

/// What `--json` holds.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) scenario: String,
    pub(super) target: String,
    pub(super) hours: f64,
    pub(super) replaced: u64,
    /// Holes in the numbers of what came are what was expected beside it.
    forwarded_packets: u64,
    expected_packets: u64,
    loss_ratio: f64,
    join_ms: Times,
    latency_us: Quantiles,
    pub(super) growth: Vec<Growth>,
    pub(super) faults: Vec<String>,
    pub(super) samples: Vec<Sample>,
    #[serde(flatten)]
    pub(super) circumstances: Circumstances,
    #[serde(skip)]
    pub(super) latency_curve: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(super) join_counts: Vec<(f64, u64)>,
}

impl Report {
    pub(super) fn of(
        scenario: String,
        target: String,
        processes: Vec<&'static str>,
        samples: Vec<Sample>,
        limits: Limits,
        seen: &Seen,
    ) -> Self {
        let latency = &seen.tally.latency;
        // Holes are told as loss, and age of packets as latency.
        let other = |fault: &String| !fault.contains("were lost") && !fault.starts_with("1 %");
        let mut faults: Vec<String> = seen.tally.faults().into_iter().filter(other).collect();
        if seen.silent > 0 {
            faults.push(format!("{} viewers left without having received any packet", seen.silent));
        }
        Self {
            scenario,
            target,
            hours: samples.last().map_or(0.0, |sample| sample.at_s / 3_600.0),
            replaced: seen.replaced,
            forwarded_packets: seen.tally.received,
            expected_packets: seen.tally.expected,
            loss_ratio: seen.tally.loss_ratio(),
            join_ms: Times::of(&seen.joins),
            latency_us: Quantiles::of(latency),
            growth: processes
                .iter()
                .enumerate()
                .map(|(index, process)| Growth::of(process, index, &samples, limits))
                .collect(),
            faults,
            samples,
            circumstances: Circumstances::now(),
            latency_curve: curve_ms(latency),
            join_counts: counts_ms(&seen.joins),
        }
    }

    /// What grows, a sentence each.
    pub(super) fn verdicts(&self) -> Vec<String> {
        let growing = self.growth.iter().filter(|growth| growth.grows);
        growing
            .map(|growth| {
                format!(
                    "the {} grows: {}; do not run this server for long before that is explained",
                    growth.process,
                    growth.text()
                )
            })
            .collect()
    }

    pub(super) fn measurement(&self) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        out.figure("target", self.target.clone());
        out.figure("measured", format!("{:.2} hours, {} viewers replaced", self.hours, self.replaced));
        out.figure("forwarded", format!("{} of {} packets", self.forwarded_packets, self.expected_packets));
        out.figure("loss ratio", format!("{:.6}", self.loss_ratio));
        out.figure("latency", self.latency_us.text());
        out.figure("join", self.join_ms.text());
        self.growth.iter().for_each(|growth| out.figure(growth.process, growth.text()));
        out.wrong(&self.verdicts());
        out.wrong(&self.faults);
        out.plots = self.plots();
        out.circumstances(&self.target, None, &self.circumstances);
        Ok(out)
    }

    fn plots(&self) -> Vec<Plot> {
        let minutes = |at_s: f64| at_s / 60.0;
        let of_all = |value: fn(&Watched) -> f64| -> Vec<Series> {
            let points = |index: usize| {
                let at = move |sample: &Sample| Some((minutes(sample.at_s), value(sample.processes.get(index)?)));
                self.samples.iter().filter_map(at)
            };
            self.growth.iter().enumerate().map(|(index, growth)| Series::new(growth.process, points(index))).collect()
        };
        let plot = |title: &str, unit, series| {
            Plot::Lines(Lines { title: title.to_owned(), unit, along: "min", series, ..Lines::default() })
        };
        let latency = |value: fn(&Sample) -> Option<u64>| {
            self.samples.iter().filter_map(move |sample| Some((minutes(sample.at_s), value(sample)? as f64 / 1e3)))
        };
        let joins = [("joins".to_owned(), self.join_counts.clone())];
        vec![
            plot("Memory", "MiB", of_all(|watched| watched.rss_bytes as f64 / 1_048_576.0)),
            plot("Descriptors", "", of_all(|watched| watched.descriptors as f64)),
            plot("Threads", "", of_all(|watched| watched.threads as f64)),
            plot(
                "Latency over time",
                "ms",
                vec![
                    Series::new("p99", latency(|sample| sample.latency_p99_us)),
                    Series::new("p50", latency(|sample| sample.latency_p50_us)),
                ],
            ),
            latency_plot(&[("all".to_owned(), self.latency_curve.clone())]),
            Plot::Columns(Columns::of("Join times", "participants", "ms", &joins)),
        ]
    }
}

impl Growth {
    fn of(process: &'static str, index: usize, samples: &[Sample], limits: Limits) -> Self {
        let of = |sample: &Sample| sample.processes.get(index).copied();
        let series = |value: fn(Watched) -> u64| -> Vec<(f64, f64)> {
            samples.iter().filter_map(|sample| Some((sample.at_s, value(of(sample)?) as f64))).collect()
        };
        let rss = Trend::of_second_half(&series(|watched| watched.rss_bytes));
        let descriptors = Trend::of_second_half(&series(|watched| watched.descriptors));
        let threads = Trend::of_second_half(&series(|watched| watched.threads));
        let allowed = limits.kib_per_hour as f64 * 1024.0;
        let grows = rss.is_some_and(|rss| rss.grown > LEAST_BYTES && rss.per_hour > allowed)
            || [descriptors, threads].into_iter().flatten().any(|trend| trend.grown > LEAST_COUNT);
        Self {
            process,
            first: samples.first().and_then(of),
            last: samples.last().and_then(of),
            rss,
            descriptors,
            threads,
            grows,
        }
    }

    fn text(&self) -> String {
        let (Some(first), Some(last)) = (self.first, self.last) else { return "no samples".to_owned() };
        let rate = self.rss.map_or_else(
            || "too short to tell a trend".to_owned(),
            |rss| format!("{:+.0} KiB an hour in the second half", rss.per_hour / 1024.0),
        );
        format!(
            "{} → {} ({rate}), {} → {} descriptors, {} → {} threads",
            mib(first.rss_bytes),
            mib(last.rss_bytes),
            first.descriptors,
            last.descriptors,
            first.threads,
            last.threads
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Four hours of a relay whose memory and descriptors are as given, and of a control at rest.
    pub(crate) fn report(rss_bytes: fn(f64) -> f64, descriptors: fn(f64) -> f64) -> Report {
        let sample = |minute: u32| {
            let hours = f64::from(minute) / 60.0;
            let relay =
                Watched { rss_bytes: rss_bytes(hours) as u64, descriptors: descriptors(hours) as u64, threads: 5 };
            let control = Watched { rss_bytes: 20 << 20, descriptors: 80, threads: 6 };
            Sample {
                at_s: hours * 3_600.0,
                processes: vec![relay, control],
                latency_p50_us: Some(300),
                latency_p99_us: Some(900),
            }
        };
        let samples = (0..=240).map(sample).collect();
        let mut seen = Seen { replaced: 900, ..Seen::default() };
        seen.tally.latency.record(500);
        seen.joins.record(2_500);
        let names = vec!["relay", "control"];
        Report::of("soak".to_owned(), "http://x".to_owned(), names, samples, Limits { kib_per_hour: 2_048 }, &seen)
    }

    const MIB: f64 = 1_048_576.0;

    #[test]
    fn a_server_at_rest_is_none_that_grows() {
        let report =
            report(|hours| 50.0 * MIB + 20.0 * MIB * hours.min(1.5) + 0.5 * MIB * (hours * 40.0).sin(), |_| 90.0);
        assert!(report.verdicts().is_empty(), "{:?}", report.verdicts());
        assert!(
            report.measurement().unwrap().text().contains("50.0 MiB → 80"),
            "{}",
            report.measurement().unwrap().text()
        );
        let json = serde_json::to_value(&report).unwrap();
        for key in
            ["scenario", "target", "forwarded_packets", "expected_packets", "loss_ratio", "latency_us", "join_ms"]
        {
            assert!(!json[key].is_null(), "{key}");
        }
        assert_eq!(json["growth"][0]["process"], "relay");
    }

    #[test]
    fn leaks_are_told() {
        let verdicts = report(|hours| (50.0 + 3.0 * hours) * MIB, |_| 90.0).verdicts();
        assert_eq!(verdicts.len(), 1);
        assert!(
            verdicts[0].starts_with("the relay grows") && verdicts[0].contains("+3072 KiB an hour"),
            "{verdicts:?}"
        );
        let verdicts = report(|_| 50.0 * MIB, |hours| 90.0 + 30.0 * hours).verdicts();
        assert!(verdicts[0].contains("90 → 210 descriptors"), "{verdicts:?}");
    }

    #[test]
    fn pages_hold_growth_and_verdict() {
        let measurement = report(|hours| (50.0 + 3.0 * hours) * MIB, |_| 90.0).measurement().unwrap();
        let html = measurement.html();
        for text in ["the relay grows", "50.0 MiB → 62.0 MiB", "Descriptors", "900 viewers replaced"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 6);
        assert!(measurement.verdict().unwrap_err().to_string().contains("the relay grows"));
    }
}
