//! Counts of durations in buckets that grow with the value, so that a run of any length has exact ranks in little room.

/// Buckets of one octave: a value is at most 1/32 larger than what is reported for it.
const STEPS: u64 = 32;
const STEPS_BITS: u32 = STEPS.trailing_zeros();

/// How often each duration was seen, in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    samples: u64,
    max: u64,
}

impl Histogram {
    /// Takes one value.
    pub fn record(&mut self, us: u64) {
        let bucket = bucket(us);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.samples += 1;
        self.max = self.max.max(us);
    }

    /// Takes all values of another one.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.samples += other.samples;
        self.max = self.max.max(other.max);
    }

    /// How many values were taken.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The largest value, exactly.
    pub fn max(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.max)
    }

    /// The largest values of the buckets that are not empty, and how many values are in each.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (largest_of(bucket).min(self.max), *count))
    }

    /// The smallest value that at least `share` of all values do not exceed, to 1/32.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((self.samples as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(largest_of(bucket).min(self.max))
    }
}

impl Histogram {
    /// Shares of the values and the largest value of each share, divided by `unit`, for plots.
    pub fn curve(&self, unit: f64) -> Vec<(f64, f64)> {
        const SHARES: [f64; 20] = [
            0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995,
            0.9999, 1.0,
        ];
        // A share that is less than one value of all says nothing of its own.
        let said = |share: f64| share == 1.0 || (1.0 - share) * self.samples as f64 >= 1.0;
        let shares = SHARES.into_iter().filter(|share| said(*share));
        shares.filter_map(|share| Some((share, self.quantile(share)? as f64 / unit))).collect()
    }
}

fn bucket(value: u64) -> usize {
    let octave = value.checked_ilog2().unwrap_or(0).saturating_sub(STEPS_BITS);
    (u64::from(octave) * STEPS + (value >> octave)) as usize
}

/// The largest value of a bucket.
fn largest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket / STEPS).saturating_sub(1);
    let first = (bucket - octave * STEPS) << octave;
    first + (1 << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_values_without_holes() {
        let mut before = bucket(0);
        assert_eq!(before, 0);
        for value in 1..100_000 {
            let now = bucket(value);
            assert!(now == before || now == before + 1, "{value}");
            if now != before {
                assert_eq!(largest_of(before), value - 1);
            }
            before = now;
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (None, None));
        (1..=900).for_each(|_| histogram.record(20));
        let mut slow = Histogram::default();
        (1..=100).for_each(|value| slow.record(value * 1_000));
        histogram.add(&slow);
        assert_eq!(histogram.quantile(0.5), Some(20));
        assert_eq!(histogram.quantile(0.9), Some(20));
        let p99 = histogram.quantile(0.99).unwrap();
        assert!((90_000..=90_000 * 33 / 32).contains(&p99), "{p99}");
        assert_eq!(histogram.quantile(1.0), Some(100_000));
        assert_eq!((histogram.samples(), histogram.max()), (1_000, Some(100_000)));
    }
}
