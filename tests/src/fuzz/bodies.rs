//! The parsers: no input may panic, and what two readers both understand they must understand alike.

use crate::wire::rtcp::Rtcp;
use crate::wire::rtp::RtpPacket;
use bytes::BytesMut;
use plausch_engine::rtcp::{Packet, packets};
use plausch_engine::rtp::{KnownExtensions, RtpHeader};
use plausch_engine::srtp::{Inbound, Outbound, Profile, ReceiveStream, RtcpReplay};
use plausch_engine::stun::{FingerprintCheck, IntegrityCheck, IntegrityKey, Message};
use plausch_engine::{codec, demux};
use plausch_relay_api::framing::{self, CommandFrame};
use plausch_relay_api::{Codec, Event, ExtensionIds};
use plausch_signalling::{ClientMessage, ServerMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Every extension has an id, so that all of the reader is reached.
const IDS: ExtensionIds = ExtensionIds {
    mid: Some(1),
    rid: Some(2),
    audio_level: Some(3),
    transport_cc: Some(4),
    dependency_descriptor: Some(6),
};

/// STUN messages.
pub fn stun(input: &[u8]) {
    let _ = demux::classify(input);
    let Ok(message) = Message::parse(input) else { return };
    for attribute in message.attributes() {
        assert!(attribute.value.len() <= input.len());
        assert_eq!(
            message.attribute(attribute.kind).is_some(),
            message.attributes().any(|it| it.kind == attribute.kind)
        );
    }
    let fragments = message.username_fragments();
    assert!(fragments.is_none() || message.username().is_some());
    let _ = (message.priority(), message.use_candidate(), message.ice_role());
    let _ = (message.xor_mapped_address(), message.error_code(), message.unknown_required(&[]).as_slice().len());
    let integrity = message.check_integrity(&IntegrityKey::short_term(b"a password that the fuzzer lacks"));
    assert_ne!(integrity, IntegrityCheck::Valid, "HMAC-SHA1 was guessed");
    if message.check_fingerprint() == FingerprintCheck::Valid {
        // The published crate must agree.
        let mut published = stun::message::Message::new();
        if published.unmarshal_binary(input).is_ok() {
            assert!(stun::fingerprint::FINGERPRINT.check(&published).is_ok(), "a FINGERPRINT that only we take");
        }
    }
}

/// RTP headers, extensions and padding.
pub fn rtp(input: &[u8]) {
    let ours = RtpHeader::parse(input);
    let theirs = RtpPacket::decode(input);
    let Ok(header) = ours else {
        assert!(theirs.is_err(), "only the simulation's reader takes this");
        return;
    };
    let known = KnownExtensions::read(&header, input, &IDS);
    let payload = header.payload(input);
    if let Ok(range) = &payload {
        assert!(header.header_len <= range.start && range.end <= input.len());
    }
    for extension in header.extensions(input) {
        assert!(extension.value.len() <= input.len());
    }
    if let (Ok(theirs), Ok(range)) = (theirs, payload) {
        assert_eq!((header.sequence, header.timestamp, header.ssrc), (theirs.sequence, theirs.timestamp, theirs.ssrc));
        assert_eq!((header.marker, header.payload_type), (theirs.marker, theirs.payload_type));
        assert_eq!(input[range], theirs.payload);
        // Only ids that no special meaning ends early (RFC 8285, section 4.2), and each once.
        let mut ids: Vec<u8> = theirs.extensions.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let plain = ids.first() != Some(&0) && ids.last() != Some(&15) && ids.windows(2).all(|pair| pair[0] != pair[1]);
        if plain {
            assert_eq!(known.mid, theirs.extension(IDS.mid));
            assert_eq!(known.dependency_descriptor, theirs.extension(IDS.dependency_descriptor));
        }
    }
}

/// RTCP compounds.
pub fn rtcp(input: &[u8]) {
    let mut whole = true;
    let mut count = 0;
    for packet in packets(input) {
        let Ok(packet) = packet else {
            whole = false;
            continue;
        };
        assert!(whole, "nothing follows an error");
        count += 1;
        visit(&packet, input.len());
    }
    if let (true, Ok(theirs)) = (whole, Rtcp::decode_compound(input)) {
        assert_eq!(count, theirs.len(), "{theirs:?}");
    }
}

/// Looks at everything in a packet; nothing may go on without end.
fn visit(packet: &Packet<'_>, len: usize) {
    let bounded = |count: usize, per_byte: usize| assert!(count <= len * per_byte, "{count} entries in {len} bytes");
    match packet {
        Packet::SenderReport(report) => bounded(report.reports.iter().count(), 1),
        Packet::ReceiverReport { reports, .. } => bounded(reports.iter().count(), 1),
        Packet::SourceDescription(description) => bounded(description.cnames().count(), 1),
        Packet::Bye(bye) => bounded(bye.ssrcs().count(), 1),
        Packet::Nack(nack) => bounded(nack.sequences().count(), 17),
        Packet::Fir(fir) => bounded(fir.entries().count(), 1),
        Packet::TransportFeedback(feedback) => {
            // A run of two bytes speaks of up to 8191 packets.
            assert!(feedback.statuses().count() <= usize::from(u16::MAX));
        }
        Packet::Pli { .. } | Packet::Other { .. } => {}
    }
}

/// SRTP and SRTCP: nothing that was not sealed opens, everything that was does, and only unchanged.
pub fn srtp_open(input: &[u8]) {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm] {
        let (key, salt) = (vec![7; profile.key_len()], vec![9; profile.salt_len()]);
        let inbound = Inbound::new(profile, &key, &salt).expect("keys of the right length");
        let mut stream = ReceiveStream::new();
        let mut replay = RtcpReplay::new();
        let header = RtpHeader::parse(input);
        if let Ok(header) = &header {
            let mut forged = input.to_vec();
            assert!(inbound.open_rtp(&mut stream, &mut forged, header.header_len).is_err(), "a tag was guessed");
            assert_eq!(stream.highest_index(), None, "a forged packet moved the window");
        }
        assert!(inbound.open_rtcp(&mut replay, &mut input.to_vec()).is_err(), "a tag was guessed");
        if let Ok(header) = header
            && input.len() < 1500
        {
            seal_and_open(input, header.header_len, &inbound, profile, (&key, &salt));
        }
    }
}

fn seal_and_open(plain: &[u8], header_len: usize, inbound: &Inbound, profile: Profile, (key, salt): (&[u8], &[u8])) {
    let outbound = Outbound::new(profile, key, salt).expect("keys of the right length");
    let mut sealed = plain.to_vec();
    sealed.resize(plain.len() + outbound.rtp_overhead(), 0);
    let len = outbound.seal_rtp(&mut sealed, header_len, plain.len(), 0).expect("there is room");
    sealed.truncate(len);
    let mut changed = sealed.clone();
    let at = plain.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % len;
    changed[at] ^= 0x10;
    let mut stream = ReceiveStream::new();
    let parsed = RtpHeader::parse(&changed);
    if let Ok(parsed) = parsed {
        assert!(inbound.open_rtp(&mut stream, &mut changed, parsed.header_len).is_err(), "byte {at} was changed");
    }
    let opened = inbound.open_rtp(&mut stream, &mut sealed.clone(), header_len).expect("what was sealed opens");
    assert_eq!(opened.len, plain.len());
    assert!(inbound.open_rtp(&mut stream, &mut sealed, header_len).is_err(), "a replayed packet opened");
}

/// Payload descriptors of all codecs. The first byte says how much of the input is a dependency descriptor.
pub fn codec(input: &[u8]) {
    let Some((split, rest)) = input.split_first() else { return };
    let (descriptor, payload) = rest.split_at(usize::from(*split).min(rest.len()));
    for kind in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        let _ = codec::begins_key_frame(kind, payload, (!descriptor.is_empty()).then_some(descriptor));
    }
    let _ = codec::av1::DependencyDescriptor::parse(descriptor);
    let _ = codec::vp9::Descriptor::parse(payload).map(|it| it.begins_key_frame());
    if let Some(parsed) = codec::vp8::Descriptor::parse(payload) {
        let mut rewritten = payload.to_vec();
        parsed.rewrite(&mut rewritten, 0x1234, 0x56);
        let again = codec::vp8::Descriptor::parse(&rewritten).expect("what was rewritten is still a descriptor");
        assert_eq!(again.len, parsed.len);
        assert_eq!(again.picture_id.map(|id| id.wide), parsed.picture_id.map(|id| id.wide));
        assert!(again.picture_id.is_none_or(|id| id.value == if id.wide { 0x1234 } else { 0x34 }));
        assert!(again.tl0_picture_index.is_none_or(|index| index == 0x56));
        assert_eq!(rewritten[parsed.len..], payload[parsed.len..], "the picture itself stays");
    }
}

/// Messages between browsers and control.
pub fn signalling(input: &[u8]) {
    json::<ClientMessage>(input);
    json::<ServerMessage>(input);
}

fn json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(input: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(input) else { return };
    let written = serde_json::to_vec(&message).expect("a message can be written");
    let again: T = serde_json::from_slice(&written).expect("what we write we can read");
    assert_eq!(again, message);
}

/// The link between control and relay.
pub fn framing(input: &[u8]) {
    frames::<CommandFrame>(input);
    frames::<Event>(input);
}

fn frames<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(input: &[u8]) {
    let mut buffer = BytesMut::from(input);
    while let Ok(Some(frame)) = framing::decode::<T>(&mut buffer) {
        let Ok(frame) = frame else { continue };
        let mut written = BytesMut::new();
        framing::encode(&frame, &mut written).expect("a frame can be written");
        assert_eq!(framing::decode::<T>(&mut written).expect("what we write we can read"), Some(Ok(frame)));
        assert!(written.is_empty());
    }
    assert!(buffer.len() <= input.len());
}
