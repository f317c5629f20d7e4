//! Bars with a name each, and columns of how often something was seen.

use super::axis::{Axis, Scale, number};
use super::field::Field;
use super::{COLOURS, Text, WIDTH, caption};
use std::fmt::{self, Write};

/// Level bars, one below the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Name, value and colour.
    pub(crate) bars: Vec<(String, f64, usize)>,
}

/// Upright columns: how many values lie in each stretch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) along: &'static str,
    /// Whose columns stand side by side.
    pub(crate) names: Vec<String>,
    pub(crate) bins: Vec<Bin>,
}

/// One stretch of values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bin {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// One for each name.
    pub(crate) counts: Vec<u64>,
}

const ROW: f64 = 26.0;
const NAMES: f64 = 150.0;
const VALUES: f64 = 60.0;
/// Columns of one picture.
const BINS: usize = 24;
const HEIGHT: f64 = 200.0;

impl Bars {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        caption(out, &self.title, self.unit, &[])?;
        let most = self.bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let height = ROW * self.bars.len() as f64 + 4.0;
        writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}, {}\">",
            Text(&self.title),
            Text(self.unit)
        )?;
        for (index, (name, value, colour)) in self.bars.iter().enumerate() {
            let top = ROW * index as f64 + 4.0;
            let length = value.max(0.0) / most * (WIDTH - NAMES - VALUES);
            let text = top + 15.0;
            writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"f{}\" x=\"{NAMES}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"20\" rx=\"2\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
                NAMES - 8.0,
                Text(name),
                colour % COLOURS,
                NAMES + length + 6.0,
                Text(&number(*value))
            )?;
        }
        out.write_str("</svg>\n</figure>\n")
    }
}

impl Columns {
    /// Sorts values (middle of a bucket, how often) of each name into stretches of the same length.
    pub(crate) fn of(
        title: &str,
        unit: &'static str,
        along: &'static str,
        named: &[(String, Vec<(f64, u64)>)],
    ) -> Self {
        let most = named.iter().flat_map(|(_, values)| values).map(|(value, _)| *value).fold(0.0, f64::max);
        let axis = Axis::over(Scale::Linear, [0.0, most].into_iter());
        let end = axis.marks.last().map_or(1.0, |mark| mark.value);
        let step = end / BINS as f64;
        let bins = (0..BINS)
            .map(|bin| {
                let (from, to) = (bin as f64 * step, (bin + 1) as f64 * step);
                let last = bin + 1 == BINS;
                let inside = |value: f64| value >= from && (value < to || (last && value <= to));
                let count = |values: &[(f64, u64)]| {
                    values.iter().filter(|(value, _)| inside(*value)).map(|(_, count)| count).sum()
                };
                Bin { from, to, counts: named.iter().map(|(_, values)| count(values)).collect() }
            })
            .collect();
        let names = named.iter().map(|(name, _)| name.clone()).collect();
        Self { title: title.to_owned(), unit, along, names, bins }
    }

    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let counts = || self.bins.iter().flat_map(|bin| &bin.counts).map(|count| *count as f64);
        let y = Axis::over(Scale::Linear, counts());
        let x = Axis::over(Scale::Linear, self.bins.iter().map(|bin| bin.to));
        let field = Field { title: &self.title, height: HEIGHT, unit: self.unit, along: self.along, x, y };
        // Parts of a person or a join do not exist.
        field.begin(out, &names, |mark| mark.value.fract() == 0.0)?;
        for bin in &self.bins {
            let width = (field.across(bin.to) - field.across(bin.from)) / bin.counts.len().max(1) as f64;
            for (index, count) in bin.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let left = field.across(bin.from) + width * index as f64;
                let top = field.up(*count as f64);
                writeln!(
                    out,
                    "<rect class=\"f{}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
                     <title>{count}: {} to {} {}</title></rect>",
                    index % COLOURS,
                    left + 0.5,
                    (width - 1.0).max(1.0),
                    field.bottom() - top,
                    number(bin.from),
                    number(bin.to),
                    Text(self.along)
                )?;
            }
        }
        out.write_str("</svg>\n</figure>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_column() {
        let named = [("a".to_owned(), vec![(0.0, 2), (3.0, 5), (20.0, 1)]), ("b".to_owned(), vec![(20.0, 7)])];
        let columns = Columns::of("Joins", "participants", "ms", &named);
        let sum = |name: usize| columns.bins.iter().map(|bin| bin.counts[name]).sum::<u64>();
        assert_eq!((sum(0), sum(1)), (8, 7));
        assert_eq!(columns.bins[0].counts, [2, 0]);
        assert_eq!(columns.bins[BINS - 1].counts, [1, 7]);
    }
}
