//! Whether a server answers yet.

use super::http;
use super::janus::Janus;
use super::{Entry, JoinOptions, Trust};
use std::time::Duration;
use tokio::time::timeout;

/// One try.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the control at `url` says that calls can be made.
pub async fn is_ready(url: &str, trust: &Trust) -> bool {
    matches!(timeout(PATIENCE, http::is_healthy(url, trust)).await, Ok(Ok(true)))
}

/// Whether a Janus opens sessions at `url`.
pub async fn speaks_janus(url: &str) -> bool {
    let options = JoinOptions { entry: Entry::Janus, ..JoinOptions::new(url, "", "") };
    matches!(timeout(PATIENCE, Janus::connect(&options)).await, Ok(Ok(_)))
}
