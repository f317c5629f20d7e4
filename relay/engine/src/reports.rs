//! RTCP that goes out: reports once a second, and feedback to publishers when it is due, in one compound where it fits.

use crate::batch::{Path, TxBatch};
use crate::counters::Counters;
use crate::engine::Engine;
use crate::participant::{Participant, Phase};
use crate::rtcp::{ReportBlock, RtcpWriter, SenderInfo};
use crate::slab::{Key, Slab};
use crate::srtp::{MAX_RTCP_OVERHEAD, Outbound};
use crate::stream::Stream;
use crate::time::Time;
use crate::track::{Layer, Track};
use crate::wallclock::{ntp, ntp_micros};
use plausch_relay_api::limits::{
    FEEDBACK_WINDOW_PACKETS, LAYERS_PER_TRACK, RTCP_BYTES, RTCP_INTERVAL_MS, TRACKS_PER_PARTICIPANT,
};
use plausch_relay_api::{MediaKind, ParticipantId, Source};
use std::time::Duration;

const REPORT_BLOCKS: usize = LAYERS_PER_TRACK * TRACKS_PER_PARTICIPANT;
/// Header, sender's SSRC, sender info (RFC 3550, section 6.4.1), and SDES with our longest CNAME.
const SENDER_REPORT_BYTES: usize = 28 + 32;
const REPORT_BLOCK_BYTES: usize = 24;
/// RFC 4585, section 6.3.1.
const PLI_BYTES: usize = 12;
/// RFC 4585, section 6.2.1: header and SSRCs, and one entry at least for each packet asked for.
const NACK_BYTES: usize = 12;
const NACK_ENTRY_BYTES: usize = 4;
/// The CNAME of what is not a source of somebody.
const OWN_CNAME: &[u8] = b"plausch";

impl Engine {
    /// Sends what is due of reports, key-frame requests, NACKs and transport-wide feedback.
    pub(crate) fn send_control(&mut self, key: Key<Participant>, now: Time, tx: &mut TxBatch) {
        let Self { participants, tracks, counters, random, sequences, .. } = self;
        let Some(participant) = participants.get_mut(key) else { return };
        let reports = participant.transport.reports_due <= now;
        if !reports && !feedback_is_due(participant, tracks, now) {
            return;
        }
        let Participant { access, transport, uplink, downlink, .. } = participant;
        let round_trip = transport.round_trip;
        let (Phase::Connected(keys), Some(path)) = (&mut transport.phase, access.send_path()) else { return };
        let mut out = Out { tx, path, keys: &mut keys.outbound, counters };
        let own = uplink.local_ssrc;

        let mut blocks = [ReportBlock::default(); REPORT_BLOCKS];
        let mut block_count = 0;
        let mut streams = 0;
        let all_streams = if reports { downlink.slots.len() * 2 } else { 0 };
        if reports {
            // Not all at once (RFC 3550, section 6.2): up to a tenth earlier.
            let early = (u64::from(random.next_u32()) * RTCP_INTERVAL_MS * 100) >> 32;
            transport.reports_due = now + Duration::from_millis(RTCP_INTERVAL_MS) - Duration::from_micros(early);
            block_count = collect_blocks(&mut blocks, uplink.tracks(), tracks, now);
        }
        let mut blocks = blocks.get(..block_count).unwrap_or(&[]);
        loop {
            let sent = out.compound(|writer, counters| {
                // The sender reports, as many as fit; where there is none, a receiver report begins the compound.
                while streams < all_streams {
                    let needed = SENDER_REPORT_BYTES + blocks.len() * REPORT_BLOCK_BYTES;
                    if writer.len() + needed > RTCP_BYTES {
                        return;
                    }
                    let stream = downlink.slots.get(streams / 2).and_then(|slot| slot.streams()[streams % 2]);
                    streams += 1;
                    if let Some(stream) = stream
                        && let Some((info, cname)) = sender_info(stream, tracks, now)
                    {
                        writer.sender_report(stream.ssrc, &info, std::mem::take(&mut blocks));
                        writer.cname(stream.ssrc, &cname);
                    }
                }
                if writer.is_empty() {
                    writer.receiver_report(own, std::mem::take(&mut blocks));
                    writer.cname(own, OWN_CNAME);
                }
                for track in uplink.tracks() {
                    let Some(track) = tracks.get_mut(track).filter(|track| track.media() == MediaKind::Video) else {
                        continue;
                    };
                    for (_, layer) in track.layers_mut() {
                        ask_publisher(writer, counters, layer, own, round_trip, sequences, now);
                        if reports {
                            layer.rest(now);
                        }
                    }
                }
                let media = uplink.bindings.first().map_or(0, |binding| binding.ssrc);
                if let Some(arrivals) = &mut uplink.arrivals {
                    while arrivals.pending() > 0 && arrivals.write(writer, own, media) {
                        uplink.feedback_sent = now;
                    }
                }
            });
            if !sent || streams == all_streams {
                return;
            }
        }
    }
}

fn feedback_is_due(participant: &Participant, tracks: &Slab<Track>, now: Time) -> bool {
    let uplink = &participant.uplink;
    uplink.feedback_due() <= now
        || uplink.arrivals.as_ref().is_some_and(|arrivals| arrivals.pending() >= FEEDBACK_WINDOW_PACKETS / 2)
        || uplink.tracks().filter_map(|track| tracks.get(track)).any(|track| {
            track.layers().any(|(_, layer)| layer.missing.next().min(layer.key_frame_request_due()) <= now)
        })
}

/// Where compounds go.
struct Out<'a> {
    tx: &'a mut TxBatch,
    path: Path,
    keys: &'a mut Outbound,
    counters: &'a mut Counters,
}

impl Out<'_> {
    /// Writes a compound into the batch and seals it there. `false`: there was no room.
    fn compound(&mut self, fill: impl FnOnce(&mut RtcpWriter<'_>, &mut Counters)) -> bool {
        let Some(buffer) = self.tx.reserve(self.path, RTCP_BYTES + MAX_RTCP_OVERHEAD) else {
            self.counters.drop_tx_full += 1;
            return false;
        };
        let Some(body) = buffer.get_mut(..RTCP_BYTES) else { return false };
        let mut writer = RtcpWriter::new(body);
        fill(&mut writer, self.counters);
        let len = writer.len();
        let Ok(sealed) = self.keys.seal_rtcp(buffer, len) else {
            self.counters.drop_egress_seal += 1;
            return false;
        };
        self.tx.commit(sealed);
        self.counters.rtcp_sent += 1;
        true
    }
}

/// One block for each layer from which something came lately.
fn collect_blocks(
    blocks: &mut [ReportBlock; REPORT_BLOCKS],
    own_tracks: impl Iterator<Item = Key<Track>>,
    tracks: &mut Slab<Track>,
    now: Time,
) -> usize {
    let mut count = 0;
    for track in own_tracks {
        let Some(track) = tracks.get_mut(track) else { continue };
        for (_, layer) in track.layers_mut().filter(|(_, layer)| !layer.is_idle(now)) {
            let last = layer.sender_report.map(|report| (report.info.compact_ntp(), report.received));
            if let (Some(reception), Some(block)) = (&mut layer.reception, blocks.get_mut(count)) {
                *block = reception.report(layer.ssrc, last, now);
                count += 1;
            }
        }
    }
    count
}

/// What a sender report says of a stream that follows somebody at the moment.
fn sender_info(stream: &Stream, tracks: &Slab<Track>, now: Time) -> Option<(SenderInfo, [u8; 17])> {
    let source = stream.following()?;
    let track = tracks.get(source.track)?;
    let layer = track.layer(source.layer).filter(|layer| layer.epoch == source.epoch && !layer.is_idle(now))?;
    let rtp_timestamp = source_timestamp(track, layer, now)?.wrapping_add(stream.timestamp_offset()?);
    let info = SenderInfo { ntp: ntp(now), rtp_timestamp, packets: stream.packets, octets: stream.octets };
    Some((info, cname(track.owner_id, track.kind.source())))
}

/// The source's RTP clock now. Where the publisher reports, by its word on how its clocks relate, with the same
/// offset for all its tracks: then it does not matter to lips how wrong that offset is.
fn source_timestamp(track: &Track, layer: &Layer, now: Time) -> Option<u32> {
    let clock_rate: i64 = match track.media() {
        MediaKind::Audio => 48_000,
        MediaKind::Video => 90_000,
    };
    let (timestamp, at) = match (track.clock_offset, &layer.sender_report) {
        (Some(offset), Some(report)) => (report.info.rtp_timestamp, ntp_micros(report.info.ntp).wrapping_add(offset)),
        (Some(_), None) => return None,
        (None, _) => (layer.last_timestamp, layer.last_packet.0 as i64),
    };
    let elapsed = i128::from((now.0 as i64).wrapping_sub(at)) * i128::from(clock_rate) / 1_000_000;
    Some(timestamp.wrapping_add(elapsed as u32))
}

/// The same for audio and video of a source: 16 hexadecimal digits and a letter.
fn cname(owner: ParticipantId, source: Source) -> [u8; 17] {
    let mut name = [0; 17];
    for (place, digit) in name.iter_mut().enumerate() {
        *digit = match (place, source) {
            (16, Source::Person) => b'p',
            (16, Source::Screen) => b's',
            (place, _) => b"0123456789abcdef"[(owner.0 >> (60 - 4 * place)) as usize & 0xf],
        };
    }
    name
}

/// Asks the publisher for a key frame and for missing packets of one layer, as far as due and as fits.
fn ask_publisher(
    writer: &mut RtcpWriter<'_>,
    counters: &mut Counters,
    layer: &mut Layer,
    own: u32,
    round_trip: Duration,
    sequences: &mut Vec<u16>,
    now: Time,
) {
    let room = RTCP_BYTES.saturating_sub(writer.len() + PLI_BYTES + NACK_BYTES) / NACK_ENTRY_BYTES;
    sequences.clear();
    layer.missing.due(now, round_trip, room, |sequence| sequences.push(sequence));
    layer.make_up_for_losses();
    if writer.len() + PLI_BYTES <= RTCP_BYTES && layer.take_key_frame_request(now) {
        writer.pli(own, layer.ssrc);
        counters.keyframe_requests_sent += 1;
    }
    if !sequences.is_empty() {
        writer.nack(own, layer.ssrc, sequences.iter().copied());
        counters.nacks_sent += sequences.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cname_is_a_pseudonym_and_a_letter() {
        assert_eq!(&cname(ParticipantId(0x0123_4567_89ab_cdef), Source::Person), b"0123456789abcdefp");
        assert_eq!(&cname(ParticipantId(1), Source::Screen), b"0000000000000001s");
    }
}
