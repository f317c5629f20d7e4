//! What one simulated browser negotiated: everything that control would learn from its SDP.

use crate::media::Vp8Descriptor;
use crate::random::Random;
use plausch_engine::srtp::Profile;
use plausch_engine::{LocalSocket, Path, SessionKeys};
use plausch_relay_api::{
    Codec, CodecMapping, ExtensionIds, Fingerprint, IceParameters, KeyedTransport, Note, ParticipantId,
    ParticipantSpec, RoomId, SendTrack, ShardId, SlotId, SlotSpec, SlotStream, SrtpKeys, SrtpMasterKey, TrackKind,
    Transport,
};
use std::net::SocketAddr;

/// The shard that is simulated.
pub const SHARD: ShardId = ShardId(0);

/// One PeerConnection's negotiation and habits.
#[derive(Clone, Debug)]
pub struct Setup {
    pub spec: ParticipantSpec,
    pub profile: Profile,
    pub video: Codec,
    pub vp8: Vp8Descriptor,
    /// What it sends, by SSRC.
    pub streams: Vec<StreamSetup>,
    /// Frames of video a second.
    pub frame_rate: u64,
    /// USE-CANDIDATE on every check, as Firefox does.
    pub aggressive: bool,
    /// Sends padding-only packets now and then, as a browser that probes for bandwidth.
    pub probes: bool,
    pub speaks: bool,
    /// No browser but a process of our own: control names its path and keys.
    pub keyed: bool,
}

/// The addresses of media, in the order of `LocalSocket`.
pub fn media_addresses() -> Vec<SocketAddr> {
    ["203.0.113.1:7882", "[2001:db8:ffff::1]:7882"].map(|address| address.parse().expect("an address")).to_vec()
}

/// One SSRC to send with.
#[derive(Clone, Debug)]
pub struct StreamSetup {
    pub track: TrackKind,
    pub layer: u8,
    pub mid: String,
    pub rid: Option<String>,
    pub ssrc: u32,
}

/// What a room's browsers have in common, so that they understand each other.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Codecs that every member of the room has negotiated; with the rest luck decides.
    pub video: Codec,
    pub simulcast: bool,
    pub screen_permille: u64,
}

impl Setup {
    /// A browser of random habits.
    pub fn random(random: &mut Random, participant: ParticipantId, room: RoomId, slots: usize, habits: Habits) -> Self {
        let codecs = random_codecs(random, habits.video);
        let video = if random.chance(850) { habits.video } else { Codec::Vp8 };
        let simulcast = habits.simulcast && random.chance(700);
        let mut tracks = vec![TrackKind::Microphone, TrackKind::Camera];
        if random.chance(habits.screen_permille) {
            tracks.extend([TrackKind::Screen, TrackKind::ScreenAudio]);
        }
        let mut setup = Self {
            spec: ParticipantSpec {
                participant,
                room,
                shard: SHARD,
                generation: 1,
                transport: Transport::browser(ice_parameters(random), Fingerprint::Sha256([participant.0 as u8; 32])),
                codecs,
                extensions: random_extensions(random),
                sends: Vec::new(),
                slots: Vec::new(),
                note: Note::new(random.bytes(20)),
            },
            profile: *random.pick(&[Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm]),
            video,
            vp8: if random.chance(800) { Vp8Descriptor::Full } else { Vp8Descriptor::PictureIdOnly },
            streams: Vec::new(),
            frame_rate: random.range(10, 30),
            aggressive: random.chance(300),
            probes: random.chance(300),
            speaks: random.chance(500),
            keyed: false,
        };
        tracks.into_iter().for_each(|track| setup.add_track(random, track, simulcast));
        setup.add_slots(random, slots);
        setup
    }

    /// The same person with a new PeerConnection.
    pub fn next_generation(&self, random: &mut Random, habits: Habits) -> Self {
        let slots = self.spec.slots.len();
        let mut setup = Self::random(random, self.spec.participant, self.spec.room, slots, habits);
        setup.spec.generation = self.spec.generation + 1;
        setup
    }

    /// Adds an m-line for `track`.
    pub fn add_track(&mut self, random: &mut Random, track: TrackKind, simulcast: bool) {
        let mid = self.spec.sends.len().to_string();
        let rids: Vec<String> = match simulcast && track == TrackKind::Camera {
            true => ["l", "m", "h"].map(String::from).to_vec(),
            false => Vec::new(),
        };
        let announced = rids.is_empty() && random.chance(700);
        let first = self.streams.len();
        for layer in 0..rids.len().max(1) {
            self.streams.push(StreamSetup {
                track,
                layer: layer as u8,
                mid: mid.clone(),
                rid: rids.get(layer).cloned(),
                ssrc: random.bits() as u32 | 1,
            });
        }
        let ssrcs = match announced {
            true => self.streams[first..].iter().map(|stream| stream.ssrc).collect(),
            false => Vec::new(),
        };
        self.spec.sends.push(SendTrack { kind: track, mid, ssrcs, rids });
    }

    /// Adds `count` slots behind those there are.
    pub fn add_slots(&mut self, random: &mut Random, count: usize) {
        for _ in 0..count {
            let slot = self.spec.slots.len();
            self.spec.slots.push(SlotSpec::both(
                SlotId(slot as u16),
                SlotStream::new(format!("a{slot}"), random.bits() as u32 | 1),
                SlotStream::new(format!("v{slot}"), random.bits() as u32 | 1),
            ));
        }
    }

    /// The names and passwords of ICE, where there is ICE.
    pub fn ice(&self) -> Option<&IceParameters> {
        self.spec.transport.ice()
    }

    /// Makes a keyed participant of it, on this path and with the keys that a handshake would have had.
    pub fn key(&mut self, path: Path, keys: &SessionKeys) {
        let master = |key: &[u8], salt: &[u8]| SrtpMasterKey { key: key.to_vec().into(), salt: salt.to_vec().into() };
        let keys = SrtpKeys {
            profile: keys.profile,
            from_participant: master(&keys.remote_key, &keys.remote_salt),
            to_participant: master(&keys.local_key, &keys.local_salt),
        };
        let local = media_addresses()[usize::from(path.local.0)];
        self.spec.transport = Transport::Keyed { keyed: KeyedTransport { local, remote: path.remote, keys } };
    }

    /// The path of a keyed participant.
    pub fn keyed_path(&self) -> Option<Path> {
        let Transport::Keyed { keyed } = &self.spec.transport else { return None };
        let local = media_addresses().iter().position(|address| *address == keyed.local)?;
        Some(Path { local: LocalSocket(local as u16), remote: keyed.remote })
    }

    /// How the codec was negotiated.
    pub fn mapping(&self, codec: Codec) -> Option<&CodecMapping> {
        self.spec.codecs.iter().find(|mapping| mapping.codec == codec)
    }

    /// The codec of a track.
    pub fn codec(&self, track: TrackKind) -> Codec {
        match track.media() {
            plausch_relay_api::MediaKind::Audio => Codec::Opus,
            plausch_relay_api::MediaKind::Video => self.video,
        }
    }
}

/// New fragments and passwords of both sides.
pub fn ice_parameters(random: &mut Random) -> IceParameters {
    IceParameters {
        local_ufrag: random.ice_chars(8),
        local_pwd: random.ice_chars(24).into(),
        remote_ufrag: random.ice_chars(4),
        remote_pwd: random.ice_chars(22).into(),
        mode: Default::default(),
    }
}

fn random_codecs(random: &mut Random, room_codec: Codec) -> Vec<CodecMapping> {
    let mut free: Vec<u8> = (35..=63).chain(96..=127).collect();
    random.shuffle(&mut free);
    let mut next = || free.pop().expect("more payload types than codecs");
    let mut codecs = vec![CodecMapping { codec: Codec::Opus, payload_type: next(), rtx_payload_type: None }];
    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        if codec == room_codec || codec == Codec::Vp8 || random.chance(500) {
            codecs.push(CodecMapping { codec, payload_type: next(), rtx_payload_type: None });
        }
    }
    codecs
}

fn random_extensions(random: &mut Random) -> ExtensionIds {
    let mut free: Vec<u8> = (1..=14).collect();
    random.shuffle(&mut free);
    let mut sometimes = |random: &mut Random, permille| {
        let id = free.pop();
        if random.chance(permille) { id } else { None }
    };
    ExtensionIds {
        mid: sometimes(random, 1000),
        rid: sometimes(random, 1000),
        audio_level: sometimes(random, 850),
        transport_cc: sometimes(random, 850),
        dependency_descriptor: sometimes(random, 700),
    }
}
