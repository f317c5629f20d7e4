//! RTCP both ways.

use super::harness::*;
use plausch_engine::rtcp::{Packet, SenderInfo, packets};
use plausch_relay_api::*;

const AUDIO: u32 = 0x1000;
const VIDEO: u32 = 0x2000;

/// Requests for key frames that a client got, by SSRC.
fn plis(client: &mut Client) -> Vec<u32> {
    let mut found = Vec::new();
    for compound in std::mem::take(&mut client.rtcp) {
        found.extend(packets(&compound).filter_map(|packet| match packet.unwrap() {
            Packet::Pli { media, .. } => Some(media),
            _ => None,
        }));
    }
    found
}

fn nacks(client: &mut Client) -> Vec<u16> {
    let mut found = Vec::new();
    for compound in std::mem::take(&mut client.rtcp) {
        for packet in packets(&compound) {
            if let Packet::Nack(nack) = packet.unwrap() {
                found.extend(nack.sequences());
            }
        }
    }
    found
}

#[test]
fn a_key_frame_is_asked_for_at_once_and_then_throttled() {
    let mut world = World::meeting(2);
    assert!(plis(&mut world.clients[0]).is_empty(), "nothing was sent yet");
    for sequence in 0..10 {
        world.send(0, &Rtp::video(101, sequence, sequence, false));
    }
    assert_eq!(plis(&mut world.clients[0]), [101]);
    world.pass(490);
    assert!(plis(&mut world.clients[0]).is_empty());
    world.pass(20);
    assert_eq!(plis(&mut world.clients[0]), [101], "it was wanted meanwhile");
    world.pass(12_000);
    plis(&mut world.clients[0]);
    world.pass(5_000);
    assert!(plis(&mut world.clients[0]).is_empty(), "nothing comes for long, so nothing is asked for");
    world.send(0, &Rtp::video(101, 10, 10, false));
    world.send(0, &Rtp::video(101, 11, 11, true));
    world.send(0, &Rtp::video(101, 12, 12, false));
    assert_eq!(plis(&mut world.clients[0]), [101]);
    world.pass(1_000);
    assert!(plis(&mut world.clients[0]).is_empty());
}

#[test]
fn a_new_viewer_makes_the_publisher_send_a_key_frame() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::video(101, 0, 0, true));
    world.put(spec(3)).unwrap();
    world.add_client(spec(3));
    world.assign(3, vec![assignment(0, 1, Source::Person)]).unwrap();
    assert!(plis(&mut world.clients[0]).is_empty());
    world.connect(2);
    assert_eq!(plis(&mut world.clients[0]), [101]);
}

#[test]
fn a_still_screen_is_asked_for_until_it_answers() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::video(777, 1, 1, true).with(4, b"2"));
    world.pass(5_000);
    plis(&mut world.clients[0]);
    world.assign(2, vec![assignment(0, 1, Source::Person), assignment(1, 1, Source::Screen)]).unwrap();
    assert_eq!(plis(&mut world.clients[0]), [777], "though nothing came for five seconds");
    world.pass(2_000);
    assert!((1..=3).contains(&plis(&mut world.clients[0]).len()), "the request or its answer was lost");
    world.send(0, &Rtp::video(777, 2, 2, true));
    assert_eq!(world.clients[1].take(0x2001).len(), 1);
    world.pass(2_000);
    assert!(plis(&mut world.clients[0]).is_empty());
}

#[test]
fn storms_of_requests_become_one() {
    let mut world = World::meeting(3);
    world.send(0, &Rtp::video(101, 0, 0, true));
    for _ in 0..50 {
        world.send_rtcp(1, |writer| {
            writer.pli(1, VIDEO);
        });
        world.send_rtcp(2, |writer| {
            writer.fir(1, plausch_engine::rtcp::FirEntry { media: VIDEO, sequence: 3 });
        });
    }
    assert_eq!(plis(&mut world.clients[0]), [101]);
    assert_eq!(world.engine.counters().keyframe_requests_received, 100);
    world.send_rtcp(1, |writer| {
        writer.pli(1, 0xdead);
    });
    assert_eq!(world.engine.counters().drop_rtcp_unknown_ssrc, 1);
}

#[test]
fn lost_video_is_asked_for_and_its_repetition_forwarded() {
    let mut world = World::meeting(2);
    let lost = [3, 4, 9];
    for sequence in 0..12 {
        let rtp = Rtp::video(101, sequence, sequence, sequence == 0);
        if !lost.contains(&sequence) {
            world.send(0, &rtp);
        }
    }
    world.clients[0].rtcp.clear();
    world.pass(12);
    assert_eq!(nacks(&mut world.clients[0]), lost);
    for sequence in lost {
        world.send(0, &Rtp::video(101, sequence, sequence, false));
    }
    world.pass(1_000);
    assert!(nacks(&mut world.clients[0]).is_empty());
    let mut got = world.clients[1].take(VIDEO);
    got.sort_by_key(|rtp| rtp.index);
    assert_eq!(got.len(), 12);
    assert!(got.is_sorted_by(|a, b| a.index + 1 == b.index && picture_id(&a.payload) + 1 == picture_id(&b.payload)));
}

#[test]
fn a_subscriber_gets_the_same_packet_again() {
    let mut world = World::meeting(3);
    world.assign(1, vec![assignment(0, 2, Source::Person)]).unwrap();
    for sequence in 0..10 {
        world.send(1, &Rtp::video(201, sequence, sequence, sequence == 0));
    }
    world.send(1, &Rtp::padding(201, 10));
    world.send(1, &Rtp::video(201, 11, 10, false));
    world.assign(1, vec![assignment(0, 3, Source::Person)]).unwrap();
    for sequence in 0..10 {
        world.send(2, &Rtp::video(301, sequence, 700 + sequence, sequence == 0));
    }
    let got = world.clients[0].take(VIDEO);
    assert_eq!(got.len(), 21);
    let wanted: Vec<_> = got.iter().map(|rtp| rtp.header.sequence).collect();
    let beyond = [wanted[0].wrapping_sub(1), wanted[20].wrapping_add(1)];
    world.send_rtcp(0, |writer| {
        writer.nack(1, VIDEO, wanted.into_iter().chain(beyond));
    });
    let repeated = std::mem::take(&mut world.clients[0].repeated);
    assert_eq!(repeated, got.into_iter().map(|rtp| rtp.sealed).collect::<Vec<_>>());
    assert_eq!(world.engine.counters().nacks_missed, 2);
    assert_eq!(world.engine.counters().rtp_retransmitted, 21);
}

#[test]
fn nack_storms_meet_a_limit() {
    let mut world = World::meeting(2);
    for sequence in 0..10 {
        world.send(0, &Rtp::video(101, sequence, sequence, sequence == 0));
    }
    let first = world.clients[1].take(VIDEO)[0].header.sequence;
    for _ in 0..200 {
        world.send_rtcp(1, |writer| {
            writer.nack(1, VIDEO, (0..10).map(|n| first.wrapping_add(n)));
        });
    }
    assert_eq!(world.clients[1].repeated.len() as u32, limits::RETRANSMISSIONS_PER_SECOND);
    assert!(world.engine.counters().drop_nack_limit > 1_000);
}

#[test]
fn reports_keep_lips_in_sync() {
    let mut world = World::meeting(2);
    // The publisher's wall clock has nothing to do with ours; its reports come at different delays.
    let wall = |now: plausch_engine::Time| {
        let seconds = now.0 / 1_000_000 + 3_000_000_000;
        (seconds << 32) | (((now.0 % 1_000_000) << 32) / 1_000_000)
    };
    for n in 0..100u16 {
        world.send(0, &Rtp::audio(100, n));
        if n % 2 == 0 {
            let mut video = Rtp::video(101, n / 2, n / 2, n == 0);
            video.timestamp = 5_000 + u32::from(n) * 1_800;
            world.send(0, &video);
        }
        if n % 50 == 10 {
            let (audio, video) = (u32::from(n) * 960, 5_000 + u32::from(n) * 1_800);
            let ntp = wall(world.now);
            let info = |rtp_timestamp| SenderInfo { ntp, rtp_timestamp, packets: 1, octets: 1 };
            world.send_rtcp(0, |writer| {
                writer.sender_report(100, &info(audio), &[]);
            });
            world.pass(7);
            world.send_rtcp(0, |writer| {
                writer.sender_report(101, &info(video), &[]);
            });
            world.pass(13);
        } else {
            world.pass(20);
        }
    }
    let audio = world.clients[1].take(AUDIO);
    let video = world.clients[1].take(VIDEO);
    let (audio0, video0) = (audio[0].header.timestamp, video[0].header.timestamp);
    let mut reports = 0;
    let mut last = (None, None);
    // The origin of our clock is anyone's choice: what counts is how the streams lie to each other.
    let mut origin = None;
    for compound in &world.clients[1].rtcp {
        let mut names = Vec::new();
        for packet in packets(compound) {
            match packet.unwrap() {
                Packet::SenderReport(report) => {
                    let media = report.info.rtp_timestamp;
                    let seconds = (report.info.ntp - *origin.get_or_insert(report.info.ntp)) as f64 / 4_294_967_296.0;
                    // The capture time that the report gives to the first packet.
                    match report.sender {
                        AUDIO => last.0 = Some(seconds - f64::from(media.wrapping_sub(audio0) as i32) / 48_000.0),
                        VIDEO => last.1 = Some(seconds - f64::from(media.wrapping_sub(video0) as i32) / 90_000.0),
                        other => panic!("{other:x}"),
                    }
                    reports += 1;
                }
                Packet::SourceDescription(sdes) => names.extend(sdes.cnames().map(|(_, name)| name.to_vec())),
                _ => {}
            }
        }
        if let (Some(audio), Some(video)) = last {
            assert!((audio - video).abs() < 0.001, "{audio} {video}");
        }
        assert!(names.iter().all(|name| name == b"0000000000000001p" || name == b"plausch"));
    }
    assert!(reports >= 4, "{reports}");
}

#[test]
fn publishers_learn_what_was_lost() {
    let mut world = World::meeting(2);
    for sequence in (0..100).filter(|sequence| sequence % 4 != 3) {
        world.send(0, &Rtp::audio(100, sequence));
    }
    world.clients[0].rtcp.clear();
    world.pass(1_000);
    let blocks: Vec<_> = world.clients[0]
        .rtcp
        .iter()
        .flat_map(|compound| packets(compound))
        .filter_map(|packet| match packet.unwrap() {
            Packet::ReceiverReport { reports, .. } => Some(reports.iter().collect::<Vec<_>>()),
            Packet::SenderReport(report) => Some(report.reports.iter().collect()),
            _ => None,
        })
        .flatten()
        .filter(|block| block.ssrc == 100)
        .collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].extended_highest_sequence, blocks[0].cumulative_lost), (98, 24));
}

#[test]
fn arrival_times_go_back_to_the_publisher() {
    let mut world = World::meeting(2);
    for n in 0..20u16 {
        world.send(0, &Rtp::video(101, n, n, n == 0).with(3, &(900 + n).to_be_bytes()));
        world.pass(10);
    }
    world.pass(200);
    let mut seen = Vec::new();
    for compound in &world.clients[0].rtcp {
        for packet in packets(compound) {
            if let Packet::TransportFeedback(feedback) = packet.unwrap() {
                seen.extend(feedback.statuses().map(|(sequence, _)| sequence));
            }
        }
    }
    assert_eq!(seen, (900..920).collect::<Vec<_>>());
}

#[test]
fn rubbish_in_rtcp_is_counted() {
    let mut world = World::meeting(2);
    let path = world.clients[0].path;
    world.raw(
        path,
        vec![0x80, 200, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7],
    );
    assert_eq!(world.engine.counters().drop_srtp_forged, 1);
    world.raw(path, vec![0x80, 200, 0]);
    assert_eq!(world.engine.counters().drop_rtcp_malformed + world.engine.counters().drop_srtp_forged, 2);
    world.send_rtcp(0, |writer| {
        writer.nack(1, 0xdead, [1, 2]);
    });
    assert_eq!(world.engine.counters().drop_rtcp_unknown_ssrc, 1);
}

#[test]
fn each_receiver_of_a_browser_may_report_with_its_own_ssrc() {
    let mut world = World::meeting(1);
    let senders = limits::RTCP_SENDERS_PER_PARTICIPANT as u32;
    assert!(senders >= 2 * limits::SLOTS_PER_PARTICIPANT as u32 + limits::TRACKS_PER_PARTICIPANT as u32);
    for sender in 0..senders + 5 {
        world.send_rtcp_of(0, 9_000 + sender, |_| {});
    }
    let counters = world.engine.counters();
    assert_eq!((counters.rtcp_received, counters.drop_rtcp_sender_limit), (u64::from(senders), 5));
}

#[test]
fn asking_for_what_is_not_there_meets_the_limit_too() {
    let mut world = World::meeting(2);
    for _ in 0..10 {
        world.send_rtcp(1, |writer| {
            writer.nack(1, VIDEO, (0..2_000).map(|sequence| sequence * 2));
        });
    }
    let counters = world.engine.counters();
    assert!(counters.nacks_missed <= u64::from(limits::RETRANSMISSIONS_PER_SECOND));
    assert_eq!(counters.nacks_missed + counters.drop_nack_limit, counters.nacks_received);
}
