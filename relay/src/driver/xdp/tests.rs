//! Over a veth pair in network namespaces of the test's own. As root only: without the right to make namespaces there
//! is nothing to test on, which is said.

use super::*;
use crate::driver::{bind, recycle};
use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;

const HERE: [&str; 2] = ["10.213.7.1", "fd13:7::1"];
const THERE: [&str; 2] = ["10.213.7.2", "fd13:7::2"];

/// Two namespaces and a cable; gone when dropped.
struct Lab {
    names: [String; 2],
}

fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    output.is_ok_and(|output| {
        if !output.status.success() {
            eprintln!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    })
}

impl Lab {
    fn new(test: &str) -> Option<Self> {
        let names = ["a", "b"].map(|end| format!("plx-{}-{test}-{end}", std::process::id()));
        // SAFETY: takes no pointers.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("left out: network namespaces need root");
            return None;
        }
        let [a, b] = &names;
        assert!(ip(&format!("netns add {a}")) && ip(&format!("netns add {b}")));
        let lab = Self { names: names.clone() };
        assert!(ip(&format!("-n {a} link add veth0 type veth peer name veth1 netns {b}")));
        for (name, device, addresses) in [(a, "veth0", HERE), (b, "veth1", THERE)] {
            assert!(ip(&format!("-n {name} addr add {}/24 dev {device}", addresses[0])));
            assert!(ip(&format!("-n {name} addr add {}/64 dev {device} nodad", addresses[1])));
            assert!(ip(&format!("-n {name} link set {device} up")) && ip(&format!("-n {name} link set lo up")));
        }
        Some(lab)
    }

    /// Runs `work` on a thread that lives in one of the two namespaces.
    fn inside<T: Send>(&self, end: usize, work: impl FnOnce() -> T + Send) -> T {
        let name = &self.names[end];
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = fs::File::open(format!("/run/netns/{name}")).unwrap();
                // SAFETY: takes no pointers; the thread ends with this.
                assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
                work()
            });
            thread.join().unwrap()
        })
    }

    /// A driver at `HERE`; only inside of the first namespace.
    fn opened(&self) -> (Xdp, Vec<SocketAddr>, Waker) {
        let bound: Vec<_> = HERE.iter().map(|ip| bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap()).collect();
        let addresses: Vec<_> = bound.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let queue = queue(&addresses);
        assert_eq!(Device::queues("veth0").unwrap(), 1);
        let waker = Waker::new().unwrap();
        (Xdp::open(bound.into(), waker.clone(), &queue).unwrap(), addresses, waker)
    }

    fn peer(&self, family: usize) -> UdpSocket {
        self.inside(1, || {
            let peer = bind(SocketAddr::new(THERE[family].parse().unwrap(), 0)).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            peer
        })
    }
}

fn queue(addresses: &[SocketAddr]) -> Queue {
    Queue { device: Arc::new(Device::attach("veth0", &Steering::new([addresses])).unwrap()), number: 0 }
}

/// Runs a test in the first namespace of a lab.
fn in_lab(test: &str, work: impl FnOnce(&Lab) + Send) {
    if let Some(lab) = Lab::new(test) {
        lab.inside(0, || work(&lab));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

fn collect(driver: &mut Xdp, count: usize) -> Vec<(Path, Vec<u8>)> {
    let mut received = Vec::new();
    let mut storage = Vec::with_capacity(BATCH_PACKETS);
    let began = Instant::now();
    while received.len() < count && began.elapsed() < Duration::from_secs(3) {
        let mut rx = recycle(storage);
        driver.receive(Some(Duration::from_millis(100)), &mut rx).unwrap();
        received.extend(rx.iter().map(|packet| (packet.path, packet.data.to_vec())));
        storage = recycle(rx);
    }
    received
}

fn frames_sent(driver: &Xdp) -> u64 {
    driver.counters().sent_packets - driver.kernel.counters().sent_packets
}

#[test]
fn datagrams_come_and_go_past_the_kernel() {
    in_lab("go", |lab| {
        let (mut driver, addresses, _waker) = lab.opened();
        for (family, address) in addresses.iter().enumerate() {
            let peer = lab.peer(family);
            let path = Path { local: LocalSocket(family as u16), remote: peer.local_addr().unwrap() };
            for len in [0, 1, 120, 1200, 1452] {
                peer.send_to(&vec![len as u8; len], address).unwrap();
            }
            driver.kernel.wait(Some(Duration::from_secs(1))).unwrap();
            assert!(!driver.kernel.has_datagrams(), "they came by the kernel");
            let received = collect(&mut driver, 5);
            assert_eq!(received.iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [0, 1, 120, 1200, 1452]);
            assert!(
                received.iter().all(|(from, data)| *from == path && data.iter().all(|byte| *byte == data.len() as u8))
            );

            let mut tx = TxBatch::new(2 << 20, 2000);
            let mut buffer = [0; 2048];
            // First by the kernel, which has yet to be sure of the neighbour; then by frames, and more than there are at once.
            for round in 0..40u8 {
                for number in 0..100u8 {
                    assert!(tx.push(path, &[round, number, 7][..1 + usize::from(number % 3)]));
                }
                driver.send(&mut tx).unwrap();
                tx.clear();
                for number in 0..100u8 {
                    let (len, from) = peer.recv_from(&mut buffer).unwrap();
                    assert_eq!((&buffer[..len], from), (&[round, number, 7][..1 + usize::from(number % 3)], *address));
                }
            }
            assert!(frames_sent(&driver) >= 3_000, "{:?}", driver.counters());
        }
        assert_eq!(driver.counters().receive_errors, 0);
        assert_eq!(driver.counters().drop_send_full, 0);
    });
}

#[test]
fn relay_ports_come_and_go_past_the_kernel() {
    in_lab("relay", |lab| {
        let (mut driver, _addresses, _waker) = lab.opened();
        let local = LocalSocket(LocalSocket::FIRST_RELAY_PORT + 7);
        for (family, here) in HERE.iter().enumerate() {
            let free = UdpSocket::bind((*here, 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            driver.open_port(local, address).unwrap();
            let peer = lab.peer(family);
            let path = Path { local, remote: peer.local_addr().unwrap() };
            peer.send_to(b"in", address).unwrap();
            driver.kernel.wait(Some(Duration::from_secs(1))).unwrap();
            assert!(!driver.kernel.has_datagrams(), "it came by the kernel");
            assert_eq!(collect(&mut driver, 1), [(path, b"in".to_vec())]);

            let (before, mut tx, mut buffer) = (frames_sent(&driver), TxBatch::new(2048, 10), [0; 16]);
            let began = Instant::now();
            while frames_sent(&driver) == before && began.elapsed() < Duration::from_secs(5) {
                assert!(tx.push(path, b"out"));
                driver.send(&mut tx).unwrap();
                tx.clear();
                let (len, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], from), (&b"out"[..], address));
            }
            assert!(frames_sent(&driver) > before);

            driver.close_port(local);
            let run = TxRun { path, start: 0, len: 0, segment: 1, sound: false, stranger: false };
            assert!(!driver.send_frames(&tx, &run, Instant::now()), "it has no address");
            let errors = driver.counters().receive_errors;
            peer.send_to(b"late", address).unwrap();
            assert_eq!(collect(&mut driver, 1), []);
            assert_eq!(driver.counters().receive_errors, errors, "the kernel has it again, and nobody there");
        }
    });
}

#[test]
fn more_frames_than_the_rings_hold_are_sent_and_received() {
    in_lab("many", |lab| {
        let (mut driver, addresses, _waker) = lab.opened();
        let peer = lab.peer(0);
        let path = Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() };
        let total = 3 * XDP_RECEIVE_FRAMES as usize;
        let sender = peer.try_clone().unwrap();
        let to = addresses[0];
        let received = thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..total as u32 {
                    sender.send_to(&number.to_be_bytes(), to).unwrap();
                    if number % 64 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            collect(&mut driver, total)
        });
        assert_eq!(received.len(), total);
        assert!(received.iter().enumerate().all(|(number, (_, data))| *data == (number as u32).to_be_bytes()));
        let mut tx = TxBatch::new(4 << 20, 3 * XDP_SEND_FRAMES as usize);
        for number in 0..2 * XDP_SEND_FRAMES {
            assert!(tx.push(path, &number.to_be_bytes()));
            // Runs of one: that is what the rings are counted in.
            tx.set_segmentation(false);
        }
        driver.send(&mut tx).unwrap();
        let counters = driver.counters();
        assert_eq!(counters.sent_packets + counters.drop_send_full, u64::from(2 * XDP_SEND_FRAMES));
    });
}

#[test]
fn what_is_not_ours_stays_with_the_kernel() {
    in_lab("rest", |lab| {
        let (mut driver, addresses, waker) = lab.opened();
        // Another program's port on the same address, and ping, which needs ARP and ICMP.
        let other = bind(SocketAddr::new(HERE[0].parse().unwrap(), 0)).unwrap();
        other.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let peer = lab.peer(0);
        peer.send_to(b"other", other.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(other.recv_from(&mut buffer).unwrap(), (5, peer.local_addr().unwrap()));
        // From this machine itself: by loopback, not by the device.
        let local = bind(SocketAddr::new(HERE[0].parse().unwrap(), 0)).unwrap();
        local.send_to(b"local", addresses[0]).unwrap();
        let received = collect(&mut driver, 1);
        assert_eq!(received.len(), 1);
        assert_eq!((received[0].0.remote, &received[0].1[..]), (local.local_addr().unwrap(), &b"local"[..]));
        let mut tx = TxBatch::new(1 << 20, 10);
        assert!(tx.push(received[0].0, b"answer"));
        driver.send(&mut tx).unwrap();
        local.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(local.recv_from(&mut buffer).unwrap(), (6, addresses[0]));
        // A wake-up ends the wait.
        waker.wake();
        let began = Instant::now();
        let mut rx = Vec::with_capacity(BATCH_PACKETS);
        driver.receive(Some(Duration::from_secs(5)), &mut rx).unwrap();
        assert!(rx.is_empty() && began.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn where_a_device_takes_nothing_there_is_room_for_sound_still() {
    in_lab("full", |lab| {
        let (mut driver, _addresses, _waker) = lab.opened();
        let peer = lab.peer(0);
        let path = Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() };
        let mut tx = TxBatch::new(1 << 20, 2 * XDP_SEND_FRAMES as usize);
        for _ in 0..5 {
            tx.clear();
            assert!(tx.push(path, b"first"));
            driver.send(&mut tx).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        let sent = frames_sent(&driver);
        assert!(sent > 0, "{:?}", driver.counters());

        assert!(ip(&format!("-n {} link set veth0 down", lab.names[0])));
        tx.clear();
        for number in 0..XDP_SEND_FRAMES {
            assert!(tx.push(path, &number.to_be_bytes()));
        }
        driver.send(&mut tx).unwrap();
        assert_eq!(driver.counters().drop_send_full, XDP_SOUND_FRAMES as u64);
        tx.clear();
        for number in 0..2 * XDP_SOUND_FRAMES as u32 {
            assert!(tx.push(path, &number.to_be_bytes()));
            tx.mark_sound();
        }
        driver.send(&mut tx).unwrap();
        assert_eq!(driver.counters().drop_send_full, 2 * XDP_SOUND_FRAMES as u64);
        assert_eq!(frames_sent(&driver) - sent, u64::from(XDP_SEND_FRAMES));
        assert!(!driver.socket.flush());

        // Nothing of it needs another send.
        assert!(ip(&format!("-n {} link set veth0 up", lab.names[0])));
        collect(&mut driver, 1);
        assert!(driver.socket.flush());
        assert!(peer.recv(&mut [0; 16]).is_ok());
    });
}

#[test]
fn fragments_are_put_together_by_the_kernel() {
    in_lab("frag", |lab| {
        let [_, b] = &lab.names;
        // A smaller MTU at the sender's end makes fragments, of which only the first has ports.
        assert!(ip(&format!("-n {b} link set veth1 mtu 1280")));
        thread::sleep(Duration::from_millis(50));
        let (mut driver, addresses, _waker) = lab.opened();
        for (family, address) in addresses.iter().enumerate() {
            let peer = lab.inside(1, || UdpSocket::bind(SocketAddr::new(THERE[family].parse().unwrap(), 0)).unwrap());
            let sent: Vec<u8> = (0..1400).map(|byte| byte as u8).collect();
            peer.send_to(&sent, address).unwrap();
            let received = collect(&mut driver, 1);
            assert_eq!((received[0].0.remote, &received[0].1), (peer.local_addr().unwrap(), &sent));
        }
    });
}

#[test]
fn changes_of_neighbours_and_routes_are_followed() {
    in_lab("route", |lab| {
        let [a, b] = &lab.names;
        let far: SocketAddr = "198.51.100.7:5000".parse().unwrap();
        assert!(ip(&format!("-n {b} addr add 198.51.100.7/32 dev lo")));
        assert!(ip(&format!("-n {a} route add 198.51.100.7 via {}", THERE[0])));
        let (mut driver, addresses, _waker) = lab.opened();
        let near = lab.peer(0);
        let behind = lab.inside(1, || UdpSocket::bind(far).unwrap());
        behind.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut send = |to: SocketAddr, text: &[u8]| {
            let mut tx = TxBatch::new(1 << 20, 10);
            assert!(tx.push(Path { local: LocalSocket(0), remote: to }, text));
            driver.send(&mut tx).unwrap();
            thread::sleep(DOUBT);
            (frames_sent(&driver), driver.counters().drop_send_refused)
        };
        const DOUBT: Duration = Duration::from_millis(210);
        let arrives = |socket: &UdpSocket| {
            let mut buffer = [0; 16];
            let mut last = 0;
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            while let Ok(len) = socket.recv(&mut buffer) {
                last = len;
            }
            last
        };
        // Both ways lead to the same neighbour.
        let both = [near.local_addr().unwrap(), far];
        let frames = (0..4).map(|_| both.map(|to| send(to, b"first").0)).last().unwrap()[1];
        assert!(frames >= 2, "no frames");
        assert_eq!((arrives(&near), arrives(&behind)), (5, 5));

        // The neighbour has another address now, and one of the two has no way at all.
        let mac = "02:00:00:00:07:99";
        assert!(ip(&format!("-n {b} link set veth1 address {mac}")));
        assert!(ip(&format!("-n {a} neighbour replace {} lladdr {mac} dev veth0 nud permanent", THERE[0])));
        assert!(ip(&format!("-n {a} route replace unreachable 198.51.100.7")));
        thread::sleep(Duration::from_secs(2));
        arrives(&near);
        let (before, refused) = send(both[0], b"second");
        let (after, _) = send(both[0], b"second");
        assert_eq!((after - before, arrives(&near)), (1, 6));
        let (after_refusal, now_refused) = send(far, b"second");
        assert_eq!((after_refusal, now_refused), (after, refused + 1));
        assert_eq!(arrives(&behind), 0);
        assert_eq!(addresses.len(), 2);
    });
}

#[test]
fn datagrams_larger_than_the_device_takes_are_counted() {
    in_lab("mtu", |lab| {
        let (mut driver, addresses, _waker) = lab.opened();
        let mut buffer = [0; DATAGRAM_BYTES];
        // 1500 bytes less the headers of IP and UDP.
        for (family, largest) in [1472, 1452].into_iter().enumerate() {
            let peer = lab.peer(family);
            peer.send_to(b"hello", addresses[family]).unwrap();
            let path = collect(&mut driver, 1)[0].0;
            let before = driver.counters();
            let mut tx = TxBatch::new(2 << 20, 10);
            // By the kernel until it is sure of the neighbour, then by frames.
            for round in 0..4 {
                tx.clear();
                for len in [DATAGRAM_BYTES, largest + 1, largest, 5] {
                    assert!(tx.push(path, &vec![round; len]));
                }
                driver.send(&mut tx).unwrap();
                thread::sleep(Duration::from_millis(150));
            }
            assert_eq!(driver.counters().drop_send_refused - before.drop_send_refused, 8, "{:?}", driver.counters());
            for round in 0..4 {
                for len in [largest, 5] {
                    assert_eq!(peer.recv(&mut buffer).unwrap(), len);
                    assert!(buffer[..len].iter().all(|byte| *byte == round));
                }
            }
        }
        assert!(frames_sent(&driver) >= 8, "{:?}", driver.counters());
    });
}

#[test]
fn a_device_that_is_not_there_and_a_queue_twice_are_errors() {
    assert!(Device::attach("no-such-device", &Steering::default()).is_err());
    in_lab("err", |_| {
        let address = SocketAddr::new(HERE[0].parse().unwrap(), 0);
        let sockets = || -> Sockets { vec![bind(address).unwrap()].into() };
        let queue = queue(&[address]);
        let waker = Waker::new().unwrap();
        let first = Xdp::open(sockets(), waker.clone(), &queue).unwrap();
        assert!(Xdp::open(sockets(), waker.clone(), &queue).is_err());
        assert!(Xdp::open(sockets(), waker.clone(), &Queue { number: 1, ..queue.clone() }).is_err());
        drop(first);
        // As a shard does that died: the kernel takes a moment to let go of the queue.
        let again = (0..50).find_map(|_| {
            thread::sleep(Duration::from_millis(20));
            Xdp::open(sockets(), waker.clone(), &queue).ok()
        });
        assert!(again.is_some());
    });
}
