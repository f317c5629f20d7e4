//! The model of what the engine says in RTCP: reports and requests must be true.

use crate::media::StreamId;
use crate::sim::model::{Model, StreamTruth, Truth};
use crate::wire::rtcp::{ReportBlock, Rtcp};
use crate::wire::rtp::Unwrap;
use crate::wire::twcc;
use plausch_engine::Time;
use plausch_relay_api::limits::KEYFRAME_REQUEST_INTERVAL_MS;
use plausch_relay_api::{MediaKind, ParticipantId, SourceRef};
use std::time::Duration;

/// A subscriber's NACK of a packet this young must find it in the cache; a stream this young is alive.
const FRESH: Duration = Duration::from_millis(250);
/// How far apart audio and video of one person may be on a subscriber's clock. People notice 45 ms (ITU-R BT.1359);
/// RTP timestamps and reports are exact, so there is no reason for more than rounding.
const LIP_SYNC_MICROS: i64 = 2_000;

impl Model {
    /// The engine sends an RTCP compound to a participant: whether all of it is true.
    pub fn egress_rtcp(&mut self, now: Time, to: ParticipantId, compound: &[Rtcp]) -> Result<(), String> {
        self.counts.rtcp_sent += 1;
        compound
            .iter()
            .try_for_each(|rtcp| self.egress_report(now, to, rtcp).map_err(|error| format!("RTCP to {to}: {error}")))
    }

    fn egress_report(&mut self, now: Time, to: ParticipantId, rtcp: &Rtcp) -> Result<(), String> {
        let truth = self.participants.get(&to).ok_or("somebody who is gone")?;
        if !truth.connected {
            return Err("somebody who is not connected".into());
        }
        match rtcp {
            Rtcp::SenderReport { .. } if self.ignores_reports => {}
            Rtcp::SenderReport { ssrc, ntp, timestamp, packets, octets, blocks } => {
                self.check_blocks(truth, blocks)?;
                let egress = self.egress.get_mut(&(to, truth.setup.spec.generation, *ssrc));
                let egress = egress.ok_or_else(|| format!("a sender report of {ssrc}, which sent nothing"))?;
                let range = |all: u64, behind: u64, again: u64| all - behind..=all + again;
                if !range(egress.packets, egress.behind, egress.retransmitted).contains(&u64::from(*packets))
                    || !range(egress.octets, egress.behind_octets, egress.retransmitted_octets)
                        .contains(&u64::from(*octets))
                {
                    return Err(format!(
                        "a sender report of {ssrc}: {packets} packets and {octets} octets; sent were {} and {}, and again {}",
                        egress.packets, egress.octets, egress.retransmitted
                    ));
                }
                let micros = (ntp >> 32) * 1_000_000 + (((ntp & 0xffff_ffff) * 1_000_000) >> 32);
                if egress.report.is_some_and(|(before, _)| before > micros) {
                    return Err("NTP time runs backwards".into());
                }
                egress.report = Some((micros, *timestamp));
                self.counts.sender_reports += 1;
            }
            Rtcp::ReceiverReport { blocks, .. } => self.check_blocks(truth, blocks)?,
            Rtcp::Nack { media, lost, .. } => {
                let (id, stream) = self.stream_of(truth, *media).ok_or_else(|| format!("NACK for unknown {media}"))?;
                for sequence in lost {
                    check_lost(now, id, stream, *sequence)?;
                }
                self.counts.nacked += lost.len() as u64;
            }
            Rtcp::Pli { media, .. } => self.check_key_frame_request(now, to, *media)?,
            Rtcp::Fir { entries, .. } => {
                for (ssrc, _) in entries {
                    self.check_key_frame_request(now, to, *ssrc)?;
                }
            }
            Rtcp::Twcc { body, .. } => {
                check_transport(now, truth, &twcc::decode(body)?)?;
                self.counts.twcc += 1;
            }
            Rtcp::SourceDescription { .. } | Rtcp::Bye { .. } => {}
            Rtcp::Other { packet_type, count } => {
                return Err(format!("RTCP {packet_type}/{count}, which nobody wants"));
            }
        }
        Ok(())
    }

    fn stream_of(&self, publisher: &Truth, ssrc: u32) -> Option<(StreamId, &StreamTruth)> {
        let spec = &publisher.setup.spec;
        let setup = publisher.setup.streams.iter().find(|stream| stream.ssrc == ssrc)?;
        let id = StreamId {
            room: spec.room,
            participant: spec.participant,
            generation: spec.generation,
            track: setup.track,
            layer: setup.layer,
        };
        Some((id, self.streams.get(&id)?))
    }

    fn check_blocks(&self, publisher: &Truth, blocks: &[ReportBlock]) -> Result<(), String> {
        for block in blocks {
            let Some((_, stream)) = self.stream_of(publisher, block.ssrc) else {
                return Err(format!("a report about {}, which nobody sends", block.ssrc));
            };
            let highest = stream.highest_arrived.ok_or_else(|| format!("a report about silent {}", block.ssrc))?;
            let sequence = stream.first_sequence.wrapping_add(highest as u16);
            if block.highest_sequence as u16 != sequence {
                return Err(format!("the highest is {sequence}, reported {}", block.highest_sequence));
            }
            let lost = stream.packets[..=highest as usize].iter().filter(|packet| packet.arrived.is_none()).count();
            if i64::from(block.cumulative_lost) > lost as i64 {
                return Err(format!("{} packets reported lost of {lost}", block.cumulative_lost));
            }
        }
        Ok(())
    }

    fn check_key_frame_request(&mut self, now: Time, to: ParticipantId, ssrc: u32) -> Result<(), String> {
        let truth = self.participants.get_mut(&to).ok_or("somebody who is gone")?;
        let stream = truth.setup.streams.iter().find(|stream| stream.ssrc == ssrc);
        if stream.is_none_or(|stream| stream.track.media() != MediaKind::Video) {
            return Err(format!("a key frame is asked of {ssrc}, which is no video"));
        }
        let interval = Duration::from_millis(KEYFRAME_REQUEST_INTERVAL_MS);
        if let Some(before) = truth.key_frame_requests.insert(ssrc, now)
            && now.since(before) < interval
        {
            return Err(format!("two requests for a key frame of {ssrc} within {:?}", now.since(before)));
        }
        self.counts.key_frame_requests += 1;
        Ok(())
    }

    /// A subscriber's RTCP arrives at the engine: remembers what must be answered.
    pub fn nack_arrived(&mut self, now: Time, from: ParticipantId, generation: u32, compound: &[Rtcp]) {
        let Some(truth) = self.participants.get(&from) else { return };
        if !truth.connected || truth.setup.spec.generation != generation {
            return;
        }
        for rtcp in compound {
            let Rtcp::Nack { media, lost, .. } = rtcp else { continue };
            let Some(egress) = self.egress.get(&(from, generation, *media)) else { continue };
            let fresh = |sequence: &&u16| egress.sent_at(**sequence).is_some_and(|at| now.since(at) < FRESH);
            self.counts.asked += lost.iter().filter(fresh).count() as u64;
        }
    }

    /// Audio and video of each person are in step on each subscriber's clock.
    pub fn check_lip_sync(&self, now: Time) -> Result<(), String> {
        for (id, truth) in &self.participants {
            for assignment in &truth.assignments {
                let Some(slot) = truth.setup.spec.slots.iter().find(|slot| slot.slot == assignment.slot) else {
                    continue;
                };
                let offset = |kind: MediaKind| {
                    let ssrc = slot.stream(kind)?.ssrc;
                    let epoch = truth.epochs.get(&slot.slot).copied();
                    let egress = self.egress.get(&(*id, truth.setup.spec.generation, ssrc))?;
                    // Both by reports of the same moment: the engine's estimate of the publisher's clock moves.
                    let fresh = egress.last_at().is_some_and(|at| now.since(at) < FRESH);
                    if fresh && egress.last_epoch() == epoch { egress.clock_offset() } else { None }
                };
                let (Some(audio), Some(video)) = (offset(MediaKind::Audio), offset(MediaKind::Video)) else { continue };
                if (audio - video).abs() > LIP_SYNC_MICROS {
                    let SourceRef { participant, source } = assignment.source;
                    let apart = audio - video;
                    return Err(format!("audio and video of {participant} ({source:?}) are {apart} µs apart at {id}"));
                }
            }
        }
        Ok(())
    }
}

fn check_lost(now: Time, id: StreamId, stream: &StreamTruth, sequence: u16) -> Result<(), String> {
    let mut unwrap = Unwrap::default();
    let first = unwrap.extend(stream.first_sequence);
    let highest = u64::from(stream.highest_arrived.unwrap_or_default());
    // Near the highest that arrived.
    let mut near = Unwrap::default();
    near.extend(stream.first_sequence.wrapping_add(highest as u16));
    let distance = near.highest().unwrap_or_default() as i64 - near.extend(sequence) as i64;
    let counter = highest as i64 - distance;
    let packet = usize::try_from(counter).ok().and_then(|counter| stream.packets.get(counter));
    match packet {
        None => Err(format!("NACK for packet {counter} of {id:?} (first {first}), which was never sent")),
        Some(packet) if packet.arrived.is_some_and(|at| at < now) => {
            Err(format!("NACK for packet {counter} of {id:?}, which arrived at {:?}", packet.arrived))
        }
        Some(_) if counter > highest as i64 => Err(format!("NACK for packet {counter} of {id:?} beyond {highest}")),
        Some(_) => Ok(()),
    }
}

fn check_transport(now: Time, truth: &Truth, feedback: &twcc::Feedback) -> Result<(), String> {
    let mut first: Option<(i64, Time)> = None;
    for (i, arrival) in feedback.arrivals.iter().enumerate() {
        let Some(ticks) = arrival else { continue };
        let sequence = feedback.base.wrapping_add(i as u16);
        let arrived = truth.transport_arrived.get(&sequence);
        let arrived = *arrived.ok_or_else(|| format!("transport feedback about {sequence}, which never arrived"))?;
        if arrived > now {
            return Err("transport feedback from the future".into());
        }
        // Distances between arrivals are what a sender reckons with; the ticks are of 250 µs.
        let (ticks_before, before) = *first.get_or_insert((*ticks, arrived));
        let told = (ticks - ticks_before) * 250;
        let real = arrived.0 as i64 - before.0 as i64;
        if (told - real).abs() > 1_000 {
            return Err(format!("transport feedback says {told} µs between two packets that came {real} µs apart"));
        }
    }
    Ok(())
}
