//! `plausch-bench churn`: people come and go for a time; a relay must not grow by it.

use crate::arguments::LoadArguments;
use crate::crowd::Crowd;
use crate::joins::Times;
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_bench::client::Histogram;
use plausch_bench::load::{Process, ProcessSample};
use serde::Serialize;
use std::io::{Write, stdout};
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
        left.iter().filter_map(|stats| stats.timings.dtls).for_each(|time| times.record(time.as_micros() as u64));
        replaced += left.len() as u64;
        if let Some(foreign) = left.iter().map(|stats| stats.foreign_packets).find(|foreign| *foreign > 0) {
            bail!("{foreign} packets came from another room; do not use this server before that is explained");
        }
        let silent = left.iter().filter(|stats| stats.received_packets() == 0).count();
        if silent > 0 {
            bail!("{silent} viewers left without having received any packet; look into the relay's log");
        }
        let now = sample(relay)?;
        let memory = now.map_or_else(
            || "relay out of sight".to_owned(),
            |now| format!("relay {:.1} MiB, {} descriptors", now.rss_bytes as f64 / 1_048_576.0, now.descriptors),
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
    };
    let mut out = format!("scenario  {}\nreplaced  {replaced}\njoin      {}\n", report.scenario, report.join_ms.text());
    if let (Some(first), Some(last)) = (first, last) {
        let mib = |sample: &ProcessSample| sample.rss_bytes as f64 / 1_048_576.0;
        out += &format!(
            "relay     {:.1} MiB → {:.1} MiB, {} → {} descriptors\n",
            mib(&first),
            mib(&last),
            first.descriptors,
            last.descriptors
        );
    }
    stdout().write_all(out.as_bytes())?;
    load.write_json(&report)
}

fn sample(relay: Option<Process>) -> anyhow::Result<Option<ProcessSample>> {
    let Some(relay) = relay else { return Ok(None) };
    let ended = || anyhow!("the relay (process {}) ended in the middle of the run; look into its log", relay.pid);
    relay.sample().ok_or_else(ended).map(Some)
}
