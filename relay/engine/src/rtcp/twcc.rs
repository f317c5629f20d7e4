//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).

use super::writer::RtcpWriter;
use super::{TRANSPORT_LAYER_FEEDBACK, TRANSPORT_WIDE};
use crate::time::Time;
use plausch_relay_api::limits::FEEDBACK_WINDOW_PACKETS;

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
    pub(super) fn parse(sender: u32, media: u32, fci: &'a [u8]) -> Option<Self> {
        let _ = (sender, media, fci);
        None
    }

    /// Sequence number and status of each packet, in order.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, PacketStatus)> + use<'a> {
        std::iter::empty()
    }
}

/// Remembers when packets arrived and writes feedback about them.
#[derive(Debug)]
pub struct ArrivalRecorder {
    /// Arrival of sequence number `s` at `s % FEEDBACK_WINDOW_PACKETS`, in ticks of 250 µs, plus one; 0: not arrived.
    arrivals: Box<[u64; FEEDBACK_WINDOW_PACKETS]>,
}

impl ArrivalRecorder {
    /// Nothing arrived yet. Allocates its window once.
    pub fn new() -> Self {
        Self { arrivals: Box::new([0; FEEDBACK_WINDOW_PACKETS]) }
    }

    /// A packet with this transport sequence number arrived.
    pub fn record(&mut self, sequence: u16, now: Time) {
        let _ = (sequence, now);
    }

    /// How many statuses wait to be reported. Report at least when half of the window waits.
    pub fn pending(&self) -> usize {
        0
    }

    /// Appends feedback about what waits; call again while it returns `true` and [`Self::pending`] is not 0.
    /// `false`: nothing was written, because nothing waits or it does not fit.
    pub fn write(&mut self, writer: &mut RtcpWriter<'_>, sender: u32, media: u32) -> bool {
        let _ = writer.packet(TRANSPORT_WIDE, TRANSPORT_LAYER_FEEDBACK, |_| {});
        let _ = (sender, media);
        false
    }
}

impl Default for ArrivalRecorder {
    fn default() -> Self {
        Self::new()
    }
}
