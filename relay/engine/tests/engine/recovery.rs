//! Losses that cannot be repaired: at the begin, for very long, and by a publisher that answers no request.

use super::harness::*;
use plausch_engine::rtcp::{Packet, packets};

const AUDIO: u32 = 0x1000;
const VIDEO: u32 = 0x2000;

/// Sends `count` packets of sound that follow what was sent before; how many reach the other one.
fn send_on(world: &mut World, count: u16) -> usize {
    for _ in 0..count {
        let sequence = world.clients[0].lose(100, 1);
        let timestamp = world.now.0 as u32;
        world.send(0, &Rtp { timestamp, ..Rtp::audio(100, sequence) });
    }
    world.clients[1].take(AUDIO).len()
}

#[test]
fn a_stream_whose_first_packets_before_the_wrap_are_lost_is_found() {
    for lost in [1, 3, 4, 30, 2_000] {
        let mut world = World::meeting(2);
        world.clients[0].lose(100, 65_532 + lost);
        assert_eq!(send_on(&mut world, 146), 146, "{lost} lost");
    }
}

#[test]
fn a_stream_is_found_again_after_any_gap() {
    for gap in [10_000, 32_700, 33_000, 40_000, 65_400, 66_000, 98_000, 100_000, 131_000, 300_000, 1_000_000] {
        let mut world = World::meeting(2);
        world.clients[0].lose(100, 500);
        assert_eq!(send_on(&mut world, 50), 50);
        world.pass(1_000);
        world.clients[0].lose(100, gap);
        let heard = send_on(&mut world, 300);
        // Some are needed to see that this is no straggler, and one for each rollover further ahead.
        assert!(heard >= 300 - 25, "{heard} of 300 after {gap}");
        let before = *world.engine.counters();
        assert_eq!(send_on(&mut world, 300), 300, "as before");
        let after = world.engine.counters();
        assert_eq!(
            after.drop_srtp_forged + after.drop_srtp_replayed,
            before.drop_srtp_forged + before.drop_srtp_replayed
        );
    }
}

#[test]
fn searching_lets_no_replay_in() {
    let mut world = World::meeting(2);
    let mut old = Vec::new();
    for _ in 0..2_000 {
        let sequence = world.clients[0].lose(100, 1);
        old.push(world.seal(0, &Rtp::audio(100, sequence)));
    }
    let path = world.clients[0].path;
    for datagram in &old {
        world.raw(path, datagram.clone());
    }
    assert_eq!(world.clients[1].take(AUDIO).len(), 2_000);
    let mut forged = old[0].clone();
    for round in 0..100u8 {
        *forged.last_mut().unwrap() = round;
        forged[3] = round;
        world.raw(path, forged.clone());
    }
    for datagram in old {
        world.raw(path, datagram);
    }
    assert!(world.clients[1].take(AUDIO).is_empty());
    assert_eq!(send_on(&mut world, 100), 100, "and what is true goes on");
}

/// Packets asked for, and key frames.
fn asked(world: &mut World) -> (usize, usize) {
    let (mut nacks, mut plis) = (0, 0);
    for compound in std::mem::take(&mut world.clients[0].rtcp) {
        for packet in packets(&compound) {
            match packet.unwrap() {
                Packet::Nack(nack) => nacks += nack.sequences().count(),
                Packet::Pli { .. } => plis += 1,
                _ => {}
            }
        }
    }
    (nacks, plis)
}

#[test]
fn a_request_that_nobody_answers_becomes_one_for_a_key_frame() {
    let mut world = World::meeting(2);
    for sequence in (0..40).filter(|sequence| *sequence != 20) {
        world.send(0, &Rtp::video(101, sequence, sequence, sequence == 0));
    }
    asked(&mut world);
    let mut total = (0, 0);
    for _ in 0..100 {
        world.pass(20);
        let (nacks, plis) = asked(&mut world);
        total = (total.0 + nacks, total.1 + plis);
    }
    assert!((2..=3).contains(&total.0), "asked {} times", total.0);
    assert_eq!(total.1, 1);
    world.send(0, &Rtp::video(101, 40, 40, true));
    world.pass(2_000);
    assert_eq!(asked(&mut world), (0, 0));
    assert!(world.clients[1].take(VIDEO).len() >= 40);
}

#[test]
fn who_sends_no_levels_is_a_speaker_all_the_same() {
    let mut world = World::new();
    let mut silent = spec(1);
    silent.extensions.audio_level = None;
    for spec in [silent, spec(2)] {
        world.put(spec.clone()).unwrap();
        world.add_client(spec);
    }
    world.connect(0);
    world.connect(1);
    for sequence in 0..50 {
        world.send(0, &Rtp { extensions: vec![], ..Rtp::audio(100, sequence) });
        world.pass(20);
    }
    let told = |world: &World| {
        world.effects.iter().rev().find_map(|effect| match effect {
            plausch_engine::effect::Effect::Speakers { speakers, .. } => Some(speakers.len()),
            _ => None,
        })
    };
    assert_eq!(told(&world), Some(1));
    world.pass(3_000);
    assert_eq!(told(&world), Some(0));
}
