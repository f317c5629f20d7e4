//! One outgoing SSRC, and how the numbers of whatever it follows become one unbroken sequence.

use crate::packet::{LayerId, Packet};
use crate::random::Random;
use crate::time::Time;
use plausch_relay_api::MediaKind;
use plausch_relay_api::limits::{MISSING_PACKETS, STRETCHES_PER_STREAM};
use std::collections::VecDeque;

/// A jump of the publisher's sequence numbers is passed on up to this: enough that the subscriber knows of a loss.
/// Jumps of half the number space, some of them lost, would make it lose count of the rollovers (RFC 3711, section
/// 3.3.1), and the stream could never be deciphered again, not even with another source.
const LARGEST_GAP: u64 = MISSING_PACKETS as u64;

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
    /// Of its m-line.
    pub mid: Box<str>,
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
    /// Its index in the source's sequence.
    incoming: u64,
    timestamp: u32,
    picture: u16,
    tl0: u8,
}

impl Stream {
    pub(crate) fn new(ssrc: u32, mid: &str, media: MediaKind) -> Self {
        Self {
            ssrc,
            mid: mid.into(),
            media,
            stretches: VecDeque::new(),
            following: None,
            highest: 0,
            last: None,
            packets: 0,
            octets: 0,
        }
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
            let gap = packet.index - self.highest - 1;
            let mut stretch = *open;
            if gap > LARGEST_GAP {
                stretch.out += self.highest + 1 - stretch.first + LARGEST_GAP;
                stretch.first = packet.index;
                stretch.mark_first = false;
                open.end = self.highest + 1;
                self.push(stretch);
            }
            self.highest = packet.index;
            let place = stretch.place(packet);
            self.note(packet, &place, now);
            return Verdict::Send(place);
        }
        // Overtaken by others, or sent again by the publisher. Padding has its place then, and must fill it.
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.holds(packet.source, packet.index));
        let Some(place) = stretch.map(|stretch| stretch.place(packet)) else { return Verdict::Late };
        // Overtaken by padding only: it is the newest picture all the same.
        if !packet.is_padding() && self.last.is_some_and(|last| last.incoming < packet.index) {
            self.note(packet, &place, now);
        }
        Verdict::Send(place)
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
        self.last = Some(Last { at: now, incoming: packet.index, timestamp: place.timestamp, picture, tl0 });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{PictureId, vp8};
    use crate::packet::Span;
    use crate::slab::Key;
    use plausch_relay_api::Codec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn packet(track: u32, layer: u8, index: u64, begins_key_frame: bool) -> Packet {
        let picture_id = Some(PictureId { value: (index & 0x7fff) as u16, wide: true });
        Packet {
            source: LayerId { track: Key::for_test(track), layer, epoch: 1 },
            number: 0,
            codec: Codec::Vp8,
            index,
            timestamp: index as u32 * 3_000,
            marker: true,
            begins_key_frame,
            payload: Span::new(12..500).unwrap(),
            audio_level: None,
            dependency_descriptor: None,
            vp8: Some(vp8::Descriptor { picture_id, tl0_picture_index: Some(index as u8), ..Default::default() }),
            padding: 0,
        }
    }

    fn padding(track: u32, layer: u8, index: u64) -> Packet {
        Packet { payload: Span::new(12..12).unwrap(), ..packet(track, layer, index, false) }
    }

    fn place(stream: &mut Stream, packet: &Packet, now: u64) -> Verdict {
        stream.place(packet, Some(packet.source.layer), Time(now), &mut Random::new(5))
    }

    fn sent(verdict: Verdict) -> Place {
        match verdict {
            Verdict::Send(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sequence_starts_low_so_that_its_first_packets_are_no_rollover() {
        for seed in 0..100 {
            let mut stream = Stream::new(1, "v", MediaKind::Video);
            let verdict = stream.place(&packet(0, 0, 70_000, true), None, Time(0), &mut Random::new(seed));
            assert!((1..0x8000).contains(&sent(verdict).index));
        }
    }

    #[test]
    fn late_packets_of_the_layer_before_find_their_place() {
        let mut stream = Stream::new(1, "v", MediaKind::Video);
        let first = sent(place(&mut stream, &packet(0, 0, 10, true), 0)).index;
        assert_eq!(sent(place(&mut stream, &packet(0, 0, 12, false), 0)).index, first + 2);
        assert_eq!(sent(place(&mut stream, &packet(0, 1, 500, true), 0)).index, first + 3);
        assert_eq!(sent(place(&mut stream, &packet(0, 0, 11, false), 0)).index, first + 1);
        assert_eq!(place(&mut stream, &packet(0, 0, 13, false), 0), Verdict::Leave);
        assert_eq!(place(&mut stream, &packet(0, 1, 499, false), 0), Verdict::Late);
    }

    #[test]
    fn a_jump_of_the_publisher_is_passed_on_as_a_small_one() {
        let mut stream = Stream::new(1, "v", MediaKind::Video);
        let first = sent(place(&mut stream, &packet(0, 0, 10, true), 0)).index;
        sent(place(&mut stream, &packet(0, 0, 11, false), 0));
        assert_eq!(sent(place(&mut stream, &packet(0, 0, 30_000, false), 0)).index, first + 2 + LARGEST_GAP);
        assert_eq!(sent(place(&mut stream, &packet(0, 0, 30_001, false), 0)).index, first + 3 + LARGEST_GAP);
        assert_eq!(place(&mut stream, &packet(0, 0, 29_999, false), 0), Verdict::Late);
        assert_eq!(stream.origin((first + 2 + LARGEST_GAP) as u16).map(|origin| origin.index()), Some(30_000));
        assert!(stream.origin((first + 2) as u16).is_none());
    }

    #[test]
    fn forgetting_the_past_goes_on_without_a_gap() {
        let mut stream = Stream::new(1, "v", MediaKind::Video);
        let first = sent(place(&mut stream, &packet(0, 0, 10, true), 0)).index;
        sent(place(&mut stream, &packet(0, 0, 11, false), 0));
        stream.forget_past();
        assert!(stream.origin(first as u16).is_none() && stream.origin(first as u16 + 1).is_none());
        assert_eq!(place(&mut stream, &packet(0, 0, 12, false), 0), Verdict::AwaitKeyFrame);
        assert_eq!(sent(place(&mut stream, &packet(0, 0, 13, true), 0)).index, first + 2);
        assert!(stream.origin(first as u16 + 1).is_none());
        assert_eq!(stream.origin(first as u16 + 2).map(|origin| origin.index()), Some(13));
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The next packet of a track's layer, with so many lost before it.
        Packet {
            track: u32,
            layer: u8,
            lost: u64,
            key: bool,
        },
        Padding {
            track: u32,
            layer: u8,
        },
        /// One that was passed over before.
        Late {
            track: u32,
            layer: u8,
            padding: bool,
        },
        Release,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..2u32, 0..2u8, 0..3u64, prop::bool::weighted(0.2))
                .prop_map(|(track, layer, lost, key)| Step::Packet { track, layer, lost, key }),
            2 => (0..2u32, 0..2u8).prop_map(|(track, layer)| Step::Padding { track, layer }),
            2 => (0..2u32, 0..2u8, any::<bool>())
                .prop_map(|(track, layer, padding)| Step::Late { track, layer, padding }),
            1 => Just(Step::Release),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever comes: no two packets get one place, timestamps and pictures never go back between packets
        /// that come in order, places that no packet got are those of packets that were lost, and the way back
        /// finds the same packet and place.
        #[test]
        fn places_are_unique_and_found_again(steps in steps()) {
            let mut stream = Stream::new(1, "v", MediaKind::Video);
            let mut current = 0;
            let mut next = BTreeMap::new();
            let mut lost: BTreeMap<(u32, u8), Vec<u64>> = BTreeMap::new();
            let mut places: BTreeMap<u64, (Packet, Place)> = BTreeMap::new();
            let mut newest: Option<Place> = None;
            for (now, step) in steps.into_iter().enumerate() {
                let packet = match step {
                    Step::Packet { track, layer, lost: gap, key } => {
                        let next = next.entry((track, layer)).or_insert(1_000u64 * u64::from(track * 2 + u32::from(layer) + 1));
                        lost.entry((track, layer)).or_default().extend(*next..*next + gap);
                        *next += gap + 1;
                        packet(track, layer, *next - 1, key)
                    }
                    Step::Padding { track, layer } => {
                        let next = next.entry((track, layer)).or_insert(1_000u64 * u64::from(track * 2 + u32::from(layer) + 1));
                        *next += 1;
                        padding(track, layer, *next - 1)
                    }
                    Step::Late { track, layer, padding: empty } => {
                        let Some(index) = lost.get_mut(&(track, layer)).and_then(Vec::pop) else { continue };
                        if empty { padding(track, layer, index) } else { packet(track, layer, index, false) }
                    }
                    Step::Release => {
                        stream.release();
                        current = 1 - current;
                        continue;
                    }
                };
                // As in the engine, a slot only sees packets of the track that it is assigned.
                if packet.source.track.index() != current {
                    continue;
                }
                let late = newest.is_some_and(|_| stream.following() == Some(packet.source) && packet.index <= stream.highest);
                if let Verdict::Send(place) = place(&mut stream, &packet, now as u64 * 1_000) {
                    prop_assert!(places.insert(place.index, (packet, place)).is_none(), "{} twice", place.index);
                    if let Some(before) = newest.filter(|_| !late)
                        && place.index > before.index
                    {
                        prop_assert!((place.timestamp.wrapping_sub(before.timestamp) as i32) > 0);
                        prop_assert!(place.index - before.index <= 3 + 2, "a gap larger than what was lost");
                    }
                    newest = newest.filter(|before| before.index > place.index).or(Some(place));
                }
                for (index, (packet, place)) in places.iter().rev().take(20) {
                    if let Some(origin) = stream.origin(*index as u16) {
                        prop_assert_eq!(origin.index(), packet.index);
                        prop_assert_eq!(origin.place(packet), Some(*place));
                    } else {
                        // Only beyond the stretches that are remembered.
                        prop_assert_eq!(stream.stretches.len(), STRETCHES_PER_STREAM);
                    }
                }
            }
        }
    }
}
