//! From values to places and to marks that people can read.

/// How values lie along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Scale {
    /// From zero.
    #[default]
    Linear,
    /// Each decade as long as the other.
    Logarithmic,
    /// Shares from 0 to 1: each further nine as long as the one before, so that tails are seen.
    Nines,
}

/// An axis over the values that are to be shown.
pub(super) struct Axis {
    scale: Scale,
    /// In the scale's own measure.
    from: f64,
    to: f64,
    pub(super) marks: Vec<Mark>,
}

/// A mark at an axis.
pub(super) struct Mark {
    pub(super) value: f64,
    pub(super) text: String,
}

/// Marks of an axis at the most, about.
const MARKS: f64 = 5.0;
/// Four nines and more end where this does, at the last mark.
const NINES: f64 = 4.0;

impl Axis {
    /// Over these values, which are finite.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        match scale {
            Scale::Linear => Self::linear(least.min(0.0), most),
            Scale::Logarithmic => Self::logarithmic(least, most),
            Scale::Nines => Self::nines(most),
        }
    }

    fn linear(from: f64, most: f64) -> Self {
        let reach = if most > from { most - from } else { 1.0 };
        let step = round_step(reach / MARKS);
        let to = from + (reach / step).ceil() * step;
        let first = (from / step).ceil() as i64;
        let last = (to / step).round() as i64;
        let marks = (first..=last).map(|n| n as f64 * step).map(|value| Mark { value, text: number(value) }).collect();
        Self { scale: Scale::Linear, from, to, marks }
    }

    fn logarithmic(least: f64, most: f64) -> Self {
        let lowest = |value: f64| value.max(1e-6).log10();
        let (from, to) = (lowest(least).floor(), lowest(most).ceil());
        let to = if to > from { to } else { from + 1.0 };
        let between: &[f64] = if to - from > 2.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = from as i32..=to as i32;
        let values = decades.flat_map(|decade| between.iter().map(move |part| part * 10f64.powi(decade)));
        let marks = values
            .filter(|value| value.log10() <= to + 1e-9)
            .map(|value| Mark { value, text: number(value) })
            .collect();
        Self { scale: Scale::Logarithmic, from, to, marks }
    }

    fn nines(most: f64) -> Self {
        let to = nines(most).clamp(1.0, NINES);
        let known = [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
        let marks = known
            .iter()
            .filter(|(share, _)| nines(*share) <= to + 1e-9)
            .map(|(share, text)| Mark { value: *share, text: (*text).to_owned() })
            .collect();
        Self { scale: Scale::Nines, from: 0.0, to, marks }
    }

    /// From 0 to 1 along the axis.
    pub(super) fn place(&self, value: f64) -> f64 {
        let measure = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(1e-6).log10(),
            Scale::Nines => nines(value),
        };
        ((measure - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

fn nines(share: f64) -> f64 {
    -(1.0 - share).max(10f64.powf(-NINES)).log10()
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let part = [1.0, 2.0, 5.0, 10.0].into_iter().find(|part| part * power >= step * (1.0 - 1e-9));
    part.unwrap_or(10.0) * power
}

/// A number as short as an axis needs it: `0.05`, `12`, `20 k`, `1.5 M`.
pub(super) fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e9 => (value / 1e9, " G"),
        large if large >= 1e6 => (value / 1e6, " M"),
        large if large >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 0.1 => 3,
        small if small < 1.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|mark| mark.text.as_str()).collect()
    }

    #[test]
    fn marks_are_round_and_hold_all_values() {
        let axis = Axis::over(Scale::Linear, [3.0, 96_745.0].into_iter());
        assert_eq!(marks(&axis), ["0", "20 k", "40 k", "60 k", "80 k", "100 k"]);
        assert_eq!((axis.place(0.0), axis.place(50_000.0), axis.place(1e9)), (0.0, 0.5, 1.0));
        assert_eq!(marks(&Axis::over(Scale::Linear, [0.0, 0.7].into_iter())), ["0", "0.2", "0.4", "0.6", "0.8"]);
        // Nothing to show is no reason to divide by zero.
        assert!(Axis::over(Scale::Linear, [0.0].into_iter()).place(0.0).is_finite());
        assert!(Axis::over(Scale::Linear, std::iter::empty()).place(0.5).is_finite());
    }

    #[test]
    fn tails_have_room() {
        let axis = Axis::over(Scale::Nines, [0.0, 0.999].into_iter());
        assert_eq!(marks(&axis), ["0", "50 %", "90 %", "99 %", "99.9 %"]);
        assert!((axis.place(0.99) - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(axis.place(1.0), 1.0);
        let axis = Axis::over(Scale::Logarithmic, [0.15, 17.0].into_iter());
        assert_eq!(marks(&axis), ["0.1", "1", "10", "100"]);
        assert!((axis.place(1.0) - 1.0 / 3.0).abs() < 1e-6);
    }
}
