//! The page of a run, or of a comparison with a peer.

use super::comparison::Comparison;
use super::course::{Course, Second};
use super::report::Report;
use crate::commands::floor::FloorReport;
use crate::report::figures::latency_plot;
use crate::report::page::{Bars, Columns, Lines, Page, Plot, Scale, Series, Table};

/// Of one run.
pub(crate) fn of_run(report: &Report) -> Page {
    let mut warnings = Vec::new();
    if report.disturbed {
        warnings.push("DISTURBED: others used the machine meanwhile; read ratios at most, or run again".to_owned());
    }
    warnings.extend(report.faults.iter().map(|fault| format!("WRONG: {fault}")));
    Page {
        title: report.scenario.clone(),
        warnings,
        tables: vec![figures(&[("", report)], &[])],
        plots: plots(&[("server", report)]),
        circumstances: circumstances(report),
    }
}

/// Of ours and a peer, each with the medians of all rounds and the course of the last.
pub(crate) fn of_comparison(comparison: &Comparison) -> Page {
    let (ours, peer) = (comparison.ours(), comparison.peer());
    let sides = [("ours", &ours), (comparison.peer_key(), &peer)];
    let mut warnings = Vec::new();
    for (name, report) in sides {
        if report.disturbed {
            warnings
                .push(format!("DISTURBED: others used the machine during rounds of {name}; read the ratio at most"));
        }
        warnings.extend(report.faults.iter().map(|fault| format!("WRONG in the last round of {name}: {fault}")));
    }
    Page {
        title: format!("{}, ours and {}", comparison.scenario, sides[1].0),
        warnings,
        tables: vec![figures(&sides, &comparison.ratios())],
        plots: plots(&sides),
        circumstances: circumstances(&ours),
    }
}

type Side<'a> = (&'a str, &'a Report);

/// What a line shows, and its value in each second.
type Value<'a> = (&'a str, fn(&Second) -> Option<f64>);

/// `ratios`: names, and ours over the peer's.
fn figures(sides: &[Side<'_>], ratios: &[(String, String)]) -> Table {
    let number = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let ms = |us: Option<u64>| number(us.map(|us| us as f64 / 1e3), 2);
    type Cell<'a> = &'a dyn Fn(&Report) -> String;
    let rows: [(&str, Cell<'_>); 17] = [
        ("server", &|report| report.server.clone().unwrap_or_else(|| report.target.clone())),
        ("SRTP", &|report| report.srtp_profile.unwrap_or("none").to_owned()),
        ("participants", &|report| report.participants.to_string()),
        ("came, of expected packets", &|report| format!("{} of {}", report.forwarded_packets, report.expected_packets)),
        ("packets/s", &|report| format!("{:.0}", report.packets_per_second)),
        ("loss ratio", &|report| format!("{:.6}", report.loss_ratio)),
        ("latency p50 / p99 / p99.9 / max, ms", &|report| {
            let of = &report.latency_us;
            [of.p50, of.p99, of.p999, of.max].map(ms).join(" / ")
        }),
        ("the same at the receiver's device, without its own waiting", &|report| {
            let of = &report.arrival_latency_us;
            [of.p50, of.p99, of.p999, of.max].map(ms).join(" / ")
        }),
        ("server CPU per forwarded packet, ns", &|report| number(report.cpu_ns_per_packet, 0)),
        ("all that its CPUs did, per forwarded packet, ns", &|report| number(report.whole_cpu_ns_per_packet, 0)),
        ("floor (sealing and sending alone): by the frame / packet by packet, ns", &|report| {
            let of = |ns: fn(&FloorReport) -> Option<f64>| number(report.floor.as_ref().and_then(ns), 0);
            format!("{} / {}", of(|floor| floor.frames_ns_per_packet), of(|floor| floor.packets_ns_per_packet))
        }),
        ("server CPU over the floor by the frame", &|report| number(report.over_floor(), 2)),
        ("softirq per packet, whole machine, never to be added, ns", &|report| number(report.softirq_ns_per_packet, 0)),
        ("server, % of a CPU", &|report| number(report.server_cpu.map(|share| share * 100.0), 1)),
        ("bench, % of a CPU", &|report| format!("{:.0}", report.bench_cpu * 100.0)),
        ("join p50 / p99 / max, ms", &|report| {
            let of = &report.join_ms;
            [of.p50, of.p99, of.max].map(|ms| number(ms, 0)).join(" / ")
        }),
        ("memory a participant, KiB", &|report| {
            number(report.rss_bytes_per_participant.map(|bytes| bytes as f64 / 1024.0), 1)
        }),
    ];
    let mut rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, cell)| {
            std::iter::once((*name).to_owned()).chain(sides.iter().map(|(_, report)| cell(report))).collect()
        })
        .collect();
    rows.extend(ratios.iter().map(|(name, ratio)| vec![name.clone(), ratio.clone()]));
    let head = match sides {
        [_] => Vec::new(),
        _ => std::iter::once(String::new()).chain(sides.iter().map(|(name, _)| (*name).to_owned())).collect(),
    };
    Table { title: "Figures".to_owned(), head, rows }
}

fn plots(sides: &[Side<'_>]) -> Vec<Plot> {
    // One side needs no name, two need theirs.
    let named = |name: &str, what: &str| match (sides.len(), what) {
        (1, what) => what.to_owned(),
        (_, "") => name.to_owned(),
        (_, what) => format!("{name}, {what}"),
    };
    let over_time = |title: &str, unit, values: &[Value<'_>]| {
        let lines = sides.iter().flat_map(|(name, report)| {
            values.iter().map(move |(what, value)| Series::new(named(name, what), report.course.line(*value)))
        });
        let series = lines.collect();
        Plot::Lines(Lines { title: title.to_owned(), unit, along: "s", x: Scale::Linear, y: Scale::Linear, series })
    };
    let curves: Vec<_> = sides
        .iter()
        .flat_map(|(name, report)| {
            let Course { latency_curve, arrival_curve, .. } = &report.course;
            [(named(name, ""), latency_curve.clone()), (named(name, "at the device"), arrival_curve.clone())]
        })
        .filter(|(_, curve)| !curve.is_empty())
        .collect();
    let joins: Vec<_> = sides.iter().map(|(name, report)| (named(name, ""), report.course.joins.clone())).collect();
    let threads = sides.iter().enumerate().flat_map(|(index, (name, report))| {
        report.threads.iter().map(move |thread| (named(name, &thread.name), thread.cpu * 100.0, index))
    });
    vec![
        over_time(
            "Packets",
            "packets/s",
            &[
                ("came", |second| Some(second.received_per_second)),
                ("expected", |second| Some(second.expected_per_second)),
            ],
        ),
        over_time("Server CPU per packet", "ns", &[("", |second| second.cpu_ns_per_packet)]),
        over_time(
            "Latency over time",
            "ms",
            &[("p99", |second| second.latency_p99_ms), ("p50", |second| second.latency_p50_ms)],
        ),
        latency_plot(&curves),
        Plot::Bars(Bars { title: "CPU by thread".to_owned(), unit: "% of a CPU", bars: threads.collect() }),
        over_time(
            "CPU",
            "% of a CPU",
            &[
                ("server", |second| Some(second.server_cpu? * 100.0)),
                ("bench", |second| Some(second.bench_cpu * 100.0)),
            ],
        ),
        Plot::Columns(Columns::of("Join times", "participants", "ms", &joins)),
    ]
}

fn circumstances(report: &Report) -> Vec<(String, String)> {
    let mut lines = vec![("target".to_owned(), report.target.clone())];
    lines.extend(report.device.clone().map(|device| ("device".to_owned(), device)));
    lines.push(("measured".to_owned(), format!("{:.1} s", report.seconds)));
    lines.push((
        "others".to_owned(),
        format!("{:.1} % of the CPU time, steal {:.1} %", report.others_ratio * 100.0, report.steal_ratio * 100.0),
    ));
    lines.extend(report.circumstances.lines());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::report::{ThreadReport, example};
    use super::*;
    use crate::commands::sfu::Peer;
    use crate::report::Rounds;

    fn report(cpu: f64) -> Report {
        let second = |at: f64| Second {
            at,
            received_per_second: 4_700.0 + at,
            expected_per_second: 4_808.0,
            cpu_ns_per_packet: Some(cpu),
            server_cpu: Some(0.1),
            bench_cpu: 0.2,
            latency_p50_ms: Some(0.3),
            latency_p99_ms: Some(1.5),
        };
        let course = Course {
            seconds: (0..15).map(|at| second(f64::from(at))).collect(),
            latency_curve: vec![(0.0, 0.1), (0.5, 0.3), (1.0, 4.0)],
            arrival_curve: vec![(0.0, 0.1), (0.5, 0.2), (1.0, 2.0)],
            joins: vec![(2.0, 18), (3.0, 2)],
        };
        let thread = ThreadReport { process: "plausch-relay".to_owned(), name: "shard-0".to_owned(), cpu: 0.289 };
        Report { cpu_ns_per_packet: Some(cpu), course, threads: vec![thread], disturbed: true, ..example(500) }
    }

    #[test]
    fn pages_of_a_run_hold_its_figures_and_all_plots() {
        let html = of_run(&report(2_424.0)).html();
        for text in ["2424", "90 of 100", "DISTURBED", "shard-0", "28.9", "0.10 / 0.50", "expected", "steal"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 7);
    }

    #[test]
    fn pages_of_a_comparison_show_both_sides_and_the_ratio() {
        let comparison = Comparison {
            scenario: "sfu: 1 → 20".to_owned(),
            peer: Peer::Janus,
            rounds: Rounds { ours: vec![report(2_000.0)], peer: vec![report(30_000.0)] },
        };
        let html = of_comparison(&comparison).html();
        for text in ["ours and janus", "30000", "0.067", "janus, expected", "ours, shard-0", "rounds of janus"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 7);
    }
}
