//! Where the network does not take what is sent: loopback behind a slow queue, in a network namespace of the test's own.
//! As root only: without the right to make one there is nothing to test on, which is said.

use super::mmsg::Mmsg;
use super::tests::both;
use super::uring::Uring;
use super::{Driver, Waker, bind, latest_wait, recycle, set_option};
use plausch_engine::{LocalSocket, Path, TxBatch};
use plausch_relay_api::limits::BATCH_PACKETS;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PICTURES: usize = 400;
const SOUNDS: usize = 20;

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "{program} {arguments}");
}

/// Runs `work` on a thread whose loopback takes 10 MB a second.
fn behind_a_slow_queue(work: impl FnOnce() + Send) {
    // SAFETY: takes no pointers.
    if unsafe { libc::geteuid() } != 0 {
        return eprintln!("left out: network namespaces need root");
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes no pointers; the thread, and with it the namespace, ends with this.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            run("ip", "link set lo up");
            run("tc", "qdisc add dev lo root tbf rate 80mbit burst 16kb limit 10mb");
            work();
        });
        thread.join().unwrap();
    });
}

fn peer() -> UdpSocket {
    let peer = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    peer
}

/// Twice what the send buffer holds of pictures, and then sound.
fn sound_waits_where_pictures_are_dropped<D: Driver<Device = ()>>() {
    behind_a_slow_queue(|| {
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 200_000).unwrap();
        let mut driver = D::open(vec![socket].into(), Waker::new().unwrap(), &()).unwrap();
        let (viewers, listener) = ([peer(), peer()], peer());
        let mut tx = TxBatch::new(1 << 20, 1_000);
        let path = |peer: &UdpSocket| Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() };
        for number in 0..PICTURES {
            // To one and the other, so that nothing becomes a run.
            assert!(tx.push(path(&viewers[number % 2]), &[0; 1_200]));
        }
        for number in 0..SOUNDS {
            // Of different lengths, so that nothing becomes a run.
            assert!(tx.push(path(&listener), &[number as u8; 100][..80 + number]));
            tx.mark_sound();
        }
        driver.send(&mut tx).unwrap();
        let counters = driver.counters();
        assert!(counters.drop_send_full > 100, "this was to be too much: {counters:?}");
        assert!(counters.sound_waits > 0);
        assert_eq!(counters.sent_packets + counters.drop_send_full, (PICTURES + SOUNDS) as u64);
        let mut heard = Vec::new();
        let mut buffer = [0; 2_000];
        while heard.len() < SOUNDS
            && let Ok(len) = listener.recv(&mut buffer)
        {
            heard.push(len - 80);
        }
        // Whatever waited may have been overtaken.
        heard.sort_unstable();
        assert_eq!(heard, (0..SOUNDS).collect::<Vec<_>>());
    });
}

/// Nobody waits for ever: a network that takes nothing costs the patience for one batch.
fn patience_ends<D: Driver<Device = ()>>() {
    behind_a_slow_queue(|| {
        run("tc", "qdisc change dev lo root tbf rate 8kbit burst 2kb limit 10mb");
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 20_000).unwrap();
        let mut driver = D::open(vec![socket].into(), Waker::new().unwrap(), &()).unwrap();
        let peer = peer();
        let path = Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() };
        let mut tx = TxBatch::new(1 << 20, 1_000);
        for number in 0..400 {
            assert!(tx.push(path, &[0; 500][..100 + number]));
            tx.mark_sound();
        }
        let began = Instant::now();
        driver.send(&mut tx).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let counters = driver.counters();
        assert!(counters.drop_send_full > 100, "{counters:?}");
        assert_eq!(counters.sent_packets + counters.drop_send_full, 400);
    });
}

fn the_wait_in_the_socket_is_known<D: Driver<Device = ()>>() {
    let sockets: super::Sockets = vec![bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()].into();
    let mut driver = D::open(sockets.clone(), Waker::new().unwrap(), &()).unwrap();
    let (peer, to) = (peer(), sockets[0].local_addr().unwrap());
    let began = Instant::now();
    // The first time the kernel begins to stamp, and that at its leisure.
    loop {
        peer.send_to(&[1; 10], to).unwrap();
        thread::sleep(Duration::from_millis(30));
        let mut rx = recycle(Vec::with_capacity(BATCH_PACKETS));
        let received = driver.receive(Some(Duration::from_secs(1)), &mut rx).unwrap();
        assert_eq!((rx.len(), received.full), (1, false));
        let since = received.taken_at.unwrap().elapsed();
        let wait = latest_wait(&sockets[0]).unwrap();
        assert!(wait < Duration::from_secs(5) && since < Duration::from_secs(5));
        if wait >= Duration::from_millis(29) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "only {wait:?}");
    }
}

both!(sound_waits_where_pictures_are_dropped, patience_ends, the_wait_in_the_socket_is_known);
