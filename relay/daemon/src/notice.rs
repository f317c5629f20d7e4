//! What is met again and again is said once a minute: the log stays readable under attack, and small.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Between two lines about the same.
pub const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// Says at most once a minute that something was met, and how often since the last line.
#[derive(Debug, Default)]
pub struct Notice(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    met: u64,
}

impl Notice {
    /// `Some`: now is the time for a line, about so many times.
    pub fn met(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.met += 1;
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < NOTICE_INTERVAL) {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.met))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_with_the_number_of_times() {
        let (notice, start) = (Notice::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(notice.met(at(0)), Some(1));
        assert!((1..60).all(|second| notice.met(at(second)).is_none()));
        assert_eq!(notice.met(at(60)), Some(60));
        assert_eq!(notice.met(at(61)), None);
        assert_eq!(notice.met(at(300)), Some(2));
    }
}
