//! What all viewers of a run saw together, and what of it a right server would not have done.

use super::flow::loss_ratio;
use crate::{Histogram, Stats};

/// Media that is older than this is named among the faults.
const OLD_US: u64 = 100_000;

/// Counts of all clients, added up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets that should have come: each one of each sender for each receiver of its room.
    pub expected: u64,
    /// Packets that came, each counted once.
    pub received: u64,
    pub duplicates: u64,
    pub reordered: u64,
    /// Holes in the sequence numbers that were never filled.
    pub missing: u64,
    /// Jumps of sequence numbers and VP8 picture ids that the relay should have rewritten.
    pub jumps: u64,
    /// Simulcast layers that did not begin with a key frame.
    pub blind_switches: u64,
    pub undecryptable: u64,
    pub wrong_mid: u64,
    /// Without a slot.
    pub unknown: u64,
    /// Of another room.
    pub foreign: u64,
    pub decrypted: u64,
    pub frames: u64,
    pub key_frames: u64,
    /// NACKs that the clients sent.
    pub nacks: u64,
    /// Ages of the media that was decrypted.
    pub latency: Histogram,
}

impl Tally {
    /// Adds what one client saw; `expected` packets were meant for it.
    pub fn add(&mut self, stats: &Stats, expected: u64) {
        self.expected += expected;
        self.unknown += stats.unknown_packets;
        self.foreign += stats.foreign_packets;
        self.nacks += stats.rtcp.sent_nacks;
        for track in stats.tracks() {
            self.received += track.packets - track.duplicates;
            self.duplicates += track.duplicates;
            self.reordered += track.reordered;
            self.missing += track.missing;
            self.jumps += track.sequence_jumps + track.picture_id_jumps;
            self.blind_switches += track.blind_switches;
            self.undecryptable += track.undecryptable;
            self.wrong_mid += track.wrong_mid;
            self.decrypted += track.decrypted;
            self.frames += track.frames;
            self.key_frames += track.key_frames;
        }
    }

    /// The share of expected packets that never came.
    pub fn loss_ratio(&self) -> f64 {
        loss_ratio(self.received, self.expected)
    }

    /// What was wrong, a sentence each.
    pub fn faults(&self) -> Vec<String> {
        let counted = [
            (self.foreign, "packets came from another room; do not use this server before that is explained"),
            (self.unknown, "packets belonged to no slot"),
            (self.wrong_mid, "packets had no or another slot's MID"),
            (self.undecryptable, "packets could not be decrypted"),
            (self.duplicates, "packets came twice"),
            (self.jumps, "jumps in sequence numbers or picture ids"),
            (self.blind_switches, "times another layer came without a key frame"),
            (self.expected.saturating_sub(self.received), "packets were lost"),
            (self.received.saturating_sub(self.expected), "packets came that nobody sent"),
        ];
        let mut faults: Vec<String> =
            counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if let Some(p99) = self.latency.quantile(0.99).filter(|p99| *p99 > OLD_US) {
            faults.push(format!("1 % of the packets came {:.0} ms or more after they were sent", p99 as f64 / 1e3));
        }
        faults
    }
}
