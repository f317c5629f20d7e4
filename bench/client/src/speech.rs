//! People who talk with each other, as far as a relay notices: who has the word, talk spurts and pauses, and the
//! level of each packet (RFC 6464). Everybody of a room works out the same conversation from the same seed.

use super::clip::AUDIO_INTERVAL_MS;

/// The part of one person in the conversation of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speech {
    /// Of the room.
    pub seed: u64,
    /// Who of them this is.
    pub index: u16,
    /// How many there are.
    pub people: u16,
    /// Sends a packet every 400 ms where nothing is to be heard, as Opus does (RFC 6716, section 2.1.9).
    pub dtx: bool,
}

/// How long somebody has the word, on average and at the most.
const TURN_MS: f64 = 5_000.0;
const TURN_LONGEST_MS: f64 = 20_000.0;
/// Nobody has it between two turns.
const BETWEEN_TURNS_MS: f64 = 300.0;
/// Mean talk spurt (ITU-T P.59: 1.004 s) and mean pause of somebody who keeps the word; shorter ones than these
/// are no pauses to a voice detector.
const SPURT_MS: f64 = 1_004.0;
const PAUSE_MS: f64 = 450.0;
const SHORTEST_MS: f64 = 200.0;
/// "Yes" and "hm" of those who listen: how often and how long.
const INTERJECTION_EVERY_MS: f64 = 15_000.0;
const INTERJECTION_MS: f64 = 400.0;
/// Levels in −dBov: voices differ between people; syllables, four in a second, move them by this much.
const VOICE_LOUDEST: f64 = 20.0;
const VOICE_SPREAD: f64 = 10.0;
const SYLLABLE_MS: f64 = 250.0;
const SYLLABLE_DEPTH: f64 = 12.0;
/// The room that a microphone hears where nobody speaks.
const QUIET_LOUDEST: f64 = 62.0;
const QUIET_SPREAD: f64 = 16.0;
/// Opus goes on for this long after speech before it leaves packets out, and then sends one in so many.
const DTX_AFTER: u64 = 200 / AUDIO_INTERVAL_MS;
const DTX_EVERY: u64 = 400 / AUDIO_INTERVAL_MS;

/// One packet's worth of sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sound {
    /// −dBov: 0 is the loudest, 127 is silence.
    pub(crate) level: u8,
    pub(crate) voice: bool,
    /// DTX leaves it out.
    pub(crate) left_out: bool,
    /// The first after packets that were left out.
    pub(crate) begins: bool,
}

/// Works out a conversation packet by packet.
pub(crate) struct Talker {
    speech: Speech,
    /// The same for everybody of the room.
    room: Dice,
    own: Dice,
    turn: Turn,
    /// End of the spurt or pause that goes on, in own time, and which of them it is.
    part_ends_ms: f64,
    speaking: bool,
    interjection: (f64, f64),
    voice_level: f64,
    quiet_level: f64,
    spoke_last: Option<u64>,
    left_out: bool,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    speaker: u16,
    begins_ms: f64,
    ends_ms: f64,
}

impl Talker {
    pub(crate) fn new(speech: Speech) -> Self {
        let mut room = Dice::new(speech.seed);
        let mut own = Dice::new(speech.seed ^ (u64::from(speech.index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let first = Turn { speaker: room.below(speech.people), begins_ms: 0.0, ends_ms: room.turn() };
        let interjection = own.interjection(0.0);
        Self {
            speech,
            room,
            turn: first,
            part_ends_ms: 0.0,
            speaking: false,
            interjection,
            voice_level: VOICE_LOUDEST + VOICE_SPREAD * own.share(),
            quiet_level: QUIET_LOUDEST + QUIET_SPREAD * own.share(),
            own,
            spoke_last: None,
            left_out: false,
        }
    }

    /// The packet of this number: 20 ms each since the conversation began. Numbers must grow.
    pub(crate) fn sound(&mut self, number: u64) -> Sound {
        let now_ms = (number * AUDIO_INTERVAL_MS) as f64;
        let voice = self.speaks(now_ms);
        let level = match voice {
            true => {
                let syllable = (now_ms / SYLLABLE_MS * std::f64::consts::TAU).sin() * 0.5 + 0.5;
                self.voice_level + SYLLABLE_DEPTH * syllable + 3.0 * self.own.share()
            }
            false => self.quiet_level + 4.0 * self.own.share(),
        };
        if voice {
            self.spoke_last = Some(number);
        }
        let silent_for = number - self.spoke_last.unwrap_or(0).min(number);
        let left_out = self.speech.dtx && silent_for > DTX_AFTER && !(silent_for - DTX_AFTER).is_multiple_of(DTX_EVERY);
        let begins = voice && std::mem::replace(&mut self.left_out, left_out);
        self.left_out = left_out;
        Sound { level: level.clamp(0.0, 127.0) as u8, voice, left_out, begins }
    }

    fn speaks(&mut self, now_ms: f64) -> bool {
        while now_ms >= self.turn.ends_ms {
            let begins_ms = self.turn.ends_ms + self.room.exponential(BETWEEN_TURNS_MS);
            // Who had the word gives it away.
            let others = self.speech.people.saturating_sub(1);
            let step = if others > 0 { 1 + self.room.below(others) } else { 0 };
            let speaker = (self.turn.speaker + step) % self.speech.people.max(1);
            self.turn = Turn { speaker, begins_ms, ends_ms: begins_ms + self.room.turn() };
            if speaker == self.speech.index {
                (self.speaking, self.part_ends_ms) = (false, begins_ms);
            }
        }
        if self.turn.speaker == self.speech.index && now_ms >= self.turn.begins_ms {
            while now_ms >= self.part_ends_ms {
                self.speaking = !self.speaking;
                let mean = if self.speaking { SPURT_MS } else { PAUSE_MS };
                self.part_ends_ms += SHORTEST_MS + self.own.exponential(mean - SHORTEST_MS);
            }
            return self.speaking;
        }
        while now_ms >= self.interjection.1 {
            self.interjection = self.own.interjection(self.interjection.1);
        }
        now_ms >= self.interjection.0
    }
}

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds shall not begin alike.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            dice.throw();
        }
        dice
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to just below 1.
    fn share(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: u16) -> u16 {
        (self.share() * f64::from(end)) as u16
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.share()).ln() * mean
    }

    fn turn(&mut self) -> f64 {
        (2.0 * SPURT_MS + self.exponential(TURN_MS - 2.0 * SPURT_MS)).min(TURN_LONGEST_MS)
    }

    /// Begin and end of the next interjection.
    fn interjection(&mut self, after_ms: f64) -> (f64, f64) {
        let begins = after_ms + self.exponential(INTERJECTION_EVERY_MS);
        (begins, begins + SHORTEST_MS + self.exponential(INTERJECTION_MS - SHORTEST_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: u16 = 4;
    /// Ten minutes.
    const PACKETS: u64 = 30_000;

    fn conversation(seed: u64, dtx: bool) -> Vec<Vec<Sound>> {
        let talker = |index| Talker::new(Speech { seed, index, people: PEOPLE, dtx });
        let mut talkers: Vec<Talker> = (0..PEOPLE).map(talker).collect();
        (0..PACKETS).map(|number| talkers.iter_mut().map(|talker| talker.sound(number)).collect()).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_conversation() {
        assert_eq!(conversation(7, false), conversation(7, false));
        assert_ne!(conversation(7, false), conversation(8, false));
        // Who sends late has lost nothing of the conversation.
        let mut late = Talker::new(Speech { seed: 7, index: 2, people: PEOPLE, dtx: false });
        let spoken = |packets: &[Vec<Sound>]| packets.iter().map(|all| all[2].voice).collect::<Vec<_>>();
        let whole = conversation(7, false);
        let heard: Vec<bool> = (0..PACKETS).map(|number| late.sound(number).voice).collect();
        assert_eq!(heard, spoken(&whole));
    }

    #[test]
    fn one_at_a_time_and_everybody_sometimes() {
        let packets = conversation(1, false);
        let speaking = |all: &Vec<Sound>| all.iter().filter(|sound| sound.voice).count();
        let share = |wanted: fn(usize) -> bool| {
            packets.iter().filter(|all| wanted(speaking(all))).count() as f64 / PACKETS as f64
        };
        assert!((0.5..0.9).contains(&share(|count| count > 0)), "{}", share(|count| count > 0));
        assert!((0.005..0.15).contains(&share(|count| count > 1)), "{}", share(|count| count > 1));
        for index in 0..usize::from(PEOPLE) {
            let own = packets.iter().filter(|all| all[index].voice).count() as f64 / PACKETS as f64;
            assert!((0.05..0.4).contains(&own), "{index} speaks {own} of the time");
        }
    }

    #[test]
    fn voices_are_louder_than_pauses_and_move() {
        let packets = conversation(3, false);
        let levels = |voice: bool| packets.iter().flatten().filter(move |sound| sound.voice == voice).map(|s| s.level);
        assert!(levels(true).max().unwrap() < levels(false).min().unwrap());
        assert!(levels(true).max().unwrap() - levels(true).min().unwrap() >= 10);
        assert!(packets.iter().flatten().all(|sound| !sound.left_out && !sound.begins));
    }

    #[test]
    fn dtx_leaves_out_what_cannot_be_heard_but_no_speech() {
        let packets = conversation(3, true);
        assert!(packets.iter().flatten().all(|sound| !(sound.voice && sound.left_out)));
        let sent = packets.iter().flatten().filter(|sound| !sound.left_out).count() as f64;
        let share = sent / (PACKETS * u64::from(PEOPLE)) as f64;
        assert!((0.15..0.45).contains(&share), "{share}");
        // Nobody is silent for longer than 400 ms.
        for index in 0..usize::from(PEOPLE) {
            let pause = packets.chunk_by(|a, b| a[index].left_out == b[index].left_out);
            let longest = pause.filter(|part| part[0][index].left_out).map(<[_]>::len).max().unwrap();
            assert_eq!(longest as u64, DTX_EVERY - 1);
        }
        assert!(packets.iter().flatten().any(|sound| sound.begins));
    }

    #[test]
    fn a_lecturer_keeps_the_word() {
        let mut talker = Talker::new(Speech { seed: 5, index: 0, people: 1, dtx: false });
        let spoken = (0..PACKETS).filter(|number| talker.sound(*number).voice).count() as f64 / PACKETS as f64;
        assert!((0.55..0.8).contains(&spoken), "{spoken}");
    }
}
