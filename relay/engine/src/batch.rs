//! Packets in and out, many at a time.

use plausch_relay_api::limits::{DATAGRAM_BYTES, RTP_BYTES};
use std::net::SocketAddr;

/// Which of the shard's sockets: an index into the list of local addresses that the driver was opened with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LocalSocket(pub u8);

/// Where a packet came from or goes to: our socket and their address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    pub local: LocalSocket,
    pub remote: SocketAddr,
}

/// One received datagram. The engine decrypts it in place.
#[derive(Debug)]
pub struct RxPacket<'a> {
    pub path: Path,
    pub data: &'a mut [u8],
}

/// Consecutive datagrams to one path: all of `segment` bytes but the last, which may be shorter. The driver
/// sends a run as one message with UDP_SEGMENT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxRun {
    pub path: Path,
    pub start: usize,
    pub len: usize,
    pub segment: usize,
}

impl TxRun {
    /// How many datagrams the run holds.
    pub fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment)
    }
}

/// Datagrams to send: one arena of bytes and the runs in it. Allocated once.
#[derive(Debug)]
pub struct TxBatch {
    arena: Box<[u8]>,
    used: usize,
    reserved: Option<(Path, usize)>,
    runs: Vec<TxRun>,
    max_runs: usize,
    /// `false` where the device refuses UDP_SEGMENT: every datagram is its own run then.
    segmentation: bool,
    backlog: bool,
}

/// Kernel limits of one UDP_SEGMENT message: UDP_MAX_SEGMENTS is 64 (128 since Linux 6.9); and 64 KiB
/// less the IP and UDP headers.
const RUN_SEGMENTS: usize = 64;
const RUN_BYTES: usize = 65_000;

impl TxBatch {
    /// An arena of `bytes` bytes and `runs` runs.
    pub fn new(bytes: usize, runs: usize) -> Self {
        assert!(bytes >= DATAGRAM_BYTES.max(RTP_BYTES) && runs > 0);
        Self {
            arena: vec![0; bytes].into_boxed_slice(),
            used: 0,
            reserved: None,
            runs: Vec::with_capacity(runs),
            max_runs: runs,
            segmentation: true,
            backlog: false,
        }
    }

    /// Room for a datagram of up to `len` bytes, or `None` when the batch is full: the caller counts a drop.
    /// A reservation that is not committed is taken back by the next one.
    pub fn reserve(&mut self, path: Path, len: usize) -> Option<&mut [u8]> {
        if self.runs.len() == self.max_runs || self.arena.len() - self.used < len {
            self.reserved = None;
            return None;
        }
        self.reserved = Some((path, len));
        Some(&mut self.arena[self.used..self.used + len])
    }

    /// Whether so many datagrams with so many bytes together will find room.
    pub fn has_room(&self, datagrams: usize, bytes: usize) -> bool {
        self.max_runs - self.runs.len() >= datagrams && self.arena.len() - self.used >= bytes
    }

    /// Makes the first `len` bytes of the last reservation a datagram.
    pub fn commit(&mut self, len: usize) {
        let Some((path, reserved)) = self.reserved.take() else { return };
        debug_assert!(0 < len && len <= reserved);
        let start = self.used;
        self.used += len;
        if self.segmentation
            && let Some(run) = self.runs.last_mut()
            && run.path == path
            && run.start + run.len == start
            && len <= run.segment
            && run.len.is_multiple_of(run.segment)
            && run.len / run.segment < RUN_SEGMENTS
            && run.len + len <= RUN_BYTES
        {
            run.len += len;
            return;
        }
        self.runs.push(TxRun { path, start, len, segment: len });
    }

    /// Copies a finished datagram in. `false`: the batch is full.
    pub fn push(&mut self, path: Path, datagram: &[u8]) -> bool {
        let Some(buffer) = self.reserve(path, datagram.len()) else { return false };
        buffer.copy_from_slice(datagram);
        self.commit(datagram.len());
        true
    }

    /// The runs to send, in order.
    pub fn runs(&self) -> &[TxRun] {
        &self.runs
    }

    /// The bytes of one run.
    pub fn bytes(&self, run: &TxRun) -> &[u8] {
        &self.arena[run.start..run.start + run.len]
    }

    /// The single datagrams, for receivers that know no runs (tests, simulation).
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.runs.iter().flat_map(|run| self.bytes(run).chunks(run.segment).map(|datagram| (run.path, datagram)))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forgets everything that was committed.
    pub fn clear(&mut self) {
        self.used = 0;
        self.reserved = None;
        self.runs.clear();
    }

    /// Notes that there is more than can be done: more was received than one batch takes, or the network did not take
    /// everything that was sent. Where that goes on the engine leaves out pictures.
    pub fn note_backlog(&mut self) {
        self.backlog = true;
    }

    /// Whether that was noted since the last time.
    pub(crate) fn take_backlog(&mut self) -> bool {
        std::mem::take(&mut self.backlog)
    }

    /// Switches runs of more than one datagram on or off.
    pub fn set_segmentation(&mut self, on: bool) {
        self.segmentation = on;
    }
}
