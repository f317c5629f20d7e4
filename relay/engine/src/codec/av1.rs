//! AV1 (the RTP payload format of AOMedia): start of a coded video sequence.

/// The aggregation header's bits (section 4.4): the first unit continues one of the previous packet; a coded
/// video sequence begins here.
const CONTINUES: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;

/// What every dependency descriptor says (appendix A.8.2), and whether a template structure follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DependencyDescriptor {
    pub start_of_frame: bool,
    pub end_of_frame: bool,
    pub template_id: u8,
    pub frame_number: u16,
    /// A structure is sent at the begin of a coded video sequence only.
    pub has_structure: bool,
}

impl DependencyDescriptor {
    /// Reads the first bytes of the header extension; the rest is not looked at. `None`: cut short.
    pub fn parse(extension: &[u8]) -> Option<Self> {
        let (&[flags, f0, f1], rest) = extension.split_first_chunk::<3>()?;
        Some(Self {
            start_of_frame: flags & 0x80 != 0,
            end_of_frame: flags & 0x40 != 0,
            template_id: flags & 0x3f,
            frame_number: u16::from_be_bytes([f0, f1]),
            has_structure: rest.first().is_some_and(|flags| flags & 0x80 != 0),
        })
    }
}

/// Whether a coded video sequence begins in this packet: the aggregation header's N bit, or a dependency
/// descriptor that carries a template structure on the first packet of a frame.
pub fn begins_coded_video_sequence(payload: &[u8], dependency_descriptor: Option<&[u8]>) -> bool {
    let Some((&aggregation, units)) = payload.split_first() else { return false };
    let by_header = aggregation & (NEW_SEQUENCE | CONTINUES) == NEW_SEQUENCE;
    let by_descriptor = || {
        dependency_descriptor
            .and_then(DependencyDescriptor::parse)
            .is_some_and(|descriptor| descriptor.start_of_frame && descriptor.has_structure)
    };
    !units.is_empty() && (by_header || by_descriptor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_new_sequence_bit_counts() {
        assert!(begins_coded_video_sequence(&[0x08, 0x0a], None));
        assert!(begins_coded_video_sequence(&[0x28, 0x0a], None), "with a count of units");
        assert!(!begins_coded_video_sequence(&[0x20, 0x0a], None));
        assert!(!begins_coded_video_sequence(&[0x88, 0x0a], None), "continues a unit: contradicts itself");
        assert!(!begins_coded_video_sequence(&[0x08], None), "no unit at all");
        assert!(!begins_coded_video_sequence(&[], None));
    }

    #[test]
    fn a_structure_in_the_descriptor_counts() {
        let structure = [0x80, 0x00, 0x01, 0x80];
        assert!(begins_coded_video_sequence(&[0x20, 0x0a], Some(&structure)));
        assert!(!begins_coded_video_sequence(&[0x20, 0x0a], Some(&[0x00, 0x00, 0x01, 0x80])), "not a frame's start");
        assert!(!begins_coded_video_sequence(&[0x20, 0x0a], Some(&[0x80, 0x00, 0x01, 0x40])), "no structure");
        for len in 0..structure.len() {
            assert!(!begins_coded_video_sequence(&[0x20, 0x0a], Some(&structure[..len])), "{len}");
        }
    }

    #[test]
    fn the_mandatory_fields_are_read() {
        assert_eq!(
            DependencyDescriptor::parse(&[0xc5, 0x12, 0x34]),
            Some(DependencyDescriptor {
                start_of_frame: true,
                end_of_frame: true,
                template_id: 5,
                frame_number: 0x1234,
                has_structure: false,
            })
        );
    }

    proptest! {
        #[test]
        fn junk_never_panics(payload in prop::collection::vec(any::<u8>(), 0..40), extension in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = begins_coded_video_sequence(&payload, Some(&extension));
        }
    }
}
