//! Whether a shard is woken for each packet, or looks for packets at most every 80 µs: being woken costs as much as
//! forwarding a few of them. As interrupt moderation of a network card, only where packets come that close together.
//! For sockets it was measured, too, and is not worth it: a packet's way through the kernel costs more than the waking.

use std::time::{Duration, Instant};

/// The shortest time between two looks: the most that a packet waits longer than without, two fifths of the 200 µs that
/// TURN may add.
const PACE: Duration = Duration::from_micros(80);
/// For this long packets have to come close together: a frame of a picture, or the reports of a large room, do not.
const WINDOW: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    looked_at: Instant,
    /// Since it was last decided.
    packets: u32,
    decided_at: Instant,
    moderated: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { looked_at: now, packets: 0, decided_at: now, moderated: false }
    }

    /// When to look again, at the earliest. `None`: as soon as there is something.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.moderated.then(|| self.looked_at + PACE)
    }

    /// Takes note of a look and what it found.
    pub(super) fn looked(&mut self, now: Instant, packets: usize) {
        self.looked_at = now;
        self.packets = self.packets.saturating_add(packets as u32);
        let window = now.saturating_duration_since(self.decided_at);
        if window < WINDOW {
            return;
        }
        // A pause is worth it for more than one packet; it ends when there are less than three in four of them.
        let pauses = PACE.saturating_mul(self.packets);
        self.moderated = window < if self.moderated { pauses * 4 / 3 } else { pauses };
        (self.packets, self.decided_at) = (0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at packets that come every `gap`, for each of which there is `work`: how many looks, and whether they waited.
    fn course(gap: Duration, work: Duration, packets: u32) -> (u32, bool) {
        let start = Instant::now();
        let (mut pace, mut now, mut next, mut looks) = (Pace::new(start), start, 0, 0);
        while next < packets {
            now = now.max(start + gap * next).max(pace.next_look().unwrap_or(now));
            let mut found = 0;
            while next < packets && start + gap * next <= now {
                (found, next) = (found + 1, next + 1);
            }
            pace.looked(now, found as usize);
            now += work * found;
            looks += 1;
        }
        (looks, pace.moderated)
    }

    #[test]
    fn only_what_comes_close_together_is_taken_together() {
        let us = Duration::from_micros;
        // 5 000 and 10 000 packets a second are waited for one by one,
        assert_eq!(course(us(200), us(3), 1000), (1000, false));
        assert_eq!(course(us(100), us(3), 1000), (1000, false));
        // of 100 000 eight come in each pause, after the first tenth of a second,
        let (looks, moderated) = course(us(10), us(3), 50_000);
        assert!(moderated && (14_900..15_200).contains(&looks), "{looks}");
        // and where there is more to do than time, nobody sleeps.
        let (looks, moderated) = course(us(10), us(12), 50_000);
        assert!(moderated && looks < 200, "{looks}");
    }

    #[test]
    fn it_ends_when_fewer_come_and_a_burst_does_not_begin_it() {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(start), start);
        let mut come = |packets: u32, gap: u64| {
            for _ in 0..packets {
                now += Duration::from_micros(gap);
                pace.looked(now, 1);
            }
            pace.next_look().map(|at| at - now)
        };
        assert_eq!(come(100, 10), None);
        assert_eq!(come(100, 2000), None);
        assert_eq!(come(20_001, 10), Some(PACE));
        assert_eq!(come(2000, 110), None);
    }
}
