//! All that the engine has of one participant.

use crate::access::Access;
use crate::packet::LayerId;
use crate::room::Room;
use crate::rtcp::ArrivalRecorder;
use crate::slab::{Key, Slab};
use crate::slot::Downlink;
use crate::speakers::Loudness;
use crate::srtp::{Inbound, Outbound, ReceiveStream, RtcpReplay};
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::limits::{
    CONNECT_TIMEOUT_MS, HANDSHAKE_DATAGRAMS, RTCP_SENDERS_PER_PARTICIPANT, TRACKS_PER_PARTICIPANT,
};
use plausch_relay_api::{ParticipantSnapshot, ParticipantSpec, SendTrack, SlotAssignment, Source, TrackKind};
use std::time::Duration;

/// Until a report tells more.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) struct Participant {
    pub spec: ParticipantSpec,
    pub assignments: Vec<SlotAssignment>,
    pub room: Key<Room>,
    pub access: Access,
    pub transport: Transport,
    pub uplink: Uplink,
    pub downlink: Downlink,
    /// In the list of those whose timers the present call may have changed.
    pub touched: bool,
}

impl Participant {
    pub(crate) fn new(spec: ParticipantSpec, access: Access, room: Key<Room>, local_ssrc: u32, now: Time) -> Self {
        Self {
            assignments: Vec::new(),
            room,
            access,
            transport: Transport::new(now),
            uplink: Uplink::new(local_ssrc),
            downlink: Downlink::new(&spec.slots, now),
            touched: false,
            spec,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.transport.phase, Phase::Connected(_))
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.transport.phase, Phase::Over)
    }

    pub(crate) fn snapshot(&self) -> ParticipantSnapshot {
        ParticipantSnapshot {
            spec: self.spec.clone(),
            assignments: self.assignments.clone(),
            connected: self.is_connected(),
        }
    }

    /// When this participant's next turn is.
    pub(crate) fn deadline(&self, tracks: &Slab<Track>) -> Time {
        match &self.transport.phase {
            Phase::Over => Time::NEVER,
            Phase::Connecting { until } => self.access.next_check().min(*until),
            Phase::Connected(_) => {
                let mut earliest = self
                    .access
                    .deadline()
                    .min(self.access.next_check())
                    .min(self.transport.reports_due)
                    .min(self.uplink.feedback_due());
                for track in self.uplink.tracks().filter_map(|track| tracks.get(track)) {
                    for (_, layer) in track.layers() {
                        earliest = earliest.min(layer.missing.next()).min(layer.key_frame_request_due());
                    }
                }
                earliest
            }
        }
    }
}

/// How far the transport has come.
#[derive(Debug)]
pub(crate) enum Phase {
    Connecting {
        until: Time,
    },
    Connected(Box<Keys>),
    /// Only a new generation brings it back.
    Over,
}

/// SRTP both ways.
#[derive(Debug)]
pub(crate) struct Keys {
    pub inbound: Inbound,
    pub outbound: Outbound,
}

/// DTLS and SRTP of one participant.
#[derive(Debug)]
pub(crate) struct Transport {
    pub phase: Phase,
    /// A handshake thread knows this generation.
    pub dtls_begun: bool,
    dtls_datagrams: u32,
    rtcp_replays: Vec<(u32, RtcpReplay)>,
    pub round_trip: Duration,
    /// Sender and receiver reports.
    pub reports_due: Time,
}

impl Transport {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            phase: Phase::Connecting { until: now + Duration::from_millis(CONNECT_TIMEOUT_MS) },
            dtls_begun: false,
            dtls_datagrams: 0,
            rtcp_replays: Vec::new(),
            round_trip: ROUND_TRIP_GUESS,
            reports_due: Time::NEVER,
        }
    }

    /// Whether one more DTLS datagram may be handed on.
    pub(crate) fn admit_dtls(&mut self) -> bool {
        let admitted = self.dtls_datagrams < HANDSHAKE_DATAGRAMS;
        self.dtls_datagrams += u32::from(admitted);
        admitted
    }

    /// Whether the other side has sent something of DTLS.
    pub(crate) fn dtls_answered(&self) -> bool {
        self.dtls_datagrams > 0
    }

    pub(crate) fn connect(&mut self, keys: Keys, now: Time) {
        self.phase = Phase::Connected(Box::new(keys));
        // What follows are repeated flights and the goodbye.
        self.dtls_datagrams = 0;
        self.reports_due = now;
    }

    /// The replay window of an RTCP sender, and the keys.
    pub(crate) fn rtcp_receiver(&mut self, sender: u32) -> Option<(&Keys, &mut RtcpReplay)> {
        let Phase::Connected(keys) = &self.phase else { return None };
        let known = self.rtcp_replays.iter().position(|&(ssrc, _)| ssrc == sender);
        let place = match known {
            Some(place) => place,
            None if self.rtcp_replays.len() < RTCP_SENDERS_PER_PARTICIPANT => {
                self.rtcp_replays.push((sender, RtcpReplay::new()));
                self.rtcp_replays.len() - 1
            }
            None => return None,
        };
        Some((keys, &mut self.rtcp_replays.get_mut(place)?.1))
    }

    /// The packet that [`Self::rtcp_receiver`] was asked for was forged: a sender that it brought in goes again.
    pub(crate) fn forget_rtcp_sender(&mut self, senders_before: usize) {
        self.rtcp_replays.truncate(senders_before);
    }

    pub(crate) fn rtcp_senders(&self) -> usize {
        self.rtcp_replays.len()
    }
}

/// An incoming SSRC. It stays for as long as the keys do: without its replay window what it sent before could be sent
/// again by anybody, and without its rollover counter it could not be opened when the browser takes it up again.
#[derive(Debug)]
pub(crate) struct Binding {
    pub ssrc: u32,
    /// Track and layer; `None` once another SSRC is that layer, or the track is gone.
    pub place: Option<(Key<Track>, u8)>,
    pub stream: ReceiveStream,
}

/// What a participant publishes.
#[derive(Debug)]
pub(crate) struct Uplink {
    /// By [`TrackKind`].
    tracks: [Option<Key<Track>>; TRACKS_PER_PARTICIPANT],
    pub bindings: Vec<Binding>,
    /// Ours, as the sender of feedback.
    pub local_ssrc: u32,
    pub arrivals: Option<ArrivalRecorder>,
    pub feedback_sent: Time,
    pub loudness: Loudness,
}

impl Uplink {
    pub(crate) fn new(local_ssrc: u32) -> Self {
        Self {
            tracks: [None; TRACKS_PER_PARTICIPANT],
            bindings: Vec::new(),
            local_ssrc,
            arrivals: None,
            feedback_sent: Time(0),
            loudness: Loudness::default(),
        }
    }

    pub(crate) fn track(&self, kind: TrackKind) -> Option<Key<Track>> {
        self.tracks.get(kind as usize).copied().flatten()
    }

    pub(crate) fn set_track(&mut self, kind: TrackKind, track: Option<Key<Track>>) {
        if let Some(place) = self.tracks.get_mut(kind as usize) {
            *place = track;
        }
    }

    pub(crate) fn tracks(&self) -> impl Iterator<Item = Key<Track>> {
        self.tracks.iter().copied().flatten()
    }

    /// Audio and video track of a source.
    pub(crate) fn source(&self, source: Source) -> (Option<Key<Track>>, Option<Key<Track>>) {
        match source {
            Source::Person => (self.track(TrackKind::Microphone), self.track(TrackKind::Camera)),
            Source::Screen => (self.track(TrackKind::ScreenAudio), self.track(TrackKind::Screen)),
        }
    }

    pub(crate) fn layer_of(&self, ssrc: u32) -> Option<(Key<Track>, u8)> {
        self.bindings.iter().find(|binding| binding.ssrc == ssrc)?.place
    }

    /// When transport-wide feedback is due.
    pub(crate) fn feedback_due(&self) -> Time {
        let waiting = self.arrivals.as_ref().is_some_and(|arrivals| arrivals.pending() > 0);
        if waiting { self.feedback_sent + FEEDBACK_INTERVAL } else { Time::NEVER }
    }
}

const FEEDBACK_INTERVAL: Duration = Duration::from_millis(plausch_relay_api::limits::FEEDBACK_INTERVAL_MS);

/// The track and layer that a packet of an unknown SSRC belongs to: SDP named it, or its header extensions do.
pub(crate) fn identify(
    sends: &[SendTrack],
    ssrc: u32,
    mid: Option<&[u8]>,
    rid: Option<&[u8]>,
) -> Option<(TrackKind, u8)> {
    let announced = sends.iter().find(|send| send.rids.is_empty() && send.ssrcs.first() == Some(&ssrc));
    if let Some(send) = announced {
        return Some((send.kind, 0));
    }
    let mid = mid?;
    let send = sends.iter().find(|send| send.mid.as_bytes() == mid)?;
    if send.rids.is_empty() {
        // A second SSRC of an m-line whose SSRCs were announced is repair or padding of a kind we did not negotiate.
        return (!send.ssrcs.contains(&ssrc)).then_some((send.kind, 0));
    }
    let rid = rid?;
    let layer = send.rids.iter().position(|known| known.as_bytes() == rid)?;
    Some((send.kind, u8::try_from(layer).ok()?))
}

/// Whether a stream that follows `source` belongs to `track`.
pub(crate) fn belongs(source: Option<LayerId>, track: Option<Key<Track>>) -> bool {
    source.map(|source| source.track) == track
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(kind: TrackKind, mid: &str, ssrcs: &[u32], rids: &[&str]) -> SendTrack {
        SendTrack { kind, mid: mid.into(), ssrcs: ssrcs.to_vec(), rids: rids.iter().map(|&rid| rid.into()).collect() }
    }

    #[test]
    fn packets_find_their_track() {
        let sends = [
            send(TrackKind::Microphone, "0", &[11, 12], &[]),
            send(TrackKind::Camera, "1", &[], &["q", "h", "f"]),
            send(TrackKind::Screen, "2", &[], &[]),
        ];
        let find = |ssrc, mid: Option<&str>, rid: Option<&str>| {
            identify(&sends, ssrc, mid.map(str::as_bytes), rid.map(str::as_bytes))
        };
        assert_eq!(find(11, None, None), Some((TrackKind::Microphone, 0)));
        assert_eq!(find(12, Some("0"), None), None);
        assert_eq!(find(13, Some("0"), None), Some((TrackKind::Microphone, 0)));
        assert_eq!(find(20, Some("1"), Some("f")), Some((TrackKind::Camera, 2)));
        assert_eq!(find(20, Some("1"), Some("x")), None);
        assert_eq!(find(20, Some("1"), None), None);
        assert_eq!(find(30, Some("2"), Some("ignored")), Some((TrackKind::Screen, 0)));
        assert_eq!(find(40, None, None), None);
        assert_eq!(find(40, Some("9"), None), None);
    }
}
