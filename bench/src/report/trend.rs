//! Whether something grows: a straight line through samples.

/// The line that lies closest to samples, by least squares.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub(crate) struct Trend {
    pub(crate) per_hour: f64,
    /// From the first to the last of the samples, along the line.
    pub(crate) grown: f64,
}

impl Trend {
    /// Of samples (seconds, value). `None` for fewer than three, or if all are of one moment.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let count = samples.len() as f64;
        let (first, last) = (samples.first()?.0, samples.last()?.0);
        if samples.len() < 3 || last <= first {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
        let (mean_time, mean_value) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let product: f64 = samples.iter().map(|(time, value)| (time - mean_time) * (value - mean_value)).sum();
        let square: f64 = samples.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
        let per_second = product / square;
        Some(Self { per_hour: per_second * 3_600.0, grown: per_second * (last - first) })
    }

    /// Of the second half of the samples: at first caches fill and rooms grow.
    pub(crate) fn of_second_half(samples: &[(f64, f64)]) -> Option<Self> {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return None };
        let middle = f64::midpoint(first.0, last.0);
        Self::of(&samples[samples.partition_point(|(time, _)| *time < middle)..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_through_noise() {
        let noise = |n: u32| f64::from(n * 7_919 % 100) - 49.5;
        let samples: Vec<_> = (0..600).map(|n| (f64::from(n), 1e6 + 10.0 * f64::from(n) + noise(n))).collect();
        let trend = Trend::of(&samples).unwrap();
        assert!((35_500.0..36_500.0).contains(&trend.per_hour), "{trend:?}");
        assert!((5_900.0..6_100.0).contains(&trend.grown), "{trend:?}");
    }

    #[test]
    fn what_grew_at_first_only_does_not_grow() {
        let samples: Vec<_> = (0..100).map(|n| (f64::from(n), f64::from(n.min(40)))).collect();
        assert!(Trend::of(&samples).unwrap().per_hour > 500.0);
        assert_eq!(Trend::of_second_half(&samples).unwrap().per_hour, 0.0);
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(Trend::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0); 5]), None);
        assert_eq!(Trend::of_second_half(&[]), None);
    }
}
