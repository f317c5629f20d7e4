//! `plausch-bench saturation`: how many rooms a server carries, and how late media comes at half of that.

use super::sfu::Peer;
use super::sfu::measure::Moment;
use super::sfu::own::{check, start};
use crate::ground::Machine;
use crate::ground::lab::{Cable, Ground};
use crate::ground::servers::Driver;
use crate::report::page::{Lines, Plot, Scale, Series};
use crate::report::{Circumstances, Measurement, Quantiles};
use crate::run::crowd::Crowd;
use crate::run::load::LoadArguments;
use crate::run::stop::{Stopped, stop_signal};
use crate::run::target::Target;
use anyhow::bail;
use clap::Args;
use plausch_client::Ages;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// From a change of the load to its measurement.
const SETTLE: Duration = Duration::from_millis(1_200);
const RECOVERY: Duration = Duration::from_secs(3);
const UNDER_WAY: Duration = Duration::from_millis(10);
/// A server that loses more than this share of the packets, or whose CPUs are busy for more of their time, is full; clients
/// whose CPUs are, say nothing about it.
const LOST: f64 = 0.001;
const FULL: f64 = 0.97;

/// Arguments of `plausch-bench saturation`.
#[derive(Args)]
#[command(after_help = "\
More and more rooms come and talk, until packets are lost or the server's CPUs are full. The latency at half of that is told, and with --against also that of both where the peer was full.

Examples:
  meetings of eight           plausch-bench saturation --rooms 40 --publishers 8 --viewers 0 --listening-rooms 4
  the same beside Janus       plausch-bench saturation --rooms 40 --publishers 8 --viewers 0 --listening-rooms 4 --against janus

\"at the device\" is from the stamp of a frame to its arrival at the receiver's network device, so that what clients wait
for themselves is not in it. Always in a lab, so as root.")]
pub(crate) struct SaturationArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// By how much each step has more rooms than the one before.
    #[arg(long, default_value_t = 1.4)]
    step: f64,
    /// How long each step is measured.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    step_seconds: u64,
    /// How long the latency is measured in the end.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    /// Joins in one second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins_per_second: u32,
    /// Do the same with this peer before.
    #[arg(long, value_enum)]
    against: Option<Peer>,
    /// CPUs of the server, as a list; clients take the others [default: the last one].
    #[arg(long, value_name = "LIST")]
    server_cpus: Option<String>,
    #[command(flatten)]
    cable: Cable,
}

/// The columns of what was measured.
const HEAD: [&str; 8] =
    ["", "rooms", "packets/s", "lost, %", "server busy, %", "clients busy, %", "latency", "at the device"];

/// So many rooms that talk.
#[derive(Clone, Serialize)]
struct Step {
    rooms: u32,
    offered_per_second: f64,
    goodput_per_second: f64,
    loss_ratio: f64,
    /// Shares of the time in which the CPUs of the server, and those of the clients, did anything.
    server_busy: f64,
    clients_busy: f64,
    latency_us: Quantiles,
    arrival_latency_us: Quantiles,
}

/// Why there were no more rooms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Bound {
    PacketsLost,
    ServerFull,
    /// This says nothing of the server but that it carries at least so many.
    ClientsFull,
    AllRoomsTalk,
}

/// One server.
#[derive(Serialize)]
struct Side {
    server: String,
    steps: Vec<Step>,
    bound: Bound,
    /// The last step that came through whole.
    saturation: Step,
    /// For longer: where the peer was full; half of the own saturation.
    at_peers_saturation: Option<Step>,
    at_half: Step,
}

#[derive(Serialize)]
struct Report {
    scenario: String,
    device: String,
    ours: Side,
    peer: Option<Side>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

pub(crate) async fn run(arguments: SaturationArguments) -> anyhow::Result<()> {
    arguments.load.check_rooms()?;
    if !(1.05..=4.0).contains(&arguments.step) {
        bail!("--step must be between 1.05 and 4, not {}", arguments.step);
    }
    if let Some(peer) = arguments.against {
        check(peer, true)?;
    }
    let ground = Ground::prepare(true, arguments.cable, arguments.server_cpus.as_deref())?;
    let (scenario, device) = (arguments.load.scenario("saturation"), ground.device());
    let mut seen = Vec::new();
    let all = async {
        let peer = match arguments.against {
            Some(peer) => Some(side(&arguments, &ground, Some(peer), None, &mut seen).await?),
            None => None,
        };
        let at = peer.as_ref().map(|side| side.saturation.rooms);
        let ours = side(&arguments, &ground, None, at, &mut seen).await?;
        let (scenario, device) = (scenario.clone(), device.clone());
        Ok::<_, anyhow::Error>(Report { scenario, device, ours, peer, circumstances: Circumstances::now() })
    };
    let whole = tokio::select! {
        report = all => Some(report?),
        () = stop_signal() => None,
    };
    match whole {
        Some(report) => report.measurement()?,
        None if seen.is_empty() => bail!(Stopped),
        None => unfinished(&scenario, &device, &seen)?,
    }
    .conclude(&arguments.load.outputs)
}

/// What there is of a run that was ended early.
fn unfinished(scenario: &str, device: &str, seen: &[(String, Step)]) -> anyhow::Result<Measurement> {
    let steps: Vec<&Step> = seen.iter().map(|(_, step)| step).collect();
    let mut out = Measurement::new(scenario, &json!({ "scenario": scenario, "device": device, "steps": steps }))?;
    out.head = HEAD.map(str::to_owned).to_vec();
    out.figures = seen.iter().map(|(server, step)| step.row(server.clone())).collect();
    out.stopped(true);
    Ok(out)
}

/// Starts a server, and lets more and more rooms talk there.
async fn side(
    arguments: &SaturationArguments,
    ground: &Ground,
    peer: Option<Peer>,
    peers_rooms: Option<u32>,
    seen: &mut Vec<(String, Step)>,
) -> anyhow::Result<Side> {
    let server = start(peer, ground, Driver::Auto).await?;
    let name = server.name.clone();
    eprintln!("== {name}");
    let target = Target::own(&server, ground);
    let mut crowd = Crowd::at(&target, &arguments.load, arguments.decrypt_every);
    let pace = arguments.joins_per_second;
    let client_cpus = ground.client_cpus();
    let mut scene = Scene { name: &name, crowd: &mut crowd, target: &target, client_cpus, pace, seen };
    let step_time = Duration::from_secs(arguments.step_seconds);
    let time = Duration::from_secs(arguments.seconds);
    // Before there is too much of anything, because servers take a while to get over that.
    let at_peers_saturation = match peers_rooms {
        Some(rooms) => Some(scene.measure(rooms, time).await?),
        None => None,
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut rooms = peers_rooms.unwrap_or(1);
    let bound = loop {
        let step = scene.measure(rooms, step_time).await?;
        let bound = step.bound();
        steps.push(step);
        match bound {
            Some(bound) => break bound,
            None if rooms == arguments.load.rooms => break Bound::AllRoomsTalk,
            None => rooms = ((f64::from(rooms) * arguments.step).ceil() as u32).min(arguments.load.rooms),
        }
    };
    let Some(saturation) = steps.iter().rev().find(|step| step.bound().is_none()).cloned() else {
        bail!("{name}: the first step was too much already; give more --rooms, or a smaller load of each");
    };
    scene.crowd.talk_in(0);
    sleep(RECOVERY).await;
    let at_peers_saturation = match peer {
        Some(_) => Some(scene.measure(saturation.rooms, time).await?),
        None => at_peers_saturation,
    };
    let at_half = scene.measure((saturation.rooms / 2).max(1), time).await?;
    crowd.leave().await;
    Ok(Side { server: name, steps, bound, saturation, at_peers_saturation, at_half })
}

struct Scene<'a> {
    name: &'a str,
    crowd: &'a mut Crowd,
    target: &'a Target,
    client_cpus: &'a [usize],
    /// Joins in a second.
    pace: u32,
    /// All steps so far, of all servers.
    seen: &'a mut Vec<(String, Step)>,
}

impl Scene<'_> {
    async fn measure(&mut self, rooms: u32, time: Duration) -> anyhow::Result<Step> {
        self.crowd.fill(rooms, self.pace).await?;
        self.crowd.talk_in(rooms);
        sleep(SETTLE).await;
        self.crowd.take_latencies();
        let clients = || Machine::sample_of(self.client_cpus).unwrap_or_default();
        let (begin, clients_before, holes_before) =
            (Moment::take(self.crowd, self.target)?, clients(), self.crowd.holes());
        sleep(time).await;
        let ages = self.crowd.take_latencies();
        let (end, clients_after, holes) = (Moment::take(self.crowd, self.target)?, clients(), self.crowd.holes());
        if self.crowd.lost_sockets() > 0 {
            bail!("the server closed its connections under this load; look into its log");
        }
        let used = clients_after.since(&clients_before);
        let step = Step::between(
            rooms,
            &begin,
            &end,
            &ages,
            (holes.0.saturating_sub(holes_before.0), holes.1.saturating_sub(holes_before.1)),
            (used.idle_ns + used.steal_ns, self.client_cpus.len()),
        );
        eprintln!("{}", step.text());
        self.seen.push((self.name.to_owned(), step.clone()));
        Ok(step)
    }
}

impl Step {
    fn between(
        rooms: u32,
        begin: &Moment,
        end: &Moment,
        ages: &Ages,
        (holes, came): (u64, u64),
        (clients_idle_ns, client_cpus): (u64, usize),
    ) -> Self {
        let wall_ns = (end.at - begin.at).as_nanos() as f64;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / wall_ns * 1e9;
        let busy = |idle_ns: u64, cpus: usize| 1.0 - idle_ns as f64 / (wall_ns * cpus as f64);
        let (offered, goodput) = (rate(end.expected, begin.expected), rate(end.received, begin.received));
        // Senders and receivers are asked one after another, and some packets are under way: a hundredth of a second of
        // them says nothing. Holes do, but a server that leaves pictures out on purpose makes none.
        let late = (offered - goodput) / offered.max(1.0) - UNDER_WAY.as_nanos() as f64 / wall_ns;
        let loss_ratio = (holes as f64 / (holes + came).max(1) as f64).max(late).max(0.0);
        let server_busy = match (&end.pinned, &begin.pinned) {
            (Some(now), Some(then)) => {
                let used = now.since(then);
                busy(used.idle_ns + used.steal_ns, end.pinned_cpus)
            }
            _ => 0.0,
        };
        Self {
            rooms,
            offered_per_second: offered,
            goodput_per_second: goodput,
            loss_ratio,
            server_busy,
            clients_busy: busy(clients_idle_ns, client_cpus),
            latency_us: Quantiles::of(&ages.handled),
            arrival_latency_us: Quantiles::of(&ages.arrived),
        }
    }

    /// Why this was too much.
    fn bound(&self) -> Option<Bound> {
        if self.server_busy >= FULL {
            Some(Bound::ServerFull)
        } else if self.clients_busy >= FULL {
            Some(Bound::ClientsFull)
        } else {
            (self.loss_ratio >= LOST).then_some(Bound::PacketsLost)
        }
    }

    /// Under [`HEAD`].
    fn row(&self, name: String) -> Vec<String> {
        vec![
            name,
            self.rooms.to_string(),
            format!("{:.0}", self.goodput_per_second),
            format!("{:.3}", self.loss_ratio * 100.0),
            format!("{:.0}", self.server_busy * 100.0),
            format!("{:.0}", self.clients_busy * 100.0),
            self.latency_us.text(),
            self.arrival_latency_us.text(),
        ]
    }

    fn text(&self) -> String {
        format!(
            "{:4} rooms  {:7.0} of {:7.0} packets/s, lost {:6.3} %  server busy {:3.0} %, clients {:3.0} %  \
             latency {}; at the device {}",
            self.rooms,
            self.goodput_per_second,
            self.offered_per_second,
            self.loss_ratio * 100.0,
            self.server_busy * 100.0,
            self.clients_busy * 100.0,
            self.latency_us.text(),
            self.arrival_latency_us.text(),
        )
    }
}

impl Bound {
    fn text(self) -> &'static str {
        match self {
            Self::PacketsLost => "packets were lost in the next step",
            Self::ServerFull => "the server's CPUs were full in the next step",
            Self::ClientsFull => "the clients' CPUs were full in the next step: the server carries at least this",
            Self::AllRoomsTalk => "all rooms talk: the server carries at least this; give more --rooms",
        }
    }
}

impl Report {
    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.ours).chain(&self.peer)
    }

    /// Names and steps of what was measured for longer.
    fn rows(&self) -> Vec<(String, &Step)> {
        let mut rows = Vec::new();
        for side in self.sides() {
            rows.push((format!("{}: saturated", side.server), &side.saturation));
            rows.extend(side.at_peers_saturation.as_ref().map(|step| {
                let peer = self.peer.as_ref().map_or("", |peer| peer.server.as_str());
                (format!("{}: where {peer} is saturated", side.server), step)
            }));
            rows.push((format!("{}: half of its own", side.server), &side.at_half));
        }
        rows
    }

    fn measurement(&self) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        out.head = HEAD.map(str::to_owned).to_vec();
        out.figures = self.rows().into_iter().map(|(name, step)| step.row(name)).collect();
        self.sides().for_each(|side| out.figure(&side.server, side.bound.text()));
        let p99 = |side: &Side| {
            let point = |step: &Step| Some((step.goodput_per_second / 1e3, step.arrival_latency_us.p99? as f64 / 1e3));
            Series::new(&side.server, side.steps.iter().filter_map(point))
        };
        out.plots = vec![Plot::Lines(Lines {
            title: "Latency p99 at the device, step by step".to_owned(),
            unit: "ms",
            along: "1000 packets/s",
            x: Scale::Linear,
            y: Scale::Logarithmic,
            series: self.sides().map(p99).collect(),
        })];
        out.circumstances.push(("device".to_owned(), self.device.clone()));
        out.circumstances.extend(self.circumstances.lines());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(loss_ratio: f64, server_busy: f64, clients_busy: f64) -> Step {
        let none = Quantiles { p50: None, p99: Some(700), p999: None, max: None };
        Step {
            rooms: 3,
            offered_per_second: 1_000.0,
            goodput_per_second: 1_000.0 * (1.0 - loss_ratio),
            loss_ratio,
            server_busy,
            clients_busy,
            latency_us: none,
            arrival_latency_us: none,
        }
    }

    #[test]
    fn what_ends_it_is_told() {
        assert_eq!(step(0.0005, 0.9, 0.9).bound(), None);
        assert_eq!(step(0.002, 0.9, 0.9).bound(), Some(Bound::PacketsLost));
        assert_eq!(step(0.0, 0.98, 0.99).bound(), Some(Bound::ServerFull));
        // Full clients lose packets by themselves.
        assert_eq!(step(0.1, 0.5, 0.99).bound(), Some(Bound::ClientsFull));
    }

    #[test]
    fn both_sides_are_shown() {
        let side = |name: &str, peers: bool| Side {
            server: name.to_owned(),
            steps: vec![step(0.0, 0.5, 0.4), step(0.01, 0.9, 0.4)],
            bound: Bound::PacketsLost,
            saturation: step(0.0, 0.5, 0.4),
            at_peers_saturation: peers.then(|| step(0.0, 0.2, 0.4)),
            at_half: step(0.0, 0.3, 0.2),
        };
        let report = Report {
            scenario: "saturation: 4 rooms".to_owned(),
            device: "veth".to_owned(),
            ours: side("Plausch 1", true),
            peer: Some(side("Janus 2", true)),
            circumstances: Circumstances::now(),
        };
        let measurement = report.measurement().unwrap();
        for text in [measurement.text(), measurement.html()] {
            for wanted in ["Plausch 1: where Janus 2 is saturated", "Janus 2: half of its own", "p99 0.70"] {
                assert!(text.contains(wanted), "{wanted}: {text}");
            }
        }
        assert!(measurement.text().contains("packets were lost in the next step"));
    }
}
