//! The shape of a browser's output without a picture: large key frames, frames of uneven size between them, each cut into
//! packets of about one size that leave in a burst. For load, where nobody decodes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A key frame is this many times as large as the mean frame: about what VP8 makes of a talking head at 720p.
const KEY_FRAME_FACTOR: f64 = 6.0;
/// What a frame may at most save to pay for a key frame before it, as encoders' rate control does over a second.
const LARGEST_SAVING: f64 = 0.35;
/// Frames between two key frames range from 1 − SPREAD to 1 + SPREAD times the mean.
const SPREAD: f64 = 0.4;
/// A frame leaves at this many times the mean bitrate, as browsers pace.
const PACING_FACTOR: f64 = 2.5;
/// What is due within this time leaves at once: libwebrtc's pacer wakes so rarely (`kDefaultBurstInterval`), and Chromium
/// asks for it. A usual frame is one burst, a key frame begins with one.
const BURST: Duration = Duration::from_millis(40);
/// Nothing films faster.
pub(crate) const FPS_MAX: u32 = 120;
/// The clip's largest picture has 640×360; this one claims the usual camera's. Simulcast layers halve it.
const PICTURE: (u16, u16) = (1280, 720);
/// Frame tag, start code and size of a VP8 key frame (RFC 6386, section 9.1).
const KEY_FRAME_HEADER_BYTES: usize = 10;

/// The picture that a client sends.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Picture {
    /// A loop of real VP8 at 25 frames per second, which browsers decode.
    #[default]
    Clip,
    /// Data in the shape of an encoder's output at this bitrate.
    Load { kbps: u32, fps: u32 },
}

/// Decides how large frames are and when their packets go.
pub(crate) struct Encoder {
    mean_bytes: f64,
    /// Bytes above the bitrate that are still to be saved.
    debt: f64,
    bytes_per_second: f64,
    random: u64,
    picture: (u16, u16),
    queue: VecDeque<Part>,
    next_packet: Instant,
}

/// One packet's share of a frame.
pub(crate) struct Part {
    pub(crate) timestamp: u32,
    pub(crate) picture_id: u16,
    pub(crate) tl0_pic_idx: u8,
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) data: Vec<u8>,
}

impl Encoder {
    /// The layer that is `below` steps smaller than the whole picture, which has `kbps`: half as wide and high for
    /// each step, and with a quarter of the bitrate, about as browsers divide it. Frames' sizes follow from `seed`.
    pub(crate) fn new(kbps: u32, fps: u32, below: usize, seed: u64, now: Instant) -> Self {
        let bytes_per_second = f64::from(kbps) * 125.0 / 4f64.powi(below as i32);
        Self {
            mean_bytes: bytes_per_second / f64::from(fps.clamp(1, FPS_MAX)),
            debt: 0.0,
            bytes_per_second,
            // Zero would stay zero.
            random: seed | 1,
            picture: (PICTURE.0 >> below, PICTURE.1 >> below),
            queue: VecDeque::new(),
            next_packet: now,
        }
    }

    /// Goes on with another bitrate of the whole picture.
    pub(crate) fn change_rate(&mut self, from_kbps: u32, to_kbps: u32) {
        let factor = f64::from(to_kbps) / f64::from(from_kbps.max(1));
        self.mean_bytes *= factor;
        self.bytes_per_second *= factor;
        // What was to be saved was of the old rate.
        self.debt = 0.0;
    }

    /// Takes the next frame: its VP8 data in packets of at most `largest` bytes, cut as libwebrtc does: as few as
    /// possible, of sizes that differ by one byte at most, the larger ones last.
    pub(crate) fn frame(&mut self, key_frame: bool, largest: usize, mut part: impl FnMut(bool, bool, Vec<u8>) -> Part) {
        let mut left = self.size(key_frame);
        let mut first = true;
        for packets in (1..=left.div_ceil(largest)).rev() {
            let len = left / packets;
            left -= len;
            // 0xff is no stamp, and its lowest bit says that this is no key frame.
            let mut data = vec![0xff; len];
            if first && key_frame {
                data[..KEY_FRAME_HEADER_BYTES].copy_from_slice(&key_frame_header(self.picture));
            }
            self.queue.push_back(part(first, left == 0, data));
            first = false;
        }
    }

    /// When the pacer lets the next packet go; `None` while there is nothing to send.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.queue.is_empty()).then(|| self.next_packet.checked_sub(BURST).unwrap_or(self.next_packet))
    }

    /// The next packet, if the pacer lets it go. Time that the pacer was idle for is not made up.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Part> {
        if self.next_packet > now + BURST {
            return None;
        }
        let part = self.queue.pop_front()?;
        let pause = part.data.len() as f64 / (self.bytes_per_second * PACING_FACTOR);
        self.next_packet = self.next_packet.max(now) + Duration::from_secs_f64(pause);
        Some(part)
    }

    fn size(&mut self, key_frame: bool) -> usize {
        let mean = self.mean_bytes;
        let bytes = if key_frame {
            mean * KEY_FRAME_FACTOR
        } else {
            let saving = self.debt.clamp(-LARGEST_SAVING * mean, LARGEST_SAVING * mean);
            mean * (1.0 + SPREAD * self.throw()) - saving
        };
        let bytes = bytes.max(KEY_FRAME_HEADER_BYTES as f64);
        self.debt += bytes - mean;
        bytes as usize
    }

    /// From −1 to 1, by xorshift64*.
    fn throw(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        f64::from(high) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

fn key_frame_header((width, height): (u16, u16)) -> [u8; KEY_FRAME_HEADER_BYTES] {
    let [width_low, width_high] = width.to_le_bytes();
    let [height_low, height_high] = height.to_le_bytes();
    [0x10, 0, 0, 0x9d, 0x01, 0x2a, width_low, width_high, height_low, height_high]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vp8;

    fn part(first: bool, last: bool, data: Vec<u8>) -> Part {
        Part { timestamp: 0, picture_id: 0, tl0_pic_idx: 0, first, last, data }
    }

    /// Enough that what one of them in a thousand shows is seen at every run, not at one in a thousand.
    const SEEDS: std::ops::Range<u64> = 0..1_000;

    #[test]
    fn frames_keep_the_bitrate_over_time_and_key_frames_are_large() {
        SEEDS.for_each(frames_keep_the_bitrate_over_time);
    }

    fn frames_keep_the_bitrate_over_time(seed: u64) {
        let mut now = Instant::now();
        let mut encoder = Encoder::new(1_500, 30, 0, seed, now);
        let mut sizes = Vec::new();
        for frame in 0..600 {
            encoder.frame(frame % 300 == 0, 1_100, part);
            sizes.push(encoder.queue.iter().map(|part| part.data.len()).sum::<usize>());
            while let Some(due) = encoder.due() {
                now = now.max(due);
                assert!(encoder.next(now).is_some());
            }
        }
        let kbps = sizes.iter().sum::<usize>() as f64 * 8.0 / 1_000.0 / 20.0;
        assert!((1_450.0..1_550.0).contains(&kbps), "{kbps} with seed {seed}");
        assert!(sizes[300] > 3 * sizes[299].max(sizes[301]), "{:?} with seed {seed}", &sizes[299..302]);
    }

    fn bytes_of(encoder: &mut Encoder, frames: usize) -> usize {
        (0..frames)
            .map(|_| {
                encoder.frame(false, 1_100, part);
                encoder.queue.drain(..).map(|part| part.data.len()).sum::<usize>()
            })
            .sum()
    }

    #[test]
    fn layers_are_halves_with_a_quarter_of_the_rate() {
        SEEDS.for_each(layers_have_a_quarter_of_the_rate);
    }

    fn layers_have_a_quarter_of_the_rate(seed: u64) {
        let now = Instant::now();
        let [small, large] = [2, 0].map(|below| {
            let mut encoder = Encoder::new(1_600, 30, below, seed, now);
            encoder.frame(true, 1_100, part);
            let size = vp8::key_frame_size(&encoder.queue.drain(..).next().unwrap().data).unwrap();
            (size, bytes_of(&mut encoder, 600))
        });
        assert_eq!((small.0, large.0), ((320, 180), (1280, 720)));
        let ratio = large.1 as f64 / small.1 as f64;
        assert!((15.0..17.0).contains(&ratio), "{ratio} with seed {seed}");
    }

    #[test]
    fn the_rate_can_be_changed() {
        SEEDS.for_each(the_rate_follows_a_change);
    }

    fn the_rate_follows_a_change(seed: u64) {
        let mut encoder = Encoder::new(1_000, 30, 0, seed, Instant::now());
        let before = bytes_of(&mut encoder, 300);
        encoder.change_rate(1_000, 3_000);
        let ratio = bytes_of(&mut encoder, 300) as f64 / before as f64;
        assert!((2.7..3.3).contains(&ratio), "{ratio} with seed {seed}");
    }

    #[test]
    fn a_frame_leaves_in_a_burst_and_a_key_frame_is_spread() {
        SEEDS.for_each(a_key_frame_is_spread_and_the_next_leaves_in_a_burst);
    }

    fn a_key_frame_is_spread_and_the_next_leaves_in_a_burst(seed: u64) {
        let start = Instant::now();
        let mut encoder = Encoder::new(1_500, 30, 0, seed, start);
        let mut take = |key_frame, from| {
            encoder.frame(key_frame, 1_100, part);
            let mut sent = Vec::new();
            for ms in from..from + 1_000 {
                while let Some(part) = encoder.next(start + Duration::from_millis(ms)) {
                    sent.push((ms - from, part));
                }
            }
            sent
        };
        let sent = take(true, 0);
        assert_eq!(vp8::key_frame_size(&sent[0].1.data), Some(PICTURE));
        assert!(sent[0].1.first && sent.last().unwrap().1.last);
        assert_eq!(sent.iter().filter(|(_, part)| part.first || part.last).count(), 2);
        // 37.5 kB at 2.5 × 1.5 Mbit/s take 80 ms, of which 40 go at once.
        let took = sent.last().unwrap().0;
        assert!((35..45).contains(&took), "{took}");
        assert!((15..20).contains(&sent.iter().filter(|(ms, _)| *ms == 0).count()));
        // The first frame after a key frame saves for it: it has a quarter of the mean's 6 250 bytes at least.
        let sent = take(false, 2_000);
        assert!(sent.len() >= 2, "{} packets with seed {seed}", sent.len());
        assert!(sent.iter().all(|(ms, _)| *ms == 0), "seed {seed}");
        let sizes: Vec<usize> = sent.iter().map(|(_, part)| part.data.len()).collect();
        assert!(sizes.is_sorted() && sizes[sizes.len() - 1] - sizes[0] <= 1, "{sizes:?}");
    }
}
