//! The page of a run, or of a comparison with another server.

use super::against::{Compared, cpu_ratio};
use super::report::{Quantiles, Report};
use crate::report::Circumstances;
use crate::report::Spread;
use crate::report::page::{Bars, Lines, Page, Plot, Scale, Series, Table};

/// Of one server, a report for each size.
pub(crate) fn of_runs(reports: &[Report]) -> Page {
    let scenario = reports.first().map(|report| report.scenario.clone()).unwrap_or_default();
    let columns: Vec<(String, Vec<&Report>)> =
        reports.iter().map(|report| (report.scenario.clone(), vec![report])).collect();
    page(scenario, &columns, Vec::new())
}

/// Of both servers, or of one that this program has started: the rounds of each, size by size.
pub(crate) fn of_comparison(compared: &[Compared]) -> Page {
    let several = compared.len() > 1;
    let columns: Vec<(String, Vec<&Report>)> = compared
        .iter()
        .flat_map(|one| {
            one.kinds.iter().zip(&one.rounds).map(move |(kind, rounds)| {
                let name = if several { format!("{}, {}", kind.name(), one.scenario) } else { kind.name().to_owned() };
                (name, rounds.iter().collect())
            })
        })
        .collect();
    let ratios = compared.iter().filter_map(|one| {
        Some(vec![format!("ours / other, CPU per packet: {}", one.scenario), cpu_ratio(&one.rounds)?.to_string()])
    });
    let title = compared.first().map(|one| one.scenario.clone()).unwrap_or_default();
    page(title, &columns, ratios.collect())
}

type Column<'a> = (String, Vec<&'a Report>);

fn page(title: String, columns: &[Column<'_>], ratios: Vec<Vec<String>>) -> Page {
    let all = || columns.iter().flat_map(|(_, rounds)| rounds.iter());
    let mut warnings = Vec::new();
    if all().any(|report| report.disturbed) {
        warnings.push("DISTURBED: others used the machine meanwhile; read ratios at most, or run again".to_owned());
    }
    for (name, rounds) in columns {
        let faults = rounds.iter().flat_map(|report| &report.faults);
        warnings.extend(faults.map(|fault| format!("WRONG with {name}: {fault}")));
    }
    let series = columns.iter().filter_map(|(name, rounds)| Some((name, rounds.last()?)));
    let series = series.flat_map(|(name, report)| {
        let direct = Series::new(format!("{name}: without a server"), report.direct_curve.clone());
        [Series::new(name, report.latency_curve.clone()), direct]
    });
    let latency = Lines {
        title: "Latency to the receiver's socket, last round".to_owned(),
        unit: "µs",
        along: "of packets",
        x: Scale::Nines,
        y: Scale::Logarithmic,
        series: series.filter(|series| !series.points.is_empty()).collect(),
    };
    let cpu = columns.iter().enumerate().flat_map(|(index, (name, rounds))| {
        let numbered = rounds.iter().enumerate();
        numbered.filter_map(move |(round, report)| {
            Some((format!("{name}, round {}", round + 1), report.cpu_ns_per_packet?, index))
        })
    });
    let cpu = Bars { title: "Server CPU per relayed packet".to_owned(), unit: "ns", bars: cpu.collect() };
    let target = columns.iter().filter_map(|(name, rounds)| Some((name.clone(), rounds.last()?.target.clone())));
    Page {
        title,
        warnings,
        tables: vec![figures(columns, ratios)],
        plots: vec![Plot::Lines(latency), Plot::Bars(cpu)],
        circumstances: target.chain(Circumstances::now().lines()).collect(),
    }
}

/// Medians, with the least and the most.
fn figures(columns: &[Column<'_>], ratios: Vec<Vec<String>>) -> Table {
    type Figure = fn(&Report) -> Option<f64>;
    let rows: [(&str, Figure, usize); 14] = [
        ("packets/s", |report| Some(report.packets_per_s), 0),
        ("loss ratio", |report| Some(report.loss_ratio), 6),
        ("server CPU per relayed packet, ns", |report| report.cpu_ns_per_packet, 0),
        ("all that its CPUs did, ns", |report| report.whole_cpu_ns_per_packet, 0),
        ("softirq, whole machine, never to be added, ns", |report| report.softirq_ns_per_packet, 0),
        ("latency p50, µs", |report| report.latency_us.p50, 1),
        ("latency p99, µs", |report| report.latency_us.p99, 1),
        ("latency p99.9, µs", |report| report.latency_us.p999, 1),
        ("added at p50, µs", |report| added(report)?.p50, 1),
        ("added at p99, µs", |report| added(report)?.p99, 1),
        ("added at p99.9, µs", |report| added(report)?.p999, 1),
        ("allocation p99, ms", |report| report.join_ms.p99, 2),
        ("memory an allocation, bytes", |report| report.rss_bytes_per_participant.map(|bytes| bytes as f64), 0),
        ("furthest behind schedule, ms", |report| Some(report.behind_ms), 1),
    ];
    let cell = |rounds: &[&Report], figure: Figure, decimals: usize| {
        let values: Vec<f64> = rounds.iter().filter_map(|report| figure(report)).collect();
        match Spread::of(&values) {
            None => "–".to_owned(),
            Some(Spread { median, min, max }) if min == max => format!("{median:.decimals$}"),
            Some(Spread { median, min, max }) => format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$})"),
        }
    };
    let rows = rows.into_iter().map(|(name, figure, decimals)| {
        let cells = columns.iter().map(|(_, rounds)| cell(rounds, figure, decimals));
        std::iter::once(name.to_owned()).chain(cells).collect()
    });
    let head = std::iter::once(String::new()).chain(columns.iter().map(|(name, _)| name.clone()));
    Table { title: "Figures".to_owned(), head: head.collect(), rows: rows.chain(ratios).collect() }
}

fn added(report: &Report) -> Option<Quantiles> {
    report.added_latency_us
}
