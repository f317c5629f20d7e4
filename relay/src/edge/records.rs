//! Datagrams on their way between an edge thread and a shard: a ring of bytes, in which each record is a path and what
//! goes or came by it. Nothing is allocated, and small packets take little room.

use crate::ring::Wake;
use plausch_engine::{LocalSocket, Path};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// Lengths, kind, socket, family, port, address and scope.
const HEADER_BYTES: usize = 32;
/// The largest record's data: a run of datagrams has at most so many bytes.
pub const RECORD_BYTES: usize = u16::MAX as usize;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Datagrams of `segment` bytes, the last of which may be shorter.
    Data { segment: u16 },
    /// The connection is closed.
    Closed,
}

/// The end that writes. Nothing is read for certain before [`Self::flush`].
#[derive(Debug)]
pub struct Writer {
    ring: rtrb::Producer<u8>,
    wake: Wake,
    /// Ends of connections that found no room: at most as many as there are connections.
    closed: VecDeque<Path>,
    unsaid: bool,
}

/// The end that reads.
#[derive(Debug)]
pub struct Reader {
    ring: rtrb::Consumer<u8>,
}

/// A ring of `bytes` bytes.
pub fn records(bytes: usize, wake: Wake) -> (Writer, Reader) {
    let (producer, consumer) = rtrb::RingBuffer::new(bytes);
    (Writer { ring: producer, wake, closed: VecDeque::new(), unsaid: false }, Reader { ring: consumer })
}

impl Writer {
    /// Writes datagrams. `false`: there is no room, and they are lost.
    pub fn data(&mut self, path: Path, data: &[u8], segment: usize) -> bool {
        debug_assert!(data.len() <= RECORD_BYTES && segment <= RECORD_BYTES);
        // What comes from a new connection does not overtake the end of the one before.
        self.closed.is_empty() && self.write(path, Kind::Data { segment: segment as u16 }, data)
    }

    /// Says that a connection is closed, which always arrives.
    pub fn closed(&mut self, path: Path) {
        if !self.closed.is_empty() || !self.write(path, Kind::Closed, &[]) {
            self.closed.push_back(path);
        }
    }

    /// Wakes the reader if there is news. `false`: something still waits for room, come again soon.
    pub fn flush(&mut self) -> bool {
        while let Some(&path) = self.closed.front() {
            if !self.write(path, Kind::Closed, &[]) {
                break;
            }
            self.closed.pop_front();
        }
        if std::mem::take(&mut self.unsaid) {
            self.wake.wake();
        }
        self.closed.is_empty()
    }

    fn write(&mut self, path: Path, kind: Kind, data: &[u8]) -> bool {
        if self.ring.slots() < HEADER_BYTES + data.len() {
            return false;
        }
        // The reader waits for all of a record, as its header may be there before its data.
        let written = self.ring.push_entire_slice(&encode(path, kind, data.len())).is_ok()
            && self.ring.push_entire_slice(data).is_ok();
        debug_assert!(written, "there was room");
        self.unsaid = true;
        written
    }
}

impl Reader {
    /// Copies the next record's data into `into` and says how long it is. What is longer than `into` is cut off, which
    /// cannot happen between ends that agree about it.
    pub fn next(&mut self, into: &mut [u8]) -> Option<(Path, Kind, usize)> {
        let mut header = [0; HEADER_BYTES];
        {
            let chunk = self.ring.read_chunk(HEADER_BYTES).ok()?;
            let (first, second) = chunk.as_slices();
            header[..first.len()].copy_from_slice(first);
            header[first.len()..].copy_from_slice(second);
        }
        let (path, kind, len) = decode(&header);
        let chunk = self.ring.read_chunk(HEADER_BYTES + len).ok()?;
        let (first, second) = chunk.as_slices();
        let fitting = len.min(into.len());
        let from_first = &first[HEADER_BYTES.min(first.len())..];
        let from_second = &second[HEADER_BYTES.saturating_sub(first.len())..];
        let split = from_first.len().min(fitting);
        into[..split].copy_from_slice(&from_first[..split]);
        into[split..fitting].copy_from_slice(&from_second[..fitting - split]);
        chunk.commit_all();
        Some((path, kind, fitting))
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

fn encode(path: Path, kind: Kind, len: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (kind, segment) = match kind {
        Kind::Data { segment } => (0, segment),
        Kind::Closed => (1, 0),
    };
    header[0..2].copy_from_slice(&(len as u16).to_ne_bytes());
    header[2..4].copy_from_slice(&segment.to_ne_bytes());
    header[4..6].copy_from_slice(&path.local.0.to_ne_bytes());
    header[6..8].copy_from_slice(&path.remote.port().to_ne_bytes());
    header[8] = kind;
    match path.remote {
        SocketAddr::V4(v4) => {
            header[9] = 4;
            header[12..16].copy_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            header[9] = 6;
            header[12..28].copy_from_slice(&v6.ip().octets());
            header[28..32].copy_from_slice(&v6.scope_id().to_ne_bytes());
        }
    }
    header
}

fn decode(header: &[u8; HEADER_BYTES]) -> (Path, Kind, usize) {
    let [l0, l1, s0, s1, n0, n1, p0, p1, kind, family, _, _, address @ ..] = *header;
    let port = u16::from_ne_bytes([p0, p1]);
    let [a0, a1, a2, a3, ..] = address;
    let remote = if family == 4 {
        SocketAddr::new(IpAddr::from([a0, a1, a2, a3]), port)
    } else {
        let mut octets = [0; 16];
        octets.copy_from_slice(&address[..16]);
        let [.., c0, c1, c2, c3] = address;
        SocketAddrV6::new(octets.into(), port, 0, u32::from_ne_bytes([c0, c1, c2, c3])).into()
    };
    let segment = u16::from_ne_bytes([s0, s1]);
    let kind = if kind == 1 { Kind::Closed } else { Kind::Data { segment } };
    (Path { local: LocalSocket(u16::from_ne_bytes([n0, n1])), remote }, kind, u16::from_ne_bytes([l0, l1]).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    fn path(port: u16) -> Path {
        Path { local: LocalSocket(LocalSocket::FIRST_EDGE + 3), remote: ([192, 0, 2, 1], port).into() }
    }

    fn ring(bytes: usize) -> (Writer, Reader) {
        records(bytes, Wake::Task(Arc::new(Notify::new())))
    }

    #[test]
    fn records_come_as_they_went_wherever_the_ring_ends() {
        // A prime number of bytes, so that the end falls everywhere.
        let (mut writer, mut reader) = ring(499);
        let scoped = SocketAddrV6::new("fe80::7".parse().unwrap(), 9, 0, 5);
        let six = Path { local: LocalSocket(u16::MAX), remote: scoped.into() };
        let mut into = [0; 400];
        for round in 0..2000usize {
            let data = vec![round as u8; round % 200];
            let path = if round % 2 == 0 { path(round as u16) } else { six };
            assert!(writer.data(path, &data, 77));
            writer.closed(path);
            assert_eq!(reader.next(&mut into), Some((path, Kind::Data { segment: 77 }, data.len())));
            assert_eq!(into[..data.len()], data);
            assert_eq!(reader.next(&mut into), Some((path, Kind::Closed, 0)));
            assert_eq!(reader.next(&mut into), None);
        }
    }

    #[test]
    fn data_is_lost_where_there_is_no_room_and_the_end_of_a_connection_is_not() {
        let (mut writer, mut reader) = ring(2 * HEADER_BYTES + 100);
        assert!(writer.data(path(1), &[1; 100], 100));
        assert!(!writer.data(path(1), &[1; 100], 100));
        for port in 1..=3 {
            writer.closed(path(port));
        }
        assert!(!writer.flush());
        assert!(!writer.data(path(1), &[], 1), "nothing overtakes the end");
        let mut into = [0; 200];
        assert_eq!(reader.next(&mut into), Some((path(1), Kind::Data { segment: 100 }, 100)));
        let mut closed = Vec::new();
        while closed.len() < 3 {
            writer.flush();
            while let Some((path, kind, _)) = reader.next(&mut into) {
                assert_eq!(kind, Kind::Closed);
                closed.push(path);
            }
        }
        assert_eq!(closed, [path(1), path(2), path(3)]);
        assert!(writer.flush());
        assert!(writer.data(path(1), &[], 1));
    }

    #[test]
    fn half_a_record_is_none() {
        let (mut producer, consumer) = rtrb::RingBuffer::new(100);
        let mut reader = Reader { ring: consumer };
        let bytes = [&encode(path(1), Kind::Data { segment: 9 }, 9)[..], &[5; 9]].concat();
        let mut into = [0; 20];
        for byte in &bytes {
            assert_eq!(reader.next(&mut into), None);
            producer.push(*byte).unwrap();
        }
        assert_eq!(reader.next(&mut into), Some((path(1), Kind::Data { segment: 9 }, 9)));
    }
}
