//! A published track and its layers, as the relay receives them.

use crate::cache::Cache;
use crate::gather::Bursts;
use crate::missing::Missing;
use crate::packet::Packet;
use crate::participant::Participant;
use crate::reception::Reception;
use crate::rtcp::SenderInfo;
use crate::slab::Key;
use crate::time::Time;
use plausch_relay_api::limits::{KEYFRAME_REQUEST_INTERVAL_MS, LAYERS_PER_TRACK};
use plausch_relay_api::{MediaKind, ParticipantId, TrackKind};
use std::time::Duration;

/// Without a packet for so long a layer is not there: encoders switch layers off when bandwidth or picture are
/// small. Longer than the pause between two pictures of a still screen.
const LAYER_PAUSE: Duration = Duration::from_millis(2_000);
/// Without a packet for so long a layer gives its memory back.
const LAYER_IDLE: Duration = Duration::from_secs(10);
/// The least time between two for those who come back after an overload.
const SHARED_KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(KEYFRAME_REQUEST_INTERVAL_MS);

/// See the module.
#[derive(Debug)]
pub(crate) struct Track {
    pub owner: Key<Participant>,
    pub owner_id: ParticipantId,
    pub kind: TrackKind,
    /// Dense in the room.
    pub number: u16,
    /// Smallest picture first; only the first without simulcast.
    layers: [Option<Box<Layer>>; LAYERS_PER_TRACK],
    epochs: u32,
    /// Our clock less the browser's wall clock, in microseconds. The same for all tracks of a participant, so that
    /// lips stay in sync.
    pub clock_offset: Option<i64>,
}

impl Track {
    pub(crate) fn new(owner: Key<Participant>, owner_id: ParticipantId, kind: TrackKind, number: u16) -> Self {
        let layers = [const { None }; LAYERS_PER_TRACK];
        Self { owner, owner_id, kind, number, layers, epochs: 0, clock_offset: None }
    }

    pub(crate) fn media(&self) -> MediaKind {
        self.kind.media()
    }

    pub(crate) fn layer(&self, layer: u8) -> Option<&Layer> {
        self.layers.get(usize::from(layer))?.as_deref()
    }

    pub(crate) fn layer_mut(&mut self, layer: u8) -> Option<&mut Layer> {
        self.layers.get_mut(usize::from(layer))?.as_deref_mut()
    }

    /// With their numbers, those that ever began.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (u8, &Layer)> {
        (0..).zip(&self.layers).filter_map(|(number, layer)| Some((number, layer.as_deref()?)))
    }

    pub(crate) fn layers_mut(&mut self) -> impl Iterator<Item = (u8, &mut Layer)> {
        (0..).zip(&mut self.layers).filter_map(|(number, layer)| Some((number, layer.as_deref_mut()?)))
    }

    /// A layer begins, or begins anew, with this SSRC.
    pub(crate) fn begin_layer(&mut self, layer: u8, ssrc: u32) {
        self.epochs += 1;
        let epoch = self.epochs;
        if let Some(place) = self.layers.get_mut(usize::from(layer)) {
            *place = Some(Box::new(Layer::new(ssrc, epoch)));
        }
    }

    /// Forgets all that was received.
    pub(crate) fn reset(&mut self) {
        self.layers = [const { None }; LAYERS_PER_TRACK];
    }

    /// The layer to forward where nothing larger than `max_layer` is wanted: the largest of those that there
    /// are at the moment; if all are larger, the smallest.
    pub(crate) fn best_layer(&self, max_layer: u8, now: Time) -> Option<u8> {
        let mut alive = self.layers().filter(|(_, layer)| layer.is_alive(now)).map(|(number, _)| number);
        let smallest = alive.next()?;
        Some(alive.take_while(|&number| number <= max_layer).last().unwrap_or(smallest))
    }

    /// The layer to ask for a key frame, for somebody who gets nothing yet. A still screen sends nothing for long,
    /// and yet answers.
    pub(crate) fn layer_to_ask(&self, max_layer: u8, again: bool, now: Time) -> Option<u8> {
        let resting = || self.layers().find(|(_, layer)| !again || !layer.is_idle(now)).map(|(number, _)| number);
        self.best_layer(max_layer, now).or_else(resting)
    }

    /// Whether somebody asked for one lately. Where many pictures come back one after the other, one key frame serves
    /// several.
    pub(crate) fn asked_for_key_frame(&self, layer: u8, now: Time) -> bool {
        let last = self.layer(layer).and_then(|layer| layer.key_frame_requested);
        last.is_some_and(|last| now.since(last) < SHARED_KEYFRAME_INTERVAL)
    }

    /// Notes that somebody needs a key frame. `true`: this was not noted before.
    pub(crate) fn want_key_frame(&mut self, layer: u8) -> bool {
        let Some(layer) = self.layer_mut(layer) else { return false };
        !std::mem::replace(&mut layer.key_frame_wanted, true)
    }
}

/// One incoming SSRC.
#[derive(Debug)]
pub(crate) struct Layer {
    pub ssrc: u32,
    pub epoch: u32,
    pub reception: Option<Reception>,
    pub missing: Missing,
    pub cache: Option<Cache>,
    pub sender_report: Option<ReceivedReport>,
    pub bursts: Bursts,
    pub last_packet: Time,
    /// RTP timestamp of the newest packet.
    pub last_timestamp: u32,
    key_frame_wanted: bool,
    key_frame_requested: Option<Time>,
}

/// The sender's word on how its RTP clock relates to its wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedReport {
    pub info: SenderInfo,
    pub received: Time,
}

impl Layer {
    fn new(ssrc: u32, epoch: u32) -> Self {
        Self {
            ssrc,
            epoch,
            reception: None,
            missing: Missing::default(),
            cache: None,
            sender_report: None,
            bursts: Bursts::default(),
            last_packet: Time(0),
            last_timestamp: 0,
            key_frame_wanted: false,
            key_frame_requested: None,
        }
    }

    /// Takes a packet into the statistics and, where it is video, into the cache.
    pub(crate) fn record(&mut self, packet: &Packet, plain: &[u8], now: Time) {
        let clock_rate = packet.codec.clock_rate();
        self.last_packet = now;
        let video = packet.codec.media() == MediaKind::Video;
        match &mut self.reception {
            None => {
                self.reception = Some(Reception::new(packet.index, packet.timestamp, clock_rate, now));
                self.last_timestamp = packet.timestamp;
            }
            Some(reception) => {
                let highest = reception.highest();
                if video && self.missing.record(packet.index, highest, now).is_err() {
                    self.key_frame_wanted = true;
                }
                if packet.index > highest {
                    self.last_timestamp = packet.timestamp;
                }
                reception.record(packet.index, packet.timestamp, clock_rate, now);
            }
        }
        if packet.begins_key_frame {
            self.key_frame_wanted = false;
            self.missing.take_given_up();
        }
        if video {
            // Without its padding, which some browsers send hundreds of times a second.
            let kept = plain.get(..packet.payload.end()).unwrap_or(plain);
            self.cache.get_or_insert_with(|| Cache::new(now)).store(packet, kept, now);
        }
    }

    pub(crate) fn is_alive(&self, now: Time) -> bool {
        self.reception.is_some() && now.since(self.last_packet) < LAYER_PAUSE
    }

    /// The browser said goodbye for this SSRC: other layers need not wait until it has been silent.
    pub(crate) fn end(&mut self) {
        self.last_packet = Time(0);
    }

    /// Nothing came for long.
    pub(crate) fn is_idle(&self, now: Time) -> bool {
        now.since(self.last_packet) > LAYER_IDLE
    }

    /// Gives memory back if nothing came for long.
    pub(crate) fn rest(&mut self, now: Time) {
        if self.is_idle(now) {
            self.cache = None;
            self.missing = Missing::default();
        }
    }

    /// What was asked for in vain is lost: a key frame is wanted.
    pub(crate) fn make_up_for_losses(&mut self) {
        self.key_frame_wanted |= self.missing.take_given_up();
    }

    /// When the wanted key frame may be asked for.
    pub(crate) fn key_frame_request_due(&self) -> Time {
        match (self.key_frame_wanted, self.key_frame_requested) {
            (false, _) => Time::NEVER,
            (true, None) => Time(0),
            (true, Some(last)) => last + KEYFRAME_REQUEST_INTERVAL,
        }
    }

    /// Whether to ask for a key frame now; the caller does.
    pub(crate) fn take_key_frame_request(&mut self, now: Time) -> bool {
        let due = self.key_frame_request_due() <= now;
        if due {
            self.key_frame_wanted = false;
            self.key_frame_requested = Some(now);
        }
        due
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn track() -> Track {
        Track::new(Key::for_test(0), ParticipantId(1), TrackKind::Camera, 0)
    }

    fn alive(track: &mut Track, layer: u8, at: Time) {
        if track.layer(layer).is_none() {
            track.begin_layer(layer, 100 + u32::from(layer));
        }
        track.layer_mut(layer).unwrap().record(&crate::cache::tests::packet(1), &[0; 100], at);
    }

    #[test]
    fn the_best_layer_is_the_largest_living_one_that_is_wanted() {
        let mut track = track();
        assert_eq!(track.best_layer(2, Time(0)), None);
        alive(&mut track, 1, Time::from_millis(5_000));
        assert_eq!(track.best_layer(0, Time::from_millis(5_000)), Some(1));
        alive(&mut track, 0, Time::from_millis(6_000));
        alive(&mut track, 2, Time::from_millis(5_000));
        let now = Time::from_millis(6_000);
        assert_eq!([0, 1, 2, 9].map(|max| track.best_layer(max, now)), [Some(0), Some(1), Some(2), Some(2)]);
        assert_eq!(track.best_layer(2, Time::from_millis(7_500)), Some(0));
    }

    #[test]
    fn key_frame_requests_are_throttled_and_end_with_a_key_frame() {
        let mut track = track();
        assert!(!track.want_key_frame(0), "no layer yet");
        alive(&mut track, 0, Time(0));
        assert!(track.want_key_frame(0));
        assert!(!track.want_key_frame(0), "already noted");
        let now = Time::from_millis(1_000);
        let layer = track.layer_mut(0).unwrap();
        assert!(layer.take_key_frame_request(now));
        assert!(!layer.take_key_frame_request(now));
        track.want_key_frame(0);
        let layer = track.layer_mut(0).unwrap();
        assert!(!layer.take_key_frame_request(now));
        assert_eq!(layer.key_frame_request_due(), Time::from_millis(1_500));
        let mut packet = crate::cache::tests::packet(2);
        packet.begins_key_frame = true;
        layer.record(&packet, &[0; 100], now);
        assert_eq!(layer.key_frame_request_due(), Time::NEVER);
    }
}
