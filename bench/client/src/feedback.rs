//! RTCP: what the client reports and asks for, and what it is told.

use super::publish::SentStream;
use super::received::Report;
use bytes::Bytes;
use rtcp::goodbye::Goodbye;
use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reception blocks of one report (RFC 3550, section 6.4.1: five bits of count).
const BLOCKS: usize = 31;
/// Seconds from 1900 to 1970.
const NTP_OFFSET_S: u64 = 2_208_988_800;

/// One thing that RTCP told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    SenderReport { ssrc: u32, ntp: u64 },
    ReceiverReport,
    KeyFrameRequest { ssrc: u32 },
    Nack { ssrc: u32, sequences: Vec<u16> },
    TransportFeedback,
    Bye,
}

/// Reads a compound packet; what is not understood is left out.
pub(crate) fn read(mut compound: &[u8]) -> Vec<Told> {
    let Ok(packets) = rtcp::packet::unmarshal(&mut compound) else { return Vec::new() };
    let mut told = Vec::new();
    for packet in &packets {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            told.push(Told::SenderReport { ssrc: report.ssrc, ntp: report.ntp_time });
        } else if packet.is::<ReceiverReport>() {
            told.push(Told::ReceiverReport);
        } else if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
            told.push(Told::KeyFrameRequest { ssrc: request.media_ssrc });
        } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
            told.extend(request.fir.iter().map(|entry| Told::KeyFrameRequest { ssrc: entry.ssrc }));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
            told.push(Told::Nack { ssrc: nack.media_ssrc, sequences });
        } else if packet.is::<TransportLayerCc>() {
            told.push(Told::TransportFeedback);
        } else if packet.is::<Goodbye>() {
            told.push(Told::Bye);
        }
    }
    told
}

type Compound = Vec<Box<dyn Packet + Send + Sync>>;

/// Sender reports for all streams, reception reports, and the canonical name. One datagram each.
pub(crate) fn reports<'a>(
    own_ssrc: u32,
    cname: &str,
    sent: impl Iterator<Item = &'a SentStream>,
    received: &[Report],
    now: Instant,
) -> Vec<Bytes> {
    let mut blocks = received.chunks(BLOCKS).map(|chunk| chunk.iter().map(block).collect::<Vec<_>>());
    let mut out = Vec::new();
    let names = |ssrc: u32| SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source: ssrc,
            items: vec![SourceDescriptionItem {
                sdes_type: SdesType::SdesCname,
                text: Bytes::copy_from_slice(cname.as_bytes()),
            }],
        }],
    };
    for stream in sent {
        let Some((timestamp, at)) = stream.latest else { continue };
        let report = SenderReport {
            ssrc: stream.ssrc,
            ntp_time: ntp(SystemTime::now() - now.duration_since(at)),
            rtp_time: timestamp,
            packet_count: stream.packets,
            octet_count: stream.octets,
            reports: blocks.next().unwrap_or_default(),
            ..SenderReport::default()
        };
        let compound: Compound = vec![Box::new(report), Box::new(names(stream.ssrc))];
        out.extend(rtcp::packet::marshal(&compound));
    }
    for reports in blocks {
        let report = ReceiverReport { ssrc: own_ssrc, reports, ..ReceiverReport::default() };
        let compound: Compound = vec![Box::new(report), Box::new(names(own_ssrc))];
        out.extend(rtcp::packet::marshal(&compound));
    }
    out
}

/// A picture loss indication (RFC 4585, section 6.3.1).
pub(crate) fn key_frame_request(own_ssrc: u32, media_ssrc: u32) -> Option<Bytes> {
    let compound: Compound = vec![Box::new(PictureLossIndication { sender_ssrc: own_ssrc, media_ssrc })];
    rtcp::packet::marshal(&compound).ok()
}

/// A generic NACK (RFC 4585, section 6.2.1).
pub(crate) fn nack(own_ssrc: u32, media_ssrc: u32, sequences: &[u16]) -> Option<Bytes> {
    let nacks = nack_pairs_from_sequence_numbers(sequences);
    let compound: Compound = vec![Box::new(TransportLayerNack { sender_ssrc: own_ssrc, media_ssrc, nacks })];
    rtcp::packet::marshal(&compound).ok()
}

fn block(report: &Report) -> ReceptionReport {
    ReceptionReport {
        ssrc: report.ssrc,
        fraction_lost: report.fraction_lost,
        total_lost: report.total_lost,
        last_sequence_number: report.highest,
        jitter: report.jitter,
        last_sender_report: report.last_sender_report,
        // In 1/65536 s, 0 before the first sender report.
        delay: match report.last_sender_report {
            0 => 0,
            _ => (report.delay.as_secs_f64() * 65_536.0) as u32,
        },
    }
}

fn ntp(time: SystemTime) -> u64 {
    let since_1970: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    ((since_1970.as_secs() + NTP_OFFSET_S) << 32) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_written() {
        assert_eq!(read(&key_frame_request(1, 2).unwrap()), [Told::KeyFrameRequest { ssrc: 2 }]);
        let sequences = vec![65_535, 0, 5, 100];
        assert_eq!(read(&nack(1, 2, &sequences).unwrap()), [Told::Nack { ssrc: 2, sequences }]);
        assert!(read(&[0x80, 201, 0xff, 0xff]).is_empty());
    }
}
