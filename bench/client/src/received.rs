//! One SSRC as received: what is missing, what jumped, and what is to be reported of it.

use super::follow::Follower;
use super::header::Header;
use super::stats::TrackStats;
use super::vp8;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A larger step of the sequence number than this is a jump, not loss.
const LARGEST_GAP: u64 = 1_000;
/// Missing packets that are waited for on one stream.
const MISSING: usize = 2_000;
/// Between two NACKs for the same packet, and how many.
const NACK_INTERVAL: Duration = Duration::from_millis(60);
const NACK_TRIES: u8 = 5;
/// One SSRC as received.
pub(super) struct Stream {
    first: u64,
    highest: u64,
    received: u64,
    jitter: f64,
    transit: Option<f64>,
    pub(super) missing: BTreeMap<u64, Missing>,
    /// The latest VP8 packet that was read: its number and picture id.
    picture: Option<(u64, u16)>,
    pub(super) follower: Follower,
    /// Number and RTP time stamp of the newest packet.
    pub(super) newest: Option<(u64, u32)>,
    /// A frame could not be decoded until a key frame comes.
    pub(super) needs_key_frame: bool,
    pub(super) key_frame_requested: Option<Instant>,
    pub(super) sender_report: Option<(u32, Instant)>,
    reported: (u64, u64),
}

#[derive(Default)]
pub(super) struct Missing {
    asked: Option<Instant>,
    tries: u8,
}

/// What a reception report says of one SSRC (RFC 3550, section 6.4.1).
pub(crate) struct Report {
    pub(crate) ssrc: u32,
    pub(crate) fraction_lost: u8,
    pub(crate) total_lost: u32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    pub(crate) last_sender_report: u32,
    pub(crate) delay: Duration,
}

impl Stream {
    pub(super) fn new(sequence: u16, video: bool) -> Self {
        // One turn ahead, so that a packet from before the first one has a number, too.
        let first = (1 << 16) | u64::from(sequence);
        Self {
            first,
            highest: first - 1,
            received: 0,
            jitter: 0.0,
            transit: None,
            missing: BTreeMap::new(),
            picture: None,
            follower: Follower::default(),
            newest: None,
            needs_key_frame: video,
            key_frame_requested: None,
            sender_report: None,
            reported: (0, 0),
        }
    }

    /// Whether packets, or a key frame, are to be asked for.
    pub(super) fn is_urgent(&self) -> bool {
        self.needs_key_frame || !self.missing.is_empty()
    }

    /// Whether a packet is the first of its picture, or nothing is known yet: a relay goes over to another layer
    /// with the first packet of a key frame.
    pub(super) fn may_show_layer(&self, header: &Header) -> bool {
        self.follower.following().is_none() || self.newest.is_none_or(|(_, timestamp)| timestamp != header.timestamp)
    }

    /// Counts a packet by its header; returns its number without wraps.
    pub(super) fn count(&mut self, now: Instant, header: &Header, clock_rate: f64, stats: &mut TrackStats) -> u64 {
        let step = header.sequence_number.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest.wrapping_add_signed(i64::from(step));
        self.received += 1;
        if number <= self.highest {
            // Late or double. Packets from before the first one count as late.
            match self.missing.remove(&number).is_some() || number < self.first {
                true => stats.reordered += 1,
                false => stats.duplicates += 1,
            }
            return number;
        }
        let gap = number - self.highest - 1;
        if gap > LARGEST_GAP {
            stats.sequence_jumps += 1;
            self.first = number;
            self.missing.clear();
            self.needs_key_frame = true;
        } else {
            for lost in self.highest + 1..number {
                self.missing.insert(lost, Missing::default());
            }
            while self.missing.len() > MISSING {
                self.missing.pop_first();
                stats.missing += 1;
            }
        }
        self.highest = number;
        self.measure_jitter(now, header.timestamp, clock_rate);
        number
    }

    /// RFC 3550, appendix A.8. Only differences matter, so any clock serves.
    fn measure_jitter(&mut self, now: Instant, timestamp: u32, clock_rate: f64) {
        let epoch = *super::EPOCH;
        let transit = now.duration_since(epoch).as_secs_f64() * clock_rate - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs();
            // A wrapped or jumped time stamp is no jitter.
            if difference < clock_rate {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
    }

    /// Reads a VP8 payload; `true` when it begins a key frame.
    pub(super) fn read_vp8(&mut self, payload: &[u8], number: u64, stats: &mut TrackStats) -> bool {
        let Some(descriptor) = vp8::read_descriptor(payload) else { return false };
        if let Some((id, long)) = descriptor.picture_id {
            let mask = if long { vp8::PICTURE_ID_MASK } else { 0x7f };
            let expected = |before: u16| if descriptor.starts_frame { (before + 1) & mask } else { before };
            let jumped = self.picture.is_some_and(|(at, before)| at + 1 == number && id != expected(before));
            stats.picture_id_jumps += u64::from(jumped);
            if self.picture.is_none_or(|(at, _)| at < number) {
                self.picture = Some((number, id));
            }
        }
        let size = descriptor.starts_frame.then(|| vp8::key_frame_size(&payload[descriptor.len..])).flatten();
        if let Some(size) = size {
            stats.key_frames += 1;
            stats.picture = Some(size);
            self.needs_key_frame = false;
        }
        size.is_some()
    }

    pub(super) fn nack(&mut self, now: Instant) -> Vec<u16> {
        let mut wanted = Vec::new();
        let mut given_up = false;
        for (number, missing) in &mut self.missing {
            if missing.asked.is_some_and(|asked| now.duration_since(asked) < NACK_INTERVAL) {
                continue;
            }
            if missing.tries < NACK_TRIES {
                missing.asked = Some(now);
                wanted.push(*number as u16);
            }
            // Asked in vain: only a key frame helps now.
            given_up |= missing.tries == NACK_TRIES;
            missing.tries = missing.tries.saturating_add(1);
        }
        self.needs_key_frame |= given_up;
        wanted
    }

    pub(super) fn report(&mut self, ssrc: u32, now: Instant) -> Report {
        let expected = self.highest + 1 - self.first;
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, self.received));
        let expected_now = expected.saturating_sub(expected_before);
        let received_now = self.received - received_before;
        let lost_now = expected_now.saturating_sub(received_now);
        Report {
            ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            total_lost: expected.saturating_sub(self.received).min(0x7f_ffff) as u32,
            highest: self.highest as u32,
            jitter: self.jitter as u32,
            last_sender_report: self.sender_report.map_or(0, |(ntp, _)| ntp),
            delay: self.sender_report.map_or(Duration::ZERO, |(_, at)| now.duration_since(at)),
        }
    }
}
