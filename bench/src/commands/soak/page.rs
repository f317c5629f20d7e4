//! The page of a soak.

use super::report::{Report, Sample, Watched};
use crate::report::figures::latency_plot;
use crate::report::page::{Columns, Lines, Page, Plot, Scale, Series, Table};

pub(super) fn page(report: &Report) -> Page {
    let minutes = |at_s: f64| at_s / 60.0;
    let of_all = |value: fn(&Watched) -> f64| -> Vec<Series> {
        let named = report.growth.iter().enumerate();
        let points = |index: usize| {
            report
                .samples
                .iter()
                .filter_map(move |sample| Some((minutes(sample.at_s), value(sample.processes.get(index)?))))
        };
        named.map(|(index, growth)| Series::new(growth.process, points(index))).collect()
    };
    let plot = |title: &str, unit, series| {
        Plot::Lines(Lines { title: title.to_owned(), unit, along: "min", x: Scale::Linear, y: Scale::Linear, series })
    };
    let latency = |value: fn(&Sample) -> Option<u64>| {
        report.samples.iter().filter_map(move |sample| Some((minutes(sample.at_s), value(sample)? as f64 / 1e3)))
    };
    let mut warnings = report.verdicts();
    warnings.extend(report.faults.iter().map(|fault| format!("WRONG: {fault}")));
    Page {
        title: report.scenario.clone(),
        warnings,
        tables: vec![Table {
            title: "What happened".to_owned(),
            head: Vec::new(),
            rows: report.lines().into_iter().map(|(name, value)| vec![name, value]).collect(),
        }],
        plots: vec![
            plot("Memory", "MiB", of_all(|watched| watched.rss_bytes as f64 / 1_048_576.0)),
            plot("Descriptors", "", of_all(|watched| watched.descriptors as f64)),
            plot("Threads", "", of_all(|watched| watched.threads as f64)),
            plot(
                "Latency over time",
                "ms",
                vec![
                    Series::new("p99", latency(|sample| sample.latency_p99_us)),
                    Series::new("p50", latency(|sample| sample.latency_p50_us)),
                ],
            ),
            latency_plot(&[("all".to_owned(), report.latency_curve.clone())]),
            Plot::Columns(Columns::of(
                "Join times",
                "participants",
                "ms",
                &[("joins".to_owned(), report.join_counts.clone())],
            )),
        ],
        circumstances: std::iter::once(("target".to_owned(), report.target.clone()))
            .chain(report.circumstances.lines())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn pages_hold_growth_and_verdict() {
        let html = page(&report(|hours| (50.0 + 3.0 * hours) * 1_048_576.0, |_| 90.0)).html();
        for text in ["the relay grows", "50.0 MiB → 62.0 MiB", "Descriptors", "900 viewers replaced"] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<svg").count(), 6);
    }
}
