//! RTCP that comes in: reports of publishers and subscribers, and what subscribers ask for.

use crate::batch::{Path, TxBatch};
use crate::egress::Exit;
use crate::engine::Engine;
use crate::ingress::count_open_error;
use crate::participant::{Participant, Phase};
use crate::rtcp::{Nack, Packet, ReportBlock, SenderReport, packets};
use crate::slab::Key;
use crate::srtp::rtcp_sender;
use crate::target::Circumstances;
use crate::time::Time;
use crate::track::ReceivedReport;
use crate::wallclock::{compact_ntp, ntp_micros};
use plausch_relay_api::MediaKind;
use std::time::Duration;

/// Longer round trips than this are a mistake of somebody's clock.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(5);
/// Of a later, worse estimate of the clock offset this part is taken: clocks drift apart, packets come late.
const CLOCK_DRIFT_SHARE: i64 = 64;
/// The browser's clock was set.
const CLOCK_JUMP_MICROS: i64 = 2_000_000;

impl Engine {
    /// Opens a compound in place and does what it says.
    pub(crate) fn receive_rtcp(&mut self, path: Path, datagram: &mut [u8], now: Time, tx: &mut TxBatch) {
        let Some(key) = self.peers.find(path) else {
            self.counters.drop_srtp_unchecked += 1;
            return;
        };
        let Some(participant) = self.participants.get_mut(key) else { return };
        if !participant.is_connected() {
            self.counters.drop_srtp_no_keys += 1;
            return;
        }
        let Some(sender) = rtcp_sender(datagram) else {
            self.counters.drop_rtcp_malformed += 1;
            return;
        };
        let senders = participant.transport.rtcp_senders();
        let Some((keys, replay)) = participant.transport.rtcp_receiver(sender) else {
            self.counters.drop_rtcp_sender_limit += 1;
            return;
        };
        let opened = keys.inbound.open_rtcp(replay, datagram);
        let len = match opened {
            Ok(len) => len,
            Err(error) => {
                participant.transport.forget_rtcp_sender(senders);
                return count_open_error(&mut self.counters, error);
            }
        };
        participant.access.note_media(path, now);
        self.counters.rtcp_received += 1;
        for packet in packets(datagram.get(..len).unwrap_or(&[])) {
            match packet {
                Ok(Packet::SenderReport(report)) => {
                    self.sender_report(key, &report, now);
                    report.reports.iter().for_each(|block| self.report_block(key, &block, now));
                }
                Ok(Packet::ReceiverReport { reports, .. }) => {
                    reports.iter().for_each(|block| self.report_block(key, &block, now));
                }
                Ok(Packet::Nack(nack)) => self.send_again(key, &nack, now, tx),
                Ok(Packet::Pli { media, .. }) => self.key_frame_wanted(key, media, now),
                Ok(Packet::Fir(fir)) => fir.entries().for_each(|entry| self.key_frame_wanted(key, entry.media, now)),
                Ok(Packet::Bye(bye)) => bye.ssrcs().for_each(|ssrc| self.stream_ended(key, ssrc)),
                Ok(Packet::SourceDescription(_) | Packet::TransportFeedback(_) | Packet::Other { .. }) => {}
                Err(_) => {
                    self.counters.drop_rtcp_malformed += 1;
                    return;
                }
            }
        }
    }

    fn sender_report(&mut self, key: Key<Participant>, report: &SenderReport<'_>, now: Time) {
        let Some(participant) = self.participants.get(key) else { return };
        let Some((track, layer)) = participant.uplink.layer_of(report.sender) else {
            // A browser may report on a stream of which nothing came yet.
            return;
        };
        let mut clock_offset = None;
        if let Some(track) = self.tracks.get_mut(track) {
            let measured = (now.0 as i64).wrapping_sub(ntp_micros(report.info.ntp));
            clock_offset = Some(adjusted(track.clock_offset, measured));
            if let Some(layer) = track.layer_mut(layer) {
                layer.sender_report = Some(ReceivedReport { info: report.info, received: now });
            }
        }
        for track in participant.uplink.tracks() {
            if let Some(track) = self.tracks.get_mut(track) {
                track.clock_offset = clock_offset;
            }
        }
    }

    /// Round-trip time from what a subscriber says of our reports (RFC 3550, section 6.4.1).
    fn report_block(&mut self, key: Key<Participant>, block: &ReportBlock, now: Time) {
        let Some(participant) = self.participants.get_mut(key) else { return };
        if block.last_sender_report == 0 {
            return;
        }
        let ticks = compact_ntp(now).wrapping_sub(block.last_sender_report).wrapping_sub(block.delay_since_last);
        let measured = Duration::from_micros(u64::from(ticks) * 1_000_000 / 65_536);
        if measured < LONGEST_ROUND_TRIP {
            participant.transport.round_trip = (participant.transport.round_trip * 7 + measured) / 8;
        }
    }

    fn stream_ended(&mut self, key: Key<Participant>, ssrc: u32) {
        let Some(participant) = self.participants.get(key) else { return };
        if let Some((track, layer)) = participant.uplink.layer_of(ssrc)
            && let Some(layer) = self.tracks.get_mut(track).and_then(|track| track.layer_mut(layer))
        {
            layer.end();
        }
    }

    /// A subscriber cannot decode what it gets: the request goes on to the publisher, if it is time for one.
    fn key_frame_wanted(&mut self, key: Key<Participant>, ssrc: u32, now: Time) {
        self.counters.keyframe_requests_received += 1;
        let Some(participant) = self.participants.get(key) else { return };
        let downlink = &participant.downlink;
        let Some(slot) = downlink.find_ssrc(ssrc).and_then(|(place, _)| downlink.slots.get(place)) else {
            self.counters.drop_rtcp_unknown_ssrc += 1;
            return;
        };
        let Some(track) = slot.video_track.and_then(|track| self.tracks.get_mut(track)) else { return };
        let around = Circumstances { overload: &self.overload, member: key.index(), now };
        let Some(layer) = slot.layer_to_refresh(track, around) else { return };
        if track.want_key_frame(layer) {
            let owner = track.owner;
            self.touch(owner);
        }
    }

    /// Answers a NACK (RFC 4585, section 6.2.1) with the same packets, bit by bit.
    fn send_again(&mut self, key: Key<Participant>, nack: &Nack<'_>, now: Time, tx: &mut TxBatch) {
        let Self { participants, tracks, counters, .. } = self;
        let Some(Participant { spec, access, transport, downlink, .. }) = participants.get_mut(key) else { return };
        let (Phase::Connected(keys), Some(path)) = (&transport.phase, access.send_path()) else { return };
        let Some((place, media)) = downlink.find_ssrc(nack.media) else {
            counters.drop_rtcp_unknown_ssrc += 1;
            return;
        };
        let Some(slot) = downlink.slots.get_mut(place) else { return };
        let Some(stream) = slot.stream_mut(media) else { return };
        let mut exit = Exit { tx, path, keys: &keys.outbound, spec, counters };
        for sequence in nack.sequences() {
            exit.counters.nacks_received += 1;
            // Before the look-up: asking for what is not there costs as much.
            if !downlink.budget.take(now) {
                exit.counters.drop_nack_limit += 1;
                continue;
            }
            let found = stream.origin(sequence).and_then(|origin| {
                let layer = tracks.get(origin.source().track)?.layer(origin.source().layer)?;
                let (packet, plain) = layer.cache.as_ref()?.get(origin.index())?;
                Some((packet, plain, origin.place(packet)?, exit.payload_type(packet.codec)?))
            });
            let Some((packet, plain, out, payload_type)) = found.filter(|_| media == MediaKind::Video) else {
                exit.counters.nacks_missed += 1;
                continue;
            };
            if exit.send(stream, packet, plain, &out, payload_type) {
                exit.counters.rtp_retransmitted += 1;
            }
        }
    }
}

/// The clock offset after another measurement: the least one is right, for a report never comes too early.
fn adjusted(before: Option<i64>, measured: i64) -> i64 {
    let Some(before) = before else { return measured };
    let late = measured.wrapping_sub(before);
    if (0..CLOCK_JUMP_MICROS).contains(&late) { before + late / CLOCK_DRIFT_SHARE } else { measured }
}
