//! The way of RTP packets out, subscriber by subscriber: a subscriber's keys and streams stay hot, and its packets
//! form runs.

use crate::batch::{Path, TxBatch};
use crate::counters::Counters;
use crate::engine::{Engine, touch};
use crate::gather::{Gathered, Waiting};
use crate::overload::Overload;
use crate::packet::Packet;
use crate::participant::{Participant, Phase};
use crate::random::Random;
use crate::room::Room;
use crate::rtp::{Extension, FIXED_HEADER_LEN, HeaderFields, add_padding, write_header};
use crate::slab::{Key, Slab};
use crate::srtp::{MAX_RTP_OVERHEAD, Outbound};
use crate::stream::{Place, Stream, Verdict};
use crate::target::{Circumstances, Target};
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::limits::{DATAGRAM_BYTES, MID_BYTES};
use plausch_relay_api::{Codec, ExtensionIds, MediaKind, ParticipantSpec};
use std::time::Duration;

/// A new stream's first sender report does not wait for the next round: without it lips are out of sync.
const FIRST_REPORT: Duration = Duration::from_millis(50);
/// Packets of a key frame that may have come before its first one: 64 × 1100 bytes are a large picture.
const CATCH_UP_PACKETS: u64 = 64;

/// What became of a room's packets.
enum Progress {
    Done,
    /// More of the frame is worth waiting for.
    Waits(Time),
    /// There is no room left in the outgoing batch.
    Full,
}

impl Engine {
    /// Sends what has gathered to whoever follows it, room by room, except where it is worth while to wait for more.
    /// When `tx` is full the rest is due at once.
    pub(crate) fn forward(&mut self, now: Time, tx: &mut TxBatch) {
        self.forward_due = Time::NEVER;
        let mut next = 0;
        while let Some(&room) = self.touched_rooms.get(next) {
            match self.forward_room(room, now, tx) {
                Progress::Done => {
                    self.touched_rooms.remove(next);
                }
                Progress::Waits(until) => {
                    self.forward_due = self.forward_due.min(until);
                    next += 1;
                }
                Progress::Full => {
                    // Those who are left have their turn when this is sent.
                    self.forward_due = Time(0);
                    return;
                }
            }
        }
        if self.touched_rooms.is_empty() {
            self.gathered.clear();
        }
    }

    /// Sends a room's packets, member by member.
    fn forward_room(&mut self, key: Key<Room>, now: Time, tx: &mut TxBatch) -> Progress {
        let Self { config, overload, participants, tracks, rooms, counters, random, touched, gathered, .. } = self;
        let Some(room) = rooms.get_mut(key) else { return Progress::Done };
        if room.served == 0 {
            if !gathered.is_full()
                && let Some(until) = room.waits_until(tracks, config.gather_from_members, now)
            {
                return Progress::Waits(until);
            }
            counters.rtp_padded += room.arrange(tracks);
        }
        let (packets, bytes) = room.batch.iter().fold((0, 0), |(packets, bytes), waiting| {
            (packets + 1, bytes + PACKET_OVERHEAD + waiting.packet.payload.len())
        });
        let mut delivery = Delivery { tx, overload, tracks, gathered, counters, random, now };
        while let Some(&member) = room.members.get(room.served) {
            if !delivery.tx.has_room(packets, bytes) && !delivery.tx.is_empty() {
                return Progress::Full;
            }
            room.served += 1;
            let Some(participant) = participants.get_mut(member) else { continue };
            if delivery.send(&room.batch, member.index(), participant) {
                let reports_due = &mut participant.transport.reports_due;
                *reports_due = (*reports_due).min(now + FIRST_REPORT);
                touch(participants, touched, member);
            }
        }
        room.begin_batch();
        Progress::Done
    }
}

/// What sending to the members of a room works with.
struct Delivery<'a> {
    tx: &'a mut TxBatch,
    overload: &'a mut Overload,
    tracks: &'a mut Slab<Track>,
    gathered: &'a Gathered,
    counters: &'a mut Counters,
    random: &'a mut Random,
    now: Time,
}

impl Delivery<'_> {
    /// Sends a member what it follows of a room's packets. `true`: a stream has begun.
    fn send(&mut self, batch: &[Waiting], member: usize, participant: &mut Participant) -> bool {
        let Self { tx, overload, tracks, gathered, counters, random, now } = self;
        let now = *now;
        let Participant { spec, access, transport, downlink, .. } = participant;
        let (Phase::Connected(keys), Some(path)) = (&transport.phase, access.send_path()) else { return false };
        let mut exit = Exit { tx, path, keys: &keys.outbound, spec, counters };
        let mut began = false;
        for (turn, waiting) in batch.iter().enumerate() {
            let packet = &waiting.packet;
            let media = packet.codec.media();
            let Some(slot) = downlink.follower(packet.number) else { continue };
            let Some(track) = tracks.get_mut(packet.source.track) else { continue };
            let target = match media {
                MediaKind::Audio => Target::Layer(packet.source.layer),
                MediaKind::Video => slot.aim(packet, track, Circumstances { overload, member, now }),
            };
            let wanted = match target {
                Target::Layer(layer) => Some(layer),
                Target::Nothing => None,
                Target::LeftOut => {
                    exit.counters.drop_egress_overload += 1;
                    continue;
                }
            };
            let Some(stream) = slot.stream_mut(media) else { continue };
            let before = stream.following();
            let sent = exit.forward(stream, packet, gathered.plain(waiting), wanted, now, random);
            let after = stream.following();
            if after != before {
                began = true;
                let rest = batch.get(turn + 1..).unwrap_or(&[]);
                exit.catch_up(stream, packet, track, rest, now, random);
            }
            if media == MediaKind::Video {
                overload.note_picture(sent, after.is_none());
                if let Some(layer) = slot.awaits(packet)
                    && !(overload.is_on() && track.asked_for_key_frame(layer, now))
                {
                    track.want_key_frame(layer);
                }
            }
        }
        began
    }
}

/// The way out to one subscriber.
pub(crate) struct Exit<'a> {
    pub tx: &'a mut TxBatch,
    pub path: Path,
    pub keys: &'a Outbound,
    pub spec: &'a ParticipantSpec,
    pub counters: &'a mut Counters,
}

/// Header extensions at the most: a MID, an audio level, a dependency descriptor of any length.
const EXTENSIONS_BYTES: usize = 4 + (2 + MID_BYTES) + 3 + 2 + u8::MAX as usize + 3;

/// Bytes that [`Exit::send`] asks for besides the payload.
const PACKET_OVERHEAD: usize = FIXED_HEADER_LEN + EXTENSIONS_BYTES + u8::MAX as usize + MAX_RTP_OVERHEAD;

impl Exit<'_> {
    /// Gives a packet its place in the stream and sends it there. `false`: it was not to be sent, or could not.
    fn forward(
        &mut self,
        stream: &mut Stream,
        packet: &Packet,
        plain: &[u8],
        wanted: Option<u8>,
        now: Time,
        random: &mut Random,
    ) -> bool {
        let Some(payload_type) = self.payload_type(packet.codec) else {
            self.counters.drop_egress_codec += 1;
            return false;
        };
        let place = match stream.place(packet, wanted, now, random) {
            Verdict::Send(place) => place,
            Verdict::Leave => return false,
            Verdict::AwaitKeyFrame => {
                self.counters.drop_egress_no_keyframe += 1;
                return false;
            }
            Verdict::Late => {
                self.counters.drop_egress_late += 1;
                return false;
            }
        };
        if !self.send(stream, packet, plain, &place, payload_type) {
            return false;
        }
        stream.packets = stream.packets.wrapping_add(1);
        stream.octets = stream.octets.wrapping_add(packet.payload.len() as u32);
        self.counters.rtp_forwarded += 1;
        self.counters.rtp_fillers += u64::from(packet.is_padding());
        true
    }

    /// The first packet of a key frame was overtaken by others, or lost and sent again: those that came before it
    /// are in the cache, and without them the subscriber would have to ask for each. `rest` of the batch comes by itself.
    fn catch_up(
        &mut self,
        stream: &mut Stream,
        first: &Packet,
        track: &Track,
        rest: &[Waiting],
        now: Time,
        random: &mut Random,
    ) {
        let layer = track.layer(first.source.layer).filter(|layer| layer.epoch == first.source.epoch);
        let Some((Some(cache), Some(reception))) = layer.map(|layer| (&layer.cache, &layer.reception)) else { return };
        let last = reception.highest().min(first.index + CATCH_UP_PACKETS);
        for index in first.index + 1..=last {
            let comes = rest.iter().any(|rest| rest.packet.source == first.source && rest.packet.index == index);
            if let Some((packet, plain)) =
                cache.get(index).filter(|(packet, _)| !comes && packet.source == first.source)
            {
                let sent = self.forward(stream, packet, plain, Some(first.source.layer), now, random);
                self.counters.rtp_caught_up += u64::from(sent);
            }
        }
    }

    /// The subscriber's payload type for what a codec produces: its own, or else that of another which it decodes by.
    pub(crate) fn payload_type(&self, codec: Codec) -> Option<u8> {
        let mut mappings = self.spec.codecs.iter();
        let exact = mappings.clone().find(|mapping| mapping.codec == codec);
        exact.or_else(|| mappings.find(|mapping| mapping.codec.decodes(codec))).map(|mapping| mapping.payload_type)
    }

    /// Writes a packet with its new header into the batch and seals it there. Called for the same packet and place
    /// again, it writes the same bytes.
    pub(crate) fn send(
        &mut self,
        stream: &Stream,
        packet: &Packet,
        plain: &[u8],
        place: &Place,
        payload_type: u8,
    ) -> bool {
        let payload = packet.payload.of(plain);
        let Some(buffer) = self.tx.reserve(self.path, PACKET_OVERHEAD + payload.len()) else {
            self.counters.drop_tx_full += 1;
            return false;
        };
        let fields = HeaderFields {
            marker: place.marker,
            payload_type,
            sequence: place.sequence(),
            timestamp: place.timestamp,
            ssrc: stream.ssrc,
        };
        let written = write_packet_header(buffer, &fields, &self.spec.extensions, &stream.mid, packet, plain).and_then(
            |header| {
                let to = buffer.get_mut(header..header + payload.len())?;
                to.copy_from_slice(payload);
                rewrite_pictures(packet, to, place);
                let len = header + payload.len();
                match packet.padding {
                    0 => Some((header, len)),
                    padding => Some((header, add_padding(buffer, len, padding)?)),
                }
            },
        );
        let Some((header, len)) = written.filter(|&(_, len)| len + MAX_RTP_OVERHEAD <= DATAGRAM_BYTES) else {
            self.counters.drop_egress_oversized += 1;
            return false;
        };
        match self.keys.seal_rtp(buffer, header, len, place.rollover()) {
            Ok(sealed) => {
                self.tx.commit(sealed);
                if packet.codec.media() == MediaKind::Audio {
                    self.tx.mark_sound();
                }
                true
            }
            Err(_) => {
                self.counters.drop_egress_seal += 1;
                false
            }
        }
    }
}

/// The header with the subscriber's extensions: its own MID, and of the packet's what the subscriber has negotiated.
fn write_packet_header(
    buffer: &mut [u8],
    fields: &HeaderFields,
    ids: &ExtensionIds,
    mid: &str,
    packet: &Packet,
    plain: &[u8],
) -> Option<usize> {
    let level = packet.audio_level.map(|level| [u8::from(level.voice) << 7 | level.level & 0x7f]);
    let descriptor = packet.dependency_descriptor.map(|span| span.of(plain));
    let present = [
        ids.mid.map(|id| Extension { id, value: mid.as_bytes() }),
        ids.audio_level.zip(level.as_ref()).map(|(id, value)| Extension { id, value }),
        ids.dependency_descriptor.zip(descriptor).map(|(id, value)| Extension { id, value }),
    ];
    let mut extensions = [Extension { id: 0, value: &[] }; 3];
    let mut count = 0;
    for (to, from) in extensions.iter_mut().zip(present.into_iter().flatten()) {
        *to = from;
        count += 1;
    }
    write_header(buffer, fields, extensions.get(..count)?)
}

/// RFC 7741, section 4.2: picture ids and the index of base-layer frames go on over a change of source.
fn rewrite_pictures(packet: &Packet, payload: &mut [u8], place: &Place) {
    if let Some(vp8) = packet.vp8
        && (place.picture_offset, place.tl0_offset) != (0, 0)
    {
        let picture = vp8.picture_id.map_or(0, |id| id.value).wrapping_add(place.picture_offset);
        let tl0 = vp8.tl0_picture_index.unwrap_or(0).wrapping_add(place.tl0_offset);
        vp8.rewrite(payload, picture, tl0);
    }
}
