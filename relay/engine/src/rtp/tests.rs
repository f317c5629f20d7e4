//! Round trips, the crate rtp as an oracle, and hostile packets.

use super::*;
use plausch_relay_api::ExtensionIds;
use proptest::prelude::*;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

const FIELDS: HeaderFields =
    HeaderFields { marker: true, payload_type: 96, sequence: 0xfffe, timestamp: 0x1234_5678, ssrc: 0x9abc_def0 };

/// A packet with these extensions and payload, and the length of its header.
fn packet(extensions: &[Extension<'_>], payload: &[u8]) -> (Vec<u8>, usize) {
    let mut buffer = vec![0xee; 2000];
    let header_len = write_header(&mut buffer, &FIELDS, extensions).unwrap();
    buffer.truncate(header_len);
    buffer.extend_from_slice(payload);
    (buffer, header_len)
}

/// A header with an extension block of this profile and data.
fn with_extension_block(profile: u16, data: &[u8]) -> Vec<u8> {
    let (mut bytes, _) = packet(&[], &[]);
    bytes[0] |= 0x10;
    bytes.extend_from_slice(&profile.to_be_bytes());
    bytes.extend_from_slice(&((data.len() / 4) as u16).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn extensions_of(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let header = RtpHeader::parse(bytes).unwrap();
    header.extensions(bytes).map(|extension| (extension.id, extension.value.to_vec())).collect()
}

#[test]
fn a_header_comes_back() {
    let extensions = [Extension { id: 1, value: b"mid0" }, Extension { id: 3, value: &[0x85] }];
    let (bytes, header_len) = packet(&extensions, b"payload");
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!((header.marker, header.payload_type, header.sequence), (true, 96, 0xfffe));
    assert_eq!((header.timestamp, header.ssrc, header.header_len), (0x1234_5678, 0x9abc_def0, header_len));
    assert_eq!(bytes[header.payload(&bytes).unwrap()], *b"payload");
    assert_eq!(header.extensions(&bytes).collect::<Vec<_>>(), extensions);
    assert_eq!(bytes[12..14], [0xbe, 0xde]);
    assert_eq!(header_len, 12 + 4 + 8);
}

#[test]
fn every_truncation_is_refused() {
    let (mut bytes, header_len) = packet(&[Extension { id: 1, value: b"mid0" }], b"");
    // Two CSRCs between the fixed header and the extension.
    bytes.splice(12..12, [1, 2, 3, 4, 5, 6, 7, 8]);
    bytes[0] |= 2;
    assert_eq!(RtpHeader::parse(&bytes).unwrap().header_len, header_len + 8);
    assert_eq!(extensions_of(&bytes), [(1, b"mid0".to_vec())]);
    for len in 0..bytes.len() {
        assert_eq!(RtpHeader::parse(&bytes[..len]), Err(RtpError::Truncated), "{len}");
    }
}

#[test]
fn counts_past_the_end_are_refused() {
    let (mut bytes, _) = packet(&[], &[0; 20]);
    bytes[0] = 0x8f;
    assert_eq!(RtpHeader::parse(&bytes), Err(RtpError::Truncated), "15 CSRCs in 20 bytes");
    let mut bytes = with_extension_block(0xbede, &[0; 8]);
    bytes[14..16].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(RtpHeader::parse(&bytes), Err(RtpError::Truncated), "an extension of 256 KiB");
    for version in [0x00, 0x40, 0xc0] {
        bytes[0] = version;
        assert_eq!(RtpHeader::parse(&bytes), Err(RtpError::Version));
    }
}

#[test]
fn padding_is_taken_off_and_checked() {
    let (mut bytes, header_len) = packet(&[], b"payload");
    let len = bytes.len();
    bytes.resize(len + 5, 0);
    assert_eq!(add_padding(&mut bytes, len, 5), Some(len + 5));
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(bytes[header.payload(&bytes).unwrap()], *b"payload");

    let payload_len = bytes.len() - header_len;
    for padding in 0..=255u8 {
        *bytes.last_mut().unwrap() = padding;
        let expected = match usize::from(padding) {
            0 => Err(RtpError::Padding),
            padding if padding <= payload_len => Ok(header_len..bytes.len() - padding),
            _ => Err(RtpError::Padding),
        };
        assert_eq!(header.payload(&bytes), expected, "{padding}");
    }
    assert_eq!(header.payload(&bytes[..header_len]), Err(RtpError::Padding), "no payload to hold it");
    assert_eq!(header.payload(&bytes[..header_len - 1]), Err(RtpError::Truncated));
}

#[test]
fn padding_that_does_not_fit_is_not_added() {
    let (mut bytes, _) = packet(&[], b"payload");
    let len = bytes.len();
    assert_eq!(add_padding(&mut bytes, len, 1), None, "no room");
    bytes.push(0);
    assert_eq!(add_padding(&mut bytes, len, 0), None);
    assert_eq!(add_padding(&mut bytes, usize::MAX, 1), None);
    assert_eq!(add_padding(&mut bytes, 11, 1), None);
    assert_eq!(add_padding(&mut bytes, len, 1), Some(len + 1));
    bytes.push(0);
    assert_eq!(add_padding(&mut bytes, len + 1, 1), None, "padded already");
}

#[test]
fn one_byte_extensions_as_the_rfc_describes_them() {
    // Padding between elements.
    assert_eq!(
        extensions_of(&with_extension_block(0xbede, &[0x10, 0xaa, 0, 0, 0x21, 1, 2, 0])),
        [(1, vec![0xaa]), (2, vec![1, 2])]
    );
    // Id 15, and id 0 with a length, end the list.
    assert_eq!(extensions_of(&with_extension_block(0xbede, &[0x10, 0xaa, 0xf0, 1, 0x20, 2, 0, 0])), [(1, vec![0xaa])]);
    assert_eq!(extensions_of(&with_extension_block(0xbede, &[0x10, 0xaa, 0x01, 1, 0x20, 2, 0, 0])), [(1, vec![0xaa])]);
    // The last element is cut short.
    assert_eq!(extensions_of(&with_extension_block(0xbede, &[0x10, 0xaa, 0x22, 1])), [(1, vec![0xaa])]);
}

#[test]
fn two_byte_extensions_as_the_rfc_describes_them() {
    for profile in [0x1000, 0x1005, 0x100f] {
        assert_eq!(
            extensions_of(&with_extension_block(profile, &[1, 0, 0, 200, 3, 1, 2, 3])),
            [(1, vec![]), (200, vec![1, 2, 3])]
        );
        assert_eq!(extensions_of(&with_extension_block(profile, &[1, 1, 7, 2, 5, 0, 0, 0])), [(1, vec![7])]);
        assert_eq!(extensions_of(&with_extension_block(profile, &[1, 1, 7, 2])), [(1, vec![7])]);
    }
    assert_eq!(extensions_of(&with_extension_block(0xabac, &[0x10, 0xaa, 0, 0])), [], "another profile's");
}

#[test]
fn long_and_empty_values_take_the_two_byte_form() {
    let long = [7; 17];
    for value in [long.as_slice(), &[], &[9; 255]] {
        let extensions = [Extension { id: 14, value }, Extension { id: 2, value: b"ab" }];
        let (bytes, _) = packet(&extensions, &[]);
        assert_eq!(bytes[12..14], [0x10, 0x00]);
        assert_eq!(RtpHeader::parse(&bytes).unwrap().extensions(&bytes).collect::<Vec<_>>(), extensions);
    }
    // What no form can carry is left out.
    let unwritable =
        [Extension { id: 0, value: b"a" }, Extension { id: 15, value: b"a" }, Extension { id: 3, value: &[0; 256] }];
    assert_eq!(packet(&unwritable, &[]).1, FIXED_HEADER_LEN);
}

#[test]
fn a_short_buffer_is_told() {
    let extensions = [Extension { id: 1, value: b"mid0" }];
    for room in 0..20 {
        assert_eq!(write_header(&mut vec![0; room], &FIELDS, &extensions), None, "{room}");
    }
}

#[test]
fn known_extensions_are_found_in_one_pass() {
    let ids = ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        audio_level: Some(3),
        transport_cc: Some(4),
        dependency_descriptor: Some(6),
    };
    let extensions = [
        Extension { id: 6, value: &[0x80, 0, 1] },
        Extension { id: 4, value: &[0x12, 0x34] },
        Extension { id: 3, value: &[0x80 | 33] },
        Extension { id: 2, value: b"hi" },
        Extension { id: 1, value: b"0" },
        Extension { id: 9, value: b"other" },
    ];
    let (bytes, _) = packet(&extensions, &[]);
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(
        KnownExtensions::read(&header, &bytes, &ids),
        KnownExtensions {
            mid: Some(b"0"),
            rid: Some(b"hi"),
            audio_level: Some(AudioLevel { voice: true, level: 33 }),
            transport_cc: Some(0x1234),
            dependency_descriptor: Some(&[0x80, 0, 1]),
        }
    );
    assert_eq!(KnownExtensions::read(&header, &bytes, &ExtensionIds::default()), KnownExtensions::default());
    // A transport sequence number of one byte is none.
    let (bytes, _) = packet(&[Extension { id: 4, value: &[1] }], &[]);
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(KnownExtensions::read(&header, &bytes, &ids).transport_cc, None);
}

prop_compose! {
    fn one_byte_extensions()(
        extensions in prop::collection::vec((1u8..=14, prop::collection::vec(any::<u8>(), 1..=16)), 0..8),
    ) -> Vec<(u8, Vec<u8>)> {
        extensions
    }
}

fn borrowed(extensions: &[(u8, Vec<u8>)]) -> Vec<Extension<'_>> {
    extensions.iter().map(|(id, value)| Extension { id: *id, value }).collect()
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), ids in 0u8..16) {
        if let Ok(header) = RtpHeader::parse(&bytes) {
            prop_assert!(header.header_len <= bytes.len());
            let _ = header.payload(&bytes);
            let count = header.extensions(&bytes).count();
            prop_assert!(count <= bytes.len());
            // A header that is asked about another packet.
            let _ = (header.payload(&[]), header.extensions(&[]).count());
            let ids = ExtensionIds { mid: Some(ids), transport_cc: Some(ids / 2), ..ExtensionIds::default() };
            let _ = KnownExtensions::read(&header, &bytes, &ids);
        }
    }

    #[test]
    fn extension_blocks_of_junk_never_panic(profile in prop_oneof![Just(0xbedeu16), Just(0x1000)], data in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = with_extension_block(profile, &data);
        if let Ok(header) = RtpHeader::parse(&bytes) {
            prop_assert!(header.extensions(&bytes).map(|extension| extension.value.len() + 1).sum::<usize>() <= data.len());
        }
    }

    #[test]
    fn what_is_written_is_read(extensions in prop::collection::vec((1u8..=14, prop::collection::vec(any::<u8>(), 0..40)), 0..8), payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let (bytes, _) = packet(&borrowed(&extensions), &payload);
        let header = RtpHeader::parse(&bytes).unwrap();
        prop_assert_eq!(extensions_of(&bytes), extensions);
        prop_assert_eq!(&bytes[header.payload(&bytes).unwrap()], payload.as_slice());
    }

    /// The same bytes, read by the crate rtp.
    #[test]
    fn they_read_what_we_write(extensions in one_byte_extensions(), payload in prop::collection::vec(any::<u8>(), 1..40)) {
        let (bytes, header_len) = packet(&borrowed(&extensions), &payload);
        let theirs = ::rtp::packet::Packet::unmarshal(&mut bytes.as_slice()).unwrap();
        prop_assert_eq!(theirs.header.marshal_size(), header_len);
        prop_assert_eq!((theirs.header.sequence_number, theirs.header.ssrc), (FIELDS.sequence, FIELDS.ssrc));
        prop_assert_eq!((theirs.header.marker, theirs.header.payload_type), (FIELDS.marker, FIELDS.payload_type));
        let their_extensions: Vec<(u8, Vec<u8>)> =
            theirs.header.extensions.iter().map(|extension| (extension.id, extension.payload.to_vec())).collect();
        prop_assert_eq!(their_extensions, extensions);
        prop_assert_eq!(&theirs.payload[..], payload.as_slice());
    }

    /// And the other way round, with CSRCs.
    #[test]
    fn we_read_what_they_write(extensions in one_byte_extensions(), csrc in prop::collection::vec(any::<u32>(), 0..16), payload in prop::collection::vec(any::<u8>(), 1..40)) {
        let theirs = ::rtp::packet::Packet {
            header: ::rtp::header::Header {
                version: 2,
                sequence_number: 7,
                csrc,
                extension: !extensions.is_empty(),
                extension_profile: 0xbede,
                extensions: extensions.iter().map(|(id, value)| ::rtp::header::Extension { id: *id, payload: value.clone().into() }).collect(),
                ..Default::default()
            },
            payload: payload.clone().into(),
        };
        let bytes = theirs.marshal().unwrap();
        let header = RtpHeader::parse(&bytes).unwrap();
        prop_assert_eq!(header.sequence, 7);
        prop_assert_eq!(extensions_of(&bytes), extensions);
        prop_assert_eq!(&bytes[header.payload(&bytes).unwrap()], payload.as_slice());
    }
}
