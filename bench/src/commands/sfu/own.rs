//! Runs that start their servers themselves, each time afresh, so that ours and a peer are treated alike.

use super::drive::drive;
use super::{Alone, Comparison, Measured, Peer, Report, SfuArguments, conclude, refuse_foreign};
use crate::commands::floor::contest::Pace;
use crate::commands::floor::wire::{Receivers, Wire};
use crate::commands::floor::{self, FloorLoad, FloorReport};
use crate::ground::lab::Ground;
use crate::ground::servers::{self, Driver, Server, ServerError};
use crate::report::{Rounds, Side, alternate};
use crate::run::stop::{Stopped, stop_signal};
use crate::run::target::Target;
use anyhow::bail;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Between two servers: the kernel closes the sockets of the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// Each way of sending takes two of these, one to warm up.
const FLOOR_TURN: Duration = Duration::from_millis(500);

impl Peer {
    /// Its key in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Janus => "janus",
        }
    }

    async fn start(self, ground: &Ground) -> Result<Server, ServerError> {
        match self {
            Self::Janus => servers::start_janus(ground).await,
        }
    }
}

pub(crate) async fn run(arguments: SfuArguments) -> anyhow::Result<()> {
    arguments.load.check_rooms()?;
    if let Some(peer) = arguments.against {
        check(peer, arguments.lab)?;
    }
    let ground = Ground::prepare(arguments.lab, arguments.cable, arguments.server_cpus.as_deref())?;
    let Some(peer) = arguments.against else {
        let measured = start_and_drive(&ground, &arguments, None).await?;
        let floor = if measured.stopped { None } else { floor(&ground, &arguments).await? };
        return conclude(&arguments, &measured, floor);
    };
    compare(&ground, &arguments, peer).await?.measurement()?.conclude(&arguments.load.outputs)
}

/// Refuses what cannot work before anything is started.
pub(crate) fn check(peer: Peer, lab: bool) -> Result<(), ServerError> {
    match peer {
        Peer::Janus if !lab => Err(ServerError::NeedsLab),
        Peer::Janus => servers::check_janus(),
    }
}

/// The same load on ours and on the peer, in turn.
pub(crate) async fn compare(ground: &Ground, arguments: &SfuArguments, peer: Peer) -> anyhow::Result<Comparison> {
    let scenario = arguments.load.scenario("sfu");
    let round = async |side: Side, round: u32| {
        let peer = (side == Side::Peer).then_some(peer);
        let name = peer.map_or("ours", Peer::key);
        eprintln!("== {scenario}: round {} of {}, {name}", round + 1, arguments.rounds);
        let measured = start_and_drive(ground, arguments, peer).await?;
        // Rounds that do not count need no floor.
        let counts = side == Side::Ours && (round > 0 || arguments.rounds == 1);
        let floor = if counts { floor(ground, arguments).await? } else { None };
        one_round(&scenario, &measured, floor)
    };
    let mut rounds = Rounds::default();
    let stopped = match alternate(arguments.rounds, &mut rounds, round).await {
        Ok(()) => false,
        Err(error) if error.is::<Stopped>() && !rounds.peer.is_empty() => true,
        Err(error) => return Err(error),
    };
    Ok(Comparison { scenario, peer, rounds, stopped })
}

/// The same load on ours again and again; the first round does not count.
pub(crate) async fn repeat(ground: &Ground, arguments: &SfuArguments) -> anyhow::Result<Alone> {
    let scenario = arguments.load.scenario("sfu");
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds {
        eprintln!("== {scenario}: round {} of {}", round + 1, arguments.rounds);
        let measured = start_and_drive(ground, arguments, None).await?;
        // Rounds that do not count need no floor.
        let counts = round > 0 || arguments.rounds == 1;
        let floor = if counts { floor(ground, arguments).await? } else { None };
        rounds.extend(counts.then_some(one_round(&scenario, &measured, floor)?));
    }
    Ok(Alone { scenario, rounds })
}

/// A round that was ended early does not count, and what must never happen ends all of them.
fn one_round(scenario: &str, measured: &Measured, floor: Option<FloorReport>) -> anyhow::Result<Report> {
    if measured.stopped {
        bail!(Stopped);
    }
    let report = Report { floor, ..Report::of(scenario.to_owned(), measured) };
    eprint!("{}", report.measurement()?.text());
    refuse_foreign(measured)?;
    Ok(report)
}

/// What the same load costs without any logic, over the same kind of device, if that is wanted.
async fn floor(ground: &Ground, arguments: &SfuArguments) -> anyhow::Result<Option<FloorReport>> {
    let (Some(cable), true, Some(cpu)) = (ground.cable(), arguments.with_floor, ground.server_cpus().first()) else {
        return Ok(None);
    };
    let load = FloorLoad::from(&arguments.load);
    let pace = Pace { turns: 1, turn: FLOOR_TURN, cpu: *cpu };
    let receivers = Receivers { cable, ..Receivers::beside(*cpu, ground.client_cpus()) };
    eprintln!("measuring the floor");
    Ok(Some(
        spawn_blocking(move || floor::measure(load, Wire::Lab, receivers, true, pace, &AtomicBool::new(false)))
            .await??,
    ))
}

/// Starts the peer, or ours.
pub(crate) async fn start(peer: Option<Peer>, ground: &Ground, driver: Driver) -> Result<Server, ServerError> {
    match peer {
        Some(peer) => peer.start(ground).await,
        None => servers::start_plausch(ground, driver).await,
    }
}

async fn start_and_drive(ground: &Ground, arguments: &SfuArguments, peer: Option<Peer>) -> anyhow::Result<Measured> {
    with_server(ground, peer, arguments.driver, async |target| drive(arguments, target).await).await
}

/// Starts the peer, or ours, for one measurement; the logs stay where that fails.
pub(crate) async fn with_server<T>(
    ground: &Ground,
    peer: Option<Peer>,
    driver: Driver,
    measure: impl AsyncFnOnce(Target) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let server = tokio::select! {
        server = start(peer, ground, driver) => server?,
        () = stop_signal() => bail!(Stopped),
    };
    let measured = measure(Target::own(&server, ground)).await;
    if let Err(error) = &measured
        && !error.is::<Stopped>()
    {
        let name = server.name.clone();
        bail!("{name}: {error} ({})", server.keep_logs().display());
    }
    drop(server);
    sleep(PAUSE).await;
    measured
}
