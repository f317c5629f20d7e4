//! VP8 (RFC 7741): payload descriptor, key frames, rewriting of the counters.

use super::{Bytes, PictureId};

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
        let mut bytes = Bytes::new(payload);
        let first = bytes.next()?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            partition_start: first & 0x10 != 0,
            partition: first & 0x07,
            ..Self::default()
        };
        if first & 0x80 != 0 {
            let extension = bytes.next()?;
            if extension & 0x80 != 0 {
                descriptor.picture_id = Some(bytes.picture_id()?);
            }
            if extension & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(bytes.next()?);
            }
            // One byte holds both, TID and KEYIDX.
            if extension & 0x30 != 0 {
                let byte = bytes.next()?;
                if extension & 0x20 != 0 {
                    descriptor.temporal_layer = Some(byte >> 6);
                    descriptor.layer_sync = byte & 0x20 != 0;
                }
                if extension & 0x10 != 0 {
                    descriptor.key_index = Some(byte & 0x1f);
                }
            }
        }
        descriptor.len = bytes.position();
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
    /// widths: a 7-bit picture id gets the lower 7 bits. Fields that the descriptor lacks stay away.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// X, S; I, L, T, K; 15-bit picture id; TL0PICIDX; TID 2, Y, KEYIDX 5; payload header of an inter frame.
    const FULL: [u8; 7] = [0x90, 0xf0, 0x92, 0x34, 0x07, 0xa5, 0x01];

    #[test]
    fn all_fields_are_read() {
        let descriptor = Descriptor::parse(&FULL).unwrap();
        assert_eq!(
            descriptor,
            Descriptor {
                non_reference: false,
                partition_start: true,
                partition: 0,
                picture_id: Some(PictureId { value: 0x1234, wide: true }),
                tl0_picture_index: Some(7),
                temporal_layer: Some(2),
                layer_sync: true,
                key_index: Some(5),
                len: 6,
            }
        );
        assert!(descriptor.begins_frame());
        assert!(!descriptor.begins_key_frame(&FULL));
        for len in 0..descriptor.len {
            assert_eq!(Descriptor::parse(&FULL[..len]), None, "{len}");
        }
    }

    #[test]
    fn key_frames_begin_at_the_first_partition() {
        assert!(begins_key_frame(&[0x10, 0x00]));
        assert!(!begins_key_frame(&[0x10, 0x01]), "inter frame");
        assert!(!begins_key_frame(&[0x00, 0x00]), "a later packet");
        assert!(!begins_key_frame(&[0x11, 0x00]), "the second partition");
        assert!(!begins_key_frame(&[0x10]), "descriptor only");
        assert!(!begins_key_frame(&[]));
    }

    #[test]
    fn counters_are_rewritten_where_they_are() {
        let mut payload = FULL;
        Descriptor::parse(&payload).unwrap().rewrite(&mut payload, 0x7fff, 0xee);
        assert_eq!(payload, [0x90, 0xf0, 0xff, 0xff, 0xee, 0xa5, 0x01]);

        // A 7-bit picture id alone.
        let mut payload = [0x90, 0x80, 0x23, 0x01];
        Descriptor::parse(&payload).unwrap().rewrite(&mut payload, 0x1fe, 0xee);
        assert_eq!(payload, [0x90, 0x80, 0x7e, 0x01]);

        // TL0PICIDX alone, and neither.
        let mut payload = [0x90, 0x60, 0x23, 0x40, 0x01];
        Descriptor::parse(&payload).unwrap().rewrite(&mut payload, 0x1fe, 0xee);
        assert_eq!(payload, [0x90, 0x60, 0xee, 0x40, 0x01]);
        let mut payload = [0x10, 0x01, 0x02, 0x03];
        Descriptor::parse(&payload).unwrap().rewrite(&mut payload, 0x1fe, 0xee);
        assert_eq!(payload, [0x10, 0x01, 0x02, 0x03]);
    }

    proptest! {
        #[test]
        fn rewriting_changes_the_counters_only(mut payload in prop::collection::vec(any::<u8>(), 0..20), picture_id: u16, tl0: u8) {
            let original = payload.clone();
            if let Some(before) = Descriptor::parse(&payload) {
                prop_assert!(before.len <= payload.len());
                before.rewrite(&mut payload, picture_id, tl0);
                let after = Descriptor::parse(&payload).unwrap();
                let expected = Descriptor {
                    picture_id: before.picture_id.map(|PictureId { wide, .. }| PictureId {
                        value: picture_id & if wide { 0x7fff } else { 0x7f },
                        wide,
                    }),
                    tl0_picture_index: before.tl0_picture_index.map(|_| tl0),
                    ..before
                };
                prop_assert_eq!(after, expected);
                prop_assert_eq!(&payload[before.len..], &original[before.len..]);
            }
        }

        #[test]
        fn a_payload_of_another_packet_never_panics(payload in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut payload = payload;
            Descriptor::parse(&FULL).unwrap().rewrite(&mut payload, 1, 1);
        }
    }
}
