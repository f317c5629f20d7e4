//! H.264 (RFC 6184): key frames, packetization modes 0 and 1.

/// Whether a decoder can begin here: the payload holds a sequence parameter set, or the first packet of an IDR slice.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    let _ = payload;
    false
}
