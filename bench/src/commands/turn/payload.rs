//! What a flow's packets hold, so that each can be told from every other, and what became of them.

use plausch_client::Histogram;

/// Bytes that every payload begins with.
pub(crate) const STAMP_BYTES: usize = 24;
/// Packets that may overtake each other before a late one counts as a duplicate.
const WINDOW: u64 = 128;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the client through the server to the peer.
    Up,
    /// From the peer through the server to the client.
    Down,
}

/// The beginning of each payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Of this run, so that packets of another one are not counted.
    pub(crate) run: u32,
    pub(crate) flow: u32,
    pub(crate) way: Way,
    pub(crate) sequence: u64,
    /// Unix time.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    pub(crate) fn write(&self, payload: &mut [u8]) {
        let way = u32::from(self.way == Way::Down) << 31;
        payload[..4].copy_from_slice(&self.run.to_be_bytes());
        payload[4..8].copy_from_slice(&(self.flow | way).to_be_bytes());
        payload[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..24].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_BYTES] = payload.first_chunk()?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let flow = word(4);
        Some(Self {
            run: word(0),
            flow: flow & (u32::MAX >> 1),
            way: if flow >> 31 == 0 { Way::Up } else { Way::Down },
            sequence: long(8),
            sent_ns: long(16),
        })
    }
}

/// Which sequence numbers of one flow and way have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    next: u64,
    /// Bit n: `next - 1 - n` has come.
    window: u128,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Next,
    Late,
    Duplicate,
}

impl Seen {
    pub(crate) fn note(&mut self, sequence: u64) -> Order {
        if sequence >= self.next {
            let ahead = (sequence - self.next).saturating_add(1);
            self.window = if ahead >= WINDOW { 0 } else { self.window << ahead } | 1;
            self.next = sequence.saturating_add(1);
            return Order::Next;
        }
        let behind = self.next - 1 - sequence;
        if behind >= WINDOW || self.window >> behind & 1 == 1 {
            return Order::Duplicate;
        }
        self.window |= 1 << behind;
        Order::Late
    }
}

/// What became of all packets of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Handed to the kernel.
    pub(crate) sent: u64,
    /// That came where they should, each counted once.
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// That came to another client or peer, or from another address, than they should.
    pub(crate) misrouted: u64,
    /// Neither a packet of this run nor an answer.
    pub(crate) unreadable: u64,
    /// Packets that the own sockets did not take; they do not count as sent.
    pub(crate) refused: u64,
    /// Requests that keep allocations alive and were refused.
    pub(crate) refreshes_refused: u64,
    /// Time from before the send to the arrival at the receiver's socket, in nanoseconds, of each [`Phase`].
    pub(crate) latency: [Histogram; PHASES],
}

/// Parts of a run whose latencies are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// After warming up, which is 0.
    Measured = 1,
    /// While spoofed requests come in.
    Flooded,
}

pub(crate) const PHASES: usize = 3;

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.misrouted += other.misrouted;
        self.unreadable += other.unreadable;
        self.refused += other.refused;
        self.refreshes_refused += other.refreshes_refused;
        for (all, more) in self.latency.iter_mut().zip(&other.latency) {
            all.add(more);
        }
    }

    /// The share of packets sent that never came.
    pub(crate) fn loss_ratio(&self) -> f64 {
        match self.sent {
            0 => 0.0,
            sent => 1.0 - self.received.min(sent) as f64 / sent as f64,
        }
    }

    /// What a right server would not have done, a sentence each.
    pub(crate) fn faults(&self) -> Vec<String> {
        let counted = [
            (
                self.misrouted,
                "packets came to or from the wrong address; do not use this server before that is explained",
            ),
            (self.duplicates, "packets came twice"),
            (self.unreadable, "packets were not what was sent"),
            (self.refreshes_refused, "requests that keep allocations alive were refused"),
            (self.sent.saturating_sub(self.received), "packets were lost"),
        ];
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_as_they_were() {
        for way in [Way::Up, Way::Down] {
            let stamp = Stamp { run: 7, flow: 99_999, way, sequence: u64::MAX - 1, sent_ns: 1 << 60 };
            let mut payload = [0; 30];
            stamp.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(stamp));
            assert_eq!(Stamp::read(&payload[..23]), None);
        }
    }

    #[test]
    fn each_packet_counts_once() {
        let mut seen = Seen::default();
        for (sequence, order) in [
            (0, Order::Next),
            (1, Order::Next),
            (1, Order::Duplicate),
            (4, Order::Next),
            (2, Order::Late),
            (2, Order::Duplicate),
            (0, Order::Duplicate),
            (300, Order::Next),
            (3, Order::Duplicate),
            (299, Order::Late),
            (u64::MAX - 1, Order::Next),
        ] {
            assert_eq!(seen.note(sequence), order, "{sequence}");
        }
    }
}
