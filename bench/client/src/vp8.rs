//! The VP8 payload descriptor and key-frame header (RFC 7741, RFC 6386).

/// Bytes of the descriptor that the client writes: X, I with 15 bits, L, T.
pub(crate) const DESCRIPTOR_BYTES: usize = 6;

/// Picture ids have 15 bits here.
pub(crate) const PICTURE_ID_MASK: u16 = 0x7fff;

/// Writes the descriptor of one packet of a frame in temporal layer 0.
pub(crate) fn write_descriptor(out: &mut Vec<u8>, first: bool, picture_id: u16, tl0_pic_idx: u8) {
    let picture_id = picture_id & PICTURE_ID_MASK;
    out.extend([
        0x80 | if first { 0x10 } else { 0 },
        0xe0,
        0x80 | (picture_id >> 8) as u8,
        picture_id as u8,
        tl0_pic_idx,
        0,
    ]);
}

/// A descriptor as read, and where the VP8 data begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// First packet of a frame: S = 1, PID = 0.
    pub(crate) starts_frame: bool,
    /// The id and whether it has 15 bits.
    pub(crate) picture_id: Option<(u16, bool)>,
    pub(crate) len: usize,
}

/// Reads the descriptor of RFC 7741, section 4.2.
pub(crate) fn read_descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let starts_frame = first & 0x10 != 0 && first & 0x07 == 0;
    let mut len = 1;
    let mut picture_id = None;
    if first & 0x80 != 0 {
        let extension = *payload.get(len)?;
        len += 1;
        if extension & 0x80 != 0 {
            let high = *payload.get(len)?;
            len += 1;
            picture_id = if high & 0x80 != 0 {
                let low = *payload.get(len)?;
                len += 1;
                Some((u16::from_be_bytes([high & 0x7f, low]), true))
            } else {
                Some((u16::from(high), false))
            };
        }
        len += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    (len <= payload.len()).then_some(Descriptor { starts_frame, picture_id, len })
}

/// Width and height if this VP8 data begins a key frame (RFC 6386, section 9.1).
pub(crate) fn key_frame_size(data: &[u8]) -> Option<(u16, u16)> {
    let header = data.first_chunk::<10>()?;
    let key_frame = header[0] & 1 == 0 && header[3..6] == [0x9d, 0x01, 0x2a];
    let size = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    key_frame.then(|| (size(6), size(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_as_written() {
        let mut payload = Vec::new();
        write_descriptor(&mut payload, true, 0x8123, 7);
        assert_eq!(payload.len(), DESCRIPTOR_BYTES);
        let read = read_descriptor(&payload).unwrap();
        assert_eq!(read, Descriptor { starts_frame: true, picture_id: Some((0x0123, true)), len: DESCRIPTOR_BYTES });
        payload.clear();
        write_descriptor(&mut payload, false, 5, 7);
        assert!(!read_descriptor(&payload).unwrap().starts_frame);
    }

    #[test]
    fn short_descriptors_are_read_and_cut_ones_refused() {
        assert_eq!(read_descriptor(&[0x10, 0]).unwrap(), Descriptor { starts_frame: true, picture_id: None, len: 1 });
        assert_eq!(read_descriptor(&[0x90, 0x80, 0x12]).unwrap().picture_id, Some((0x12, false)));
        for cut in [&[][..], &[0x80], &[0x80, 0x80], &[0x80, 0x80, 0x80], &[0x80, 0x60]] {
            assert_eq!(read_descriptor(cut), None);
        }
    }
}
