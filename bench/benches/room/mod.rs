//! A room in the engine with one publisher, whose packets go to any number of subscribers. What the bench of forwarding
//! and the count of its instructions have in common.

use plausch_engine::batch::{LocalSocket, Path, RxPacket, TxBatch};
use plausch_engine::effect::{DtlsInput, EngineCommand, SessionKeys};
use plausch_engine::engine::{Engine, EngineConfig};
use plausch_engine::rtp::{Extension, HeaderFields, write_header};
use plausch_engine::srtp::{MAX_RTP_OVERHEAD, Outbound, Profile};
use plausch_engine::stun::{Class, IceRole, IntegrityKey, MessageWriter, Method, TransactionId};
use plausch_engine::time::Time;
use plausch_relay_api::{
    Codec, CodecMapping, Command, ExtensionIds, Fingerprint, IceParameters, ParticipantId, ParticipantSpec, RoomId,
    SendTrack, ShardId, SlotAssignment, SlotId, SlotSpec, SlotStream, Source, SourceRef, TrackKind, Transport,
};
use std::time::Duration;

/// About one frame of 1.5 Mbit/s at 30 frames per second, received at once.
pub(crate) const BATCH: usize = 6;
const PAYLOAD_BYTES: usize = 1_100;
const PUBLISHER: u64 = 1;
const CAMERA: u32 = 4711;
const VP8: u8 = 96;
const PROFILE: Profile = Profile::AeadAes128Gcm;
/// Between two batches on the engine's clock: so little that no timer is due in a room.
const STEP: Duration = Duration::from_micros(1);

fn spec(id: u64) -> ParticipantSpec {
    let publisher = id == PUBLISHER;
    let camera = SendTrack { kind: TrackKind::Camera, mid: "1".into(), ssrcs: vec![CAMERA], rids: vec![] };
    let slot = SlotSpec::both(SlotId(0), SlotStream::new("2", 0x1000), SlotStream::new("3", 0x2000));
    ParticipantSpec {
        participant: ParticipantId(id),
        room: RoomId(1),
        shard: ShardId(0),
        generation: 1,
        transport: Transport::browser(
            IceParameters {
                local_ufrag: format!("local-{id:04}"),
                local_pwd: format!("password-of-participant-{id:04}").into(),
                remote_ufrag: "them".into(),
                remote_pwd: "x".repeat(24).into(),
                mode: Default::default(),
            },
            Fingerprint::Sha256([0; 32]),
        ),
        codecs: vec![CodecMapping { codec: Codec::Vp8, payload_type: VP8, rtx_payload_type: None }],
        extensions: ExtensionIds {
            mid: Some(1),
            rid: None,
            audio_level: Some(2),
            transport_cc: None,
            dependency_descriptor: None,
        },
        sends: if publisher { vec![camera] } else { vec![] },
        slots: if publisher { vec![] } else { vec![slot] },
        note: Default::default(),
    }
}

fn keys() -> SessionKeys {
    SessionKeys {
        profile: PROFILE,
        remote_key: vec![1; PROFILE.key_len()],
        local_key: vec![2; PROFILE.key_len()],
        remote_salt: vec![3; PROFILE.salt_len()],
        local_salt: vec![4; PROFILE.salt_len()],
    }
}

fn path(id: u64) -> Path {
    Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], 10_000 + id as u16).into() }
}

/// A room with one publisher, and the publisher's sending side.
pub(crate) struct Room {
    engine: Engine,
    now: Time,
    pub(crate) tx: TxBatch,
    seal: Outbound,
    sequence: u64,
    picture: u16,
}

impl Room {
    pub(crate) fn new(subscribers: u64) -> Self {
        let now = Time::from_millis(1_000_000);
        let mut config = EngineConfig::new(ShardId(0), 42);
        config.max_participants_per_room = config.max_participants_per_room.max(subscribers as usize + 1);
        let keys = keys();
        let mut room = Self {
            engine: Engine::new(config, now),
            now,
            tx: TxBatch::new(BATCH * subscribers as usize * 1_300 + 65_536, BATCH * subscribers as usize + 64),
            seal: Outbound::new(PROFILE, &keys.remote_key, &keys.remote_salt).unwrap(),
            sequence: 1,
            picture: 0,
        };
        for id in PUBLISHER..=PUBLISHER + subscribers {
            room.command(EngineCommand::Control(Command::PutParticipant(Box::new(spec(id)))));
            let source = SourceRef { participant: ParticipantId(PUBLISHER), source: Source::Person };
            let slots = vec![SlotAssignment { slot: SlotId(0), source, max_layer: 2 }];
            if id != PUBLISHER {
                let participant = ParticipantId(id);
                room.command(EngineCommand::Control(Command::AssignSlots { participant, slots }));
            }
            room.connect(id);
        }
        // Pictures begin with a key frame; what is forwarded then is counted once.
        let mut first = room.batch(true);
        room.forward(&mut first);
        assert_eq!(room.tx.datagrams().count() as u64, BATCH as u64 * subscribers);
        room.tx.clear();
        room
    }

    fn command(&mut self, command: EngineCommand) {
        self.engine.handle_command(self.now, command, &mut self.tx).unwrap();
        self.finish();
    }

    /// Takes what was forwarded away.
    pub(crate) fn finish(&mut self) {
        self.tx.clear();
        while self.engine.poll_effect().is_some() {}
    }

    /// A nominating check, and the keys of a handshake.
    fn connect(&mut self, id: u64) {
        let ice = spec(id).transport.ice().unwrap().clone();
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&id.to_be_bytes());
        let mut buffer = vec![0; 400];
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId(transaction));
        let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
        writer.username(username.as_bytes()).ice_role(IceRole::Controlling(1)).priority(1).use_candidate();
        let key = IntegrityKey::short_term(ice.local_pwd.reveal().as_bytes());
        let len = writer.integrity(&key).fingerprint().finish().unwrap();
        let mut rx = [RxPacket { path: path(id), data: &mut buffer[..len] }];
        self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
        // The engine's own check follows the answer, and wants one too.
        let asked = self.tx.datagrams().last().unwrap().1[8..20].try_into().unwrap();
        let mut writer = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(asked));
        let key = IntegrityKey::short_term(ice.remote_pwd.reveal().as_bytes());
        let len = writer.integrity(&key).fingerprint().finish().unwrap();
        let mut rx = [RxPacket { path: path(id), data: &mut buffer[..len] }];
        self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
        self.finish();
        let (participant, input) = (ParticipantId(id), DtlsInput::Keys(keys()));
        self.command(EngineCommand::Dtls { participant, generation: 1, input });
    }

    /// The next frame, sealed.
    pub(crate) fn batch(&mut self, key_frame: bool) -> Vec<Vec<u8>> {
        self.picture = (self.picture + 1) & 0x7fff;
        (0..BATCH).map(|part| self.packet(part, key_frame)).collect()
    }

    fn packet(&mut self, part: usize, key_frame: bool) -> Vec<u8> {
        let mut packet = vec![0xff; 1_500];
        let fields = HeaderFields {
            marker: part + 1 == BATCH,
            payload_type: VP8,
            sequence: self.sequence as u16,
            timestamp: u32::from(self.picture) * 3_000,
            ssrc: CAMERA,
        };
        let header_len = write_header(&mut packet, &fields, &[Extension { id: 1, value: b"1" }]).unwrap();
        // RFC 7741: X, S on the first part; I with 15 bits, L, T.
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let first = part == 0;
        let descriptor = [if first { 0x90 } else { 0x80 }, 0xe0, high, low, self.picture as u8, 0];
        packet[header_len..header_len + 6].copy_from_slice(&descriptor);
        // The frame tag's lowest bit is 0 in key frames (RFC 6386, section 9.1).
        packet[header_len + 6] = if key_frame { 0x10 } else { 0x11 };
        let len = header_len + PAYLOAD_BYTES;
        let rollover = (self.sequence >> 16) as u32;
        packet.truncate(len + MAX_RTP_OVERHEAD);
        let sealed = self.seal.seal_rtp(&mut packet, header_len, len, rollover).unwrap();
        packet.truncate(sealed);
        self.sequence += 1;
        packet
    }

    /// What is measured.
    pub(crate) fn forward(&mut self, batch: &mut [Vec<u8>]) {
        self.now = self.now + STEP;
        let mut rx: Vec<_> = batch.iter_mut().map(|data| RxPacket { path: path(PUBLISHER), data }).collect();
        self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
    }
}
