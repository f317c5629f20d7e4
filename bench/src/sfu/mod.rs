//! `plausch-bench sfu`: rooms full of publishers and viewers, and what forwarding to them costs the relay.

mod crowd;
mod measure;
mod report;

use anyhow::{anyhow, bail};
use clap::Args;
use crowd::Crowd;
use measure::{Moment, PROGRESS_INTERVAL};
use plausch_bench::client::Trust;
use plausch_bench::load::{Process, check_target, is_of_this_machine};
use report::Report;
use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
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
    /// Address of the server: http://host:port or https://host.
    #[arg(long, default_value = "http://localhost:8080")]
    url: String,
    /// PEM file of the certificates to believe behind https instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Rooms that are used at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms: u32,
    /// Participants of each room who send, and receive all others who do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    publishers: u16,
    /// Participants of each room who only receive.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=499))]
    viewers: u16,
    /// Bitrate of each picture; 0 sends none.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    video_kbps: u32,
    /// Frames per second of each picture.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,
    /// Whether publishers send sound (50 packets per second), one of each room speaking at a time.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    audio: bool,
    /// How long to measure.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    /// Joins in one second [default: 100 on this machine, 10 elsewhere].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins_per_second: Option<u32>,
    /// Process of the relay; without it, the one that receives at the media port.
    #[arg(long, value_name = "PID")]
    relay_pid: Option<u32>,
    /// Allow a server on another machine: only with the consent of those who run it.
    #[arg(long)]
    allow_remote: bool,
    /// Write the figures to this file as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl SfuArguments {
    fn trust(&self) -> Trust {
        self.ca.clone().map_or(Trust::System, Trust::File)
    }

    fn participants(&self) -> usize {
        self.rooms as usize * usize::from(self.publishers + self.viewers)
    }

    fn scenario(&self) -> String {
        let what = match (self.video_kbps, self.audio) {
            (0, _) => "audio".to_owned(),
            (kbps, true) => format!("{kbps} kbit/s video at {} fps + audio", self.fps),
            (kbps, false) => format!("{kbps} kbit/s video at {} fps", self.fps),
        };
        let (rooms, publishers, viewers) = (self.rooms, self.publishers, self.viewers);
        match rooms {
            1 => format!("sfu: {publishers} → {viewers}, {what}"),
            _ => format!("sfu: {rooms} rooms of {publishers} → {viewers}, {what}"),
        }
    }
}

/// Joins all, lets them talk, measures, and reports.
pub(crate) async fn run(arguments: SfuArguments) -> anyhow::Result<()> {
    check_target(&arguments.url, arguments.allow_remote).map_err(|error| anyhow!(error))?;
    check_load(&arguments)?;
    let mut crowd = Crowd::new(&arguments);
    crowd.join_first().await?;
    let relay = find_relay(&arguments, &crowd)?;
    let lonely = relay.and_then(|relay| relay.sample());
    let result = tokio::select! {
        result = load(&arguments, &mut crowd, relay) => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped before the measurement was complete; nothing is reported")),
    };
    crowd.leave().await;
    let mut measured = result?;
    measured.rss_alone = lonely.map(|sample| sample.rss_bytes);
    let report = Report::of(arguments.scenario(), &arguments.url, &measured);
    stdout().write_all(report.table(&measured).as_bytes())?;
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, json).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))?;
    }
    match measured.tally.foreign {
        0 => Ok(()),
        foreign => bail!("{foreign} packets came from another room; do not use this server before that is explained"),
    }
}

fn check_load(arguments: &SfuArguments) -> anyhow::Result<()> {
    if arguments.video_kbps == 0 && !arguments.audio {
        bail!("with neither picture nor sound there is nothing to forward; give --video-kbps or --audio true");
    }
    if arguments.viewers == 0 && arguments.publishers < 2 {
        bail!("nobody would receive anything; give --viewers, or at least two --publishers");
    }
    // A WebSocket and a UDP socket each, and what the program itself holds.
    let wanted = 2 * arguments.participants() as u64 + 64;
    let allowed = measure::open_files_limit().unwrap_or(u64::MAX);
    if wanted > allowed {
        bail!("{wanted} open files are needed, but only {allowed} are allowed; run `ulimit -n {wanted}` before");
    }
    Ok(())
}

/// The relay that the first client is connected to.
fn find_relay(arguments: &SfuArguments, crowd: &Crowd) -> anyhow::Result<Option<Process>> {
    let address = crowd.relay_address();
    let remote = address.filter(|address| !is_of_this_machine(address.ip()));
    if let Some(address) = remote.filter(|_| !arguments.allow_remote) {
        bail!("media goes to {address}, which is not this machine; give --allow-remote if you may put load on it");
    }
    match arguments.relay_pid {
        Some(pid) => {
            let process = Process { pid };
            process.sample().ok_or_else(|| anyhow!("there is no process {pid}; check --relay-pid"))?;
            Ok(Some(process))
        }
        None => Ok(address.and_then(Process::at_udp)),
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
    crowd.join_others(pace).await?;
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
    for second in 0u64.. {
        tick.tick().await;
        crowd.take_turns(second);
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
