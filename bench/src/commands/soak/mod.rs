//! `plausch-bench soak`: moderate load for hours while people come and go; what a server must not do is grow.

mod report;

use crate::ground::{Process, ProcessSample};
use crate::run::crowd::Crowd;
use crate::run::load::LoadArguments;
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_client::{Histogram, Stats, Tally};
use report::{Limits, Report, Sample, Watched};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

const JOINS_PER_SECOND: u32 = 50;
/// Samples of a run: enough for a line, few enough for a page.
const SAMPLES: u32 = 720;
const SAMPLE_LEAST: Duration = Duration::from_secs(1);
/// Without any packet for this long, the server counts as dead.
const SILENCE: Duration = Duration::from_secs(10);

/// Arguments of `plausch-bench soak`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  a night                          plausch-bench soak --hours 8 --viewers 50 --html night.html
  a short one before a release     plausch-bench soak --minutes 15 --viewers 50 --per-second 5

It ends with an error when memory, descriptors or threads of relay or control grow: by a straight line through the
second half of the samples, more than --grow-kib-per-hour and more than 1 MiB in all. Bitrates are taken from the
arguments that all loads have; keep the load well below what `overload` found.")]
pub(crate) struct SoakArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// How long; added to --minutes [default: 10 minutes in all].
    #[arg(long, default_value_t = 0.0)]
    hours: f64,
    /// How long; added to --hours.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// Viewers that leave each second; as many join.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=200))]
    per_second: u32,
    /// Growth of a process that is still no leak.
    #[arg(long, default_value_t = 2048)]
    grow_kib_per_hour: u64,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
}

impl SoakArguments {
    fn duration(&self) -> anyhow::Result<Duration> {
        let hours = match (self.hours, self.minutes) {
            (0.0, 0.0) => 10.0 / 60.0,
            (hours, minutes) => hours + minutes / 60.0,
        };
        if !(hours > 0.0 && hours <= 24.0 * 31.0) {
            bail!("--hours and --minutes must make more than nothing and at most a month");
        }
        Ok(Duration::from_secs_f64(hours * 3_600.0))
    }
}

/// Fills the rooms, lets people come and go until the time is over, and looks for growth.
pub(crate) async fn run(arguments: SoakArguments) -> anyhow::Result<()> {
    let load = &arguments.load;
    load.check()?;
    let duration = arguments.duration()?;
    if load.viewers == 0 && arguments.per_second > 0 {
        bail!("nobody could come and go; give --viewers, or --per-second 0");
    }
    let mut crowd = Crowd::new(load, arguments.decrypt_every);
    crowd.join_first().await?;
    let relay = load.find_relay(&crowd)?;
    let control = find_control(&load.url);
    let processes = [("relay", relay), ("control", control)];
    let watched: Vec<_> = processes.into_iter().filter_map(|(name, process)| Some((name, process?))).collect();
    if watched.is_empty() {
        bail!("neither relay nor control is a process of this machine that we may look at; give --relay-pid");
    }
    crowd.join(crowd.waiting(), JOINS_PER_SECOND).await?;
    crowd.wait_for_slots().await?;
    crowd.talk(true);
    let mut soak = Soak {
        arguments: &arguments,
        duration,
        processes: watched,
        seen: Seen::default(),
        samples: Vec::new(),
        begin: Instant::now(),
    };
    soak.go_on(&mut crowd).await?;
    crowd.talk(false);
    let remaining: Vec<Stats> = crowd.stats(false).chain(crowd.stats(true)).collect();
    remaining.iter().for_each(|stats| soak.seen.add(stats));
    crowd.leave().await;
    soak.report().measurement()?.conclude(&load.outputs)
}

/// The process that answers at this address, if it is one of this machine.
fn find_control(url: &str) -> Option<Process> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let default = if scheme == "https" { 443 } else { 80 };
    let with_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let text = if with_port { authority.to_owned() } else { format!("{authority}:{default}") };
    text.to_socket_addrs().ok()?.find_map(Process::listening_at)
}

/// What clients that have left, and those that were there in the end, have seen.
#[derive(Default)]
struct Seen {
    tally: Tally,
    joins: Histogram,
    replaced: u64,
    /// Left without having received any packet.
    silent: u64,
}

impl Seen {
    fn add(&mut self, stats: &Stats) {
        let missing: u64 = stats.tracks().map(|track| track.missing).sum();
        let received: u64 = stats.tracks().map(|track| track.packets - track.duplicates).sum();
        // Who came in the middle cannot know what was sent before; holes in what came can be counted.
        self.tally.add(stats, received + missing);
        if let Some(took) = stats.timings.dtls {
            self.joins.record(took.as_micros() as u64);
        }
    }
}

struct Soak<'a> {
    arguments: &'a SoakArguments,
    duration: Duration,
    processes: Vec<(&'static str, Process)>,
    seen: Seen,
    samples: Vec<Sample>,
    begin: Instant,
}

impl Soak<'_> {
    async fn go_on(&mut self, crowd: &mut Crowd) -> anyhow::Result<()> {
        let between = (self.duration / SAMPLES).max(SAMPLE_LEAST);
        let mut next_sample = self.begin;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Nobody has received anything yet.
        tick.tick().await;
        let (mut received, mut alive) = (0, Instant::now());
        while self.begin.elapsed() < self.duration {
            tokio::select! {
                _ = tick.tick() => {}
                // What was seen until then is reported.
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
            self.replace(crowd).await?;
            let now = crowd.traffic().received.all();
            if std::mem::replace(&mut received, now) != now {
                alive = Instant::now();
            } else if alive.elapsed() > SILENCE {
                bail!(
                    "no packet came back for {} s in the middle of the run; look into the relay's log",
                    SILENCE.as_secs()
                );
            }
            if Instant::now() >= next_sample {
                next_sample += between;
                self.sample(crowd)?;
            }
        }
        self.sample(crowd)
    }

    async fn replace(&mut self, crowd: &mut Crowd) -> anyhow::Result<()> {
        if self.arguments.per_second == 0 {
            return Ok(());
        }
        let left = crowd.replace(self.arguments.per_second as usize).await?;
        self.seen.replaced += left.len() as u64;
        self.seen.silent += left.iter().filter(|stats| stats.received_packets() == 0).count() as u64;
        left.iter().for_each(|stats| self.seen.add(stats));
        Ok(())
    }

    fn sample(&mut self, crowd: &Crowd) -> anyhow::Result<()> {
        let mut processes = Vec::new();
        for (name, process) in &self.processes {
            let ended =
                || anyhow!("{name} (process {}) ended in the middle of the run; look into its log", process.pid);
            let ProcessSample { rss_bytes, descriptors, threads, .. } = process.sample().ok_or_else(ended)?;
            processes.push(Watched { rss_bytes, descriptors: descriptors as u64, threads: threads.len() as u64 });
        }
        let latency = crowd.take_latencies().handled;
        self.seen.tally.latency.add(&latency);
        let sample = Sample {
            at_s: self.begin.elapsed().as_secs_f64(),
            processes,
            latency_p50_us: latency.quantile(0.5),
            latency_p99_us: latency.quantile(0.99),
        };
        let memory: Vec<String> =
            self.processes.iter().zip(&sample.processes).map(|((name, _), of)| of.text(name)).collect();
        eprintln!("{:6.0} s  {} replaced  {}", sample.at_s, self.seen.replaced, memory.join("  "));
        self.samples.push(sample);
        Ok(())
    }

    fn report(self) -> Report {
        let limits = Limits { kib_per_hour: self.arguments.grow_kib_per_hour };
        let names = self.processes.iter().map(|(name, _)| *name).collect();
        let load = &self.arguments.load;
        Report::of(load.scenario("soak"), load.url.clone(), names, self.samples, limits, &self.seen)
    }
}
