//! ChannelData through the engine, both ways, no sockets: one packet of each of 32 clients in a batch. Alone, because
//! webrtc-rs' TURN server cannot be had without its sockets and tasks.

// A bench that cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

mod relayed;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relayed::{CLIENTS, Direction, Relayed};
use std::time::{Duration, Instant};

const SIZES: [usize; 2] = [200, 1_100];

fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("TURN ChannelData");
    group.throughput(Throughput::Elements(CLIENTS as u64));
    for (name, direction) in [("to peers", Direction::ToPeers), ("from peers", Direction::FromPeers)] {
        for bytes in SIZES {
            let mut relayed = Relayed::new();
            let mut batch = relayed.batch(direction, bytes);
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                b.iter_custom(|iterations| {
                    let mut took = Duration::ZERO;
                    for _ in 0..iterations {
                        let begin = Instant::now();
                        relayed.relay(direction, &mut batch);
                        took += begin.elapsed();
                        assert_eq!(relayed.tx.datagrams().count(), CLIENTS);
                        relayed.tx.clear();
                    }
                    took
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, turn);
criterion_main!(benches);
