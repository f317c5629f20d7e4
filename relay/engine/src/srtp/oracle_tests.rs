//! Against the independent implementation of the crate webrtc-srtp, in both directions, and against hostile packets.

use super::{Inbound, MAX_RTCP_OVERHEAD, MAX_RTP_OVERHEAD, OpenError, Outbound, Profile, ReceiveStream, RtcpReplay};
use super::{SealError, rtcp_sender};
use crate::rtp::{HeaderFields, RtpHeader, write_header};
use proptest::prelude::*;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [Profile; 3] = [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];
const SSRC: u32 = 0x1234_5678;

fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    let key = (0..profile.key_len()).map(|n| n as u8 * 7 + 1).collect();
    let salt = (0..profile.salt_len()).map(|n| n as u8 * 11 + 3).collect();
    (key, salt)
}

fn oracle(profile: Profile) -> Context {
    let theirs = match profile {
        Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let (key, salt) = keys(profile);
    Context::new(&key, &salt, theirs, None, None).unwrap()
}

fn inbound(profile: Profile) -> Inbound {
    let (key, salt) = keys(profile);
    Inbound::new(profile, &key, &salt).unwrap()
}

fn outbound(profile: Profile) -> Outbound {
    let (key, salt) = keys(profile);
    Outbound::new(profile, &key, &salt).unwrap()
}

/// A plain RTP packet and the length of its header.
fn rtp(sequence: u16, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut packet = vec![0; 64];
    let fields = HeaderFields { marker: true, payload_type: 96, sequence, timestamp: 1000, ssrc: SSRC };
    let extension = crate::rtp::Extension { id: 4, value: b"mid" };
    let header_len = write_header(&mut packet, &fields, &[extension]).unwrap();
    packet.truncate(header_len);
    packet.extend_from_slice(payload);
    (packet, header_len)
}

/// A receiver report with one block, and something after it.
fn rtcp(tail: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&SSRC.to_be_bytes());
    packet.extend_from_slice(&[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, tail]);
    packet
}

fn seal(outbound: &Outbound, plain: &[u8], header_len: usize, rollover: u32) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + MAX_RTP_OVERHEAD, 0);
    let len = outbound.seal_rtp(&mut packet, header_len, plain.len(), rollover).unwrap();
    packet.truncate(len);
    packet
}

fn seal_rtcp(outbound: &mut Outbound, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + MAX_RTCP_OVERHEAD, 0);
    let len = outbound.seal_rtcp(&mut packet, plain.len()).unwrap();
    packet.truncate(len);
    packet
}

/// Steps that pass the wrap of the sequence number several times, with losses.
fn sequence_walk() -> impl Iterator<Item = u64> {
    (0..60u64).map(|step| 65_000 + step * 9_973)
}

#[test]
fn they_open_what_we_seal() {
    for profile in PROFILES {
        let (outbound, mut oracle) = (outbound(profile), oracle(profile));
        // A stream begins with rollover counter 0.
        for index in [60_000].into_iter().chain(sequence_walk()) {
            let (plain, header_len) = rtp((index & 0xffff) as u16, &index.to_be_bytes().repeat(20));
            let sealed = seal(&outbound, &plain, header_len, (index >> 16) as u32);
            assert_eq!(sealed.len(), plain.len() + outbound.rtp_overhead());
            assert_eq!(oracle.decrypt_rtp(&sealed).unwrap(), plain, "{profile:?} {index}");
        }
    }
}

#[test]
fn we_open_what_they_seal() {
    for profile in PROFILES {
        let (inbound, mut oracle) = (inbound(profile), oracle(profile));
        let mut stream = ReceiveStream::new();
        for index in [60_000].into_iter().chain(sequence_walk()) {
            let (plain, header_len) = rtp((index & 0xffff) as u16, &index.to_be_bytes().repeat(20));
            let mut sealed = oracle.encrypt_rtp(&plain).unwrap().to_vec();
            let opened = inbound.open_rtp(&mut stream, &mut sealed, header_len).unwrap();
            assert_eq!(opened.index, index, "{profile:?}");
            assert_eq!(sealed[..opened.len], plain, "{profile:?} {index}");
        }
    }
}

#[test]
fn rtcp_goes_both_ways() {
    for profile in PROFILES {
        let (inbound, mut outbound) = (inbound(profile), outbound(profile));
        let (mut oracle_in, mut oracle_out) = (oracle(profile), oracle(profile));
        let mut replay = RtcpReplay::new();
        for tail in 0..100 {
            let plain = rtcp(tail);
            let sealed = seal_rtcp(&mut outbound, &plain);
            assert_eq!(sealed.len(), plain.len() + outbound.rtcp_overhead());
            assert_eq!(oracle_in.decrypt_rtcp(&sealed).unwrap(), plain, "{profile:?} {tail}");

            let mut sealed = oracle_out.encrypt_rtcp(&plain).unwrap().to_vec();
            assert_eq!(rtcp_sender(&sealed), Some(SSRC));
            let len = inbound.open_rtcp(&mut replay, &mut sealed).unwrap();
            assert_eq!(sealed[..len], plain, "{profile:?} {tail}");
        }
    }
}

#[test]
fn reordering_across_the_wrap_is_opened_and_replays_are_not() {
    for profile in PROFILES {
        let (inbound, outbound) = (inbound(profile), outbound(profile));
        let mut stream = ReceiveStream::new();
        let order = [65_530u64, 65_537, 65_534, 65_536, 65_535, 65_540, 65_531];
        for index in order {
            let (plain, header_len) = rtp((index & 0xffff) as u16, b"payload");
            let sealed = seal(&outbound, &plain, header_len, (index >> 16) as u32);
            let mut packet = sealed.clone();
            assert_eq!(inbound.open_rtp(&mut stream, &mut packet, header_len).unwrap().index, index);
            assert_eq!(
                inbound.open_rtp(&mut stream, &mut sealed.clone(), header_len),
                Err(OpenError::Replayed),
                "{profile:?}"
            );
        }
    }
}

#[test]
fn replays_of_the_last_round_do_not_pass() {
    for profile in PROFILES {
        let (inbound, outbound) = (inbound(profile), outbound(profile));
        let mut stream = ReceiveStream::new();
        let (plain, header_len) = rtp(7, b"first round");
        let old = seal(&outbound, &plain, header_len, 0);
        assert!(inbound.open_rtp(&mut stream, &mut old.clone(), header_len).is_ok());
        for index in [30_000u64, 60_000, 65_536 + 3] {
            let (plain, header_len) = rtp((index & 0xffff) as u16, b"on");
            let mut sealed = seal(&outbound, &plain, header_len, (index >> 16) as u32);
            assert!(inbound.open_rtp(&mut stream, &mut sealed, header_len).is_ok());
        }
        // Its sequence number now means round 1, for which it was not made.
        assert_eq!(
            inbound.open_rtp(&mut stream, &mut old.clone(), header_len),
            Err(OpenError::Authentication),
            "{profile:?}"
        );
    }
}

#[test]
fn forged_packets_change_no_state() {
    for profile in PROFILES {
        let (inbound, mut outbound) = (inbound(profile), outbound(profile));
        let mut stream = ReceiveStream::new();
        let (plain, header_len) = rtp(100, b"payload");
        let sealed = seal(&outbound, &plain, header_len, 0);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x40;
            assert_eq!(inbound.open_rtp(&mut stream, &mut forged, header_len), Err(OpenError::Authentication), "{at}");
            assert_eq!(stream.highest_index(), None);
        }
        assert!(inbound.open_rtp(&mut stream, &mut sealed.clone(), header_len).is_ok());

        let mut replay = RtcpReplay::new();
        let sealed = seal_rtcp(&mut outbound, &rtcp(1));
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x40;
            assert_eq!(inbound.open_rtcp(&mut replay, &mut forged), Err(OpenError::Authentication), "{at}");
        }
        assert!(inbound.open_rtcp(&mut replay, &mut sealed.clone()).is_ok());
        assert_eq!(inbound.open_rtcp(&mut replay, &mut sealed.clone()), Err(OpenError::Replayed));
    }
}

#[test]
fn every_truncation_is_refused() {
    for profile in PROFILES {
        let (inbound, mut outbound) = (inbound(profile), outbound(profile));
        let (plain, header_len) = rtp(100, b"payload");
        let sealed = seal(&outbound, &plain, header_len, 0);
        for len in 0..sealed.len() {
            let opened = inbound.open_rtp(&mut ReceiveStream::new(), &mut sealed[..len].to_vec(), header_len);
            assert!(opened.is_err(), "{profile:?} {len}");
        }
        let sealed = seal_rtcp(&mut outbound, &rtcp(1));
        for len in 0..sealed.len() {
            assert!(
                inbound.open_rtcp(&mut RtcpReplay::new(), &mut sealed[..len].to_vec()).is_err(),
                "{profile:?} {len}"
            );
        }
    }
}

#[test]
fn too_little_room_or_a_wrong_header_is_an_error() {
    for profile in PROFILES {
        let mut outbound = outbound(profile);
        let (plain, header_len) = rtp(1, b"payload");
        for room in 0..outbound.rtp_overhead() {
            let mut packet = plain.clone();
            packet.resize(plain.len() + room, 0);
            assert_eq!(outbound.seal_rtp(&mut packet, header_len, plain.len(), 0), Err(SealError::Room));
        }
        let mut packet = [0x80; 100];
        for (header_len, plain_len) in [(0, 50), (11, 50), (51, 50), (12, usize::MAX), (usize::MAX, 50), (12, 100)] {
            assert_eq!(outbound.seal_rtp(&mut packet, header_len, plain_len, 0), Err(SealError::Room));
        }
        for plain_len in [0, 7, 90, usize::MAX] {
            assert_eq!(outbound.seal_rtcp(&mut packet, plain_len), Err(SealError::Room));
        }
    }
}

proptest! {
    #[test]
    fn payloads_of_any_length_come_back(payload in prop::collection::vec(any::<u8>(), 0..1300), sequence: u16, which in 0usize..3) {
        let profile = PROFILES[which];
        let (plain, header_len) = rtp(sequence, &payload);
        let mut sealed = seal(&outbound(profile), &plain, header_len, 0);
        let opened = inbound(profile).open_rtp(&mut ReceiveStream::new(), &mut sealed, header_len).unwrap();
        prop_assert_eq!(&sealed[..opened.len], plain.as_slice());
    }

    #[test]
    fn junk_is_refused_without_panic(mut junk in prop::collection::vec(any::<u8>(), 0..200), header_len in 0usize..220, which in 0usize..3) {
        let inbound = inbound(PROFILES[which]);
        prop_assert!(inbound.open_rtcp(&mut RtcpReplay::new(), &mut junk.clone()).is_err());
        prop_assert!(inbound.open_rtp(&mut ReceiveStream::new(), &mut junk.clone(), header_len).is_err());
        if let Ok(header) = RtpHeader::parse(&junk) {
            prop_assert!(inbound.open_rtp(&mut ReceiveStream::new(), &mut junk, header.header_len).is_err());
        }
    }
}
