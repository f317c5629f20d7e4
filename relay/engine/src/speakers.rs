//! Who speaks in a room, from the audio levels that browsers put into their packets (RFC 6464).

use crate::time::Time;
use plausch_relay_api::limits::{SPEAKERS_INTERVAL_MS, SPEAKERS_PER_EVENT};
use plausch_relay_api::{ParticipantId, SpeakerLevel};
use std::time::Duration;

/// −dBov. Speech at a usual distance is 20 to 40, a quiet room 60 to 90.
const SPEAKING: u8 = 50;
/// Silence of one who spoke a moment ago: pauses between words do not end a speech.
const STILL_SPEAKING: u8 = 65;
/// Half-life of the smoothed level while it falls; it rises at once with a loud packet.
const FALL_PER_SECOND: f32 = 25.0;
/// Bytes of an Opus packet without a signal: discontinuous transmission, or digital silence.
const SILENT_BYTES: usize = 8;
/// −dBov of a source that sends no levels and whose packets are all alike: somebody is there, and whoever speaks up is
/// louder.
const PRESENT: u8 = 45;
/// −dBov for the smallest and for the largest packets of a source that sends no levels.
const SMALLEST: f32 = 70.0;
const LARGEST: f32 = 25.0;
/// What is known of the smallest and the largest doubles or halves within 500 packets, ten seconds.
const RISE: f32 = 1.0014;
/// Without a packet for so long somebody is silent (Opus with DTX sends one in 400 ms).
const GONE: Duration = Duration::from_millis(1_000);

const SILENCE: f32 = 127.0;

/// Of one participant's microphone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loudness {
    /// −dBov, smoothed.
    level: f32,
    updated: Time,
    speaking: bool,
    /// Bytes of the smallest and the largest packets without a level, 0 before the first.
    sizes: (f32, f32),
}

impl Default for Loudness {
    fn default() -> Self {
        Self { level: SILENCE, updated: Time(0), speaking: false, sizes: (0.0, 0.0) }
    }
}

impl Loudness {
    /// From the first loud packet to the look whether that is speech.
    pub(crate) const DOUBT: Duration = Duration::from_millis(60);

    /// Whether a packet of this level is reason to look.
    pub(crate) fn may_be_speech(level: u8) -> bool {
        level <= SPEAKING
    }

    /// The level of a packet that says none (RFC 6464 is optional), by its size among those before: speech needs more bits
    /// than a pause. With a constant bit rate presence has to do.
    pub(crate) fn guess(&mut self, bytes: usize) -> u8 {
        if bytes <= SILENT_BYTES {
            return 127;
        }
        let bytes = bytes as f32;
        let (smallest, largest) = self.sizes;
        let smallest = if smallest == 0.0 { bytes } else { (smallest * RISE).min(bytes) };
        let largest = (largest / RISE).max(bytes);
        self.sizes = (smallest, largest);
        if largest < 2.0 * smallest {
            return PRESENT;
        }
        (SMALLEST + (LARGEST - SMALLEST) * (bytes - smallest) / (largest - smallest)) as u8
    }

    /// Takes the level of one packet.
    pub(crate) fn record(&mut self, level: u8, now: Time) {
        let level = f32::from(level.min(127));
        let fallen = (self.level + FALL_PER_SECOND * now.since(self.updated).as_secs_f32()).min(SILENCE);
        // Half the way up: one click of a keyboard is not yet a speaker, three packets of speech are.
        self.level = if level < fallen { (level + fallen) / 2.0 } else { fallen };
        self.updated = now;
    }

    /// The level if this is a speaker now.
    pub(crate) fn speaking(&mut self, now: Time) -> Option<u8> {
        let quiet_for = now.since(self.updated);
        let level = (self.level + FALL_PER_SECOND * quiet_for.as_secs_f32()).min(SILENCE);
        let threshold = if self.speaking { STILL_SPEAKING } else { SPEAKING };
        self.speaking = quiet_for < GONE && level <= f32::from(threshold);
        self.speaking.then_some(level as u8)
    }
}

/// Of one room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    /// As last told, loudest first.
    told: Vec<SpeakerLevel>,
    /// Sorted anew each time.
    current: Vec<SpeakerLevel>,
    /// Whether the room's timer runs.
    pub(crate) active: bool,
}

impl Speakers {
    /// Between two looks at the levels.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(SPEAKERS_INTERVAL_MS);

    /// Takes who speaks at the moment. `Some` is news: others than before, or another order.
    pub(crate) fn update(&mut self, speaking: impl Iterator<Item = (ParticipantId, u8)>) -> Option<Vec<SpeakerLevel>> {
        self.current.clear();
        self.current.extend(speaking.map(|(participant, level)| SpeakerLevel { participant, level }));
        // Two who are about as loud do not change places all the time: those told before keep their order.
        let told = &self.told;
        let rank = |speaker: &SpeakerLevel| {
            let before = told.iter().position(|told| told.participant == speaker.participant);
            (speaker.level / 8, before.unwrap_or(usize::MAX), speaker.participant)
        };
        self.current.sort_unstable_by_key(rank);
        self.current.truncate(SPEAKERS_PER_EVENT);
        self.active = !self.current.is_empty();
        let same = self.current.iter().map(|now| now.participant).eq(self.told.iter().map(|told| told.participant));
        if same {
            return None;
        }
        std::mem::swap(&mut self.told, &mut self.current);
        Some(self.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_is_noticed_and_its_end_too() {
        let mut loudness = Loudness::default();
        assert_eq!(loudness.speaking(Time(0)), None);
        for packet in 0..10 {
            loudness.record(30, Time::from_millis(packet * 20));
        }
        assert!(loudness.speaking(Time::from_millis(200)).is_some());
        for packet in 10..110 {
            loudness.record(127, Time::from_millis(packet * 20));
        }
        assert_eq!(loudness.speaking(Time::from_millis(2_200)), None);
    }

    #[test]
    fn a_click_is_no_speaker_and_a_vanished_speaker_is_silent() {
        let mut loudness = Loudness::default();
        loudness.record(10, Time(0));
        assert_eq!(loudness.speaking(Time(0)), None);
        for packet in 0..10 {
            loudness.record(10, Time::from_millis(packet * 20));
        }
        assert!(loudness.speaking(Time::from_millis(200)).is_some());
        assert_eq!(loudness.speaking(Time::from_millis(1_300)), None);
    }

    /// 20 ms each, as sizes come from an encoder without the extension.
    fn heard(sizes: impl Iterator<Item = usize>) -> Option<u8> {
        let mut loudness = Loudness::default();
        let mut now = Time(0);
        for bytes in sizes {
            now = now + Duration::from_millis(20);
            let level = loudness.guess(bytes);
            loudness.record(level, now);
        }
        loudness.speaking(now)
    }

    #[test]
    fn a_source_without_levels_is_judged_by_its_packets() {
        let pause = |n: usize| 20 + n % 7;
        let speech = |n: usize| 60 + n * 13 % 50;
        assert!(heard((0..100).map(pause).chain((0..50).map(speech))).is_some(), "speech");
        assert_eq!(heard((0..50).map(speech).chain((0..150).map(pause))), None, "a pause after it");
        assert_eq!(heard(std::iter::repeat_n(3, 200)), None, "silence");
        assert_eq!(heard(std::iter::repeat_n(80, 200)), Some(PRESENT), "a constant bit rate");
    }

    #[test]
    fn only_changes_are_told() {
        let mut speakers = Speakers::default();
        let (a, b) = (ParticipantId(1), ParticipantId(2));
        assert!(speakers.update([(a, 40), (b, 20)].into_iter()).is_some_and(|told| told[0].participant == b));
        assert_eq!(speakers.update([(a, 22), (b, 23)].into_iter()), None);
        assert!(speakers.update([(a, 10), (b, 40)].into_iter()).is_some_and(|told| told[0].participant == a));
        assert!(speakers.update(std::iter::empty()).is_some_and(|told| told.is_empty()));
        assert_eq!(speakers.update(std::iter::empty()), None);
    }
}
