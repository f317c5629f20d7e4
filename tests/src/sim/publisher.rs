//! The sending half of a simulated browser.

use crate::media::{self, Label, Picture, StreamId, Vp8Descriptor};
use crate::random::Random;
use crate::sim::session::Session;
use crate::sim::setup::{Setup, StreamSetup};
use crate::wire::rtcp::Rtcp;
use crate::wire::rtp::RtpPacket;
use bytes::Bytes;
use plausch_engine::Time;
use plausch_relay_api::{Codec, MediaKind, TrackKind};
use std::collections::VecDeque;
use std::time::Duration;

/// Packets that a publisher keeps for NACKs.
const HISTORY_PACKETS: usize = 300;
/// NTP seconds (RFC 5905) of the virtual clock's zero.
const NTP_EPOCH_S: u64 = 3_900_000_000;

/// One stream being sent.
pub struct Stream {
    pub id: StreamId,
    pub setup: StreamSetup,
    pub codec: Codec,
    pub vp8: Vp8Descriptor,
    /// The first sequence number; the packet with counter n has this plus n.
    pub first_sequence: u16,
    /// The picture numbers of frame 0.
    pub first_picture: Picture,
    payload_type: u8,
    timestamp_base: u32,
    next_counter: u32,
    next_frame: u32,
    next_frame_at: Time,
    key_frame_wanted: bool,
    /// Counter, packet in the clear, packet as sent, its transport sequence number.
    history: VecDeque<(u32, RtpPacket, Bytes, Option<u16>)>,
    /// MID and RID are on each packet until the first receiver report, as in libwebrtc.
    reported: bool,
    pub enabled: bool,
    octets: u32,
}

/// A packet of a publisher, and what the model must know of it.
#[derive(Clone, Debug)]
pub struct Published {
    pub stream: StreamId,
    pub counter: u32,
    pub kind: PublishedKind,
    pub transport_sequence: Option<u16>,
    pub sealed: Bytes,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishedKind {
    Media,
    Padding,
    /// The same packet again, as it was.
    Resent,
}

/// All streams of one PeerConnection.
pub struct Publisher {
    pub streams: Vec<Stream>,
    /// How far this browser's wall clock is ahead of the virtual clock.
    ntp_offset: Duration,
    transport_sequence: u16,
    next_report: Time,
    speaking_until: Time,
    speaking: bool,
}

impl Publisher {
    /// Begins to send at `now`.
    pub fn new(setup: &Setup, random: &mut Random, now: Time) -> Self {
        let mut publisher = Self {
            streams: Vec::new(),
            ntp_offset: random.micros(0, 50_000_000_000),
            transport_sequence: random.bits() as u16,
            next_report: now + random.micros(0, 1_000_000),
            speaking_until: now,
            speaking: false,
        };
        publisher.add_streams(setup, random, now);
        publisher
    }

    /// Begins with those streams of `setup` that are not there yet.
    pub fn add_streams(&mut self, setup: &Setup, random: &mut Random, now: Time) {
        for stream in &setup.streams[self.streams.len()..] {
            let codec = setup.codec(stream.track);
            let mapping = setup.mapping(codec).expect("a browser sends what it negotiated");
            self.streams.push(Stream {
                id: StreamId {
                    room: setup.spec.room,
                    participant: setup.spec.participant,
                    generation: setup.spec.generation,
                    track: stream.track,
                    layer: stream.layer,
                },
                setup: stream.clone(),
                codec,
                vp8: setup.vp8,
                // Below 2^15, as a safe start needs it (RFC 3711, section 3.3.1); or some seconds before the wrap.
                first_sequence: match random.chance(200) {
                    true => random.range(65_250, 65_350) as u16,
                    false => random.range(0, 32_767) as u16,
                },
                first_picture: Picture {
                    id: if random.chance(300) {
                        random.range(32_700, 32_767) as u16
                    } else {
                        random.range(0, 32_767) as u16
                    },
                    tl0_index: random.bits() as u8,
                },
                payload_type: mapping.payload_type,
                timestamp_base: random.bits() as u32,
                next_counter: 0,
                next_frame: 0,
                next_frame_at: now + random.micros(0, 40_000),
                key_frame_wanted: true,
                history: VecDeque::new(),
                reported: false,
                enabled: true,
                octets: 0,
            });
        }
    }

    /// Everything that is due at `now`.
    pub fn poll(&mut self, setup: &Setup, session: &mut Session, random: &mut Random, now: Time) -> Vec<Published> {
        if now >= self.speaking_until {
            self.speaking = setup.speaks && random.chance(500);
            self.speaking_until = now + random.micros(300_000, 2_000_000);
        }
        let mut out = Vec::new();
        for at in 0..self.streams.len() {
            while self.streams[at].next_frame_at <= now {
                let media = self.streams[at].id.track.media();
                let interval = match media {
                    MediaKind::Audio => Duration::from_millis(20),
                    MediaKind::Video => Duration::from_micros(1_000_000 / setup.frame_rate),
                };
                let captured = self.streams[at].next_frame_at;
                self.streams[at].next_frame_at = captured + interval;
                if self.streams[at].enabled {
                    self.frame(at, captured, setup, session, random, &mut out);
                    if setup.probes && media == MediaKind::Video && random.chance(30) {
                        self.padding(at, setup, session, random, &mut out);
                    }
                }
            }
        }
        out
    }

    fn frame(
        &mut self,
        at: usize,
        captured: Time,
        setup: &Setup,
        session: &mut Session,
        random: &mut Random,
        out: &mut Vec<Published>,
    ) {
        let stream = &mut self.streams[at];
        let video = stream.id.track.media() == MediaKind::Video;
        let key_frame = video && std::mem::take(&mut stream.key_frame_wanted);
        let packets = match (video, key_frame) {
            (false, _) => 1,
            (true, true) => random.range(2, 5),
            (true, false) => random.range(1, 3),
        };
        let picture = stream.picture(stream.next_frame);
        let timestamp = stream.timestamp(captured);
        for packet in 0..packets {
            let label = Label {
                stream: stream.id,
                counter: stream.next_counter,
                frame: stream.next_frame,
                key_frame,
                first_of_frame: packet == 0,
                last_of_frame: packet + 1 == packets,
                captured: captured.0,
                timestamp,
            };
            let filler = if random.chance(30) { random.range(800, 1000) } else { random.range(0, 120) } as usize;
            let payload = media::payload(stream.codec, stream.vp8, picture, &label, filler);
            let transport_sequence = setup.spec.extensions.transport_cc.map(|_| self.transport_sequence);
            self.transport_sequence = self.transport_sequence.wrapping_add(1);
            let mut extensions = stream.extensions(setup, transport_sequence);
            if !video && let Some(id) = setup.spec.extensions.audio_level {
                extensions.push((id, vec![media::audio_level(random, self.speaking)]));
            }
            if stream.codec == Codec::Av1
                && let Some(id) = setup.spec.extensions.dependency_descriptor
            {
                extensions.push((id, media::dependency_descriptor(&label)));
            }
            let packet = stream.packet(timestamp, video && label.last_of_frame, extensions, payload, 0);
            stream.octets = stream.octets.wrapping_add(packet.payload.len() as u32);
            out.push(stream.publish(packet, PublishedKind::Media, transport_sequence, session));
        }
        stream.next_frame += 1;
    }

    fn padding(
        &mut self,
        at: usize,
        setup: &Setup,
        session: &mut Session,
        random: &mut Random,
        out: &mut Vec<Published>,
    ) {
        let stream = &mut self.streams[at];
        let transport_sequence = setup.spec.extensions.transport_cc.map(|_| self.transport_sequence);
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let extensions = stream.extensions(setup, transport_sequence);
        // With the timestamp of the last frame.
        let timestamp = stream.history.back().map_or(stream.timestamp_base, |(_, packet, ..)| packet.timestamp);
        let packet = stream.packet(timestamp, false, extensions, Vec::new(), random.range(1, 255) as u8);
        out.push(stream.publish(packet, PublishedKind::Padding, transport_sequence, session));
    }

    /// What the engine says of our streams; packets to send again come back.
    pub fn feedback(&mut self, rtcp: &Rtcp) -> Vec<Published> {
        let mut out = Vec::new();
        match rtcp {
            Rtcp::Pli { media, .. } => self.want_key_frame(*media),
            Rtcp::Fir { entries, .. } => entries.iter().for_each(|(ssrc, _)| self.want_key_frame(*ssrc)),
            Rtcp::ReceiverReport { blocks, .. } | Rtcp::SenderReport { blocks, .. } => {
                for block in blocks {
                    if let Some(stream) = self.streams.iter_mut().find(|stream| stream.setup.ssrc == block.ssrc) {
                        stream.reported = true;
                    }
                }
            }
            Rtcp::Nack { media, lost, .. } => {
                out.extend(lost.iter().filter_map(|sequence| self.resend(*media, *sequence)));
            }
            _ => {}
        }
        out
    }

    fn want_key_frame(&mut self, ssrc: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.setup.ssrc == ssrc) {
            stream.key_frame_wanted = true;
        }
    }

    /// The same packet bit by bit, as a browser does where RTX was not negotiated; control never does.
    fn resend(&self, ssrc: u32, sequence: u16) -> Option<Published> {
        let stream = self.streams.iter().find(|stream| stream.setup.ssrc == ssrc)?;
        let sent = stream.history.iter().find(|(_, packet, ..)| packet.sequence == sequence)?;
        let (counter, _, sealed, transport_sequence) = sent;
        Some(Published {
            stream: stream.id,
            counter: *counter,
            kind: PublishedKind::Resent,
            transport_sequence: *transport_sequence,
            sealed: sealed.clone(),
        })
    }

    /// Sender reports with CNAME, one compound for each stream, once a second.
    pub fn poll_reports(&mut self, now: Time) -> Vec<Vec<Rtcp>> {
        if now < self.next_report {
            return Vec::new();
        }
        self.next_report = now + Duration::from_secs(1);
        let micros = now.0 + self.ntp_offset.as_micros() as u64;
        let ntp = ((NTP_EPOCH_S + micros / 1_000_000) << 32) | (((micros % 1_000_000) << 32) / 1_000_000);
        let sending = self.streams.iter().filter(|stream| stream.next_counter > 0);
        sending
            .map(|stream| {
                let report = Rtcp::SenderReport {
                    ssrc: stream.setup.ssrc,
                    ntp,
                    timestamp: stream.timestamp(now),
                    packets: stream.next_counter,
                    octets: stream.octets,
                    blocks: Vec::new(),
                };
                let cname = format!("cname{:x}", stream.id.participant.0);
                vec![report, Rtcp::SourceDescription { chunks: vec![(stream.setup.ssrc, cname)] }]
            })
            .collect()
    }

    /// Switches the streams of a track on or off; a camera comes back with a key frame.
    pub fn enable(&mut self, track: TrackKind, on: bool) {
        for stream in self.streams.iter_mut().filter(|stream| stream.id.track == track) {
            stream.key_frame_wanted |= on && !stream.enabled;
            stream.enabled = on;
        }
    }

    /// Switches one simulcast layer on or off, as encoders do with bandwidth and picture size.
    pub fn enable_layer(&mut self, track: TrackKind, layer: u8, on: bool) {
        let found = self.streams.iter_mut().find(|stream| (stream.id.track, stream.id.layer) == (track, layer));
        if let Some(stream) = found {
            stream.key_frame_wanted |= on && !stream.enabled;
            stream.enabled = on;
        }
    }

    /// The layer that a subscriber shall get who wants none larger than `largest`.
    pub fn best_layer(&self, track: TrackKind, largest: u8) -> Option<u8> {
        let enabled = self.streams.iter().filter(|stream| stream.id.track == track && stream.enabled);
        let layers: Vec<u8> = enabled.map(|stream| stream.id.layer).collect();
        layers.iter().filter(|layer| **layer <= largest).max().or(layers.iter().min()).copied()
    }
}

impl Stream {
    /// The picture numbers of a frame.
    pub fn picture(&self, frame: u32) -> Picture {
        picture_of(self.first_picture, frame)
    }

    fn timestamp(&self, at: Time) -> u32 {
        let ticks = u128::from(at.0) * u128::from(self.codec.clock_rate()) / 1_000_000;
        self.timestamp_base.wrapping_add(ticks as u32)
    }

    fn extensions(&self, setup: &Setup, transport_sequence: Option<u16>) -> Vec<(u8, Vec<u8>)> {
        let ids = &setup.spec.extensions;
        let mut extensions = Vec::new();
        if !self.reported {
            extensions.extend(ids.mid.map(|id| (id, self.setup.mid.clone().into_bytes())));
            if let (Some(id), Some(rid)) = (ids.rid, &self.setup.rid) {
                extensions.push((id, rid.clone().into_bytes()));
            }
        }
        if let (Some(id), Some(sequence)) = (ids.transport_cc, transport_sequence) {
            extensions.push((id, sequence.to_be_bytes().to_vec()));
        }
        extensions
    }

    fn packet(
        &mut self,
        timestamp: u32,
        marker: bool,
        extensions: Vec<(u8, Vec<u8>)>,
        payload: Vec<u8>,
        padding: u8,
    ) -> RtpPacket {
        RtpPacket {
            payload_type: self.payload_type,
            marker,
            sequence: self.first_sequence.wrapping_add(self.next_counter as u16),
            timestamp,
            ssrc: self.setup.ssrc,
            extensions,
            payload,
            padding,
        }
    }

    fn publish(
        &mut self,
        packet: RtpPacket,
        kind: PublishedKind,
        transport_sequence: Option<u16>,
        session: &mut Session,
    ) -> Published {
        let sealed = session.seal_rtp(&packet.encode());
        let counter = self.next_counter;
        self.next_counter += 1;
        if self.history.len() == HISTORY_PACKETS {
            self.history.pop_front();
        }
        self.history.push_back((counter, packet, sealed.clone(), transport_sequence));
        Published { stream: self.id, counter, kind, transport_sequence, sealed }
    }
}

/// The picture numbers of a frame, counted from those of frame 0.
pub fn picture_of(first: Picture, frame: u32) -> Picture {
    Picture { id: first.id.wrapping_add(frame as u16) & 0x7fff, tl0_index: first.tl0_index.wrapping_add(frame as u8) }
}
