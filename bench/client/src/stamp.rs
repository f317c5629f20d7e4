//! What the client adds to its media so that receivers can tell whose it is, from which room and how old.
//! Decoders never see it: VP8 ignores what follows the last partition, Opus ignores padding.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: &[u8; 4] = b"PLSH";
/// Bytes of a stamp.
pub(crate) const BYTES: usize = 32;

/// Sender, room and time of one audio packet or video frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) room: u64,
    pub(crate) participant: u64,
    /// Microseconds since 1970 on the sender's clock: meaningful between clients of one machine.
    pub(crate) sent_us: u64,
    /// Simulcast layer of a picture, the smallest first; 0 for sound.
    pub(crate) layer: u8,
    /// Packets of this layer, or of the sound, before this one: 30 bits.
    pub(crate) index: u32,
}

/// Above the index.
const LAYER_SHIFT: u32 = 30;

impl Stamp {
    pub(crate) fn to_bytes(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4..12].copy_from_slice(&self.room.to_be_bytes());
        out[12..20].copy_from_slice(&self.participant.to_be_bytes());
        out[20..28].copy_from_slice(&self.sent_us.to_be_bytes());
        let place = u32::from(self.layer) << LAYER_SHIFT | (self.index & ((1 << LAYER_SHIFT) - 1));
        out[28..].copy_from_slice(&place.to_be_bytes());
        out
    }

    /// The stamp at the end of a payload, if there is one.
    pub(crate) fn from_end_of(payload: &[u8]) -> Option<Self> {
        let bytes = payload.last_chunk::<BYTES>()?;
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| bytes[at..at + 8].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let place = number(24) as u32;
        Some(Self {
            room: number(4),
            participant: number(12),
            sent_us: number(20),
            layer: (place >> LAYER_SHIFT) as u8,
            index: place & ((1 << LAYER_SHIFT) - 1),
        })
    }
}

/// The tag of a room, the same for all clients of this machine.
pub(crate) fn room_tag(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let folded: String = room.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    folded.hash(&mut hasher);
    hasher.finish()
}

/// Now, for `sent_us`.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

/// Puts a stamp into the padding of a single-frame Opus packet: code 3, one frame, padded (RFC 6716, section 3.2.5).
pub(crate) fn stamp_opus(packet: &[u8], stamp: Stamp, out: &mut Vec<u8>) {
    let Some((toc, frame)) = packet.split_first() else { return };
    const CODE_3: u8 = 3;
    const PADDED_ONE_FRAME: u8 = 0x40 | 1;
    out.extend([toc | CODE_3, PADDED_ONE_FRAME, BYTES as u8]);
    out.extend(frame);
    out.extend(stamp.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_from_the_end_of_payloads() {
        let stamp =
            Stamp { room: 1, participant: u64::MAX - 1, sent_us: now_us(), layer: 2, index: (1 << LAYER_SHIFT) - 3 };
        let mut payload = Vec::new();
        stamp_opus(&[0xf8, 1, 2, 3], stamp, &mut payload);
        assert_eq!(payload[..6], [0xfb, 0x41, 32, 1, 2, 3]);
        assert_eq!(Stamp::from_end_of(&payload), Some(stamp));
        assert_eq!(Stamp::from_end_of(&payload[..payload.len() - 1]), None);
        assert_eq!(Stamp::from_end_of(&[]), None);
    }

    #[test]
    fn room_tags_do_not_depend_on_spelling() {
        assert_eq!(room_tag("Kulturverein Marion"), room_tag("kulturvereinmarion"));
        assert_ne!(room_tag("a"), room_tag("b"));
    }
}
