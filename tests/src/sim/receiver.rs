//! The receiving half of a simulated browser: a jitter buffer with NACK, a decoder that needs whole frames in
//! order and asks for key frames, receiver reports.

use crate::media::{Label, StreamId};
use crate::wire::rtcp::{ReportBlock, Rtcp};
use crate::wire::rtp::{RtpPacket, Unwrap};
use plausch_engine::Time;
use plausch_relay_api::MediaKind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a packet may be late before it is asked for, and between two requests.
const NACK_AFTER: Duration = Duration::from_millis(15);
const NACK_AGAIN: Duration = Duration::from_millis(80);
/// Requests for one packet.
const NACK_TRIES: u32 = 6;
/// A gap of this age is given up: a key frame must come.
const GIVE_UP_AFTER: Duration = Duration::from_millis(600);
/// Between two key-frame requests.
const PLI_AGAIN: Duration = Duration::from_millis(400);

/// One SSRC that the engine sends with.
pub struct Receiver {
    pub ssrc: u32,
    kind: MediaKind,
    unwrap: Unwrap,
    /// Extended numbers received: the replay check of SRTP.
    seen: BTreeSet<u64>,
    /// Received, not yet decoded.
    buffer: BTreeMap<u64, Arrived>,
    next: Option<u64>,
    /// Since when the next packet is awaited.
    stuck_since: Option<Time>,
    wanted: BTreeMap<u64, (Time, u32)>,
    decoder: Decoder,
    pli_at: Option<Time>,
    /// For receiver reports.
    first: Option<u64>,
    reported: (u64, u64),
    /// Packets that came twice.
    pub replayed: u64,
    /// Times at which a frame was decoded or an audio packet played, with the stream it came from.
    pub played: Vec<(Time, StreamId)>,
    /// Times of arrival of new packets.
    pub last_arrival: Option<Time>,
}

#[derive(Clone, Copy)]
struct Arrived {
    /// `None`: nothing but padding.
    label: Option<Label>,
    marker: bool,
    timestamp: u32,
    /// VP8 only.
    picture: Option<u16>,
}

/// What an in-order sequence of packets means to a decoder.
#[derive(Default)]
struct Decoder {
    /// The stream and frame that is being put together, complete so far.
    current: Option<(StreamId, u32)>,
    /// The last frame that was decoded: stream, frame number, picture id, timestamp.
    last: Option<(StreamId, u32, Option<u16>, u32)>,
    started: bool,
}

impl Receiver {
    /// Of one slot's audio or video.
    pub fn new(ssrc: u32, kind: MediaKind) -> Self {
        Self {
            ssrc,
            kind,
            unwrap: Unwrap::default(),
            seen: BTreeSet::new(),
            buffer: BTreeMap::new(),
            next: None,
            stuck_since: None,
            wanted: BTreeMap::new(),
            decoder: Decoder::default(),
            pli_at: None,
            first: None,
            reported: (0, 0),
            replayed: 0,
            played: Vec::new(),
            last_arrival: None,
        }
    }

    /// A packet from the network. What a decoder would choke on is an error.
    pub fn receive(&mut self, now: Time, packet: &RtpPacket, picture: Option<u16>) -> Result<(), String> {
        let sequence = self.unwrap.extend(packet.sequence);
        if !self.seen.insert(sequence) {
            self.replayed += 1;
            return Ok(());
        }
        self.last_arrival = Some(now);
        self.first.get_or_insert(sequence);
        self.wanted.remove(&sequence);
        let label = Label::decode(&packet.payload);
        if self.kind == MediaKind::Audio {
            self.played.extend(label.map(|label| (now, label.stream)));
            return Ok(());
        }
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            return Ok(());
        }
        for missing in self.buffer.last_key_value().map_or(next, |(last, _)| last + 1)..sequence {
            self.wanted.entry(missing).or_insert((now + NACK_AFTER, 0));
        }
        self.buffer.insert(sequence, Arrived { label, marker: packet.marker, timestamp: packet.timestamp, picture });
        self.decode(now)
    }

    fn decode(&mut self, now: Time) -> Result<(), String> {
        while let Some(next) = self.next
            && let Some(arrived) = self.buffer.remove(&next)
        {
            self.next = Some(next + 1);
            self.stuck_since = None;
            if let Some(label) = arrived.label
                && self
                    .decoder
                    .take(&arrived, &label)
                    .map_err(|error| format!("decoder of SSRC {}: {error}", self.ssrc))?
            {
                self.played.push((now, label.stream));
            }
        }
        if !self.buffer.is_empty() {
            self.stuck_since.get_or_insert(now);
        }
        Ok(())
    }

    /// NACKs and key-frame requests that are due.
    pub fn poll(&mut self, now: Time, own_ssrc: u32) -> Result<Vec<Rtcp>, String> {
        let mut out = Vec::new();
        if self.kind == MediaKind::Audio {
            return Ok(out);
        }
        if self.stuck_since.is_some_and(|since| now.since(since) > GIVE_UP_AFTER) {
            // Go on with the next key frame, here already or still to come.
            let is_key = |arrived: &Arrived| arrived.label.is_some_and(|label| label.key_frame && label.first_of_frame);
            let key = self.buffer.iter().find(|(_, arrived)| is_key(arrived)).map(|(sequence, _)| *sequence);
            self.next = key.or(self.buffer.last_key_value().map(|(last, _)| last + 1));
            let next = self.next.unwrap_or_default();
            self.buffer = self.buffer.split_off(&next);
            self.stuck_since = None;
            self.decoder.lose();
            self.wanted.retain(|sequence, _| *sequence >= next);
            self.decode(now)?;
        }
        let mut lost = Vec::new();
        for (sequence, (at, tries)) in &mut self.wanted {
            if *at <= now {
                lost.push(*sequence as u16);
                *at = now + NACK_AGAIN;
                *tries += 1;
            }
        }
        self.wanted.retain(|_, (_, tries)| *tries < NACK_TRIES);
        if !lost.is_empty() {
            out.push(Rtcp::Nack { sender: own_ssrc, media: self.ssrc, lost });
        }
        let waits = !self.decoder.started && self.first.is_some();
        if waits && self.pli_at.is_none_or(|at| now.since(at) > PLI_AGAIN) {
            self.pli_at = Some(now);
            out.push(Rtcp::Pli { sender: own_ssrc, media: self.ssrc });
        }
        Ok(out)
    }

    /// The last few sequence numbers that came.
    pub fn newest(&self) -> Vec<u16> {
        self.seen.iter().rev().take(4).rev().map(|sequence| *sequence as u16).collect()
    }

    /// What a receiver report says of this SSRC.
    pub fn report(&mut self) -> Option<ReportBlock> {
        let (first, highest) = (self.first?, self.unwrap.highest()?);
        let expected = highest + 1 - first.min(highest);
        let received = self.seen.len() as u64;
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, received);
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received - received_before);
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            cumulative_lost: expected.saturating_sub(received) as i32,
            // Without the wrap that Unwrap begins with.
            highest_sequence: (highest - (1 << 16)) as u32,
            ..Default::default()
        })
    }
}

impl Decoder {
    /// Packets are missing: only a key frame helps.
    fn lose(&mut self) {
        self.current = None;
        self.started = false;
    }

    /// The next packet in order. `true`: it completes a frame that can be shown.
    fn take(&mut self, arrived: &Arrived, label: &Label) -> Result<bool, String> {
        if label.first_of_frame {
            if label.key_frame {
                self.started = true;
            } else if self.started && self.last.is_none_or(|(stream, ..)| stream != label.stream) {
                return Err(format!("{:?} begins with a delta frame", label.stream));
            }
            self.current = Some((label.stream, label.frame));
        } else if self.started && self.current != Some((label.stream, label.frame)) {
            return Err(format!("frame {} of {:?} goes on without a start", label.frame, label.stream));
        }
        if !label.last_of_frame || !self.started {
            return Ok(false);
        }
        self.current = None;
        if !arrived.marker {
            return Err("the last packet of a frame has lost its marker".into());
        }
        if let Some((stream, frame, picture, timestamp)) = self.last {
            if !label.key_frame && (stream, frame + 1) != (label.stream, label.frame) {
                return Err(format!("frame {} of {:?} follows frame {frame} of {stream:?}", label.frame, label.stream));
            }
            if arrived.timestamp.wrapping_sub(timestamp) as i32 <= 0 {
                return Err(format!("timestamp {} follows {timestamp}", arrived.timestamp));
            }
            // A key frame resets the decoder; its picture id is the model's concern.
            if let (false, Some(before), Some(after)) = (label.key_frame, picture, arrived.picture)
                && after != before.wrapping_add(1) & 0x7fff
            {
                return Err(format!("picture id {after} follows {before}"));
            }
        }
        self.last = Some((label.stream, label.frame, arrived.picture, arrived.timestamp));
        Ok(true)
    }
}
