//! The way of an RTP packet in: opened, given to its track, described for the way out.

use crate::batch::Path;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::packet::{LayerId, Packet};
use crate::participant::{Binding, Participant, Phase, Uplink, identify};
use crate::rtcp::ArrivalRecorder;
use crate::rtp::{KnownExtensions, RtpHeader};
use crate::slab::{Key, Slab};
use crate::speakers::Loudness;
use crate::srtp::{OpenError, ReceiveStream};
use crate::time::Time;
use crate::timers::Owner;
use crate::track::Track;
use plausch_relay_api::limits::{RTP_BYTES, SSRCS_PER_PARTICIPANT};
use plausch_relay_api::{MediaKind, ParticipantSpec, TrackKind};

impl Engine {
    /// Opens one packet in place. What is to be forwarded waits in its room, until the batch is read or longer.
    pub(crate) fn receive_rtp(&mut self, path: Path, datagram: &mut [u8], now: Time) {
        let Self { participants, tracks, rooms, peers, timers, counters, touched, touched_rooms, gathered, .. } = self;
        let Some((key, participant)) = peers.find(path).and_then(|key| Some((key, participants.get_mut(key)?))) else {
            counters.drop_srtp_unchecked += 1;
            return;
        };
        let room_key = participant.room;
        let Participant { spec, access, transport, uplink, .. } = participant;
        let Phase::Connected(keys) = &transport.phase else {
            counters.drop_srtp_no_keys += 1;
            return;
        };
        let Ok(header) = RtpHeader::parse(datagram) else {
            counters.drop_rtp_malformed += 1;
            return;
        };

        let known = uplink.bindings.iter().position(|binding| binding.ssrc == header.ssrc);
        let bound = known.and_then(|known| uplink.bindings.get(known)?.place);
        let target = bound.or_else(|| {
            let (track, layer) = find_place(spec, uplink, &header, datagram)?;
            // An SSRC that gave way to another comes back only when that one is silent: a straggler does not.
            let taken = || tracks.get(track)?.layer(layer).map(|layer| layer.is_alive(now));
            (known.is_none() || taken() != Some(true)).then_some((track, layer))
        });
        let Some((track_key, layer)) = target else {
            counters.drop_rtp_unknown_ssrc += 1;
            return;
        };
        if known.is_none() && uplink.bindings.len() >= SSRCS_PER_PARTICIPANT {
            counters.drop_rtp_ssrc_limit += 1;
            return;
        }
        // For an SSRC that is not known a fresh stream, which is only kept if the packet is genuine.
        let mut fresh = ReceiveStream::new();
        let stream = known.and_then(|known| uplink.bindings.get_mut(known)).map(|binding| &mut binding.stream);
        let opened = match keys.inbound.open_rtp(stream.unwrap_or(&mut fresh), datagram, header.header_len) {
            Ok(opened) => opened,
            Err(error) => return count_open_error(counters, error),
        };
        if known.is_none() {
            uplink.bindings.push(Binding { ssrc: header.ssrc, place: None, stream: fresh });
            counters.ssrcs += 1;
        }
        if bound.is_none() {
            bind(uplink, tracks, header.ssrc, (track_key, layer));
        }
        counters.rtp_received += 1;
        access.note_media(path, now);
        if !std::mem::replace(&mut participant.touched, true) {
            touched.push(key);
        }

        let Some(plain) = datagram.get(..opened.len) else { return };
        let extensions = KnownExtensions::read(&header, plain, &spec.extensions);
        if let Some(sequence) = extensions.transport_cc {
            uplink.arrivals.get_or_insert_with(ArrivalRecorder::new).record(sequence, now);
        }
        let Some(track) = tracks.get_mut(track_key) else { return };
        let (kind, number) = (track.kind, track.number);
        let mapping = spec.codecs.iter().find(|mapping| mapping.payload_type == header.payload_type);
        let Some(codec) = mapping.map(|mapping| mapping.codec).filter(|codec| codec.media() == kind.media()) else {
            counters.drop_rtp_payload_type += 1;
            return;
        };
        let Some(layer_state) = track.layer_mut(layer) else { return };
        let source = LayerId { track: track_key, layer, epoch: layer_state.epoch };
        let Some(packet) = Packet::describe(source, number, codec, opened.index, &header, plain, &extensions) else {
            counters.drop_rtp_malformed += 1;
            return;
        };
        if packet.payload.len() > RTP_BYTES {
            counters.drop_rtp_oversized += 1;
            return;
        }
        counters.rtp_padding += u64::from(packet.is_padding());
        let overtaken = layer_state.reception.as_ref().is_some_and(|reception| packet.index < reception.highest());
        counters.rtp_reordered += u64::from(overtaken);
        let newest = (layer_state.reception.is_some(), layer_state.last_timestamp);
        layer_state.record(&packet, plain, now);

        let Some(room) = rooms.get_mut(room_key) else { return };
        if codec.media() == MediaKind::Video && !overtaken {
            layer_state.bursts.note(room.gathering, newest == (true, packet.timestamp), packet.marker);
        }
        if kind == TrackKind::Microphone {
            let said = extensions.audio_level.map(|level| level.level);
            let level = said.unwrap_or_else(|| uplink.loudness.guess(packet.payload.len()));
            uplink.loudness.record(level, now);
            if !room.speakers.active && Loudness::may_be_speech(level) {
                room.speakers.active = true;
                timers.set_earlier(Owner::room(room_key), room.speakers_due.max(now + Loudness::DOUBT));
            }
        }
        // Padding of the sender's stays here.
        let kept = plain.get(..packet.payload.end()).unwrap_or(plain);
        let waiting = if room.served == 0 { gathered.keep(packet, overtaken, kept) } else { None };
        let Some(waiting) = waiting else {
            counters.drop_gathered_full += 1;
            return;
        };
        if room.batch.is_empty() {
            touched_rooms.push(room_key);
        }
        room.batch.push(waiting);
    }
}

/// Which track and layer an SSRC that is not bound belongs to, by what SDP or the packet itself says.
fn find_place(spec: &ParticipantSpec, uplink: &Uplink, header: &RtpHeader, packet: &[u8]) -> Option<(Key<Track>, u8)> {
    let extensions = KnownExtensions::read(header, packet, &spec.extensions);
    let (kind, layer) = identify(&spec.sends, header.ssrc, extensions.mid, extensions.rid)?;
    Some((uplink.track(kind)?, layer))
}

/// Gives a layer to an SSRC. A layer has one: the one before gives way.
fn bind(uplink: &mut Uplink, tracks: &mut Slab<Track>, ssrc: u32, place: (Key<Track>, u8)) {
    for binding in &mut uplink.bindings {
        if binding.ssrc == ssrc {
            binding.place = Some(place);
        } else if binding.place == Some(place) {
            binding.place = None;
        }
    }
    let (track, layer) = place;
    if let Some(track) = tracks.get_mut(track) {
        track.begin_layer(layer, ssrc);
    }
}

/// Counts why a packet was not opened.
pub(crate) fn count_open_error(counters: &mut Counters, error: OpenError) {
    match error {
        OpenError::Replayed => counters.drop_srtp_replayed += 1,
        OpenError::Truncated | OpenError::Authentication => counters.drop_srtp_forged += 1,
    }
}
