//! Recorded offers of Chromium 156 and Firefox 153, one like Safari's, and bad ones.

use super::*;
use plausch_relay_api::limits::{SDP_LINE_BYTES, SDP_LINES, SDP_MEDIA_LINES};
use plausch_relay_api::{DtlsRole, Fingerprint, SlotId, SlotSpec, SlotStream, TrackKind};
use plausch_signalling::{Offer, Sends, SlotMids};
use proptest::prelude::*;
use std::fmt::Write;

fn fixture(name: &str) -> Offer {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

const FIXTURES: [&str; 8] = [
    "chromium-first",
    "chromium-grown",
    "chromium-plain",
    "chromium-audioData",
    "firefox-first",
    "firefox-grown",
    "firefox-plain",
    "firefox-audioData",
];

fn policy() -> CodecPolicy {
    CodecPolicy { video: vec![Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1], opus_dtx: true }
}

fn read(offer: &Offer) -> Result<RemoteOffer, SdpReason> {
    RemoteOffer::read(offer, &policy()).map_err(SdpError::reason)
}

fn answer(remote: &RemoteOffer) -> String {
    let stream = |mid: &Option<String>, ssrc| mid.as_ref().map(|mid| SlotStream::new(mid, ssrc));
    let slots: Vec<_> = (0u16..)
        .zip(&remote.slots)
        .map(|(n, lines)| {
            let ssrc = 1000 + 2 * u32::from(n);
            SlotSpec { slot: SlotId(n), audio: stream(&lines.audio, ssrc), video: stream(&lines.video, ssrc + 1) }
        })
        .collect();
    remote.answer(&LocalSide {
        session: 7,
        version: 1,
        ufrag: "ufragufrag12",
        pwd: "pwdpwdpwdpwdpwdpwdpwdpwd",
        fingerprint: Fingerprint::Sha256([0x0f; 32]),
        candidates: &["192.0.2.1:7882".parse().unwrap(), "[2001:db8::1]:7882".parse().unwrap()],
        slots: &slots,
    })
}

/// A small offer to be broken in one place: a microphone, a camera and a slot.
fn small() -> Offer {
    let mut sdp = String::from(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2 3\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n",
    );
    write!(sdp, "a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":")).unwrap();
    for (mid, kind, direction) in
        [(0, "audio", "sendonly"), (1, "video", "sendonly"), (2, "audio", "recvonly"), (3, "video", "recvonly")]
    {
        let (format, rtpmap) = if kind == "audio" { (111, "opus/48000/2") } else { (96, "VP8/90000") };
        write!(
            sdp,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n\
             a=rtpmap:{format} {rtpmap}\r\n"
        )
        .unwrap();
    }
    let sends = Sends { microphone: Some("0".into()), camera: Some("1".into()), ..Sends::default() };
    let slots = vec![SlotMids { audio: "2".into(), video: "3".into() }];
    Offer { id: 1, connection: 1, sdp, sends, slots }
}

#[test]
fn recorded_offers_are_understood() {
    for name in FIXTURES {
        let offer = fixture(name);
        let remote = read(&offer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(remote.slots.len(), offer.slots.len(), "{name}");
        for (lines, mids) in remote.slots.iter().zip(&offer.slots) {
            assert_eq!((lines.audio.as_ref(), lines.video.as_ref()), (Some(&mids.audio), Some(&mids.video)), "{name}");
        }
        assert!(remote.codecs.iter().any(|mapping| mapping.codec == Codec::Opus), "{name}");
        assert!(remote.codecs.iter().any(|mapping| mapping.codec == Codec::Vp8), "{name}");
        let ids = remote.extensions;
        assert!(ids.mid.is_some() && ids.audio_level.is_some() && ids.transport_cc.is_some(), "{name}: {ids:?}");
    }
}

#[test]
fn the_payload_types_and_tracks_of_chromium() {
    let remote = read(&fixture("chromium-first")).unwrap();
    let codecs: Vec<_> = remote.codecs.iter().map(|mapping| (mapping.codec, mapping.payload_type)).collect();
    // Packetization-mode 1 of each H.264 profile. High 4:4:4 is offered for receiving only, in lines that come later.
    assert_eq!(
        codecs,
        [
            (Codec::Opus, 111),
            (Codec::Vp8, 96),
            (Codec::Vp9, 98),
            (Codec::H264, 108),
            (Codec::H264Main, 116),
            (Codec::Av1, 45),
            (Codec::H264High444, 41),
        ]
    );
    let sends: Vec<_> = remote.sends.iter().map(|send| (send.kind, send.mid.as_str(), send.rids.join(";"))).collect();
    assert_eq!(
        sends,
        [
            (TrackKind::Microphone, "0", String::new()),
            (TrackKind::Camera, "1", "l;m;h".into()),
            (TrackKind::Screen, "2", String::new()),
            (TrackKind::ScreenAudio, "3", String::new()),
        ]
    );
    assert_eq!(remote.sends[0].ssrcs.len(), 1);
    assert_eq!(remote.sends[1].ssrcs, [] as [u32; 0], "layers are told apart by RID");
}

#[test]
fn firefox_names_retransmission_ssrcs_which_are_not_tracks() {
    let remote = read(&fixture("firefox-plain")).unwrap();
    let camera = remote.sends.iter().find(|send| send.kind == TrackKind::Camera).unwrap();
    assert_eq!(camera.ssrcs.len(), 1);
    let offer = fixture("firefox-plain");
    let group = offer.sdp.lines().find_map(|line| line.strip_prefix("a=ssrc-group:FID ")).unwrap();
    assert_eq!(group.split(' ').next().unwrap(), camera.ssrcs[0].to_string());
}

#[test]
fn an_answer_has_the_m_lines_of_the_offer() {
    for name in FIXTURES {
        let offer = fixture(name);
        let remote = read(&offer).unwrap();
        let answer = answer(&remote);
        assert!(answer.lines().all(|line| line.len() <= SDP_LINE_BYTES));
        let offered = parse::parse(&offer.sdp).unwrap();
        let answered = parse::parse(&answer).unwrap();
        assert_eq!(offered.media.len(), answered.media.len(), "{name}");
        for (theirs, ours) in offered.media.iter().zip(&answered.media) {
            assert_eq!(theirs.mid, ours.mid, "{name}");
            assert_eq!(theirs.kind, ours.kind, "{name}");
            if theirs.kind == "application" {
                assert_eq!(ours.port, 0, "{name}");
                assert!(!answered.bundle.contains(&ours.mid.unwrap()));
                continue;
            }
            assert!(answered.bundle.contains(&ours.mid.unwrap()));
            assert_ne!(ours.port, 0, "{name}");
            assert!(ours.rtcp_mux);
            assert_eq!(ours.transport.setup.map(|(setup, _)| setup), Some(parse::Setup::Passive));
            assert_eq!(theirs.direction.sends(), ours.direction.receives(), "{name}");
            assert_eq!(theirs.direction.receives(), ours.direction.sends(), "{name}");
            for payload in ours.payloads.iter() {
                assert_eq!(
                    theirs.payloads.get(payload.number).unwrap().rtpmap.to_lowercase().trim_end_matches("/1"),
                    payload.rtpmap.to_lowercase()
                );
            }
            for extension in &ours.extensions {
                let same = |other: &&parse::ExtMap<'_>| other.id == extension.id && other.uri == extension.uri;
                assert!(theirs.extensions.iter().any(|other| same(&other)), "{name}");
            }
        }
        assert_eq!(answered.transport.fingerprint, Some(Fingerprint::Sha256([0x0f; 32])));
    }
}

#[test]
fn an_answer_in_full() {
    let remote = read(&small()).unwrap();
    let expected = format!(
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1 2 3\r\n\
         a=ice-ufrag:ufragufrag12\r\na=ice-pwd:pwdpwdpwdpwdpwdpwdpwdpwd\r\na=fingerprint:sha-256 {}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=setup:passive\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\n\
         a=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host\r\na=end-of-candidates\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=setup:passive\r\na=rtcp-mux\r\n\
         a=rtpmap:96 VP8/90000\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sendonly\r\na=setup:passive\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n\
         a=msid:slot-0 slot-0-audio\r\na=ssrc:1000 cname:slot-0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:3\r\na=sendonly\r\na=setup:passive\r\na=rtcp-mux\r\n\
         a=rtpmap:96 VP8/90000\r\na=msid:slot-0 slot-0-video\r\na=ssrc:1001 cname:slot-0\r\n",
        ["0F"; 32].join(":")
    );
    assert_eq!(answer(&remote), expected);
}

/// Safari offers H.264 first, in constrained baseline and high, and one-byte extensions only.
#[test]
fn an_offer_like_safaris() {
    let mut offer = small();
    offer.sdp = offer.sdp.replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n\
         a=rtpmap:99 H264/90000\r\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:100 H264/90000\r\na=fmtp:100 level-asymmetry-allowed=1;profile-level-id=42e01f\r\n",
    );
    let order = CodecPolicy { video: vec![Codec::H264, Codec::Vp8], opus_dtx: false };
    let remote = RemoteOffer::read(&offer, &order).unwrap();
    let sdp = answer(&remote);
    assert!(sdp.contains("m=video 9 UDP/TLS/RTP/SAVPF 99 98 96\r\n"), "{sdp}");
    assert!(sdp.contains("a=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"));
    assert!(sdp.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
}

#[test]
fn extension_ids_are_those_of_one_byte_and_the_same_everywhere() {
    let mut offer = small();
    let mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
    for (line, id) in [("a=mid:0\r\n", "4"), ("a=mid:1\r\n", "5"), ("a=mid:2\r\n", "15"), ("a=mid:3\r\n", "4")] {
        offer.sdp = offer.sdp.replace(line, &format!("{line}a=extmap:{id} {mid}\r\n"));
    }
    let remote = read(&offer).unwrap();
    assert_eq!(remote.extensions.mid, Some(4));
    let sdp = answer(&remote);
    assert_eq!(sdp.matches("a=extmap:4 ").count(), 2);
    assert!(!sdp.contains("a=extmap:5 ") && !sdp.contains("a=extmap:15 "));
}

#[test]
fn what_cannot_be_used_is_refused() {
    let broken = |from: &str, to: &str| {
        let mut offer = small();
        assert!(offer.sdp.contains(from), "{from:?}");
        offer.sdp = offer.sdp.replacen(from, to, 1);
        read(&offer).err()
    };
    for (from, to, error) in [
        ("v=0", "v=1", SdpReason::Version),
        ("v=0\r\n", "", SdpReason::Version),
        ("s=-", "s-", SdpReason::Malformed),
        ("s=-", "s=\0", SdpReason::Malformed),
        ("s=-", "S=-", SdpReason::Malformed),
        ("m=audio 9", "m=audio 99999", SdpReason::Malformed),
        ("SAVPF 111", "SAVPF x", SdpReason::Malformed),
        ("SAVPF 111", "SAVPF", SdpReason::Malformed),
        ("a=mid:0", "a=mid:", SdpReason::Malformed),
        ("a=mid:0", "a=mid:01234567890123456", SdpReason::Malformed),
        ("a=mid:0", "a=mid:9", SdpReason::UnknownMid),
        ("a=mid:0", "a=mid:1", SdpReason::Kind),
        ("BUNDLE 0", "BUNDLE", SdpReason::Bundle),
        ("a=sendonly\r\na=rtcp-mux", "a=sendonly", SdpReason::RtcpMux),
        ("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP", SdpReason::Protocol),
        ("a=recvonly", "a=sendonly", SdpReason::Direction),
        ("opus/48000/2", "opus/8000", SdpReason::Codec),
        ("a=ice-ufrag:abcd\r\n", "", SdpReason::Ice),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:abc", SdpReason::Ice),
        ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:012345678901234567890 ", SdpReason::Ice),
        ("sha-256 AB:", "sha-256 ", SdpReason::Fingerprint),
        ("sha-256", "sha-1", SdpReason::Fingerprint),
        ("a=setup:actpass", "a=setup:holdconn", SdpReason::Setup),
        ("a=setup:actpass", "a=setup:actpass\r\na=ice-lite", SdpReason::BothLite),
        ("a=setup:actpass", "a=setup:xyz", SdpReason::Setup),
        ("a=mid:2", "a=mid:2\r\na=extmap:x y", SdpReason::Malformed),
    ] {
        assert_eq!(broken(from, to), Some(error), "{from:?} → {to:?}");
    }
    let twice = |change: fn(&mut Offer)| {
        let mut offer = small();
        change(&mut offer);
        read(&offer).err()
    };
    assert_eq!(twice(|offer| offer.slots[0].audio = "0".into()), Some(SdpReason::MidTwice));
    assert_eq!(twice(|offer| offer.sends.screen = Some("7".into())), Some(SdpReason::UnknownMid));
    assert_eq!(twice(|offer| offer.slots = vec![offer.slots[0].clone(); 51]), Some(SdpReason::Slots));
    assert_eq!(
        twice(|offer| offer.sdp.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:3\r\n")),
        Some(SdpReason::DuplicateMid)
    );
    assert_eq!(twice(|offer| offer.sdp.clear()), Some(SdpReason::Version));
}

#[test]
fn a_stopped_transceiver_and_unknown_lines_are_rejected_in_place() {
    let mut offer = small();
    offer.sdp = offer.sdp.replacen("m=video 9", "m=video 0", 1);
    offer.sdp.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\nm=text 9 RTP/AVP 98\r\n");
    let remote = read(&offer).unwrap();
    assert_eq!(remote.sends.len(), 1);
    let sdp = answer(&remote);
    assert!(sdp.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"));
    assert!(sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(sdp.ends_with("m=text 0 RTP/AVP 98\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"));
    assert!(sdp.contains("a=group:BUNDLE 0 2 3\r\n"));
}

#[test]
fn floods_are_cut_off() {
    let mut offer = small();
    offer.sdp.push_str(&"a=x\r\n".repeat(10_000));
    assert!(read(&offer).is_ok(), "ten thousand lines are a browser with 50 slots");
    offer.sdp.push_str(&"a=x\r\n".repeat(SDP_LINES));
    assert_eq!(read(&offer).err(), Some(SdpReason::Lines));
    let mut offer = small();
    offer.sdp.push_str(&format!("a={}\r\n", "x".repeat(SDP_LINE_BYTES)));
    assert_eq!(read(&offer).err(), Some(SdpReason::LineLength));
    let mut offer = small();
    offer.sdp.push_str(&"m=text 9 RTP/AVP 98\r\n".repeat(SDP_MEDIA_LINES));
    assert_eq!(read(&offer).err(), Some(SdpReason::MediaLines));
    // Whatever one m-line holds, what is kept of it stays small.
    let mut offer = small();
    for n in 0..5000 {
        write!(offer.sdp, "a=ssrc:{n} cname:x\r\na=ssrc-group:FID {n} {n}\r\n").unwrap();
    }
    let remote = read(&offer).unwrap();
    assert!(remote.remote_ssrcs().count() <= 16);
    let mut offer = small();
    for n in 0..5000 {
        write!(offer.sdp, "a=extmap:{n} urn:x\r\na=rid:r{n} send\r\n").unwrap();
    }
    assert!(read(&offer).is_ok());
}

/// What the RFCs let a client write, and browsers do not.
#[test]
fn unusual_offers_are_served() {
    let changed = |from: &str, to: &str| {
        let mut offer = small();
        assert!(offer.sdp.contains(from), "{from:?}");
        offer.sdp = offer.sdp.replacen(from, to, 1);
        offer
    };
    for (from, to) in [
        ("s=-", ""),
        ("s=-", "s=a\ttab"),
        ("t=0 0\r\n", "t=0 0\r\n\r\n   \r\n"),
        ("a=mid:0\r\n", "a=mid:0 \r\n"),
        ("opus/48000/2", "opus/48000"),
        ("opus/48000/2", "OPUS/48000/1"),
        ("opus/48000/2\r\n", "opus/48000/2 \r\n"),
        ("VP8/90000", "vp8/90000"),
        ("UDP/TLS/RTP/SAVPF 111", "UDP/TLS/RTP/SAVP 111"),
        ("UDP/TLS/RTP/SAVPF 111", "RTP/SAVPF 111"),
        ("m=audio 9 ", "m=audio 9/1 "),
        ("a=setup:actpass\r\n", ""),
        ("a=setup:actpass", "a=setup:active"),
        ("a=setup:actpass", "a=setup:passive"),
        ("sha-256", "SHA-256"),
        // A weak hash beside a good one.
        ("a=fingerprint", "a=fingerprint:sha-1 AB:CD\r\na=fingerprint"),
        // Only the first line of the group has to say how RTCP goes.
        ("a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n", "a=mid:1\r\na=sendonly\r\n"),
        ("m=video 9", "m=video 0"),
    ] {
        let mut offer = changed(from, to);
        if to == "m=video 0" {
            offer.sdp =
                offer.sdp.replacen("a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\n", "a=bundle-only\r\na=mid:1\r\n", 1);
        }
        let remote = read(&offer).unwrap_or_else(|error| panic!("{from:?} → {to:?}: {error}"));
        assert_eq!((remote.sends.len(), remote.slots.len()), (2, 1), "{from:?} → {to:?}");
        let sdp = answer(&remote);
        assert!(sdp.contains("opus/48000/2\r\n"), "{sdp}");
        let expected = if to == "a=setup:passive" { DtlsRole::Client } else { DtlsRole::Server };
        assert_eq!(remote.dtls_role, expected, "{to:?}");
        assert_eq!(sdp.contains("a=setup:active\r\n"), to == "a=setup:passive", "{sdp}");
    }
    let protocol = answer(&read(&changed("UDP/TLS/RTP/SAVPF 111", "RTP/SAVP 111")).unwrap());
    assert!(protocol.contains("m=audio 9 RTP/SAVP 111\r\n") && protocol.contains("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"));
}

#[test]
fn what_the_session_says_holds_for_its_m_lines() {
    let mut offer = small();
    let uri = "urn:ietf:params:rtp-hdrext:sdes:mid";
    offer.sdp = offer.sdp.replacen("a=setup", &format!("a=sendrecv\r\na=extmap:3 {uri}\r\na=setup"), 1);
    offer.sdp = offer.sdp.replace("a=sendonly\r\n", "");
    let remote = read(&offer).unwrap();
    assert_eq!(remote.sends.len(), 2, "a line without a direction has the session's");
    assert_eq!(remote.extensions.mid, Some(3));
    assert_eq!(answer(&remote).matches(&format!("a=extmap:3 {uri}")).count(), 4);
}

#[test]
fn one_medium_needs_no_group() {
    let mut offer = small();
    let end = offer.sdp.find("m=video").unwrap();
    offer.sdp.truncate(end);
    offer.sdp = offer.sdp.replace("a=group:BUNDLE 0 1 2 3\r\n", "");
    offer.sends.camera = None;
    offer.slots.clear();
    assert_eq!(read(&offer).unwrap().sends.len(), 1);
    offer
        .sdp
        .push_str("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n");
    offer.sends.camera = Some("1".into());
    assert_eq!(read(&offer).err(), Some(SdpReason::Bundle));
}

#[test]
fn the_strongest_fingerprint_counts() {
    let mut offer = small();
    let longer = |function: &str, len: usize| format!("a=fingerprint:{function} {}\r\n", vec!["0c"; len].join(":"));
    offer.sdp = offer.sdp.replacen("a=setup", &format!("{}{}a=setup", longer("sha-512", 64), longer("sha-384", 48)), 1);
    assert_eq!(read(&offer).unwrap().fingerprint, Fingerprint::Sha512([0x0c; 64]));
    for bad in [longer("sha-512", 63), longer("sha-384", 49), "a=fingerprint:sha-256\r\n".into()] {
        let mut offer = small();
        offer.sdp = offer.sdp.replacen("a=setup", &format!("{bad}a=setup"), 1);
        assert_eq!(read(&offer).err(), Some(SdpReason::Fingerprint), "{bad}");
    }
}

#[test]
fn profiles_of_h264_are_codecs_of_their_own() {
    let mut offer = small();
    offer.sdp = offer.sdp.replacen(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        "m=video 9 UDP/TLS/RTP/SAVPF 100 101 102 103 104 105\r\na=rtpmap:100 H264/90000\r\n\
         a=rtpmap:101 H264/90000\r\na=fmtp:101 profile-level-id=4d001f\r\n\
         a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=0;profile-level-id=64001f\r\n\
         a=rtpmap:103 H264/90000\r\na=fmtp:103 packetization-mode=1;profile-level-id=640c1f\r\n\
         a=rtpmap:104 H264/90000\r\na=fmtp:104 packetization-mode=2;profile-level-id=42e01f\r\n\
         a=rtpmap:105 H264/90000\r\na=fmtp:105 packetization-mode=1;profile-level-id=6e001f\r\n\
         a=rtcp-fb:* nack pli\r\n",
        1,
    );
    let remote = read(&offer).unwrap();
    let types: Vec<_> = remote.codecs.iter().map(|mapping| (mapping.codec, mapping.payload_type)).collect();
    assert_eq!(
        types,
        [(Codec::Opus, 111), (Codec::H264, 100), (Codec::H264Main, 101), (Codec::H264High, 103), (Codec::Vp8, 96),]
    );
    let sdp = answer(&remote);
    assert!(sdp.contains("a=fmtp:100 level-asymmetry-allowed=1;packetization-mode=0\r\n"), "{sdp}");
    assert!(sdp.contains("a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n"));
    assert_eq!(sdp.matches(" nack pli\r\n").count(), 3, "a wildcard is for all payload types: {sdp}");
}

#[test]
fn one_number_for_two_extensions_is_refused() {
    let mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    let with = |first: &str, second: &str| {
        let mut offer = small();
        offer.sdp = offer.sdp.replacen("a=mid:0\r\n", &format!("a=mid:0\r\n{first}\r\n"), 1);
        offer.sdp = offer.sdp.replacen("a=mid:1\r\n", &format!("a=mid:1\r\n{second}\r\n"), 1);
        RemoteOffer::read(&offer, &policy())
    };
    let error = with(&format!("a=extmap:4 {level}"), &format!("a=extmap:4 {mid}")).unwrap_err();
    assert_eq!(error.reason(), SdpReason::ExtensionConflict);
    assert!(!error.is_malformed());
    let text = error.to_string();
    assert!(text.contains("line 20") && text.contains(&format!("a=extmap:4 {mid}")), "{text}");
    assert!(with(&format!("a=extmap:4 {mid}"), &format!("a=extmap:4 {mid}")).is_ok());
}

#[test]
fn both_forms_of_extensions_may_be_mixed_where_it_is_offered() {
    let mut offer = small();
    assert!(!answer(&read(&offer).unwrap()).contains("extmap-allow-mixed"));
    offer.sdp = offer.sdp.replacen("a=mid:1\r\n", "a=mid:1\r\na=extmap-allow-mixed\r\n", 1);
    assert_eq!(answer(&read(&offer).unwrap()).matches("a=extmap-allow-mixed\r\n").count(), 1);
    let mut offer = small();
    offer.sdp = offer.sdp.replacen("a=group", "a=extmap-allow-mixed\r\na=group", 1);
    let sdp = answer(&read(&offer).unwrap());
    assert!(sdp.find("a=extmap-allow-mixed").unwrap() < sdp.find("m=audio").unwrap());
}

#[test]
fn an_error_names_line_value_and_remedy_but_not_in_logs() {
    let mut offer = small();
    offer.sdp = offer.sdp.replacen("a=ice-pwd:0123456789012345678901", "a=ice-pwd:geheim", 1);
    let error = RemoteOffer::read(&offer, &policy()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 7 (`a=ice-pwd:geheim`)") && text.contains("22 to 256"), "{text}");
    assert!(!format!("{error:?}").contains("geheim"));
    assert!(!error.reason().to_string().contains("geheim"));
    offer.sdp = small().sdp.replacen("s=-", &format!("s=\u{1b}[2J{}\0", "ü".repeat(80)), 1);
    let text = RemoteOffer::read(&offer, &policy()).unwrap_err().to_string();
    assert!(text.starts_with("line 3 (`s=\u{fffd}[2Jü") && text.len() < 250, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Recorded offers with lines removed, doubled and cut: an answer or an error, never a panic, and an answer is
    /// itself sound SDP.
    #[test]
    fn damaged_offers(
        name in prop::sample::select(&FIXTURES[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0u8..5, any::<prop::sample::Index>()), 1..6),
    ) {
        let mut offer = fixture(name);
        let mut lines: Vec<String> = offer.sdp.lines().map(str::to_owned).collect();
        for (place, kind, other) in damage {
            let (place, other) = (place.index(lines.len()), other.index(lines.len()));
            match kind {
                0 => drop(lines.remove(place)),
                1 => { let line = lines[other].clone(); lines.insert(place, line); }
                2 => { let at = other % (lines[place].len() + 1); if lines[place].is_char_boundary(at) { lines[place].truncate(at); } }
                3 => lines.swap(place, other),
                _ => lines[place].push_str("=:/; 9"),
            }
        }
        offer.sdp = lines.join("\r\n");
        if let Ok(remote) = read(&offer) {
            let answer = answer(&remote);
            prop_assert!(parse::parse(&answer).is_ok(), "{}", answer);
        }
    }

    #[test]
    fn any_text(sdp in "(v=0\r\n)?([a-z]=\\PC{0,20}\r?\n){0,20}") {
        let _ = read(&Offer { sdp, ..small() });
    }
}
