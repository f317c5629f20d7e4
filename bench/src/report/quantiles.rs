//! What of a histogram is told.

use plausch_client::Histogram;
use serde::Serialize;

/// Ages of packets in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) p999: Option<u64>,
    pub(crate) max: Option<u64>,
}

/// Times that people wait, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| histogram.quantile(share));
        Self { p50, p99, p999, max: histogram.max() }
    }

    /// In milliseconds.
    pub(crate) fn text(&self) -> String {
        let ms = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.2}", us as f64 / 1e3));
        format!("p50 {}  p99 {}  p99.9 {}  max {} ms", ms(self.p50), ms(self.p99), ms(self.p999), ms(self.max))
    }
}

impl Times {
    /// Quantiles in milliseconds, of a histogram in microseconds.
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let ms = |us: Option<u64>| us.map(|us| us as f64 / 1e3);
        Self { p50: ms(histogram.quantile(0.5)), p99: ms(histogram.quantile(0.99)), max: ms(histogram.max()) }
    }

    pub(crate) fn text(&self) -> String {
        self.text_with(0)
    }

    pub(crate) fn text_with(&self, decimals: usize) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.decimals$}"));
        format!("p50 {}  p99 {}  max {} ms", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

/// To a tenth.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
