//! What a forwarder must know of payload formats: where key frames and layers begin, and how VP8's counters
//! are rewritten. Everything is a bounds-checked look at the first bytes of a payload.

pub mod av1;
pub mod h264;
pub mod vp8;
pub mod vp9;

use plausch_relay_api::Codec;

/// Whether a decoder that has seen nothing can begin with the packet of this payload: it holds the first bytes of a key frame.
/// For AV1 the dependency descriptor serves, and where there is none the aggregation header. Audio always can.
pub fn begins_key_frame(codec: Codec, payload: &[u8], dependency_descriptor: Option<&[u8]>) -> bool {
    match codec {
        // RFC 7587: every packet can be decoded by itself.
        Codec::Opus => !payload.is_empty(),
        Codec::Vp8 => vp8::begins_key_frame(payload),
        Codec::Vp9 => vp9::begins_key_frame(payload),
        Codec::H264 => h264::begins_key_frame(payload),
        Codec::Av1 => av1::begins_coded_video_sequence(payload, dependency_descriptor),
    }
}
