//! Forwarding makes no allocation once a room has warmed up, with and without TURN between.

use crate::turn::{Bench, Caller, channel_data};
use plausch_allocation_count::live_bytes;
use plausch_engine::rtp::{Extension, HeaderFields, write_header};
use plausch_engine::srtp::{MAX_RTP_OVERHEAD, Outbound, Profile};
use plausch_engine::stun::{Class, IceRole, IntegrityKey, MessageWriter, Method, TransactionId};
use plausch_engine::{
    DtlsInput, Engine, EngineCommand, EngineConfig, LocalSocket, Path, RxPacket, SessionKeys, Time, TxBatch,
};
use plausch_relay_api::*;
use std::time::Duration;

const MEMBERS: u64 = 8;
const PASSWORD: &str = "a-password-of-enough-characters";

fn path(id: u64) -> Path {
    Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], 1_000 + id as u16).into() }
}

fn spec(id: u64, room: RoomId) -> ParticipantSpec {
    let slot = |slot: u16| {
        SlotSpec::both(
            SlotId(slot),
            SlotStream::new(format!("a{slot}"), 0x1000 + u32::from(slot)),
            SlotStream::new(format!("v{slot}"), 0x2000 + u32::from(slot)),
        )
    };
    let send = |kind, mid: &str, ssrc| SendTrack { kind, mid: mid.into(), ssrcs: vec![ssrc], rids: vec![] };
    ParticipantSpec {
        participant: ParticipantId(id),
        room,
        shard: ShardId(0),
        generation: 1,
        transport: Transport::browser(
            IceParameters {
                local_ufrag: format!("ufrag-{id}"),
                local_pwd: IcePassword::new(PASSWORD),
                remote_ufrag: "them".into(),
                remote_pwd: IcePassword::new(PASSWORD),
                mode: Default::default(),
            },
            Fingerprint::Sha256([0; 32]),
        ),
        codecs: vec![
            CodecMapping { codec: Codec::Opus, payload_type: 111, rtx_payload_type: None },
            CodecMapping { codec: Codec::Vp8, payload_type: 96, rtx_payload_type: None },
        ],
        extensions: ExtensionIds { mid: Some(4), audio_level: Some(1), transport_cc: Some(3), ..Default::default() },
        sends: vec![send(TrackKind::Microphone, "0", 100), send(TrackKind::Camera, "1", 101)],
        slots: (0..MEMBERS as u16).map(slot).collect(),
        note: Default::default(),
    }
}

fn keys(id: u64, profile: Profile) -> SessionKeys {
    SessionKeys {
        profile,
        remote_key: vec![id as u8; profile.key_len()],
        local_key: vec![!(id as u8); profile.key_len()],
        remote_salt: vec![id as u8; profile.salt_len()],
        local_salt: vec![!(id as u8); profile.salt_len()],
    }
}

fn check(id: u64) -> Vec<u8> {
    let mut buffer = vec![0; 300];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([id as u8; 12]));
    let len = writer
        .username(format!("ufrag-{id}:them").as_bytes())
        .ice_role(IceRole::Controlling(1))
        .use_candidate()
        .integrity(&IntegrityKey::short_term(PASSWORD.as_bytes()))
        .fingerprint()
        .finish()
        .unwrap();
    buffer.truncate(len);
    buffer
}

/// The answer to the engine's check in `tx`: the last datagram, whatever it is wrapped in.
fn answer(tx: &TxBatch) -> Vec<u8> {
    let (_, last) = tx.datagrams().last().unwrap();
    let start = last.windows(2).position(|kind| kind == [0, 1]).unwrap();
    let id = last[start + 8..start + 20].try_into().unwrap();
    let mut buffer = vec![0; 300];
    let mut writer = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(id));
    let len = writer.integrity(&IntegrityKey::short_term(PASSWORD.as_bytes())).fingerprint().finish().unwrap();
    buffer.truncate(len);
    buffer
}

/// Twenty milliseconds of one member: an audio packet and three of video, sealed.
fn moment(sender: &Outbound, n: u32) -> Vec<Vec<u8>> {
    (0..4u32)
        .map(|part| {
            let (ssrc, payload_type, sequence, len) =
                if part == 0 { (100, 111, n, 80) } else { (101, 96, n * 3 + part, 1_100) };
            let mut packet = vec![0x11; 1_300];
            let fields =
                HeaderFields { marker: part == 3, payload_type, sequence: sequence as u16, timestamp: n * 960, ssrc };
            let twcc = (n * 4 + part) as u16;
            let (twcc, level) = (twcc.to_be_bytes(), [127]);
            let extensions = [Extension { id: 3, value: &twcc }, Extension { id: 1, value: &level }];
            let header = write_header(&mut packet, &fields, &extensions).unwrap();
            // A VP8 descriptor with picture id; the first frame is a key frame.
            let key = if n == 0 { 0x10 } else { 0x11 };
            let start = if part == 1 { 0x90 } else { 0x80 };
            packet[header..header + 6].copy_from_slice(&[start, 0x80, 0x80, n as u8, key, 0]);
            packet.truncate(header + len);
            packet.resize(header + len + MAX_RTP_OVERHEAD, 0);
            let sealed = sender.seal_rtp(&mut packet, header, header + len, sequence >> 16).unwrap();
            packet.truncate(sealed);
            packet
        })
        .collect()
}

/// Members join a room, each sees all others, all are connected. Returns what seals their media.
fn join(
    engine: &mut Engine,
    tx: &mut TxBatch,
    now: Time,
    profile: Profile,
    room: RoomId,
    members: impl Iterator<Item = u64> + Clone,
    reach: &dyn Fn(Vec<u8>) -> Vec<u8>,
) -> Vec<Outbound> {
    let mut senders = Vec::new();
    for id in members.clone() {
        let put = EngineCommand::Control(Command::PutParticipant(Box::new(spec(id, room))));
        engine.handle_command(now, put, tx).unwrap();
        let slots = (0..)
            .zip(members.clone().filter(|&other| other != id))
            .map(|(slot, other)| SlotAssignment {
                slot: SlotId(slot),
                source: SourceRef { participant: ParticipantId(other), source: Source::Person },
                max_layer: 0,
            })
            .collect();
        let assign = Command::AssignSlots { participant: ParticipantId(id), slots };
        engine.handle_command(now, EngineCommand::Control(assign), tx).unwrap();
        engine.handle_batch(now, &mut [RxPacket { path: path(id), data: &mut reach(check(id)) }], tx);
        let mut answer = reach(answer(tx));
        engine.handle_batch(now, &mut [RxPacket { path: path(id), data: &mut answer }], tx);
        let keys = keys(id, profile);
        senders.push(Outbound::new(profile, &keys.remote_key, &keys.remote_salt).unwrap());
        let input = DtlsInput::Keys(keys);
        let dtls = EngineCommand::Dtls { participant: ParticipantId(id), generation: 1, input };
        engine.handle_command(now, dtls, tx).unwrap();
        tx.clear();
    }
    while engine.poll_effect().is_some() {}
    senders
}

/// With `relayed`, everybody is a client of TURN, and the shard is what they reach by it.
fn allocations_while_forwarding(profile: Profile, relayed: bool) -> (u64, u64) {
    let mut bench = Bench::new();
    let reach = |data: Vec<u8>| if relayed { channel_data(&data) } else { data };
    if relayed {
        for id in 1..=MEMBERS {
            let mut caller = Caller::visitor(id as u32);
            caller.path = path(id);
            bench.allocate(&mut caller);
            bench.bind(&mut caller, Bench::media());
        }
    }
    let Bench { mut engine, mut tx, mut now, .. } = bench;
    let senders = join(&mut engine, &mut tx, now, profile, RoomId(1), 1..=MEMBERS, &reach);
    let mut allocations = 0;
    let mut forwarded = 0;
    for n in 0..1_000 {
        let mut packets: Vec<_> = (1..)
            .zip(&senders)
            .flat_map(|(id, sender)| moment(sender, n).into_iter().map(move |packet| (path(id), reach(packet))))
            .collect();
        let mut rx: Vec<_> = packets.iter_mut().map(|(path, data)| RxPacket { path: *path, data }).collect();
        let (before, sent) = (plausch_allocation_count::allocations(), engine.counters().rtp_forwarded);
        engine.handle_batch(now, &mut rx, &mut tx);
        tx.clear();
        while engine.poll_timeout() <= now + Duration::from_millis(20) {
            engine.handle_timeout(engine.poll_timeout(), &mut tx);
            tx.clear();
        }
        assert!(engine.poll_effect().is_none());
        // Ten seconds to warm up: caches, feedback windows.
        if n >= 500 {
            allocations += plausch_allocation_count::allocations() - before;
            forwarded += engine.counters().rtp_forwarded - sent;
        }
        now = now + Duration::from_millis(20);
    }
    assert_eq!(engine.counters().drop_tx_full, 0);
    (allocations, forwarded)
}

#[test]
fn forwarding_allocates_nothing() {
    for (profile, relayed) in [
        (Profile::AeadAes128Gcm, false),
        (Profile::AeadAes256Gcm, false),
        (Profile::Aes128CmSha1_80, false),
        (Profile::AeadAes128Gcm, true),
    ] {
        let (allocations, forwarded) = allocations_while_forwarding(profile, relayed);
        assert_eq!(forwarded, 500 * 4 * MEMBERS * (MEMBERS - 1));
        assert_eq!(allocations, 0, "{profile:?}: for {forwarded} packets");
    }
}

/// The figure of the design: 64 KiB for a participant who is connected, with a slot for everybody, and silent.
#[test]
fn an_idle_participant_is_small() {
    let mut now = Time::from_millis(1_000);
    let mut engine = Engine::new(EngineConfig::new(ShardId(0), 1), now);
    let mut tx = TxBatch::new(1 << 20, 1024);
    let before = live_bytes();
    for round in 0..10 {
        join(
            &mut engine,
            &mut tx,
            now,
            Profile::AeadAes128Gcm,
            RoomId(round),
            (1..=MEMBERS).map(|n| round * MEMBERS + n),
            &|data| data,
        );
    }
    for _ in 0..10 {
        now = now + Duration::from_secs(1);
        engine.handle_timeout(now, &mut tx);
        tx.clear();
    }
    while engine.poll_effect().is_some() {}
    assert_eq!(engine.counters().connected, 10 * MEMBERS);
    let each = (live_bytes() - before) / (10 * MEMBERS as i64);
    assert!((1..64 * 1024).contains(&each), "{each} bytes");
}
