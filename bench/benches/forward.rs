//! One received batch of a publisher's video through the engine to all of its subscribers: open, rewrite and seal, no
//! sockets.

// A bench that cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

mod room;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use room::{BATCH, Room};
use std::time::{Duration, Instant};

const SUBSCRIBERS: [u64; 4] = [1, 10, 100, 1000];

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward one batch");
    for subscribers in SUBSCRIBERS {
        let mut room = Room::new(subscribers);
        group.throughput(Throughput::Elements(BATCH as u64 * subscribers));
        group.bench_function(BenchmarkId::new("subscribers", subscribers), |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let mut batch = room.batch(false);
                    let begin = Instant::now();
                    room.forward(&mut batch);
                    took += begin.elapsed();
                    assert!(!room.tx.is_empty());
                    room.finish();
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
