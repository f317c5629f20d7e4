//! A network in virtual time: links that lose, delay, reorder, duplicate and limit, and a queue of what is under way.

use crate::random::Random;
use plausch_engine::Time;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// How bad one direction of one browser's connection is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    /// This share of packets takes `reorder` longer than the others.
    pub reorder_permille: u64,
    pub reorder: Duration,
    /// Bytes a second, with a queue of `queue`; what does not fit is lost.
    pub rate: Option<u64>,
    pub queue: Duration,
}

impl Quality {
    /// Nothing is lost, everything arrives in order after `delay`.
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            reorder: Duration::ZERO,
            rate: None,
            queue: Duration::ZERO,
        }
    }

    /// From fair to poor.
    pub fn random(random: &mut Random) -> Self {
        let delay = random.micros(500, 60_000);
        if random.chance(250) {
            return Self::perfect(delay);
        }
        let sometimes =
            |random: &mut Random, permille, most| if random.chance(permille) { random.range(1, most) } else { 0 };
        Self {
            delay,
            jitter: random.micros(0, 12_000),
            loss_permille: sometimes(random, 700, 80),
            duplicate_permille: sometimes(random, 400, 20),
            reorder_permille: sometimes(random, 500, 40),
            reorder: random.micros(2_000, 40_000),
            rate: random.chance(200).then(|| random.range(60_000, 400_000)),
            queue: Duration::from_millis(200),
        }
    }
}

/// One direction of one browser's connection.
#[derive(Clone, Debug)]
pub struct Link {
    pub quality: Quality,
    /// Nothing passes.
    pub down: bool,
    busy_until: Time,
    random: Random,
}

impl Link {
    /// A link with its own randomness.
    pub fn new(quality: Quality, random: Random) -> Self {
        Self { quality, down: false, busy_until: Time(0), random }
    }

    /// When a datagram of `len` bytes arrives, and when its duplicate does.
    pub fn transmit(&mut self, now: Time, len: usize) -> [Option<Time>; 2] {
        let quality = self.quality;
        if self.down || self.random.chance(quality.loss_permille) {
            return [None, None];
        }
        let mut leaves = now;
        if let Some(rate) = quality.rate {
            leaves = self.busy_until.max(now);
            if leaves.since(now) > quality.queue {
                return [None, None];
            }
            self.busy_until = leaves + Duration::from_micros(len as u64 * 1_000_000 / rate);
        }
        let arrives = leaves + quality.delay + self.extra();
        let duplicate = self.random.chance(quality.duplicate_permille).then(|| leaves + quality.delay + self.extra());
        [Some(arrives), duplicate]
    }

    fn extra(&mut self) -> Duration {
        let jitter = self.random.micros(0, self.quality.jitter.as_micros() as u64);
        if self.random.chance(self.quality.reorder_permille) { jitter + self.quality.reorder } else { jitter }
    }
}

/// What is under way, by time of arrival; of equal times, first in first out.
#[derive(Debug)]
pub struct Flight<T> {
    queue: BinaryHeap<Arrival<T>>,
    sent: u64,
}

#[derive(Debug)]
struct Arrival<T> {
    at: Time,
    order: u64,
    what: T,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { queue: BinaryHeap::new(), sent: 0 }
    }
}

impl<T> Flight<T> {
    /// Arrives at `at`.
    pub fn send(&mut self, at: Time, what: T) {
        self.sent += 1;
        self.queue.push(Arrival { at, order: self.sent, what });
    }

    /// The next that has arrived by `now`.
    pub fn receive(&mut self, now: Time) -> Option<T> {
        if self.queue.peek()?.at > now {
            return None;
        }
        self.queue.pop().map(|arrival| arrival.what)
    }
}

impl<T> Ord for Arrival<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first: the earliest.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Arrival<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Arrival<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Arrival<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrives_in_order_of_time() {
        let mut flight = Flight::default();
        flight.send(Time(5), 'b');
        flight.send(Time(3), 'a');
        flight.send(Time(5), 'c');
        assert_eq!(flight.receive(Time(2)), None);
        assert_eq!(
            [flight.receive(Time(9)), flight.receive(Time(9)), flight.receive(Time(9))],
            [Some('a'), Some('b'), Some('c')]
        );
    }

    #[test]
    fn loses_what_it_should() {
        let quality = Quality { loss_permille: 500, ..Quality::perfect(Duration::from_millis(1)) };
        let mut link = Link::new(quality, Random::new(1));
        let arrived = (0..1000).filter(|_| link.transmit(Time(0), 100)[0].is_some()).count();
        assert!((400..600).contains(&arrived));
        link.down = true;
        assert_eq!(link.transmit(Time(0), 1), [None, None]);
    }
}
