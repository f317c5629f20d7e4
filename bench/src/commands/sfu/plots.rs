//! The pictures of a run, or of a comparison with a peer.

use super::course::{Course, Second};
use super::report::Report;
use crate::report::figures::latency_plot;
use crate::report::page::{Bars, Columns, Lines, Plot, Scale, Series};

type Side<'a> = (&'a str, &'a Report);

/// What a line shows, and its value in each second.
type Value<'a> = (&'a str, fn(&Second) -> Option<f64>);

/// The plots of one server, or of two beside each other.
pub(super) fn plots(sides: &[Side<'_>]) -> Vec<Plot> {
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

#[cfg(test)]
mod tests {
    use super::super::report::{ThreadReport, example};
    use super::*;
    use crate::commands::sfu::Peer;
    use crate::commands::sfu::comparison::Comparison;
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
        let html = report(2_424.0).measurement().unwrap().html();
        for text in ["2424", "90 of 100", "DISTURBED", "shard-0", "28.9", "p50 0.10  p99 0.50", "expected", "steal"] {
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
            stopped: false,
        };
        let html = comparison.measurement().unwrap().html();
        for text in ["ours and janus", "30000", "0.067", "janus, expected", "ours, shard-0", "rounds of janus"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 7);
    }
}
