//! `plausch-bench overload`: more and more load until goodput bends, then twice that. What a server does then shows
//! whether a bad evening ends in a bad picture or in no conference.

mod plots;
mod report;

use crate::commands::sfu::with_server;
use crate::ground::lab::{Cable, Ground};
use crate::ground::servers::Driver;
use crate::ground::{Machine, Process, ProcessSample};
use crate::report::{Limits, Mark};
use crate::run::crowd::Crowd;
use crate::run::load::LoadArguments;
use crate::run::permission::check_target;
use crate::run::stop::{Stopped, stop_signal};
use crate::run::target::Target;
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_client::{Histogram, Traffic, is_healthy};
use report::{Phase, Report, Step, unfinished};
use std::time::{Duration, Instant};
use tokio::time::{interval, sleep, timeout};

/// From a change of the rate to its measurement: pacers and queues have settled.
const SETTLE: Duration = Duration::from_millis(1_500);
const JOINS_PER_SECOND: u32 = 100;
/// Goodput bends where less than this share of the packets comes through.
const BENT: f64 = 0.97;
/// Somebody who joins, or asks how the server is, waits no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// One question to the server, and the next.
const QUESTION_INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `plausch-bench overload`.
#[derive(Args)]
#[command(after_help = "\
The bitrate of each picture rises step by step, from --video-kbps on, until packets are lost; then it is twice the last
one that came through, and then half of it, to see whether the server recovers. Publishers pause after each step until
nothing is under way, so that what is missing then was lost.

Examples:
  one speaker, more and more bitrate    plausch-bench overload --viewers 100 --html overload.html
  a meeting of eight                    plausch-bench overload --publishers 8 --viewers 0 --video-kbps 2000
  a server alone on its CPU             plausch-bench overload --lab --receive-work sender --viewers 400 --listeners 20

The bench may be what ends first: `plausch-bench self` says which rate it takes. Steps in which it had no CPU left, or
in which its own sockets overflowed, are marked `client-bound` and say nothing about the server.")]
pub(crate) struct OverloadArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// By how much each step is larger than the one before.
    #[arg(long, default_value_t = 1.4)]
    step: f64,
    /// How long each step is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bitrate of a picture at which to give up looking for the bend.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    most_kbps: u32,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    /// Start our server in a network namespace of its own, joined to the clients' by a pair of devices. Needs root.
    #[arg(long, conflicts_with_all = ["url", "ca", "via", "relay_pid", "allow_remote"])]
    lab: bool,
    /// CPUs of a server in a lab, as a list; clients take the others [default: the last one].
    #[arg(long, value_name = "LIST", requires = "lab")]
    server_cpus: Option<String>,
    /// How the relay in a lab sends and receives.
    #[arg(long, value_enum, default_value_t = Driver::Auto, requires = "lab")]
    driver: Driver,
    #[command(flatten)]
    cable: Cable,
}

/// Raises the load, doubles it, takes it back, and reports.
pub(crate) async fn run(arguments: OverloadArguments) -> anyhow::Result<()> {
    let load = &arguments.load;
    if load.video_kbps == 0 {
        bail!("the bitrate of pictures is what rises; give --video-kbps");
    }
    if !(1.05..=4.0).contains(&arguments.step) {
        bail!("--step must be between 1.05 and 4, not {}", arguments.step);
    }
    if !arguments.lab {
        load.check()?;
        if check_target(&load.url, false).is_err() {
            bail!("an overload is for servers of this machine only: nobody else's network is there to be filled");
        }
        return fill(&arguments, load.target(), &[]).await;
    }
    load.check_rooms()?;
    let ground = Ground::prepare(true, arguments.cable, arguments.server_cpus.as_deref())?;
    let measure = async |target| fill(&arguments, target, ground.client_cpus()).await;
    with_server(&ground, None, arguments.driver, measure).await
}

async fn fill(arguments: &OverloadArguments, target: Target, client_cpus: &[usize]) -> anyhow::Result<()> {
    let load = &arguments.load;
    let mut crowd = Crowd::at(&target, load, arguments.decrypt_every);
    crowd.join_first().await?;
    let relay = match target.processes.first() {
        Some(relay) => Some(*relay),
        None => load.find_relay(&crowd)?,
    };
    let scene = Scene { target: &target, client_cpus, relay };
    let limits = Limits::watch(target.metrics.clone()).await;
    let mut steps = Vec::new();
    let result = tokio::select! {
        result = raise(arguments, &mut crowd, &scene, &mut steps) => result,
        () = stop_signal() => Err(Stopped.into()),
    };
    let tally = crowd.tally(Histogram::default());
    crowd.leave().await;
    let name = match &target.device {
        Some(device) => format!("{}, {device}", target.url),
        None => target.url.clone(),
    };
    let scenario = load.scenario("overload");
    let mut measurement = match result {
        Ok(()) => Report::of(scenario, name, steps, &tally)?.measurement()?,
        Err(error) if error.is::<Stopped>() && !steps.is_empty() => unfinished(&scenario, &name, &steps)?,
        Err(error) => return Err(limits.explain(error).await),
    };
    // That pictures are left out where there are too many is what this is about.
    for limit in limits.met(tally.loss_ratio(), false).await.into_iter().filter(|limit| !limit.contains("pictures")) {
        measurement.warn(Mark::ServerLimit, limit);
    }
    measurement.conclude(&load.outputs)
}

/// Who is measured.
struct Scene<'a> {
    target: &'a Target,
    /// Empty where the server may use them, too.
    client_cpus: &'a [usize],
    relay: Option<Process>,
}

async fn raise(
    arguments: &OverloadArguments,
    crowd: &mut Crowd,
    scene: &Scene<'_>,
    steps: &mut Vec<Step>,
) -> anyhow::Result<()> {
    crowd.join(crowd.waiting(), JOINS_PER_SECOND).await?;
    crowd.wait_for_slots().await?;
    let measure = async |kbps, phase| measure(arguments, crowd, scene, kbps, phase).await;
    let mut kbps = arguments.load.video_kbps;
    let mut whole_kbps = None;
    loop {
        let step = measure(kbps, Phase::Rising).await?;
        let bent = step.bent();
        steps.push(step);
        if bent {
            break;
        }
        whole_kbps = Some(kbps);
        let next = (f64::from(kbps) * arguments.step).ceil() as u32;
        if next > arguments.most_kbps {
            bail!("goodput did not bend up to {kbps} kbit/s a picture; use more --viewers, or a larger --most-kbps");
        }
        kbps = next;
    }
    // Where the first step already was too much, it is the best that is known.
    let saturating = whole_kbps.unwrap_or(kbps);
    steps.push(measure(saturating.saturating_mul(2), Phase::Twice).await?);
    steps.push(measure((saturating / 2).max(1), Phase::After).await?);
    Ok(())
}

/// All counters at one moment.
struct Moment {
    at: Instant,
    traffic: Traffic,
    relay: Option<ProcessSample>,
    bench: ProcessSample,
    machine: Machine,
    /// The CPUs that nobody but clients and their network uses, in a lab.
    clients: Option<Machine>,
    /// Datagrams that were too many for their sockets: the relay's, and the bench's.
    relay_drops: u64,
    bench_drops: u64,
}

impl Moment {
    fn take(crowd: &Crowd, scene: &Scene<'_>) -> anyhow::Result<Self> {
        let Scene { relay, client_cpus, .. } = *scene;
        let ended =
            |relay: Process| anyhow!("the relay (process {}) ended under this load; look into its log", relay.pid);
        Ok(Self {
            at: Instant::now(),
            traffic: crowd.traffic(),
            relay: relay.map(|relay| relay.sample().ok_or_else(|| ended(relay))).transpose()?,
            bench: Process::own().sample().unwrap_or_default(),
            machine: Machine::sample().unwrap_or_default(),
            clients: (!client_cpus.is_empty()).then(|| Machine::sample_of(client_cpus)).flatten(),
            relay_drops: relay.and_then(|relay| relay.dropped_datagrams()).unwrap_or(0),
            bench_drops: Process::own().dropped_datagrams().unwrap_or(0).saturating_sub(crowd.unseen()),
        })
    }
}

async fn measure(
    arguments: &OverloadArguments,
    crowd: &Crowd,
    scene: &Scene<'_>,
    kbps: u32,
    phase: Phase,
) -> anyhow::Result<Step> {
    let before = crowd.traffic();
    crowd.set_video_kbps(kbps);
    crowd.talk(true);
    sleep(SETTLE).await;
    crowd.take_latencies();
    let begin = Moment::take(crowd, scene)?;
    let seconds = Duration::from_secs(arguments.seconds);
    let (join, answers) = tokio::join!(try_join(crowd), ask(scene.target, seconds));
    // Whoever joined late has made the step longer.
    sleep((begin.at + seconds).saturating_duration_since(Instant::now())).await;
    let end = Moment::take(crowd, scene)?;
    let latency = crowd.take_latencies().handled;
    crowd.fall_silent().await;
    let whole = crowd.traffic().since(before);
    let step = Step::between(kbps, phase, (&begin, &end), whole, latency, join, answers);
    eprintln!("{}", step.text());
    if crowd.lost_sockets() > 0 {
        bail!("the server closed its connections under this load; look into its log");
    }
    Ok(step)
}

/// How long somebody took to join meanwhile; `None`: could not.
async fn try_join(crowd: &Crowd) -> Option<Duration> {
    timeout(PATIENCE, crowd.guest()).await.ok()?.ok()
}

/// How long each question how the server is took; `None`: no answer, or a wrong one.
async fn ask(target: &Target, during: Duration) -> Vec<Option<Duration>> {
    let end = Instant::now() + during;
    let mut answers = Vec::new();
    let mut tick = interval(QUESTION_INTERVAL);
    while Instant::now() < end {
        tick.tick().await;
        let asked = Instant::now();
        let answer = timeout(PATIENCE, is_healthy(&target.url, &target.trust)).await;
        answers.push(matches!(answer, Ok(Ok(true))).then(|| asked.elapsed()));
    }
    answers
}
