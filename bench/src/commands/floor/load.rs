//! The packets of a load: who gets which, when, how large, and sealed.

use crate::ground::kernel::{Message, Sender};
use crate::run::load::LoadArguments;
use anyhow::{anyhow, bail};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::io;
use std::time::Duration;

/// As the clients of `sfu` packetise: data in one packet of a picture, and what surrounds it: RTP header with one
/// extension element, and VP8 descriptor.
const CHUNK_BYTES: usize = 1100;
const HEADER_BYTES: usize = 20;
const DESCRIPTOR_BYTES: usize = 6;
/// 20 ms of Opus at 32 kbit/s.
const AUDIO_BYTES: usize = 80;
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const TAG_BYTES: usize = 16;

/// The same numbers that `sfu` is called with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloorLoad {
    pub(crate) rooms: usize,
    pub(crate) publishers: usize,
    pub(crate) viewers: usize,
    /// How many of the others each receives; all, if that is not limited.
    pub(crate) tiles: Option<usize>,
    pub(crate) video_kbps: u32,
    pub(crate) fps: u32,
    pub(crate) audio: bool,
}

/// Packets of one publisher that are forwarded together.
pub(super) struct Batch {
    /// Since the beginning.
    pub(super) due: Duration,
    /// Among those of all rooms.
    pub(super) publisher: usize,
    pub(super) packets: Packets,
}

/// So many of so many bytes, the tag not among them. Browsers cut a frame into packets that differ by a byte at most;
/// a relay that pads that byte can send them as one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packets {
    count: usize,
    bytes: usize,
}

impl Packets {
    fn sealed_bytes(self) -> usize {
        self.bytes + TAG_BYTES
    }
}

/// The same packets as those of a load, to be sent without any logic.
impl From<&LoadArguments> for FloorLoad {
    fn from(load: &LoadArguments) -> Self {
        Self {
            tiles: load.tiles.map(usize::from),
            rooms: load.rooms as usize,
            publishers: load.publishers.into(),
            viewers: load.viewers.into(),
            video_kbps: load.video_kbps,
            fps: load.fps,
            audio: load.audio,
        }
    }
}

impl FloorLoad {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.video_kbps == 0 && !self.audio {
            bail!("with neither picture nor sound there is nothing to send; give --video-kbps or --audio true");
        }
        if self.viewers == 0 && self.publishers < 2 {
            bail!("nobody would receive anything; give --viewers, or at least two --publishers");
        }
        Ok(())
    }

    pub(super) fn describe(&self) -> String {
        let Self { rooms, publishers, viewers, tiles, video_kbps, fps, audio } = self;
        let sound = if *audio { " + audio" } else { "" };
        let tiles = tiles.map(|tiles| format!("{tiles} tiles each, ")).unwrap_or_default();
        format!("{rooms} × {publishers} → {viewers}, {tiles}{video_kbps} kbit/s video at {fps} fps{sound}")
    }

    fn in_room(&self) -> usize {
        self.publishers + self.viewers
    }

    pub(super) fn receivers(&self) -> usize {
        self.rooms * self.in_room()
    }

    /// Everybody in the publisher's room but itself, if it is among those whom they see: the first ones are.
    fn subscribers(&self, publisher: usize) -> impl Iterator<Item = usize> + use<> {
        let first = publisher / self.publishers * self.in_room();
        let index = publisher % self.publishers;
        let (own, tiles, publishers) = (first + index, self.tiles, self.publishers);
        (first..first + self.in_room()).filter(move |receiver| {
            // Who sends does not see itself, and one more of the others.
            let place = if *receiver - first < publishers && *receiver < own { index - 1 } else { index };
            *receiver != own && tiles.is_none_or(|tiles| place < tiles)
        })
    }

    fn frame(&self) -> Packets {
        let bytes = (self.video_kbps as usize * 125 / self.fps as usize).max(1);
        let count = bytes.div_ceil(CHUNK_BYTES);
        Packets { count, bytes: HEADER_BYTES + DESCRIPTOR_BYTES + bytes.div_ceil(count) }
    }

    fn sound() -> Packets {
        Packets { count: 1, bytes: HEADER_BYTES + AUDIO_BYTES }
    }

    pub(super) fn largest_batch_bytes(&self) -> usize {
        let largest = |packets: Packets| packets.count * packets.sealed_bytes();
        largest(self.frame()).max(largest(Self::sound())) * self.in_room()
    }

    /// Without end. Publishers are spread over the intervals, as they are in life; the packets of a frame come in a burst.
    pub(super) fn batches(self, whole_frames: bool) -> impl Iterator<Item = Batch> {
        let publishers = self.rooms * self.publishers;
        let interval = Duration::from_secs(1) / self.fps;
        let frame = (self.video_kbps > 0).then(|| self.frame());
        let pictures = move |tick: u32, publisher: usize| {
            let due = interval * tick + interval * publisher as u32 / publishers as u32;
            let (times, count) = match frame {
                None => (0, 0),
                Some(frame) if whole_frames => (1, frame.count),
                Some(frame) => (frame.count, 1),
            };
            let packets = Packets { count, bytes: frame.map_or(0, |frame| frame.bytes) };
            (0..times).map(move |_| Batch { due, publisher, packets })
        };
        let mut sounds = 0;
        (0u32..).flat_map(move |tick| {
            let mut batches: Vec<Batch> = (0..publishers).flat_map(|publisher| pictures(tick, publisher)).collect();
            while self.audio && AUDIO_INTERVAL * sounds < interval * (tick + 1) {
                batches.extend((0..publishers).map(|publisher| Batch {
                    due: AUDIO_INTERVAL * sounds + AUDIO_INTERVAL * publisher as u32 / publishers as u32,
                    publisher,
                    packets: Self::sound(),
                }));
                sounds += 1;
            }
            batches.sort_by_key(|batch| batch.due);
            batches
        })
    }
}

/// Seals and sends; knows nothing.
pub(super) struct Floor {
    load: FloorLoad,
    sender: Sender,
    keys: Vec<LessSafeKey>,
    /// The packet as it would have been opened.
    plain: Box<[u8]>,
    messages: Vec<Message>,
    sequence: u32,
}

impl Floor {
    pub(super) fn new(load: FloorLoad, sender: Sender) -> anyhow::Result<Self> {
        let key = |receiver: usize| {
            let mut key = [0x2a; 16];
            key[..8].copy_from_slice(&receiver.to_be_bytes());
            UnboundKey::new(&AES_128_GCM, &key).map(LessSafeKey::new).map_err(|_| anyhow!("aws-lc refused a key"))
        };
        Ok(Self {
            keys: (0..load.receivers()).map(key).collect::<Result<_, _>>()?,
            plain: vec![0x5a; HEADER_BYTES + DESCRIPTOR_BYTES + CHUNK_BYTES].into(),
            messages: Vec::with_capacity(load.in_room()),
            load,
            sender,
            sequence: 0,
        })
    }

    /// Seals these packets for every subscriber, receiver by receiver, so that keys stay hot and packets to one
    /// address lie together. Says how many it were.
    pub(super) fn seal(&mut self, publisher: usize, packets: Packets) -> u64 {
        let arena = self.sender.arena();
        let mut start = 0;
        self.messages.clear();
        for to in self.load.subscribers(publisher) {
            let first = start;
            for index in 0..packets.count {
                let packet = &mut arena[start..start + packets.sealed_bytes()];
                packet[..packets.bytes].copy_from_slice(&self.plain[..packets.bytes]);
                seal(&self.keys[to], packet, packets.bytes, self.sequence.wrapping_add(index as u32));
                start += packets.sealed_bytes();
            }
            self.messages.push(Message { to, start: first, len: start - first, segment: packets.sealed_bytes() });
        }
        self.sequence = self.sequence.wrapping_add(packets.count as u32);
        (self.messages.len() * packets.count) as u64
    }

    /// Sends what was sealed.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.sender.send(&self.messages)
    }
}

/// RFC 7714, with the sequence number as the whole of the nonce: it only must not repeat.
fn seal(key: &LessSafeKey, packet: &mut [u8], len: usize, sequence: u32) {
    packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&sequence.to_be_bytes());
    let (plain, tag) = packet.split_at_mut(len);
    let (header, payload) = plain.split_at_mut(HEADER_BYTES);
    let nonce = Nonce::assume_unique_for_key(nonce);
    // Fails for lengths that no datagram has.
    if let Ok(sealed) = key.seal_in_place_separate_tag(nonce, Aad::from(&header), payload) {
        tag.copy_from_slice(sealed.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: FloorLoad =
        FloorLoad { rooms: 2, publishers: 3, viewers: 1, tiles: None, video_kbps: 1500, fps: 30, audio: true };

    #[test]
    fn a_second_has_the_bitrate_and_the_packets_of_the_load() {
        for whole_frames in [true, false] {
            let second: Vec<Batch> =
                LOAD.batches(whole_frames).take_while(|batch| batch.due < Duration::from_secs(1)).collect();
            let of_one = second.iter().filter(|batch| batch.publisher == 4);
            let sizes: Vec<usize> =
                of_one.flat_map(|batch| std::iter::repeat_n(batch.packets.bytes, batch.packets.count)).collect();
            let (audio, video): (Vec<usize>, Vec<usize>) = sizes.iter().partition(|bytes| **bytes == 100);
            assert_eq!(audio.len(), 50);
            assert_eq!(video.len(), 30 * 6);
            let data: usize = video.iter().map(|bytes| bytes - HEADER_BYTES - DESCRIPTOR_BYTES).sum();
            // A byte is padded where a frame cannot be divided.
            assert!((187_500..187_500 + video.len()).contains(&data), "{data}");
        }
    }

    #[test]
    fn a_publisher_reaches_all_others_of_its_room() {
        assert_eq!(LOAD.receivers(), 8);
        assert_eq!(LOAD.subscribers(0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(LOAD.subscribers(4).collect::<Vec<_>>(), [4, 6, 7]);
        // One tile each: the first is seen by all others, the second by the first.
        let one_tile = FloorLoad { tiles: Some(1), ..LOAD };
        let seen = |publisher| one_tile.subscribers(publisher).collect::<Vec<_>>();
        assert_eq!([seen(0), seen(1), seen(2)], [vec![1, 2, 3], vec![0], vec![]]);
    }

    #[test]
    fn batches_come_in_order() {
        let dues: Vec<Duration> = LOAD.batches(true).take(500).map(|batch| batch.due).collect();
        // Within the grain of a frame: what is due in the next is not looked at before.
        assert!(dues.windows(2).all(|pair| pair[1] + Duration::from_secs(1) / 30 >= pair[0]));
    }

    #[test]
    fn what_is_sealed_opens_with_the_receivers_key() {
        let key = |byte| LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[byte; 16]).unwrap());
        let mut packet = vec![0x5a; 100 + TAG_BYTES];
        seal(&key(1), &mut packet, 100, 7);
        let nonce = || {
            let mut nonce = [0; 12];
            nonce[11] = 7;
            Nonce::assume_unique_for_key(nonce)
        };
        let (header, payload) = packet.split_at_mut(HEADER_BYTES);
        assert!(key(2).open_in_place(nonce(), Aad::from(&header), &mut payload.to_vec()).is_err());
        assert_eq!(key(1).open_in_place(nonce(), Aad::from(&header), payload).unwrap(), vec![0x5a; 100 - HEADER_BYTES]);
    }
}
