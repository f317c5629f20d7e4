//! Truncated, forged, replayed, oversized and out-of-order input at the engine: each a counted drop, no panic, and no
//! state of anybody who has not proved a password. The classes are those of the project's security design.
#![allow(clippy::unwrap_used)]

use plausch_engine::counters::CounterKind;
use plausch_engine::{Counters, DtlsInput, Effect, EngineCommand, Path, RxPacket, Time, TxBatch};
use plausch_relay_api::TrackKind;
use plausch_relay_api::limits::{
    DATAGRAM_BYTES, HANDSHAKE_DATAGRAMS, RETRANSMISSIONS_PER_SECOND, SSRCS_PER_PARTICIPANT, TUPLES_PER_PARTICIPANT,
};
use plausch_tests::fuzz::engine::{PUBLISHER, SUBSCRIBER, meeting};
use plausch_tests::media::{self, Label, Picture, StreamId};
use plausch_tests::random::Random;
use plausch_tests::sim::client::{FINISHED, HELLO, record};
use plausch_tests::sim::session::random_keys;
use plausch_tests::sim::world::World;
use plausch_tests::wire::rtcp::Rtcp;
use plausch_tests::wire::rtp::RtpPacket;
use plausch_tests::wire::stun::{Check, Reply, decode_reply};
use std::time::Duration;
use stun::message::Setter;

/// A publisher and a subscriber who are connected, and somebody who is not.
struct Scene {
    world: World,
    tx: TxBatch,
    stranger: Path,
}

type Changed = Vec<(&'static str, u64)>;
type Sent = Vec<(Path, Vec<u8>)>;

impl Scene {
    fn new() -> Self {
        let mut world = meeting();
        let stranger = world.hostile_path();
        Self { world, tx: TxBatch::new(8 << 20, 8192), stranger }
    }

    fn counters(&self) -> Counters {
        *self.world.engine.counters()
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let gauges = self.counters().entries().filter(|entry| entry.kind == CounterKind::Gauge).collect::<Vec<_>>();
        gauges.into_iter().map(|entry| (entry.name, entry.value)).collect()
    }

    /// Counters that changed with these datagrams, and what was sent.
    fn send_all(&mut self, path: Path, datagrams: &mut [Vec<u8>]) -> (Changed, Sent) {
        let before = self.counters();
        let mut rx: Vec<RxPacket<'_>> = datagrams.iter_mut().map(|data| RxPacket { path, data }).collect();
        self.world.engine.handle_batch(self.world.now, &mut rx, &mut self.tx);
        let sent = self.tx.datagrams().map(|(path, datagram)| (path, datagram.to_vec())).collect();
        self.tx.clear();
        let after = self.counters();
        let changed = before.entries().zip(after.entries()).filter(|(before, after)| before.value != after.value);
        let unimportant = ["received_packets", "received_bytes"];
        let changed = changed.filter(|(_, after)| !unimportant.contains(&after.name));
        (changed.map(|(before, after)| (after.name, after.value.wrapping_sub(before.value))).collect(), sent)
    }

    fn send(&mut self, path: Path, datagram: &[u8]) -> (Changed, Sent) {
        self.send_all(path, &mut [datagram.to_vec()])
    }

    /// The datagram is dropped for this reason, and nothing else happens.
    #[track_caller]
    fn drops(&mut self, path: Path, datagram: &[u8], reason: &'static str) {
        let gauges = self.gauges();
        let (changed, sent) = self.send(path, datagram);
        assert_eq!(changed, [(reason, 1)]);
        assert!(sent.is_empty(), "a dropped datagram was answered");
        assert_eq!(self.gauges(), gauges);
        assert!(self.world.engine.poll_effect().is_none(), "a dropped datagram made work");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.now = end.min(self.world.engine.poll_timeout().max(self.world.now + Duration::from_millis(1)));
            self.world.engine.handle_timeout(self.world.now, &mut self.tx);
            self.tx.clear();
        }
        while self.world.engine.poll_effect().is_some() {}
    }

    fn path(&self) -> Path {
        self.world.clients[&PUBLISHER].path
    }

    fn check(&self) -> Check {
        let ice = &self.world.clients[&PUBLISHER].setup.ice().unwrap();
        Check {
            transaction: *b"bad-input-01",
            username: format!("{}:{}", ice.local_ufrag, ice.remote_ufrag),
            password: ice.local_pwd.reveal().to_owned(),
            use_candidate: true,
            controlling: true,
        }
    }

    /// A packet of the publisher's, in the clear.
    fn packet(&self, track: TrackKind, sequence: u16, key_frame: bool) -> RtpPacket {
        let setup = &self.world.clients[&PUBLISHER].setup;
        let stream = setup.streams.iter().find(|stream| stream.track == track).unwrap();
        let spec = &setup.spec;
        let label = Label {
            stream: StreamId {
                room: spec.room,
                participant: spec.participant,
                generation: spec.generation,
                track,
                layer: 0,
            },
            counter: 0,
            frame: u32::from(sequence),
            key_frame,
            first_of_frame: true,
            last_of_frame: true,
            captured: 0,
            timestamp: 0,
        };
        let codec = setup.codec(track);
        let picture = Picture { id: sequence & 0x7fff, tl0_index: sequence as u8 };
        RtpPacket {
            payload_type: setup.mapping(codec).unwrap().payload_type,
            marker: true,
            sequence,
            timestamp: u32::from(sequence) * 3000,
            ssrc: stream.ssrc,
            extensions: vec![(spec.extensions.mid.unwrap(), stream.mid.clone().into_bytes())],
            payload: media::payload(codec, setup.vp8, picture, &label, 40),
            padding: 0,
        }
    }

    fn seal(&mut self, packet: &RtpPacket) -> Vec<u8> {
        self.world.clients.get_mut(&PUBLISHER).unwrap().session.try_seal_rtp(&packet.encode()).unwrap()
    }

    fn audio(&mut self, sequence: u16) -> Vec<u8> {
        let packet = self.packet(TrackKind::Microphone, sequence, false);
        self.seal(&packet)
    }

    fn rtcp(&mut self, id: plausch_relay_api::ParticipantId, compound: &[Rtcp]) -> Vec<u8> {
        let mut plain = Vec::new();
        compound.iter().for_each(|rtcp| rtcp.encode(&mut plain));
        self.world.clients.get_mut(&id).unwrap().session.try_seal_rtcp(&plain).unwrap()
    }
}

fn value(changed: &[(&'static str, u64)], name: &str) -> u64 {
    changed.iter().find(|(other, _)| *other == name).map_or(0, |(_, value)| *value)
}

/// Puts FINGERPRINT behind a message whose length field is not right yet.
fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let len = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let fingerprint = stun::fingerprint::fingerprint_value(&message);
    message.extend_from_slice(&[0x80, 0x28, 0, 4]);
    message.extend_from_slice(&fingerprint.to_be_bytes());
    message
}

/// FINGERPRINT is the last attribute: eight bytes.
fn without_fingerprint(message: &[u8]) -> Vec<u8> {
    message[..message.len() - 8].to_vec()
}

#[test]
fn what_is_no_protocol_of_ours_is_dropped() {
    let mut scene = Scene::new();
    for path in [scene.stranger, scene.path()] {
        scene.drops(path, &[], "drop_unknown_protocol");
        scene.drops(path, &[15; 60], "drop_unknown_protocol");
        scene.drops(path, &[200; 60], "drop_unknown_protocol");
        scene.drops(path, &[0x40, 0, 0, 4, 1, 2, 3, 4], "drop_turn_channel");
        scene.drops(path, &[0x80; DATAGRAM_BYTES + 1], "drop_oversized");
    }
}

#[test]
fn stun_that_is_cut_or_lies_about_lengths_is_dropped() {
    let mut scene = Scene::new();
    let good = scene.check().encode();
    for len in 1..good.len() {
        scene.drops(scene.stranger, &good[..len], "drop_stun_malformed");
    }
    let mut longer = good.clone();
    longer.extend_from_slice(&[0; 4]);
    scene.drops(scene.stranger, &longer, "drop_stun_malformed");
    // Attribute lengths up to the point where adding padding wraps 16 bits.
    for length in [0x0100_u16, 0x7fff, 0xfffc, 0xffff] {
        let mut wrong = good.clone();
        wrong[22..24].copy_from_slice(&length.to_be_bytes());
        scene.drops(scene.stranger, &wrong, "drop_stun_malformed");
    }
    for (at, byte) in [(4, 0x22), (0, 0x01), (1, 0x11)] {
        let mut wrong = good.clone();
        wrong[at] = byte;
        let (changed, sent) = scene.send(scene.stranger, &wrong);
        assert_eq!((value(&changed, "stun_checks"), sent.len()), (0, 0), "byte {at}: {changed:?}");
    }
}

#[test]
fn stun_without_the_right_password_is_dropped() {
    let mut scene = Scene::new();
    let good = scene.check().encode();
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    scene.drops(scene.stranger, &wrong, "drop_stun_fingerprint");
    scene.drops(scene.stranger, &with_len(without_fingerprint(&good)), "drop_stun_fingerprint");
    let forged = Check { password: "somebody else's password".into(), ..scene.check() };
    scene.drops(scene.stranger, &forged.encode(), "drop_stun_integrity");
    // Without MESSAGE-INTEGRITY (24 bytes), with a right FINGERPRINT.
    let bare = without_fingerprint(&good);
    scene.drops(scene.stranger, &with_fingerprint(bare[..bare.len() - 24].to_vec()), "drop_stun_integrity");
    for username in ["nobody:them", "", ":", "no colon"] {
        let stranger = Check { username: username.into(), ..scene.check() };
        scene.drops(scene.stranger, &stranger.encode(), "drop_stun_unknown_user");
    }
    let mut name = scene.check();
    name.username = "x".repeat(700);
    scene.drops(scene.stranger, &name.encode(), "drop_stun_unknown_user");
}

fn with_len(mut message: Vec<u8>) -> Vec<u8> {
    let len = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    message
}

#[test]
fn what_stands_behind_the_integrity_is_not_believed() {
    let mut scene = Scene::new();
    let check = Check { use_candidate: false, ..scene.check() };
    let mut message = without_fingerprint(&check.encode());
    // USE-CANDIDATE, which nobody has signed.
    message.extend_from_slice(&[0, 0x25, 0, 0]);
    let elsewhere = scene.world.fresh_path(PUBLISHER);
    let (changed, sent) = scene.send(elsewhere, &with_fingerprint(message));
    assert_eq!(value(&changed, "path_changes"), 0, "an unsigned nomination moved the media: {changed:?}");
    let checks: Vec<_> = sent.iter().filter(|(_, datagram)| datagram.starts_with(&[0, 1])).cloned().collect();
    assert!(sent.len() - checks.len() <= 1 && checks.len() == 1, "an answer, and a check of that path");
    let (changed, _) = scene.send(elsewhere, &scene.check().encode());
    assert_eq!(value(&changed, "path_changes"), 0, "the signed one waits for the answer");
    let (now, client) = (scene.world.now, scene.world.clients.get_mut(&PUBLISHER).unwrap());
    let answer = client.receive(now, elsewhere, elsewhere.remote, &checks[0].1).unwrap().unwrap();
    let (changed, _) = scene.send(elsewhere, &answer.bytes);
    assert_eq!(value(&changed, "path_changes"), 1, "and moves it then");
}

#[test]
fn unknown_attributes_and_role_conflicts_are_answered_with_errors() {
    let mut scene = Scene::new();
    let check = scene.check();
    let mut message = stun::message::Message::new();
    message.raw = check.encode();
    message.decode().unwrap();
    let mut unknown = stun::message::Message::new();
    unknown.typ = message.typ;
    unknown.transaction_id = message.transaction_id;
    unknown.write_header();
    unknown.add(stun::attributes::ATTR_USERNAME, check.username.as_bytes());
    unknown.add(stun::attributes::AttrType(0x7abc), b"what is this");
    stun::integrity::MessageIntegrity::new_short_term_integrity(check.password.clone()).add_to(&mut unknown).unwrap();
    stun::fingerprint::FINGERPRINT.add_to(&mut unknown).unwrap();
    let gauges = scene.gauges();
    for (request, code) in [(unknown.raw, 420), (Check { controlling: false, ..check.clone() }.encode(), 487)] {
        let (_, sent) = scene.send(scene.stranger, &request);
        assert_eq!(sent.len(), 1);
        let reply = decode_reply(&sent[0].1, &check.password).unwrap();
        assert!(matches!(reply, Reply::Error { code: told, .. } if told == code), "{reply:?}");
        assert_eq!(scene.gauges(), gauges, "an error leaves nothing behind");
    }
}

#[test]
fn a_flood_of_checks_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let gauges = scene.gauges();
    let mut random = Random::new(1);
    for _ in 0..2_000 {
        let path = scene.world.hostile_path();
        let username = format!("{}:{}", random.ice_chars(8), random.ice_chars(4));
        let datagram = Check { username, ..scene.check() }.encode();
        let (_, sent) = scene.send(path, &datagram);
        assert!(sent.is_empty());
    }
    assert_eq!(scene.gauges(), gauges);
    // Somebody with the password and many addresses: a handful of tuples.
    for _ in 0..200 {
        let path = scene.world.fresh_path(PUBLISHER);
        scene.send(path, &scene.check().encode());
    }
    assert!(scene.counters().tuples <= (2 * TUPLES_PER_PARTICIPANT) as u64);
}

#[test]
fn dtls_waits_for_a_check() {
    let mut scene = Scene::new();
    for word in HELLO.into_iter().chain([FINISHED]) {
        scene.drops(scene.stranger, &record(word), "drop_dtls_unchecked");
    }
    scene.drops(scene.stranger, &[22], "drop_dtls_unchecked");
}

#[test]
fn dtls_has_a_limit_and_keys_come_once() {
    let mut scene = Scene::new();
    let path = scene.path();
    // Long after the handshake: repeated, reordered and cut flights.
    let mut handed_on = 0;
    for n in 0..4 * HANDSHAKE_DATAGRAMS {
        let hello = record(HELLO[(n as usize + 1) % 2]);
        scene.send(path, &hello[..1 + n as usize % hello.len()]);
        while let Some(effect) = scene.world.engine.poll_effect() {
            handed_on += u32::from(matches!(effect, Effect::Dtls { .. }));
        }
    }
    assert!((1..=2 * HANDSHAKE_DATAGRAMS).contains(&handed_on), "{handed_on}");
    assert!(scene.counters().drop_dtls_limit > 0);
    assert_eq!(scene.counters().handshakes, 0);

    // Other keys for a session that has keys would begin its sequence numbers anew under them.
    let profile = scene.world.clients[&PUBLISHER].setup.profile;
    let keys = random_keys(&mut Random::new(3), profile);
    let input = DtlsInput::Keys(keys);
    let again = EngineCommand::Dtls { participant: PUBLISHER, generation: 1, input };
    scene.world.engine.handle_command(scene.world.now, again, &mut scene.tx).unwrap();
    assert!(scene.world.engine.poll_effect().is_none(), "connected twice");
    let sealed = scene.audio(1);
    let (changed, sent) = scene.send(path, &sealed);
    assert_eq!((value(&changed, "rtp_forwarded"), sent.len()), (1, 1), "the first keys are still good: {changed:?}");
}

#[test]
fn media_of_strangers_and_before_keys_is_dropped() {
    let mut scene = Scene::new();
    let sealed = scene.audio(1);
    let report = scene.rtcp(PUBLISHER, &[Rtcp::ReceiverReport { ssrc: 1, blocks: Vec::new() }]);
    scene.drops(scene.stranger, &sealed, "drop_srtp_unchecked");
    scene.drops(scene.stranger, &report, "drop_srtp_unchecked");
    // A third browser has passed a check and has no keys.
    let mut random = Random::new(8);
    let mut setup = scene.world.clients[&PUBLISHER].setup.clone();
    setup.spec.participant = plausch_relay_api::ParticipantId(9);
    *setup.spec.transport.ice_mut().unwrap() = plausch_tests::sim::setup::ice_parameters(&mut random);
    scene.world.put(&setup).unwrap();
    let ice = setup.ice().unwrap().clone();
    let path = scene.world.hostile_path();
    let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
    let check = Check { username, password: ice.local_pwd.into_revealed(), ..scene.check() };
    let (changed, _) = scene.send(path, &check.encode());
    assert_eq!(value(&changed, "stun_checks"), 1);
    scene.drops(path, &sealed, "drop_srtp_no_keys");
    scene.drops(path, &report, "drop_srtp_no_keys");
}

#[test]
fn forged_and_cut_srtp_opens_nothing() {
    let mut scene = Scene::new();
    let path = scene.path();
    let first = scene.audio(10);
    assert_eq!(value(&scene.send(path, &first).0, "rtp_forwarded"), 1);
    let sealed = scene.audio(11);
    let gauges = scene.gauges();
    for at in 0..sealed.len() {
        let mut forged = sealed.clone();
        forged[at] ^= 0x04;
        let (changed, sent) = scene.send(path, &forged);
        let opened = value(&changed, "rtp_received") + value(&changed, "rtcp_received");
        assert_eq!((opened, sent.len()), (0, 0), "byte {at} was changed: {changed:?}");
        assert!(changed.iter().all(|(name, n)| name.starts_with("drop_") && *n == 1), "{changed:?}");
    }
    for len in 1..sealed.len() {
        let (changed, sent) = scene.send(path, &sealed[..len]);
        assert!(sent.is_empty() && value(&changed, "rtp_received") == 0, "{len} bytes: {changed:?}");
    }
    assert_eq!(scene.gauges(), gauges);
    // None of it has moved the window: the genuine one still opens, once.
    assert_eq!(value(&scene.send(path, &sealed).0, "rtp_forwarded"), 1);
    scene.drops(path, &sealed, "drop_srtp_replayed");
}

#[test]
fn replays_are_seen_across_the_wrap_of_the_sequence() {
    let mut scene = Scene::new();
    let path = scene.path();
    // From the lower half up to the wrap, in steps that a receiver can follow.
    for sequence in [20_000_u16, 45_000, 65_000] {
        let sealed = scene.audio(sequence);
        scene.send(path, &sealed);
    }
    let mut around: Vec<Vec<u8>> = (0..40_u16).map(|n| scene.audio(65_516_u16.wrapping_add(n))).collect();
    // The last before the wrap comes after the first ones behind it.
    around.swap(19, 22);
    for sealed in &around {
        let (changed, sent) = scene.send(path, sealed);
        assert_eq!((value(&changed, "rtp_forwarded"), sent.len()), (1, 1), "{changed:?}");
    }
    for sealed in &around {
        scene.drops(path, sealed, "drop_srtp_replayed");
    }
    let next = scene.audio(20);
    assert_eq!(value(&scene.send(path, &next).0, "rtp_forwarded"), 1);
}

#[test]
fn ssrcs_that_nobody_announced_take_no_place() {
    let mut scene = Scene::new();
    let path = scene.path();
    let template = scene.packet(TrackKind::Microphone, 1, false);
    let gauges = scene.gauges();
    for n in 0..200 {
        let packet = RtpPacket { ssrc: 0xabc0_0000 + n, extensions: Vec::new(), ..template.clone() };
        let sealed = scene.seal(&packet);
        scene.drops(path, &sealed, "drop_rtp_unknown_ssrc");
    }
    assert_eq!(scene.gauges(), gauges);
    // With a MID, as a browser that changes its SSRC all the time.
    for n in 0..200 {
        let packet = RtpPacket { ssrc: 0xabd0_0000 + n, ..template.clone() };
        let sealed = scene.seal(&packet);
        scene.send(path, &sealed);
        assert!(scene.counters().ssrcs <= SSRCS_PER_PARTICIPANT as u64);
    }
    assert!(scene.counters().drop_rtp_ssrc_limit > 0);
    // Repair and payloads that were not negotiated, of somebody else.
    let mut scene = Scene::new();
    let mut used: Vec<u8> =
        scene.world.clients[&PUBLISHER].setup.spec.codecs.iter().map(|it| it.payload_type).collect();
    used.sort_unstable();
    let free = (96..128).find(|number| used.binary_search(number).is_err()).unwrap();
    let packet = RtpPacket { payload_type: free, ..template };
    let sealed = scene.seal(&packet);
    let (changed, sent) = scene.send(path, &sealed);
    assert_eq!((value(&changed, "drop_rtp_payload_type"), sent.len()), (1, 0), "{changed:?}");
}

#[test]
fn genuine_packets_that_do_not_hold_together_are_dropped() {
    let mut scene = Scene::new();
    let path = scene.path();
    let good = scene.packet(TrackKind::Camera, 1, true);
    let sealed = scene.seal(&good);
    assert_eq!(value(&scene.send(path, &sealed).0, "rtp_forwarded"), 1);
    for (sequence, padding) in [(2_u16, 0_u8), (3, 255)] {
        // The padding bit, and a last byte that says nothing or more than there is.
        let mut plain = RtpPacket { sequence, ..good.clone() }.encode();
        plain[0] |= 0x20;
        *plain.last_mut().unwrap() = padding;
        plain.truncate(100);
        *plain.last_mut().unwrap() = padding;
        let sealed = scene.world.clients.get_mut(&PUBLISHER).unwrap().session.try_seal_rtp(&plain).unwrap();
        let (changed, sent) = scene.send(path, &sealed);
        assert_eq!((value(&changed, "drop_rtp_malformed"), sent.len()), (1, 0), "padding {padding}: {changed:?}");
    }
    // Descriptors that end early, no payload at all, jumps of sequence and time: whatever comes out, no panic.
    let shapes = [vec![], vec![0x90], vec![0x90, 0xf0], vec![0x90, 0xf0, 0x92], vec![0x10], vec![0xff; 9]];
    for (n, payload) in (0..).zip(shapes) {
        let timestamp = 0xffff_ff00_u32.wrapping_mul(n);
        let packet = RtpPacket { sequence: 100 + 9_000 * n as u16, timestamp, payload, ..good.clone() };
        let sealed = scene.seal(&packet);
        let (changed, _) = scene.send(path, &sealed);
        assert_eq!(value(&changed, "rtp_received"), 1, "{changed:?}");
    }
    let key = RtpPacket { sequence: 60_000, ..scene.packet(TrackKind::Camera, 9, true) };
    let sealed = scene.seal(&key);
    assert_eq!(value(&scene.send(path, &sealed).0, "rtp_forwarded"), 1, "the call goes on");
}

#[test]
fn rtcp_that_does_not_hold_together_is_dropped() {
    let mut scene = Scene::new();
    let path = scene.path();
    let report = Rtcp::ReceiverReport { ssrc: 1, blocks: Vec::new() };
    let mut plain = Vec::new();
    report.encode(&mut plain);
    let mut too_long = plain.clone();
    too_long.extend_from_slice(&[0x81, 206, 0, 200, 0, 0, 0, 1]);
    let mut cut = plain.clone();
    cut.extend_from_slice(&[0x81, 206]);
    let mut counts = plain.clone();
    // 31 report blocks in eight bytes.
    counts.extend_from_slice(&[0x9f, 201, 0, 1, 0, 0, 0, 1]);
    let mut bye = plain.clone();
    bye.extend_from_slice(&[0x81, 203, 0, 2, 0, 0, 0, 1, 255, b'a', b'b', b'c']);
    let mut nack = plain;
    // A NACK without room for its SSRCs.
    nack.extend_from_slice(&[0x81, 205, 0, 1, 0, 0, 0, 1]);
    for (name, plain) in [("too long", too_long), ("cut", cut), ("counts", counts), ("nack", nack)] {
        let sealed = scene.world.clients.get_mut(&PUBLISHER).unwrap().session.try_seal_rtcp(&plain).unwrap();
        let (changed, sent) = scene.send(path, &sealed);
        assert_eq!((value(&changed, "drop_rtcp_malformed"), sent.len()), (1, 0), "{name}: {changed:?}");
        scene.drops(path, &sealed, "drop_srtp_replayed");
    }
    let sealed = scene.world.clients.get_mut(&PUBLISHER).unwrap().session.try_seal_rtcp(&bye).unwrap();
    let (_, sent) = scene.send(path, &sealed);
    assert!(sent.is_empty());
    let good = scene.rtcp(PUBLISHER, &[report]);
    for at in 0..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 0x40;
        let (changed, sent) = scene.send(path, &forged);
        let opened = value(&changed, "rtp_received") + value(&changed, "rtcp_received");
        assert_eq!((opened, sent.len()), (0, 0), "byte {at}: {changed:?}");
    }
    assert_eq!(value(&scene.send(path, &good).0, "rtcp_received"), 1);
    // Senders without end: each has a replay window, so there is a limit.
    for sender in 0..1_000 {
        let sealed = scene.rtcp(PUBLISHER, &[Rtcp::ReceiverReport { ssrc: 0x5000 + sender, blocks: Vec::new() }]);
        scene.send(path, &sealed);
    }
    assert!(scene.counters().drop_rtcp_sender_limit > 0);
}

#[test]
fn feedback_about_nothing_and_storms_of_feedback_are_bounded() {
    let mut scene = Scene::new();
    let path = scene.path();
    for n in 0..20 {
        let packet = scene.packet(TrackKind::Camera, n, n == 0);
        let sealed = scene.seal(&packet);
        scene.send(path, &sealed);
    }
    let subscriber = scene.world.clients[&SUBSCRIBER].path;
    let impossible = Rtcp::Twcc { sender: 1, media: 2, body: vec![0, 10, 0xff, 0xff, 0, 0, 1, 9, 0x3f, 0xff, 0, 0] };
    let about_nothing = [
        Rtcp::ReceiverReport { ssrc: 1, blocks: Vec::new() },
        Rtcp::Pli { sender: 1, media: 0xdead },
        Rtcp::Fir { sender: 1, entries: vec![(0xdead, 1)] },
        Rtcp::Nack { sender: 1, media: 0xdead, lost: vec![1, 2, 3] },
    ];
    let sealed = scene.rtcp(SUBSCRIBER, &about_nothing);
    let (changed, sent) = scene.send(subscriber, &sealed);
    assert_eq!((value(&changed, "drop_rtcp_unknown_ssrc"), sent.len()), (3, 0), "{changed:?}");
    let sealed = scene.rtcp(SUBSCRIBER, &[impossible]);
    let (_, sent) = scene.send(subscriber, &sealed);
    assert!(sent.is_empty());

    // A second of requests for everything: what goes out has a budget, the publisher is asked at its pace.
    scene.pass(Duration::from_secs(1));
    let media = scene.world.clients[&SUBSCRIBER].setup.spec.slots[0].video.as_ref().unwrap().ssrc;
    let lost: Vec<u16> = (0..=u16::MAX).step_by(17).flat_map(|first| [first, first.wrapping_add(1)]).collect();
    let before = scene.counters();
    let began = scene.world.now;
    for _ in 0..100 {
        for lost in lost.chunks(500) {
            let storm = [Rtcp::Nack { sender: 1, media, lost: lost.to_vec() }, Rtcp::Pli { sender: 1, media }];
            let sealed = scene.rtcp(SUBSCRIBER, &storm);
            scene.send(subscriber, &sealed);
        }
        scene.pass(Duration::from_millis(10));
    }
    let after = scene.counters();
    let seconds = scene.world.now.since(began).as_secs() + 2;
    let retransmitted = after.rtp_retransmitted - before.rtp_retransmitted;
    assert!(retransmitted <= u64::from(RETRANSMISSIONS_PER_SECOND) * seconds, "{retransmitted}");
    let asked = after.keyframe_requests_sent - before.keyframe_requests_sent;
    assert!((1..=2 * seconds + 1).contains(&asked), "{asked} key frames asked for");
    assert!(after.keyframe_requests_received - before.keyframe_requests_received >= 1_000);
    assert_ne!(scene.world.engine.poll_timeout(), Time(0));
}
