//! What goes out when there is more than a shard can do: sound always, pictures as far as there is time. Packets that
//! are lost before they are read are lost for everybody and sound among them, so it is better to read all of them and to
//! send pictures to fewer.
//!
//! The share of subscriptions that get their picture is what is controlled, by how long packets wait until they are
//! read. A wait that passes is a burst. One that stays is too much load: the share is then lowered by as much as the wait
//! grows, which is by as much as more comes than goes, and by a little more, so that the wait becomes less. Once there
//! is nothing that waits, the share rises with the time that the shard has to spare.

#[cfg(test)]
mod tests;

use crate::time::Time;
use crate::track::Track;
use std::time::Duration;

/// The share is set anew so often. Whoever gets a picture again needs a key frame, and that is a burst of its own: in this
/// time it has come and gone, for encoders save afterwards what they have spent.
const WINDOW: Duration = Duration::from_millis(500);
/// A wait that was never shorter in a window is one that stays.
const PATIENCE: Duration = Duration::from_millis(20);
/// In this time what waits shall have gone, once more goes than comes.
const DRAIN: Duration = Duration::from_secs(2);
/// No more is left out after one window.
const STEEPEST: f32 = 0.5;
const STEEPEST_DRAIN: f32 = 0.15;
/// Of many senders so much comes that a socket's buffer does not hold half a second of it: with so many packets since there
/// was none left, a window ends before its time.
const DEEP: usize = 4_000;
const SHORT_WINDOW: Duration = Duration::from_millis(100);
/// In one window the share rises by this part of the time that was to spare, less what is none, and by a little more,
/// because a shard gets more done when there is more at once.
const RISE: f32 = 0.8;
const SLACK: f32 = 0.05;
const TRIAL: f32 = 0.01;
/// The least share: from here it rises.
const LEAST: f32 = 1.0 / 256.0;
/// Who has a smaller layer gets that while it has the turn of so many times the share: it is about so much smaller.
const SMALLEST_COSTS: f32 = 4.0;
/// Who went without comes back at a share that is larger by this part: a picture that comes and goes helps nobody.
const RETURN: f32 = 1.0 / 16.0;

/// How a shard keeps up, told once in each of its rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// For so long there was nothing to do before this round.
    pub spare: Duration,
    /// The first of what is handed in now has waited so long to be read.
    pub wait: Duration,
    /// Packets that were read since there was none left to read.
    pub depth: usize,
    /// Datagrams that the network did not take since the last round.
    pub refused: u64,
}

/// What of a picture may go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    Any,
    /// The smallest layer, if it is not the only one.
    Smallest,
    Nothing,
}

/// What goes out at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Nothing,
    Less,
    Best,
}

/// How much is left out.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    /// The share of the pictures that goes out is `1 - left_out`.
    left_out: f32,
    /// By how much the share rises in a second, as a part of it.
    rise: f32,
    noted_at: Time,
    window_began: Time,
    /// The first wait in this window, and the least.
    first: Duration,
    least: Duration,
    least_before: Duration,
    /// Time in this window in which there was nothing to do.
    spare: Duration,
    /// Packets of pictures in this window that went out, and that will when their key frame is there.
    sent: u32,
    awaiting: u32,
    refused: u64,
}

impl Overload {
    /// To be told in every round.
    pub(crate) fn note(&mut self, now: Time, load: Load) {
        self.change(1.0 + self.rise * now.since(self.noted_at).as_secs_f32());
        self.noted_at = now;
        self.least = self.least.min(load.wait);
        self.spare += load.spare;
        self.refused += load.refused;
        let elapsed = now.since(self.window_began);
        if elapsed < if load.depth < DEEP { WINDOW } else { SHORT_WINDOW } {
            return;
        }
        let elapsed = elapsed.as_secs_f32();
        let mut too_much = 0.0;
        if self.least > PATIENCE {
            // A key frame moves the one and hardly the other.
            let growth = difference(load.wait, self.first).min(difference(self.least, self.least_before));
            too_much = growth / elapsed + (self.least.as_secs_f32() / DRAIN.as_secs_f32()).min(STEEPEST_DRAIN);
        }
        if self.refused > 0 {
            too_much = too_much.max(self.refused as f32 / self.sent.max(1) as f32 + TRIAL);
        }
        self.rise = 0.0;
        if too_much > 0.0 {
            self.change(1.0 - too_much.min(STEEPEST));
        } else if self.left_out > 0.0 && self.least <= PATIENCE {
            let busy = 1.0 - self.spare.as_secs_f32() / elapsed;
            let busy = busy * (1.0 + self.awaiting as f32 / self.sent.max(1) as f32);
            self.rise = (RISE * (1.0 - SLACK - busy).max(0.0) + TRIAL) / WINDOW.as_secs_f32();
        }
        *self = Self {
            left_out: self.left_out,
            rise: self.rise,
            noted_at: now,
            window_began: now,
            first: load.wait,
            least: load.wait,
            least_before: self.least,
            ..Self::default()
        };
    }

    /// A packet of a picture was `sent`, or not; `awaiting`: it will when its key frame is there.
    pub(crate) fn note_picture(&mut self, sent: bool, awaiting: bool) {
        self.sent += u32::from(sent);
        self.awaiting += u32::from(awaiting);
    }

    /// Makes the share so many times as large.
    fn change(&mut self, factor: f32) {
        self.left_out = 1.0 - ((1.0 - self.left_out) * factor).clamp(LEAST, 1.0);
    }

    /// Pictures that are left out, of a thousand.
    pub(crate) fn per_mille(&self) -> u64 {
        (self.left_out * 1_000.0).ceil() as u64
    }

    pub(crate) fn is_on(&self) -> bool {
        self.left_out > 0.0
    }

    /// The largest layer that may go out to the subscriber with this number who wants `max_layer` and gets the layer
    /// `shown` at present; `None`: nothing.
    pub(crate) fn max_layer(
        &self,
        member: usize,
        track: &Track,
        max_layer: u8,
        shown: Option<u8>,
        now: Time,
    ) -> Option<u8> {
        if !self.is_on() {
            return Some(max_layer);
        }
        let (smallest, best) = (track.best_layer(0, now), track.best_layer(max_layer, now));
        let shown = match shown {
            None => Shown::Nothing,
            shown if shown == best => Shown::Best,
            Some(_) => Shown::Less,
        };
        match self.admit(member, track.number, shown) {
            Admission::Any => Some(max_layer),
            Admission::Smallest => (smallest != best).then_some(0),
            Admission::Nothing => None,
        }
    }

    /// Always the same go without first.
    fn admit(&self, member: usize, track: u16, shown: Shown) -> Admission {
        let share = 1.0 - self.left_out;
        let mixed = (member as u64 ^ u64::from(track) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let turn = (mixed >> 40) as f32 / (1u32 << 24) as f32;
        let back = turn * (1.0 + RETURN);
        let (any, smallest) = match shown {
            Shown::Nothing => (back, back),
            Shown::Less => (back, turn),
            Shown::Best => (turn, turn),
        };
        if any < share {
            Admission::Any
        } else if smallest < share * SMALLEST_COSTS {
            Admission::Smallest
        } else {
            Admission::Nothing
        }
    }
}

fn difference(later: Duration, earlier: Duration) -> f32 {
    later.as_secs_f32() - earlier.as_secs_f32()
}
