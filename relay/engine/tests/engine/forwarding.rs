//! Who gets what, and with which numbers.

use super::harness::*;
use plausch_relay_api::*;

const AUDIO: u32 = 0x1000;
const VIDEO: u32 = 0x2000;

#[test]
fn everybody_gets_what_everybody_else_sends() {
    let mut world = World::meeting(3);
    for sequence in 0..10 {
        world.send(0, &Rtp::audio(100, sequence));
        world.send(0, &Rtp::video(101, sequence, sequence, sequence == 0));
    }
    assert!(world.clients[0].rtp.is_empty());
    for client in [1, 2] {
        let audio = world.clients[client].take(AUDIO);
        assert_eq!(audio.len(), 10);
        assert!(audio.iter().all(|rtp| rtp.mid == b"sa0" && rtp.header.payload_type == OPUS));
        assert!(audio.iter().all(|rtp| rtp.audio_level == Some(30)));
        assert!(audio.is_sorted_by(|a, b| a.index + 1 == b.index));
        assert!(audio.is_sorted_by(|a, b| a.header.timestamp.wrapping_add(960) == b.header.timestamp));
        assert_eq!(audio.iter().map(|rtp| rtp.header.marker).filter(|&marker| marker).count(), 1);
        assert!(audio[0].header.marker && audio[0].payload == vec![0; 80]);
        let video = world.clients[client].take(VIDEO);
        assert_eq!(video.len(), 10);
        assert!(video.iter().all(|rtp| rtp.mid == b"sv0" && rtp.header.payload_type == VP8));
        assert!(world.clients[client].rtp.is_empty());
    }
    assert_eq!(world.engine.counters().rtp_forwarded, 40);
}

#[test]
fn payload_types_and_extensions_are_the_subscribers() {
    let mut world = World::new();
    let mut other = spec(2);
    other.codecs[0].payload_type = 109;
    other.codecs.remove(1);
    other.extensions = ExtensionIds { mid: Some(14), audio_level: Some(7), ..ExtensionIds::default() };
    for spec in [spec(1), other] {
        world.put(spec.clone()).unwrap();
        let client = world.add_client(spec);
        world.connect(client);
    }
    world.assign(2, vec![assignment(3, 1, Source::Person)]).unwrap();
    world.send(0, &Rtp::audio(100, 1));
    world.send(0, &Rtp::video(101, 1, 1, true));
    let got = world.clients[1].take(0x1003);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].header.payload_type, &*got[0].mid, got[0].audio_level), (109, &b"sa3"[..], Some(30)));
    assert!(world.clients[1].rtp.is_empty());
    assert_eq!(world.engine.counters().drop_egress_codec, 1);
}

#[test]
fn video_begins_with_a_key_frame() {
    let mut world = World::meeting(2);
    for sequence in 0..5 {
        world.send(0, &Rtp::video(101, sequence, sequence, false));
    }
    assert!(world.clients[1].rtp.is_empty());
    assert_eq!(world.engine.counters().drop_egress_no_keyframe, 5);
    world.send(0, &Rtp::video(101, 5, 5, true));
    world.send(0, &Rtp::video(101, 6, 6, false));
    assert_eq!(world.clients[1].take(VIDEO).len(), 2);
}

#[test]
fn a_key_frame_whose_first_packet_comes_last_goes_out_whole() {
    let mut world = World::meeting(2);
    let frame = |sequence: u16| {
        let mut rtp = Rtp::video(101, sequence, 1, sequence == 10);
        // The first partition begins in the first packet only.
        rtp.payload[0] = if sequence == 10 { 0x90 } else { 0x80 };
        rtp
    };
    for sequence in [11, 12, 13] {
        world.send(0, &frame(sequence));
    }
    let path = world.clients[0].path;
    let batch = [14, 10, 15].map(|sequence| (path, world.seal(0, &frame(sequence)))).to_vec();
    world.raw_batch(batch);
    let mut video = world.clients[1].take(VIDEO);
    video.sort_by_key(|rtp| rtp.index);
    assert_eq!(video.iter().map(|rtp| rtp.payload[20]).collect::<Vec<_>>(), [10, 11, 12, 13, 14, 15]);
    assert!(video.is_sorted_by(|a, b| a.index + 1 == b.index));
    assert!(world.clients[1].repeated.is_empty());
}

#[test]
fn a_slot_that_changes_its_source_goes_on_without_a_gap() {
    let mut world = World::meeting(3);
    world.assign(1, vec![assignment(0, 2, Source::Person)]).unwrap();
    for sequence in 0..5 {
        world.send(1, &Rtp::video(201, 65_533u16.wrapping_add(sequence), 32_765 + sequence, sequence == 0));
        world.send(1, &Rtp::audio(200, 1_000 + sequence));
        world.pass(20);
    }
    world.assign(1, vec![assignment(0, 3, Source::Person)]).unwrap();
    for sequence in 0..5 {
        world.send(1, &Rtp::video(201, 10 + sequence, 40 + sequence, true));
        world.send(2, &Rtp::video(301, 30_000 + sequence, 500 + sequence, sequence == 2));
        world.send(2, &Rtp::audio(300, 7 + sequence));
        world.pass(20);
    }
    let video = world.clients[0].take(VIDEO);
    assert_eq!(video.len(), 5 + 3);
    assert!(video.is_sorted_by(|a, b| a.index + 1 == b.index));
    assert!(video.is_sorted_by(|a, b| (picture_id(&a.payload) + 1) & 0x7fff == picture_id(&b.payload)));
    assert!(video.is_sorted_by(|a, b| a.payload[4].wrapping_add(1) == b.payload[4]));
    let step = video[5].header.timestamp.wrapping_sub(video[4].header.timestamp);
    assert_eq!(step, 60 * 90, "60 ms went by");
    let audio = world.clients[0].take(AUDIO);
    assert_eq!(audio.len(), 10);
    assert!(audio.is_sorted_by(|a, b| a.index + 1 == b.index));
    assert_eq!(audio[5].header.timestamp.wrapping_sub(audio[4].header.timestamp), 20 * 48);
    assert!(audio[5].header.marker);
}

#[test]
fn the_same_assignment_again_changes_nothing() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::video(101, 1, 1, true));
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.put(spec(1)).unwrap();
    world.put(spec(2)).unwrap();
    world.send(0, &Rtp::video(101, 2, 2, false));
    assert_eq!(world.clients[1].take(VIDEO).len(), 2);
}

#[test]
fn sources_may_be_assigned_before_they_exist() {
    let mut world = World::new();
    world.put(spec(1)).unwrap();
    world.add_client(spec(1));
    world.connect(0);
    world.assign(1, vec![assignment(1, 2, Source::Person)]).unwrap();
    world.put(spec(2)).unwrap();
    world.add_client(spec(2));
    world.connect(1);
    world.send(1, &Rtp::audio(200, 1));
    assert_eq!(world.clients[0].take(0x1001).len(), 1);
}

#[test]
fn a_screen_is_found_by_its_mid_and_stays_found_without() {
    let mut world = World::meeting(2);
    world.assign(2, vec![assignment(0, 1, Source::Person), assignment(1, 1, Source::Screen)]).unwrap();
    world.send(0, &Rtp::video(777, 1, 1, true).with(4, b"2"));
    world.send(0, &Rtp::video(777, 2, 2, false));
    assert_eq!(world.clients[1].take(0x2001).len(), 2);
    // The browser begins the track anew with another SSRC.
    world.send(0, &Rtp::video(778, 60_000, 9, false).with(4, b"2"));
    world.send(0, &Rtp::video(778, 60_001, 10, true));
    world.send(0, &Rtp::video(777, 3, 3, false));
    let got = world.clients[1].take(0x2001);
    assert_eq!(got.len(), 1);
    assert_eq!(world.engine.counters().drop_rtp_unknown_ssrc, 1);
    assert_eq!(world.engine.counters().ssrcs, 2, "the replay window of the first one stays");
}

#[test]
fn padding_is_not_sent_on_and_leaves_no_gap() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::video(101, 1, 1, true));
    for sequence in 2..40 {
        world.send(0, &Rtp::padding(101, sequence));
    }
    world.send(0, &Rtp::video(101, 40, 2, false));
    world.send(0, &Rtp::padding(101, 41));
    world.send(0, &Rtp::video(101, 43, 4, false));
    world.send(0, &Rtp::video(101, 42, 3, false));
    // Padding that was overtaken must fill its place, for the subscriber waits for it.
    world.send(0, &Rtp::video(101, 45, 5, false));
    world.send(0, &Rtp::padding(101, 44));
    let mut got = world.clients[1].take(VIDEO);
    got.sort_by_key(|rtp| rtp.index);
    let pictures: Vec<_> =
        got.iter().map(|rtp| if rtp.payload.is_empty() { 0 } else { picture_id(&rtp.payload) }).collect();
    assert_eq!(pictures, [1, 2, 3, 4, 0, 5]);
    assert!(got.is_sorted_by(|a, b| a.index + 1 == b.index));
    assert_eq!(world.engine.counters().rtp_fillers, 1);
}

fn simulcast() -> World {
    let mut world = World::new();
    let mut publisher = spec(1);
    publisher.sends[1].rids = vec!["q".into(), "h".into(), "f".into()];
    publisher.sends[1].ssrcs.clear();
    for spec in [publisher, spec(2)] {
        world.put(spec.clone()).unwrap();
        let client = world.add_client(spec);
        world.connect(client);
    }
    world
}

fn layer(layer: u32, sequence: u16, key_frame: bool) -> Rtp {
    let rid = [b"q", b"h", b"f"][layer as usize];
    Rtp::video(1_000 + layer, sequence, sequence, key_frame).with(4, b"1").with(10, rid)
}

#[test]
fn one_layer_goes_out_and_a_larger_one_from_its_key_frame() {
    let mut world = simulcast();
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    for sequence in 0..20 {
        world.send(0, &layer(0, 100 + sequence, sequence == 0));
        world.send(0, &layer(1, 200 + sequence, sequence == 3));
        world.send(0, &layer(2, 300 + sequence, sequence == 10));
        world.pass(33);
    }
    let video = world.clients[1].take(VIDEO);
    // Layers 0 and 2, the latter from its key frame; layer 1 was never the best.
    assert_eq!(video.len(), 11 + 10);
    assert!(video.is_sorted_by(|a, b| a.index + 1 == b.index));
    assert!(video.is_sorted_by(|a, b| picture_id(&a.payload) + 1 == picture_id(&b.payload)));
    assert!(world.engine.counters().keyframe_requests_sent >= 1, "for the larger layer");
}

#[test]
fn max_layer_is_heeded_and_a_dead_layer_left() {
    let mut world = simulcast();
    let mut small = assignment(0, 1, Source::Person);
    small.max_layer = 0;
    world.assign(2, vec![small]).unwrap();
    world.send(0, &layer(0, 100, true));
    world.send(0, &layer(2, 300, true));
    assert_eq!(world.clients[1].take(VIDEO).iter().map(|rtp| rtp.payload[10]).collect::<Vec<_>>(), [100]);
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.send(0, &layer(0, 101, false));
    world.send(0, &layer(2, 301, true));
    world.send(0, &layer(0, 102, false));
    world.send(0, &layer(2, 302, false));
    let bytes: Vec<_> = world.clients[1].take(VIDEO).iter().map(|rtp| rtp.payload[10]).collect();
    assert_eq!(bytes, [101, 301u16 as u8, 302u16 as u8]);
    world.pass(3_000);
    world.send(0, &layer(0, 103, true));
    assert_eq!(world.clients[1].take(VIDEO).len(), 1);
}

#[test]
fn the_first_key_frame_of_any_layer_is_shown() {
    let mut world = simulcast();
    world.assign(2, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.send(0, &layer(2, 300, false));
    world.send(0, &layer(0, 100, true));
    assert_eq!(world.clients[1].take(VIDEO).len(), 1);
}

#[test]
fn only_members_of_the_room_are_heard() {
    let mut world = World::meeting(2);
    let mut stranger = spec(9);
    stranger.room = RoomId(8);
    world.put(stranger.clone()).unwrap();
    let client = world.add_client(stranger);
    world.connect(client);
    world.assign(9, vec![assignment(0, 1, Source::Person)]).unwrap();
    world.send(0, &Rtp::audio(100, 1));
    assert!(world.clients[client].rtp.is_empty());
}

#[test]
fn one_batch_goes_out_subscriber_by_subscriber() {
    let mut world = World::meeting(3);
    world.send(0, &Rtp::video(101, 0, 0, true));
    let path = world.clients[0].path;
    let batch = (1..9).map(|n| (path, world.seal(0, &Rtp::video(101, n, n, false)))).collect();
    world.raw_batch(batch);
    assert_eq!(world.clients[1].take(VIDEO).len(), 9);
    assert_eq!(world.clients[2].take(VIDEO).len(), 9);
}

#[test]
fn what_an_ssrc_sent_before_it_gave_way_is_not_taken_again() {
    let mut world = World::meeting(2);
    let old = world.seal(0, &Rtp::audio(100, 1));
    world.raw(world.clients[0].path, old.clone());
    world.send(0, &Rtp::audio(999, 65_535).with(4, b"0"));
    world.send(0, &Rtp::audio(999, 0).with(4, b"0"));
    assert_eq!(world.clients[1].take(AUDIO).len(), 3);
    world.raw(world.clients[0].path, old.clone());
    world.send(0, &Rtp::audio(999, 1).with(4, b"0"));
    assert_eq!(world.clients[1].take(AUDIO).len(), 1);
    world.pass(3_000);
    world.raw(world.clients[0].path, old);
    assert_eq!(world.engine.counters().drop_srtp_replayed, 1, "nor when the other one is silent");
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].take(AUDIO).len(), 1, "but what is new is");
    assert_eq!(world.engine.counters().ssrcs, 2);
}

#[test]
fn a_track_that_comes_back_counts_its_rollovers_on() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::audio(100, 65_535));
    world.send(0, &Rtp::audio(100, 0));
    let mut without = spec(1);
    without.sends.remove(0);
    world.put(without).unwrap();
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[1].take(AUDIO).len(), 2);
    world.put(spec(1)).unwrap();
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].take(AUDIO).len(), 1);
    assert_eq!(world.engine.counters().drop_srtp_forged, 0);
}
