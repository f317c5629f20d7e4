//! The reference model: what control asked for, what was published, what arrived, and so who may receive what.

use crate::media::{Picture, StreamId, Vp8Descriptor};
use crate::sim::egress::Egress;
use crate::sim::publisher::{Published, PublishedKind, Publisher};
use crate::sim::setup::Setup;
use plausch_engine::{Path, Time};
use plausch_relay_api::limits::{CONNECT_TIMEOUT_MS, CONSENT_TIMEOUT_MS, KEYED_SILENCE_MS};
use plausch_relay_api::{
    Codec, DisconnectReason, ExtensionIds, IceParameters, MediaKind, ParticipantId, SlotAssignment, SlotId, Source,
    TrackKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How late the engine may notice that a time is over.
const TIMER_SLACK: Duration = Duration::from_millis(1_500);
/// From both sides being connected to the first packet in the slot: audio needs one packet through a lossy
/// link, video a whole key frame that is asked for through two.
const FIRST_AUDIO_WITHIN: Duration = Duration::from_millis(3_000);
const FIRST_VIDEO_WITHIN: Duration = Duration::from_millis(8_000);

/// All that is true at the moment.
#[derive(Default)]
pub struct Model {
    pub participants: BTreeMap<ParticipantId, Truth>,
    pub streams: BTreeMap<StreamId, StreamTruth>,
    /// By subscriber, generation and SSRC.
    pub egress: BTreeMap<(ParticipantId, u32, u32), Egress>,
    pub counts: Counts,
    /// Believes neither reports nor counters, to see what it finds without.
    pub ignores_reports: bool,
}

/// What the engine's counters must say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// Paths of browsers that came by TURN.
    pub relayed: u64,
    pub forwarded: u64,
    /// For the first time and out of order.
    pub behind: u64,
    pub retransmitted: u64,
    pub fillers: u64,
    pub rtcp_sent: u64,
    pub key_frame_requests: u64,
    pub nacked: u64,
    /// Subscribers' NACKs of packets that the engine sent a moment before.
    pub asked: u64,
    pub connected: u64,
    /// The number of these that are keyed.
    pub keyed: u64,
    pub twcc: u64,
    pub sender_reports: u64,
    pub layer_switches: u64,
    pub source_switches: u64,
    pub path_changes: u64,
    pub ice_restarts: u64,
    pub expired: u64,
}

impl Counts {
    /// Sums.
    pub fn add(&mut self, other: &Self) {
        for (sum, number) in [
            (&mut self.delivered, other.delivered),
            (&mut self.delivered_bytes, other.delivered_bytes),
            (&mut self.relayed, other.relayed),
            (&mut self.forwarded, other.forwarded),
            (&mut self.behind, other.behind),
            (&mut self.retransmitted, other.retransmitted),
            (&mut self.fillers, other.fillers),
            (&mut self.rtcp_sent, other.rtcp_sent),
            (&mut self.key_frame_requests, other.key_frame_requests),
            (&mut self.nacked, other.nacked),
            (&mut self.asked, other.asked),
            (&mut self.connected, other.connected),
            (&mut self.keyed, other.keyed),
            (&mut self.twcc, other.twcc),
            (&mut self.sender_reports, other.sender_reports),
            (&mut self.layer_switches, other.layer_switches),
            (&mut self.source_switches, other.source_switches),
            (&mut self.path_changes, other.path_changes),
            (&mut self.ice_restarts, other.ice_restarts),
            (&mut self.expired, other.expired),
        ] {
            *sum += number;
        }
    }
}

/// One participant.
pub struct Truth {
    pub setup: Setup,
    pub assignments: Vec<SlotAssignment>,
    /// By slot: counts the beginnings of a new relation between the slot and a source.
    pub epochs: BTreeMap<SlotId, u64>,
    /// When the slot, its source or both connections changed last.
    pub changed: BTreeMap<SlotId, Time>,
    /// The engine has keys.
    pub connected: bool,
    /// The engine said that the transport is over.
    pub over: bool,
    pub since: Time,
    /// Fragments that the engine must accept.
    pub ufrags: Vec<String>,
    pub selected: Option<Path>,
    /// Nominated last, and not answered yet.
    pub awaited: Option<Path>,
    /// Paths from which an answer to a check of the engine came, and when the last came from any.
    pub answered: Vec<Path>,
    pub transactions: BTreeSet<[u8; 12]>,
    pub consent: Option<Time>,
    /// When each path was nominated last.
    pub nominated: Vec<(Path, Time)>,
    /// Tracks that send nothing at the moment.
    pub disabled: Vec<TrackKind>,
    /// When a link of this participant was down last.
    pub cut: Option<Time>,
    /// When a layer was allowed last, by slot and layer.
    pub allowed_layers: BTreeMap<(SlotId, u8), Time>,
    /// When the last key-frame request for an SSRC was sent to this participant.
    pub key_frame_requests: BTreeMap<u32, Time>,
    /// When transport-wide sequence numbers arrived last.
    pub transport_arrived: BTreeMap<u16, Time>,
}

/// One stream that is published.
pub struct StreamTruth {
    pub codec: Codec,
    pub vp8: Vp8Descriptor,
    pub ssrc: u32,
    pub first_sequence: u16,
    pub first_picture: Picture,
    pub extensions: ExtensionIds,
    pub mid: String,
    /// By counter.
    pub packets: Vec<PacketTruth>,
    pub highest_arrived: Option<u32>,
    pub last_arrived: Option<Time>,
}

/// One packet of a stream.
#[derive(Clone, Copy, Debug)]
pub struct PacketTruth {
    pub padding: bool,
    pub arrived: Option<Time>,
    /// Came after one with a larger counter.
    pub late: bool,
}

impl Model {
    /// Control puts a participant: new, or with more m-lines, other ICE or a new generation.
    pub fn put(&mut self, now: Time, setup: &Setup) {
        let participant = setup.spec.participant;
        let Some(truth) = self.participants.get_mut(&participant) else {
            self.participants.insert(participant, Truth::new(now, setup));
            return;
        };
        let renewed = truth.setup.spec.generation != setup.spec.generation;
        if renewed {
            let assignments = std::mem::take(&mut truth.assignments);
            let epochs = std::mem::take(&mut truth.epochs);
            *truth = Truth { assignments, epochs, ..Truth::new(now, setup) };
            self.renew(now, participant);
        } else {
            if let Some(ice) = setup.ice().filter(|ice| truth.setup.ice() != Some(ice)) {
                truth.restart_ice(ice);
            }
            truth.setup = setup.clone();
        }
    }

    /// Control removes a participant.
    pub fn remove(&mut self, now: Time, participant: ParticipantId) {
        self.renew(now, participant);
        self.participants.remove(&participant);
    }

    /// Control assigns all slots of a participant.
    pub fn assign(&mut self, now: Time, participant: ParticipantId, slots: &[SlotAssignment]) {
        let Some(truth) = self.participants.get_mut(&participant) else { return };
        for slot in &truth.setup.spec.slots {
            let find = |all: &[SlotAssignment]| all.iter().find(|other| other.slot == slot.slot).copied();
            let (before, after) = (find(&truth.assignments), find(slots));
            if before.map(|it| it.source) != after.map(|it| it.source) {
                *truth.epochs.entry(slot.slot).or_default() += 1;
                truth.changed.insert(slot.slot, now);
                truth.allowed_layers.retain(|(other, _), _| *other != slot.slot);
            }
            if let Some(before) = before {
                truth.allowed_layers.insert((slot.slot, before.max_layer), now);
            }
        }
        truth.assignments = slots.to_vec();
    }

    /// The handshake is finished.
    pub fn connect(&mut self, now: Time, participant: ParticipantId) {
        if let Some(truth) = self.participants.get_mut(&participant) {
            truth.connected = true;
            self.counts.connected += 1;
            self.renew(now, participant);
        }
    }

    /// A keyed participant has been put: it is connected, on this path.
    pub fn enter_keyed(&mut self, now: Time, participant: ParticipantId, path: Path) {
        let Some(truth) = self.participants.get_mut(&participant) else { return };
        if truth.connected || truth.over {
            return;
        }
        truth.answered.push(path);
        truth.selected = Some(path);
        truth.consent = Some(now);
        self.counts.keyed += 1;
        self.connect(now, participant);
    }

    /// Something authentic of a keyed participant arrives.
    pub fn keyed_heard(&mut self, now: Time, participant: ParticipantId, generation: u32) {
        let truth = self.participants.get_mut(&participant).filter(|truth| truth.setup.spec.generation == generation);
        if let Some(truth) = truth.filter(|truth| truth.setup.keyed_path().is_some() && !truth.over) {
            truth.consent = Some(now);
        }
    }

    /// The engine says that a transport is over; whether it may.
    pub fn disconnected(
        &mut self,
        now: Time,
        participant: ParticipantId,
        generation: u32,
        reason: DisconnectReason,
    ) -> Result<(), String> {
        let truth = self.participants.get_mut(&participant).ok_or("Disconnected of somebody unknown")?;
        if truth.over || truth.setup.spec.generation != generation {
            return Err(format!("a second Disconnected of {participant} generation {generation}"));
        }
        let consent = Duration::from_millis(CONSENT_TIMEOUT_MS);
        let silence = Duration::from_millis(KEYED_SILENCE_MS);
        match reason {
            DisconnectReason::ConsentExpired if truth.consent.is_some_and(|at| now.since(at) < consent) => {
                return Err(format!("consent of {participant} expired after an answer at {:?}", truth.consent));
            }
            DisconnectReason::ConsentExpired if truth.setup.keyed_path().is_some() => {
                return Err(format!("consent of {participant}, which is keyed"));
            }
            DisconnectReason::KeyedSilent if truth.consent.is_none_or(|at| now.since(at) < silence) => {
                return Err(format!("{participant} was silent since {:?}", truth.consent));
            }
            DisconnectReason::ConnectTimeout if truth.connected => {
                return Err(format!("connect timeout of {participant}, which is connected"));
            }
            DisconnectReason::ConnectTimeout if now.since(truth.since) < Duration::from_millis(CONNECT_TIMEOUT_MS) => {
                return Err(format!("connect timeout of {participant} after {:?}", now.since(truth.since)));
            }
            _ => {}
        }
        self.counts.expired += u64::from(reason == DisconnectReason::ConsentExpired);
        truth.over = true;
        truth.connected = false;
        truth.selected = None;
        self.renew(now, participant);
        Ok(())
    }

    /// A check with the right password arrives.
    pub fn check_arrived(&mut self, now: Time, participant: ParticipantId, ufrag: &str, path: Path, nominates: bool) {
        let Some(truth) = self.participants.get_mut(&participant) else { return };
        let Some(at) = truth.ufrags.iter().position(|known| known == ufrag) else { return };
        if truth.over {
            return;
        }
        // The first check with the new name ends the old one.
        truth.ufrags.drain(..at);
        if nominates && !truth.answered.contains(&path) {
            truth.awaited = Some(path);
        } else if nominates {
            truth.awaited = None;
            truth.selected = Some(path);
            truth.nominated.retain(|(other, _)| *other != path);
            truth.nominated.push((path, now));
        }
    }

    /// An answer to a check of the engine arrives: its path may have media from now on.
    /// A repeated check has the same transaction, and only its first answer counts.
    pub fn answer_arrived(
        &mut self,
        now: Time,
        participant: ParticipantId,
        generation: u32,
        path: Path,
        transaction: [u8; 12],
    ) {
        let Some(truth) = self.participants.get_mut(&participant) else { return };
        if truth.over || truth.setup.spec.generation != generation {
            return;
        }
        if !truth.transactions.insert(transaction) {
            return;
        }
        truth.consent = Some(now);
        if !truth.answered.contains(&path) {
            truth.answered.push(path);
        }
        if truth.awaited == Some(path) {
            truth.awaited = None;
            truth.selected = Some(path);
            truth.nominated.retain(|(other, _)| *other != path);
            truth.nominated.push((path, now));
        }
    }

    /// Learns of streams that have begun.
    pub fn learn_streams(&mut self, publisher: &Publisher, extensions: ExtensionIds) {
        for stream in &publisher.streams {
            self.streams.entry(stream.id).or_insert_with(|| StreamTruth {
                codec: stream.codec,
                vp8: stream.vp8,
                ssrc: stream.setup.ssrc,
                first_sequence: stream.first_sequence,
                first_picture: stream.first_picture,
                extensions,
                mid: stream.setup.mid.clone(),
                packets: Vec::new(),
                highest_arrived: None,
                last_arrived: None,
            });
        }
    }

    /// A packet leaves a publisher.
    pub fn sent(&mut self, stream: StreamId, counter: u32, kind: PublishedKind) {
        let Some(truth) = self.streams.get_mut(&stream) else { return };
        if counter as usize == truth.packets.len() {
            truth.packets.push(PacketTruth { padding: kind == PublishedKind::Padding, arrived: None, late: false });
        }
    }

    /// A packet of a publisher arrives at the engine.
    pub fn arrived(&mut self, now: Time, stream: StreamId, counter: u32, transport_sequence: Option<u16>) {
        let Some(participant) = self.participants.get_mut(&stream.participant) else { return };
        if !participant.connected || participant.setup.spec.generation != stream.generation {
            return;
        }
        if let Some(sequence) = transport_sequence {
            // One as old as this is of the round before.
            let known = participant.transport_arrived.entry(sequence).or_insert(now);
            if now.since(*known) > Duration::from_secs(10) {
                *known = now;
            }
        }
        let Some(truth) = self.streams.get_mut(&stream) else { return };
        let packet = &mut truth.packets[counter as usize];
        if packet.arrived.is_some() {
            return;
        }
        packet.arrived = Some(now);
        packet.late = truth.highest_arrived.is_some_and(|highest| highest > counter);
        truth.highest_arrived = Some(truth.highest_arrived.unwrap_or(0).max(counter));
        truth.last_arrived = Some(now);
    }

    /// Switches a track on or off.
    pub fn enable(&mut self, now: Time, participant: ParticipantId, track: TrackKind, on: bool) {
        if let Some(truth) = self.participants.get_mut(&participant) {
            truth.disabled.retain(|other| *other != track);
            if !on {
                truth.disabled.push(track);
            }
        }
        self.touch(now, participant);
    }

    /// Checks what must have happened by now.
    pub fn check_time(&self, now: Time) -> Result<(), String> {
        for (id, truth) in &self.participants {
            if truth.over {
                continue;
            }
            let consent = Duration::from_millis(CONSENT_TIMEOUT_MS) + TIMER_SLACK;
            if truth.connected && truth.consent.is_some_and(|at| now.since(at) > consent) {
                return Err(format!("consent of {id} should have expired, the last answer was at {:?}", truth.consent));
            }
            let connect = Duration::from_millis(CONNECT_TIMEOUT_MS) + TIMER_SLACK;
            if !truth.connected && now.since(truth.since) > connect {
                return Err(format!("{id} was put at {:?} and neither connected nor given up", truth.since));
            }
            for assignment in &truth.assignments {
                for kind in [MediaKind::Audio, MediaKind::Video] {
                    self.check_first_media(now, *id, truth, assignment, kind)?;
                }
            }
        }
        Ok(())
    }

    fn check_first_media(
        &self,
        now: Time,
        id: ParticipantId,
        truth: &Truth,
        assignment: &SlotAssignment,
        kind: MediaKind,
    ) -> Result<(), String> {
        let within = if kind == MediaKind::Audio { FIRST_AUDIO_WITHIN } else { FIRST_VIDEO_WITHIN };
        let Some(since) = self.expected_since(now, truth, assignment, kind) else { return Ok(()) };
        let slot = truth.setup.spec.slots.iter().find(|slot| slot.slot == assignment.slot).ok_or("no such slot")?;
        let Some(ssrc) = slot.stream(kind).map(|stream| stream.ssrc) else { return Ok(()) };
        let epoch = truth.epochs.get(&assignment.slot).copied().unwrap_or_default();
        let egress = self.egress.get(&(id, truth.setup.spec.generation, ssrc));
        if now.since(since) > within && egress.is_none_or(|egress| egress.last_epoch() != Some(epoch)) {
            return Err(format!(
                "no {kind:?} of {:?} in slot {} of {id} since {since:?}",
                assignment.source, slot.slot
            ));
        }
        Ok(())
    }

    /// Since when the slot ought to receive media of this kind, if it ought to at all.
    pub fn expected_since(
        &self,
        now: Time,
        truth: &Truth,
        assignment: &SlotAssignment,
        kind: MediaKind,
    ) -> Option<Time> {
        let source = self.participants.get(&assignment.source.participant)?;
        let track = source_track(assignment.source.source, kind);
        let sends = source.setup.spec.sends.iter().any(|send| send.kind == track);
        let codec = source.setup.codec(track);
        let possible = truth.connected
            && source.connected
            && sends
            && !source.disabled.contains(&track)
            && truth.setup.mapping(codec).is_some()
            && source.setup.spec.room == truth.setup.spec.room;
        let changed = truth.changed.get(&assignment.slot).copied().unwrap_or(truth.since);
        // A link that is or was down begins the waiting anew.
        let cut = source.cut.max(truth.cut).unwrap_or(Time(0));
        (possible && cut < now).then(|| changed.max(cut))
    }

    /// The relation between this participant and all slots, own and others', begins anew.
    fn renew(&mut self, now: Time, participant: ParticipantId) {
        self.each_relation(participant, |truth, slot| {
            *truth.epochs.entry(slot).or_default() += 1;
            truth.changed.insert(slot, now);
        });
    }

    /// Waiting for media of this participant begins anew.
    pub fn touch(&mut self, now: Time, participant: ParticipantId) {
        self.each_relation(participant, |truth, slot| {
            truth.changed.insert(slot, now);
        });
    }

    fn each_relation(&mut self, participant: ParticipantId, mut change: impl FnMut(&mut Truth, SlotId)) {
        for (id, truth) in &mut self.participants {
            let all: Vec<SlotId> = match *id == participant {
                true => truth.setup.spec.slots.iter().map(|slot| slot.slot).collect(),
                false => {
                    let of_it = truth.assignments.iter().filter(|it| it.source.participant == participant);
                    of_it.map(|it| it.slot).collect()
                }
            };
            all.into_iter().for_each(|slot| change(truth, slot));
        }
    }

    /// All packets a publisher sends now are known.
    pub fn published(&mut self, published: &Published) {
        self.sent(published.stream, published.counter, published.kind);
    }
}

impl Truth {
    fn new(now: Time, setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            assignments: Vec::new(),
            epochs: BTreeMap::new(),
            changed: BTreeMap::new(),
            connected: false,
            over: false,
            since: now,
            ufrags: setup.ice().map(|ice| ice.local_ufrag.clone()).into_iter().collect(),
            selected: None,
            awaited: None,
            answered: Vec::new(),
            transactions: BTreeSet::new(),
            consent: None,
            nominated: Vec::new(),
            disabled: Vec::new(),
            cut: None,
            allowed_layers: BTreeMap::new(),
            key_frame_requests: BTreeMap::new(),
            transport_arrived: BTreeMap::new(),
        }
    }

    fn restart_ice(&mut self, ice: &IceParameters) {
        // The one in force and the one that is coming.
        self.ufrags.truncate(1);
        self.ufrags.push(ice.local_ufrag.clone());
    }
}

/// The track of a source that goes to the audio or the video m-line of a slot.
pub fn source_track(source: Source, kind: MediaKind) -> TrackKind {
    match (source, kind) {
        (Source::Person, MediaKind::Audio) => TrackKind::Microphone,
        (Source::Person, MediaKind::Video) => TrackKind::Camera,
        (Source::Screen, MediaKind::Audio) => TrackKind::ScreenAudio,
        (Source::Screen, MediaKind::Video) => TrackKind::Screen,
    }
}
