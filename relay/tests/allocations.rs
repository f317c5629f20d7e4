//! Drivers allocate nothing for a packet. A binary of its own, for its allocator counts.
#![allow(clippy::unwrap_used)]

use plausch_allocation_count::{Counting, allocations};
use plausch_engine::TxBatch;
use plausch_relay::driver::mmsg::Mmsg;
use plausch_relay::driver::uring::Uring;
use plausch_relay::driver::{Driver, Sockets, Waker, bind, recycle};
use plausch_relay_api::limits::BATCH_PACKETS;
use std::net::Ipv4Addr;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sends everything back to where it came from, as runs, for some rounds.
fn echo<D: Driver<Device = ()>>() {
    let sockets: Sockets = vec![bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()].into();
    let address = sockets[0].local_addr().unwrap();
    let mut driver = D::open(sockets, Waker::new().unwrap(), &()).unwrap();
    let peer = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut tx = TxBatch::new(1 << 20, 1000);
    let mut storage = Vec::with_capacity(BATCH_PACKETS);
    let (mut echoed, mut buffer) = (0, [0; 2000]);
    let mut before = 0;
    for round in 0..300 {
        if round == 100 {
            // Whatever is made once is made by now.
            before = allocations();
            echoed = 0;
        }
        for _ in 0..20 {
            peer.send_to(&[7; 1200], address).unwrap();
        }
        let mut rx = recycle(storage);
        driver.receive(Some(Duration::from_millis(100)), &mut rx).unwrap();
        for packet in &rx {
            assert!(tx.push(packet.path, packet.data));
        }
        storage = recycle(rx);
        driver.send(&mut tx).unwrap();
        tx.clear();
        while peer.recv(&mut buffer).is_ok() {
            echoed += 1;
        }
    }
    assert_eq!(allocations() - before, 0, "allocations for {echoed} packets");
    assert!(echoed > 1000, "{echoed}");
}

#[test]
fn io_uring_allocates_nothing_for_a_packet() {
    echo::<Uring>();
}

#[test]
fn recvmmsg_allocates_nothing_for_a_packet() {
    echo::<Mmsg>();
}
