//! What simulated browsers send: payloads that look like a codec's to the relay and carry a label by which the
//! model knows every packet again.

use crate::random::Random;
use plausch_relay_api::{Codec, ParticipantId, RoomId, TrackKind};

/// One RTP stream of one PeerConnection: what has an SSRC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId {
    pub room: RoomId,
    pub participant: ParticipantId,
    pub generation: u32,
    pub track: TrackKind,
    pub layer: u8,
}

/// What a packet's payload says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    pub stream: StreamId,
    /// Counts all packets of the stream, padding too: the sequence number is the first one plus this.
    pub counter: u32,
    /// Counts the frames of the stream.
    pub frame: u32,
    pub key_frame: bool,
    pub first_of_frame: bool,
    pub last_of_frame: bool,
    /// When the frame was captured, in microseconds of virtual time.
    pub captured: u64,
    /// The RTP timestamp as sent.
    pub timestamp: u32,
}

const MAGIC: [u8; 4] = *b"PLSM";
/// Bytes of a label.
pub const LABEL_BYTES: usize = 52;

const TRACKS: [TrackKind; 4] = [TrackKind::Microphone, TrackKind::Camera, TrackKind::Screen, TrackKind::ScreenAudio];

impl Label {
    /// The label's bytes, which are the last of a payload: behind whatever the codec has in front.
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.stream.room.0.to_be_bytes());
        out.extend_from_slice(&self.stream.participant.0.to_be_bytes());
        out.extend_from_slice(&self.stream.generation.to_be_bytes());
        out.push(TRACKS.iter().position(|track| *track == self.stream.track).unwrap_or_default() as u8);
        out.push(self.stream.layer);
        out.push(u8::from(self.key_frame) | u8::from(self.first_of_frame) << 1 | u8::from(self.last_of_frame) << 2);
        out.push(0);
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&self.captured.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    /// The label of a payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let label = payload.get(payload.len().checked_sub(LABEL_BYTES)?..)?;
        if label[..4] != MAGIC {
            return None;
        }
        let number = |at: usize| label[at..at + 8].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let short = |at: usize| (number(at) >> 32) as u32;
        Some(Self {
            stream: StreamId {
                room: RoomId(number(4)),
                participant: ParticipantId(number(12)),
                generation: short(20),
                track: *TRACKS.get(usize::from(label[24]))?,
                layer: label[25],
            },
            counter: short(28),
            frame: short(32),
            key_frame: label[26] & 1 != 0,
            first_of_frame: label[26] & 2 != 0,
            last_of_frame: label[26] & 4 != 0,
            captured: number(36),
            timestamp: short(44),
        })
    }
}

/// Picture numbers as the codecs carry them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Picture {
    pub id: u16,
    pub tl0_index: u8,
}

/// How much of the optional parts of VP8's descriptor a browser writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vp8Descriptor {
    /// Picture id of 15 bits, TL0PICIDX and TID: Chromium.
    Full,
    /// Picture id of 15 bits only: Firefox without simulcast.
    PictureIdOnly,
}

/// The payload of one packet: codec header, filler and label.
pub fn payload(codec: Codec, descriptor: Vp8Descriptor, picture: Picture, label: &Label, filler: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(filler + LABEL_BYTES + 32);
    let tail = |out: &mut Vec<u8>| {
        out.extend((0..filler).map(|i| fill(label.counter, i)));
        label.encode(out);
    };
    match codec {
        Codec::Opus => {
            // TOC: CELT fullband, 20 ms, mono, one frame.
            out.push(0xf8);
            tail(&mut out);
        }
        Codec::Vp8 => {
            vp8_header(&mut out, descriptor, picture, label);
            tail(&mut out);
        }
        Codec::Vp9 => {
            vp9_header(&mut out, picture, label);
            tail(&mut out);
        }
        Codec::H264 | Codec::H264Main | Codec::H264Extended | Codec::H264High | Codec::H264High444 => {
            h264(&mut out, label, tail);
        }
        Codec::Av1 => av1(&mut out, label, tail),
    }
    out
}

/// A filler byte, so that a packet mixed from two is noticed.
fn fill(counter: u32, i: usize) -> u8 {
    (counter.wrapping_mul(31) as usize).wrapping_add(i.wrapping_mul(7)) as u8
}

/// Whether `payload` is, behind VP8's descriptor, what was sent.
pub fn is_intact(codec: Codec, descriptor: Vp8Descriptor, picture: Picture, label: &Label, payload_out: &[u8]) -> bool {
    let mut sent = payload(codec, descriptor, picture, label, 0);
    let head = sent.len() - LABEL_BYTES;
    let Some(filler) = payload_out.len().checked_sub(sent.len()) else { return false };
    sent = payload(codec, descriptor, picture, label, filler);
    let skip = if codec == Codec::Vp8 { vp8_descriptor_len(descriptor) } else { 0 };
    debug_assert!(skip <= head);
    sent[skip..] == payload_out[skip..]
}

const fn vp8_descriptor_len(descriptor: Vp8Descriptor) -> usize {
    match descriptor {
        Vp8Descriptor::Full => 6,
        Vp8Descriptor::PictureIdOnly => 4,
    }
}

/// RFC 7741, sections 4.2 and 4.3.
fn vp8_header(out: &mut Vec<u8>, descriptor: Vp8Descriptor, picture: Picture, label: &Label) {
    out.push(0x80 | u8::from(label.first_of_frame) << 4);
    match descriptor {
        Vp8Descriptor::Full => {
            out.push(0x80 | 0x40 | 0x20);
            out.extend_from_slice(&(picture.id | 0x8000).to_be_bytes());
            out.extend_from_slice(&[picture.tl0_index, 0]);
        }
        Vp8Descriptor::PictureIdOnly => {
            out.push(0x80);
            out.extend_from_slice(&(picture.id | 0x8000).to_be_bytes());
        }
    }
    if label.first_of_frame {
        if label.key_frame {
            // P = 0, show frame; start code; 320 × 180.
            out.extend_from_slice(&[0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 1, 180, 0]);
        } else {
            out.extend_from_slice(&[0x11, 2, 0]);
        }
    }
}

/// The picture numbers of a VP8 packet that was forwarded.
pub fn vp8_picture(payload: &[u8]) -> Option<(u16, Option<u8>)> {
    let [first, flags, high, low, rest @ ..] = payload else { return None };
    if first & 0x80 == 0 || flags & 0x80 == 0 || high & 0x80 == 0 {
        return None;
    }
    let id = u16::from_be_bytes([high & 0x7f, *low]);
    Some((id, if flags & 0x40 != 0 { Some(*rest.first()?) } else { None }))
}

/// RFC 9628, section 4.2, non-flexible mode.
fn vp9_header(out: &mut Vec<u8>, picture: Picture, label: &Label) {
    let structure = label.key_frame && label.first_of_frame;
    out.push(
        0x80 | u8::from(!label.key_frame) << 6
            | 0x20
            | u8::from(label.first_of_frame) << 3
            | u8::from(label.last_of_frame) << 2
            | u8::from(structure) << 1,
    );
    out.extend_from_slice(&(picture.id | 0x8000).to_be_bytes());
    out.extend_from_slice(&[0, picture.tl0_index]);
    if structure {
        // One spatial layer, no sizes, no picture group.
        out.push(0);
    }
}

/// RFC 6184, section 5: a STAP-A of parameter sets and the start of a key frame in the first packet, FU-A otherwise.
fn h264(out: &mut Vec<u8>, label: &Label, tail: impl Fn(&mut Vec<u8>)) {
    if label.key_frame && label.first_of_frame {
        out.push(0x78);
        out.extend_from_slice(&[0, 4, 0x67, 0x42, 0xe0, 0x1f]);
        out.extend_from_slice(&[0, 4, 0x68, 0xce, 0x3c, 0x80]);
        let mut picture = vec![0x65];
        tail(&mut picture);
        out.extend_from_slice(&(picture.len() as u16).to_be_bytes());
        out.extend_from_slice(&picture);
    } else {
        let unit = if label.key_frame { 5 } else { 1 };
        out.push(0x7c);
        out.push(u8::from(label.first_of_frame) << 7 | u8::from(label.last_of_frame) << 6 | unit);
        tail(out);
    }
}

/// AV1 RTP specification, section 4.4.
fn av1(out: &mut Vec<u8>, label: &Label, tail: impl Fn(&mut Vec<u8>)) {
    let continues = u8::from(!label.first_of_frame) << 7;
    let unfinished = u8::from(!label.last_of_frame) << 6;
    if label.key_frame && label.first_of_frame {
        // W = 2, N = 1: a sequence header with its length, then the frame up to the end.
        out.push(continues | unfinished | 2 << 4 | 1 << 3);
        out.extend_from_slice(&[4, 1 << 3, 0, 0, 0]);
        out.push(6 << 3);
    } else {
        out.push(continues | unfinished | 1 << 4);
        if label.first_of_frame {
            out.push(6 << 3);
        }
    }
    tail(out);
}

/// The AV1 dependency descriptor of a packet (AV1 RTP specification, appendix A): one spatial, one temporal
/// layer, two templates (key and delta), the structure on the first packet of a key frame.
pub fn dependency_descriptor(label: &Label) -> Vec<u8> {
    let with_structure = label.key_frame && label.first_of_frame;
    let mut bits = Bits::default();
    bits.put(u64::from(label.first_of_frame), 1);
    bits.put(u64::from(label.last_of_frame), 1);
    bits.put(u64::from(!label.key_frame), 6);
    bits.put(u64::from(label.frame as u16), 16);
    if with_structure {
        // Structure follows; no active targets, own DTIs, fdiffs or chains.
        bits.put(0b10000, 5);
        // Template offset 0, one decode target.
        bits.put(0, 6);
        bits.put(0, 5);
        // Layers: the second template has the layer of the first, then the end.
        bits.put(0, 2);
        bits.put(3, 2);
        // DTIs: switch for the key template, required for the other.
        bits.put(2, 2);
        bits.put(3, 2);
        // Fdiffs: none for the first; one of distance 1 for the second.
        bits.put(0, 1);
        bits.put(1, 1);
        bits.put(0, 4);
        bits.put(0, 1);
        // No chains (ns(2) is one bit), no resolutions.
        bits.put(0, 1);
        bits.put(0, 1);
    }
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let byte = self.used / 8;
            self.bytes[byte] |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            self.used += 1;
        }
    }
}

/// An audio level (RFC 6464) for somebody who speaks about half of the time.
pub fn audio_level(random: &mut Random, speaking: bool) -> u8 {
    if speaking { 0x80 | random.range(20, 45) as u8 } else { random.range(90, 127) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_every_codec() {
        let stream = StreamId {
            room: RoomId(1),
            participant: ParticipantId(u64::MAX),
            generation: 3,
            track: TrackKind::Screen,
            layer: 2,
        };
        let label = Label {
            stream,
            counter: 77,
            frame: 9,
            key_frame: true,
            first_of_frame: true,
            last_of_frame: false,
            captured: 1 << 33,
            timestamp: 5,
        };
        let picture = Picture { id: 0x7fff, tl0_index: 200 };
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
            let mut bytes = payload(codec, Vp8Descriptor::Full, picture, &label, 100);
            assert_eq!(Label::decode(&bytes), Some(label));
            assert!(is_intact(codec, Vp8Descriptor::Full, picture, &label, &bytes));
            let at = bytes.len() - LABEL_BYTES - 1;
            bytes[at] ^= 1;
            assert!(!is_intact(codec, Vp8Descriptor::Full, picture, &label, &bytes));
        }
        let bytes = payload(Codec::Vp8, Vp8Descriptor::Full, picture, &label, 0);
        assert_eq!(vp8_picture(&bytes), Some((0x7fff, Some(200))));
    }
}
