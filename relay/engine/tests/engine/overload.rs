//! A shard that is too slow for what comes: sound goes out whole, and pictures as far as there is time.

use super::harness::*;
use plausch_engine::Load;
use plausch_engine::rtcp::{Packet, packets};
use plausch_engine::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

const VIDEO: u32 = 0x2000;
const AUDIO: u32 = 0x1000;
const VIEWERS: usize = 24;
const FRAME: Duration = Duration::from_micros(33_333);
const BATCH: usize = 32;

/// One sender, who sends a key frame when asked, and the time that the shard takes for each packet that goes out.
struct Slow {
    world: World,
    /// Sealed packets with when they come.
    queue: VecDeque<(Time, Vec<u8>)>,
    next_frame: Time,
    next_sound: Time,
    next_check: Time,
    depth: usize,
    sequence: u16,
    picture: u16,
    sound: u16,
    picture_cost: Duration,
    sound_cost: Duration,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    idle: Duration,
    pictures: usize,
    sounds: usize,
    frames: usize,
    key_frames: usize,
    longest_wait: Duration,
}

impl Slow {
    fn new() -> Self {
        let world = World::meeting(VIEWERS as u64 + 1);
        let now = world.now;
        Self {
            world,
            queue: VecDeque::new(),
            next_frame: now,
            next_sound: now,
            next_check: now,
            depth: 0,
            sequence: 0,
            picture: 0,
            sound: 0,
            picture_cost: Duration::ZERO,
            sound_cost: Duration::ZERO,
            seen: Seen::default(),
        }
    }

    /// Pictures and sound to all take these parts of the time.
    fn set_load(&mut self, pictures: f64, sound: f64) {
        let packets = VIEWERS as f64 * 3.0 / FRAME.as_secs_f64();
        self.picture_cost = Duration::from_secs_f64(pictures / packets);
        self.sound_cost = Duration::from_secs_f64(sound / (VIEWERS as f64 * 50.0));
    }

    fn run(&mut self, seconds: u64) -> Seen {
        let end = self.world.now + Duration::from_secs(seconds);
        self.seen = Seen::default();
        while self.world.now < end {
            self.round();
        }
        std::mem::take(&mut self.seen)
    }

    fn round(&mut self) {
        self.come();
        let began = self.world.now;
        if self.queue.is_empty() {
            self.world.now = self.next_frame.min(self.next_sound).max(began);
            self.come();
        }
        let now = self.world.now;
        let idle = now.since(began);
        self.seen.idle += idle;
        let batch = self.queue.len().min(BATCH);
        let wait = self.queue.front().map_or(Duration::ZERO, |(at, _)| now.since(*at));
        self.seen.longest_wait = self.seen.longest_wait.max(wait);
        self.depth += batch;
        self.world.engine.note_load(now, Load { spare: idle, wait, depth: self.depth, refused: 0 });
        if self.queue.len() < BATCH {
            self.depth = 0;
        }
        let path = self.world.clients[0].path;
        let packets = self.queue.drain(..batch).map(|(_, packet)| (path, packet)).collect();
        self.world.raw_batch(packets);
        for client in 1..=VIEWERS {
            let pictures = self.world.clients[client].take(VIDEO);
            let sounds = self.world.clients[client].take(AUDIO).len();
            assert!(pictures.is_sorted_by(|a, b| a.index < b.index));
            self.seen.pictures += pictures.len();
            self.seen.sounds += sounds;
            self.world.now = self.world.now
                + self.picture_cost * pictures.len() as u32
                + self.sound_cost * sounds as u32
                + Duration::from_micros(1);
        }
        if self.next_check <= self.world.now {
            self.next_check = self.world.now + Duration::from_secs(1);
            (0..=VIEWERS).for_each(|client| self.world.check(client, false));
        }
    }

    /// What the sender has sent until now.
    fn come(&mut self) {
        while self.next_frame.min(self.next_sound) <= self.world.now {
            if self.next_sound <= self.next_frame {
                let packet = self.world.seal(0, &Rtp::audio(100, self.sound));
                self.queue.push_back((self.next_sound, packet));
                self.sound = self.sound.wrapping_add(1);
                self.next_sound = self.next_sound + Duration::from_millis(20);
                continue;
            }
            let key_frame = asked_for_key_frame(&mut self.world) || self.picture == 0;
            self.seen.frames += 1;
            self.seen.key_frames += usize::from(key_frame);
            for part in 0..3 {
                let mut rtp = Rtp::video(101, self.sequence, self.picture, key_frame);
                rtp.payload[0] = if part == 0 { 0x90 } else { 0x80 };
                rtp.marker = part == 2;
                let packet = self.world.seal(0, &rtp);
                self.queue.push_back((self.next_frame, packet));
                self.sequence = self.sequence.wrapping_add(1);
            }
            self.picture = self.picture.wrapping_add(1);
            self.next_frame = self.next_frame + FRAME;
        }
    }
}

#[test]
fn at_twice_the_load_sound_is_whole_and_the_shard_just_busy() {
    let mut slow = Slow::new();
    slow.set_load(0.4, 0.1);
    let whole = slow.run(3);
    assert_eq!(slow.world.engine.counters().overload, 0);
    assert_eq!(whole.pictures.div_ceil(100), (whole.frames * 3 * VIEWERS).div_ceil(100));
    slow.set_load(1.8, 0.2);
    slow.run(6);
    let twice = slow.run(8);
    assert!(slow.world.engine.counters().overload > 300, "{}", slow.world.engine.counters().overload);
    assert!(twice.idle < Duration::from_millis(400), "idle {:?}", twice.idle);
    assert!(twice.sounds.abs_diff(8 * 50 * VIEWERS) < 20 * VIEWERS, "{} sounds", twice.sounds);
    assert!(twice.longest_wait < Duration::from_millis(300), "{:?}", twice.longest_wait);
    assert!(twice.key_frames <= 9, "{} key frames", twice.key_frames);
    assert!(slow.world.engine.counters().drop_egress_overload > 1_000);
    slow.set_load(0.4, 0.1);
    slow.run(8);
    assert_eq!(slow.world.engine.counters().overload, 0);
    let after = slow.run(3);
    assert!(after.pictures.abs_diff(after.frames * 3 * VIEWERS) <= 3 * VIEWERS, "{}", after.pictures);
    assert_eq!(after.key_frames, 0);
}

/// Whoever is left out asks for key frames in vain: they would be load for all others.
#[test]
fn who_is_left_out_costs_no_key_frames() {
    let mut world = World::meeting(4);
    world.send(0, &Rtp::video(101, 1, 1, true));
    assert!((1..4).all(|client| world.clients[client].take(VIDEO).len() == 1));
    let begin = world.now;
    while world.engine.counters().overload < 990 {
        world.pass(50);
        let wait = world.now.since(begin);
        assert!(wait < Duration::from_secs(10));
        world.engine.note_load(world.now, Load { spare: Duration::ZERO, wait, depth: 10_000, refused: 0 });
    }
    asked_for_key_frame(&mut world);
    for sequence in 2..50 {
        world.send(0, &Rtp::video(101, sequence, sequence, false));
        let client = 1 + usize::from(sequence) % 3;
        world.send_rtcp(client, |writer| {
            writer.pli(0x55, VIDEO);
        });
        world.pass(50);
        assert!(world.clients[client].take(VIDEO).is_empty());
    }
    assert!(!asked_for_key_frame(&mut world));
    let mut asked = false;
    // With time to spare somebody comes back, and then there is one.
    for sequence in 50..250 {
        world.pass(100);
        let spare = Duration::from_millis(90);
        world.engine.note_load(world.now, Load { spare, ..Load::default() });
        let key_frame = asked_for_key_frame(&mut world);
        asked |= key_frame;
        world.send(0, &Rtp::video(101, sequence, sequence, key_frame));
    }
    assert!(asked);
    assert_eq!(world.engine.counters().overload, 0);
    assert!((1..4).all(|client| world.clients[client].take(VIDEO).len() > 50));
}

fn asked_for_key_frame(world: &mut World) -> bool {
    let compounds = std::mem::take(&mut world.clients[0].rtcp);
    let is_request = |packet| matches!(packet, Ok(Packet::Pli { media: 101, .. }));
    compounds.iter().any(|compound| packets(compound).any(is_request))
}
