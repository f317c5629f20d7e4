//! What a forwarder must know of payload formats: where key frames and layers begin, and how VP8's counters
//! are rewritten. Everything is a bounds-checked look at the first bytes of a payload.

pub mod av1;
pub mod h264;
pub mod vp8;
pub mod vp9;

use plausch_relay_api::Codec;

/// A picture id as the descriptors of VP8 and VP9 carry it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureId {
    pub value: u16,
    /// 15 bits; otherwise 7.
    pub wide: bool,
}

/// Whether a decoder that has seen nothing can begin with the packet of this payload: it holds the first bytes of a key frame.
/// For AV1 the dependency descriptor serves, and where there is none the aggregation header. Audio always can.
pub fn begins_key_frame(codec: Codec, payload: &[u8], dependency_descriptor: Option<&[u8]>) -> bool {
    match codec {
        // RFC 7587: every packet can be decoded by itself.
        Codec::Opus => !payload.is_empty(),
        Codec::Vp8 => vp8::begins_key_frame(payload),
        Codec::Vp9 => vp9::begins_key_frame(payload),
        Codec::H264 | Codec::H264Main | Codec::H264Extended | Codec::H264High | Codec::H264High444 => {
            h264::begins_key_frame(payload)
        }
        Codec::Av1 => av1::begins_coded_video_sequence(payload, dependency_descriptor),
    }
}

/// Reads a descriptor byte by byte.
struct Bytes<'a> {
    all: &'a [u8],
    position: usize,
}

impl<'a> Bytes<'a> {
    fn new(all: &'a [u8]) -> Self {
        Self { all, position: 0 }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.all.get(self.position).copied()?;
        self.position += 1;
        Some(byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.position = self.position.checked_add(count).filter(|&position| position <= self.all.len())?;
        Some(())
    }

    /// VP8 and VP9 have the same field: a bit that says whether 15 or 7 bits follow.
    fn picture_id(&mut self) -> Option<PictureId> {
        let high = self.next()?;
        let value = u16::from(high & 0x7f);
        let wide = high & 0x80 != 0;
        Some(PictureId { value: if wide { value << 8 | u16::from(self.next()?) } else { value }, wide })
    }

    /// How many bytes were read.
    fn position(&self) -> usize {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_is_asked() {
        assert!(begins_key_frame(Codec::Opus, &[0xfc], None));
        assert!(!begins_key_frame(Codec::Opus, &[], None));
        assert!(begins_key_frame(Codec::Vp8, &[0x10, 0x00], None));
        assert!(begins_key_frame(Codec::Vp9, &[0x08], None));
        assert!(begins_key_frame(Codec::H264, &[0x67, 0x42], None));
        assert!(begins_key_frame(Codec::Av1, &[0x08, 0x0a], None));
        assert!(begins_key_frame(Codec::Av1, &[0x00, 0x0a], Some(&[0x80, 0, 0, 0x80])));
    }
}
