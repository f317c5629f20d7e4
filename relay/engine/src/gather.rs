//! Packets between their way in and their way out. A frame comes as a burst of packets; where many follow it, a little
//! patience turns the burst into one run for each of them, and sending a run costs the kernel little more than sending
//! one packet. So nobody waits longer for the last packet of a frame than without this.

use crate::packet::{Packet, Span};
use crate::room::Room;
use crate::slab::Slab;
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::MediaKind;
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES, GATHER_BATCHES, GATHER_MOST_US, MESSAGE_COST_US};
use std::time::Duration;

/// The longest wait for a next packet, as a part of the longest wait for all.
const GAP_SHARE: u32 = 4;
/// Packets of frames that came together, less twice those that came alone: from so many on a sender counts as one that
/// sends its frames at once, and at most so many are remembered.
const BURSTY: u8 = 4;
const BURSTY_MOST: u8 = 16;

/// Plain bytes of what waits.
#[derive(Debug)]
pub(crate) struct Gathered {
    bytes: Box<[u8]>,
    used: usize,
}

/// One packet that waits in its room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub packet: Packet,
    /// It came after a packet with a larger number: it may have been asked for already.
    pub late: bool,
    start: usize,
    len: usize,
}

impl Gathered {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; GATHER_BATCHES * BATCH_PACKETS * DATAGRAM_BYTES].into_boxed_slice(), used: 0 }
    }

    /// Keeps a copy until [`Self::clear`]. `None`: there is no room, which only happens to a caller who hands in
    /// packets while others are due to go out.
    pub(crate) fn keep(&mut self, packet: Packet, late: bool, plain: &[u8]) -> Option<Waiting> {
        let start = self.used;
        let end = start + plain.len();
        self.bytes.get_mut(start..end)?.copy_from_slice(plain);
        self.used = end;
        Some(Waiting { packet, late, start, len: plain.len() })
    }

    pub(crate) fn plain(&self, waiting: &Waiting) -> &[u8] {
        self.bytes.get(waiting.start..waiting.start + waiting.len).unwrap_or(&[])
    }

    /// Whether the next batch may find no room.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.used < BATCH_PACKETS * DATAGRAM_BYTES
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }
}

/// Whether a sender's frames come as bursts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bursts {
    credit: u8,
    /// The room's gathering in which the latest packet was.
    gathering: u32,
    /// A frame has begun and its last packet is not there yet.
    open: bool,
}

impl Bursts {
    /// Notes a packet of the newest frame. `continues`: it is not the first of it.
    pub(crate) fn note(&mut self, gathering: u32, continues: bool, marker: bool) {
        if continues {
            let together = self.gathering == gathering;
            self.credit = if together { (self.credit + 1).min(BURSTY_MOST) } else { self.credit.saturating_sub(2) };
        }
        self.gathering = gathering;
        self.open = !marker;
    }

    /// More of the frame that began in this gathering will be here at once.
    fn expects_more(&self, gathering: u32) -> bool {
        self.open && self.gathering == gathering && self.credit >= BURSTY
    }
}

impl Room {
    /// Until when the room's packets wait for the rest of their frames; `None`: they go out now.
    pub(crate) fn waits_until(&mut self, tracks: &Slab<Track>, from_members: usize, now: Time) -> Option<Time> {
        if self.members.len() < from_members {
            return None;
        }
        let expected = self.batch.iter().any(|waiting| {
            let source = waiting.packet.source;
            let layer = tracks.get(source.track).and_then(|track| track.layer(source.layer));
            layer.is_some_and(|layer| layer.epoch == source.epoch && layer.bursts.expects_more(self.gathering))
        });
        if !expected {
            return None;
        }
        // As long as it takes to send one message to everybody: what a run saves is worth more.
        let most = (self.members.len() as u64 * MESSAGE_COST_US).min(GATHER_MOST_US);
        let most = Duration::from_micros(most);
        let since = *self.gathering_since.get_or_insert(now);
        Some((now + most / GAP_SHARE).min(since + most)).filter(|&until| until > now)
    }

    /// Orders what has gathered, before the first member gets it: a member's packets of one track one after the other,
    /// sound last, for sound is short and ends a run. Packets of a layer keep their order.
    pub(crate) fn arrange(&mut self, tracks: &mut Slab<Track>) -> u64 {
        if self.batch.len() < 2 {
            return 0;
        }
        self.batch.sort_unstable_by_key(|waiting| {
            (waiting.packet.codec.media() == MediaKind::Audio, waiting.packet.number, waiting.start)
        });
        self.pad(tracks)
    }

    /// libwebrtc cuts a frame into packets whose lengths differ by one byte, and a run is of equal ones: a byte of
    /// padding (RFC 3550, section 5.1) makes them so. It becomes a part of the packet, also in the cache, because a
    /// packet that is sent again must be the same bit by bit. Answers how many packets got it.
    fn pad(&mut self, tracks: &mut Slab<Track>) -> u64 {
        let mut padded = 0;
        for first in 0..self.batch.len() {
            let (before, rest) = self.batch.split_at_mut(first);
            let Some(source) = rest.first().map(|waiting| waiting.packet.source) else { break };
            if before.iter().any(|waiting| waiting.packet.source == source) {
                continue;
            }
            let Some(layer) = tracks.get_mut(source.track).and_then(|track| track.layer_mut(source.layer)) else {
                continue;
            };
            let Some(cache) = layer.cache.as_mut().filter(|_| layer.epoch == source.epoch) else { continue };
            let mut run: Option<Run> = None;
            let end = rest.len();
            for at in 0..=end {
                let next = match rest.get(at) {
                    Some(waiting) if waiting.packet.source != source => continue,
                    waiting => waiting.and_then(Waiting::shape),
                };
                if run.as_mut().zip(next).is_some_and(|(run, next)| run.takes(next)) {
                    continue;
                }
                if let Some(run) = run {
                    let mut packets = rest.get_mut(run.from..at).unwrap_or(&mut []).iter_mut();
                    if at == end {
                        // The layer's last may stay short: it ends the run.
                        packets.rfind(|waiting| waiting.packet.source == source);
                    }
                    for waiting in packets.filter(|waiting| waiting.packet.source == source) {
                        let short = waiting.packet.payload.len() < run.high;
                        if short && cache.pad(waiting.packet.index, 1) {
                            waiting.packet.padding = 1;
                            padded += 1;
                        }
                    }
                }
                run = next.map(|next| Run { from: at, shape: next, high: next.payload });
            }
        }
        padded
    }
}

impl Waiting {
    /// `None`: not to be padded. A late packet may have gone out before, from the cache and without padding.
    fn shape(&self) -> Option<Shape> {
        let packet = &self.packet;
        let descriptor = packet.dependency_descriptor.map_or(0, Span::len);
        (!self.late && !packet.is_padding()).then_some(Shape { payload: packet.payload.len(), descriptor })
    }
}

/// What makes two packets of one layer differ in length on the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    payload: usize,
    descriptor: usize,
}

/// Packets of one layer, from place `from` on, whose lengths differ by a byte at the most.
struct Run {
    from: usize,
    /// Of the shortest.
    shape: Shape,
    high: usize,
}

impl Run {
    fn takes(&mut self, next: Shape) -> bool {
        let (low, high) = (self.shape.payload.min(next.payload), self.high.max(next.payload));
        let fits = high - low <= 1 && Shape { payload: self.shape.payload, ..next } == self.shape;
        if fits {
            (self.shape.payload, self.high) = (low, high);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::slab::Key;
    use crate::track::tests::track;
    use plausch_relay_api::RoomId;
    use proptest::prelude::*;

    /// Runs as [`crate::TxBatch`] makes them: equal ones, and a shorter one that ends it.
    fn runs(lens: impl Iterator<Item = usize>) -> usize {
        let mut runs = 0;
        let mut open: Option<(usize, bool)> = None;
        for len in lens {
            match open {
                Some((segment, false)) if len <= segment => open = Some((segment, len < segment)),
                _ => (runs, open) = (runs + 1, Some((len, false))),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn padding_is_a_byte_and_makes_no_more_runs(
            packets in prop::collection::vec((prop::sample::select(vec![0usize, 80, 81, 99, 100, 101, 102]), 0u8..8), 1..40),
        ) {
            let mut tracks = Slab::new();
            let mut track = track();
            track.begin_layer(0, 1);
            track.layer_mut(0).unwrap().cache = Some(Cache::new(Time(0)));
            let key: Key<Track> = tracks.insert(track);
            let mut room = Room::new(RoomId(1));
            let mut gathered = Gathered::new();
            for (index, &(len, chance)) in (1u64..).zip(&packets) {
                let mut packet = crate::cache::tests::packet(index);
                let layer = tracks.get_mut(key).unwrap().layer_mut(0).unwrap();
                packet.source = crate::packet::LayerId { track: key, layer: 0, epoch: layer.epoch };
                packet.payload = Span::new(12..12 + len).unwrap();
                let plain = vec![index as u8; 12 + len];
                layer.cache.as_mut().unwrap().store(&packet, &plain, Time(0));
                room.batch.push(gathered.keep(packet, chance == 0, &plain).unwrap());
            }
            let padded = room.arrange(&mut tracks);
            let cache = tracks.get(key).unwrap().layer(0).unwrap().cache.as_ref().unwrap();
            prop_assert_eq!(room.batch.len(), packets.len());
            for (index, (waiting, &(len, chance))) in (1u64..).zip(room.batch.iter().zip(&packets)) {
                prop_assert_eq!(waiting.packet.index, index);
                prop_assert_eq!(gathered.plain(waiting), &vec![index as u8; 12 + len]);
                prop_assert!(waiting.packet.padding <= u8::from(chance != 0 && len != 0));
                prop_assert_eq!(cache.get(index).unwrap().0.padding, waiting.packet.padding);
            }
            let after = room.batch.iter().map(|waiting| waiting.packet.payload.len() + usize::from(waiting.packet.padding));
            // One that may not be padded can have carried on the run that the padded one before it now ends.
            let unpaddable = |&(len, chance): &(usize, u8)| chance == 0 || len == 0;
            let broken = packets.windows(2).filter(|pair| !unpaddable(&pair[0]) && unpaddable(&pair[1])).count();
            prop_assert!(runs(after.clone()) <= broken + runs(packets.iter().map(|&(len, _)| len)));
            prop_assert_eq!(after.sum::<usize>() as u64 - padded, packets.iter().map(|&(len, _)| len as u64).sum::<u64>());
        }
    }

    #[test]
    fn what_finds_no_room_is_refused() {
        let mut gathered = Gathered::new();
        let packet = crate::cache::tests::packet(1);
        let plain = [0; DATAGRAM_BYTES];
        let kept = (0..).take_while(|_| gathered.keep(packet, false, &plain).is_some()).count();
        assert_eq!(kept, GATHER_BATCHES * BATCH_PACKETS);
        assert!(gathered.is_full());
        gathered.clear();
        assert!(!gathered.is_full());
    }

    #[test]
    fn only_frames_that_come_at_once_are_waited_for() {
        let mut bursts = Bursts::default();
        for gathering in 0..5 {
            for part in 0..3 {
                bursts.note(gathering, part > 0, part == 2);
            }
        }
        assert!(!bursts.expects_more(4), "the frame is whole");
        bursts.note(5, false, false);
        assert!(bursts.expects_more(5) && !bursts.expects_more(6));
        for gathering in 6..20 {
            bursts.note(gathering, true, false);
        }
        assert!(!bursts.expects_more(19), "one packet each time");
    }
}
