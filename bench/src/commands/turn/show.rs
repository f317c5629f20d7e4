//! One or several measurements, or those of both servers, to be shown together.

use super::against::{Compared, ratios, summary};
use super::report::{Quantiles, Report};
use super::servers::Kind;
use crate::report::page::{Bars, Lines, Plot, Scale, Series, Table};
use crate::report::{Circumstances, Measurement, Spread};

/// Of one server, a report for each size.
pub(crate) fn of_runs(reports: &[Report]) -> anyhow::Result<Measurement> {
    let scenario = reports.first().map(|report| report.scenario.clone()).unwrap_or_default();
    let mut out = match reports {
        [one] => Measurement::new(&scenario, one)?,
        several => Measurement::new(&scenario, &several)?,
    };
    for report in reports {
        if reports.len() > 1 {
            out.figure("scenario", report.scenario.clone());
        }
        report.figures(&mut out);
        report.warnings(&mut out, false);
    }
    let columns: Vec<Column<'_>> = reports.iter().map(|report| (report.scenario.clone(), vec![report])).collect();
    show(&mut out, &columns, Vec::new());
    Ok(out)
}

/// Of both servers, or of one that this program has started: the rounds of each, size by size.
pub(crate) fn of_comparison(compared: &[Compared]) -> anyhow::Result<Measurement> {
    let objects = compared.iter().map(Compared::object).collect::<anyhow::Result<Vec<_>>>()?;
    let title = compared.first().map(|one| one.scenario.clone()).unwrap_or_default();
    let mut out = match &*objects {
        [one] => Measurement::new(&title, one)?,
        several => Measurement::new(&title, &several)?,
    };
    for one in compared {
        for (kind, report) in
            one.kinds.iter().zip(&one.rounds).filter_map(|(kind, rounds)| Some((kind, rounds.last()?)))
        {
            out.figure(kind.name(), report.scenario.clone());
            report.figures(&mut out);
        }
        for (kind, report) in
            one.kinds.iter().zip(&one.rounds).flat_map(|(kind, rounds)| rounds.iter().map(move |r| (kind, r)))
        {
            report.warnings(&mut out, *kind == Kind::Coturn);
        }
        summary(one).into_iter().for_each(|(name, value)| out.figure(name, value));
    }
    let several = compared.len() > 1;
    let columns: Vec<Column<'_>> = compared
        .iter()
        .flat_map(|one| {
            one.kinds.iter().zip(&one.rounds).map(move |(kind, rounds)| {
                let name = if several { format!("{}, {}", kind.name(), one.scenario) } else { kind.name().to_owned() };
                (name, rounds.iter().collect())
            })
        })
        .collect();
    let ratios = compared.iter().filter_map(|one| {
        let ratio = ratios(&one.rounds).0?.to_string();
        Some(vec![format!("ours / other, CPU per packet: {}", one.scenario), ratio])
    });
    show(&mut out, &columns, ratios.collect());
    Ok(out)
}

type Column<'a> = (String, Vec<&'a Report>);

fn show(out: &mut Measurement, columns: &[Column<'_>], ratios: Vec<Vec<String>>) {
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
    out.tables.push(medians(columns, ratios));
    out.plots = vec![Plot::Lines(latency), Plot::Bars(cpu)];
    let target = columns.iter().filter_map(|(name, rounds)| Some((name.clone(), rounds.last()?.target.clone())));
    out.circumstances.extend(target.chain(Circumstances::now().lines()));
}

/// Medians, with the least and the most.
fn medians(columns: &[Column<'_>], ratios: Vec<Vec<String>>) -> Table {
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
    Table { title: "Medians of the rounds".to_owned(), head: head.collect(), rows: rows.chain(ratios).collect() }
}

fn added(report: &Report) -> Option<Quantiles> {
    report.added_latency_us
}
