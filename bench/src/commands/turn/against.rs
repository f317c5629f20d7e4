//! The same load on ours and on another server by turns, each started afresh, and the ratio.

use super::arguments::TurnArguments;
use super::report::Report;
use super::run::Plan;
use super::servers::{Kind, SECRET, Server, Setup};
use super::{idle, run, show};
use crate::ground::lab::{Ground, ReceiveWork};
use crate::report::{Measurement, Spread};
use crate::run::stop::Stopped;
use anyhow::bail;
use plausch_client::turn::Users;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measures all sizes.
pub(crate) fn compare(arguments: &TurnArguments, stop: &AtomicBool) -> anyhow::Result<Measurement> {
    let kinds: Vec<Kind> = match arguments.only {
        Some(kind) => vec![kind],
        None => vec![Kind::Ours, Kind::Coturn],
    };
    // From here on in the second start of this program.
    let ground = &Ground::prepare(arguments.lab, arguments.cable, arguments.server_cpus.as_deref())?;
    let relay = arguments.relay()?;
    let setup = Setup {
        transport: arguments.transport,
        ground,
        allocations: arguments.allocations,
        relay: &relay,
        driver: arguments.driver,
    };
    if arguments.idle {
        return run_idle(arguments, &kinds, &setup, stop);
    }
    let mut compared: Vec<Compared> = Vec::new();
    for &size in &arguments.size {
        let mut one = Compared {
            scenario: arguments.scenario(size),
            kinds: kinds.clone(),
            rounds: vec![Vec::new(); kinds.len()],
        };
        let whole = all_rounds(arguments, &setup, size, &mut one, stop);
        let any = one.rounds.iter().any(|rounds| !rounds.is_empty());
        if any {
            compared.push(one);
        }
        match whole {
            Ok(()) => {}
            Err(error) if error.is::<Stopped>() && !compared.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let mut out = show::of_comparison(&compared)?;
    out.stopped(stop.load(Ordering::Relaxed));
    Ok(out)
}

fn all_rounds(
    arguments: &TurnArguments,
    setup: &Setup<'_>,
    size: u16,
    one: &mut Compared,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    for round in 0..=arguments.rounds {
        // A single round is for counts and memory; caches and clocks play no part there.
        if round == 0 && arguments.rounds == 1 {
            continue;
        }
        for (index, &kind) in one.kinds.iter().enumerate() {
            let warm = if round == 0 { ", thrown away" } else { "" };
            eprintln!("{size} B, round {round} of {}: {}{warm}", arguments.rounds, kind.name());
            let report = measure_one(arguments, kind, setup, size, stop)?;
            if report.stopped {
                bail!(Stopped);
            }
            if round > 0 {
                one.rounds[index].push(report);
            }
        }
    }
    Ok(())
}

/// All rounds of one size that count, of each server.
pub(crate) struct Compared {
    pub(crate) scenario: String,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) rounds: Vec<Vec<Report>>,
}

fn measure_one(
    arguments: &TurnArguments,
    kind: Kind,
    setup: &Setup<'_>,
    size: u16,
    stop: &AtomicBool,
) -> anyhow::Result<Report> {
    let server = Server::start(kind, setup)?;
    let users = Users::Secret(SECRET.to_owned());
    let ground = setup.ground;
    let own = Plan {
        server_cpus: ground.server_cpus().to_vec(),
        receives_itself: ground.cable().is_some_and(|cable| cable.receive_work == ReceiveWork::Own),
        ..arguments.plan(server.address, users, size, ground.client_cpus().to_vec())
    };
    let plan = if arguments.client_cpus.is_empty() { own } else { Plan { cpus: arguments.client_cpus.clone(), ..own } };
    let measured = run::measure(&plan, Some(server.process), stop)?;
    Ok(Report::of(arguments.scenario(size), format!("{}, {}", kind.name(), ground.device()), &measured))
}

/// Idle allocations are counted once for each: memory has no noise worth several rounds.
fn run_idle(
    arguments: &TurnArguments,
    kinds: &[Kind],
    setup: &Setup<'_>,
    stop: &AtomicBool,
) -> anyhow::Result<Measurement> {
    let mut reports = Vec::new();
    for &kind in kinds {
        let server = Server::start(kind, setup)?;
        let (users, from) = (Users::Secret(SECRET.to_owned()), arguments.clients_from(server.address));
        let (process, target) = (Some(server.process), format!("{}, {}", kind.name(), setup.ground.device()));
        let report = idle::measure(server.address, &users, arguments.allocations, from, process, target, stop)?;
        reports.push((kind.name(), report));
    }
    let object: BTreeMap<_, _> = reports.iter().map(|(name, report)| (*name, report)).collect();
    let title = reports.first().map(|(_, report)| report.scenario.clone()).unwrap_or_default();
    let mut out = Measurement::new(&title, &object)?;
    reports.iter().for_each(|(_, report)| report.figures(&mut out));
    Ok(out)
}

/// CPU of each, and the ratio of the rounds.
pub(crate) fn summary(compared: &Compared) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for (kind, reports) in compared.kinds.iter().zip(&compared.rounds) {
        let mut add = |what: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
            let spread = Spread::of(&reports.iter().filter_map(figure).collect::<Vec<_>>());
            out.extend(spread.map(|spread| (kind.name(), line(spread, what))));
        };
        add("ns of CPU per packet", &|report| report.cpu_ns_per_packet);
        add("ns with all else that its CPUs did", &|report| report.whole_cpu_ns_per_packet);
        add("µs added at p50", &|report| report.added_latency_us?.p50);
        add("µs added at p99", &|report| report.added_latency_us?.p99);
    }
    let (cpu, whole) = ratios(&compared.rounds);
    out.extend(cpu.map(|ratio| ("ratio", line(ratio, "of ours to the other's CPU per packet"))));
    out.extend(whole.map(|ratio| ("ratio", line(ratio, "of all that the CPUs of ours did to the other's"))));
    out
}

/// Round by round, so that what changes slowly on the machine falls out.
fn ratio(rounds: &[Vec<Report>], figure: fn(&Report) -> Option<f64>) -> Option<Spread> {
    let [ours, other] = rounds else { return None };
    let pairs = ours.iter().zip(other);
    let ratios = pairs.filter_map(|(ours, other)| Some(figure(ours)? / figure(other)?));
    Spread::of(&ratios.collect::<Vec<_>>())
}

/// Ratios of the processes' CPU per packet, and of all that the servers' CPUs did.
pub(crate) fn ratios(rounds: &[Vec<Report>]) -> (Option<Spread>, Option<Spread>) {
    let of = |figure: fn(&Report) -> Option<f64>| ratio(rounds, figure);
    (of(|report| report.cpu_ns_per_packet), of(|report| report.whole_cpu_ns_per_packet))
}

impl Compared {
    /// What `--json` has of it.
    pub(crate) fn object(&self) -> anyhow::Result<Map<String, Value>> {
        let mut object = Map::new();
        object.insert("scenario".to_owned(), self.scenario.clone().into());
        for (kind, reports) in self.kinds.iter().zip(&self.rounds) {
            let Some(middle) = median_report(reports) else { continue };
            object.insert(kind.name().to_owned(), serde_json::to_value(middle)?);
            object.insert(format!("{}_rounds", kind.name()), serde_json::to_value(reports)?);
        }
        if let (Some(ratio), whole) = ratios(&self.rounds) {
            object.insert("ratio_cpu_per_packet".to_owned(), ratio.median.into());
            object.insert("ratio_cpu_per_packet_spread".to_owned(), serde_json::to_value(ratio)?);
            object.insert("ratio_whole_cpu_per_packet_spread".to_owned(), serde_json::to_value(whole)?);
        }
        Ok(object)
    }
}

/// The round whose CPU per packet is the median.
fn median_report(reports: &[Report]) -> Option<&Report> {
    let mut sorted: Vec<&Report> = reports.iter().collect();
    let cpu = |report: &Report| report.cpu_ns_per_packet.unwrap_or_default();
    sorted.sort_by(|one, other| cpu(one).total_cmp(&cpu(other)));
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

fn line(spread: Spread, what: &str) -> String {
    let digits = if spread.median < 10.0 { 3 } else { 0 };
    format!("{:.digits$} {what} ({:.digits$} to {:.digits$})", spread.median, spread.min, spread.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_rounds_is_told() {
        assert!(Spread::of(&[]).is_none());
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
    }
}
