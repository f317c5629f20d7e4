//! `plausch-bench sfu`: rooms full of publishers and viewers, and what forwarding to them costs the relay.

mod measure;
mod report;

use crate::arguments::LoadArguments;
use crate::crowd::Crowd;
use anyhow::{anyhow, bail};
use clap::Args;
use measure::{Moment, PROGRESS_INTERVAL};
use plausch_bench::load::Process;
use report::Report;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};
use tokio::time::{interval, sleep};

/// From the first packet until the measurement: first key frames, and congestion control that has found its rate.
const WARM_UP: Duration = Duration::from_secs(3);
/// What is still under way when publishers stop, retransmissions included.
const SETTLE: Duration = Duration::from_secs(1);
/// Without any packet for this long, the server counts as dead.
const SILENCE: Duration = Duration::from_secs(3);
/// Joins in a second on this machine, and elsewhere.
const JOINS_PER_SECOND: u32 = 100;
const JOINS_PER_SECOND_REMOTE: u32 = 10;

/// Arguments of `plausch-bench sfu`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  one speaker and a hundred who watch   plausch-bench sfu --viewers 100
  five rooms of eight, all sending      plausch-bench sfu --rooms 5 --publishers 8 --viewers 0
  sound alone                           plausch-bench sfu --viewers 400 --video-kbps 0

Clients and server share this machine's CPUs: read the line about the bench's own load before you believe a limit.
The relay keeps memory of earlier rooms for later ones: start it afresh to learn what a participant needs.")]
pub(crate) struct SfuArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// How long to measure.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    /// Joins in one second [default: 100 on this machine, 10 elsewhere].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins_per_second: Option<u32>,
}

/// Joins all, lets them talk, measures, and reports.
pub(crate) async fn run(arguments: SfuArguments) -> anyhow::Result<()> {
    let rooms = &arguments.load;
    rooms.check()?;
    let mut crowd = Crowd::new(rooms, arguments.decrypt_every);
    crowd.join_first().await?;
    let relay = rooms.find_relay(&crowd)?;
    let lonely = relay.and_then(|relay| relay.sample());
    let result = tokio::select! {
        result = load(&arguments, &mut crowd, relay) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped before the measurement was complete; nothing is reported")),
    };
    crowd.leave().await;
    let mut measured = result?;
    measured.rss_alone = lonely.map(|sample| sample.rss_bytes);
    let report = Report::of(rooms.scenario("sfu"), &rooms.url, &measured);
    stdout().write_all(report.table(&measured).as_bytes())?;
    rooms.write_json(&report)?;
    match measured.tally.foreign {
        0 => Ok(()),
        foreign => bail!("{foreign} packets came from another room; do not use this server before that is explained"),
    }
}

async fn load(
    arguments: &SfuArguments,
    crowd: &mut Crowd,
    relay: Option<Process>,
) -> anyhow::Result<measure::Measured> {
    let pace = arguments.joins_per_second.unwrap_or(match relay {
        Some(_) => JOINS_PER_SECOND,
        None => JOINS_PER_SECOND_REMOTE,
    });
    crowd.join(crowd.waiting(), pace).await?;
    crowd.wait_for_slots().await?;
    crowd.talk(true);
    eprintln!("{} participants are here; warming up", crowd.len());
    let warm = Instant::now() + WARM_UP;
    // A tick may come a little early.
    let wanted = Duration::from_secs(arguments.seconds) - PROGRESS_INTERVAL / 2;
    let mut begin: Option<Moment> = None;
    let mut before = Moment::take(crowd, relay)?;
    let mut alive = Instant::now();
    let mut tick = interval(PROGRESS_INTERVAL);
    tick.tick().await;
    loop {
        tick.tick().await;
        let now = Moment::take(crowd, relay)?;
        if crowd.lost_sockets() > 0 {
            bail!("the server closed its connections in the middle of the run; look into its log");
        }
        if now.received > before.received {
            alive = Instant::now();
        } else if alive.elapsed() > SILENCE {
            bail!(
                "no packet came back for {} s in the middle of the run; look into the relay's log",
                SILENCE.as_secs()
            );
        }
        match &begin {
            Some(begin) => eprintln!("{}", now.progress(begin, &before)),
            None if Instant::now() >= warm => {
                crowd.take_latencies();
                begin = Some(now.clone());
            }
            None => {}
        }
        if begin.as_ref().is_some_and(|begin| now.at - begin.at >= wanted) {
            before = now;
            break;
        }
        before = now;
    }
    let latency = crowd.take_latencies();
    crowd.talk(false);
    sleep(SETTLE).await;
    Ok(measure::Measured {
        tally: crowd.tally(latency),
        joins: crowd.join_times(),
        participants: crowd.len(),
        begin: begin.unwrap_or_else(|| before.clone()),
        end: before,
        relay,
        rss_alone: None,
        profile: crowd.profile(),
    })
}
