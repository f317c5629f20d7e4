//! One outgoing SSRC, and how the numbers of whatever it follows become one unbroken sequence.

use crate::packet::{LayerId, Packet};
use crate::random::Random;
use crate::time::Time;
use plausch_relay_api::MediaKind;
use plausch_relay_api::limits::STRETCHES_PER_STREAM;
use std::collections::VecDeque;

/// A stretch of one layer's packets that goes out with constant distances. Both the way of a packet and the way
/// back from a subscriber's NACK lead through it, so a retransmission is the same packet bit by bit, which it
/// must be: it is sealed with the same nonce.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    source: LayerId,
    /// The first incoming index.
    first: u64,
    /// One after the last; `u64::MAX` while it is open.
    end: u64,
    /// The outgoing index of `first`.
    out: u64,
    timestamp_offset: u32,
    picture_offset: u16,
    tl0_offset: u8,
    /// Its first packet gets the marker bit: an audio receiver then knows that a talk spurt begins
    /// (RFC 3551, section 4.1).
    mark_first: bool,
}

impl Stretch {
    fn holds(&self, source: LayerId, index: u64) -> bool {
        self.source == source && (self.first..self.end).contains(&index)
    }

    fn place(&self, packet: &Packet) -> Place {
        Place {
            index: self.out + (packet.index - self.first),
            timestamp: packet.timestamp.wrapping_add(self.timestamp_offset),
            marker: packet.marker || (self.mark_first && packet.index == self.first),
            picture_offset: self.picture_offset,
            tl0_offset: self.tl0_offset,
        }
    }
}

/// Where a packet goes in the outgoing sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The outgoing sequence number with its rollovers in front.
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub picture_offset: u16,
    pub tl0_offset: u8,
}

impl Place {
    pub(crate) fn sequence(&self) -> u16 {
        self.index as u16
    }

    pub(crate) fn rollover(&self) -> u32 {
        (self.index >> 16) as u32
    }
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Send(Place),
    /// Padding, which needs no place.
    Leave,
    /// Nothing can be decoded before a key frame.
    AwaitKeyFrame,
    /// From before the point at which the stream began to follow.
    Late,
}

/// Where an outgoing packet came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    stretch: Stretch,
    incoming: u64,
}

impl Origin {
    pub(crate) fn source(&self) -> LayerId {
        self.stretch.source
    }

    /// The index in the source's sequence.
    pub(crate) fn index(&self) -> u64 {
        self.incoming
    }

    /// The place that the packet was sent with.
    pub(crate) fn place(&self, packet: &Packet) -> Option<Place> {
        (packet.index == self.incoming && packet.source == self.stretch.source).then(|| self.stretch.place(packet))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stream {
    pub ssrc: u32,
    media: MediaKind,
    /// Empty before the first packet; the last one is the open one, if `following`.
    stretches: VecDeque<Stretch>,
    following: Option<LayerId>,
    /// Highest incoming index of the open stretch, sent or left out.
    highest: u64,
    last: Option<Last>,
    /// For sender reports.
    pub packets: u32,
    pub octets: u32,
}

/// The newest packet that went out.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Time,
    timestamp: u32,
    picture: u16,
    tl0: u8,
}

impl Stream {
    pub(crate) fn new(ssrc: u32, media: MediaKind) -> Self {
        Self { ssrc, media, stretches: VecDeque::new(), following: None, highest: 0, last: None, packets: 0, octets: 0 }
    }

    /// Which layer goes out at the moment.
    pub(crate) fn following(&self) -> Option<LayerId> {
        self.following
    }

    /// Ends the open stretch: the stream has no source, or another one.
    pub(crate) fn release(&mut self) {
        if self.following.take().is_some() {
            let end = self.highest + 1;
            if let Some(open) = self.stretches.back_mut() {
                open.end = end;
            }
        }
    }

    /// Finds the place of a packet of the followed track. `wanted` is the layer that should go out: with its
    /// next key frame the stream goes over to it.
    pub(crate) fn place(&mut self, packet: &Packet, wanted: Option<u8>, now: Time, random: &mut Random) -> Verdict {
        if self.following == Some(packet.source) {
            return self.continue_stretch(packet, now);
        }
        let may_begin = match self.following {
            None => true,
            // Another epoch of the layer, or the layer to go over to.
            Some(current) => current.layer == packet.source.layer || wanted == Some(packet.source.layer),
        };
        if packet.begins_key_frame && may_begin {
            let place = self.begin_stretch(packet, now, random);
            return Verdict::Send(place);
        }
        // The last packets of the layer before the present one may still come.
        let before = self.stretches.iter().rev().find(|stretch| stretch.holds(packet.source, packet.index));
        match before {
            Some(stretch) => Verdict::Send(stretch.place(packet)),
            None if self.following.is_none() => Verdict::AwaitKeyFrame,
            None => Verdict::Leave,
        }
    }

    fn continue_stretch(&mut self, packet: &Packet, now: Time) -> Verdict {
        let Some(open) = self.stretches.back_mut() else { return Verdict::Late };
        if packet.index > self.highest {
            if packet.is_padding() {
                self.leave_out(packet);
                return Verdict::Leave;
            }
            self.highest = packet.index;
            let place = open.place(packet);
            self.note(packet, &place, now);
            return Verdict::Send(place);
        }
        // Overtaken by others, or sent again by the publisher. Padding has its place then, and must fill it.
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.holds(packet.source, packet.index));
        stretch.map_or(Verdict::Late, |stretch| Verdict::Send(stretch.place(packet)))
    }

    /// The sequence goes on without `packet`: what follows moves up by one.
    fn leave_out(&mut self, packet: &Packet) {
        self.highest = packet.index;
        let Some(open) = self.stretches.back_mut() else { return };
        let mut rest = *open;
        rest.first = packet.index + 1;
        rest.mark_first = false;
        if packet.index == open.first {
            // Nothing of the open stretch went out.
            *open = rest;
            return;
        }
        rest.out = open.out + (packet.index - open.first);
        open.end = packet.index;
        self.push(rest);
    }

    fn begin_stretch(&mut self, packet: &Packet, now: Time, random: &mut Random) -> Place {
        let out = match self.stretches.back() {
            // RFC 3711, section 3.3.1: in the lower half, so that losing the first packets is not a rollover.
            None => 1 + u64::from(random.next_u32() & 0x3fff),
            Some(open) => open.out + (self.highest + 1).saturating_sub(open.first),
        };
        self.release();
        let timestamp = match self.last {
            None => random.next_u32(),
            Some(last) => {
                let elapsed = now.since(last.at).as_micros() * u128::from(packet.codec.clock_rate()) / 1_000_000;
                last.timestamp.wrapping_add((elapsed as u32).max(1))
            }
        };
        let (picture_offset, tl0_offset) = match (packet.vp8, self.last) {
            (Some(vp8), Some(last)) => {
                let picture = vp8.picture_id.map_or(0, |id| id.value);
                let tl0 = vp8.tl0_picture_index.unwrap_or(0);
                (last.picture.wrapping_add(1).wrapping_sub(picture), last.tl0.wrapping_add(1).wrapping_sub(tl0))
            }
            _ => (0, 0),
        };
        let stretch = Stretch {
            source: packet.source,
            first: packet.index,
            end: u64::MAX,
            out,
            timestamp_offset: timestamp.wrapping_sub(packet.timestamp),
            picture_offset,
            tl0_offset,
            mark_first: self.media == MediaKind::Audio,
        };
        self.push(stretch);
        self.following = Some(packet.source);
        self.highest = packet.index;
        let place = stretch.place(packet);
        self.note(packet, &place, now);
        place
    }

    fn push(&mut self, stretch: Stretch) {
        if self.stretches.capacity() == 0 {
            self.stretches.reserve_exact(STRETCHES_PER_STREAM);
        }
        if self.stretches.len() == STRETCHES_PER_STREAM {
            self.stretches.pop_front();
        }
        self.stretches.push_back(stretch);
    }

    fn note(&mut self, packet: &Packet, place: &Place, now: Time) {
        let before = self.last.map_or((0, 0), |last| (last.picture, last.tl0));
        let (picture, tl0) = packet.vp8.map_or(before, |vp8| {
            (
                vp8.picture_id.map_or(before.0, |id| id.value.wrapping_add(place.picture_offset)),
                vp8.tl0_picture_index.map_or(before.1, |tl0| tl0.wrapping_add(place.tl0_offset)),
            )
        });
        self.last = Some(Last { at: now, timestamp: place.timestamp, picture, tl0 });
    }

    /// Where the outgoing packet with this sequence number came from.
    pub(crate) fn origin(&self, sequence: u16) -> Option<Origin> {
        let last = self.stretches.back()?;
        let end = if self.following.is_some() { self.highest + 1 } else { last.end };
        // One after the newest that went out: a subscriber asks for what is before it.
        let newest = last.out + end.saturating_sub(last.first);
        let back = (newest as u16).wrapping_sub(sequence);
        let index = newest.checked_sub(if back == 0 { 0x1_0000 } else { u64::from(back) })?;
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.out <= index)?;
        let incoming = stretch.first + (index - stretch.out);
        (incoming < stretch.end).then_some(Origin { stretch: *stretch, incoming })
    }

    /// The distance between the source's RTP clock and the outgoing one.
    pub(crate) fn timestamp_offset(&self) -> Option<u32> {
        self.following.and(self.stretches.back()).map(|open| open.timestamp_offset)
    }

    /// Places that were handed out before are not served any more: a retransmission would differ from its original.
    pub(crate) fn forget_past(&mut self) {
        self.release();
        if let Some(last) = self.stretches.pop_back() {
            // Keeps where the sequence goes on, but nothing to look up: an empty stretch after the last place.
            let (out, first) = (last.out + (last.end - last.first), last.end);
            self.stretches.clear();
            self.highest = first - 1;
            self.stretches.push_back(Stretch { out, first, end: first, ..last });
        }
    }
}
