//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).

use super::writer::{Body, RtcpWriter};
use super::{TRANSPORT_LAYER_FEEDBACK, TRANSPORT_WIDE};
use crate::time::Time;
use plausch_relay_api::limits::FEEDBACK_WINDOW_PACKETS;

/// Arrival times count in ticks of 250 µs, reference times in 64 ms.
const TICK_US: u64 = 250;
const TICKS_PER_REFERENCE: u64 = 256;

/// Packet status symbols (section 3.1.1).
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// Statuses of one chunk: run length has 13 bits, vectors hold 14 one-bit or 7 two-bit symbols.
const RUN_LENGTH_MAX: usize = (1 << 13) - 1;
const ONE_BIT_SYMBOLS: usize = 14;
const TWO_BIT_SYMBOLS: usize = 7;

/// What feedback says of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketStatus {
    Lost,
    /// Arrived `delta` × 250 µs after the previous one that arrived (the first: after the reference time).
    Received {
        delta: i16,
    },
}

/// A feedback packet. Its lengths are checked when it is parsed.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedback<'a> {
    pub sender: u32,
    pub media: u32,
    /// Transport sequence number of the first status.
    pub base_sequence: u16,
    /// How many statuses there are.
    pub status_count: u16,
    /// In units of 64 ms, 24 bits, signed.
    pub reference_time: i32,
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// `None`: fewer chunks or deltas than the status count asks for.
    pub(super) fn parse(sender: u32, media: u32, fci: &'a [u8]) -> Option<Self> {
        let (&[b0, b1, s0, s1, t0, t1, t2, feedback_count], chunks) = fci.split_first_chunk::<8>()?;
        let status_count = u16::from_be_bytes([s0, s1]);
        // Chunk by chunk, not status by status: a run speaks of thousands of packets in two bytes.
        let mut remaining = status_count;
        let mut deltas_len = 0;
        let mut deltas = chunks;
        while remaining > 0 {
            let (word, rest) = deltas.split_first_chunk::<2>()?;
            let chunk = Chunk::read(u16::from_be_bytes(*word));
            let count = chunk.left.min(remaining);
            deltas_len += chunk.deltas_len(count);
            remaining -= count;
            deltas = rest;
        }
        // Padding may follow the deltas.
        if deltas.len() < deltas_len {
            return None;
        }
        Some(Self {
            sender,
            media,
            base_sequence: u16::from_be_bytes([b0, b1]),
            status_count,
            // Sign-extends 24 bits.
            reference_time: i32::from_be_bytes([t0, t1, t2, 0]) >> 8,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// Sequence number and status of each packet, in order.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, PacketStatus)> + use<'a> {
        let mut deltas = self.deltas;
        let mut sequence = self.base_sequence;
        let symbols = Symbols { chunks: self.chunks, chunk: Chunk::default(), remaining: self.status_count };
        symbols.map_while(move |symbol| {
            let (delta, rest) = deltas.split_at_checked(delta_len(symbol))?;
            deltas = rest;
            let status = match *delta {
                [small] => PacketStatus::Received { delta: i16::from(small) },
                [high, low] => PacketStatus::Received { delta: i16::from_be_bytes([high, low]) },
                _ => PacketStatus::Lost,
            };
            let this = sequence;
            sequence = sequence.wrapping_add(1);
            Some((this, status))
        })
    }
}

/// Bytes of the delta that goes with a symbol. The reserved symbol has none.
fn delta_len(symbol: u8) -> usize {
    match symbol {
        SMALL_DELTA => 1,
        LARGE_DELTA => 2,
        _ => 0,
    }
}

/// Iterates over status symbols.
struct Symbols<'a> {
    /// Not yet read.
    chunks: &'a [u8],
    chunk: Chunk,
    remaining: u16,
}

/// What is left of the chunk at hand: symbols of `bits` bits at the top of `vector`, or one symbol again and again.
#[derive(Clone, Copy, Default)]
struct Chunk {
    left: u16,
    vector: u16,
    /// 0: a run.
    bits: u32,
    run_symbol: u8,
}

impl Chunk {
    fn read(word: u16) -> Self {
        match word >> 14 {
            // One-bit symbols: not received, or received with a small delta.
            0b10 => Self { left: ONE_BIT_SYMBOLS as u16, vector: word << 2, bits: 1, run_symbol: 0 },
            0b11 => Self { left: TWO_BIT_SYMBOLS as u16, vector: word << 2, bits: 2, run_symbol: 0 },
            _ => Self { left: word & 0x1fff, vector: 0, bits: 0, run_symbol: (word >> 13) as u8 & 0x03 },
        }
    }

    /// Bytes of the deltas of the next `count` packets.
    fn deltas_len(mut self, count: u16) -> usize {
        if self.bits == 0 {
            return usize::from(count) * delta_len(self.run_symbol);
        }
        std::iter::from_fn(|| self.next()).take(usize::from(count)).map(delta_len).sum()
    }

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        if self.bits == 0 {
            return Some(self.run_symbol);
        }
        let symbol = (self.vector >> (16 - self.bits)) as u8;
        self.vector <<= self.bits;
        Some(symbol)
    }
}

impl Iterator for Symbols<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.remaining = self.remaining.checked_sub(1)?;
        loop {
            if let Some(symbol) = self.chunk.next() {
                return Some(symbol);
            }
            // A run of no packets is skipped; the chunks come to an end.
            let (word, rest) = self.chunks.split_first_chunk::<2>()?;
            self.chunk = Chunk::read(u16::from_be_bytes(*word));
            self.chunks = rest;
        }
    }
}

/// Remembers when packets arrived and writes feedback about them.
#[derive(Debug)]
pub struct ArrivalRecorder {
    /// Arrival of sequence number `s` at `s % FEEDBACK_WINDOW_PACKETS`, in ticks, plus one; 0: not arrived.
    arrivals: Box<[u64; FEEDBACK_WINDOW_PACKETS]>,
    /// Unwrapped sequence numbers: the window speaks of `begin..end`, feedback goes on at `next`.
    begin: u64,
    next: u64,
    end: u64,
    feedback_count: u8,
}

impl ArrivalRecorder {
    /// Nothing arrived yet. Allocates its window once.
    pub fn new() -> Self {
        Self { arrivals: Box::new([0; FEEDBACK_WINDOW_PACKETS]), begin: 0, next: 0, end: 0, feedback_count: 0 }
    }

    /// A packet with this transport sequence number arrived. One that comes late, after it was reported lost, is
    /// reported again with those that followed it, as long as the window remembers them.
    pub fn record(&mut self, sequence: u16, now: Time) {
        let sequence = self.unwrap(sequence);
        if sequence < self.begin {
            return;
        }
        if sequence >= self.end {
            self.advance(sequence);
        }
        let place = self.place(sequence);
        if *place == 0 {
            *place = now.0 / TICK_US + 1;
            self.next = self.next.min(sequence);
        }
    }

    /// How many statuses wait to be reported. Report at least when half of the window waits.
    pub fn pending(&self) -> usize {
        (self.end - self.next) as usize
    }

    /// Appends feedback about what waits; call again while it returns `true` and [`Self::pending`] is not 0.
    /// `false`: nothing was written, because nothing waits or it does not fit.
    pub fn write(&mut self, writer: &mut RtcpWriter<'_>, sender: u32, media: u32) -> bool {
        // Begins at the first packet that arrived: its time is what the deltas count from.
        let Some(first) = (self.next..self.end).find(|&sequence| self.arrival(sequence).is_some()) else {
            return false;
        };
        let reference = self.arrival(first).unwrap_or(0) / TICKS_PER_REFERENCE;
        let (symbols, deltas) = self.collect(self.next, reference * TICKS_PER_REFERENCE);
        let base_sequence = (self.next & 0xffff) as u16;
        let written = writer.packet(TRANSPORT_WIDE, TRANSPORT_LAYER_FEEDBACK, |body| {
            body.u32(sender);
            body.u32(media);
            body.u16(base_sequence);
            body.u16(symbols.as_slice().len() as u16);
            body.u32((reference as u32) << 8 | u32::from(self.feedback_count));
            write_chunks(body, symbols.as_slice());
            for (&symbol, &delta) in symbols.as_slice().iter().zip(deltas.iter()) {
                match symbol {
                    SMALL_DELTA => body.bytes(&[delta as u8]),
                    LARGE_DELTA => body.bytes(&delta.to_be_bytes()),
                    _ => {}
                }
            }
        });
        if written {
            self.next += symbols.as_slice().len() as u64;
            self.feedback_count = self.feedback_count.wrapping_add(1);
        }
        written
    }

    /// Symbols and deltas from `begin` on, up to the first delta that has no room in 16 bits: the next feedback
    /// begins there with a reference time of its own.
    fn collect(&self, begin: u64, mut previous: u64) -> (SymbolList, [i16; FEEDBACK_WINDOW_PACKETS]) {
        let mut symbols = SymbolList { symbols: [NOT_RECEIVED; FEEDBACK_WINDOW_PACKETS], len: 0 };
        let mut deltas = [0; FEEDBACK_WINDOW_PACKETS];
        for (sequence, delta_place) in (begin..self.end).zip(deltas.iter_mut()) {
            let symbol = match self.arrival(sequence) {
                None => NOT_RECEIVED,
                Some(arrival) => {
                    let Ok(delta) = i16::try_from(arrival.wrapping_sub(previous) as i64) else { break };
                    previous = arrival;
                    *delta_place = delta;
                    if (0..=0xff).contains(&delta) { SMALL_DELTA } else { LARGE_DELTA }
                }
            };
            symbols.push(symbol);
        }
        (symbols, deltas)
    }

    /// Makes `sequence` the newest one.
    fn advance(&mut self, sequence: u64) {
        const WINDOW: u64 = FEEDBACK_WINDOW_PACKETS as u64;
        if self.end == 0 || sequence - self.end >= WINDOW {
            // The first one, or a jump beyond the window: nothing is said of what lies between.
            self.arrivals.fill(0);
            (self.begin, self.next) = (sequence, sequence);
        } else {
            for skipped in self.end..=sequence {
                *self.place(skipped) = 0;
            }
        }
        self.end = sequence + 1;
        self.begin = self.begin.max(self.end.saturating_sub(WINDOW));
        self.next = self.next.max(self.begin);
    }

    /// The unwrapped number nearest to the newest one.
    fn unwrap(&self, sequence: u16) -> u64 {
        if self.end == 0 {
            // One round up, so that numbers before the first do not go below zero.
            return 1 << 16 | u64::from(sequence);
        }
        let newest = self.end - 1;
        let ahead = sequence.wrapping_sub((newest & 0xffff) as u16) as i16;
        newest.saturating_add_signed(i64::from(ahead))
    }

    fn place(&mut self, sequence: u64) -> &mut u64 {
        // The remainder is an index of the array: never out of bounds.
        &mut self.arrivals[(sequence % FEEDBACK_WINDOW_PACKETS as u64) as usize]
    }

    fn arrival(&self, sequence: u64) -> Option<u64> {
        self.arrivals[(sequence % FEEDBACK_WINDOW_PACKETS as u64) as usize].checked_sub(1)
    }
}

impl Default for ArrivalRecorder {
    fn default() -> Self {
        Self::new()
    }
}

struct SymbolList {
    symbols: [u8; FEEDBACK_WINDOW_PACKETS],
    len: usize,
}

impl SymbolList {
    fn push(&mut self, symbol: u8) {
        if let Some(place) = self.symbols.get_mut(self.len) {
            *place = symbol;
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.symbols.get(..self.len).unwrap_or(&[])
    }
}

/// Takes the chunk that says most about the next packets. Only the last vector may be partly filled: what is left
/// of it speaks of packets beyond the count.
fn write_chunks(body: &mut Body<'_>, mut symbols: &[u8]) {
    while let Some(&first) = symbols.first() {
        let run = symbols.iter().take(RUN_LENGTH_MAX).take_while(|&&symbol| symbol == first).count();
        let one_bit_len = symbols.len().min(ONE_BIT_SYMBOLS);
        let one_bit = symbols.iter().take(one_bit_len).all(|&symbol| symbol != LARGE_DELTA);
        let vector_len = if one_bit { one_bit_len } else { symbols.len().min(TWO_BIT_SYMBOLS) };
        let taken = if run >= vector_len {
            body.u16(u16::from(first) << 13 | run as u16);
            run
        } else if one_bit {
            body.u16(0b10 << 14 | packed(symbols, vector_len, 1) << (ONE_BIT_SYMBOLS - vector_len));
            vector_len
        } else {
            body.u16(0b11 << 14 | packed(symbols, vector_len, 2) << ((TWO_BIT_SYMBOLS - vector_len) * 2));
            vector_len
        };
        symbols = symbols.get(taken..).unwrap_or(&[]);
    }
}

/// The first `count` symbols, `bits` bits each.
fn packed(symbols: &[u8], count: usize, bits: u32) -> u16 {
    symbols.iter().take(count).fold(0, |word, &symbol| word << bits | u16::from(symbol))
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, packets};
    use super::*;
    use ::rtcp::transport_feedbacks::transport_layer_cc::{SymbolTypeTcc, TransportLayerCc};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use webrtc_util::marshal::Unmarshal;

    /// Arrival times by sequence number, in ticks.
    type Arrivals = BTreeMap<u16, u64>;

    /// Everything that the recorder has to say, as feedback packets.
    fn write_all(recorder: &mut ArrivalRecorder) -> Vec<Vec<u8>> {
        let mut written = Vec::new();
        while recorder.pending() > 0 {
            let mut buffer = [0; 1200];
            let mut writer = RtcpWriter::new(&mut buffer);
            if !recorder.write(&mut writer, 1, 2) {
                break;
            }
            let len = writer.len();
            written.push(buffer[..len].to_vec());
        }
        written
    }

    fn parse(bytes: &[u8]) -> TransportFeedback<'_> {
        match packets(bytes).next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => feedback,
            other => panic!("{other:?}"),
        }
    }

    /// As a sender adds it up.
    fn arrivals_of(feedback: &TransportFeedback<'_>, arrivals: &mut Arrivals) {
        let mut time = feedback.reference_time as i64 * TICKS_PER_REFERENCE as i64;
        for (sequence, status) in feedback.statuses() {
            if let PacketStatus::Received { delta } = status {
                time += i64::from(delta);
                arrivals.insert(sequence, time as u64);
            }
        }
    }

    fn record_all(recorder: &mut ArrivalRecorder, arrivals: &[(u16, u64)]) {
        for &(sequence, ticks) in arrivals {
            recorder.record(sequence, Time(ticks * TICK_US));
        }
    }

    #[test]
    fn feedback_says_when_packets_arrived() {
        let mut recorder = ArrivalRecorder::new();
        record_all(&mut recorder, &[(65_534, 1000), (65_535, 1004), (1, 1500), (2, 1490), (20, 1600)]);
        assert_eq!(recorder.pending(), 23);
        let written = write_all(&mut recorder);
        assert_eq!(written.len(), 1);
        let feedback = parse(&written[0]);
        assert_eq!((feedback.sender, feedback.media), (1, 2));
        assert_eq!((feedback.base_sequence, feedback.status_count, feedback.feedback_count), (65_534, 23, 0));
        let mut arrivals = Arrivals::new();
        arrivals_of(&feedback, &mut arrivals);
        assert_eq!(
            arrivals.into_iter().collect::<Vec<_>>(),
            [(1, 1500), (2, 1490), (20, 1600), (65_534, 1000), (65_535, 1004)]
        );
        assert_eq!(recorder.pending(), 0);
        assert!(write_all(&mut recorder).is_empty());
    }

    /// Vectors that are not the last one must be full: their unused symbols would speak of packets in between.
    #[test]
    fn symbols_that_suit_no_chunk_keep_their_places() {
        let mut recorder = ArrivalRecorder::new();
        // Thirteen small deltas, a large one, some small ones, a gap, and so on: no stretch of 7 or 14 fits.
        let sequences = (1..20).chain(28..43).filter(|sequence| sequence % 11 != 4);
        let arrivals: Vec<_> = sequences.map(|sequence| (sequence, 50_000 - u64::from(sequence % 13 == 0))).collect();
        record_all(&mut recorder, &arrivals);
        let mut reported = Arrivals::new();
        write_all(&mut recorder).iter().for_each(|bytes| arrivals_of(&parse(bytes), &mut reported));
        assert_eq!(reported.into_iter().collect::<Vec<_>>(), arrivals);
    }

    #[test]
    fn a_delta_of_more_than_eight_seconds_begins_another_feedback() {
        let mut recorder = ArrivalRecorder::new();
        record_all(&mut recorder, &[(5, 1000), (6, 1000 + 40_000), (7, 1000 + 40_001)]);
        let written = write_all(&mut recorder);
        assert_eq!(written.len(), 2);
        let mut arrivals = Arrivals::new();
        written.iter().for_each(|bytes| arrivals_of(&parse(bytes), &mut arrivals));
        assert_eq!(arrivals, Arrivals::from([(5, 1000), (6, 41_000), (7, 41_001)]));
        assert_eq!(parse(&written[1]).feedback_count, 1);
    }

    #[test]
    fn a_late_packet_is_reported_again_with_its_followers() {
        let mut recorder = ArrivalRecorder::new();
        record_all(&mut recorder, &[(10, 100), (12, 120), (13, 130)]);
        write_all(&mut recorder);
        record_all(&mut recorder, &[(11, 140)]);
        let written = write_all(&mut recorder);
        let feedback = parse(&written[0]);
        assert_eq!((feedback.base_sequence, feedback.status_count), (11, 3));
        let mut arrivals = Arrivals::new();
        arrivals_of(&feedback, &mut arrivals);
        assert_eq!(arrivals, Arrivals::from([(11, 140), (12, 120), (13, 130)]));
        // A duplicate says nothing new.
        record_all(&mut recorder, &[(12, 150)]);
        assert_eq!(recorder.pending(), 0);
    }

    #[test]
    fn jumps_and_packets_before_the_window_are_survived() {
        let mut recorder = ArrivalRecorder::new();
        record_all(&mut recorder, &[(1000, 1), (20_000, 2), (19_999, 3), (19_000, 4), (52_769, 5)]);
        let mut arrivals = Arrivals::new();
        write_all(&mut recorder).iter().for_each(|bytes| arrivals_of(&parse(bytes), &mut arrivals));
        // Half of the number space away: which side it is on is a matter of taste, so only that it is survived counts.
        assert!(arrivals.len() <= 2);
    }

    #[test]
    fn nothing_is_lost_when_the_buffer_is_too_short() {
        let mut recorder = ArrivalRecorder::new();
        record_all(&mut recorder, &[(1, 1), (2, 2)]);
        for room in 0..24 {
            assert!(!recorder.write(&mut RtcpWriter::new(&mut vec![0; room]), 1, 2), "{room}");
        }
        assert_eq!(recorder.pending(), 2);
        assert!(recorder.write(&mut RtcpWriter::new(&mut [0; 24]), 1, 2));
    }

    /// Sender 0, media source 0, then base 5, `count` statuses and the rest.
    fn feedback_bytes(count: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 1, 0]);
        bytes.extend_from_slice(rest);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[3] = (bytes.len() / 4 - 1) as u8;
        bytes
    }

    #[test]
    fn impossible_counts_are_refused() {
        // More statuses than chunks, more received packets than deltas.
        assert!(packets(&feedback_bytes(15, &[0x80, 0, 0, 1])).next().unwrap().is_ok());
        assert!(packets(&feedback_bytes(29, &[0x80, 0])).next().unwrap().is_err());
        assert!(packets(&feedback_bytes(0xffff, &[0x20, 0xff])).next().unwrap().is_err());
        assert!(packets(&feedback_bytes(3, &[0x20, 3, 1, 1])).next().unwrap().is_err());
        assert!(packets(&feedback_bytes(4, &[0x20, 4, 1, 1, 1, 1])).next().unwrap().is_ok());
        // Runs of nothing.
        assert!(packets(&feedback_bytes(1, &[0; 40])).next().unwrap().is_err());
    }

    #[test]
    fn all_kinds_of_chunks_are_read() {
        // A run of two lost, a one-bit vector (received, lost, ...), a two-bit vector that begins with a large delta.
        let bytes = feedback_bytes(2 + 14 + 2, &[0x00, 0x02, 0xa0, 0x00, 0xe1, 0x00, 7, 0xff, 0xfe, 9]);
        let statuses: Vec<_> = parse(&bytes).statuses().collect();
        let received = |delta| PacketStatus::Received { delta };
        assert_eq!(statuses.len(), 18);
        assert_eq!(statuses[2], (7, received(7)));
        assert_eq!(statuses[16], (21, received(-2)));
        assert_eq!(statuses[17], (22, PacketStatus::Lost));
        assert_eq!(statuses.iter().filter(|(_, status)| *status != PacketStatus::Lost).count(), 2);
    }

    prop_compose! {
        /// Gaps and arrivals as a lossy, reordering network makes them.
        fn network()(
            first in any::<u16>(),
            steps in prop::collection::vec((prop_oneof![8 => Just(1u16), 1 => 2u16..40], -20i64..400), 1..200),
        ) -> Vec<(u16, u64)> {
            let mut sequence = first;
            let mut ticks = 50_000i64;
            steps.into_iter().map(|(gap, later)| {
                sequence = sequence.wrapping_add(gap);
                ticks = (ticks + later).max(0);
                (sequence, ticks as u64)
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn what_is_recorded_is_reported(arrivals in network()) {
            let mut recorder = ArrivalRecorder::new();
            let mut reported = Arrivals::new();
            for part in arrivals.chunks(20) {
                record_all(&mut recorder, part);
                for bytes in write_all(&mut recorder) {
                    arrivals_of(&parse(&bytes), &mut reported);
                }
            }
            // A jump past the window before a report drops what it jumps over; gaps here are below it.
            let lost = arrivals.iter().filter(|(sequence, ticks)| reported.get(sequence) != Some(ticks)).count();
            prop_assert!(lost == 0 || arrivals.chunks(20).any(|part| part.last().unwrap().0.wrapping_sub(part[0].0) > 200));
        }

        /// The same bytes, read by the crate rtcp.
        #[test]
        fn they_read_what_we_write(arrivals in network()) {
            let mut recorder = ArrivalRecorder::new();
            record_all(&mut recorder, &arrivals);
            for bytes in write_all(&mut recorder) {
                let feedback = parse(&bytes);
                let theirs = TransportLayerCc::unmarshal(&mut bytes.as_slice()).unwrap();
                prop_assert_eq!(theirs.base_sequence_number, feedback.base_sequence);
                prop_assert_eq!(theirs.packet_status_count, feedback.status_count);
                prop_assert_eq!(theirs.reference_time as i32, feedback.reference_time);
                let deltas: Vec<i64> = feedback.statuses().filter_map(|(_, status)| match status {
                    PacketStatus::Received { delta } => Some(i64::from(delta) * TICK_US as i64),
                    PacketStatus::Lost => None,
                }).collect();
                let their_deltas: Vec<i64> = theirs.recv_deltas.iter()
                    .filter(|delta| delta.type_tcc_packet != SymbolTypeTcc::PacketNotReceived)
                    .map(|delta| delta.delta)
                    .collect();
                prop_assert_eq!(deltas, their_deltas);
            }
        }

        #[test]
        fn junk_never_panics(fci in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(feedback) = TransportFeedback::parse(1, 2, &fci) {
                prop_assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
            }
        }

        #[test]
        fn any_sequence_and_time_is_survived(arrivals in prop::collection::vec((any::<u16>(), any::<u64>()), 0..100)) {
            let mut recorder = ArrivalRecorder::new();
            for (sequence, time) in arrivals {
                recorder.record(sequence, Time(time));
                prop_assert!(recorder.pending() <= FEEDBACK_WINDOW_PACKETS);
            }
            write_all(&mut recorder);
        }
    }
}
