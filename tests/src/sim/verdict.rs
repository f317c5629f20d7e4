//! What must be true of a world at its end.

use crate::sim::model::source_track;
use crate::sim::world::World;
use plausch_relay_api::MediaKind;
use std::time::Duration;

/// The last part of a run, in which everything is counted.
const COUNTED: Duration = Duration::from_secs(2);

impl World {
    /// Everybody plays what they ought to see and hear, of the right layer, at nearly the rate at which it is sent.
    pub fn check_everybody_is_served(&self) -> Result<(), String> {
        let (now, model) = (self.now, &self.model);
        for (id, truth) in &model.participants {
            let client = &self.clients[id];
            if !truth.connected && !client.silent {
                return Err(format!("{id} is not connected at the end"));
            }
            for assignment in &truth.assignments {
                let source = &self.clients[&assignment.source.participant];
                for kind in [MediaKind::Audio, MediaKind::Video] {
                    let expected = model.expected_since(now, truth, assignment, kind);
                    if source.silent || client.silent || expected.is_none_or(|since| now.since(since) < COUNTED * 2) {
                        continue;
                    }
                    let slot = &truth.setup.spec.slots[usize::from(assignment.slot.0)];
                    let Some(ssrc) = slot.stream(kind).map(|stream| stream.ssrc) else { continue };
                    let track = source_track(assignment.source.source, kind);
                    let played =
                        client.receivers[&ssrc].played.iter().rev().take_while(|(at, _)| now.since(*at) < COUNTED);
                    let played = played.filter(|(_, stream)| stream.track == track);
                    let best = source.publisher.as_ref().and_then(|it| it.best_layer(track, assignment.max_layer));
                    let last = played.clone().next().map(|(_, stream)| stream.layer);
                    if last.is_some() && last != best {
                        return Err(format!("{id} gets layer {last:?} of {:?} and not {best:?}", assignment.source));
                    }
                    let played = played.count() as u64;
                    let rate = if kind == MediaKind::Audio { 50 } else { source.setup.frame_rate };
                    if played < rate * COUNTED.as_secs() * 8 / 10 {
                        let source = assignment.source;
                        return Err(format!(
                            "{id} played {played} of {source:?} {kind:?} in {COUNTED:?}, sent {rate}/s"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The engine's numbers are those of the model.
    pub fn check_counters(&self) -> Result<(), String> {
        let counters = self.engine.counters();
        let counts = &self.model.counts;
        let equal = [
            ("received_packets", counters.received_packets, counts.delivered),
            ("received_bytes", counters.received_bytes, counts.delivered_bytes),
            ("rtcp_sent", counters.rtcp_sent, counts.rtcp_sent),
            ("keyframe_requests_sent", counters.keyframe_requests_sent, counts.key_frame_requests),
            ("nacks_sent", counters.nacks_sent, counts.nacked),
            (
                "rtp_forwarded + rtp_retransmitted",
                counters.rtp_forwarded + counters.rtp_retransmitted,
                counts.forwarded + counts.fillers + counts.behind + counts.retransmitted,
            ),
            ("drop_tx_full", counters.drop_tx_full, 0),
            ("drop_egress_seal", counters.drop_egress_seal, 0),
            ("participants", counters.participants, self.model.participants.len() as u64),
        ];
        let forwarded = counters.rtp_forwarded - counters.rtp_fillers;
        let possible = counts.forwarded..=counts.forwarded + counts.behind;
        if !possible.contains(&forwarded) && !self.model.ignores_reports {
            return Err(format!("rtp_forwarded is {forwarded} without fillers and should be in {possible:?}"));
        }
        // Every datagram was either taken or dropped for one reason. (Nobody here seals what is malformed.)
        let turn = counters.entries().filter(|entry| is_fate_in_turn(entry.name)).map(|entry| entry.value);
        let fates = turn.sum::<u64>()
            + counters.stun_checks
            + counters.stun_checks_answered
            + counters.stun_role_conflicts
            + counters.stun_unknown_attributes
            + counters.dtls_datagrams
            + counters.rtp_received
            + counters.rtcp_received
            + counters.drop_unknown_protocol
            + counters.drop_oversized
            + counters.drop_stun_malformed
            + counters.drop_stun_fingerprint
            + counters.drop_stun_unknown_user
            + counters.drop_stun_integrity
            + counters.drop_stun_path_taken
            + counters.drop_stun_answer
            + counters.drop_keyed_protocol
            + counters.drop_dtls_unchecked
            + counters.drop_dtls_limit
            + counters.drop_srtp_unchecked
            + counters.drop_srtp_no_keys
            + counters.drop_srtp_forged
            + counters.drop_srtp_replayed
            + counters.drop_rtp_malformed
            + counters.drop_rtp_unknown_ssrc
            + counters.drop_rtp_ssrc_limit
            + counters.drop_rtcp_malformed
            + counters.drop_rtcp_sender_limit;
        if fates != counters.received_packets {
            return Err(format!("{} datagrams received and {fates} accounted for", counters.received_packets));
        }
        match equal.iter().find(|(_, counted, real)| counted != real && !self.model.ignores_reports) {
            Some((name, counted, real)) => Err(format!("{name} is {counted} and should be {real}")),
            None => Ok(()),
        }
    }

    /// The engine's snapshot is what control asked for.
    pub fn check_snapshot(&self) -> Result<(), String> {
        let mut seen = 0;
        for snapshot in self.engine.snapshot() {
            seen += 1;
            let id = snapshot.spec.participant;
            let truth = self.model.participants.get(&id).ok_or_else(|| format!("{id} is in the snapshot only"))?;
            let mut expected = truth.assignments.clone();
            let mut assignments = snapshot.assignments.clone();
            expected.sort_by_key(|assignment| assignment.slot);
            assignments.sort_by_key(|assignment| assignment.slot);
            if snapshot.spec != truth.setup.spec || assignments != expected || snapshot.connected != truth.connected {
                return Err(format!(
                    "the snapshot of {id} is {snapshot:?}, expected {expected:?}, {}",
                    truth.connected
                ));
            }
        }
        match seen == self.model.participants.len() {
            true => Ok(()),
            false => Err(format!("{seen} participants in the snapshot of {}", self.model.participants.len())),
        }
    }
}

/// Whether a counter of TURN's says what became of one datagram that came in.
fn is_fate_in_turn(name: &str) -> bool {
    match name {
        "turn_challenges" | "turn_requests" | "stun_bindings" => true,
        // Said besides what the datagram was.
        "drop_turn_stranger_limit" => false,
        _ => name.starts_with("turn_refused_") || name.starts_with("drop_turn_"),
    }
}
