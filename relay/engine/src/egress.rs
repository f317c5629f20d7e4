//! The way of RTP packets out, subscriber by subscriber: a subscriber's keys and streams stay hot, and its packets
//! form runs.

use crate::batch::{Path, RxPacket, TxBatch};
use crate::counters::Counters;
use crate::engine::{Engine, touch};
use crate::packet::Packet;
use crate::participant::{Participant, Phase};
use crate::rtp::{Extension, FIXED_HEADER_LEN, HeaderFields, write_header};
use crate::srtp::{MAX_RTP_OVERHEAD, Outbound};
use crate::stream::{Place, Verdict};
use crate::time::Time;
use plausch_relay_api::limits::{DATAGRAM_BYTES, MID_BYTES};
use plausch_relay_api::{Codec, CodecMapping, ExtensionIds, MediaKind};
use std::time::Duration;

/// A new stream's first sender report does not wait for the next round: without it lips are out of sync.
const FIRST_REPORT: Duration = Duration::from_millis(50);

impl Engine {
    /// Sends the packets of the batch to whoever follows their tracks.
    pub(crate) fn forward(&mut self, rx: &[RxPacket<'_>], now: Time, tx: &mut TxBatch) {
        let Self { participants, tracks, rooms, counters, random, touched, touched_rooms, .. } = self;
        for room_key in touched_rooms.drain(..) {
            let Some(room) = rooms.get_mut(room_key) else { continue };
            for &member in &room.members {
                let Some(participant) = participants.get_mut(member) else { continue };
                let Participant { spec, agent, transport, downlink, .. } = participant;
                let (Phase::Connected(keys), Some(path)) = (&transport.phase, agent.send_path()) else { continue };
                let mut stream_began = false;
                for (place, packet) in &room.batch {
                    let Some(slot) = downlink.follower(packet.number) else { continue };
                    let Some(payload_type) = payload_type(&spec.codecs, packet.codec) else {
                        counters.drop_egress_codec += 1;
                        continue;
                    };
                    let max_layer = slot.max_layer();
                    let (stream, mid) = slot.stream_mut(packet.codec.media());
                    let before = stream.following();
                    let track = tracks.get(packet.source.track);
                    // Which layer should go out is asked once a frame, and whenever it does not yet.
                    let wanted = if before != Some(packet.source) || packet.marker {
                        track.and_then(|track| track.best_layer(max_layer, now))
                    } else {
                        Some(packet.source.layer)
                    };
                    let verdict = stream.place(packet, wanted, now, random);
                    stream_began |= before != stream.following();
                    let missing = stream.following().is_none_or(|source| {
                        Some(source.layer) != wanted || source.layer == packet.source.layer && source != packet.source
                    });
                    if missing
                        && let Some(wanted) = wanted
                        && packet.codec.media() == MediaKind::Video
                        && let Some(track) = tracks.get_mut(packet.source.track)
                    {
                        track.want_key_frame(wanted);
                    }
                    match verdict {
                        Verdict::Send(out) => {
                            let Some(plain) = rx.get(*place as usize).map(|packet| &*packet.data) else { continue };
                            let header =
                                OutHeader { payload_type, ssrc: stream.ssrc, mid, extensions: &spec.extensions };
                            if send_rtp(tx, path, &keys.outbound, &header, packet, plain, &out, counters) {
                                stream.packets = stream.packets.wrapping_add(1);
                                stream.octets = stream.octets.wrapping_add(packet.payload.len() as u32);
                                counters.rtp_forwarded += 1;
                                counters.rtp_fillers += u64::from(packet.is_padding());
                            }
                        }
                        Verdict::Leave => {}
                        Verdict::AwaitKeyFrame => counters.drop_egress_no_keyframe += 1,
                        Verdict::Late => counters.drop_egress_late += 1,
                    }
                }
                if stream_began {
                    transport.reports_due = transport.reports_due.min(now + FIRST_REPORT);
                    touch(participants, touched, member);
                }
            }
            room.batch.clear();
        }
    }
}

/// The payload type by which a participant knows a codec.
pub(crate) fn payload_type(codecs: &[CodecMapping], codec: Codec) -> Option<u8> {
    codecs.iter().find(|mapping| mapping.codec == codec).map(|mapping| mapping.payload_type)
}

/// What a subscriber's headers say.
pub(crate) struct OutHeader<'a> {
    pub payload_type: u8,
    pub ssrc: u32,
    pub mid: &'a str,
    pub extensions: &'a ExtensionIds,
}

/// Header extensions at the most: a MID, an audio level, an orientation, a dependency descriptor of any length.
const EXTENSIONS_BYTES: usize = 4 + (2 + MID_BYTES) + 3 + 3 + 2 + u8::MAX as usize + 3;

/// Writes one packet with its new header into the batch and seals it there. Called for the same packet and place
/// again, it writes the same bytes.
#[expect(clippy::too_many_arguments, reason = "each is a different part of the engine, borrowed by itself")]
pub(crate) fn send_rtp(
    tx: &mut TxBatch,
    path: Path,
    keys: &Outbound,
    header: &OutHeader<'_>,
    packet: &Packet,
    plain: &[u8],
    place: &Place,
    counters: &mut Counters,
) -> bool {
    let payload = packet.payload.of(plain);
    let room = FIXED_HEADER_LEN + EXTENSIONS_BYTES + payload.len() + MAX_RTP_OVERHEAD;
    let Some(buffer) = tx.reserve(path, room) else {
        counters.drop_tx_full += 1;
        return false;
    };
    let ids = header.extensions;
    let level = packet.audio_level.map_or([0], |level| [u8::from(level.voice) << 7 | level.level & 0x7f]);
    let orientation = [packet.video_orientation.unwrap_or(0)];
    let descriptor = packet.dependency_descriptor.map_or(&[][..], |span| span.of(plain));
    let mut extensions = [Extension { id: 0, value: &[] }; 4];
    let present = [
        ids.mid.map(|id| Extension { id, value: header.mid.as_bytes() }),
        ids.audio_level.filter(|_| packet.audio_level.is_some()).map(|id| Extension { id, value: &level }),
        ids.video_orientation
            .filter(|_| packet.video_orientation.is_some())
            .map(|id| Extension { id, value: &orientation }),
        ids.dependency_descriptor.filter(|_| !descriptor.is_empty()).map(|id| Extension { id, value: descriptor }),
    ];
    let mut count = 0;
    for (to, from) in extensions.iter_mut().zip(present.into_iter().flatten()) {
        *to = from;
        count += 1;
    }
    let fields = HeaderFields {
        marker: place.marker,
        payload_type: header.payload_type,
        sequence: place.sequence(),
        timestamp: place.timestamp,
        ssrc: header.ssrc,
    };
    let written = write_header(buffer, &fields, extensions.get(..count).unwrap_or(&[])).and_then(|header_len| {
        let to = buffer.get_mut(header_len..header_len + payload.len())?;
        to.copy_from_slice(payload);
        rewrite_pictures(packet, to, place);
        Some((header_len, header_len + payload.len()))
    });
    let Some((header_len, len)) = written.filter(|&(_, len)| len + MAX_RTP_OVERHEAD <= DATAGRAM_BYTES) else {
        counters.drop_egress_oversized += 1;
        return false;
    };
    match keys.seal_rtp(buffer, header_len, len, place.rollover()) {
        Ok(sealed) => {
            tx.commit(sealed);
            true
        }
        Err(_) => {
            counters.drop_egress_seal += 1;
            false
        }
    }
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
