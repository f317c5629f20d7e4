//! Packets of sound and of pictures, apart.

use crate::Counts;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    pub audio: u64,
    pub video: u64,
}

/// What came, and what should have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub received: Flow,
    pub expected: Flow,
}

impl Flow {
    pub fn all(self) -> u64 {
        self.audio + self.video
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { audio: self.audio + other.audio, video: self.video + other.video }
    }

    /// From an earlier count to this one.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { audio: self.audio.saturating_sub(before.audio), video: self.video.saturating_sub(before.video) }
    }

    /// What a participant should have got from this sender: all of its sound, and of its picture the layers that it
    /// followed, each for as long as it did. Of whom nothing came at all, at least the smallest layer is missed.
    pub fn expected_of(sender: u64, sent: &Counts, receiver: &Counts) -> Self {
        let layers = &sent.sent.layers;
        let simulcast = layers[1..].iter().any(|sent| *sent > 0);
        let following = receiver.following.iter().find(|following| simulcast && following.participant == sender);
        let video = following.map_or(layers[0], |following| following.expected(layers));
        Self { audio: sent.sent.audio, video }
    }
}

impl Traffic {
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { received: self.received.since(before.received), expected: self.expected.since(before.expected) }
    }
}

/// The share of expected packets that never came.
pub fn loss_ratio(received: u64, expected: u64) -> f64 {
    match expected {
        0 => 0.0,
        expected => 1.0 - received.min(expected) as f64 / expected as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Following, SentStats};

    fn sender(audio: u64, layers: [u64; 3]) -> Counts {
        Counts { sent: SentStats { audio, layers, ..SentStats::default() }, ..Counts::default() }
    }

    fn receiver(participant: u64, layer: u8, more_than_sent: i64) -> Counts {
        Counts { following: vec![Following { participant, layer, more_than_sent }], ..Counts::default() }
    }

    #[test]
    fn one_layer_of_each_sender_is_expected() {
        let sent = sender(50, [10, 40, 160]);
        let expected = |receiver: &Counts| Flow::expected_of(7, &sent, receiver);
        assert_eq!(expected(&receiver(7, 2, 0)), Flow { audio: 50, video: 160 });
        assert_eq!(expected(&receiver(7, 1, -13)), Flow { audio: 50, video: 27 });
        // Who follows somebody else, or nobody, misses this one.
        assert_eq!(expected(&receiver(8, 2, 0)), Flow { audio: 50, video: 10 });
        assert_eq!(expected(&Counts::default()), Flow { audio: 50, video: 10 });
        // Without simulcast nothing depends on what was looked into.
        assert_eq!(Flow::expected_of(7, &sender(1, [90, 0, 0]), &receiver(7, 0, 5)), Flow { audio: 1, video: 90 });
    }

    #[test]
    fn loss_is_what_never_came() {
        assert_eq!((loss_ratio(75, 100), loss_ratio(0, 0), loss_ratio(9, 8)), (0.25, 0.0, 0.0));
    }
}
