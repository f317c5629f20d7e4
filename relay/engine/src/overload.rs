//! What goes out when there is more than a shard can do: sound always, pictures as far as there is time. Packets that
//! are lost before they are read are lost for everybody and sound among them, so it is better to read all of them and to
//! send pictures to fewer.

use crate::time::Time;
use std::time::Duration;

/// A shard that has not been through with what it received for so long is behind; bursts are done sooner. The socket's
/// buffer holds more than a hundred milliseconds of whatever leads to this.
const PATIENCE: Duration = Duration::from_millis(20);
/// While it is behind, so often so many more go without.
const RISE_INTERVAL: Duration = Duration::from_millis(10);
const RISE: u8 = 4;
/// Once it is through, so often one step less.
const FALL_INTERVAL: Duration = Duration::from_millis(200);
/// Steps in which subscriptions to pictures are left out: first of those that could have a smaller layer the larger
/// ones, and those without choice whole; then all.
const STEPS: u8 = 64;

/// What of a picture may go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Any,
    /// The smallest layer, if it is not the only one.
    Smallest,
    Nothing,
}

/// How much is left out.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    through_at: Time,
    changed_at: Time,
    /// From 0 to 2 × [`STEPS`].
    pressure: u8,
}

impl Overload {
    /// A batch came. `behind`: see [`crate::TxBatch::note_backlog`].
    pub(crate) fn note(&mut self, behind: bool, now: Time) {
        if !behind {
            self.through_at = now;
            let steps = now.since(self.changed_at).as_micros() / FALL_INTERVAL.as_micros();
            if self.pressure == 0 || steps > 0 {
                self.pressure = self.pressure.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX));
                self.changed_at = now;
            }
        } else if now.since(self.through_at) > PATIENCE && now.since(self.changed_at) >= RISE_INTERVAL {
            self.pressure = (self.pressure + RISE).min(2 * STEPS);
            self.changed_at = now;
        }
    }

    pub(crate) fn pressure(&self) -> u8 {
        self.pressure
    }

    /// `member` and `track`: numbers of the subscriber and of what it watches. Always the same ones go without first,
    /// for a picture that comes and goes helps nobody.
    pub(crate) fn admit(&self, member: usize, track: u16) -> Admission {
        if self.pressure == 0 {
            return Admission::Any;
        }
        let mixed = (member as u64 ^ u64::from(track) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let turn = (mixed >> 32) as u8 % STEPS;
        if self.pressure > STEPS + turn {
            Admission::Nothing
        } else if self.pressure > turn {
            Admission::Smallest
        } else {
            Admission::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_no_overload() {
        let mut overload = Overload::default();
        for ms in 0..1_000 {
            overload.note(ms % 20 != 0, Time::from_millis(1_000 + ms));
            assert_eq!(overload.pressure(), 0);
        }
    }

    #[test]
    fn who_is_behind_leaves_out_more_and_more_and_takes_it_back_slowly() {
        let mut overload = Overload::default();
        let mut now = Time::from_millis(1_000);
        overload.note(false, now);
        let mut before = 0;
        while overload.pressure() < 2 * STEPS {
            now = now + Duration::from_millis(5);
            overload.note(true, now);
            assert!(overload.pressure() >= before && overload.pressure() <= before + RISE);
            before = overload.pressure();
        }
        assert!(now.since(Time::from_millis(1_000)) < Duration::from_millis(400));
        assert!((0..100).all(|member| overload.admit(member, 3) == Admission::Nothing));
        overload.note(false, now + FALL_INTERVAL);
        assert_eq!(overload.pressure(), 2 * STEPS - 1);
        overload.note(false, now + FALL_INTERVAL * 11);
        assert_eq!(overload.pressure(), 2 * STEPS - 11);
        overload.note(false, now + FALL_INTERVAL * 1_000);
        assert_eq!(overload.pressure(), 0);
    }

    #[test]
    fn each_step_concerns_its_share_and_nobody_twice() {
        let mut overload = Overload::default();
        let mut before = 0;
        for pressure in 0..=2 * STEPS {
            overload.pressure = pressure;
            let without = (0..1_000)
                .map(|member| match overload.admit(member, 7) {
                    Admission::Any => 0,
                    Admission::Smallest => 1,
                    Admission::Nothing => 2,
                })
                .sum::<usize>();
            assert!(without >= before, "who went without before goes without still");
            let expected = 1_000 * usize::from(pressure) / usize::from(STEPS);
            assert!(without.abs_diff(expected) < 60, "{without} at {pressure}");
            before = without;
        }
    }
}
