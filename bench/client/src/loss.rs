//! A bad link, inside the client: loses RTP at random, on its way out or in. Checks, DTLS and RTCP come through.

/// How much is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// Of 1000 RTP packets sent, retransmissions included.
    pub sent_permille: u16,
    /// Of 1000 RTP packets received, before they are counted.
    pub received_permille: u16,
}

/// Decides packet by packet.
pub(crate) struct Dice {
    loss: Loss,
    state: u64,
}

impl Dice {
    pub(crate) fn new(loss: Loss, seed: u64) -> Self {
        Self { loss, state: seed | 1 }
    }

    pub(crate) fn loses_sent(&mut self) -> bool {
        self.throws_below(self.loss.sent_permille)
    }

    pub(crate) fn loses_received(&mut self) -> bool {
        self.throws_below(self.loss.received_permille)
    }

    /// xorshift64*
    fn throws_below(&mut self, permille: u16) -> bool {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % 1000 < u64::from(permille)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_much_is_lost_as_was_asked_for() {
        let mut dice = Dice::new(Loss { sent_permille: 100, received_permille: 0 }, 42);
        let lost = (0..10_000).filter(|_| dice.loses_sent()).count();
        assert!((850..1150).contains(&lost), "{lost}");
        assert!((0..10_000).all(|_| !dice.loses_received()));
    }
}
