//! Whether a server answers yet.

use super::janus::Janus;
use super::socket;
use super::{Entry, JoinOptions, Trust};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// One try.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the control at `url` says that calls can be made.
pub async fn is_ready(url: &str, trust: &Trust) -> bool {
    let exchange = async {
        let (address, mut stream) = socket::connect(url, trust).await.ok()?;
        let request = format!("GET /api/health HTTP/1.0\r\nHost: {}:{}\r\n\r\n", address.host, address.port);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.ok()?;
        Some(status.starts_with(b"HTTP/1.") && status.ends_with(b" 200"))
    };
    timeout(PATIENCE, exchange).await.ok().flatten().unwrap_or(false)
}

/// Whether a Janus opens sessions at `url`.
pub async fn speaks_janus(url: &str) -> bool {
    let options = JoinOptions { entry: Entry::Janus, ..JoinOptions::new(url, "", "") };
    matches!(timeout(PATIENCE, Janus::connect(&options)).await, Ok(Ok(_)))
}
