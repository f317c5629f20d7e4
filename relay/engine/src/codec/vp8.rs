//! VP8 (RFC 7741): payload descriptor, key frames, rewriting of the counters.

/// A picture id as the descriptor carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureId {
    pub value: u16,
    /// 15 bits; otherwise 7.
    pub wide: bool,
}

/// The payload descriptor (RFC 7741, section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// N: no other frame depends on this one.
    pub non_reference: bool,
    /// S: a partition begins here.
    pub partition_start: bool,
    /// PID.
    pub partition: u8,
    pub picture_id: Option<PictureId>,
    pub tl0_picture_index: Option<u8>,
    /// TID.
    pub temporal_layer: Option<u8>,
    /// Y: this frame depends on the base layer only.
    pub layer_sync: bool,
    pub key_index: Option<u8>,
    /// The VP8 payload header begins here.
    pub len: usize,
}

impl Descriptor {
    /// `None`: cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut at = 0;
        let mut next = || {
            let byte = payload.get(at).copied();
            at += 1;
            byte
        };
        let first = next()?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            partition_start: first & 0x10 != 0,
            partition: first & 0x07,
            ..Self::default()
        };
        if first & 0x80 != 0 {
            let extension = next()?;
            if extension & 0x80 != 0 {
                let high = next()?;
                let wide = high & 0x80 != 0;
                let value = u16::from(high & 0x7f);
                let value = if wide { value << 8 | u16::from(next()?) } else { value };
                descriptor.picture_id = Some(PictureId { value, wide });
            }
            if extension & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(next()?);
            }
            if extension & 0x30 != 0 {
                let byte = next()?;
                if extension & 0x20 != 0 {
                    descriptor.temporal_layer = Some(byte >> 6);
                    descriptor.layer_sync = byte & 0x20 != 0;
                }
                if extension & 0x10 != 0 {
                    descriptor.key_index = Some(byte & 0x1f);
                }
            }
        }
        descriptor.len = at;
        Some(descriptor)
    }

    /// Whether this is the first packet of a frame.
    pub fn begins_frame(&self) -> bool {
        self.partition_start && self.partition == 0
    }

    /// Whether `payload`, which this was parsed from, begins a key frame (RFC 7741, section 4.3: P is 0).
    pub fn begins_key_frame(&self, payload: &[u8]) -> bool {
        self.begins_frame() && payload.get(self.len).is_some_and(|header| header & 0x01 == 0)
    }

    /// Overwrites the counters in `payload`, which has the descriptor that this was parsed from. Fields keep their
    /// widths: a 7-bit picture id gets the lower 7 bits. Fields that the descriptor lacks are left out.
    pub fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0_picture_index: u8) {
        let mut at = 2;
        if let Some(PictureId { wide, .. }) = self.picture_id {
            if wide {
                if let Some(place) = payload.get_mut(at..at + 2) {
                    place.copy_from_slice(&(picture_id | 0x8000).to_be_bytes());
                }
                at += 2;
            } else {
                if let Some(place) = payload.get_mut(at) {
                    *place = picture_id.to_be_bytes()[1] & 0x7f;
                }
                at += 1;
            }
        }
        if self.tl0_picture_index.is_some()
            && let Some(place) = payload.get_mut(at)
        {
            *place = tl0_picture_index;
        }
    }
}

/// Whether a key frame begins in this payload.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| descriptor.begins_key_frame(payload))
}
