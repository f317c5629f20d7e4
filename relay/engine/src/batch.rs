//! Packets in and out, many at a time.

use plausch_relay_api::ShardId;
use plausch_relay_api::limits::{DATAGRAM_BYTES, RTP_BYTES, SHARDS};
use std::fmt;
use std::net::SocketAddr;

/// Where a shard takes packets: an index into the list of sockets that the driver was opened with; or from
/// [`Self::FIRST_RELAY_PORT`] on a port of a TURN allocation, with a number that the engine gives; or from
/// [`Self::FIRST_EDGE`] on a TCP listener of the edge, whose clients' streams come as one packet for each message.
/// A connection is told from others by its listener and the client's address: the edge refuses a second one with the
/// same. Towards the edge messages are not padded: that is for the stream (RFC 8656, section 12.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LocalSocket(pub u16);

impl LocalSocket {
    pub const FIRST_RELAY_PORT: u16 = 0x0200;
    /// No socket: the other shards of this relay, by number. What allocations of different shards send each other goes so.
    const FIRST_NEIGHBOUR: u16 = Self::FIRST_INNER - SHARDS as u16;
    /// No socket: a TURN client of this shard reaches its media address with this place in the list in memory. Such
    /// paths never leave the engine.
    const FIRST_INNER: u16 = 0xf000;
    pub const FIRST_EDGE: u16 = 0xff00;
    /// How many relay ports a shard can have open, and how many media addresses there can be.
    pub(crate) const RELAY_PORTS: usize = (Self::FIRST_NEIGHBOUR - Self::FIRST_RELAY_PORT) as usize;
    pub(crate) const INNER_ADDRESSES: usize = (Self::FIRST_EDGE - Self::FIRST_INNER) as usize;

    /// A port that [`crate::Effect`]s open and close.
    pub fn is_relay_port(self) -> bool {
        (Self::FIRST_RELAY_PORT..Self::FIRST_NEIGHBOUR).contains(&self.0)
    }

    /// Another shard of this relay: a datagram on such a path is handed to that shard's engine, with the number of the
    /// shard that it comes from in its path and everything else as it is.
    pub fn neighbour(shard: ShardId) -> Self {
        debug_assert!(usize::from(shard.0) < SHARDS);
        Self(Self::FIRST_NEIGHBOUR + shard.0)
    }

    /// The shard, if this is one.
    pub fn as_neighbour(self) -> Option<ShardId> {
        (Self::FIRST_NEIGHBOUR..Self::FIRST_INNER).contains(&self.0).then(|| ShardId(self.0 - Self::FIRST_NEIGHBOUR))
    }

    /// Packets from here are TURN's, whatever they hold.
    pub(crate) fn is_turns(self) -> bool {
        (Self::FIRST_RELAY_PORT..Self::FIRST_INNER).contains(&self.0)
    }

    /// A listener of the edge: packets go to it and not to the driver.
    pub fn is_edge(self) -> bool {
        self.0 >= Self::FIRST_EDGE
    }

    /// See [`Self::FIRST_INNER`].
    pub(crate) fn inner(place: u16) -> Self {
        debug_assert!(usize::from(place) < Self::INNER_ADDRESSES);
        Self(Self::FIRST_INNER + place)
    }

    /// The place, if this is no socket.
    pub(crate) fn inner_place(self) -> Option<usize> {
        (Self::FIRST_INNER..Self::FIRST_EDGE).contains(&self.0).then(|| usize::from(self.0 - Self::FIRST_INNER))
    }
}

/// Where a packet came from or goes to: our socket and their address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    pub local: LocalSocket,
    pub remote: SocketAddr,
}

/// Without the address: it is a person's.
impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("local", &self.local).finish_non_exhaustive()
    }
}

/// One received datagram. The engine decrypts it in place.
#[derive(Debug)]
pub struct RxPacket<'a> {
    pub path: Path,
    pub data: &'a mut [u8],
}

/// Consecutive datagrams to one path: all of `segment` bytes but the last, which may be shorter; or one that is empty. The
/// driver sends a run as one message with UDP_SEGMENT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxRun {
    pub path: Path,
    pub start: usize,
    pub len: usize,
    pub segment: usize,
    /// There is sound in it: where the network does not take everything it is worth a second try.
    pub sound: bool,
    /// An answer to somebody unknown.
    pub stranger: bool,
}

impl TxRun {
    /// How many datagrams the run holds.
    pub fn datagrams(&self) -> usize {
        // An empty datagram is a run of its own.
        self.len.div_ceil(self.segment).max(1)
    }
}

/// Bytes of ChannelData before the data: channel number and length (RFC 8656, section 12.4).
pub(crate) const CHANNEL_HEADER_LEN: usize = 4;

/// Datagrams to send: one arena of bytes and the runs in it. Allocated once.
#[derive(Debug)]
pub struct TxBatch {
    arena: Box<[u8]>,
    used: usize,
    reserved: Option<(Path, usize)>,
    runs: Vec<TxRun>,
    max_runs: usize,
    /// There are runs on paths that are no socket. Each of their datagrams has room for a header of ChannelData in front.
    has_inner: bool,
    has_strangers: bool,
    /// There are runs to other shards.
    has_neighbours: bool,
    /// `false` where the device refuses UDP_SEGMENT: every datagram is its own run then.
    segmentation: bool,
}

/// Kernel limits of one UDP_SEGMENT message: UDP_MAX_SEGMENTS is 64 (128 since Linux 6.9); and 64 KiB
/// less the IP and UDP headers.
const RUN_SEGMENTS: usize = 64;
const RUN_BYTES: usize = 65_000;

/// Room in front of each datagram.
fn head_of(path: Path) -> usize {
    if path.local.inner_place().is_some() { CHANNEL_HEADER_LEN } else { 0 }
}

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
            has_inner: false,
            has_strangers: false,
            has_neighbours: false,
            segmentation: true,
        }
    }

    /// Room for a datagram of up to `len` bytes, or `None` when the batch is full: the caller counts a drop.
    /// A reservation that is not committed is taken back by the next one.
    pub fn reserve(&mut self, path: Path, len: usize) -> Option<&mut [u8]> {
        let head = head_of(path);
        if self.runs.len() == self.max_runs || self.arena.len() - self.used < head + len {
            self.reserved = None;
            return None;
        }
        self.reserved = Some((path, len));
        Some(&mut self.arena[self.used + head..self.used + head + len])
    }

    /// Whether so many datagrams with so many bytes together will find room.
    pub fn has_room(&self, datagrams: usize, bytes: usize) -> bool {
        let bytes = bytes + datagrams * CHANNEL_HEADER_LEN;
        self.max_runs - self.runs.len() >= datagrams && self.arena.len() - self.used >= bytes
    }

    /// Makes the first `len` bytes of the last reservation a datagram.
    pub fn commit(&mut self, len: usize) {
        self.commit_as(len, false);
    }

    /// Makes the last reservation a datagram that goes out after all others: an answer to somebody unknown, of whom there
    /// may be very many, and nobody's conversation shall wait for them. See [`Self::put_strangers_last`].
    pub(crate) fn commit_to_stranger(&mut self, len: usize) {
        self.has_strangers = true;
        self.commit_as(len, true);
    }

    fn commit_as(&mut self, len: usize, stranger: bool) {
        let Some((path, reserved)) = self.reserved.take() else { return };
        debug_assert!(len <= reserved);
        let head = head_of(path);
        self.has_inner |= head > 0;
        let len = head + len;
        let start = self.used;
        self.used += len;
        if self.segmentation
            && let Some(run) = self.runs.last_mut()
            && run.path == path
            && run.stranger == stranger
            && run.start + run.len == start
            && run.len > 0
            && len > 0
            && len <= run.segment
            && run.len.is_multiple_of(run.segment)
            && run.len / run.segment < RUN_SEGMENTS
            && run.len + len <= RUN_BYTES
        {
            run.len += len;
            return;
        }
        self.runs.push(TxRun { path, start, len, segment: len.max(1), sound: false, stranger });
    }

    /// Puts the runs into the order in which they are to go out.
    pub(crate) fn put_strangers_last(&mut self) {
        if std::mem::take(&mut self.has_strangers) {
            // In the arena they have the order in which they were written, so that this changes no order but theirs.
            self.runs.sort_unstable_by_key(|run| (run.stranger, run.start));
        }
    }

    /// The datagram that was committed last is sound.
    pub fn mark_sound(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.sound = true;
        }
    }

    /// Commits what was written, if it was. `false`: the reservation is taken back.
    pub(crate) fn commit_if(&mut self, written: Option<usize>) -> bool {
        match written {
            Some(len) => self.commit(len),
            None => self.reserved = None,
        }
        written.is_some()
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

    /// Takes out the runs for which `keep` says no, for those that another way than the driver's takes.
    pub fn retain_runs(&mut self, mut keep: impl FnMut(&TxRun, &[u8]) -> bool) {
        let arena = &self.arena;
        self.runs.retain(|run| keep(run, &arena[run.start..run.start + run.len]));
    }

    /// The single datagrams, for receivers that know no runs (tests, simulation).
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.runs.iter().flat_map(|run| {
            let bytes = self.bytes(run);
            let empty = bytes.is_empty().then_some(bytes);
            bytes.chunks(run.segment).chain(empty).map(|datagram| (run.path, datagram))
        })
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
        (self.has_inner, self.has_strangers, self.has_neighbours) = (false, false, false);
    }

    /// Whether there are runs to other shards.
    pub fn has_neighbours(&self) -> bool {
        self.has_neighbours
    }

    /// The datagram that was committed last is for another shard.
    pub(crate) fn mark_neighbour(&mut self) {
        self.has_neighbours = true;
    }

    /// Whether there are runs on paths that are no socket.
    pub(crate) fn has_inner(&self) -> bool {
        self.has_inner
    }

    /// Makes an inner run ChannelData for a TURN client, where it is.
    pub(crate) fn wrap(&mut self, run: usize, client: Path, channel: u16) {
        let Some(run) = self.runs.get_mut(run) else { return };
        run.path = client;
        let [n0, n1] = channel.to_be_bytes();
        let Some(bytes) = self.arena.get_mut(run.start..run.start + run.len) else { return };
        for datagram in bytes.chunks_mut(run.segment) {
            let [l0, l1] = ((datagram.len() - CHANNEL_HEADER_LEN) as u16).to_be_bytes();
            if let Some(header) = datagram.first_chunk_mut::<CHANNEL_HEADER_LEN>() {
                *header = [n0, n1, l0, l1];
            }
        }
    }

    /// Has one datagram of an inner run written anew for a TURN client, longer by at most `more` bytes. `false`: it did
    /// not fit.
    pub(crate) fn copy_inner(
        &mut self,
        run: usize,
        nth: usize,
        client: Path,
        more: usize,
        write: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
    ) -> bool {
        let Some(&TxRun { start, len, segment, .. }) = self.runs.get(run) else { return false };
        let (from, to) = (start + nth * segment + CHANNEL_HEADER_LEN, start + len.min((nth + 1) * segment));
        if from > to || self.reserve(client, to - from + more).is_none() {
            return false;
        }
        let (written, free) = self.arena.split_at_mut(self.used);
        let result = written.get(from..to).and_then(|datagram| write(datagram, free.get_mut(..to - from + more)?));
        self.commit_if(result)
    }

    /// Takes an inner run back.
    pub(crate) fn take_back(&mut self, run: usize) {
        if let Some(run) = self.runs.get_mut(run) {
            run.segment = 0;
        }
    }

    /// All inner runs are wrapped or taken back.
    pub(crate) fn forget_inner(&mut self) {
        self.runs.retain(|run| run.segment > 0);
        self.has_inner = false;
    }

    /// Switches runs of more than one datagram on or off.
    pub fn set_segmentation(&mut self, on: bool) {
        self.segmentation = on;
    }
}
