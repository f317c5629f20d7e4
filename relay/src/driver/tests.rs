//! Both drivers do the same over loopback.

use super::mmsg::Mmsg;
use super::uring::Uring;
use super::{Driver, Sockets, Waker, bind, recycle, set_option};
use plausch_engine::{LocalSocket, Path, TxBatch};
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES, RECEIVE_BUFFERS};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const SOON: Option<Duration> = Some(Duration::from_millis(200));

fn sockets() -> Sockets {
    vec![bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap(), bind((Ipv6Addr::LOCALHOST, 0).into()).unwrap()].into()
}

fn peer(address: SocketAddr) -> UdpSocket {
    let ip: std::net::IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    // Not joined: each receive is a datagram.
    let peer = bind((ip, 0).into()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    peer
}

fn opened<D: Driver<Device = ()>>() -> (D, Sockets, Waker) {
    let (sockets, waker) = (sockets(), Waker::new().unwrap());
    (D::open(sockets.clone(), waker.clone(), &()).unwrap(), sockets, waker)
}

/// Receives until `count` datagrams are there or nothing comes any more.
fn collect<D: Driver<Device = ()>>(driver: &mut D, count: usize) -> Vec<(Path, Vec<u8>)> {
    let mut received = Vec::new();
    let mut storage = Vec::with_capacity(BATCH_PACKETS);
    let began = Instant::now();
    while received.len() < count && began.elapsed() < Duration::from_secs(3) {
        let mut rx = recycle(storage);
        driver.receive(SOON, &mut rx).unwrap();
        received.extend(rx.iter().map(|packet| (packet.path, packet.data.to_vec())));
        storage = recycle(rx);
    }
    received
}

fn receives_from_all_sockets_with_their_sender<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    for (index, socket) in sockets.iter().enumerate() {
        let address = socket.local_addr().unwrap();
        let peer = peer(address);
        for len in [0, 1, 1200, DATAGRAM_BYTES] {
            peer.send_to(&vec![index as u8; len], address).unwrap();
        }
        let received = collect(&mut driver, 4);
        let path = Path { local: LocalSocket(index as u16), remote: peer.local_addr().unwrap() };
        let lens: Vec<_> = received.iter().map(|(_, data)| data.len()).collect();
        assert_eq!(lens, [0, 1, 1200, DATAGRAM_BYTES]);
        assert!(received.iter().all(|(from, data)| *from == path && data.iter().all(|byte| *byte == index as u8)));
    }
}

fn oversized_datagrams_are_counted_drops<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let address = sockets[0].local_addr().unwrap();
    let peer = peer(address);
    peer.send_to(&[1; DATAGRAM_BYTES + 1], address).unwrap();
    peer.send_to(&[2; 40_000], address).unwrap();
    peer.send_to(&[3; 3], address).unwrap();
    let received = collect(&mut driver, 1);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].1, [3; 3]);
    assert_eq!(driver.counters().drop_receive_oversized, 2);
}

/// Datagrams of `len` bytes, of which each is full of its number, and one of `last` bytes, sent as the kernel or a network
/// card joins what comes together.
fn send_joined(peer: &UdpSocket, to: SocketAddr, count: u8, len: usize, last: usize) -> Vec<Vec<u8>> {
    let datagrams: Vec<Vec<u8>> =
        (0..count).map(|number| vec![number; len]).chain([vec![count; last]]).filter(|data| !data.is_empty()).collect();
    set_option(peer, libc::SOL_UDP, libc::UDP_SEGMENT, len as i32).unwrap();
    peer.send_to(&datagrams.concat(), to).unwrap();
    set_option(peer, libc::SOL_UDP, libc::UDP_SEGMENT, 0).unwrap();
    datagrams
}

fn joined_datagrams_are_taken_apart<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let port = open_port(&mut driver, relay_port(5));
    let own = |index: usize| (LocalSocket(index as u16), sockets[index].local_addr().unwrap());
    for (local, address) in [own(0), own(1), (relay_port(5), port)] {
        let peer = peer(address);
        let path = Path { local, remote: peer.local_addr().unwrap() };
        // A few; as many as fit, which is more than a batch; the largest; and small ones.
        for (count, len, last) in [(20, 700, 300), (53, 1200, 1), (40, DATAGRAM_BYTES, 0), (63, 1, 1), (1, 900, 0)] {
            let before = driver.counters().received_messages;
            let sent = send_joined(&peer, address, count, len, last);
            let received = collect(&mut driver, sent.len());
            assert!(received.iter().all(|(from, _)| *from == path));
            assert!(received.iter().map(|(_, data)| data).eq(&sent), "all, whole, in order: {count} × {len} + {last}");
            assert_eq!(driver.counters().received_messages - before, 1, "they came joined");
        }
        // Between others.
        peer.send_to(&[1; 10], address).unwrap();
        let sent = send_joined(&peer, address, 60, 50, 0);
        peer.send_to(&[2; 20], address).unwrap();
        let received: Vec<Vec<u8>> = collect(&mut driver, sent.len() + 2).into_iter().map(|(_, data)| data).collect();
        assert_eq!(received, [vec![vec![1; 10]], sent, vec![vec![2; 20]]].concat());
    }
    assert_eq!(driver.counters().receive_errors, 0);
}

fn joined_datagrams_that_are_oversized_are_counted_each<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let address = sockets[0].local_addr().unwrap();
    let peer = peer(address);
    send_joined(&peer, address, 7, DATAGRAM_BYTES + 1, 40);
    peer.send_to(&[3; 3], address).unwrap();
    assert_eq!(collect(&mut driver, 1).iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [3]);
    assert_eq!((driver.counters().drop_receive_oversized, driver.counters().received_messages), (8, 2));
}

fn what_is_left_of_joined_ones_goes_with_their_port<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    // More often than there are buffers: none is lost.
    for _ in 0..RECEIVE_BUFFERS + 10 {
        let address = open_port(&mut driver, relay_port(0));
        send_joined(&peer, address, BATCH_PACKETS as u8 + 20, 10, 0);
        assert_eq!(collect(&mut driver, 1).len(), BATCH_PACKETS, "some are left");
        driver.close_port(relay_port(0));
    }
    let address = open_port(&mut driver, relay_port(0));
    peer.send_to(&[1; 5], address).unwrap();
    assert_eq!(collect(&mut driver, 1).iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [5]);
}

fn sends_runs_as_datagrams<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let mut tx = TxBatch::new(2 << 20, 2000);
    for (index, socket) in sockets.iter().enumerate() {
        let peer = peer(socket.local_addr().unwrap());
        let path = Path { local: LocalSocket(index as u16), remote: peer.local_addr().unwrap() };
        let lens: Vec<usize> = [1200; 20].into_iter().chain([700, 1, 1200, 1200, 90]).collect();
        for (number, len) in lens.iter().enumerate() {
            assert!(tx.push(path, &vec![number as u8; *len]));
        }
        assert!(tx.runs().len() < lens.len(), "the test wants runs");
        driver.send(&mut tx).unwrap();
        tx.clear();
        let mut buffer = [0; 2000];
        for (number, len) in lens.iter().enumerate() {
            let (received, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((received, from), (*len, socket.local_addr().unwrap()));
            assert!(buffer[..received].iter().all(|byte| *byte == number as u8), "in order and unmixed");
        }
    }
    assert_eq!(driver.counters().sent_packets, 50);
}

fn more_runs_than_one_submission_holds<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peers = [peer(sockets[0].local_addr().unwrap()), peer(sockets[0].local_addr().unwrap())];
    let mut tx = TxBatch::new(1 << 20, 2000);
    // Alternating destinations, so that nothing becomes a run.
    for number in 0..700u32 {
        let remote = peers[number as usize % 2].local_addr().unwrap();
        assert!(tx.push(Path { local: LocalSocket(0), remote }, &number.to_be_bytes()));
    }
    driver.send(&mut tx).unwrap();
    assert_eq!(driver.counters().sent_packets, 700);
    for number in 0..700u32 {
        let mut buffer = [0; 10];
        let len = peers[number as usize % 2].recv(&mut buffer).unwrap();
        assert_eq!(buffer[..len], number.to_be_bytes());
    }
}

fn refused_datagrams_are_counted_and_harm_no_others<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    let good = Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() };
    let mut tx = TxBatch::new(1 << 20, 100);
    // Port 0 cannot be sent to, nor an IPv6 address from an IPv4 socket.
    for remote in ["127.0.0.1:0", "[::1]:9"] {
        assert!(tx.push(Path { local: LocalSocket(0), remote: remote.parse().unwrap() }, &[1; 10]));
        assert!(tx.push(good, &[2; 10]));
    }
    driver.send(&mut tx).unwrap();
    assert_eq!(driver.counters().drop_send_refused, 2);
    for _ in 0..2 {
        assert_eq!(peer.recv(&mut [0; 20]).unwrap(), 10);
    }
}

fn a_wake_or_the_time_ends_the_wait<D: Driver<Device = ()>>() {
    let (mut driver, _sockets, waker) = opened::<D>();
    for _ in 0..3 {
        let began = Instant::now();
        driver.receive(Some(Duration::from_millis(50)), &mut Vec::new()).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(45));
        assert!(began.elapsed() < Duration::from_secs(5));

        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                waker.wake();
            });
            driver.receive(Some(Duration::from_secs(20)), &mut Vec::new()).unwrap();
        });
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    // A wake before the wait is not lost.
    waker.wake();
    waker.wake();
    let began = Instant::now();
    driver.receive(None, &mut Vec::new()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
}

fn a_wake_while_something_is_sent_is_not_lost<D: Driver<Device = ()>>() {
    let (mut driver, sockets, waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    let mut tx = TxBatch::new(1 << 20, 10);
    assert!(tx.push(Path { local: LocalSocket(0), remote: peer.local_addr().unwrap() }, &[1]));
    driver.receive(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    for _ in 0..10 {
        waker.wake();
        driver.send(&mut tx).unwrap();
        let began = Instant::now();
        driver.receive(Some(Duration::from_secs(20)), &mut Vec::new()).unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

fn goes_on_after_the_buffers_ran_out<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let address = sockets[0].local_addr().unwrap();
    let peer = peer(address);
    let count = usize::from(RECEIVE_BUFFERS) * 2 + 100;
    for number in 0..count as u32 {
        peer.send_to(&number.to_be_bytes(), address).unwrap();
    }
    let received = collect(&mut driver, count);
    let numbers: Vec<_> = received.iter().map(|(_, data)| u32::from_be_bytes(data[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..count as u32).collect::<Vec<_>>(), "all, once, in order");
}

fn says_when_a_batch_is_full<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let address = sockets[0].local_addr().unwrap();
    let peer = peer(address);
    for _ in 0..BATCH_PACKETS + 1 {
        peer.send_to(&[1], address).unwrap();
    }
    let (mut received, mut storage) = (0, Vec::with_capacity(BATCH_PACKETS));
    while received < BATCH_PACKETS + 1 {
        let mut rx = recycle(storage);
        let full = driver.receive(SOON, &mut rx).unwrap().full;
        assert_eq!(full, rx.len() == BATCH_PACKETS);
        assert!(!rx.is_empty(), "{received} of {}", BATCH_PACKETS + 1);
        received += rx.len();
        storage = recycle(rx);
    }
    assert!(!driver.receive(Some(Duration::ZERO), &mut Vec::with_capacity(BATCH_PACKETS)).unwrap().full);
}

fn sockets_outlive_the_driver<D: Driver<Device = ()>>() {
    let (driver, sockets, waker) = opened::<D>();
    drop(driver);
    let address = sockets[0].local_addr().unwrap();
    let peer = peer(address);
    peer.send_to(&[5], address).unwrap();
    let mut driver = D::open(sockets.clone(), waker, &()).unwrap();
    assert_eq!(collect(&mut driver, 1).len(), 1);
}

fn relay_port(number: u16) -> LocalSocket {
    LocalSocket(LocalSocket::FIRST_RELAY_PORT + number)
}

/// An address whose port is free now.
fn free_address(like: Ipv4Addr) -> SocketAddr {
    UdpSocket::bind((like, 0)).unwrap().local_addr().unwrap()
}

/// Opens a port at an address that is free at the moment.
fn open_port<D: Driver<Device = ()>>(driver: &mut D, local: LocalSocket) -> SocketAddr {
    for _ in 0..10 {
        let address = free_address(Ipv4Addr::LOCALHOST);
        if driver.open_port(local, address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

fn relay_ports_come_and_go<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    let remote = peer.local_addr().unwrap();
    let ports = [relay_port(0), relay_port(7), relay_port(300)];
    let addresses = ports.map(|port| open_port(&mut driver, port));
    let taken = driver.open_port(relay_port(8), addresses[0]).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    assert!(driver.open_port(ports[1], free_address(Ipv4Addr::LOCALHOST)).is_err(), "the number is taken");
    assert!(driver.open_port(LocalSocket(0), free_address(Ipv4Addr::LOCALHOST)).is_err());

    for (number, address) in addresses.iter().enumerate() {
        peer.send_to(&[number as u8; 10], address).unwrap();
        peer.send_to(&[number as u8; 20], address).unwrap();
    }
    peer.send_to(&[9; 30], sockets[0].local_addr().unwrap()).unwrap();
    let received = collect(&mut driver, 7);
    for (number, local) in ports.into_iter().enumerate() {
        let own: Vec<_> = received.iter().filter(|(path, _)| *path == Path { local, remote }).collect();
        assert_eq!(own.iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [10, 20]);
        assert!(own.iter().all(|(_, data)| data.iter().all(|byte| *byte == number as u8)));
    }
    assert_eq!(received.len(), 7);

    let mut tx = TxBatch::new(1 << 20, 100);
    for local in ports.into_iter().chain([relay_port(9)]) {
        assert!(tx.push(Path { local, remote }, &[1; 100]));
        assert!(tx.push(Path { local, remote }, &[2; 100]));
    }
    driver.send(&mut tx).unwrap();
    let mut buffer = [0; 200];
    for address in addresses {
        for byte in [1, 2] {
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (100, address));
            assert_eq!(buffer[..100], [byte; 100]);
        }
    }
    assert_eq!(driver.counters().drop_send_refused, 2, "the port that was never opened");

    driver.close_port(ports[1]);
    driver.close_port(ports[1]);
    // What the kernel still has to let go of goes with the next wait.
    assert_eq!(collect(&mut driver, 1).len(), 0);
    let free = UdpSocket::bind(addresses[1]).expect("the port is free again");
    drop(free);
    driver.open_port(ports[1], addresses[1]).unwrap();
    for address in addresses {
        peer.send_to(&[4; 4], address).unwrap();
    }
    assert_eq!(collect(&mut driver, 3).len(), 3);
}

fn what_a_closed_port_received_is_nobodys<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    for round in 0..20u8 {
        let address = open_port(&mut driver, relay_port(0));
        // Armed before the packets come.
        driver.receive(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        for _ in 0..2 * BATCH_PACKETS {
            peer.send_to(&[round; 3], address).unwrap();
        }
        // A part is with the engine, a part may wait in the driver.
        let mut rx = Vec::with_capacity(BATCH_PACKETS);
        driver.receive(SOON, &mut rx).unwrap();
        assert!(rx.iter().all(|packet| packet.data == [round; 3]), "nothing of the port before");
        drop(rx);
        driver.close_port(relay_port(0));
    }
    let address = sockets[0].local_addr().unwrap();
    for _ in 0..usize::from(RECEIVE_BUFFERS) * 2 {
        peer.send_to(&[77; 3], address).unwrap();
    }
    let received = collect(&mut driver, usize::from(RECEIVE_BUFFERS) * 2);
    assert_eq!(received.len(), usize::from(RECEIVE_BUFFERS) * 2, "no buffer was lost");
    assert!(received.iter().all(|(path, data)| path.local == LocalSocket(0) && data[..] == [77; 3]));
}

fn a_thousand_ports_at_once<D: Driver<Device = ()>>() {
    let (mut driver, sockets, _waker) = opened::<D>();
    let peer = peer(sockets[0].local_addr().unwrap());
    let addresses: Vec<_> = (0..1000).map(|number| open_port(&mut driver, relay_port(number))).collect();
    for address in &addresses {
        peer.send_to(&address.port().to_be_bytes(), address).unwrap();
    }
    let mut received = collect(&mut driver, addresses.len());
    received.sort_by_key(|(path, _)| path.local);
    let ports: Vec<u16> = received.iter().map(|(_, data)| u16::from_be_bytes(data[..].try_into().unwrap())).collect();
    assert_eq!(ports, addresses.iter().map(SocketAddr::port).collect::<Vec<_>>());
    (0..1000).for_each(|number| driver.close_port(relay_port(number)));
}

/// Both drivers pass the same tests.
macro_rules! both {
    ($($test:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $test() { super::$test::<super::Uring>(); })+
        }
        mod mmsg {
            $(#[test] fn $test() { super::$test::<super::Mmsg>(); })+
        }
    };
}

pub(super) use both;

both!(
    receives_from_all_sockets_with_their_sender,
    oversized_datagrams_are_counted_drops,
    joined_datagrams_are_taken_apart,
    joined_datagrams_that_are_oversized_are_counted_each,
    what_is_left_of_joined_ones_goes_with_their_port,
    sends_runs_as_datagrams,
    more_runs_than_one_submission_holds,
    refused_datagrams_are_counted_and_harm_no_others,
    a_wake_or_the_time_ends_the_wait,
    a_wake_while_something_is_sent_is_not_lost,
    goes_on_after_the_buffers_ran_out,
    says_when_a_batch_is_full,
    sockets_outlive_the_driver,
    relay_ports_come_and_go,
    what_a_closed_port_received_is_nobodys,
    a_thousand_ports_at_once,
);

#[test]
fn recycling_keeps_the_memory() {
    let mut byte = [0u8];
    let mut rx = Vec::with_capacity(BATCH_PACKETS);
    let path = Path { local: LocalSocket(0), remote: (Ipv4Addr::LOCALHOST, 1).into() };
    rx.push(plausch_engine::RxPacket { path, data: &mut byte });
    let (pointer, capacity) = (rx.as_ptr().addr(), rx.capacity());
    let again = recycle(rx);
    assert_eq!((again.as_ptr().addr(), again.capacity(), again.len()), (pointer, capacity, 0));
}

/// Anybody may forge an ICMP message that a packet was too large, and the kernel would refuse such packets for minutes.
#[test]
fn no_message_says_how_large_packets_may_be() {
    let options = [(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)];
    for (socket, (level, name)) in sockets().iter().zip(options) {
        let mut value = 0i32;
        let mut len = size_of::<i32>() as libc::socklen_t;
        // SAFETY: room for an int and its length, which live until the call returns.
        let result =
            unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
        assert_eq!((result, value), (0, libc::IP_PMTUDISC_PROBE));
    }
}
