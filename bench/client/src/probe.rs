//! Whether a Janus answers yet; for ours see `http::is_healthy`.

use super::janus::Janus;
use super::{Entry, JoinOptions};
use std::time::Duration;
use tokio::time::timeout;

/// One try.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a Janus opens sessions at `url`.
pub async fn speaks_janus(url: &str) -> bool {
    let options = JoinOptions { entry: Entry::Janus, ..JoinOptions::new(url, "", "") };
    matches!(timeout(PATIENCE, Janus::connect(&options)).await, Ok(Ok(_)))
}
