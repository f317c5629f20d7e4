//! VP9 (RFC 9628): payload descriptor, key frames, layers.

use super::Bytes;

/// RFC 9628, section 4.2: at most three reference differences.
const MAX_REFERENCES: usize = 3;

/// What the payload descriptor says (RFC 9628, section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// P: the frame depends on earlier pictures.
    pub inter_picture: bool,
    /// F: flexible mode.
    pub flexible: bool,
    /// B: a frame begins here.
    pub frame_start: bool,
    /// E: a frame ends here.
    pub frame_end: bool,
    /// Z: no higher spatial layer depends on this frame.
    pub not_spatial_reference: bool,
    /// TID; 0 without layer indices.
    pub temporal_layer: u8,
    /// U: from here on a higher temporal layer can be decoded.
    pub switching_up: bool,
    /// SID; 0 without layer indices.
    pub spatial_layer: u8,
    /// D: depends on the lower spatial layer of the same picture.
    pub inter_layer: bool,
    pub tl0_picture_index: Option<u8>,
    /// Spatial layers by the scalability structure, where there is one here.
    pub spatial_layers: Option<u8>,
    /// The VP9 payload begins here.
    pub len: usize,
}

impl Descriptor {
    /// `None`: cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut bytes = Bytes::new(payload);
        let flags = bytes.next()?;
        let mut descriptor = Self {
            inter_picture: flags & 0x40 != 0,
            flexible: flags & 0x10 != 0,
            frame_start: flags & 0x08 != 0,
            frame_end: flags & 0x04 != 0,
            not_spatial_reference: flags & 0x01 != 0,
            ..Self::default()
        };
        if flags & 0x80 != 0 {
            descriptor.picture_id = Some(bytes.picture_id()?.value);
        }
        if flags & 0x20 != 0 {
            let layers = bytes.next()?;
            descriptor.temporal_layer = layers >> 5;
            descriptor.switching_up = layers & 0x10 != 0;
            descriptor.spatial_layer = layers >> 1 & 0x07;
            descriptor.inter_layer = layers & 0x01 != 0;
            if !descriptor.flexible {
                descriptor.tl0_picture_index = Some(bytes.next()?);
            }
        }
        if descriptor.flexible && descriptor.inter_picture {
            let mut references = 0;
            // The lowest bit says whether another difference follows.
            while bytes.next()? & 0x01 != 0 {
                references += 1;
                if references == MAX_REFERENCES {
                    return None;
                }
            }
        }
        if flags & 0x02 != 0 {
            descriptor.spatial_layers = Some(skip_scalability_structure(&mut bytes)?);
        }
        descriptor.len = bytes.position();
        Some(descriptor)
    }

    /// Whether this is the first packet of a key picture: of its base layer.
    pub fn begins_key_frame(&self) -> bool {
        self.frame_start && !self.inter_picture && self.spatial_layer == 0
    }
}

/// RFC 9628, section 4.2.1. Returns the number of spatial layers.
fn skip_scalability_structure(bytes: &mut Bytes<'_>) -> Option<u8> {
    let flags = bytes.next()?;
    let spatial_layers = (flags >> 5) + 1;
    if flags & 0x10 != 0 {
        // Width and height of each layer.
        bytes.skip(usize::from(spatial_layers) * 4)?;
    }
    if flags & 0x08 != 0 {
        for _ in 0..bytes.next()? {
            let picture = bytes.next()?;
            bytes.skip(usize::from(picture >> 2 & 0x03))?;
        }
    }
    Some(spatial_layers)
}

/// Whether a key frame begins in this payload.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| descriptor.begins_key_frame())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn key_frame_of_a_single_layer_in_non_flexible_mode() {
        // I, B, V; 15-bit picture id; structure: one layer with its size, one picture in the group.
        let payload = [0x8a, 0x81, 0x02, 0x18, 0x05, 0x00, 0x02, 0xd0, 0x01, 0x04, 0x01, 0xaa];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.picture_id, Some(0x0102));
        assert_eq!(descriptor.spatial_layers, Some(1));
        assert_eq!(descriptor.len, 11);
        assert!(descriptor.begins_key_frame());
        for len in 0..descriptor.len {
            assert_eq!(Descriptor::parse(&payload[..len]), None, "{len}");
        }
    }

    #[test]
    fn layers_are_read() {
        // I, P, L, B, E; 7-bit picture id; TID 2, U, SID 1, D; TL0PICIDX 9.
        let payload = [0xec, 0x23, 0x53, 0x09];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor,
            Descriptor {
                picture_id: Some(0x23),
                inter_picture: true,
                frame_start: true,
                frame_end: true,
                temporal_layer: 2,
                switching_up: true,
                spatial_layer: 1,
                inter_layer: true,
                tl0_picture_index: Some(9),
                len: 4,
                ..Descriptor::default()
            }
        );
        assert!(!descriptor.begins_key_frame());
    }

    #[test]
    fn upper_layers_of_a_key_picture_begin_nothing() {
        // L, B; SID 1, D: a key picture's second layer, which has no inter-picture prediction either.
        assert!(!begins_key_frame(&[0x28, 0x03, 0x00]));
        assert!(begins_key_frame(&[0x28, 0x00, 0x00]));
        assert!(!begins_key_frame(&[0x20, 0x00, 0x00]), "a later packet of it");
    }

    #[test]
    fn references_of_flexible_mode_are_skipped_and_bounded() {
        // P, F, B.
        assert_eq!(Descriptor::parse(&[0x58, 0x03, 0x05, 0x06]).unwrap().len, 4);
        assert_eq!(Descriptor::parse(&[0x58, 0x02]).unwrap().len, 2);
        assert_eq!(Descriptor::parse(&[0x58, 0x03, 0x03, 0x03, 0x02]), None);
    }

    proptest! {
        #[test]
        fn junk_never_panics(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(descriptor) = Descriptor::parse(&payload) {
                prop_assert!(descriptor.len <= payload.len());
            }
        }
    }
}
