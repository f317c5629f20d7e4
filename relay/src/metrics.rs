//! Numbers for the operator, in Prometheus' text format, by a responder of a few lines: one path, no keep-alive,
//! and a limit on everything.

use crate::drain::Draining;
use crate::edge::EdgeCounters;
use crate::handshake::HandshakeCounters;
use crate::shard::Status;
use plausch_engine::CounterKind;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Scrapes at once, bytes of a request's head, and time for a scrape.
const CONNECTIONS: usize = 8;
const HEAD_BYTES: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the numbers are.
#[derive(Clone)]
pub struct Numbers {
    pub shards: Vec<Arc<Mutex<Status>>>,
    pub handshakes: Arc<HandshakeCounters>,
    pub edge: Arc<EdgeCounters>,
    pub draining: Draining,
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, numbers: Numbers) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, perhaps; it may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let numbers = numbers.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(PATIENCE, answer(stream, &numbers)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, numbers: &Numbers) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = if head.starts_with(b"GET /metrics ") || head.starts_with(b"GET /metrics?") {
        ("200 OK", numbers.text())
    } else {
        ("404 Not Found", "The numbers are at /metrics.\n".to_owned())
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

impl Numbers {
    /// All numbers: by shard what shards count, and those of the handshake threads.
    pub fn text(&self) -> String {
        let statuses: Vec<Status> =
            self.shards.iter().map(|status| status.lock().map(|status| *status).unwrap_or_default()).collect();
        let mut text = String::new();
        let mut metric = |name: &str, kind: CounterKind, values: &[u64]| {
            let (kind, suffix) = match kind {
                CounterKind::Counter => ("counter", "_total"),
                CounterKind::Gauge => ("gauge", ""),
            };
            let _ = writeln!(text, "# TYPE plausch_{name}{suffix} {kind}");
            for (shard, value) in values.iter().enumerate() {
                let _ = writeln!(text, "plausch_{name}{suffix}{{shard=\"{shard}\"}} {value}");
            }
        };
        let by_shard = |value: &dyn Fn(&Status) -> u64| statuses.iter().map(value).collect::<Vec<u64>>();
        for (index, entry) in statuses.first().into_iter().flat_map(|first| first.engine.entries()).enumerate() {
            let values = by_shard(&|status| status.engine.entries().nth(index).map_or(0, |entry| entry.value));
            metric(entry.name, entry.kind, &values);
        }
        for (index, (name, _)) in statuses.first().into_iter().flat_map(|first| first.driver.entries()).enumerate() {
            metric(name, CounterKind::Counter, &by_shard(&|status| status.driver.entries()[index].1));
        }
        metric("busy_milliseconds", CounterKind::Counter, &by_shard(&|status| status.busy.as_millis() as u64));
        metric("shard_restarts", CounterKind::Counter, &by_shard(&|status| status.restarts));
        metric("drop_handshake_ring", CounterKind::Counter, &by_shard(&|status| status.drop_handshake_ring));

        metric("drop_edge_ring", CounterKind::Counter, &by_shard(&|status| status.drop_edge_ring));
        metric("drop_neighbour", CounterKind::Counter, &by_shard(&|status| status.drop_neighbour));
        metric("relay_port_failures", CounterKind::Counter, &by_shard(&|status| status.relay_port_failures));

        let lost = plausch_daemon::log::lost_lines();
        let _ = writeln!(text, "# TYPE plausch_log_lines_lost_total counter\nplausch_log_lines_lost_total {lost}");
        let draining = u8::from(self.draining.is_on());
        let _ = writeln!(text, "# TYPE plausch_draining gauge\nplausch_draining {draining}");
        let handshakes = &*self.handshakes;
        let mut metric = |name: &str, kind: &str, value: &AtomicU64| {
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(text, "# TYPE plausch_dtls_{name} {kind}\nplausch_dtls_{name} {value}");
        };
        metric("sessions", "gauge", &handshakes.sessions);
        metric("handshakes_under_way", "gauge", &handshakes.under_way);
        metric("finished_1_2_total", "counter", &handshakes.finished_dtls12);
        metric("finished_1_3_total", "counter", &handshakes.finished_dtls13);
        metric("closed_total", "counter", &handshakes.closed);
        metric("drop_not_hello_total", "counter", &handshakes.drop_not_hello);
        metric("drop_limit_total", "counter", &handshakes.drop_limit);
        metric("evicted_total", "counter", &handshakes.evicted);
        metric("drop_ring_full_total", "counter", &handshakes.drop_ring_full);

        let _ = writeln!(text, "# TYPE plausch_dtls_failed_total counter");
        for (failure, count) in handshakes.failed.by_reason() {
            let _ = writeln!(text, "plausch_dtls_failed_total{{reason=\"{}\"}} {count}", failure.label());
        }

        let mut family = "";
        for (kind, metric, value) in self.edge.entries() {
            let name = metric.split('{').next().unwrap_or(metric);
            if name != family {
                let _ = writeln!(text, "# TYPE plausch_{name} {kind}");
                family = name;
            }
            let _ = writeln!(text, "plausch_{metric} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_number() {
        let numbers = Numbers {
            shards: vec![Arc::default(), Arc::default()],
            handshakes: Arc::default(),
            edge: Arc::default(),
            draining: Draining::default(),
        };
        let text = numbers.text();
        for line in text.lines().filter(|line| !line.starts_with("# TYPE plausch_")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("plausch_"), "{line}");
            assert_eq!(value, "0");
        }
        for name in ["participants", "tracks", "subscriptions", "ssrcs", "tuples"] {
            assert!(text.contains(&format!("plausch_{name}{{shard=\"1\"}} 0\n")), "{name}");
        }
        assert!(text.contains("\nplausch_dtls_sessions 0\n"));
        assert!(text.contains("\nplausch_dtls_failed_total{reason=\"certificate\"} 0\n"));
        assert!(text.contains("\nplausch_edge_drop_total{reason=\"slow\"} 0\n"));
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert_eq!(types.iter().collect::<std::collections::HashSet<_>>().len(), types.len(), "each once");
    }
}
