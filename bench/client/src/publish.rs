//! What the client sends: RTP packets of its microphone and camera, when they are due.

use super::clip::{self, Frames};
use super::encoder::{Encoder, FPS_MAX, Part, Picture};
use super::sdp::{
    EXTENSION_AUDIO_LEVEL, EXTENSION_MID, EXTENSION_RID, EXTENSION_TRANSPORT_CC, MID_CAMERA, MID_MICROPHONE,
    PAYLOAD_OPUS, PAYLOAD_VP8, RIDS, RemoteDescription,
};
use super::speech::{Speech, Talker};
use super::stamp::{self, Stamp};
use super::{EPOCH, random, vp8};
use bytes::Bytes;
use plausch_signalling::MediaState;
use rtp::header::Header;
use rtp::packet::Packet;
use std::time::{Duration, Instant};
use webrtc_util::marshal::Marshal;

/// VP8 data in one packet: with headers, extensions, descriptor and tag below 1200 bytes, as browsers do.
const CHUNK_BYTES: usize = 1100;
/// A sender that was held up for longer skips what it missed instead of sending a burst.
const CATCH_UP: Duration = Duration::from_millis(200);
const AUDIO_INTERVAL: Duration = Duration::from_millis(clip::AUDIO_INTERVAL_MS);
const FRAME_INTERVAL: Duration = Duration::from_millis(clip::FRAME_INTERVAL_MS);
/// RTP clock ticks of an interval at 48 kHz.
const AUDIO_TICKS: u32 = 48 * clip::AUDIO_INTERVAL_MS as u32;

/// One RTP stream that is sent.
pub(crate) struct SentStream {
    pub(crate) ssrc: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    /// RTP time stamp of the latest packet, and when that was.
    pub(crate) latest: Option<(u32, Instant)>,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
    mid: &'static str,
    rid: Option<&'static str>,
}

struct Layer {
    stream: SentStream,
    frames: &'static Frames,
    /// In place of the clip.
    encoder: Option<Encoder>,
    /// Of the frame that is encoded; its packets may leave later.
    clock: u32,
    /// Next frame of the loop.
    position: usize,
    picture_id: u16,
    tl0_pic_idx: u8,
}

/// Which stream a packet is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    /// Of the picture, the smallest first; `None` for sound.
    pub(crate) layer: Option<usize>,
}

/// Which header extensions the relay accepted.
#[derive(Clone, Copy, Default)]
struct Accepted {
    audio_level: bool,
    transport_cc: bool,
}

/// What is sent, and in whose name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Programme {
    /// Tags for stamps.
    pub(crate) room: u64,
    pub(crate) participant: u64,
    pub(crate) picture: Picture,
    pub(crate) speech: Option<Speech>,
}

/// The client's sending side.
pub(crate) struct Publisher {
    audio: Option<SentStream>,
    audio_position: usize,
    layers: Vec<Layer>,
    accepted: Accepted,
    transport_sequence: u16,
    next_audio: Instant,
    next_frame: Instant,
    frame_interval: Duration,
    room: u64,
    participant: u64,
    /// Who speaks when; without it, the level is what the caller says.
    talker: Option<Talker>,
    /// Bitrate of the whole picture at the moment.
    kbps: u32,
    /// Key frames that were sent because somebody asked.
    pub(crate) requested_key_frames: u64,
}

impl Publisher {
    /// `camera` holds one SSRC for each layer.
    pub(crate) fn new(
        microphone: Option<u32>,
        camera: &[u32],
        remote: &RemoteDescription,
        programme: Programme,
        now: Instant,
    ) -> Self {
        let Programme { room, participant, picture, speech } = programme;
        let accepts = |mid: &str, id: u8| remote.media(mid).is_some_and(|media| media.accepts(id));
        let audio = microphone
            .filter(|_| remote.media(MID_MICROPHONE).is_some())
            .map(|ssrc| SentStream::new(ssrc, PAYLOAD_OPUS, MID_MICROPHONE, None));
        let camera = if remote.media(MID_CAMERA).is_some() { camera } else { &[] };
        let layers = camera
            .iter()
            .enumerate()
            .map(|(index, ssrc)| Layer {
                stream: SentStream::new(
                    *ssrc,
                    PAYLOAD_VP8,
                    MID_CAMERA,
                    (camera.len() > 1).then(|| RIDS[index.min(RIDS.len() - 1)]),
                ),
                frames: clip::video(index, camera.len()),
                encoder: encoder(picture, index, camera.len(), now),
                clock: u32::from_be_bytes(random::bytes()),
                position: 0,
                picture_id: u16::from_be_bytes(random::bytes()),
                tl0_pic_idx: 0,
            })
            .collect();
        Self {
            audio,
            audio_position: 0,
            layers,
            accepted: Accepted {
                audio_level: accepts(MID_MICROPHONE, EXTENSION_AUDIO_LEVEL),
                transport_cc: accepts(MID_MICROPHONE, EXTENSION_TRANSPORT_CC)
                    || accepts(MID_CAMERA, EXTENSION_TRANSPORT_CC),
            },
            transport_sequence: 0,
            next_audio: now,
            next_frame: now,
            frame_interval: match picture {
                Picture::Clip => FRAME_INTERVAL,
                Picture::Load { fps, .. } => Duration::from_secs(1) / fps.clamp(1, FPS_MAX),
            },
            room,
            participant,
            talker: speech.map(Talker::new),
            kbps: match picture {
                Picture::Clip => 0,
                Picture::Load { kbps, .. } => kbps,
            },
            requested_key_frames: 0,
        }
    }

    /// When `produce` has something to do, if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        let audio = self.audio.is_some().then_some(self.next_audio);
        let video = (!self.layers.is_empty()).then_some(self.next_frame);
        let paced = self.layers.iter().filter_map(|layer| layer.encoder.as_ref()?.due());
        audio.into_iter().chain(video).chain(paced).min()
    }

    /// All streams, for sender reports.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &SentStream> {
        self.audio.iter().chain(self.layers.iter().map(|layer| &layer.stream))
    }

    /// The next frame of this layer shall be a key frame.
    pub(crate) fn request_key_frame(&mut self, ssrc: u32) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.stream.ssrc == ssrc && layer.position != 0) {
            layer.position = 0;
            self.requested_key_frames += 1;
        }
    }

    /// Goes on with this bitrate of the whole picture, where an encoder is played.
    pub(crate) fn set_rate(&mut self, kbps: u32) {
        let before = std::mem::replace(&mut self.kbps, kbps);
        if before != kbps {
            let encoders = self.layers.iter_mut().filter_map(|layer| layer.encoder.as_mut());
            encoders.for_each(|encoder| encoder.change_rate(before, kbps));
        }
    }

    /// Hands all packets that are due to `send`, in plain form.
    pub(crate) fn produce(
        &mut self,
        now: Instant,
        media: MediaState,
        audio_level: u8,
        mut send: impl FnMut(Origin, Bytes),
    ) {
        skip_missed(&mut self.next_audio, now, AUDIO_INTERVAL);
        skip_missed(&mut self.next_frame, now, self.frame_interval);
        while self.next_audio <= now {
            let due = self.next_audio;
            self.next_audio += AUDIO_INTERVAL;
            self.audio_packet(now, due, media.microphone, audio_level, &mut send);
        }
        while self.next_frame <= now {
            self.next_frame += self.frame_interval;
            for index in 0..self.layers.len() {
                self.video_frame(index, now, media.camera, &mut send);
            }
        }
        for index in 0..self.layers.len() {
            self.paced_packets(index, now, &mut send);
        }
    }

    fn audio_packet(&mut self, now: Instant, due: Instant, on: bool, level: u8, send: &mut impl FnMut(Origin, Bytes)) {
        let (room, participant) = (self.room, self.participant);
        let Some(stream) = &mut self.audio else { return };
        // The clock runs on while muted.
        stream.timestamp = stream.timestamp.wrapping_add(AUDIO_TICKS);
        if !on {
            return;
        }
        // Everybody's conversation began at the same moment.
        let number = (due.saturating_duration_since(*EPOCH).as_millis() as u64) / clip::AUDIO_INTERVAL_MS;
        let sound = self.talker.as_mut().map(|talker| talker.sound(number));
        if sound.is_some_and(|sound| sound.left_out) {
            return;
        }
        let stamp = stream.stamp(room, participant, 0);
        let tone = clip::tone();
        let mut payload = Vec::new();
        stamp::stamp_opus(tone[self.audio_position % tone.len()], stamp, &mut payload);
        self.audio_position += 1;
        const VOICE: u8 = 0x80;
        // RFC 6464, section 3.
        let level = match sound {
            Some(sound) => sound.level | if sound.voice { VOICE } else { 0 },
            None => VOICE | level.min(127),
        };
        let level = self.accepted.audio_level.then_some(level);
        // RFC 3551, section 4.1.
        let marker = sound.is_some_and(|sound| sound.begins);
        let transport = next_transport_sequence(self.accepted.transport_cc, &mut self.transport_sequence);
        if let Some((sequence, packet)) = stream.packet(payload, marker, level, transport, now) {
            send(Origin { ssrc: stream.ssrc, sequence, layer: None }, packet);
        }
    }

    fn video_frame(&mut self, index: usize, now: Instant, on: bool, send: &mut impl FnMut(Origin, Bytes)) {
        let (room, participant) = (self.room, self.participant);
        let ticks = (self.frame_interval.as_micros() * 90 / 1_000) as u32;
        let layer = &mut self.layers[index];
        layer.clock = layer.clock.wrapping_add(ticks);
        if !on {
            // A camera that comes back begins with a key frame.
            layer.position = 0;
            return;
        }
        if layer.encoder.is_some() {
            layer.encode();
            return;
        }
        layer.stream.timestamp = layer.clock;
        let frame = layer.frames[layer.position];
        layer.position = (layer.position + 1) % layer.frames.len();
        layer.picture_id = layer.picture_id.wrapping_add(1);
        layer.tl0_pic_idx = layer.tl0_pic_idx.wrapping_add(1);
        let mut chunks = frame.chunks(CHUNK_BYTES).enumerate().peekable();
        while let Some((part, chunk)) = chunks.next() {
            let last = chunks.peek().is_none();
            let mut payload = Vec::with_capacity(vp8::DESCRIPTOR_BYTES + chunk.len() + stamp::BYTES);
            vp8::write_descriptor(&mut payload, part == 0, layer.picture_id, layer.tl0_pic_idx);
            payload.extend(chunk);
            if last {
                payload.extend(layer.stream.stamp(room, participant, index as u8).to_bytes());
            }
            let transport = next_transport_sequence(self.accepted.transport_cc, &mut self.transport_sequence);
            if let Some((sequence, packet)) = layer.stream.packet(payload, last, None, transport, now) {
                send(Origin { ssrc: layer.stream.ssrc, sequence, layer: Some(index) }, packet);
            }
        }
    }

    /// What the pacer lets go now, each packet with its own stamp.
    fn paced_packets(&mut self, index: usize, now: Instant, send: &mut impl FnMut(Origin, Bytes)) {
        let (room, participant) = (self.room, self.participant);
        while let Some(part) = self.layers[index].encoder.as_mut().and_then(|encoder| encoder.next(now)) {
            let stream = &mut self.layers[index].stream;
            let stamp = stream.stamp(room, participant, index as u8);
            let mut payload = Vec::with_capacity(vp8::DESCRIPTOR_BYTES + part.data.len() + stamp::BYTES);
            vp8::write_descriptor(&mut payload, part.first, part.picture_id, part.tl0_pic_idx);
            payload.extend(part.data);
            payload.extend(stamp.to_bytes());
            let transport = next_transport_sequence(self.accepted.transport_cc, &mut self.transport_sequence);
            stream.timestamp = part.timestamp;
            if let Some((sequence, packet)) = stream.packet(payload, part.last, None, transport, now) {
                send(Origin { ssrc: stream.ssrc, sequence, layer: Some(index) }, packet);
            }
        }
    }
}

impl Layer {
    /// Gives the next frame to the pacer.
    fn encode(&mut self) {
        let Some(encoder) = &mut self.encoder else { return };
        let key_frame = self.position == 0;
        self.position = 1;
        self.picture_id = self.picture_id.wrapping_add(1);
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        let (timestamp, picture_id, tl0_pic_idx) = (self.clock, self.picture_id, self.tl0_pic_idx);
        encoder.frame(key_frame, CHUNK_BYTES - stamp::BYTES, |first, last, data| Part {
            timestamp,
            picture_id,
            tl0_pic_idx,
            first,
            last,
            data,
        });
    }
}

fn encoder(picture: Picture, layer: usize, layers: usize, now: Instant) -> Option<Encoder> {
    match picture {
        Picture::Clip => None,
        Picture::Load { kbps, fps } => Some(Encoder::new(kbps, fps, layers - 1 - layer, random::u64(), now)),
    }
}

impl SentStream {
    fn new(ssrc: u32, payload_type: u8, mid: &'static str, rid: Option<&'static str>) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
            latest: None,
            // In the lower half, so that a lost first packet cannot make the receiver guess ROC wrongly (RFC 3711, section 3.3.1).
            sequence: u16::from_be_bytes(random::bytes()) & 0x7fff,
            timestamp: u32::from_be_bytes(random::bytes()),
            payload_type,
            mid,
            rid,
        }
    }

    /// For the next packet.
    fn stamp(&self, room: u64, participant: u64, layer: u8) -> Stamp {
        Stamp { room, participant, sent_us: stamp::now_us(), layer, index: self.packets }
    }

    /// The next packet and its sequence number.
    fn packet(
        &mut self,
        payload: Vec<u8>,
        marker: bool,
        audio_level: Option<u8>,
        transport_sequence: Option<u16>,
        now: Instant,
    ) -> Option<(u16, Bytes)> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        header.set_extension(EXTENSION_MID, Bytes::from_static(self.mid.as_bytes())).ok()?;
        if let Some(rid) = self.rid {
            header.set_extension(EXTENSION_RID, Bytes::from_static(rid.as_bytes())).ok()?;
        }
        if let Some(level) = audio_level {
            header.set_extension(EXTENSION_AUDIO_LEVEL, Bytes::copy_from_slice(&[level])).ok()?;
        }
        if let Some(sequence) = transport_sequence {
            header.set_extension(EXTENSION_TRANSPORT_CC, Bytes::copy_from_slice(&sequence.to_be_bytes())).ok()?;
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        self.latest = Some((self.timestamp, now));
        let packet = Packet { header, payload: payload.into() }.marshal().ok()?;
        Some((self.sequence, packet))
    }
}

fn next_transport_sequence(accepted: bool, counter: &mut u16) -> Option<u16> {
    accepted.then(|| {
        *counter = counter.wrapping_add(1);
        *counter
    })
}

fn skip_missed(next: &mut Instant, now: Instant, interval: Duration) {
    if now.saturating_duration_since(*next) > CATCH_UP.max(interval) {
        *next = now;
    }
}
