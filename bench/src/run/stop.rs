//! The end of a run before its time.

use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C or SIGTERM came before there was anything to report.
#[derive(Debug, thiserror::Error)]
#[error("stopped before anything was measured; nothing is reported")]
pub(crate) struct Stopped;

/// Until Ctrl-C or SIGTERM comes.
pub(crate) async fn stop_signal() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
