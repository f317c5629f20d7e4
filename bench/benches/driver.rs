//! Rounds of the relay's drivers, without an engine.
//!
//! `driver round`, over loopback: take a frame that has arrived from its publisher, and send it to twenty subscribers, one
//! run each. Receivers are emptied between rounds, outside of the time.
//!
//! `sound to 400`, over a veth: send one small packet to each of 400 addresses behind a router. The other end of the veth
//! throws everything away before it reaches a network stack, so that this is the sender's part alone. As root.

// A bench that cannot be set up shall fail at once.
#![allow(clippy::unwrap_used)]

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use plausch_bench::ground::kernel::{cpus, drop_all_at, enter_new_namespace, pin, thread_id};
use plausch_engine::batch::{LocalSocket, Path, TxBatch};
use plausch_relay::driver::mmsg::Mmsg;
use plausch_relay::driver::uring::Uring;
use plausch_relay::driver::xdp::{Device, Queue, Steering, Xdp};
use plausch_relay::driver::{Driver, Sockets, Waker, bind, recycle};
use plausch_relay_api::limits::BATCH_PACKETS;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// One frame of 1.5 Mbit/s at 30 frames per second.
const FRAME: usize = 6;
const PACKET_BYTES: usize = 1_140;
const SUBSCRIBERS: usize = 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(1));

/// A packet of sound with its header and tag, and how many want it.
const SOUND_BYTES: usize = 140;
const LISTENERS: usize = 400;

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

/// A veth from the calling thread's namespace into one where all is thrown away, until both are dropped.
struct Wire {
    _drop: OwnedFd,
    _end: mpsc::Sender<()>,
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split_whitespace()).status().unwrap().success(), "ip {arguments}");
}

fn lay_wire() -> Wire {
    enter_new_namespace().unwrap();
    ip("link set lo up");
    let here = thread_id();
    let (end, until) = mpsc::channel::<()>();
    let (ready, dropped) = mpsc::channel();
    thread::spawn(move || {
        enter_new_namespace().unwrap();
        ip(&format!("link add veth1 type veth peer name veth0 netns {here}"));
        ip("link set veth1 up");
        ready.send(drop_all_at("veth1").unwrap()).unwrap();
        // The namespace lives as long as this thread.
        let _ = until.recv();
    });
    let drop = dropped.recv().unwrap();
    ip("address add 192.0.2.1/24 dev veth0");
    ip("link set veth0 up");
    ip("neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent");
    ip("route add default via 192.0.2.2");
    Wire { _drop: drop, _end: end }
}

fn sound<D: Driver>(group: &mut BenchmarkGroup<WallTime>, name: &str, device: &D::Device, sockets: &Sockets) {
    let mut driver = D::open(sockets.clone(), Waker::new().unwrap(), device).unwrap();
    let mut tx = TxBatch::new(1 << 20, 1_000);
    for listener in 0..LISTENERS {
        let remote = (Ipv4Addr::new(198, 18, (listener / 200) as u8, (listener % 200) as u8), 50_000).into();
        assert!(tx.push(Path { local: LocalSocket(0), remote }, &[0x5a; SOUND_BYTES]));
    }
    group.bench_function(name, |b| b.iter(|| driver.send(&mut tx).unwrap()));
    let counters = driver.counters();
    assert!(counters.drop_send_full == 0 && counters.drop_send_refused == 0, "{counters:?}");
}

fn sound_to_400(c: &mut Criterion) {
    let mut group = c.benchmark_group("sound to 400");
    group.throughput(Throughput::Elements(LISTENERS as u64));
    // This thread stays there: nothing else comes after it.
    pin(&cpus().unwrap().split_off(1)).unwrap();
    let _wire = lay_wire();
    let sockets: Sockets = vec![bind((Ipv4Addr::new(192, 0, 2, 1), 0).into()).unwrap()].into();
    let steering = Steering::new([&[sockets[0].local_addr().unwrap()][..]]);
    let queue = Queue { device: Arc::new(Device::attach("veth0", &steering).unwrap()), number: 0 };
    sound::<Uring>(&mut group, "uring", &(), &sockets);
    sound::<Mmsg>(&mut group, "mmsg", &(), &sockets);
    sound::<Xdp>(&mut group, "xdp", &queue, &sockets);
    group.finish();
}

criterion_group!(benches, driver, sound_to_400);
criterion_main!(benches);
