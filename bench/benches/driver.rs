//! One round of the relay's drivers over loopback: take a frame that has arrived from its publisher, and send it to
//! twenty subscribers, one run each. No engine in between. Receivers are emptied between rounds, outside of the time.

// A bench that cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plausch_engine::batch::{LocalSocket, Path, TxBatch};
use plausch_relay::driver::mmsg::Mmsg;
use plausch_relay::driver::uring::Uring;
use plausch_relay::driver::{Driver, Sockets, Waker, bind, recycle};
use plausch_relay_api::limits::BATCH_PACKETS;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// One frame of 1.5 Mbit/s at 30 frames per second.
const FRAME: usize = 6;
const PACKET_BYTES: usize = 1_140;
const SUBSCRIBERS: usize = 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(1));

/// A driver with one socket, and everybody around it.
struct Round<D> {
    driver: D,
    publisher: UdpSocket,
    subscribers: Vec<UdpSocket>,
    tx: TxBatch,
}

impl<D: Driver<Device = ()>> Round<D> {
    fn new() -> Self {
        let sockets: Sockets = vec![bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()].into();
        let address = sockets[0].local_addr().unwrap();
        let peer = || bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let publisher = peer();
        publisher.connect(address).unwrap();
        let subscribers: Vec<UdpSocket> = (0..SUBSCRIBERS).map(|_| peer()).collect();
        let mut tx = TxBatch::new(1 << 20, 1_000);
        for subscriber in &subscribers {
            subscriber.set_nonblocking(true).unwrap();
            let path = Path { local: LocalSocket(0), remote: subscriber.local_addr().unwrap() };
            (0..FRAME).for_each(|_| assert!(tx.push(path, &[0x5a; PACKET_BYTES])));
        }
        Self { driver: D::open(sockets, Waker::new().unwrap(), &()).unwrap(), publisher, subscribers, tx }
    }

    fn publish(&self) {
        (0..FRAME).for_each(|_| assert_eq!(self.publisher.send(&[0x5a; PACKET_BYTES]).unwrap(), PACKET_BYTES));
    }

    /// What is measured.
    fn round(&mut self) {
        let mut received = 0;
        let mut storage = Vec::with_capacity(BATCH_PACKETS);
        while received < FRAME {
            let mut rx = recycle(storage);
            self.driver.receive(PATIENCE, &mut rx).unwrap();
            assert!(!rx.is_empty());
            received += rx.len();
            storage = recycle(rx);
        }
        self.driver.send(&mut self.tx).unwrap();
    }

    /// Empties the receivers, and looks whether all of it came.
    fn drain(&self) {
        let mut buffer = [0; 2_000];
        for subscriber in &self.subscribers {
            (0..FRAME).for_each(|_| assert_eq!(subscriber.recv(&mut buffer).unwrap(), PACKET_BYTES));
        }
    }
}

fn measure<D: Driver<Device = ()>>(iterations: u64) -> Duration {
    let mut round = Round::<D>::new();
    let mut took = Duration::ZERO;
    for _ in 0..iterations {
        round.publish();
        let begin = Instant::now();
        round.round();
        took += begin.elapsed();
        round.drain();
    }
    took
}

fn driver(c: &mut Criterion) {
    let mut group = c.benchmark_group("driver round");
    group.throughput(Throughput::Elements((FRAME * SUBSCRIBERS) as u64));
    group.bench_function("uring", |b| b.iter_custom(measure::<Uring>));
    group.bench_function("mmsg", |b| b.iter_custom(measure::<Mmsg>));
    group.finish();
}

criterion_group!(benches, driver);
criterion_main!(benches);
