//! H.264 in SDP (RFC 6184, section 8.1): which of the profiles that we tell apart an `a=fmtp` means.

use super::offer::parameter;
use plausch_relay_api::Codec;

/// What an offer says of H.264, and the answer repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct H264Format {
    pub(super) codec: Codec,
    /// 0 or 1. Single NAL units (0) are a part of what non-interleaved mode (1) has, and every depacketiser in use reads
    /// both, so both are one codec to us.
    pub(super) packetization_mode: u8,
    /// As offered; `None` means Baseline at level 1.
    pub(super) profile_level_id: Option<String>,
}

impl H264Format {
    /// `None` for what nobody here decodes: interleaved mode, High 10, High 4:2:2, intra profiles.
    pub(super) fn read(fmtp: &str) -> Option<Self> {
        let packetization_mode = match parameter(fmtp, "packetization-mode") {
            None | Some("0") => 0,
            Some("1") => 1,
            Some(_) => return None,
        };
        // What is not six hexadecimal digits says nothing, and the default holds.
        let id = parameter(fmtp, "profile-level-id").and_then(|id| Some((id, profile(id)?)));
        let codec = match id {
            None => Codec::H264,
            Some((_, (idc, constraints))) => of_profile(idc, constraints)?,
        };
        Some(Self { codec, packetization_mode, profile_level_id: id.map(|(id, _)| id.to_owned()) })
    }
}

/// `profile_idc` and the constraint flags.
fn profile(id: &str) -> Option<(u8, u8)> {
    if id.len() != 6 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(id.get(at..at + 2)?, 16).ok();
    Some((byte(0)?, byte(2)?))
}

/// RFC 6184, table 5. Constrained Baseline and Baseline are one: no encoder in use writes what only Baseline has (flexible
/// macroblock order, redundant slices), and browsers offer one and mean the other. So are Constrained High and High.
fn of_profile(idc: u8, constraints: u8) -> Option<Codec> {
    const CONFORMS_TO_BASELINE: u8 = 0x80;
    const CONFORMS_TO_MAIN: u8 = 0x40;
    const INTRA_ONLY: u8 = 0x10;
    let conforms = |flag| constraints & flag != 0;
    match idc {
        0x42 => Some(Codec::H264),
        0x4d | 0x58 if conforms(CONFORMS_TO_BASELINE) => Some(Codec::H264),
        0x4d => Some(Codec::H264Main),
        0x58 if conforms(CONFORMS_TO_MAIN) => Some(Codec::H264Main),
        0x58 => Some(Codec::H264Extended),
        0x64 => Some(Codec::H264High),
        0xf4 if !conforms(INTRA_ONLY) => Some(Codec::H264High444),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_as_table_5_has_them() {
        for (fmtp, codec) in [
            ("", Some(Codec::H264)),
            ("packetization-mode=1", Some(Codec::H264)),
            ("profile-level-id=42e01f;packetization-mode=1", Some(Codec::H264)),
            ("profile-level-id=42001f; packetization-mode=1", Some(Codec::H264)),
            ("profile-level-id=42C015", Some(Codec::H264)),
            ("profile-level-id=4de01f", Some(Codec::H264)),
            ("profile-level-id=4d001f", Some(Codec::H264Main)),
            ("profile-level-id=4D401F", Some(Codec::H264Main)),
            ("profile-level-id=58c01f", Some(Codec::H264)),
            ("profile-level-id=58801f", Some(Codec::H264)),
            ("profile-level-id=58401f", Some(Codec::H264Main)),
            ("profile-level-id=58001f", Some(Codec::H264Extended)),
            ("profile-level-id=64001f", Some(Codec::H264High)),
            ("profile-level-id=640c1f", Some(Codec::H264High)),
            ("profile-level-id=f4001f", Some(Codec::H264High444)),
            ("profile-level-id=f4101f", None),
            ("profile-level-id=6e001f", None),
            ("profile-level-id=7a001f", None),
            ("packetization-mode=2;profile-level-id=42e01f", None),
            ("packetization-mode=x", None),
            ("profile-level-id=zz", Some(Codec::H264)),
            ("profile-level-id=", Some(Codec::H264)),
            ("profile-level-id=+2e01f", Some(Codec::H264)),
            ("sprop-parameter-sets=Z0IAH6tAUB7I,aM4G4g==;profile-level-id=64001f", Some(Codec::H264High)),
        ] {
            assert_eq!(H264Format::read(fmtp).map(|format| format.codec), codec, "{fmtp}");
        }
        let format = H264Format::read("profile-level-id=4d001f").unwrap();
        assert_eq!((format.packetization_mode, format.profile_level_id.as_deref()), (0, Some("4d001f")));
        assert_eq!(H264Format::read("profile-level-id=zz").unwrap().profile_level_id, None);
    }
}
