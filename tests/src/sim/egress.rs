//! The model of one SSRC that the engine sends with: what may come, in which numbers.

use crate::media::{self, Label, StreamId};
use crate::sim::model::{Model, PacketTruth, StreamTruth, source_track};
use crate::sim::publisher::picture_of;
use crate::wire::rtp::{RtpPacket, Unwrap};
use plausch_engine::Time;
use plausch_relay_api::limits::MISSING_PACKETS;
use plausch_relay_api::{Codec, MediaKind, ParticipantId, SlotAssignment, SlotSpec};
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// After a lower layer is asked for, the higher one may go on until a key frame of the lower one arrives.
const LAYER_CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// Timestamps continue over a switch by the time that went by, give or take the jitter of two links.
const TIMESTAMP_SLACK_MS: i64 = 700;

/// The engine makes larger gaps as small as this: nobody could fill them.
const LARGEST_GAP: u64 = MISSING_PACKETS as u64;

/// All that was sent with one SSRC to one PeerConnection.
#[derive(Default)]
pub struct Egress {
    unwrap: Unwrap,
    /// By extended sequence number.
    records: BTreeMap<u64, Record>,
    runs: Vec<Run>,
    seen: HashSet<(usize, u32)>,
    pub packets: u64,
    pub octets: u64,
    /// Of them, those that may have gone out only because the subscriber asked.
    pub behind: u64,
    pub behind_octets: u64,
    pub retransmitted: u64,
    pub retransmitted_octets: u64,
    /// NTP time in microseconds and RTP timestamp of the last sender report.
    pub report: Option<(u64, u32)>,
    /// Kind, timestamp and time of capture of the last packet.
    newest: Option<(MediaKind, u32, u64)>,
}

/// One packet that was sent.
struct Record {
    run: Option<usize>,
    counter: u32,
    hash: u64,
    at: Time,
}

/// Consecutive packets from one stream.
struct Run {
    epoch: u64,
    stream: StreamId,
    first: u64,
    timestamp_offset: u32,
    began: Time,
    last_timestamp: u32,
    last_at: Time,
    /// VP8: what is added to picture id and TL0PICIDX, and the last ones sent.
    picture: Option<PictureRun>,
}

#[derive(Clone, Copy)]
struct PictureRun {
    offset: u16,
    last: u16,
    tl0: Option<(u8, u8)>,
}

/// What a forwarded packet was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    Forwarded,
    /// For the first time, out of order or long after it arrived: on arrival, or because the subscriber asked.
    Behind,
    Retransmitted,
    Filler,
}

impl Model {
    /// The engine sends an RTP packet to `subscriber`: whether it may, and what it is.
    pub fn egress_rtp(&mut self, now: Time, subscriber: ParticipantId, plain: &[u8]) -> Result<Sent, String> {
        let packet = RtpPacket::decode(plain)?;
        let truth = self.participants.get(&subscriber).ok_or("RTP to somebody who is gone")?;
        if !truth.connected {
            return Err("RTP to somebody who is not connected".into());
        }
        let spec = &truth.setup.spec;
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let all = spec.slots.iter().flat_map(|slot| kinds.map(|kind| (slot, kind)));
        let found = all.filter_map(|(slot, kind)| Some((slot, kind, slot.stream(kind)?)));
        let found = found.into_iter().find(|(_, _, stream)| stream.ssrc == packet.ssrc);
        let (slot, kind, stream) = found.ok_or_else(|| format!("SSRC {} is of no slot", packet.ssrc))?;
        if packet.extension(spec.extensions.mid) != Some(stream.mid.as_bytes()) {
            return Err(format!("MID of slot {} is missing or wrong", slot.slot));
        }
        let label = match Label::decode(&packet.payload) {
            Some(label) => {
                self.check_subscription(now, subscriber, slot, kind, &packet, &label)?;
                self.check_content(subscriber, kind, &packet, &label)?;
                Some(label)
            }
            None if packet.payload.is_empty() => None,
            None => return Err("a payload that nobody published".into()),
        };
        let epoch = truth.epochs.get(&slot.slot).copied().unwrap_or_default();
        let stream = label.and_then(|label| self.streams.get(&label.stream));
        let first_picture = stream.filter(|stream| stream.codec == Codec::Vp8).map(|stream| stream.first_picture);
        let egress = self.egress.entry((subscriber, spec.generation, packet.ssrc)).or_default();
        let sent = label.zip(stream).and_then(|(label, stream)| stream.packets.get(label.counter as usize));
        let arrived = sent.and_then(|packet| packet.arrived).unwrap_or(now);
        let picture_in = label.zip(first_picture).map(|(label, first)| picture_of(first, label.frame));
        egress
            .take(now, epoch, kind, &packet, label.as_ref(), arrived, picture_in, plain)
            .map_err(|error| format!("slot {} of {subscriber}, {kind:?}: {error}", slot.slot))
    }

    /// Whether the slot shows this stream, or did when the packet was captured and asks for it again.
    fn check_subscription(
        &self,
        now: Time,
        subscriber: ParticipantId,
        slot: &SlotSpec,
        kind: MediaKind,
        packet: &RtpPacket,
        label: &Label,
    ) -> Result<(), String> {
        let truth = &self.participants[&subscriber];
        if label.stream.room != truth.setup.spec.room {
            return Err(format!("a packet of room {} in room {}", label.stream.room, truth.setup.spec.room));
        }
        let publisher = self.participants.get(&label.stream.participant).ok_or("media of somebody who is gone")?;
        if publisher.setup.spec.generation != label.stream.generation || !publisher.connected {
            return Err(format!("media of an old connection: {:?}", label.stream));
        }
        let changed = truth.changed.get(&slot.slot).copied().unwrap_or(truth.since);
        let shown = |assignment: &&SlotAssignment| {
            let source = assignment.source;
            assignment.slot == slot.slot
                && (label.stream.participant, label.stream.track)
                    == (source.participant, source_track(source.source, kind))
        };
        let Some(assignment) = truth.assignments.iter().find(shown) else {
            let egress = self.egress.get(&(subscriber, truth.setup.spec.generation, packet.ssrc));
            let was_shown = egress.is_some_and(|egress| egress.showed(packet.sequence, label.stream));
            if was_shown && label.captured <= changed.0 {
                return Ok(());
            }
            return Err(format!("{subscriber} has not {:?} in slot {}", label.stream, slot.slot));
        };
        // While the layers that may be come to life, or until a key frame of one comes.
        let allowed = |((slot, layer), at): (&(_, u8), &Time)| {
            *slot == assignment.slot && *layer >= label.stream.layer && now.since(*at) < LAYER_CHANGE_WITHIN
        };
        // None that may be is there: then the smallest of the others is better than none.
        let alive = |(id, stream): (&StreamId, &StreamTruth)| {
            id.layer <= assignment.max_layer
                && StreamId { layer: label.stream.layer, ..*id } == label.stream
                && stream.last_arrived.is_some_and(|at| now.since(at) < LAYER_CHANGE_WITHIN)
        };
        if label.stream.layer > assignment.max_layer
            && self.streams.iter().any(alive)
            && now.since(changed) > LAYER_CHANGE_WITHIN
            && !truth.allowed_layers.iter().any(allowed)
        {
            return Err(format!("layer {} where {} is the largest", label.stream.layer, assignment.max_layer));
        }
        Ok(())
    }

    /// Everything else about a packet but its numbers.
    fn check_content(
        &self,
        subscriber: ParticipantId,
        kind: MediaKind,
        packet: &RtpPacket,
        label: &Label,
    ) -> Result<(), String> {
        let setup = &self.participants[&subscriber].setup;
        let stream = self.streams.get(&label.stream).ok_or("a stream that nobody publishes")?;
        let sent = stream.packets.get(label.counter as usize).ok_or("a packet that was never sent")?;
        if sent.arrived.is_none() {
            return Err(format!("packet {} of {:?} never arrived", label.counter, label.stream));
        }
        let picture = picture_of(stream.first_picture, label.frame);
        if !media::is_intact(stream.codec, stream.vp8, picture, label, &packet.payload) {
            return Err(format!("the payload of packet {} of {:?} was changed", label.counter, label.stream));
        }
        let payload_type = setup.mapping(stream.codec).map(|mapping| mapping.payload_type);
        if payload_type != Some(packet.payload_type) {
            return Err(format!("payload type {}, negotiated is {payload_type:?}", packet.payload_type));
        }
        if kind == MediaKind::Video && packet.marker != label.last_of_frame {
            return Err(format!("marker {} on packet {} of {:?}", packet.marker, label.counter, label.stream));
        }
        let (ours, theirs) = (&setup.spec.extensions, &stream.extensions);
        let level = packet.extension(ours.audio_level);
        if kind == MediaKind::Audio && level.is_some() != (ours.audio_level.is_some() && theirs.audio_level.is_some()) {
            return Err(format!(
                "audio level {level:?}, negotiated {:?} and {:?}",
                theirs.audio_level, ours.audio_level
            ));
        }
        let descriptor = packet.extension(ours.dependency_descriptor);
        let expected = (stream.codec == Codec::Av1 && theirs.dependency_descriptor.is_some())
            .then(|| media::dependency_descriptor(label));
        if ours.dependency_descriptor.is_some() && descriptor != expected.as_deref() {
            return Err(format!("dependency descriptor {descriptor:?} instead of {expected:?}"));
        }
        Ok(())
    }
}

impl Egress {
    /// The epoch of the newest run.
    pub fn last_epoch(&self) -> Option<u64> {
        self.runs.last().map(|run| run.epoch)
    }

    /// How often the stream went over to another layer of the same track, and to something else.
    pub fn switches(&self) -> [u64; 2] {
        let pairs = self.runs.windows(2).map(|pair| [&pair[0].stream, &pair[1].stream]);
        let same =
            |[a, b]: [&StreamId; 2]| (a.participant, a.generation, a.track) == (b.participant, b.generation, b.track);
        let of_layers = pairs.clone().filter(|pair| same(*pair) && pair[0].layer != pair[1].layer).count();
        [of_layers as u64, pairs.filter(|pair| !same(*pair)).count() as u64]
    }

    /// NTP time minus capture time, in microseconds, of the last packet by the last sender report.
    pub fn clock_offset(&self) -> Option<i64> {
        let ((ntp, reported), (kind, timestamp, captured)) = self.report.zip(self.newest)?;
        let rate = if kind == MediaKind::Audio { 48_000 } else { 90_000 };
        let since = i64::from(timestamp.wrapping_sub(reported) as i32) * 1_000_000 / rate;
        Some(ntp as i64 + since - captured as i64)
    }

    /// When the newest packet was sent.
    pub fn last_at(&self) -> Option<Time> {
        self.runs.last().map(|run| run.last_at)
    }

    /// When this sequence number was sent, if it was and not as a mere filler.
    pub fn sent_at(&self, sequence: u16) -> Option<Time> {
        let mut unwrap = self.unwrap;
        let record = self.records.get(&unwrap.extend(sequence))?;
        record.run.map(|_| record.at)
    }

    /// Whether this sequence number lies in a run of this stream, behind packets that came later.
    fn showed(&self, sequence: u16, stream: StreamId) -> bool {
        let mut unwrap = self.unwrap;
        let sequence = unwrap.extend(sequence);
        let run = self.runs.iter().rfind(|run| run.first <= sequence);
        Some(sequence) <= self.unwrap.highest() && run.is_some_and(|run| run.stream == stream)
    }

    #[allow(clippy::too_many_arguments, reason = "one packet and what is known of it")]
    fn take(
        &mut self,
        now: Time,
        epoch: u64,
        kind: MediaKind,
        packet: &RtpPacket,
        label: Option<&Label>,
        arrived: Time,
        picture_in: Option<media::Picture>,
        plain: &[u8],
    ) -> Result<Sent, String> {
        let highest = self.unwrap.highest();
        let sequence = self.unwrap.extend(packet.sequence);
        let hash = hash_of(plain);
        let octets = packet.payload.len() as u64;
        if let Some(record) = self.records.get(&sequence) {
            if record.hash != hash {
                return Err(format!("sequence number {} for two different packets", packet.sequence));
            }
            self.retransmitted += 1;
            self.retransmitted_octets += octets;
            return Ok(Sent::Retransmitted);
        }
        self.packets += 1;
        self.octets += octets;
        let Some(label) = label else {
            self.records.insert(sequence, Record { run: None, counter: 0, hash, at: now });
            // It may have been asked for: what it was made from is not written on it.
            self.behind += 1;
            return Ok(Sent::Filler);
        };
        let newest = highest.is_none_or(|highest| sequence > highest);
        let run = match newest {
            true => self.run_of_newest(now, epoch, kind, sequence, packet, label, picture_in)?,
            false => {
                let run = self.runs.iter().rposition(|run| run.first <= sequence);
                run.ok_or_else(|| format!("sequence number {} from before the first packet", packet.sequence))?
            }
        };
        if !self.seen.insert((run, label.counter)) {
            return Err(format!("packet {} of {:?} under two sequence numbers", label.counter, label.stream));
        }
        let known = &mut self.runs[run];
        // A talkspurt may begin with the run (RFC 3551, section 4.1); the browsers here mark none.
        if kind == MediaKind::Audio && packet.marker && known.first != sequence {
            return Err(format!("a marker on packet {} of {:?}", label.counter, label.stream));
        }
        if known.stream != label.stream {
            return Err(format!("{:?} between packets of {:?}", label.stream, known.stream));
        }
        if packet.timestamp.wrapping_sub(label.timestamp) != known.timestamp_offset {
            return Err(format!("timestamp {} for {} within a run", packet.timestamp, label.timestamp));
        }
        known.check_picture(packet, picture_in)?;
        if newest {
            known.last_timestamp = packet.timestamp;
            known.last_at = now;
        }
        self.newest = Some((kind, packet.timestamp, label.captured));
        self.records.insert(sequence, Record { run: Some(run), counter: label.counter, hash, at: now });
        if newest && arrived == now {
            return Ok(Sent::Forwarded);
        }
        self.behind += 1;
        self.behind_octets += octets;
        Ok(Sent::Behind)
    }

    /// The run that a packet with the highest number so far belongs to: the last one, or a new one.
    #[allow(clippy::too_many_arguments, reason = "one packet and what is known of it")]
    fn run_of_newest(
        &mut self,
        now: Time,
        epoch: u64,
        kind: MediaKind,
        sequence: u64,
        packet: &RtpPacket,
        label: &Label,
        picture_in: Option<media::Picture>,
    ) -> Result<usize, String> {
        let last = self.runs.last();
        if last.is_some_and(|run| (run.epoch, run.stream) == (epoch, label.stream)) {
            return Ok(self.runs.len() - 1);
        }
        if kind == MediaKind::Video && !(label.key_frame && label.first_of_frame) {
            return Err(format!("packet {} of {:?} begins a run and no key frame", label.counter, label.stream));
        }
        let picture_out = media::vp8_picture(&packet.payload);
        let picture = picture_in.zip(picture_out).map(|(before, (id, tl0))| PictureRun {
            offset: id.wrapping_sub(before.id) & 0x7fff,
            last: id,
            tl0: tl0.map(|tl0| (tl0.wrapping_sub(before.tl0_index), tl0)),
        });
        if let Some(last) = last {
            let ticks = i64::from(packet.timestamp.wrapping_sub(last.last_timestamp) as i32);
            let rate = if kind == MediaKind::Audio { 48 } else { 90 };
            let elapsed = now.since(last.last_at).as_millis() as i64;
            if ticks <= 0 || (ticks / rate - elapsed).abs() > TIMESTAMP_SLACK_MS {
                return Err(format!("timestamp {ticks} ticks after that of the last run, {elapsed} ms later"));
            }
            if let (Some(before), Some(after)) = (last.picture, picture) {
                before.check_successor(after)?;
            }
        }
        self.runs.push(Run {
            epoch,
            stream: label.stream,
            first: sequence,
            timestamp_offset: packet.timestamp.wrapping_sub(label.timestamp),
            began: now,
            last_timestamp: packet.timestamp,
            last_at: now,
            picture,
        });
        Ok(self.runs.len() - 1)
    }

    /// At the end: no gaps but those that the publisher's link made.
    pub fn finish(&self, model: &Model) -> Result<(), String> {
        let mut fillers = 0;
        let mut previous: Option<(u64, usize, u32)> = None;
        for (sequence, record) in &self.records {
            let Some(run) = record.run else {
                fillers += 1;
                continue;
            };
            if let Some((before, run_before, counter)) = previous {
                let gap = sequence - before - 1;
                let missing = gap - fillers;
                let stream = self.runs[run].stream;
                if run == run_before {
                    check_gap(model, &self.runs[run], [counter, record.counter], gap, missing)?;
                } else if missing > lost_at_end(model, self.runs[run_before].stream, counter, self.runs[run].began) {
                    return Err(format!("{missing} numbers skipped at the switch to {stream:?} at {sequence}"));
                }
            }
            fillers = 0;
            previous = Some((*sequence, run, record.counter));
        }
        Ok(())
    }
}

/// How many packets behind the last one that went out were lost before padding that came: their places are kept,
/// for they may still come.
fn lost_at_end(model: &Model, stream: StreamId, last: u32, switched: Time) -> u64 {
    let behind = &model.streams[&stream].packets[last as usize + 1..];
    let came = |packet: &PacketTruth| packet.padding && packet.arrived.is_some_and(|at| at <= switched);
    let end = behind.iter().rposition(came).unwrap_or_default();
    behind[..end].iter().filter(|packet| packet.late || packet.arrived.is_none()).count() as u64
}

/// Between two packets of a run lie those that were lost on the way to the engine, and no others.
fn check_gap(model: &Model, run: &Run, [before, after]: [u32; 2], gap: u64, missing: u64) -> Result<(), String> {
    let stream = run.stream;
    if after <= before {
        return Err(format!("packet {after} of {stream:?} follows packet {before}"));
    }
    let between = &model.streams[&stream].packets[before as usize + 1..after as usize];
    let never = between.iter().filter(|packet| packet.arrived.is_none()).count() as u64;
    // Overtaken, or there before the start of the key frame that the run begins with.
    let late = |packet: &&PacketTruth| packet.late || packet.arrived.is_some_and(|at| at <= run.began);
    let whole = between.iter().filter(|packet| !late(packet) && !packet.padding && packet.arrived.is_some()).count();
    let late = between.iter().filter(late).count() as u64;
    if whole > 0 {
        return Err(format!("{whole} packets between {before} and {after} of {stream:?} were not forwarded"));
    }
    // A jump of the publisher goes on as a small one.
    if missing > never + late || gap < never.min(LARGEST_GAP) {
        return Err(format!(
            "a gap of {gap} ({missing} not filled) between {before} and {after} of {stream:?}: {never} lost, {late} late"
        ));
    }
    Ok(())
}

impl Run {
    fn check_picture(&mut self, packet: &RtpPacket, before: Option<media::Picture>) -> Result<(), String> {
        let (Some(run), Some(before), Some((id, tl0))) =
            (&mut self.picture, before, media::vp8_picture(&packet.payload))
        else {
            return Ok(());
        };
        if id.wrapping_sub(before.id) & 0x7fff != run.offset {
            return Err(format!("picture id {id} for {} within a run", before.id));
        }
        if tl0.map(|tl0| tl0.wrapping_sub(before.tl0_index)) != run.tl0.map(|(offset, _)| offset) {
            return Err(format!("TL0PICIDX {tl0:?} for {} within a run", before.tl0_index));
        }
        if id.wrapping_sub(run.last) & 0x7fff < 0x4000 {
            run.last = id;
            if let (Some((_, last)), Some(tl0)) = (&mut run.tl0, tl0) {
                *last = tl0;
            }
        }
        Ok(())
    }
}

impl PictureRun {
    fn check_successor(self, after: Self) -> Result<(), String> {
        if after.last != self.last.wrapping_add(1) & 0x7fff {
            return Err(format!("picture id {} follows {} over a switch", after.last, self.last));
        }
        if let (Some((_, before)), Some((_, after))) = (self.tl0, after.tl0)
            && after != before.wrapping_add(1)
        {
            return Err(format!("TL0PICIDX {after} follows {before} over a switch"));
        }
        Ok(())
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
