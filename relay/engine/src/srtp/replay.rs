//! Per-stream state of a receiver: rollover counter and replay windows (RFC 3711, sections 3.3.1 and 3.3.2).

use plausch_relay_api::limits::REPLAY_WINDOW_PACKETS;

const WORD_BITS: u64 = u64::BITS as u64;
/// One word more than the window has, so that the words of the newest and of the oldest packet are never the same one.
const WORDS: usize = (REPLAY_WINDOW_PACKETS / WORD_BITS + 1) as usize;
/// Packet indexes have 48 bits: a rollover counter of 32 and a sequence number of 16.
const INDEX_BITS: u32 = 48;

/// After so many packets in a row that did not open, other rollover counters are tried than the likeliest: late copies and
/// forgeries come one by one, and after a long gap everything fails.
const DOUBT_AFTER: u32 = 4;
/// Rollover counters ahead that are tried in turn, one with each packet: four million packets, an hour of video.
const ROLLOVERS_AHEAD: u32 = 64;

/// One received SSRC: rollover counter and replay window.
#[derive(Clone, Debug, Default)]
pub struct ReceiveStream {
    highest: Option<u64>,
    /// Bit `index` is in word `index / 64 % WORDS`: set once the packet was received.
    received: [u64; WORDS],
    /// Packets since the last that opened.
    failures: u32,
}

impl ReceiveStream {
    /// A stream of which nothing was received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest packet index that was authenticated.
    pub fn highest_index(&self) -> Option<u64> {
        self.highest
    }

    /// The packet index that a sequence number most likely means (RFC 3711, section 3.3.1 and appendix A).
    /// A new stream begins with rollover counter 0. `None`: before the stream's begin, or after its end.
    pub(super) fn estimate_index(&self, sequence: u16) -> Option<u64> {
        const HALF: u16 = 1 << 15;
        let Some(highest) = self.highest else { return Some(u64::from(sequence)) };
        let rollover = highest >> 16;
        let last = (highest & 0xffff) as u16;
        let rollover = if last < HALF {
            if sequence.saturating_sub(last) > HALF { rollover.checked_sub(1)? } else { rollover }
        } else if last - HALF > sequence {
            rollover + 1
        } else {
            rollover
        };
        let index = rollover << 16 | u64::from(sequence);
        (index >> INDEX_BITS == 0).then_some(index)
    }

    /// Whether more than the likeliest index is worth an attempt.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.highest.is_none() || self.failures >= DOUBT_AFTER
    }

    /// The packet did not open.
    pub(super) fn note_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The packet indexes that a sequence number may mean, the likeliest first and none that was received or is too old:
    /// without doubt that one alone. Otherwise those of RFC 3711, section 3.3.1: with the rollover counters around the
    /// last, and one further ahead, another one with each failure; never further back, where replays are. At most five.
    pub(super) fn candidates(&self, sequence: u16) -> impl Iterator<Item = u64> {
        let likeliest = self.estimate_index(sequence);
        let last = self.highest.map_or(0, |highest| highest >> 16);
        let ahead = 2 + u64::from(self.failures.saturating_sub(DOUBT_AFTER) % ROLLOVERS_AHEAD);
        let others = [Some(last), Some(last + 1), last.checked_sub(1), self.highest.map(|_| last + ahead)];
        let others = others.into_iter().flatten().map(move |rollover| rollover << 16 | u64::from(sequence));
        let others = others.filter(move |&index| Some(index) != likeliest && index >> INDEX_BITS == 0);
        let others = others.take(if self.is_in_doubt() { usize::MAX } else { 0 });
        likeliest.into_iter().chain(others).filter(|&index| self.is_fresh(index))
    }

    /// Whether the packet is new and not older than the window.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        if index > highest {
            return true;
        }
        if highest - index >= REPLAY_WINDOW_PACKETS {
            return false;
        }
        let (word, bit) = position(index);
        self.received.get(word).is_some_and(|word| word & bit == 0)
    }

    /// Marks a packet as received. Only for packets that are authenticated and fresh.
    pub(super) fn accept(&mut self, index: u64) {
        self.failures = 0;
        match self.highest {
            Some(highest) if index <= highest => {}
            Some(highest) => {
                self.forget_words(highest / WORD_BITS + 1, index / WORD_BITS);
                self.highest = Some(index);
            }
            None => self.highest = Some(index),
        }
        let (word, bit) = position(index);
        if let Some(word) = self.received.get_mut(word) {
            *word |= bit;
        }
    }

    /// Clears the words from `first` to `last`, counted from the stream's begin.
    fn forget_words(&mut self, first: u64, last: u64) {
        if last.saturating_sub(first) >= WORDS as u64 {
            self.received = [0; WORDS];
            return;
        }
        for word in first..=last {
            if let Some(word) = self.received.get_mut((word % WORDS as u64) as usize) {
                *word = 0;
            }
        }
    }
}

fn position(index: u64) -> (usize, u64) {
    ((index / WORD_BITS % WORDS as u64) as usize, 1 << (index % WORD_BITS))
}

/// The replay window of one sender's SRTCP indexes: RFC 3711's least of 64 packets, a minute of reports.
#[derive(Clone, Debug, Default)]
pub struct RtcpReplay {
    highest: Option<u32>,
    /// Bit `n`: index `highest - n` was received.
    received: u64,
}

impl RtcpReplay {
    /// Nothing was received yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn is_fresh(&self, index: u32) -> bool {
        match self.highest {
            Some(highest) if index <= highest => {
                let age = highest - index;
                age < u64::BITS && self.received >> age & 1 == 0
            }
            _ => true,
        }
    }

    pub(super) fn accept(&mut self, index: u32) {
        match self.highest {
            Some(highest) if index <= highest => {
                self.received |= 1u64.checked_shl(highest - index).unwrap_or(0);
            }
            Some(highest) => {
                self.received = self.received.checked_shl(index - highest).unwrap_or(0) | 1;
                self.highest = Some(index);
            }
            None => {
                self.received = 1;
                self.highest = Some(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(highest: u64) -> ReceiveStream {
        let mut stream = ReceiveStream::new();
        stream.accept(highest);
        stream
    }

    #[test]
    fn rollover_is_estimated_on_both_sides_of_the_wrap() {
        assert_eq!(ReceiveStream::new().estimate_index(65_000), Some(65_000));
        assert_eq!(at(65_535).estimate_index(0), Some(65_536));
        assert_eq!(at(65_536).estimate_index(65_535), Some(65_535));
        assert_eq!(at(3 << 16 | 10).estimate_index(65_530), Some(2 << 16 | 65_530));
        assert_eq!(at(3 << 16 | 65_530).estimate_index(10), Some(4 << 16 | 10));
        assert_eq!(at(3 << 16 | 100).estimate_index(32_867), Some(3 << 16 | 32_867));
    }

    #[test]
    fn there_is_nothing_before_the_begin_and_after_the_end() {
        assert_eq!(at(10).estimate_index(65_000), None);
        assert_eq!(at((1 << 48) - 1).estimate_index(0), None);
    }

    #[test]
    fn without_doubt_there_is_one_candidate_and_with_it_a_handful() {
        let candidates = |stream: &ReceiveStream, sequence| stream.candidates(sequence).collect::<Vec<_>>();
        assert_eq!(candidates(&ReceiveStream::new(), 7), [7, 1 << 16 | 7]);
        let mut stream = at(5 << 16 | 100);
        assert_eq!(candidates(&stream, 101), [5 << 16 | 101]);
        // What looks like an old packet is none, and not worth an attempt.
        assert!(candidates(&stream, 50_000).is_empty());
        (0..DOUBT_AFTER).for_each(|_| stream.note_failure());
        assert_eq!(candidates(&stream, 50_000), [5, 6, 7].map(|rollover| rollover << 16 | 50_000));
        let mut seen = BTreeSet::new();
        for _ in 0..ROLLOVERS_AHEAD {
            seen.extend(candidates(&stream, 50_000));
            assert!(candidates(&stream, 50_000).len() <= 5);
            stream.note_failure();
        }
        assert!((5..5 + 2 + u64::from(ROLLOVERS_AHEAD)).all(|rollover| seen.contains(&(rollover << 16 | 50_000))));
        stream.accept(9 << 16);
        assert_eq!(candidates(&stream, 1), [9 << 16 | 1]);
    }

    #[test]
    fn the_whole_window_counts_and_nothing_beyond() {
        let stream = at(10_000);
        assert!(!stream.is_fresh(10_000));
        assert!(stream.is_fresh(10_000 - REPLAY_WINDOW_PACKETS + 1));
        assert!(!stream.is_fresh(10_000 - REPLAY_WINDOW_PACKETS));
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn window_agrees_with_a_set(steps in prop::collection::vec(-1200i64..1500, 1..400), start in 0u64..(1 << 40)) {
            let mut stream = ReceiveStream::new();
            let mut seen = BTreeSet::new();
            let mut highest = start;
            for (count, step) in steps.into_iter().enumerate() {
                let index = highest.saturating_add_signed(step);
                let expected =
                    count == 0 || index > highest || (highest - index < REPLAY_WINDOW_PACKETS && !seen.contains(&index));
                prop_assert_eq!(stream.is_fresh(index), expected);
                if expected {
                    stream.accept(index);
                    seen.insert(index);
                    highest = if count == 0 { index } else { highest.max(index) };
                }
            }
        }

        #[test]
        fn rtcp_window_agrees_with_a_set(steps in prop::collection::vec(-80i64..90, 1..200), start in 0u32..1 << 30) {
            let mut replay = RtcpReplay::new();
            let mut seen = BTreeSet::new();
            let mut highest = start;
            for (count, step) in steps.into_iter().enumerate() {
                let index = u32::try_from((i64::from(highest) + step).max(0)).unwrap();
                let expected = count == 0 || index > highest || (highest - index < 64 && !seen.contains(&index));
                prop_assert_eq!(replay.is_fresh(index), expected);
                if expected {
                    replay.accept(index);
                    seen.insert(index);
                    highest = if count == 0 { index } else { highest.max(index) };
                }
            }
        }

        /// A sender that counts on for millions of packets, with gaps below half of the number space.
        #[test]
        fn estimate_follows_the_sender(gaps in prop::collection::vec(1u64..32_768, 1..300)) {
            let mut stream = ReceiveStream::new();
            let mut index = 0;
            stream.accept(index);
            for gap in gaps {
                index += gap;
                prop_assert_eq!(stream.estimate_index((index & 0xffff) as u16), Some(index));
                stream.accept(index);
            }
        }
    }
}
