//! The end of a relay that people are on: what runs goes on for a while, and nothing new begins.

use crate::shard::Status;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Between two looks at who is left; shards publish their numbers more often than this.
const LOOK: Duration = Duration::from_millis(250);

/// Whether nothing new is to begin: main's own question, and that of metrics.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Whether it is so.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn on() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

/// Lets a relay run empty.
pub struct Drain {
    /// Zero: not at all.
    time: Duration,
    draining: Draining,
    statuses: Vec<Arc<Mutex<Status>>>,
    /// Wakes main's work.
    notify: Arc<Notify>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Left {
    participants: u64,
    allocations: u64,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} participants and {} TURN allocations", self.participants, self.allocations)
    }
}

impl Drain {
    pub(crate) fn new(
        time: Duration,
        draining: Draining,
        statuses: Vec<Arc<Mutex<Status>>>,
        notify: Arc<Notify>,
    ) -> Self {
        Self { time, draining, statuses, notify }
    }

    /// Ready when nobody is left, the time is over, or `enough` is ready.
    pub async fn run(self, enough: impl Future<Output = ()>) {
        if self.time.is_zero() {
            return;
        }
        self.draining.0.store(true, Ordering::Relaxed);
        self.notify.notify_one();
        tracing::info!(
            "waiting for {} to end, {} seconds at the most; another signal ends at once",
            self.left(),
            self.time.as_secs()
        );
        let empty = async {
            loop {
                // What was begun before the shards were told is in their numbers then.
                sleep(LOOK).await;
                if self.left() == Left::default() {
                    return;
                }
            }
        };
        tokio::select! {
            over = timeout(self.time, empty) => match over {
                Ok(()) => tracing::info!("nobody is left"),
                Err(_) => tracing::info!("ending in spite of {}: the time is over", self.left()),
            },
            () = enough => tracing::info!("ending in spite of {}: there was another signal", self.left()),
        }
    }

    fn left(&self) -> Left {
        let mut left = Left::default();
        for status in &self.statuses {
            let engine = status.lock().map(|status| status.engine).unwrap_or_default();
            left.participants += engine.participants;
            left.allocations += engine.turn_allocations;
        }
        left
    }
}
