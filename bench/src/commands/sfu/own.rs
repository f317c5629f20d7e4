//! Runs that start their servers themselves, each time afresh, so that ours and a peer are treated alike.

use super::drive::{Stopped, drive, stop_signal};
use super::page;
use super::{Alone, Comparison, Measured, Peer, Report, SfuArguments, conclude, refuse_foreign};
use crate::commands::floor::contest::Pace;
use crate::commands::floor::wire::{Receivers, Wire};
use crate::commands::floor::{self, FloorLoad, FloorReport};
use crate::ground::lab::Ground;
use crate::ground::servers::{self, Driver, Server, ServerError};
use crate::report::{Side, alternate};
use crate::run::target::Target;
use anyhow::bail;
use std::io::{Write, stdout};
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
        let measured = tokio::select! {
            measured = start_and_drive(&ground, &arguments, None) => measured?,
            () = stop_signal() => return Err(Stopped.into()),
        };
        let floor = floor(&ground, &arguments).await?;
        return conclude(&arguments, &measured, floor);
    };
    let comparison = compare(&ground, &arguments, peer).await?;
    stdout().write_all(comparison.table().as_bytes())?;
    arguments.load.write_json(&comparison.json())?;
    arguments.load.write_html(|| page::of_comparison(&comparison))
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
        let report = Report { floor, ..Report::of(scenario.clone(), &measured) };
        eprint!("{}", report.table(&measured));
        refuse_foreign(&measured)?;
        Ok::<_, anyhow::Error>(report)
    };
    let rounds = tokio::select! {
        rounds = alternate(arguments.rounds, round) => rounds?,
        () = stop_signal() => bail!(Stopped),
    };
    Ok(Comparison { scenario, peer, rounds })
}

/// The same load on ours again and again; the first round does not count.
pub(crate) async fn repeat(ground: &Ground, arguments: &SfuArguments) -> anyhow::Result<Alone> {
    let scenario = arguments.load.scenario("sfu");
    let all = async {
        let mut rounds = Vec::new();
        for round in 0..arguments.rounds {
            eprintln!("== {scenario}: round {} of {}", round + 1, arguments.rounds);
            let measured = start_and_drive(ground, arguments, None).await?;
            // Rounds that do not count need no floor.
            let counts = round > 0 || arguments.rounds == 1;
            let floor = if counts { floor(ground, arguments).await? } else { None };
            let report = Report { floor, ..Report::of(scenario.clone(), &measured) };
            eprint!("{}", report.table(&measured));
            refuse_foreign(&measured)?;
            rounds.extend(counts.then_some(report));
        }
        Ok::<_, anyhow::Error>(Alone { scenario: scenario.clone(), rounds })
    };
    tokio::select! {
        all = all => all,
        () = stop_signal() => bail!(Stopped),
    }
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
    Ok(Some(spawn_blocking(move || floor::measure(load, Wire::Lab, receivers, true, pace)).await??))
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
    let server = start(peer, ground, driver).await?;
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
