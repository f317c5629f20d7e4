//! Which packets of a publisher are missing, and when to ask for them (RFC 4585, section 6.2.1).

use crate::time::Time;
use plausch_relay_api::limits::MISSING_PACKETS;
use std::time::Duration;

/// Packets overtake each other on the way: so long a gap is not yet a loss.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// How often to ask for one packet: who has it answers one of three, and who never keeps any answers none of a hundred.
const TRIES: u8 = 3;
/// Between two requests for one packet at the least, however near the publisher.
const RETRY_AT_LEAST: Duration = Duration::from_millis(40);
/// A picture that is later than this is not waited for any more.
const GIVE_UP: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u64,
    since: Time,
    next: Time,
    tries: u8,
}

/// The gaps of one layer.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// In order of the index.
    entries: Vec<Entry>,
    /// Some were asked for in vain since [`Self::take_given_up`].
    given_up: bool,
}

/// The gap is too large to be filled: only a key frame helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooMany;

impl Missing {
    /// Packet `index` came; `highest` was the highest before it.
    pub(crate) fn record(&mut self, index: u64, highest: u64, now: Time) -> Result<(), TooMany> {
        if index <= highest {
            if let Ok(place) = self.entries.binary_search_by_key(&index, |entry| entry.index) {
                self.entries.remove(place);
            }
            return Ok(());
        }
        let gap = index - highest - 1;
        if gap == 0 {
            return Ok(());
        }
        if self.entries.len() as u64 + gap > MISSING_PACKETS as u64 {
            self.entries.clear();
            return Err(TooMany);
        }
        let next = now + REORDER_WAIT;
        self.entries.reserve_exact(MISSING_PACKETS - self.entries.len());
        self.entries.extend((highest + 1..index).map(|index| Entry { index, since: now, next, tries: 0 }));
        Ok(())
    }

    /// Whether packets were asked for in vain, told once: a key frame must make up for them.
    pub(crate) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.given_up)
    }

    /// When the next request is due.
    pub(crate) fn next(&self) -> Time {
        self.entries.iter().map(|entry| entry.next).min().unwrap_or(Time::NEVER)
    }

    /// Gives the sequence numbers to ask for now, in order and at most `room`, to `ask`. What is left stays due.
    pub(crate) fn due(&mut self, now: Time, round_trip: Duration, mut room: usize, mut ask: impl FnMut(u16)) {
        let wait = round_trip.max(RETRY_AT_LEAST);
        let given_up = &mut self.given_up;
        self.entries.retain_mut(|entry| {
            if entry.next > now {
                return true;
            }
            if entry.tries == TRIES || now.since(entry.since) > GIVE_UP {
                *given_up = true;
                return false;
            }
            if room == 0 {
                return true;
            }
            room -= 1;
            ask(entry.index as u16);
            entry.tries += 1;
            entry.next = now + wait;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(missing: &mut Missing, now: Time) -> Vec<u16> {
        let mut asked = Vec::new();
        missing.due(now, Duration::from_millis(100), 256, |sequence| asked.push(sequence));
        asked
    }

    #[test]
    fn a_gap_is_asked_for_after_a_moment_and_again_after_a_round_trip() {
        let mut missing = Missing::default();
        missing.record(65_538, 65_534, Time(0)).unwrap();
        assert!(due(&mut missing, Time(0)).is_empty());
        assert_eq!(missing.next(), Time(10_000));
        assert_eq!(due(&mut missing, Time(10_000)), [65_535, 0, 1]);
        missing.record(65_536, 65_538, Time(20_000)).unwrap();
        assert!(due(&mut missing, Time(100_000)).is_empty());
        assert_eq!(due(&mut missing, Time(110_000)), [65_535, 1]);
    }

    #[test]
    fn nothing_is_asked_for_forever() {
        let mut missing = Missing::default();
        missing.record(2, 0, Time(0)).unwrap();
        let mut asked = 0;
        for step in 1..100u64 {
            asked += due(&mut missing, Time(step * 100_000)).len();
        }
        assert_eq!(asked, usize::from(TRIES));
        assert!(missing.take_given_up() && !missing.take_given_up());
        assert_eq!(missing.next(), Time::NEVER);
    }

    #[test]
    fn a_jump_is_no_list_of_losses() {
        let mut missing = Missing::default();
        assert_eq!(missing.record(1_000_000, 5, Time(0)), Err(TooMany));
        assert_eq!(missing.next(), Time::NEVER);
    }
}
