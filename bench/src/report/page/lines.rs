//! Lines over time or over percentiles.

use super::COLOURS;
use super::axis::{Axis, Scale};
use super::field::Field;
use std::fmt::{self, Write};

/// A picture of lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    pub(crate) title: String,
    /// Of the upright axis.
    pub(crate) unit: &'static str,
    /// What the level axis means: `s`, `viewers`.
    pub(crate) along: &'static str,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) series: Vec<Series>,
}

/// One line: values that are not finite interrupt it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }
}

const HEIGHT: f64 = 220.0;
/// More points than the picture has dots are thinned out: of each dot the least and the most are kept.
const DOTS: usize = 400;

impl Lines {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let shown: Vec<Vec<(f64, f64)>> = self.series.iter().map(|series| thinned(&series.points)).collect();
        let finite = || shown.iter().flatten().filter(|(x, y)| x.is_finite() && y.is_finite());
        let x = Axis::over(self.x, finite().map(|(x, _)| *x));
        let y = Axis::over(self.y, finite().map(|(_, y)| *y));
        let field = Field { title: &self.title, height: HEIGHT, unit: self.unit, along: self.along, x, y };
        field.begin(out, &names, |_| true)?;
        for (index, points) in shown.iter().enumerate() {
            let class = index % COLOURS;
            for stretch in points.split(|(x, y)| !x.is_finite() || !y.is_finite()).filter(|part| !part.is_empty()) {
                if let [(x, y)] = stretch {
                    // A single point is no line.
                    let (x, y) = (field.across(*x), field.up(*y));
                    writeln!(out, "<circle class=\"f{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")?;
                    continue;
                }
                write!(out, "<polyline class=\"line s{class}\" points=\"")?;
                stretch.iter().try_for_each(|(x, y)| write!(out, "{:.1},{:.1} ", field.across(*x), field.up(*y)))?;
                out.write_str("\"/>\n")?;
            }
        }
        out.write_str("</svg>\n</figure>\n")
    }
}

/// As many points as can be told apart, with all peaks.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 2 * DOTS {
        return points.to_vec();
    }
    let chunk = points.len().div_ceil(DOTS);
    let extremes = |part: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends = [part.iter().min_by(by_value).copied(), part.iter().max_by(by_value).copied()];
        ends.sort_by(|a, b| a.map(|a| a.0).partial_cmp(&b.map(|b| b.0)).unwrap_or(std::cmp::Ordering::Equal));
        ends
    };
    points.chunks(chunk).flat_map(extremes).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_peaks() {
        let mut points: Vec<(f64, f64)> = (0..20_000).map(|n| (f64::from(n), 1.0)).collect();
        points[12_345].1 = 99.0;
        let thin = thinned(&points);
        assert!(thin.len() <= 2 * DOTS);
        assert!(thin.contains(&(12_345.0, 99.0)));
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}
