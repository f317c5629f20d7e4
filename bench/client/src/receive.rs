//! What the client receives: finds the slot of each packet, counts, checks continuity, and reads what is inside.

use super::ages::Ages;
use super::header::Header;
use super::received::{Report, Stream};
use super::sdp::{PAYLOAD_OPUS, PAYLOAD_VP8, RemoteDescription, slot_mids};
use super::stamp::{self, Stamp};
use super::stats::{Counts, SlotStats, TrackStats};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between two key-frame requests of the client for one slot.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(1_000);

/// Audio or video of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Half {
    Audio,
    Video,
}

/// An m-line that receives, and the slot that it fills.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) slot: u16,
    pub(crate) half: Half,
    pub(crate) mid: String,
    /// With which the peer sends, if its description says so.
    pub(crate) ssrc: Option<u32>,
}

impl Line {
    /// Both lines of each of our first `slots` slots, with the SSRCs of the answer.
    pub(crate) fn of_slots(slots: u16, remote: &RemoteDescription) -> Vec<Self> {
        let ssrc = |mid: &str| remote.media(mid).and_then(|media| media.ssrcs.first().copied());
        let both = |slot| {
            let mids = slot_mids(slot);
            [(mids.audio, Half::Audio), (mids.video, Half::Video)].map(|(mid, half)| {
                let ssrc = ssrc(&mid);
                Self { slot, half, mid, ssrc }
            })
        };
        (0..slots).flat_map(both).collect()
    }
}

/// Why a packet is worth decrypting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MayShow {
    Nothing,
    /// That the track follows another layer than before.
    Layer,
    /// The key frame that was asked for: who overlooks it asks again, and that is load for everybody.
    KeyFrame,
}

/// The PeerConnection on which packets come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Incoming {
    /// Number among those of the client.
    pub(crate) connection: u16,
    /// Id of the header extension with which the peer sends MIDs, if it does.
    pub(crate) mid_extension: Option<u8>,
}

/// One m-line that receives.
#[derive(Default)]
struct Track {
    connection: u16,
    mid: String,
    /// Of the answer, or of the first packet with our MID.
    ssrc: Option<u32>,
    stats: TrackStats,
    last_packet: Option<Instant>,
    stream: Option<Stream>,
}

/// All slots of the client, kept over its PeerConnections.
#[derive(Default)]
pub(crate) struct Receiver {
    /// Two for each slot: audio, then video.
    tracks: Vec<Track>,
    /// By PeerConnection and SSRC.
    by_ssrc: HashMap<(u16, u32), usize>,
    /// Own room, to notice media of others.
    room: u64,
    pub(crate) unknown_packets: u64,
    pub(crate) foreign_packets: u64,
    /// Of stamped media, until somebody takes them.
    pub(crate) ages: Ages,
    pub(crate) first_packet: Option<Instant>,
    pub(crate) first_key_frame: Option<Instant>,
}

impl Receiver {
    pub(crate) fn new(room: u64) -> Self {
        Self { room, ..Self::default() }
    }

    /// Takes the receiving lines of a PeerConnection. `fresh`: a new one, whose streams begin anew.
    pub(crate) fn describe(&mut self, connection: u16, lines: &[Line], fresh: bool) {
        if fresh {
            self.by_ssrc.retain(|(of, _), _| *of != connection);
            for track in self.tracks.iter_mut().filter(|track| track.connection == connection) {
                track.ssrc = None;
                track.stream = None;
            }
        }
        for line in lines {
            let index = track_index(usize::from(line.slot), line.half);
            // Slots come in pairs.
            if self.tracks.len() <= index {
                self.tracks.resize_with((index | 1) + 1, Track::default);
            }
            let track = &mut self.tracks[index];
            track.connection = connection;
            track.mid.clone_from(&line.mid);
            if let Some(ssrc) = line.ssrc {
                self.bind(ssrc, index);
            }
        }
    }

    fn bind(&mut self, ssrc: u32, index: usize) {
        let track = &mut self.tracks[index];
        let connection = track.connection;
        if let Some(old) = track.ssrc.replace(ssrc)
            && old != ssrc
        {
            track.stream = None;
            self.by_ssrc.remove(&(connection, old));
        }
        self.by_ssrc.insert((connection, ssrc), index);
    }

    /// Takes an RTP packet, and when it came out of the network, if that is known; `open` decrypts it, or says `None` when
    /// this one is only counted. It is told what the packet may show. `true`: something is to be asked of the sender.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: Incoming,
        packet: &[u8],
        at_ns: Option<u64>,
        open: impl FnOnce(MayShow) -> Option<Result<Bytes, ()>>,
    ) -> bool {
        let header = Header::read(packet, from.mid_extension);
        let place = header.and_then(|header| Some((header, self.find(from.connection, header.ssrc, header.mid)?)));
        let Some((header, index)) = place else {
            self.unknown_packets += 1;
            return false;
        };
        // Unauthenticated packets must not change anything, so decrypt first.
        let track = &mut self.tracks[index];
        let video = index % 2 == 1;
        let may_show = match &track.stream {
            _ if !video => MayShow::Nothing,
            Some(stream) if !stream.needs_key_frame && stream.may_show_layer(&header) => MayShow::Layer,
            Some(stream) if !stream.needs_key_frame => MayShow::Nothing,
            _ => MayShow::KeyFrame,
        };
        let opened = open(may_show);
        if let Some(Err(())) = opened {
            track.stats.undecryptable += 1;
            return false;
        }
        self.first_packet.get_or_insert(now);
        let stats = &mut track.stats;
        stats.packets += 1;
        stats.bytes += packet.len() as u64;
        stats.wrong_mid += u64::from(from.mid_extension.is_some() && header.mid != Some(track.mid.as_bytes()));
        if let Some(last) = track.last_packet.replace(now) {
            stats.longest_pause = stats.longest_pause.max(now.duration_since(last));
        }
        stats.frames += u64::from(video && header.marker);
        let clock_rate = if video { 90_000.0 } else { 48_000.0 };
        let stream = track.stream.get_or_insert_with(|| Stream::new(header.sequence_number, video));
        let before = stream.newest.map(|(number, _)| number);
        let number = stream.count(now, &header, clock_rate, stats);
        if before.is_none_or(|before| before < number) {
            stream.newest = Some((number, header.timestamp));
        }
        let urgent = stream.is_urgent();
        let Some(Ok(plain)) = opened else { return urgent };
        stats.decrypted += 1;
        let payload = header.payload(&plain);
        let starts_key_frame = header.payload_type == PAYLOAD_VP8 && stream.read_vp8(payload, number, stats);
        if starts_key_frame {
            self.first_key_frame.get_or_insert(now);
        }
        if matches!(header.payload_type, PAYLOAD_VP8 | PAYLOAD_OPUS)
            && let Some(stamp) = Stamp::from_end_of(payload)
        {
            *stats.senders.entry(format!("{:016x}", stamp.participant)).or_default() += 1;
            if video {
                let next = before.is_some_and(|before| before + 1 == number);
                stream.follower.note(number, &stamp, next, starts_key_frame);
                stats.layer_switches = stream.follower.switches;
                stats.blind_switches = stream.follower.blind_switches;
                stats.following = stream.follower.following();
            }
            let age = stamp::now_us().saturating_sub(stamp.sent_us);
            stats.latency.record(age);
            self.ages.handled.record(age);
            if let Some(at_ns) = at_ns {
                self.ages.arrived.record((at_ns / 1_000).saturating_sub(stamp.sent_us));
            }
            self.foreign_packets += u64::from(stamp.room != self.room);
        }
        urgent
    }

    fn find(&mut self, connection: u16, ssrc: u32, mid: Option<&[u8]>) -> Option<usize> {
        if let Some(index) = self.by_ssrc.get(&(connection, ssrc)) {
            return Some(*index);
        }
        let wanted =
            |track: &Track| track.connection == connection && track.ssrc.is_none() && Some(track.mid.as_bytes()) == mid;
        let index = self.tracks.iter().position(wanted)?;
        self.bind(ssrc, index);
        Some(index)
    }

    /// A sender report of the relay came in.
    pub(crate) fn sender_report(&mut self, now: Instant, connection: u16, ssrc: u32, ntp: u64) {
        let index = self.by_ssrc.get(&(connection, ssrc));
        if let Some(stream) = index.and_then(|index| self.tracks[*index].stream.as_mut()) {
            stream.sender_report = Some(((ntp >> 16) as u32, now));
        }
    }

    /// Reception reports of all streams of a PeerConnection that are alive.
    pub(crate) fn reports(&mut self, now: Instant, connection: u16) -> Vec<Report> {
        let alive = |last: &Option<Instant>| last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(5));
        self.tracks
            .iter_mut()
            .filter(|track| track.connection == connection && alive(&track.last_packet))
            .filter_map(|track| Some(track.stream.as_mut()?.report(track.ssrc?, now)))
            .collect()
    }

    /// Packets to ask for again: (SSRC, sequence numbers).
    pub(crate) fn nacks(&mut self, now: Instant, connection: u16) -> Vec<(u32, Vec<u16>)> {
        self.video(connection)
            .filter_map(|track| {
                let wanted = track.stream.as_mut()?.nack(now);
                (!wanted.is_empty()).then_some((track.ssrc?, wanted))
            })
            .collect()
    }

    /// SSRCs of video that cannot be decoded without a new key frame.
    pub(crate) fn key_frame_requests(&mut self, now: Instant, connection: u16) -> Vec<u32> {
        self.video(connection)
            .filter_map(|track| {
                let stream = track.stream.as_mut()?;
                let asked_lately = stream
                    .key_frame_requested
                    .is_some_and(|asked| now.duration_since(asked) < KEY_FRAME_REQUEST_INTERVAL);
                if !stream.needs_key_frame || asked_lately {
                    return None;
                }
                stream.key_frame_requested = Some(now);
                track.ssrc
            })
            .collect()
    }

    fn video(&mut self, connection: u16) -> impl Iterator<Item = &mut Track> {
        self.tracks.iter_mut().skip(1).step_by(2).filter(move |track| track.connection == connection)
    }

    /// Packets of all slots, each counted once, and whom they show.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (index, track) in self.tracks.iter().enumerate() {
            let once = track.stats.packets - track.stats.duplicates;
            match index % 2 {
                0 => counts.audio += once,
                _ => counts.video += once,
            }
            counts.following.extend(track.stats.following);
        }
        counts
    }

    /// Asks for a key frame in this slot.
    pub(crate) fn want_key_frame(&mut self, slot: u16) {
        let track = self.tracks.get_mut(track_index(usize::from(slot), Half::Video));
        if let Some(stream) = track.and_then(|track| track.stream.as_mut()) {
            stream.needs_key_frame = true;
            stream.key_frame_requested = None;
        }
    }

    /// Pauses are measured from now on.
    pub(crate) fn clear_pauses(&mut self, now: Instant) {
        for track in &mut self.tracks {
            track.stats.longest_pause = Duration::ZERO;
            track.last_packet = track.last_packet.map(|_| now);
        }
    }

    /// All slots; what control says is in them is added by the caller.
    pub(crate) fn slots(&self, now: Instant) -> Vec<SlotStats> {
        let stats = |track: &Track| {
            let mut stats = track.stats.clone();
            stats.since_last = track.last_packet.map(|last| now.duration_since(last));
            stats.longest_pause = stats.longest_pause.max(stats.since_last.unwrap_or_default());
            stats.missing += track.stream.as_ref().map_or(0, |stream| stream.missing.len() as u64);
            stats
        };
        self.tracks
            .chunks(2)
            .filter_map(|pair| {
                let [audio, video] = pair else { return None };
                Some(SlotStats { content: None, audio: stats(audio), video: stats(video) })
            })
            .collect()
    }
}

fn track_index(slot: usize, half: Half) -> usize {
    2 * slot + usize::from(half == Half::Video)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::Credentials;
    use crate::sdp::{EXTENSION_MID, RemoteMedia};
    use crate::vp8;
    use rtp::packet::Packet;
    use webrtc_util::marshal::Marshal;

    const SSRC: u32 = 77;
    const FROM: Incoming = Incoming { connection: 0, mid_extension: Some(EXTENSION_MID) };

    fn receiver() -> Receiver {
        let remote = RemoteDescription {
            ice: Credentials::random(),
            fingerprint: [0; 32],
            candidates: Vec::new(),
            media: vec![
                RemoteMedia { mid: "2".into(), ssrcs: vec![1], ..RemoteMedia::default() },
                RemoteMedia { mid: "3".into(), ssrcs: vec![SSRC], ..RemoteMedia::default() },
                RemoteMedia { mid: "5".into(), ..RemoteMedia::default() },
            ],
        };
        let mut receiver = Receiver::new(stamp::room_tag("room"));
        receiver.describe(0, &Line::of_slots(2, &remote), true);
        receiver
    }

    fn packet(ssrc: u32, sequence: u16, mid: &'static str, payload: &[u8]) -> Bytes {
        let mut header = rtp::header::Header {
            version: 2,
            sequence_number: sequence,
            ssrc,
            payload_type: PAYLOAD_VP8,
            ..rtp::header::Header::default()
        };
        header.set_extension(EXTENSION_MID, Bytes::from_static(mid.as_bytes())).unwrap();
        Packet { header, payload: Bytes::copy_from_slice(payload) }.marshal().unwrap()
    }

    fn receive(receiver: &mut Receiver, sequence: u16) {
        let packet = packet(SSRC, sequence, "3", &[]);
        receiver.handle(Instant::now(), FROM, &packet, None, |_| Some(Ok(packet.clone())));
    }

    fn video(receiver: &Receiver) -> TrackStats {
        receiver.slots(Instant::now())[0].video.clone()
    }

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart_across_a_wrap() {
        let mut receiver = receiver();
        for sequence in [65_533, 65_535, 65_534, 65_534, 2, 1] {
            receive(&mut receiver, sequence);
        }
        let stats = video(&receiver);
        assert_eq!((stats.packets, stats.reordered, stats.duplicates, stats.missing), (6, 2, 1, 1));
        assert_eq!(receiver.nacks(Instant::now(), 0), [(SSRC, vec![0])]);
        assert!(receiver.nacks(Instant::now(), 0).is_empty());
        receive(&mut receiver, 20_000);
        assert_eq!(video(&receiver).sequence_jumps, 1);
    }

    #[test]
    fn packets_without_an_announced_ssrc_are_found_by_mid() {
        let mut receiver = receiver();
        for (ssrc, mid) in [(500, "5"), (501, "5"), (502, "9")] {
            let packet = packet(ssrc, 1, mid, &[]);
            receiver.handle(Instant::now(), FROM, &packet, None, |_| None);
        }
        assert_eq!(receiver.slots(Instant::now())[1].video.packets, 1);
        assert_eq!(receiver.unknown_packets, 2);
    }

    #[test]
    fn connections_do_not_share_ssrcs_mids_or_feedback() {
        let mut receiver = receiver();
        let line = Line { slot: 2, half: Half::Video, mid: "3".into(), ssrc: Some(SSRC) };
        receiver.describe(1, &[line], true);
        let second = Incoming { connection: 1, mid_extension: None };
        for sequence in [1, 3] {
            let packet = packet(SSRC, sequence, "3", &[]);
            receiver.handle(Instant::now(), second, &packet, None, |_| None);
        }
        let slots = receiver.slots(Instant::now());
        assert_eq!((slots[0].video.packets, slots[2].video.packets, slots[2].video.wrong_mid), (0, 2, 0));
        assert!(receiver.nacks(Instant::now(), 0).is_empty());
        assert_eq!(receiver.nacks(Instant::now(), 1), [(SSRC, vec![2])]);
        assert_eq!((receiver.reports(Instant::now(), 0).len(), receiver.reports(Instant::now(), 1).len()), (0, 1));
    }

    #[test]
    fn forged_packets_change_nothing_but_their_counter() {
        let mut receiver = receiver();
        let packet = packet(SSRC, 1, "3", &[]);
        receiver.handle(Instant::now(), FROM, &packet, None, |_| Some(Err(())));
        receiver.handle(Instant::now(), FROM, &packet[..7], None, |_| None);
        assert_eq!((video(&receiver).packets, video(&receiver).undecryptable), (0, 1));
        assert_eq!(receiver.unknown_packets, 1);
    }

    #[test]
    fn key_frames_picture_ids_and_stamps_are_read() {
        let mut receiver = receiver();
        let key_frame = [0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0];
        for (sequence, id, room) in [(1, 9, "room"), (2, 10, "room"), (3, 12, "other")] {
            let mut payload = Vec::new();
            vp8::write_descriptor(&mut payload, true, id, 0);
            payload.extend(key_frame);
            let stamp = Stamp { room: stamp::room_tag(room), participant: 0xab, sent_us: 0, layer: 0, index: 0 };
            payload.extend(stamp.to_bytes());
            let packet = packet(SSRC, sequence, "3", &payload);
            receiver.handle(Instant::now(), FROM, &packet, None, |_| Some(Ok(packet.clone())));
        }
        let stats = video(&receiver);
        assert_eq!((stats.key_frames, stats.picture, stats.picture_id_jumps), (3, Some((320, 180)), 1));
        assert_eq!(stats.senders["00000000000000ab"], 3);
        assert_eq!(receiver.foreign_packets, 1);
        assert!(receiver.key_frame_requests(Instant::now(), 0).is_empty());
    }
}
