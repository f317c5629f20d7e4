//! `plausch-bench churn`: people come and go for a time; a relay must not grow by it.

use crate::ground::{Process, ProcessSample};
use crate::report::figures::{counts_ms, mib};
use crate::report::page::{Columns, Lines, Plot, Series};
use crate::report::{Circumstances, Measurement, Times};
use crate::run::crowd::Crowd;
use crate::run::load::LoadArguments;
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_client::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::time::interval;

/// How fast the rooms are filled at first.
const JOINS_PER_SECOND: u32 = 50;

/// Arguments of `plausch-bench churn`.
#[derive(Args)]
#[command(after_help = "\
Example:
  for an hour, ten of 100 are replaced each second   plausch-bench churn --viewers 100 --per-second 10 --seconds 3600")]
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Viewers that leave each second; as many join.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    per_second: u32,
    /// How long to go on.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: u64,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report {
    scenario: String,
    target: String,
    replaced: u64,
    join_ms: Times,
    /// Of the relay, when the rooms were full and when everybody had been replaced often.
    rss_bytes_first: Option<u64>,
    rss_bytes_last: Option<u64>,
    descriptors_first: Option<usize>,
    descriptors_last: Option<usize>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

/// The relay and those who came, second by second.
#[derive(Default)]
struct Course {
    memory_mib: Vec<(f64, f64)>,
    descriptors: Vec<(f64, f64)>,
    slowest_join_ms: Vec<(f64, f64)>,
}

/// Fills the rooms, replaces viewers until the time is over, and compares the relay's memory.
pub(crate) async fn run(arguments: ChurnArguments) -> anyhow::Result<()> {
    let load = &arguments.load;
    load.check()?;
    if load.viewers == 0 {
        bail!("nobody would come and go; give --viewers");
    }
    let mut crowd = Crowd::new(load, 1);
    crowd.join_first().await?;
    let relay = load.find_relay(&crowd)?;
    crowd.join(crowd.waiting(), JOINS_PER_SECOND).await?;
    crowd.talk(true);
    let first = sample(relay)?;
    let mut times = Histogram::default();
    let mut course = Course::default();
    let mut replaced = 0;
    let begin = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    tick.tick().await;
    while begin.elapsed() < Duration::from_secs(arguments.seconds) {
        tokio::select! {
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let left = crowd.replace(arguments.per_second as usize).await?;
        let took = || left.iter().filter_map(|stats| stats.timings.dtls);
        took().for_each(|time| times.record(time.as_micros() as u64));
        let at = begin.elapsed().as_secs_f64();
        course.slowest_join_ms.extend(took().max().map(|time| (at, time.as_secs_f64() * 1e3)));
        replaced += left.len() as u64;
        if let Some(foreign) = left.iter().map(|stats| stats.foreign_packets).find(|foreign| *foreign > 0) {
            bail!("{foreign} packets came from another room; do not use this server before that is explained");
        }
        let silent = left.iter().filter(|stats| stats.received_packets() == 0).count();
        if silent > 0 {
            bail!("{silent} viewers left without having received any packet; look into the relay's log");
        }
        let now = sample(relay)?;
        if let Some(now) = &now {
            course.memory_mib.push((at, now.rss_bytes as f64 / 1_048_576.0));
            course.descriptors.push((at, now.descriptors as f64));
        }
        let memory = now.map_or_else(
            || "relay out of sight".to_owned(),
            |now| format!("relay {}, {} descriptors", mib(now.rss_bytes), now.descriptors),
        );
        let seconds = begin.elapsed().as_secs();
        eprintln!("{seconds:4} s  {replaced} replaced, joins {}  {memory}", Times::of(&times).text());
    }
    let last = sample(relay)?;
    crowd.leave().await;
    let report = Report {
        scenario: load.scenario("churn"),
        target: load.url.clone(),
        replaced,
        join_ms: Times::of(&times),
        rss_bytes_first: first.as_ref().map(|sample| sample.rss_bytes),
        rss_bytes_last: last.as_ref().map(|sample| sample.rss_bytes),
        descriptors_first: first.as_ref().map(|sample| sample.descriptors),
        descriptors_last: last.as_ref().map(|sample| sample.descriptors),
        circumstances: Circumstances::now(),
    };
    report.measurement(course, &times)?.conclude(&load.outputs)
}

impl Report {
    fn measurement(&self, course: Course, times: &Histogram) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        out.figure("replaced", self.replaced.to_string());
        out.figure("join", self.join_ms.text());
        if let (Some(first), Some(last)) = (self.rss_bytes_first, self.rss_bytes_last) {
            let [before, after] =
                [self.descriptors_first, self.descriptors_last].map(|count: Option<usize>| count.unwrap_or_default());
            out.figure("relay", format!("{} → {}, {before} → {after} descriptors", mib(first), mib(last)));
        }
        let plot = |title: &str, unit, points: Vec<(f64, f64)>| {
            let series = vec![Series::new(title, points)];
            Plot::Lines(Lines { title: title.to_owned(), unit, along: "s", series, ..Lines::default() })
        };
        out.plots = vec![
            plot("Memory of the relay", "MiB", course.memory_mib),
            plot("Descriptors of the relay", "", course.descriptors),
            plot("Slowest join of those who left", "ms", course.slowest_join_ms),
            Plot::Columns(Columns::of("Join times", "participants", "ms", &[("joins".to_owned(), counts_ms(times))])),
        ];
        out.circumstances(&self.target, None, &self.circumstances);
        Ok(out)
    }
}

fn sample(relay: Option<Process>) -> anyhow::Result<Option<ProcessSample>> {
    let Some(relay) = relay else { return Ok(None) };
    let ended = || anyhow!("the relay (process {}) ended in the middle of the run; look into its log", relay.pid);
    relay.sample().ok_or_else(ended).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_the_relays_memory() {
        let mut times = Histogram::default();
        (1..=50u64).for_each(|ms| times.record(ms * 1_000));
        let report = Report {
            scenario: "churn: 1 → 20".to_owned(),
            target: "http://localhost".to_owned(),
            replaced: 50,
            join_ms: Times::of(&times),
            rss_bytes_first: Some(30 << 20),
            rss_bytes_last: Some(31 << 20),
            descriptors_first: Some(40),
            descriptors_last: Some(41),
            circumstances: Circumstances::now(),
        };
        let course = Course {
            memory_mib: vec![(1.0, 30.0), (2.0, 31.0)],
            slowest_join_ms: vec![(1.0, 9.0), (2.0, 50.0)],
            ..Course::default()
        };
        let html = report.measurement(course, &times).unwrap().html();
        assert!(html.contains("30.0 MiB → 31.0 MiB, 40 → 41 descriptors") && html.contains("max 50 ms"), "{html}");
        // Descriptors were never seen: no empty picture.
        assert_eq!(html.matches("<svg").count(), 3);
    }
}
