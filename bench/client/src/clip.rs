//! The media that the client plays: loops of real VP8 and Opus, so that a browser at the other end decodes them.

use std::sync::LazyLock;

/// Frames per second of all clips.
pub(crate) const FRAME_INTERVAL_MS: u64 = 40;
/// Of one Opus packet.
pub(crate) const AUDIO_INTERVAL_MS: u64 = 20;

/// One loop of a clip: a key frame first, then frames that build on it.
pub(crate) type Frames = Vec<&'static [u8]>;

/// IVF: 32 bytes of header, then frames of a length, a time stamp and the data.
const IVF_HEADER_BYTES: usize = 32;
const IVF_FRAME_HEADER_BYTES: usize = 12;

static VIDEO: LazyLock<[Frames; 3]> = LazyLock::new(|| {
    [
        ivf(include_bytes!("../media/clip-small.ivf")),
        ivf(include_bytes!("../media/clip-medium.ivf")),
        ivf(include_bytes!("../media/clip-large.ivf")),
    ]
});

static TONE: LazyLock<Frames> = LazyLock::new(|| {
    let mut rest: &'static [u8] = include_bytes!("../media/tone.packets");
    let mut packets = Frames::new();
    while let Some((len, tail)) = rest.split_first_chunk::<2>()
        && let Some((packet, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))
    {
        packets.push(packet);
        rest = tail;
    }
    packets
});

/// The frames of layer `layer` of `layers`, the smallest picture first. A single layer is the medium picture.
pub(crate) fn video(layer: usize, layers: usize) -> &'static Frames {
    match layers {
        1 => &VIDEO[1],
        _ => &VIDEO[layer.min(VIDEO.len() - 1)],
    }
}

/// One loop of Opus packets.
pub(crate) fn tone() -> &'static Frames {
    &TONE
}

fn ivf(file: &'static [u8]) -> Frames {
    let mut rest = file.get(IVF_HEADER_BYTES..).unwrap_or_default();
    let mut frames = Frames::new();
    while let Some((header, tail)) = rest.split_first_chunk::<IVF_FRAME_HEADER_BYTES>() {
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some((frame, tail)) = tail.split_at_checked(len) else { break };
        frames.push(frame);
        rest = tail;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vp8;

    #[test]
    fn clips_are_whole_and_begin_with_their_only_key_frame() {
        for (layer, size) in [(0, (160, 90)), (1, (320, 180)), (2, (640, 360))] {
            let frames = video(layer, 3);
            assert_eq!(frames.len(), 25);
            assert_eq!(vp8::key_frame_size(frames[0]), Some(size));
            assert!(frames[1..].iter().all(|frame| vp8::key_frame_size(frame).is_none()));
        }
        assert_eq!(tone().len(), 44);
        // Opus TOC: CELT, full band, 20 ms, mono, one frame (RFC 6716, section 3.1).
        assert!(tone().iter().all(|packet| packet[0] == 0xf8));
    }
}
