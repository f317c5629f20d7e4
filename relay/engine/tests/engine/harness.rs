//! A room on a workbench.

use plausch_engine::batch::{LocalSocket, Path, RxPacket, TxBatch};
use plausch_engine::effect::{DtlsInput, Effect, EngineCommand, SessionKeys};
use plausch_engine::engine::{Engine, EngineConfig};
use plausch_engine::rtcp::RtcpWriter;
use plausch_engine::rtp::{Extension, HeaderFields, KnownExtensions, RtpHeader, write_header};
use plausch_engine::srtp::{
    Inbound, MAX_RTCP_OVERHEAD, MAX_RTP_OVERHEAD, Outbound, Profile, ReceiveStream, RtcpReplay, rtcp_sender,
};
use plausch_engine::stun::{
    Class, IceRole, IntegrityCheck, IntegrityKey, Message, MessageWriter, Method, TransactionId,
};
use plausch_engine::time::Time;
use plausch_relay_api::*;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const ROOM: RoomId = RoomId(7);
pub(super) const OPUS: u8 = 111;
pub(super) const VP8: u8 = 96;
pub(super) const IDS: ExtensionIds = ExtensionIds {
    mid: Some(4),
    rid: Some(10),
    audio_level: Some(1),
    transport_cc: Some(3),
    dependency_descriptor: None,
};

/// An RTP packet as a client got it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub header: RtpHeader,
    pub index: u64,
    pub payload: Vec<u8>,
    pub mid: Vec<u8>,
    pub audio_level: Option<u8>,
    /// As it came from the wire.
    pub sealed: Vec<u8>,
}

/// A browser.
pub(super) struct Client {
    pub path: Path,
    pub spec: ParticipantSpec,
    inbound: Inbound,
    outbound: Outbound,
    streams: HashMap<u32, ReceiveStream>,
    replays: HashMap<u32, RtcpReplay>,
    rollovers: HashMap<u32, (u16, u32)>,
    pub rtp: Vec<Received>,
    /// Packets that came a second time.
    pub repeated: Vec<Vec<u8>>,
    /// Opened compounds.
    pub rtcp: Vec<Vec<u8>>,
    /// Answers to its checks.
    pub stun: Vec<Vec<u8>>,
    /// Checks of the engine.
    pub checks: Vec<Vec<u8>>,
    pub dtls: Vec<Vec<u8>>,
    /// How many of `checks` were answered or left.
    answered: usize,
}

/// Those of DTLS, or those that the spec names.
fn keys(spec: &ParticipantSpec) -> SessionKeys {
    if let Transport::Keyed { keyed } = &spec.transport {
        let SrtpKeys { profile, from_participant, to_participant } = &keyed.keys;
        return SessionKeys {
            profile: *profile,
            remote_key: from_participant.key.to_vec(),
            local_key: to_participant.key.to_vec(),
            remote_salt: from_participant.salt.to_vec(),
            local_salt: to_participant.salt.to_vec(),
        };
    }
    let byte = spec.participant.0 as u8;
    SessionKeys {
        profile: Profile::AeadAes128Gcm,
        remote_key: vec![byte; 16],
        local_key: vec![byte ^ 0x80; 16],
        remote_salt: vec![byte; 12],
        local_salt: vec![byte ^ 0x80; 12],
    }
}

pub(super) fn slot_spec(slot: u16) -> SlotSpec {
    SlotSpec::both(
        SlotId(slot),
        SlotStream::new(format!("sa{slot}"), 0x1000 + u32::from(slot)),
        SlotStream::new(format!("sv{slot}"), 0x2000 + u32::from(slot)),
    )
}

/// Microphone with SSRC `id × 100`, camera with `id × 100 + 1`, screen by MID "2", four slots.
pub(super) fn spec(id: u64) -> ParticipantSpec {
    let base = id as u32 * 100;
    let send =
        |kind, mid: &str, ssrcs: &[u32]| SendTrack { kind, mid: mid.into(), ssrcs: ssrcs.to_vec(), rids: vec![] };
    ParticipantSpec {
        participant: ParticipantId(id),
        room: ROOM,
        shard: ShardId(0),
        generation: 1,
        transport: Transport::browser(
            IceParameters {
                local_ufrag: format!("local-{id}-1"),
                local_pwd: format!("password-of-participant-{id}").into(),
                remote_ufrag: "them".into(),
                remote_pwd: "x".repeat(24).into(),
                mode: Default::default(),
            },
            Fingerprint::Sha256([id as u8; 32]),
        ),
        codecs: vec![
            CodecMapping { codec: Codec::Opus, payload_type: OPUS, rtx_payload_type: None },
            CodecMapping { codec: Codec::Vp8, payload_type: VP8, rtx_payload_type: None },
        ],
        extensions: IDS,
        sends: vec![
            send(TrackKind::Microphone, "0", &[base]),
            send(TrackKind::Camera, "1", &[base + 1]),
            send(TrackKind::Screen, "2", &[]),
        ],
        slots: (0..4).map(slot_spec).collect(),
        note: Default::default(),
    }
}

/// The engine, its clients and the wires between them.
pub(super) struct World {
    pub engine: Engine,
    pub now: Time,
    pub clients: Vec<Client>,
    pub effects: Vec<Effect>,
    /// What was sent to none of the clients, run by run.
    pub elsewhere: Vec<(Path, Vec<Vec<u8>>)>,
    /// Clients answer the engine's checks.
    pub answering: bool,
    tx: TxBatch,
    transactions: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(EngineConfig::new(ShardId(0), 42))
    }

    pub(super) fn with(config: EngineConfig) -> Self {
        let now = Time::from_millis(1_000_000);
        Self {
            engine: Engine::new(config, now),
            now,
            clients: Vec::new(),
            effects: Vec::new(),
            elsewhere: Vec::new(),
            answering: true,
            tx: TxBatch::new(1 << 20, 1024),
            transactions: 0,
        }
    }

    /// Participants 1 to `count`, connected, and everybody assigned everybody else's person: the next in slot 0.
    pub(super) fn meeting(count: u64) -> Self {
        Self::meeting_with(EngineConfig::new(ShardId(0), 42), count)
    }

    pub(super) fn meeting_with(config: EngineConfig, count: u64) -> Self {
        let mut world = Self::with(config);
        for id in 1..=count {
            world.put(spec(id)).unwrap();
            world.add_client(spec(id));
        }
        for id in 1..=count {
            let others = (1..=count).filter(|&other| other != id);
            let slots = (0..).zip(others).map(|(slot, other)| assignment(slot, other, Source::Person)).collect();
            world.assign(id, slots).unwrap();
        }
        for client in 0..count as usize {
            world.connect(client);
        }
        world
    }

    pub(super) fn add_client(&mut self, spec: ParticipantSpec) -> usize {
        let keys = keys(&spec);
        let port = 10_000 + spec.participant.0 as u16;
        let path = match &spec.transport {
            Transport::Browser(_) => Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], port).into() },
            // The second of the media addresses.
            Transport::Keyed { keyed } => Path { local: LocalSocket(1), remote: keyed.remote },
        };
        self.clients.push(Client {
            path,
            spec,
            inbound: Inbound::new(keys.profile, &keys.local_key, &keys.local_salt).unwrap(),
            outbound: Outbound::new(keys.profile, &keys.remote_key, &keys.remote_salt).unwrap(),
            streams: HashMap::new(),
            replays: HashMap::new(),
            rollovers: HashMap::new(),
            rtp: Vec::new(),
            repeated: Vec::new(),
            rtcp: Vec::new(),
            stun: Vec::new(),
            checks: Vec::new(),
            dtls: Vec::new(),
            answered: 0,
        });
        self.clients.len() - 1
    }

    pub(super) fn shrink_tx(&mut self, bytes: usize) {
        self.tx = TxBatch::new(bytes, 16);
    }

    pub(super) fn command(&mut self, command: EngineCommand) {
        self.engine.handle_command(self.now, command, &mut self.tx).unwrap();
        self.deliver();
    }

    pub(super) fn control(&mut self, command: Command) -> Result<(), CommandError> {
        let result = self.engine.handle_command(self.now, EngineCommand::Control(command), &mut self.tx);
        self.deliver();
        result
    }

    pub(super) fn put(&mut self, spec: ParticipantSpec) -> Result<(), CommandError> {
        self.control(Command::PutParticipant(Box::new(spec)))
    }

    pub(super) fn assign(&mut self, id: u64, slots: Vec<SlotAssignment>) -> Result<(), CommandError> {
        self.control(Command::AssignSlots { participant: ParticipantId(id), slots })
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.control(Command::RemoveParticipant { participant: ParticipantId(id) }).unwrap();
    }

    pub(super) fn dtls(&mut self, client: usize, input: DtlsInput) {
        let spec = &self.clients[client].spec;
        let command = EngineCommand::Dtls { participant: spec.participant, generation: spec.generation, input };
        self.engine.handle_command(self.now, command, &mut self.tx).unwrap();
        self.deliver();
    }

    /// ICE check with nomination, a DTLS datagram, keys.
    pub(super) fn connect(&mut self, client: usize) {
        self.check(client, true);
        self.raw(self.clients[client].path, vec![22, 254, 253, 0]);
        self.give_keys(client);
    }

    pub(super) fn give_keys(&mut self, client: usize) {
        let keys = keys(&self.clients[client].spec);
        self.dtls(client, DtlsInput::Keys(keys));
    }

    pub(super) fn check(&mut self, client: usize, nominate: bool) {
        let request = self.binding_request(client, nominate, IceRole::Controlling(1));
        self.raw(self.clients[client].path, request);
    }

    pub(super) fn binding_request(&mut self, client: usize, nominate: bool, role: IceRole) -> Vec<u8> {
        let ice = self.clients[client].spec.transport.ice().unwrap().clone();
        self.transactions += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = vec![0; 400];
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId(id));
        writer.username(format!("{}:{}", ice.local_ufrag, ice.remote_ufrag).as_bytes()).ice_role(role).priority(1);
        if nominate {
            writer.use_candidate();
        }
        let key = IntegrityKey::short_term(ice.local_pwd.reveal().as_bytes());
        let len = writer.integrity(&key).fingerprint().finish().unwrap();
        buffer.truncate(len);
        buffer
    }

    /// One datagram to the engine.
    pub(super) fn raw(&mut self, path: Path, datagram: Vec<u8>) {
        self.raw_batch(vec![(path, datagram)]);
    }

    pub(super) fn raw_batch(&mut self, mut datagrams: Vec<(Path, Vec<u8>)>) {
        let mut rx: Vec<_> = datagrams.iter_mut().map(|(path, data)| RxPacket { path: *path, data }).collect();
        self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
        self.deliver();
        while self.engine.poll_timeout() <= self.now {
            self.engine.handle_timeout(self.now, &mut self.tx);
            self.deliver();
        }
    }

    /// Lets time pass, with all timers on the way and a consent check every second.
    pub(super) fn pass(&mut self, ms: u64) {
        self.pass_silently(ms, true);
    }

    pub(super) fn pass_silently(&mut self, ms: u64, checks: bool) {
        let answering = self.answering;
        self.answering = answering && checks;
        let end = self.now + Duration::from_millis(ms);
        let mut next_check = self.now + Duration::from_secs(1);
        loop {
            let next = self.engine.poll_timeout().min(if checks { next_check } else { Time::NEVER });
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if checks && next_check <= self.now {
                next_check = next_check + Duration::from_secs(1);
                for client in 0..self.clients.len() {
                    if self.clients[client].spec.transport.ice().is_none() {
                        continue;
                    }
                    self.check(client, false);
                }
            }
            self.engine.handle_timeout(self.now, &mut self.tx);
            self.deliver();
        }
        self.now = end;
        self.answering = answering;
    }

    /// Takes all output, and gives the answers to checks back at once.
    fn deliver(&mut self) {
        self.take_output();
        let mut answers = Vec::new();
        for client in &mut self.clients {
            let path = client.path;
            if self.answering {
                answers.extend(client.answers().into_iter().map(|answer| (path, answer)));
            } else {
                client.answered = client.checks.len();
            }
        }
        if !answers.is_empty() {
            let mut rx: Vec<_> = answers.iter_mut().map(|(path, data)| RxPacket { path: *path, data }).collect();
            self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
            self.deliver();
        }
    }

    fn take_output(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            self.effects.push(effect);
        }
        for run in self.tx.runs() {
            let datagrams = self.tx.bytes(run).chunks(run.segment);
            match self.clients.iter_mut().find(|client| client.path == run.path) {
                Some(client) => datagrams.for_each(|datagram| client.receive(datagram)),
                None => self.elsewhere.push((run.path, datagrams.map(<[u8]>::to_vec).collect())),
            }
        }
        self.tx.clear();
    }

    /// A sealed RTP packet of a client.
    pub(super) fn seal(&mut self, client: usize, rtp: &Rtp) -> Vec<u8> {
        self.clients[client].seal(rtp)
    }

    pub(super) fn send(&mut self, client: usize, rtp: &Rtp) {
        let datagram = self.seal(client, rtp);
        self.raw(self.clients[client].path, datagram);
    }

    pub(super) fn send_rtcp(&mut self, client: usize, fill: impl FnOnce(&mut RtcpWriter<'_>)) {
        self.send_rtcp_of(client, 0x55, fill);
    }

    pub(super) fn send_rtcp_of(&mut self, client: usize, sender: u32, fill: impl FnOnce(&mut RtcpWriter<'_>)) {
        let mut buffer = vec![0; 1500];
        let mut writer = RtcpWriter::new(&mut buffer);
        writer.receiver_report(sender, &[]);
        fill(&mut writer);
        let len = writer.len();
        buffer.resize(len + MAX_RTCP_OVERHEAD, 0);
        let sealed = self.clients[client].outbound.seal_rtcp(&mut buffer, len).unwrap();
        buffer.truncate(sealed);
        self.raw(self.clients[client].path, buffer);
    }
}

/// A packet that a client sends.
#[derive(Clone, Debug)]
pub(super) struct Rtp {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub padding: u8,
}

impl Rtp {
    pub(super) fn audio(ssrc: u32, sequence: u16) -> Self {
        let timestamp = u32::from(sequence) * 960;
        let extensions = vec![(1, vec![0x80 | 30])];
        let payload = vec![sequence as u8; 80];
        Self { ssrc, payload_type: OPUS, sequence, timestamp, marker: false, payload, extensions, padding: 0 }
    }

    /// One frame in one packet, with 15-bit picture id and TL0PICIDX.
    pub(super) fn video(ssrc: u32, sequence: u16, picture: u16, key_frame: bool) -> Self {
        let [high, low] = (picture | 0x8000).to_be_bytes();
        let mut payload = vec![0x90, 0xe0, high, low, picture as u8, 0, if key_frame { 0x10 } else { 0x11 }];
        payload.extend(vec![sequence as u8; 900]);
        let timestamp = u32::from(picture).wrapping_mul(3_000);
        Self { ssrc, payload_type: VP8, sequence, timestamp, marker: true, payload, extensions: vec![], padding: 0 }
    }

    pub(super) fn padding(ssrc: u32, sequence: u16) -> Self {
        let mut rtp = Self::video(ssrc, sequence, 0, false);
        rtp.payload.clear();
        rtp.padding = 255;
        rtp
    }

    pub(super) fn with(mut self, id: u8, value: &[u8]) -> Self {
        self.extensions.push((id, value.to_vec()));
        self
    }
}

fn is_request(datagram: &[u8]) -> bool {
    datagram.first_chunk() == Some(&[0, 1])
}

impl Client {
    /// The answers to all checks of the engine since the last time.
    pub(super) fn answers(&mut self) -> Vec<Vec<u8>> {
        let new = self.checks.get(self.answered..).unwrap_or(&[]);
        let answers = new.iter().map(|check| self.answer(check)).collect();
        self.answered = self.checks.len();
        answers
    }

    /// The answer to a check of the engine.
    pub(super) fn answer(&self, check: &[u8]) -> Vec<u8> {
        let ice = self.spec.transport.ice().unwrap();
        let request = Message::parse(check).unwrap();
        let key = IntegrityKey::short_term(ice.remote_pwd.reveal().as_bytes());
        assert_eq!(request.check_integrity(&key), IntegrityCheck::Valid);
        let mut buffer = vec![0; 200];
        let mut writer = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, request.transaction_id);
        writer.xor_mapped_address(([203, 0, 113, 1], 7882).into());
        let len = writer.integrity(&key).fingerprint().finish().unwrap();
        buffer.truncate(len);
        buffer
    }

    pub(super) fn seal(&mut self, rtp: &Rtp) -> Vec<u8> {
        let mut buffer = vec![0; 2_000];
        let fields = HeaderFields {
            marker: rtp.marker,
            payload_type: rtp.payload_type,
            sequence: rtp.sequence,
            timestamp: rtp.timestamp,
            ssrc: rtp.ssrc,
        };
        let extensions: Vec<_> = rtp.extensions.iter().map(|(id, value)| Extension { id: *id, value }).collect();
        let header_len = write_header(&mut buffer, &fields, &extensions).unwrap();
        let mut len = header_len + rtp.payload.len();
        buffer[header_len..len].copy_from_slice(&rtp.payload);
        if rtp.padding > 0 {
            len = plausch_engine::rtp::add_padding(&mut buffer, len, rtp.padding).unwrap();
        }
        let (last, rollover) = self.rollovers.entry(rtp.ssrc).or_insert((rtp.sequence, 0));
        if *last > 0xf000 && rtp.sequence < 0x1000 {
            *rollover += 1;
        }
        *last = rtp.sequence;
        buffer.resize(len + MAX_RTP_OVERHEAD, 0);
        let sealed = self.outbound.seal_rtp(&mut buffer, header_len, len, *rollover).unwrap();
        buffer.truncate(sealed);
        buffer
    }

    /// So many packets of an SSRC are sent and lost.
    pub(super) fn lose(&mut self, ssrc: u32, packets: u64) -> u16 {
        let (last, rollover) = self.rollovers.entry(ssrc).or_insert((0, 0));
        let index = (u64::from(*rollover) << 16 | u64::from(*last)) + packets;
        (*last, *rollover) = (index as u16, (index >> 16) as u32);
        *last
    }

    pub(super) fn receive(&mut self, datagram: &[u8]) {
        use plausch_engine::demux::{Protocol, classify};
        let mut packet = datagram.to_vec();
        match classify(datagram) {
            // A check of the engine is answered by [`World::deliver`].
            Protocol::Stun if is_request(datagram) => self.checks.push(packet),
            Protocol::Stun => self.stun.push(packet),
            Protocol::Dtls => self.dtls.push(packet),
            Protocol::Rtcp => {
                let replay = self.replays.entry(rtcp_sender(datagram).unwrap()).or_default();
                let len = self.inbound.open_rtcp(replay, &mut packet).unwrap();
                packet.truncate(len);
                self.rtcp.push(packet);
            }
            Protocol::Rtp => {
                let header = RtpHeader::parse(datagram).unwrap();
                let stream = self.streams.entry(header.ssrc).or_default();
                let opened = match self.inbound.open_rtp(stream, &mut packet, header.header_len) {
                    Ok(opened) => opened,
                    Err(plausch_engine::srtp::OpenError::Replayed) => return self.repeated.push(datagram.to_vec()),
                    Err(error) => panic!("{error}"),
                };
                packet.truncate(opened.len);
                let payload = packet[header.payload(&packet).unwrap()].to_vec();
                let extensions = KnownExtensions::read(&header, &packet, &self.spec.extensions);
                self.rtp.push(Received {
                    header,
                    index: opened.index,
                    payload,
                    mid: extensions.mid.unwrap_or(&[]).to_vec(),
                    audio_level: extensions.audio_level.map(|level| level.level),
                    sealed: datagram.to_vec(),
                });
            }
            other => panic!("{other:?}"),
        }
    }

    /// What came on one SSRC, and forgets it.
    pub(super) fn take(&mut self, ssrc: u32) -> Vec<Received> {
        let (taken, left) = std::mem::take(&mut self.rtp).into_iter().partition(|rtp| rtp.header.ssrc == ssrc);
        self.rtp = left;
        taken
    }
}

pub(super) fn assignment(slot: u16, participant: u64, source: Source) -> SlotAssignment {
    let source = SourceRef { participant: ParticipantId(participant), source };
    SlotAssignment { slot: SlotId(slot), source, max_layer: 2 }
}

/// VP8 picture id of a payload as [`Rtp::video`] makes them.
pub(super) fn picture_id(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff
}
