//! Plots and figures that several reports have.

use crate::report::page::{Lines, Plot, Scale, Series};
use plausch_client::Histogram;

/// Latency over percentiles, tails in full.
pub(crate) fn latency_plot(named: &[(String, Vec<(f64, f64)>)]) -> Plot {
    Plot::Lines(Lines {
        title: "Latency, client to client".to_owned(),
        unit: "ms",
        along: "of packets",
        x: Scale::Nines,
        y: Scale::Logarithmic,
        series: named.iter().map(|(name, curve)| Series::new(name, curve.clone())).collect(),
    })
}

/// Shares of the values and the largest value of each share, in milliseconds of a histogram in microseconds.
pub(crate) fn curve_ms(histogram: &Histogram) -> Vec<(f64, f64)> {
    histogram.curve(1e3)
}

/// How many values lie below each: milliseconds and percent.
pub(crate) fn cumulative_ms(histogram: &Histogram) -> Vec<(f64, f64)> {
    let percent = (0..=100).map(f64::from);
    let steps = percent.filter_map(|percent| Some((histogram.quantile(percent / 100.0)? as f64 / 1e3, percent)));
    steps.collect()
}

/// The largest values of a histogram's buckets in milliseconds, and how many values are in each.
pub(crate) fn counts_ms(histogram: &Histogram) -> Vec<(f64, u64)> {
    histogram.buckets().map(|(us, count)| (us as f64 / 1e3, count)).collect()
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_end_with_the_largest_and_claim_no_tail_that_was_not_seen() {
        let mut histogram = Histogram::default();
        (1..=200).for_each(|ms| histogram.record(ms * 1_000));
        let curve = curve_ms(&histogram);
        assert_eq!(curve.last(), Some(&(1.0, 200.0)));
        assert!(curve.iter().all(|(share, _)| *share <= 0.995 || *share == 1.0), "{curve:?}");
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(counts_ms(&histogram).iter().map(|(_, count)| count).sum::<u64>(), 200);
        assert_eq!(cumulative_ms(&histogram).last(), Some(&(200.0, 100.0)));
        assert!(curve_ms(&Histogram::default()).is_empty());
    }
}
