//! What a participant receives: slots, each with an audio and a video stream that follow one source.

use crate::packet::LayerId;
use crate::slab::Key;
use crate::stream::Stream;
use crate::target::Target;
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::limits::RETRANSMISSIONS_PER_SECOND;
use plausch_relay_api::{MediaKind, SlotAssignment, SlotSpec};

/// One slot of one participant.
#[derive(Debug)]
pub(crate) struct Slot {
    pub spec: SlotSpec,
    pub assignment: Option<SlotAssignment>,
    /// `None`: the slot is without this medium.
    pub audio: Option<Stream>,
    pub video: Option<Stream>,
    /// The tracks of the assigned source, as far as they are published and the slot has their medium.
    pub audio_track: Option<Key<Track>>,
    pub video_track: Option<Key<Track>>,
    /// What is to go out as video.
    pub target: Target,
}

impl Slot {
    fn new(spec: SlotSpec) -> Self {
        let stream = |media| spec.stream(media).map(|stream| Stream::new(stream.ssrc, &stream.mid, media));
        let (audio, video) = (stream(MediaKind::Audio), stream(MediaKind::Video));
        Self { spec, assignment: None, audio, video, audio_track: None, video_track: None, target: Target::Nothing }
    }

    pub(crate) fn stream_mut(&mut self, media: MediaKind) -> Option<&mut Stream> {
        match media {
            MediaKind::Audio => self.audio.as_mut(),
            MediaKind::Video => self.video.as_mut(),
        }
    }

    /// Audio and video.
    pub(crate) fn streams(&self) -> [Option<&Stream>; 2] {
        [self.audio.as_ref(), self.video.as_ref()]
    }

    /// What the stream of a medium follows.
    pub(crate) fn following(&self, media: MediaKind) -> Option<LayerId> {
        let [audio, video] = self.streams();
        let stream = if media == MediaKind::Audio { audio } else { video };
        stream?.following()
    }

    /// The streams that there are.
    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.audio.iter_mut().chain(&mut self.video)
    }

    /// The largest simulcast layer to forward.
    pub(crate) fn max_layer(&self) -> u8 {
        self.assignment.map_or(0, |assignment| assignment.max_layer)
    }
}

/// All slots of one participant.
#[derive(Debug)]
pub(crate) struct Downlink {
    pub slots: Vec<Slot>,
    /// Track number in the room → index into `slots`, or `NOBODY`.
    follows: Vec<u8>,
    pub budget: Budget,
    /// What this adds to the gauge of subscriptions.
    pub counted: u64,
}

const NOBODY: u8 = u8::MAX;

impl Downlink {
    pub(crate) fn new(specs: &[SlotSpec], now: Time) -> Self {
        let slots = specs.iter().cloned().map(Slot::new).collect();
        Self { slots, follows: Vec::new(), budget: Budget::new(now), counted: 0 }
    }

    /// Takes the slots of a changed spec: those that there were go on, and new ones begin.
    pub(crate) fn change(&mut self, specs: &[SlotSpec]) {
        let mut before = std::mem::take(&mut self.slots);
        self.slots = specs
            .iter()
            .map(|spec| match before.iter().position(|slot| slot.spec == *spec) {
                Some(place) => before.swap_remove(place),
                None => Slot::new(spec.clone()),
            })
            .collect();
    }

    /// The slot that follows the track with this number.
    pub(crate) fn follower(&mut self, number: u16) -> Option<&mut Slot> {
        let place = *self.follows.get(usize::from(number))?;
        self.slots.get_mut(usize::from(place))
    }

    /// Sets which slots follow which tracks: (number, index into `slots`).
    pub(crate) fn set_follows(&mut self, follows: impl Iterator<Item = (u16, usize)>) {
        self.follows.fill(NOBODY);
        for (number, place) in follows {
            let number = usize::from(number);
            if number >= self.follows.len() {
                self.follows.resize(number + 1, NOBODY);
            }
            if let Some(entry) = self.follows.get_mut(number) {
                *entry = u8::try_from(place).unwrap_or(NOBODY);
            }
        }
    }

    /// The slot and kind of an outgoing SSRC.
    pub(crate) fn find_ssrc(&self, ssrc: u32) -> Option<(usize, MediaKind)> {
        self.slots.iter().enumerate().find_map(|(place, slot)| {
            let of_medium = |media| slot.spec.stream(media).is_some_and(|stream| stream.ssrc == ssrc);
            let media = [MediaKind::Video, MediaKind::Audio].into_iter().find(|&media| of_medium(media))?;
            Some((place, media))
        })
    }

    /// Slots that have a source.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.slots.iter().filter(|slot| slot.assignment.is_some()).count() as u64
    }
}

/// A token bucket for retransmissions: it holds a second's worth.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u32,
    filled: Time,
}

impl Budget {
    fn new(now: Time) -> Self {
        Self { tokens: RETRANSMISSIONS_PER_SECOND, filled: now }
    }

    /// Takes one retransmission out, if there is one left.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let earned = now.since(self.filled).as_micros() * u128::from(RETRANSMISSIONS_PER_SECOND) / 1_000_000;
        if earned > 0 {
            self.tokens =
                u32::try_from(earned).unwrap_or(u32::MAX).saturating_add(self.tokens).min(RETRANSMISSIONS_PER_SECOND);
            self.filled = now;
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plausch_relay_api::{SlotId, SlotStream};

    fn spec(slot: u16) -> SlotSpec {
        let ssrc = u32::from(slot) * 10;
        let [audio, video] =
            [("a", 1), ("v", 2)].map(|(letter, n)| SlotStream::new(format!("{letter}{slot}"), ssrc + n));
        SlotSpec::both(SlotId(slot), audio, video)
    }

    #[test]
    fn a_track_finds_its_slot() {
        let mut downlink = Downlink::new(&[spec(1), spec(2)], Time(0));
        downlink.set_follows([(0, 1), (7, 0)].into_iter());
        assert_eq!(downlink.follower(0).map(|slot| slot.spec.slot), Some(SlotId(2)));
        assert_eq!(downlink.follower(7).map(|slot| slot.spec.slot), Some(SlotId(1)));
        assert!(downlink.follower(3).is_none() && downlink.follower(8).is_none());
        downlink.set_follows(std::iter::empty());
        assert!(downlink.follower(0).is_none());
        assert_eq!(downlink.find_ssrc(22), Some((1, MediaKind::Video)));
        assert_eq!(downlink.find_ssrc(23), None);
    }

    #[test]
    fn slots_that_stay_keep_their_streams() {
        let mut downlink = Downlink::new(&[spec(1), spec(2)], Time(0));
        downlink.slots[1].audio.as_mut().unwrap().packets = 7;
        downlink.change(&[spec(2), spec(3)]);
        assert_eq!(downlink.slots.len(), 2);
        assert_eq!(downlink.slots[0].audio.as_ref().unwrap().packets, 7);
    }

    #[test]
    fn a_storm_of_nacks_meets_a_limit() {
        let mut budget = Budget::new(Time(0));
        let granted = (0..10_000).filter(|_| budget.take(Time(0))).count();
        assert_eq!(granted as u32, RETRANSMISSIONS_PER_SECOND);
        let granted = (0..1_000_000u64).filter(|&at| budget.take(Time(at))).count() as u32;
        assert!(granted.abs_diff(RETRANSMISSIONS_PER_SECOND) <= 1, "{granted}");
    }
}
