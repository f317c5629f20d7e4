//! One run: fills the rooms, lets them talk, and measures.

use super::SfuArguments;
use super::course::Course;
use super::measure::{Flooded, Measured, Moment, PROGRESS_INTERVAL, sample};
use crate::commands::turn::RunningFlood;
use crate::ground::ProcessSample;
use crate::report::Limits;
use crate::run::crowd::Crowd;
use crate::run::stop::{Stopped, stop_signal};
use crate::run::target::Target;
use anyhow::{Context, bail};
use plausch_client::Ages;
use std::time::{Duration, Instant};
use tokio::time::interval;

/// From the first packet until the measurement: first key frames, and congestion control that has found its rate.
const WARM_UP: Duration = Duration::from_secs(3);
/// From the first forged request until the measurement beside them.
const FLOOD_WARM_UP: Duration = Duration::from_secs(1);
/// Without any packet for this long, the server counts as dead.
const SILENCE: Duration = Duration::from_secs(3);
/// Joins in a second on this machine, and elsewhere.
const JOINS_PER_SECOND: u32 = 100;
const JOINS_PER_SECOND_REMOTE: u32 = 10;

/// Joins all, measures, and lets all leave.
pub(crate) async fn drive(arguments: &SfuArguments, target: Target) -> anyhow::Result<Measured> {
    let mut target = target;
    let mut crowd = Crowd::at(&target, &arguments.load, arguments.decrypt_every);
    crowd.join_first().await?;
    if target.processes.is_empty() {
        target.processes.extend(arguments.load.find_relay(&crowd)?);
    }
    let alone = rss(&sample(&target)?);
    let limits = Limits::watch(target.metrics.clone()).await;
    let result = load(arguments, &mut crowd, target).await;
    crowd.leave().await;
    match result {
        Ok(measured) => {
            let limits = limits.met(measured.tally.loss_ratio(), false).await;
            Ok(Measured { rss_alone: alone, limits, ..measured })
        }
        Err(error) => Err(limits.explain(error).await),
    }
}

/// Memory of all processes, where there are any.
pub(crate) fn rss(processes: &[ProcessSample]) -> Option<u64> {
    (!processes.is_empty()).then(|| processes.iter().map(|process| process.rss_bytes).sum())
}

async fn load(arguments: &SfuArguments, crowd: &mut Crowd, target: Target) -> anyhow::Result<Measured> {
    let pace = arguments.joins_per_second.unwrap_or(match target.processes.is_empty() {
        false => JOINS_PER_SECOND,
        true => JOINS_PER_SECOND_REMOTE,
    });
    let here = async {
        crowd.join(crowd.waiting(), pace).await?;
        crowd.wait_for_slots().await
    };
    tokio::select! {
        here = here => here?,
        () = stop_signal() => bail!(Stopped),
    }
    crowd.talk(true);
    eprintln!("{} participants are here; warming up", crowd.len());
    let seconds = Duration::from_secs(arguments.seconds);
    let quiet = watch(crowd, &target, WARM_UP, seconds).await?;
    let flooded = match arguments.spoofed_rate {
        Some(per_s) if !quiet.stopped => Some(flood(crowd, &target, per_s, seconds).await?),
        _ => None,
    };
    crowd.fall_silent().await;
    let joins = crowd.join_times();
    let Watched { begin, end, mut course, ages, stopped } = quiet;
    course.close(&ages, &joins);
    Ok(Measured {
        target,
        tally: crowd.tally(ages.handled),
        arrived: ages.arrived,
        course,
        joins,
        participants: crowd.len(),
        begin,
        end,
        rss_alone: None,
        profile: crowd.profile(),
        flooded,
        stopped,
        limits: Vec::new(),
    })
}

/// The same load once more, beside forged requests.
async fn flood(crowd: &Crowd, target: &Target, per_s: u32, seconds: Duration) -> anyhow::Result<Flooded> {
    let Some(relay) = crowd.relay_address() else { bail!("the relay's address is not known") };
    eprintln!("now beside {per_s} forged requests in a second");
    let flood = RunningFlood::start(relay, per_s).context("there is no flood")?;
    let Watched { begin, end, ages, .. } = watch(crowd, target, FLOOD_WARM_UP, seconds).await?;
    let flooding = flood.stop().context("there was no flood")?;
    Ok(Flooded { flooding, ages, begin, end })
}

/// What was seen of a load for a time.
struct Watched {
    begin: Moment,
    end: Moment,
    course: Course,
    ages: Ages,
    /// Before its time.
    stopped: bool,
}

/// Lets the load run for `warm_up`, then measures it for `seconds`.
async fn watch(crowd: &Crowd, target: &Target, warm_up: Duration, seconds: Duration) -> anyhow::Result<Watched> {
    let warm = Instant::now() + warm_up;
    // A tick may come a little early.
    let wanted = seconds - PROGRESS_INTERVAL / 2;
    let mut begin: Option<Moment> = None;
    let mut course = Course::default();
    let mut ages = Ages::default();
    let mut before = Moment::take(crowd, target)?;
    let mut alive = Instant::now();
    let mut tick = interval(PROGRESS_INTERVAL);
    tick.tick().await;
    loop {
        let stopped = tokio::select! {
            _ = tick.tick() => false,
            () = stop_signal() => true,
        };
        let now = Moment::take(crowd, target)?;
        if crowd.lost_sockets() > 0 {
            bail!("the server closed its connections in the middle of the run; look into its log");
        }
        if now.received > before.received {
            alive = Instant::now();
        } else if alive.elapsed() > SILENCE {
            bail!(
                "no packet came back for {} s in the middle of the run; look into the server's log",
                SILENCE.as_secs()
            );
        }
        match &begin {
            Some(begin) => {
                eprintln!("{}", now.progress(begin, &before));
                let meanwhile = crowd.take_latencies();
                course.add(begin, &before, &now, &meanwhile.handled);
                ages.add(&meanwhile);
            }
            None if Instant::now() >= warm => {
                crowd.take_latencies();
                begin = Some(now.clone());
            }
            None => {}
        }
        if let Some(begin) = begin.take_if(|begin| stopped || now.at - begin.at >= wanted) {
            return Ok(Watched { begin, end: now, course, ages, stopped });
        }
        if stopped {
            bail!(Stopped);
        }
        before = now;
    }
}
