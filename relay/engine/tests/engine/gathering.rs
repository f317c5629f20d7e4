//! Frames wait for their last packet where many follow them, and large rooms need more than one batch.

use super::harness::*;
use plausch_engine::{EngineConfig, Time};
use plausch_relay_api::ShardId;

const VIDEO: u32 = 0x2000;
const AUDIO: u32 = 0x1000;

/// The packets of a frame in three, as from client 0.
fn frame(world: &mut World, picture: u16) -> Vec<Vec<u8>> {
    let sequence = picture * 3;
    (0..3)
        .map(|part| {
            let mut rtp = Rtp::video(101, sequence + part, picture, picture == 0);
            rtp.payload[0] = if part == 0 { 0x90 } else { 0x80 };
            rtp.marker = part == 2;
            world.seal(0, &rtp)
        })
        .collect()
}

/// A room of four where rooms of so many count as large ones.
fn meeting(gather_from_members: usize) -> World {
    World::meeting_with(EngineConfig { gather_from_members, ..EngineConfig::new(ShardId(0), 42) }, 4)
}

/// A publisher whose frames came at once so far.
fn with_a_bursty_publisher(gather_from_members: usize) -> World {
    let mut world = meeting(gather_from_members);
    for picture in 0..4 {
        let path = world.clients[0].path;
        let batch = frame(&mut world, picture).into_iter().map(|packet| (path, packet)).collect();
        world.raw_batch(batch);
        world.pass(33);
    }
    for client in 1..4 {
        assert_eq!(world.clients[client].take(VIDEO).len(), 12, "whole frames do not wait");
    }
    world
}

#[test]
fn the_first_packets_of_a_frame_wait_for_the_last() {
    let mut world = with_a_bursty_publisher(4);
    let path = world.clients[0].path;
    for (part, packet) in frame(&mut world, 4).into_iter().enumerate() {
        assert!(world.clients[1].rtp.is_empty(), "part {part} is held back");
        world.raw(path, packet);
    }
    for client in 1..4 {
        let video = world.clients[client].take(VIDEO);
        assert_eq!(video.len(), 3);
        assert!(video.is_sorted_by(|a, b| a.index + 1 == b.index));
        assert!(video[2].header.marker);
    }
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let mut world = with_a_bursty_publisher(4);
    let path = world.clients[0].path;
    let parts = frame(&mut world, 4);
    world.raw(path, parts[0].clone());
    let until = world.engine.poll_timeout();
    assert!(until > world.now && until.since(world.now).as_micros() <= 8, "four members, two microseconds each");
    world.pass(1);
    assert_eq!(world.clients[1].take(VIDEO).len(), 1);
    world.raw(path, parts[1].clone());
    assert_eq!(world.engine.counters().drop_gathered_full, 0);
    world.pass(1);
    assert_eq!(world.clients[1].take(VIDEO).len(), 1);
}

#[test]
fn who_paces_packets_gains_no_delay() {
    let mut world = meeting(4);
    let path = world.clients[0].path;
    for picture in 0..10 {
        for packet in frame(&mut world, picture) {
            world.raw(path, packet);
            assert_eq!(world.clients[1].take(VIDEO).len(), 1);
            assert!(world.engine.poll_timeout() > world.now);
            world.pass(2);
        }
    }
}

#[test]
fn small_rooms_never_wait() {
    let mut world = with_a_bursty_publisher(5);
    let path = world.clients[0].path;
    let first = frame(&mut world, 4).swap_remove(0);
    world.raw(path, first);
    assert_eq!(world.clients[1].take(VIDEO).len(), 1);
}

#[test]
fn who_leaves_while_packets_wait_is_heard_no_more() {
    let mut world = with_a_bursty_publisher(4);
    let path = world.clients[0].path;
    let first = frame(&mut world, 4).swap_remove(0);
    world.raw(path, first);
    world.remove(1);
    world.pass(10);
    assert!(world.clients[1].rtp.is_empty());
    assert_ne!(world.engine.poll_timeout(), Time(0));
}

#[test]
fn sound_comes_last_and_each_stream_in_order() {
    let mut world = World::meeting(3);
    let path = world.clients[0].path;
    let mut video = frame(&mut world, 0).into_iter();
    let sound = world.seal(0, &Rtp::audio(100, 1));
    let mut batch = vec![(path, video.next().unwrap()), (path, sound)];
    batch.extend(video.map(|packet| (path, packet)));
    world.raw_batch(batch);
    let got: Vec<_> = world.clients[1].rtp.iter().map(|rtp| (rtp.header.ssrc, rtp.header.marker)).collect();
    assert_eq!(got, [(VIDEO, false), (VIDEO, false), (VIDEO, true), (AUDIO, true)]);
}

#[test]
fn a_room_larger_than_the_batch_goes_out_in_parts() {
    let mut world = World::meeting(12);
    world.shrink_tx(8_000);
    let path = world.clients[0].path;
    for picture in 0..5 {
        let batch = frame(&mut world, picture).into_iter().map(|packet| (path, packet)).collect();
        world.raw_batch(batch);
    }
    for client in 1..12 {
        let video = world.clients[client].take(VIDEO);
        assert_eq!(video.len(), 15, "client {client}");
        assert!(video.is_sorted_by(|a, b| a.index + 1 == b.index));
        assert!(world.clients[client].repeated.is_empty());
    }
    assert_eq!(world.engine.counters().drop_tx_full, 0);
}

/// libwebrtc's packets differ by a byte. What is sent again must be what was sent, padding and all.
#[test]
fn a_byte_of_padding_makes_a_run_and_comes_again_the_same() {
    let mut world = World::meeting(2);
    let path = world.clients[0].path;
    let frame: Vec<_> = [900, 900, 901, 901, 500]
        .into_iter()
        .zip(1..)
        .map(|(len, sequence)| {
            let mut rtp = Rtp::video(101, sequence, 1, sequence == 1);
            rtp.payload.resize(len, 7);
            rtp.payload[0] = if sequence == 1 { 0x90 } else { 0x80 };
            rtp.marker = sequence == 5;
            (path, world.seal(0, &rtp))
        })
        .collect();
    world.raw_batch(frame);
    let video = world.clients[1].take(VIDEO);
    assert_eq!(video.iter().map(|rtp| rtp.payload.len()).collect::<Vec<_>>(), [900, 900, 901, 901, 500]);
    let wire: Vec<_> = video.iter().map(|rtp| rtp.sealed.len()).collect();
    assert!(wire[..4].iter().all(|len| *len == wire[0]) && wire[4] < wire[0], "{wire:?}");
    assert_eq!(video.iter().filter(|rtp| rtp.header.padding).count(), 2);
    assert_eq!(world.engine.counters().rtp_padded, 2);
    let lost: Vec<u16> = video.iter().map(|rtp| rtp.header.sequence).collect();
    world.send_rtcp(1, |writer| {
        writer.nack(0x55, VIDEO, lost.iter().copied());
    });
    let again = std::mem::take(&mut world.clients[1].repeated);
    assert_eq!(again, video.iter().map(|rtp| rtp.sealed.clone()).collect::<Vec<_>>());
}
