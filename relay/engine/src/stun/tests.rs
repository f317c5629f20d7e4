//! The vectors of RFC 5769, the crate stun as an oracle, and hostile messages.

use super::*;
use proptest::prelude::*;
use std::net::SocketAddr;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 5769, section 2.1.
const SAMPLE_REQUEST: &str = "00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74 00240004 6e0001ff 80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020 00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf";
/// RFC 5769, section 2.2.
const SAMPLE_RESPONSE_V4: &str = "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220 00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96";
/// RFC 5769, section 2.3.
const SAMPLE_RESPONSE_V6: &str = "01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220 00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c";
const SAMPLE_PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

fn sample_key() -> IntegrityKey {
    IntegrityKey::short_term(SAMPLE_PASSWORD)
}

/// A check as a browser sends it.
fn check(key: &IntegrityKey) -> Vec<u8> {
    let mut buffer = [0; 200];
    let len = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID)
        .username(b"ours:theirs")
        .ice_role(IceRole::Controlling(0x0102_0304_0506_0708))
        .use_candidate()
        .priority(0x6e00_1eff)
        .integrity(key)
        .fingerprint()
        .finish()
        .unwrap();
    buffer[..len].to_vec()
}

/// `attributes` as (type, value), unsigned.
fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut buffer = [0; 400];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID);
    for (kind, value) in attributes {
        writer.attribute(AttributeType(*kind), value);
    }
    let len = writer.finish().unwrap();
    buffer[..len].to_vec()
}

#[test]
fn rfc_5769_request() {
    let bytes = unhex(SAMPLE_REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class, message.method), (Class::Request, Method::BINDING));
    assert_eq!(message.transaction_id.0.to_vec(), unhex("b7e7a701 bc34d686 fa87dfae"));
    assert_eq!(message.attribute(AttributeType::SOFTWARE), Some(b"STUN test client".as_slice()));
    assert_eq!(message.username_fragments(), Some((b"evtj".as_slice(), b"h6vY".as_slice())));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_role(), Some(IceRole::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(!message.use_candidate());
    assert!(message.unknown_required(&[]).is_empty());
    assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Valid);
    assert_eq!(message.check_integrity(&IntegrityKey::short_term(b"other")), IntegrityCheck::Wrong);
    assert_eq!(message.check_fingerprint(), FingerprintCheck::Valid);
}

#[test]
fn rfc_5769_responses() {
    for (sample, address) in
        [(SAMPLE_RESPONSE_V4, "192.0.2.1:32853"), (SAMPLE_RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let bytes = unhex(sample);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Success, Method::BINDING));
        assert_eq!(message.xor_mapped_address(), Some(address.parse().unwrap()));
        assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Valid);
        assert_eq!(message.check_fingerprint(), FingerprintCheck::Valid);
    }
}

#[test]
fn every_class_and_method_survives_the_wire() {
    for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
        for method in 0..0x1000 {
            let mut buffer = [0; 20];
            assert_eq!(MessageWriter::new(&mut buffer, class, Method(method), ID).finish(), Some(20));
            let message = Message::parse(&buffer).unwrap();
            assert_eq!((message.class, message.method, message.transaction_id), (class, Method(method), ID));
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let bytes = check(&sample_key());
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.username_fragments(), Some((b"ours".as_slice(), b"theirs".as_slice())));
    assert_eq!(message.ice_role(), Some(IceRole::Controlling(0x0102_0304_0506_0708)));
    assert_eq!(message.priority(), Some(0x6e00_1eff));
    assert!(message.use_candidate());
    assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Valid);
    assert_eq!(message.check_fingerprint(), FingerprintCheck::Valid);

    let mut buffer = [0; 100];
    let len = MessageWriter::new(&mut buffer, Class::Error, Method::BINDING, ID)
        .error_code(487, "Role Conflict")
        .unknown_attributes(&[0x30, 0x31])
        .finish()
        .unwrap();
    let message = Message::parse(&buffer[..len]).unwrap();
    assert_eq!(message.error_code(), Some(487));
    assert_eq!(message.attribute(AttributeType::ERROR_CODE).unwrap()[4..], *b"Role Conflict");
    assert_eq!(message.attribute(AttributeType::UNKNOWN_ATTRIBUTES).unwrap(), [0, 0x30, 0, 0x31]);
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let bytes = check(&sample_key());
    for len in 0..bytes.len() {
        assert!(Message::parse(&bytes[..len]).is_err(), "{len}");
        // With the length corrected, whole attributes may be missing, but never half of one.
        let mut shortened = bytes[..len].to_vec();
        if len >= HEADER_LEN {
            shortened[2..4].copy_from_slice(&((len - HEADER_LEN) as u16).to_be_bytes());
            if let Ok(message) = Message::parse(&shortened) {
                assert_ne!(message.check_fingerprint(), FingerprintCheck::Valid, "{len}");
            }
        }
    }
    for extra in 1..9 {
        let longer = [bytes.as_slice(), &vec![0; extra]].concat();
        assert_eq!(Message::parse(&longer).err(), Some(StunError::Length), "{extra}");
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let bytes = check(&sample_key());
    let integrity_end = bytes.len() - 8;
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 0x04;
        let Ok(message) = Message::parse(&forged) else { continue };
        assert_ne!(message.check_fingerprint(), FingerprintCheck::Valid, "{at}");
        if at < integrity_end {
            assert_ne!(message.check_integrity(&sample_key()), IntegrityCheck::Valid, "{at}");
        }
    }
}

#[test]
fn lengths_that_wrap_or_pass_the_end_are_refused() {
    for len in [1u16, 2, 3, 5, 9, 100, 0x7fff, 0xfffc, 0xfffd, 0xffff] {
        let mut bytes = request(&[(0x0006, b"abcd")]);
        bytes[22..24].copy_from_slice(&len.to_be_bytes());
        let parsed = Message::parse(&bytes);
        match len {
            // Shorter values are padded, so these still fill the message.
            1..=3 => assert!(parsed.is_ok(), "{len}"),
            _ => assert_eq!(parsed.err(), Some(StunError::Attribute), "{len}"),
        }
    }
}

#[test]
fn attributes_behind_the_integrity_do_not_count() {
    let mut buffer = [0; 200];
    let len = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID)
        .username(b"ours:theirs")
        .integrity(&sample_key())
        .use_candidate()
        .attribute(AttributeType(0x7fff), b"must be understood")
        .fingerprint()
        .finish()
        .unwrap();
    let message = Message::parse(&buffer[..len]).unwrap();
    assert!(!message.use_candidate());
    assert!(message.unknown_required(&[]).is_empty());
    assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Valid);
    assert_eq!(message.check_fingerprint(), FingerprintCheck::Valid);
    let kinds: Vec<_> = message.attributes().map(|attribute| attribute.kind).collect();
    assert_eq!(kinds, [AttributeType::USERNAME, AttributeType::MESSAGE_INTEGRITY, AttributeType::FINGERPRINT]);
}

#[test]
fn fingerprint_must_be_the_last_attribute() {
    let mut buffer = [0; 100];
    let len = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID)
        .fingerprint()
        .priority(1)
        .finish()
        .unwrap();
    assert_eq!(Message::parse(&buffer[..len]).unwrap().check_fingerprint(), FingerprintCheck::Wrong);
    assert_eq!(Message::parse(&request(&[])).unwrap().check_fingerprint(), FingerprintCheck::Absent);
    assert_eq!(Message::parse(&request(&[])).unwrap().check_integrity(&sample_key()), IntegrityCheck::Absent);
    for len in 0..40 {
        let bytes = request(&[(0x0008, &vec![0; len]), (0x8028, &vec![0; len])]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Wrong);
        assert_eq!(message.check_fingerprint(), FingerprintCheck::Wrong);
    }
}

#[test]
fn unknown_attributes_are_listed_if_they_must_be_understood() {
    let bytes = request(&[(0x7ffe, b"x"), (0x8001, b"y"), (0x0024, b"1234"), (0x0099, b"")]);
    assert_eq!(Message::parse(&bytes).unwrap().unknown_required(&[]).as_slice(), [0x7ffe, 0x0099]);
    let many: Vec<(u16, &[u8])> = (0..60).map(|kind| (0x4000 + kind, b"".as_slice())).collect();
    let bytes = request(&many);
    assert_eq!(Message::parse(&bytes).unwrap().unknown_required(&[]).as_slice().len(), 8);
}

#[test]
fn values_of_wrong_lengths_count_as_absent() {
    for len in (0..40).filter(|len| ![4, 8, 20].contains(len)) {
        let value = vec![1; len];
        let bytes =
            request(&[(0x0024, &value), (0x8029, &value), (0x802a, &value), (0x0020, &value), (0x0006, &value)]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.priority(), None);
        assert_eq!(message.ice_role(), None);
        assert_eq!(message.xor_mapped_address(), None);
        assert_eq!(message.username_fragments(), None);
    }
}

#[test]
fn a_short_buffer_is_told_and_never_overrun() {
    let whole = check(&sample_key()).len();
    for room in 0..whole {
        let mut buffer = vec![0; room];
        let finished = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID)
            .username(b"ours:theirs")
            .ice_role(IceRole::Controlling(0x0102_0304_0506_0708))
            .use_candidate()
            .priority(0x6e00_1eff)
            .integrity(&sample_key())
            .fingerprint()
            .finish();
        assert_eq!(finished, None, "{room}");
    }
}

mod oracle {
    use super::*;
    use ::stun::agent::TransactionId as TheirId;
    use ::stun::attributes::{ATTR_PRIORITY, ATTR_USERNAME};
    use ::stun::fingerprint::FINGERPRINT;
    use ::stun::integrity::MessageIntegrity;
    use ::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message as TheirMessage, Setter};
    use ::stun::textattrs::Username;
    use ::stun::xoraddr::XorMappedAddress;

    fn their_key() -> MessageIntegrity {
        MessageIntegrity::new_short_term_integrity("VOkJxbRl1RmTxUk/WvJxBt".to_owned())
    }

    #[test]
    fn they_read_what_we_write() {
        let mut theirs = TheirMessage::new();
        theirs.unmarshal_binary(&check(&sample_key())).unwrap();
        assert_eq!(theirs.typ, BINDING_REQUEST);
        assert_eq!(theirs.get(ATTR_USERNAME).unwrap(), b"ours:theirs");
        assert_eq!(theirs.get(ATTR_PRIORITY).unwrap(), 0x6e00_1effu32.to_be_bytes());
        their_key().check(&mut theirs).unwrap();
        FINGERPRINT.check(&theirs).unwrap();
    }

    #[test]
    fn we_read_what_they_write() {
        for address in ["192.0.2.9:4711", "[2001:db8::77]:65535"] {
            let address: SocketAddr = address.parse().unwrap();
            let mut theirs = TheirMessage::new();
            let setters: [Box<dyn Setter>; 6] = [
                Box::new(BINDING_SUCCESS),
                Box::new(TheirId(ID.0)),
                Box::new(Username::new(ATTR_USERNAME, "ours:theirs".to_owned())),
                Box::new(XorMappedAddress { ip: address.ip(), port: address.port() }),
                Box::new(their_key()),
                Box::new(FINGERPRINT),
            ];
            theirs.build(&setters).unwrap();
            let message = Message::parse(&theirs.raw).unwrap();
            assert_eq!((message.class, message.transaction_id), (Class::Success, ID));
            assert_eq!(message.xor_mapped_address(), Some(address));
            assert_eq!(message.username(), Some(b"ours:theirs".as_slice()));
            assert_eq!(message.check_integrity(&sample_key()), IntegrityCheck::Valid);
            assert_eq!(message.check_fingerprint(), FingerprintCheck::Valid);
        }
    }
}

/// Calls everything that reads.
fn read_all(message: &Message<'_>) {
    let _ = (message.attributes().count(), message.username_fragments(), message.priority(), message.ice_role());
    let _ =
        (message.use_candidate(), message.xor_mapped_address(), message.error_code(), message.unknown_required(&[]));
    let _ = (message.check_integrity(&sample_key()), message.check_fingerprint());
}

proptest! {
    #[test]
    fn junk_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), genuine: bool) {
        if genuine && bytes.len() >= HEADER_LEN {
            let len = ((bytes.len() - HEADER_LEN) as u16).to_be_bytes();
            bytes[0] &= 0x3f;
            bytes[2..4].copy_from_slice(&len);
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn damaged_checks_never_panic(at in 0usize..120, value: u8) {
        let mut bytes = check(&sample_key());
        if let Some(place) = bytes.get_mut(at) {
            *place = value;
        }
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn attributes_come_back(attributes in prop::collection::vec((1u16..0xffff, prop::collection::vec(any::<u8>(), 0..30)), 0..8)) {
        // What comes after these is not believed, and so not read.
        let ends = [AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256];
        prop_assume!(attributes.iter().all(|(kind, _)| ends.iter().all(|end| end.0 != *kind)));
        let borrowed: Vec<(u16, &[u8])> = attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        let bytes = request(&borrowed);
        let message = Message::parse(&bytes).unwrap();
        let read: Vec<(u16, &[u8])> = message.attributes().map(|attribute| (attribute.kind.0, attribute.value)).collect();
        prop_assert_eq!(read, borrowed);
    }

    #[test]
    fn addresses_come_back(ip: std::net::IpAddr, port: u16, id: [u8; 12]) {
        let address = SocketAddr::new(ip.to_canonical(), port);
        let mut buffer = [0; 100];
        let len = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(id))
            .xor_mapped_address(address)
            .finish()
            .unwrap();
        prop_assert_eq!(Message::parse(&buffer[..len]).unwrap().xor_mapped_address(), Some(address));
    }
}
