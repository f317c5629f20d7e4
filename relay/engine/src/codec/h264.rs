//! H.264 (RFC 6184): key frames, packetization modes 0 and 1.

/// NAL unit types (RFC 6184, section 5.2, and H.264, table 7-1).
const IDR: u8 = 5;
const SEQUENCE_PARAMETER_SET: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Whether a decoder can begin here: the payload holds a sequence parameter set, or the first packet of the first
/// slice of an IDR picture. WebRTC encoders send both, the parameter sets first, so both packets of one picture
/// say yes.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    let Some((&indicator, rest)) = payload.split_first() else { return false };
    match indicator & 0x1f {
        STAP_A => aggregated_units(rest).any(unit_begins_key_frame),
        FU_A => match rest.split_first() {
            // RFC 6184, section 5.8: the start bit, and the type of the fragmented unit.
            Some((&header, slice)) if header & 0x80 != 0 => begins(header & 0x1f, slice),
            _ => false,
        },
        1..=23 => unit_begins_key_frame(payload),
        _ => false,
    }
}

fn unit_begins_key_frame(unit: &[u8]) -> bool {
    unit.split_first().is_some_and(|(header, body)| begins(header & 0x1f, body))
}

fn begins(unit_type: u8, body: &[u8]) -> bool {
    match unit_type {
        SEQUENCE_PARAMETER_SET => !body.is_empty(),
        // H.264, section 7.3.3: a slice header begins with first_mb_in_slice in Exp-Golomb code; one set bit is 0.
        IDR => body.first().is_some_and(|byte| byte & 0x80 != 0),
        _ => false,
    }
}

/// The units of a STAP-A (RFC 6184, section 5.7.1), up to the first one that is cut short.
fn aggregated_units(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&size, after_size) = rest.split_first_chunk::<2>()?;
        let (unit, after) = after_size.split_at_checked(usize::from(u16::from_be_bytes(size)))?;
        rest = after;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_units() {
        assert!(begins_key_frame(&[0x67, 0x42, 0xe0, 0x1f]), "SPS");
        assert!(begins_key_frame(&[0x65, 0x88, 0x84]), "first slice of an IDR");
        assert!(!begins_key_frame(&[0x65, 0x04, 0x84]), "another slice of it");
        assert!(!begins_key_frame(&[0x68, 0xce]), "PPS");
        assert!(!begins_key_frame(&[0x41, 0x9a]), "not IDR");
        assert!(!begins_key_frame(&[0x65]));
        assert!(!begins_key_frame(&[]));
    }

    #[test]
    fn aggregated() {
        let stap = [0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce];
        assert!(begins_key_frame(&stap));
        assert!(begins_key_frame(&[0x78, 0, 2, 0x68, 0xce, 0, 2, 0x65, 0x88]), "IDR behind a PPS");
        assert!(!begins_key_frame(&[0x78, 0, 2, 0x68, 0xce, 0, 2, 0x41, 0x9a]));
        for len in 0..7 {
            assert!(!begins_key_frame(&stap[..len]), "{len}");
        }
        assert!(!begins_key_frame(&[0x78, 0xff, 0xff, 0x67, 0x42]), "size past the end");
        assert!(!begins_key_frame(&[0x78, 0, 0, 0, 0]), "empty units");
    }

    #[test]
    fn fragmented() {
        assert!(begins_key_frame(&[0x7c, 0x85, 0x88]), "first fragment of an IDR");
        assert!(!begins_key_frame(&[0x7c, 0x05, 0x88]), "a later one");
        assert!(!begins_key_frame(&[0x7c, 0x45, 0x88]), "the last one");
        assert!(!begins_key_frame(&[0x7c, 0x81, 0x88]), "not IDR");
        assert!(begins_key_frame(&[0x7c, 0x87, 0x42]), "SPS");
        assert!(!begins_key_frame(&[0x7c]));
    }

    proptest! {
        #[test]
        fn junk_never_panics(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = begins_key_frame(&payload);
        }
    }
}
