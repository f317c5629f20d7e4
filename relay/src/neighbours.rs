//! What shards hand each other: datagrams between allocations of different shards. They are few, so one queue for each
//! shard does, which is locked once for a batch and not for a packet.

use crate::driver::Waker;
use plausch_engine::{LocalSocket, Path, RxPacket};
use plausch_relay_api::ShardId;
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES, NEIGHBOUR_BYTES};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// In front of each datagram: shard, length, and the address of its path.
const HEADER_BYTES: usize = 2 + 2 + 1 + 16 + 2;

/// What has come for one shard from the others.
#[derive(Debug)]
pub struct Inbox {
    records: Mutex<Vec<u8>>,
    /// So that a shard that gets nothing takes no lock.
    filled: AtomicBool,
    waker: Waker,
}

impl Inbox {
    /// An empty one of the shard that is woken so.
    pub fn new(waker: Waker) -> Self {
        Self { records: Mutex::default(), filled: AtomicBool::new(false), waker }
    }

    /// Puts datagrams of a shard in, all of `segment` bytes but the last. Answers how many there was no room for.
    pub fn put(&self, from: ShardId, to: SocketAddr, data: &[u8], segment: usize) -> u64 {
        let mut refused = 0;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for datagram in data.chunks(segment) {
            if datagram.len() > DATAGRAM_BYTES || records.len() + HEADER_BYTES + datagram.len() > NEIGHBOUR_BYTES {
                refused += 1;
                continue;
            }
            records.extend_from_slice(&encode(from, to, datagram.len()));
            records.extend_from_slice(datagram);
        }
        drop(records);
        if !self.filled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
        refused
    }

    /// Exchanges all that there is for an empty buffer. `false`: there was nothing.
    pub fn take(&self, buffer: &mut Vec<u8>) -> bool {
        if !self.filled.load(Ordering::Relaxed) || !self.filled.swap(false, Ordering::AcqRel) {
            return false;
        }
        buffer.clear();
        std::mem::swap(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner), buffer);
        !buffer.is_empty()
    }
}

/// Takes the datagrams of one batch from the records; what is left of them.
pub fn batch<'d>(mut records: &'d mut [u8], rx: &mut Vec<RxPacket<'d>>) -> &'d mut [u8] {
    while rx.len() < BATCH_PACKETS {
        let Some((header, rest)) = std::mem::take(&mut records).split_first_chunk_mut::<HEADER_BYTES>() else { break };
        let (path, len) = decode(header);
        let Some((data, rest)) = rest.split_at_mut_checked(len) else { break };
        rx.push(RxPacket { path, data });
        records = rest;
    }
    records
}

fn encode(from: ShardId, to: SocketAddr, len: usize) -> [u8; HEADER_BYTES] {
    let (family, ip) = match to.ip() {
        IpAddr::V4(ip) => (4, ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => (6, ip),
    };
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&from.0.to_ne_bytes());
    header[2..4].copy_from_slice(&(len as u16).to_ne_bytes());
    header[4] = family;
    header[5..21].copy_from_slice(&ip.octets());
    header[21..].copy_from_slice(&to.port().to_ne_bytes());
    header
}

fn decode(header: &[u8; HEADER_BYTES]) -> (Path, usize) {
    let [f0, f1, l0, l1, family, ip @ .., p0, p1] = *header;
    let ip = Ipv6Addr::from(ip);
    let ip = if family == 4 { IpAddr::V6(ip).to_canonical() } else { ip.into() };
    let local = LocalSocket::neighbour(ShardId(u16::from_ne_bytes([f0, f1])));
    let remote = SocketAddr::new(ip, u16::from_ne_bytes([p0, p1]));
    (Path { local, remote }, u16::from_ne_bytes([l0, l1]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_as_they_went_in_and_no_more_than_there_is_room_for() {
        let inbox = Inbox::new(Waker::new().unwrap());
        let to: [SocketAddr; 2] = ["198.41.0.4:61000".parse().unwrap(), "[2a01:4f8::4]:61001".parse().unwrap()];
        let mut records = Vec::new();
        assert!(!inbox.take(&mut records));
        assert_eq!(inbox.put(ShardId(3), to[0], &[7; 250], 100), 0);
        assert_eq!(inbox.put(ShardId(4), to[1], &[8; 20], 20), 0);
        assert!(inbox.take(&mut records));
        let mut rx = Vec::new();
        assert!(batch(&mut records, &mut rx).is_empty());
        let seen: Vec<_> = rx.iter().map(|packet| (packet.path, packet.data.len(), packet.data[0])).collect();
        let path = |shard, remote| Path { local: LocalSocket::neighbour(ShardId(shard)), remote };
        let first = path(3, to[0]);
        assert_eq!(seen, [(first, 100, 7), (first, 100, 7), (first, 50, 7), (path(4, to[1]), 20, 8)]);
        assert!(!inbox.take(&mut Vec::new()));

        let flood = vec![0; 1_000_000];
        let refused = inbox.put(ShardId(3), to[0], &flood, 1_000);
        assert_eq!(refused as usize, 1_000 - NEIGHBOUR_BYTES / (1_000 + HEADER_BYTES));
        assert!(inbox.take(&mut records));
        let (mut rest, mut batches) = (&mut records[..], Vec::new());
        while !rest.is_empty() {
            let mut rx = Vec::new();
            rest = batch(rest, &mut rx);
            batches.push(rx.len());
        }
        assert_eq!(batches.iter().sum::<usize>(), 1_000 - refused as usize);
        assert!(batches.iter().all(|&packets| packets <= BATCH_PACKETS));
    }
}
