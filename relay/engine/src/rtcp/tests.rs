//! Round trips, the crate rtcp as an oracle, and hostile packets.

use super::*;
use ::rtcp::goodbye::Goodbye;
use ::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use ::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use ::rtcp::sender_report::SenderReport as TheirSenderReport;
use ::rtcp::source_description::{SdesType, SourceDescription as TheirSourceDescription};
use ::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use proptest::prelude::*;

const INFO: SenderInfo =
    SenderInfo { ntp: 0x1122_3344_5566_7788, rtp_timestamp: 0x99aa_bbcc, packets: 0xffff_ffff, octets: 7 };
const REPORT: ReportBlock = ReportBlock {
    ssrc: 0x0102_0304,
    fraction_lost: 200,
    cumulative_lost: -5,
    extended_highest_sequence: 0x0001_ffff,
    jitter: 33,
    last_sender_report: 0x3344_5566,
    delay_since_last: 65_536,
};

/// A compound packet of everything we write.
fn everything() -> Vec<u8> {
    let mut buffer = [0xee; 600];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(writer.sender_report(1, &INFO, &[REPORT]));
    assert!(writer.receiver_report(2, &[REPORT, ReportBlock { cumulative_lost: 0x7f_ffff, ..REPORT }]));
    assert!(writer.cname(3, b"cname@host"));
    assert!(writer.bye(&[4, 5]));
    assert!(writer.pli(6, 7));
    assert!(writer.fir(8, FirEntry { media: 9, sequence: 10 }));
    assert!(writer.nack(11, 12, [65_530, 65_535, 1, 10, 11, 27, 28]));
    let len = writer.len();
    buffer[..len].to_vec()
}

fn parse_all(bytes: &[u8]) -> Vec<Packet<'_>> {
    packets(bytes).map(Result::unwrap).collect()
}

#[test]
fn everything_comes_back() {
    let bytes = everything();
    let parsed = parse_all(&bytes);
    let [
        Packet::SenderReport(sender_report),
        Packet::ReceiverReport { sender: 2, reports },
        Packet::SourceDescription(description),
        Packet::Bye(bye),
        Packet::Pli { sender: 6, media: 7 },
        Packet::Fir(fir),
        Packet::Nack(nack),
    ] = parsed.as_slice()
    else {
        panic!("{parsed:?}");
    };
    assert_eq!((sender_report.sender, sender_report.info), (1, INFO));
    assert_eq!(sender_report.info.compact_ntp(), 0x3344_5566);
    assert_eq!(sender_report.reports.iter().collect::<Vec<_>>(), [REPORT]);
    assert_eq!(reports.iter().map(|report| report.cumulative_lost).collect::<Vec<_>>(), [-5, 0x7f_ffff]);
    assert_eq!(description.cnames().collect::<Vec<_>>(), [(3, b"cname@host".as_slice())]);
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [4, 5]);
    assert_eq!((fir.sender, fir.entries().collect::<Vec<_>>()), (8, vec![FirEntry { media: 9, sequence: 10 }]));
    assert_eq!((nack.sender, nack.media), (11, 12));
    assert_eq!(nack.sequences().collect::<Vec<_>>(), [65_530, 65_535, 1, 10, 11, 27, 28]);
}

#[test]
fn every_truncation_ends_in_an_error_or_between_packets() {
    let bytes = everything();
    let ends: Vec<usize> = {
        let mut rest = bytes.as_slice();
        let mut ends = vec![0];
        while rest.len() >= 4 {
            let len = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
            rest = &rest[len..];
            ends.push(bytes.len() - rest.len());
        }
        ends
    };
    for len in 0..bytes.len() {
        let last = packets(&bytes[..len]).last();
        if ends.contains(&len) {
            assert!(!matches!(last, Some(Err(_))), "{len}");
        } else {
            assert_eq!(last.unwrap().err(), Some(RtcpError::Truncated), "{len}");
        }
    }
}

#[test]
fn bodies_shorter_than_their_counts_are_refused() {
    // Each with a length of one or two words, and a count that asks for more.
    let hostile: [&[u8]; 9] = [
        &[0x80, 200, 0, 1, 0, 0, 0, 1],
        &[0x81, 201, 0, 1, 0, 0, 0, 1],
        &[0x9f, 201, 0, 1, 0, 0, 0, 1],
        &[0x82, 203, 0, 1, 0, 0, 0, 1],
        &[0x81, 203, 0, 0],
        &[0x81, 205, 0, 1, 0, 0, 0, 1],
        &[0x8f, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
        &[0x81, 206, 0, 1, 0, 0, 0, 1],
        &[0x84, 206, 0, 0],
    ];
    for bytes in hostile {
        assert_eq!(packets(bytes).next().unwrap().err(), Some(RtcpError::Truncated), "{bytes:?}");
        assert!(packets(bytes).nth(1).is_none());
    }
    assert_eq!(packets(&[0x41, 201, 0, 0]).next().unwrap().err(), Some(RtcpError::Version));
}

#[test]
fn padding_is_taken_off_and_checked() {
    let padded = |padding: u8| [0xa1, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, padding];
    assert!(matches!(parse_all(&padded(4))[..], [Packet::Pli { sender: 1, media: 2 }]));
    assert_eq!(packets(&padded(0)).next().unwrap().err(), Some(RtcpError::Padding));
    assert_eq!(packets(&padded(13)).next().unwrap().err(), Some(RtcpError::Padding));
    assert_eq!(packets(&padded(8)).next().unwrap().err(), Some(RtcpError::Truncated), "padding eats the body");
    assert_eq!(packets(&[0xa0, 201, 0, 0]).next().unwrap().err(), Some(RtcpError::Padding));
}

#[test]
fn a_bye_may_have_a_reason_and_a_short_one() {
    let bytes = [0x81, 203, 0, 2, 0, 0, 0, 9, 200, b'b', b'y', b'e'];
    let [Packet::Bye(bye)] = parse_all(&bytes)[..] else { panic!() };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [9]);
}

#[test]
fn descriptions_of_several_sources() {
    // A NOTE before the CNAME; a chunk without CNAME; a third one that is cut short.
    let bytes = [
        0x83, 202, 0, 9, //
        0, 0, 0, 1, 7, 2, b'h', b'i', 1, 1, b'a', 0, //
        0, 0, 0, 2, 7, 1, b'x', 0, //
        0, 0, 0, 3, 1, 2, b'b', b'c', 0, 0, 0, 0, //
        0, 0, 0, 4,
    ];
    let [Packet::SourceDescription(description)] = parse_all(&bytes)[..] else { panic!() };
    assert_eq!(description.cnames().collect::<Vec<_>>(), [(1, b"a".as_slice()), (3, b"bc".as_slice())]);
    let cut = [0x82, 202, 0, 3, 0, 0, 0, 1, 1, 9, b'a', 0, 0, 0, 0, 2];
    let [Packet::SourceDescription(description)] = parse_all(&cut)[..] else { panic!() };
    assert_eq!(description.cnames().count(), 0);
}

#[test]
fn other_packets_are_passed_over() {
    // Application-defined, extended reports, REMB and slice loss.
    let bytes = [0x80, 204, 0, 0, 0x80, 207, 0, 0, 0x8f, 206, 0, 0, 0x82, 206, 0, 0];
    let kinds: Vec<(u8, u8)> = parse_all(&bytes)
        .into_iter()
        .map(|packet| match packet {
            Packet::Other { packet_type, count } => (packet_type, count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [(204, 0), (207, 0), (206, 15), (206, 2)]);
}

#[test]
fn what_does_not_fit_is_not_written() {
    for room in 0..12 {
        let mut buffer = vec![0; room];
        let mut writer = RtcpWriter::new(&mut buffer);
        assert!(!writer.pli(1, 2), "{room}");
        assert!(writer.is_empty());
    }
    let mut buffer = [0; 20];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(writer.pli(1, 2));
    assert!(!writer.nack(1, 2, [3]));
    assert_eq!(writer.len(), 12, "the first one stays");
    assert!(writer.bye(&[1]));
    assert_eq!(writer.len(), 20);

    let mut buffer = [0; 2000];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(!writer.receiver_report(1, &[REPORT; 32]));
    assert!(!writer.bye(&[0; 32]));
    assert!(!writer.cname(1, &[b'x'; 256]));
    assert!(writer.nack(1, 2, []));
    assert!(writer.is_empty(), "none of them, and no empty NACK");
    assert!(writer.receiver_report(1, &[REPORT; 31]));
}

/// The same bytes, read by the crate rtcp.
#[test]
fn they_read_what_we_write() {
    let bytes = everything();
    let theirs = ::rtcp::packet::unmarshal(&mut bytes.as_slice()).unwrap();
    let sender_report = theirs[0].as_any().downcast_ref::<TheirSenderReport>().unwrap();
    assert_eq!((sender_report.ssrc, sender_report.ntp_time, sender_report.rtp_time), (1, INFO.ntp, INFO.rtp_timestamp));
    assert_eq!((sender_report.packet_count, sender_report.octet_count), (INFO.packets, INFO.octets));
    assert_eq!(sender_report.reports[0].fraction_lost, 200);
    assert_eq!(sender_report.reports[0].total_lost, 0xff_fffb);
    assert_eq!(sender_report.reports[0].last_sequence_number, 0x0001_ffff);
    assert_eq!(sender_report.reports[0].last_sender_report, 0x3344_5566);
    let description = theirs[2].as_any().downcast_ref::<TheirSourceDescription>().unwrap();
    assert_eq!(description.chunks[0].source, 3);
    assert_eq!(description.chunks[0].items[0].sdes_type, SdesType::SdesCname);
    assert_eq!(&description.chunks[0].items[0].text[..], b"cname@host");
    assert_eq!(theirs[3].as_any().downcast_ref::<Goodbye>().unwrap().sources, [4, 5]);
    let pli = theirs[4].as_any().downcast_ref::<PictureLossIndication>().unwrap();
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (6, 7));
    let fir = theirs[5].as_any().downcast_ref::<FullIntraRequest>().unwrap();
    assert_eq!((fir.fir[0].ssrc, fir.fir[0].sequence_number), (9, 10));
    let nack = theirs[6].as_any().downcast_ref::<TransportLayerNack>().unwrap();
    let asked: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
    assert_eq!(asked, [65_530, 65_535, 1, 10, 11, 27, 28]);
}

/// Calls everything that reads.
fn read_all(bytes: &[u8]) {
    for packet in packets(bytes) {
        match packet {
            Ok(Packet::SenderReport(report)) => assert!(report.reports.iter().count() < 32),
            Ok(Packet::ReceiverReport { reports, .. }) => assert!(reports.iter().count() < 32),
            Ok(Packet::SourceDescription(description)) => assert!(description.cnames().count() < 32),
            Ok(Packet::Bye(bye)) => assert!(bye.ssrcs().count() < 32),
            Ok(Packet::Nack(nack)) => assert!(nack.sequences().count() <= bytes.len() / 4 * 17),
            Ok(Packet::Fir(fir)) => assert!(fir.entries().count() <= bytes.len() / 8),
            Ok(Packet::TransportFeedback(feedback)) => {
                assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
            }
            Ok(Packet::Pli { .. } | Packet::Other { .. }) | Err(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    /// Junk behind a plausible header goes deeper.
    #[test]
    fn bodies_of_junk_never_panic(count in 0u8..32, kind in 200u8..208, padding: bool, body in prop::collection::vec(any::<u32>(), 0..40)) {
        let mut bytes = vec![0x80 | u8::from(padding) << 5 | count, kind, 0, body.len() as u8];
        bytes.extend(body.iter().flat_map(|word| word.to_be_bytes()));
        read_all(&bytes);
    }

    #[test]
    fn damaged_packets_never_panic(at in 0usize..300, value: u8) {
        let mut bytes = everything();
        if let Some(place) = bytes.get_mut(at) {
            *place = value;
        }
        read_all(&bytes);
    }

    #[test]
    fn nacks_come_back(first: u16, gaps in prop::collection::vec(1u16..60, 0..60)) {
        let mut sequences = vec![first];
        gaps.iter().for_each(|gap| sequences.push(sequences.last().unwrap().wrapping_add(*gap)));
        let mut buffer = [0; 400];
        let mut writer = RtcpWriter::new(&mut buffer);
        prop_assert!(writer.nack(1, 2, sequences.iter().copied()));
        let len = writer.len();
        let parsed = parse_all(&buffer[..len]);
        let [Packet::Nack(nack)] = parsed[..] else { panic!() };
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), sequences);
    }

    #[test]
    fn cnames_come_back(cname in prop::collection::vec(any::<u8>(), 0..=255)) {
        let mut buffer = [0; 400];
        let mut writer = RtcpWriter::new(&mut buffer);
        prop_assert!(writer.cname(7, &cname));
        let len = writer.len();
        let parsed = parse_all(&buffer[..len]);
        let [Packet::SourceDescription(description)] = parsed[..] else { panic!() };
        prop_assert_eq!(description.cnames().collect::<Vec<_>>(), [(7, cname.as_slice())]);
    }

    #[test]
    fn reports_come_back(ssrc: u32, fraction_lost: u8, lost in -0x80_0000i32..0x80_0000, highest: u32, jitter: u32, last: u32, delay: u32) {
        let report = ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: lost,
            extended_highest_sequence: highest,
            jitter,
            last_sender_report: last,
            delay_since_last: delay,
        };
        let mut buffer = [0; 100];
        let mut writer = RtcpWriter::new(&mut buffer);
        prop_assert!(writer.receiver_report(1, &[report]));
        let len = writer.len();
        let parsed = parse_all(&buffer[..len]);
        let [Packet::ReceiverReport { reports, .. }] = parsed[..] else { panic!() };
        prop_assert_eq!(reports.iter().collect::<Vec<_>>(), [report]);
    }
}
