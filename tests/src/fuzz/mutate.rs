//! Mutations without feedback: less than libFuzzer finds, but in every run of the tests.

use crate::random::Random;

/// Numbers at which lengths and counters like to break.
const INTERESTING: [u8; 8] = [0, 1, 0x0f, 0x10, 0x7f, 0x80, 0xfe, 0xff];
/// Longer inputs teach nothing.
const MOST_BYTES: usize = 4096;

/// `input` changed in one to four places; pieces of `other` may come in.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..random.range(1, 4) {
        let at = random.index(out.len() + 1);
        let len = random.index(out.len() - at + 1).min(32);
        match random.range(0, 7) {
            0 if at < out.len() => out[at] ^= 1 << random.range(0, 7),
            1 if at < out.len() => out[at] = *random.pick(&INTERESTING),
            2 if at < out.len() => out[at] = random.bits() as u8,
            3 => out.truncate(at),
            4 => {
                out.drain(at..at + len);
            }
            5 => {
                let piece = out[at..at + len].to_vec();
                out.splice(at..at, piece);
            }
            6 if !other.is_empty() => {
                let from = random.index(other.len());
                let to = (from + random.range(1, 32) as usize).min(other.len());
                out.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let noise = random.range(1, 8) as usize;
                let noise = random.bytes(noise);
                out.splice(at..at, noise);
            }
        }
    }
    out.truncate(MOST_BYTES);
    out
}
