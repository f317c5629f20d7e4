//! Which layer of whom a receiving track follows. A relay numbers what it forwards anew, so that the distance between
//! its numbers and the sender's is the same for all packets of one layer, as long as it forwards that layer. From
//! these distances follows how many packets should have come, however often the relay went over to another layer.

use super::stamp::Stamp;
use super::stats::Following;

/// What one track has followed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    current: Option<Current>,
    pub(crate) switches: u64,
    /// Begun with something else than a key frame: no decoder can follow there.
    pub(crate) blind_switches: u64,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    following: Following,
    /// The relay's number less the sender's.
    distance: i64,
    /// The relay's number of the first packet that is known to be of this layer.
    since: u64,
}

impl Follower {
    /// Whom and what it follows.
    pub(crate) fn following(&self) -> Option<Following> {
        self.current.map(|current| current.following)
    }

    /// Takes note of a stamped packet. `next`: it came right after the one before it. `starts_key_frame`: of its payload.
    pub(crate) fn note(&mut self, number: u64, stamp: &Stamp, next: bool, starts_key_frame: bool) {
        let distance = number as i64 - i64::from(stamp.index);
        let Some(current) = &mut self.current else {
            let following = Following { participant: stamp.participant, layer: stamp.layer, more_than_sent: 0 };
            self.current = Some(Current { following, distance, since: number });
            return;
        };
        if current.following.participant == stamp.participant && current.following.layer == stamp.layer {
            // A relay that lost packets and hid the hole has moved; the sender's numbers are what counts.
            if number >= current.since {
                current.distance = distance;
            }
            current.since = current.since.min(number);
            return;
        }
        if number < current.since {
            // Of the layer before, overtaken.
            return;
        }
        self.switches += 1;
        self.blind_switches += u64::from(next && !starts_key_frame);
        let of_the_same = current.following.participant == stamp.participant;
        let more_than_sent = match of_the_same {
            true => current.following.more_than_sent + distance - current.distance,
            false => 0,
        };
        let following = Following { participant: stamp.participant, layer: stamp.layer, more_than_sent };
        *current = Current { following, distance, since: number };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: u64 = 0xa;

    fn stamp(layer: u8, index: u32) -> Stamp {
        Stamp { room: 1, participant: ANNA, sent_us: 0, layer, index }
    }

    /// Expected packets when `sent` have left in each layer.
    fn expected(follower: &Follower, sent: [u64; 3]) -> u64 {
        follower.following().unwrap().expected(&sent)
    }

    #[test]
    fn every_packet_of_exactly_one_layer_is_expected() {
        let mut follower = Follower::default();
        // The relay begins at 1000 with the smallest layer, goes over to the largest after 2 packets, back to the
        // middle one when the sender has sent 50 of that, and stays.
        follower.note(1_000, &stamp(0, 0), false, true);
        assert_eq!(expected(&follower, [7, 7, 7]), 7);
        follower.note(1_002, &stamp(2, 0), true, true);
        assert_eq!(expected(&follower, [10, 20, 40]), 2 + 40);
        follower.note(1_102, &stamp(1, 50), true, true);
        // 2 of the smallest, 100 of the largest, and of the middle one all from number 50 on.
        assert_eq!(expected(&follower, [0, 80, 0]), 2 + 100 + 30);
        assert_eq!((follower.switches, follower.blind_switches), (2, 0));
    }

    #[test]
    fn what_was_sampled_late_makes_no_difference() {
        let mut sampled = Follower::default();
        sampled.note(1_001, &stamp(0, 1), false, false);
        sampled.note(1_030, &stamp(2, 28), false, false);
        assert_eq!(expected(&sampled, [0, 0, 40]), 2 + 40);
        // Not right after the one before it: nobody knows how the layer began.
        assert_eq!(sampled.blind_switches, 0);
    }

    #[test]
    fn a_head_that_never_came_is_missed() {
        let mut follower = Follower::default();
        follower.note(500, &stamp(1, 30), false, true);
        assert_eq!(expected(&follower, [0, 100, 0]), 100);
    }

    #[test]
    fn holes_that_the_relay_hides_are_missed() {
        let mut follower = Follower::default();
        follower.note(10, &stamp(0, 0), false, true);
        // Five were dropped, and the numbers go on.
        follower.note(20, &stamp(0, 15), true, false);
        assert_eq!(expected(&follower, [16, 0, 0]), 16);
        follower.note(21, &stamp(1, 16), true, true);
        // 16 of the layer before, hidden ones included.
        assert_eq!(expected(&follower, [0, 17, 0]), 16 + 1);
    }

    #[test]
    fn layers_that_begin_in_the_middle_of_pictures_are_noticed() {
        let mut follower = Follower::default();
        follower.note(10, &stamp(0, 0), false, true);
        follower.note(11, &stamp(1, 1), true, false);
        follower.note(12, &stamp(0, 2), true, false);
        assert_eq!((follower.switches, follower.blind_switches), (2, 2));
        // Overtaken ones of the layer before are none.
        follower.note(11, &stamp(1, 1), false, false);
        assert_eq!(follower.switches, 2);
    }
}
