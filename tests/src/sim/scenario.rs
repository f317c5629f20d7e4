//! What happens in a simulated run: people join, leave, move, mute and share; control repeats itself; strangers
//! throw junk. Then calm, in which everybody must see and hear everybody, then an empty house.

use crate::random::Random;
use crate::sim::client::{self, Upward, What};
use crate::sim::model::{Counts, source_track};
use crate::sim::mutation::{Mutation, Mutator};
use crate::sim::network::Quality;
use crate::sim::setup::{Habits, Setup, ice_parameters};
use crate::sim::world::World;
use crate::wire::rtcp::Rtcp;
use crate::wire::stun::Check;
use bytes::Bytes;
use plausch_engine::counters::CounterKind;
use plausch_engine::{Path, Time};
use plausch_relay_api::{
    Codec, Command, DisconnectReason, MediaKind, ParticipantId, RoomId, SlotAssignment, Source, SourceRef, TrackKind,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Calm at the end: enough for somebody who has lost the connection to come back, for key frames, and for two
/// seconds in which everything is counted.
const CALM: Duration = Duration::from_secs(7);
const COUNTED: Duration = Duration::from_secs(2);

/// A failed run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub seed: u64,
    pub at: Time,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PLAUSCH_SIM_SEED={} at {} ms: {}", self.seed, self.at.0 / 1000, self.what)
    }
}

/// Runs the seed; what was wrong first, otherwise what happened.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Counts, Violation> {
    let mut scenario = Scenario::new(seed, mutation);
    match scenario.play() {
        Ok(()) => Ok(scenario.world.model.counts),
        Err(what) => Err(Violation { seed, at: scenario.world.now, what }),
    }
}

struct Scenario {
    world: World,
    random: Random,
    rooms: Vec<(RoomId, Habits)>,
    most: usize,
    next_participant: u64,
    active: Duration,
    /// Whether somebody may vanish for more than thirty seconds.
    long: bool,
    cuts: BTreeMap<ParticipantId, Time>,
}

impl Scenario {
    fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut random = Random::new(seed);
        let mut world = World::new(random.bits());
        let rooms = (0..random.range(1, 2)).map(|_| {
            let video = *random.pick(&[Codec::Vp8, Codec::Vp8, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]);
            let habits = Habits { video, simulcast: random.chance(300), screen_permille: 200 };
            (RoomId(random.bits()), habits)
        });
        let rooms = rooms.collect();
        let long = mutation.is_none() && random.chance(80);
        if let Some(mutation) = mutation {
            world.model.ignores_reports = mutation.hides_from_reports();
            world.mutator = Some(Mutator::new(mutation, random.fork(1)));
        }
        let active = if long { random.micros(34_000_000, 38_000_000) } else { random.micros(3_000_000, 8_000_000) };
        Self {
            world,
            rooms,
            most: if long { 3 } else { random.range(3, 6) as usize },
            next_participant: 1,
            active,
            long,
            cuts: BTreeMap::new(),
            random,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.random.range(2, self.most as u64) {
            self.join()?;
        }
        let end = self.world.now + self.active;
        let mut next_action = self.world.now + self.random.micros(0, 1_000_000);
        while self.world.now < end {
            self.step()?;
            if self.world.now >= next_action {
                next_action = self.world.now + self.random.micros(50_000, 900_000);
                self.act()?;
            }
        }
        self.calm()?;
        self.check_everybody_is_served()?;
        self.check_counters()?;
        self.check_snapshot()?;
        for egress in self.world.model.egress.values() {
            egress.finish(&self.world.model)?;
        }
        self.leave_the_house_empty()
    }

    fn step(&mut self) -> Result<(), String> {
        let step = self.random.micros(1_000, 5_000);
        self.world.step(step)?;
        let now = self.world.now;
        let over: Vec<_> = self.cuts.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.cuts.remove(&id);
            self.set_down(id, false);
        }
        self.act_as_control()
    }

    /// Control's part when a transport is over.
    fn act_as_control(&mut self) -> Result<(), String> {
        for (id, generation, reason) in std::mem::take(&mut self.world.ended) {
            let Some(client) = self.world.clients.get(&id) else { continue };
            if client.setup.spec.generation != generation {
                continue;
            }
            if reason == DisconnectReason::DtlsClosed || self.random.chance(500) {
                let room = client.setup.spec.room;
                self.world.remove(id)?;
                self.assign_room(room)?;
            } else {
                self.reconnect(id)?;
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), String> {
        let ids: Vec<ParticipantId> = self.world.clients.keys().copied().collect();
        let Some(&id) = ids.get(self.random.index(ids.len().max(1))) else { return self.join() };
        match self.random.range(0, 17) {
            0 | 1 if ids.len() < self.most => self.join(),
            2 if ids.len() > 1 => {
                let room = self.world.clients[&id].setup.spec.room;
                self.world.remove(id)?;
                self.assign_room(room)
            }
            3 => {
                if let Some(client) = self.world.clients.get_mut(&id)
                    && client.publisher.is_some()
                    && !client.silent
                {
                    let close = client.close();
                    self.world.inject(close);
                }
                Ok(())
            }
            4 | 5 => self.shuffle_slots(id),
            6 => self.restart_ice(id),
            7 => {
                let path = self.world.fresh_path(id);
                let now = self.world.now;
                if let Some(client) = self.world.clients.get_mut(&id) {
                    client.move_to(path, now);
                }
                self.world.model.touch(now, id);
                Ok(())
            }
            8 => self.repeat(id),
            9 | 10 => self.toggle(id),
            11 => self.reconnect(id),
            12 => self.grow(id),
            13 => {
                let vanish = self.long && self.random.chance(500);
                let time = if vanish { Duration::from_secs(40) } else { self.random.micros(200_000, 2_000_000) };
                self.set_down(id, true);
                self.cuts.insert(id, self.world.now + time);
                Ok(())
            }
            14 | 15 => self.throw_junk(id),
            16 => self.be_wrong(id),
            _ => self.check_snapshot(),
        }
    }

    fn join(&mut self) -> Result<(), String> {
        let (room, habits) = *self.random.pick(&self.rooms);
        let id = ParticipantId(self.next_participant << 8 | self.random.bits() & 0xff);
        self.next_participant += 1;
        let slots = self.random.range(1, 4) as usize;
        let setup = Setup::random(&mut self.random, id, room, slots, habits);
        let quality = [Quality::random(&mut self.random), Quality::random(&mut self.random)];
        self.world.join(setup, quality)?;
        self.assign_room(room)
    }

    fn reconnect(&mut self, id: ParticipantId) -> Result<(), String> {
        let setup = self.world.clients[&id].setup.clone();
        let habits = self.rooms.iter().find(|(room, _)| *room == setup.spec.room).map(|(_, habits)| *habits);
        let next = setup.next_generation(&mut self.random, habits.ok_or("no such room")?);
        let quality = [Quality::random(&mut self.random), Quality::random(&mut self.random)];
        self.cuts.remove(&id);
        let room = next.spec.room;
        // A new PeerConnection sends everything at first.
        self.world.join(next, quality)?;
        self.assign_room(room)
    }

    /// Control's policy: a source keeps its slot; free slots go to sources that have none.
    fn assign_room(&mut self, room: RoomId) -> Result<(), String> {
        let members = self.members(room);
        let sources: Vec<SourceRef> = members.iter().flat_map(|id| self.sources(*id)).collect();
        for id in members {
            let truth = &self.world.model.participants[&id];
            let mut slots: Vec<SlotAssignment> = truth.assignments.clone();
            slots.retain(|assignment| sources.contains(&assignment.source));
            for slot in &truth.setup.spec.slots {
                let missing = sources.iter().find(|source| {
                    source.participant != id && slots.iter().all(|assignment| assignment.source != **source)
                });
                let free = slots.iter().all(|assignment| assignment.slot != slot.slot);
                if let (true, Some(source)) = (free, missing) {
                    let max_layer = self.random.range(0, 3) as u8;
                    slots.push(SlotAssignment { slot: slot.slot, source: *source, max_layer });
                }
            }
            self.assign(id, slots)?;
        }
        Ok(())
    }

    fn assign(&mut self, participant: ParticipantId, slots: Vec<SlotAssignment>) -> Result<(), String> {
        self.world.model.assign(self.world.now, participant, &slots);
        let result = self.world.control(Command::AssignSlots { participant, slots })?;
        result.map_err(|error| format!("AssignSlots: {error}"))
    }

    fn members(&self, room: RoomId) -> Vec<ParticipantId> {
        let members = self.world.clients.values().filter(|client| client.setup.spec.room == room);
        members.map(|client| client.setup.spec.participant).collect()
    }

    fn sources(&self, participant: ParticipantId) -> Vec<SourceRef> {
        let shares =
            self.world.clients[&participant].setup.spec.sends.iter().any(|send| send.kind == TrackKind::Screen);
        let mut sources = vec![SourceRef { participant, source: Source::Person }];
        if shares {
            sources.push(SourceRef { participant, source: Source::Screen });
        }
        sources
    }

    fn shuffle_slots(&mut self, id: ParticipantId) -> Result<(), String> {
        let setup = &self.world.clients[&id].setup;
        let (room, mut slots) = (setup.spec.room, setup.spec.slots.clone());
        let mut sources: Vec<SourceRef> = self.members(room).iter().flat_map(|other| self.sources(*other)).collect();
        sources.retain(|source| source.participant != id);
        self.random.shuffle(&mut sources);
        self.random.shuffle(&mut slots);
        // Some slots stay empty now and then.
        let used = self.random.range(slots.len().min(1) as u64, slots.len() as u64) as usize;
        let random = &mut self.random;
        let assignments = slots.iter().take(used).zip(sources).map(|(slot, source)| SlotAssignment {
            slot: slot.slot,
            source,
            max_layer: random.range(0, 3) as u8,
        });
        let assignments = assignments.collect();
        self.assign(id, assignments)
    }

    fn restart_ice(&mut self, id: ParticipantId) -> Result<(), String> {
        let now = self.world.now;
        let ice = ice_parameters(&mut self.random);
        let Some(client) = self.world.clients.get_mut(&id) else { return Ok(()) };
        client.setup.spec.ice = ice.clone();
        let setup = client.setup.clone();
        client.restart_ice(ice, now);
        self.world.put(&setup)
    }

    /// Control, after a reconnect of its own, says again what it said.
    fn repeat(&mut self, id: ParticipantId) -> Result<(), String> {
        let truth = &self.world.model.participants[&id];
        let (setup, slots) = (truth.setup.clone(), truth.assignments.clone());
        let stranger = ParticipantId(self.random.bits());
        for _ in 0..self.random.range(1, 3) {
            self.world.put(&setup)?;
            self.assign(id, slots.clone())?;
            self.world
                .control(Command::RemoveParticipant { participant: stranger })?
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn toggle(&mut self, id: ParticipantId) -> Result<(), String> {
        let track = *self.random.pick(&[TrackKind::Microphone, TrackKind::Camera, TrackKind::Screen]);
        let now = self.world.now;
        let Some(publisher) = self.world.clients.get_mut(&id).and_then(|client| client.publisher.as_mut()) else {
            return Ok(());
        };
        let Some(on) = publisher.streams.iter().find(|stream| stream.id.track == track).map(|stream| stream.enabled)
        else {
            return Ok(());
        };
        publisher.enable(track, !on);
        self.world.model.enable(now, id, track, !on);
        Ok(())
    }

    /// More m-lines in the same PeerConnection.
    fn grow(&mut self, id: ParticipantId) -> Result<(), String> {
        let now = self.world.now;
        let Some(client) = self.world.clients.get_mut(&id) else { return Ok(()) };
        if client.setup.spec.slots.len() < 6 {
            client.setup.add_slots(&mut self.random, 1);
            client.add_receivers();
        }
        if client.setup.spec.sends.len() == 2 {
            client.setup.add_track(&mut self.random, TrackKind::Screen, false);
        }
        let setup = client.setup.clone();
        self.world.put(&setup)?;
        if let Some(client) = self.world.clients.get_mut(&id)
            && let Some(publisher) = &mut client.publisher
        {
            publisher.add_streams(&setup, &mut client.random, now);
            self.world.model.learn_streams(publisher, setup.spec.extensions);
        }
        self.world.model.touch(now, id);
        self.assign_room(setup.spec.room)
    }

    fn set_down(&mut self, id: ParticipantId, down: bool) {
        if let Some(links) = self.world.links.get_mut(&id) {
            links.up.down = down;
            links.down.down = down;
        }
    }

    /// Junk from strangers and from a participant's own address.
    fn throw_junk(&mut self, id: ParticipantId) -> Result<(), String> {
        let own = self.world.clients[&id].path;
        let ice = self.world.clients[&id].setup.spec.ice.clone();
        for _ in 0..self.random.range(1, 10) {
            let stranger = self.world.hostile_path();
            let len = self.random.range(0, 1600) as usize;
            let noise = self.random.bytes(len);
            let replayed = self.world.recent.iter().rev().find(|upward| matches!(upward.what, What::Rtp { .. }));
            let replayed = replayed.map(|upward| upward.bytes.to_vec());
            let (path, bytes): (Path, Vec<u8>) = match (self.random.range(0, 5), replayed) {
                (0, _) => (stranger, noise),
                (1, _) => (own, noise),
                (2, _) => {
                    let check = Check {
                        transaction: [3; 12],
                        username: format!("{}:{}", ice.local_ufrag, ice.remote_ufrag),
                        password: self.random.ice_chars(24),
                        use_candidate: true,
                        controlling: true,
                    };
                    (stranger, check.encode())
                }
                (3, Some(replayed)) => (stranger, replayed),
                (4, Some(mut replayed)) => {
                    let at = self.random.index(replayed.len());
                    replayed[at] ^= 1 << self.random.range(0, 7);
                    (own, replayed)
                }
                (_, Some(mut replayed)) => {
                    replayed.truncate(self.random.index(replayed.len()));
                    (own, replayed)
                }
                _ => (stranger, client::record(client::STRANGER)),
            };
            self.world.inject(Upward { path, bytes: Bytes::from(bytes), what: What::Hostile });
        }
        // Somebody inside who asks too much.
        let Some(client) = self.world.clients.get_mut(&id) else { return Ok(()) };
        if client.publisher.is_some() && !client.silent {
            let ssrcs: Vec<u32> = client.receivers.keys().copied().chain([1, 2]).collect();
            let mut compound = vec![Rtcp::ReceiverReport { ssrc: 3, blocks: Vec::new() }];
            compound.extend(ssrcs.iter().map(|media| Rtcp::Pli { sender: 3, media: *media }));
            let storm: Vec<Upward> = (0..5).map(|_| client.rtcp(compound.clone())).collect();
            storm.into_iter().for_each(|upward| self.world.inject(upward));
        }
        Ok(())
    }

    /// Commands that must be refused and change nothing.
    fn be_wrong(&mut self, id: ParticipantId) -> Result<(), String> {
        let spec = self.world.clients[&id].setup.spec.clone();
        let mut stale = spec.clone();
        stale.generation -= 1;
        let mut moved = spec.clone();
        moved.room = RoomId(spec.room.0 ^ 1);
        let mut taken = spec;
        taken.participant = ParticipantId(u64::MAX);
        let stranger = ParticipantId(self.random.bits());
        for command in [
            Command::PutParticipant(Box::new(stale)),
            Command::PutParticipant(Box::new(moved)),
            Command::PutParticipant(Box::new(taken)),
            Command::AssignSlots { participant: stranger, slots: Vec::new() },
        ] {
            if self.world.control(command.clone())?.is_ok() {
                return Err(format!("{command:?} was not refused"));
            }
        }
        Ok(())
    }

    /// Good links and no more changes.
    fn calm(&mut self) -> Result<(), String> {
        self.cuts.clear();
        let ids: Vec<ParticipantId> = self.world.clients.keys().copied().collect();
        for id in &ids {
            self.set_down(*id, false);
            let now = self.world.now;
            if let Some(links) = self.world.links.get_mut(id) {
                for link in [&mut links.up, &mut links.down] {
                    link.quality = Quality::perfect(Duration::from_millis(5));
                }
            }
            self.world.model.touch(now, *id);
        }
        let end = self.world.now + CALM;
        while self.world.now < end {
            self.step()?;
            for links in self.world.links.values_mut() {
                for link in [&mut links.up, &mut links.down] {
                    link.quality = Quality::perfect(Duration::from_millis(5));
                }
            }
        }
        self.world.model.check_lip_sync(self.world.now)
    }

    fn check_everybody_is_served(&self) -> Result<(), String> {
        let (now, model) = (self.world.now, &self.world.model);
        for (id, truth) in &model.participants {
            let client = &self.world.clients[id];
            if !truth.connected && !client.silent {
                return Err(format!("{id} is not connected at the end"));
            }
            for assignment in &truth.assignments {
                let source = &self.world.clients[&assignment.source.participant];
                for kind in [MediaKind::Audio, MediaKind::Video] {
                    let expected = model.expected_since(now, truth, assignment, kind);
                    if source.silent || client.silent || expected.is_none_or(|since| now.since(since) < COUNTED * 2) {
                        continue;
                    }
                    let slot = &truth.setup.spec.slots[usize::from(assignment.slot.0)];
                    let ssrc = if kind == MediaKind::Audio { slot.audio_ssrc } else { slot.video_ssrc };
                    let track = source_track(assignment.source.source, kind);
                    let played =
                        client.receivers[&ssrc].played.iter().rev().take_while(|(at, _)| now.since(*at) < COUNTED);
                    let played = played.filter(|(_, stream)| stream.track == track);
                    let largest = played.clone().map(|(_, stream)| stream.layer).max().unwrap_or_default();
                    if largest > assignment.max_layer {
                        return Err(format!(
                            "{id} still gets layer {largest} of {source:?}",
                            source = assignment.source
                        ));
                    }
                    let played = played.count() as u64;
                    let rate = if kind == MediaKind::Audio { 50 } else { source.setup.frame_rate };
                    if played < rate * COUNTED.as_secs() * 8 / 10 {
                        let source = assignment.source;
                        return Err(format!(
                            "{id} played {played} of {source:?} {kind:?} in {COUNTED:?}, sent {rate}/s"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_counters(&self) -> Result<(), String> {
        let counters = self.world.engine.counters();
        let counts = &self.world.model.counts;
        let equal = [
            ("received_packets", counters.received_packets, counts.delivered),
            ("received_bytes", counters.received_bytes, counts.delivered_bytes),
            ("rtcp_sent", counters.rtcp_sent, counts.rtcp_sent),
            ("keyframe_requests_sent", counters.keyframe_requests_sent, counts.key_frame_requests),
            ("nacks_sent", counters.nacks_sent, counts.nacked),
            (
                "rtp_forwarded + rtp_retransmitted",
                counters.rtp_forwarded + counters.rtp_retransmitted,
                counts.forwarded + counts.fillers + counts.behind + counts.retransmitted,
            ),
            ("drop_tx_full", counters.drop_tx_full, 0),
            ("drop_egress_seal", counters.drop_egress_seal, 0),
            ("participants", counters.participants, self.world.model.participants.len() as u64),
        ];
        let forwarded = counters.rtp_forwarded - counters.rtp_fillers;
        let possible = counts.forwarded..=counts.forwarded + counts.behind;
        if !possible.contains(&forwarded) && !self.world.model.ignores_reports {
            return Err(format!("rtp_forwarded is {forwarded} without fillers and should be in {possible:?}"));
        }
        // Every datagram was either taken or dropped for one reason. (Nobody here seals what is malformed.)
        let fates = counters.stun_checks
            + counters.stun_role_conflicts
            + counters.stun_unknown_attributes
            + counters.dtls_datagrams
            + counters.rtp_received
            + counters.rtcp_received
            + counters.drop_unknown_protocol
            + counters.drop_oversized
            + counters.drop_stun_malformed
            + counters.drop_stun_fingerprint
            + counters.drop_stun_unknown_user
            + counters.drop_stun_integrity
            + counters.drop_turn_channel
            + counters.drop_dtls_unchecked
            + counters.drop_dtls_limit
            + counters.drop_srtp_unchecked
            + counters.drop_srtp_no_keys
            + counters.drop_srtp_forged
            + counters.drop_srtp_replayed
            + counters.drop_rtp_malformed
            + counters.drop_rtp_unknown_ssrc
            + counters.drop_rtp_ssrc_limit
            + counters.drop_rtcp_malformed
            + counters.drop_rtcp_sender_limit;
        if fates != counters.received_packets {
            return Err(format!("{} datagrams received and {fates} accounted for", counters.received_packets));
        }
        match equal.iter().find(|(_, counted, real)| counted != real && !self.world.model.ignores_reports) {
            Some((name, counted, real)) => Err(format!("{name} is {counted} and should be {real}")),
            None => Ok(()),
        }
    }

    fn check_snapshot(&mut self) -> Result<(), String> {
        let mut seen = 0;
        for snapshot in self.world.engine.snapshot() {
            seen += 1;
            let id = snapshot.spec.participant;
            let truth =
                self.world.model.participants.get(&id).ok_or_else(|| format!("{id} is in the snapshot only"))?;
            let mut expected = truth.assignments.clone();
            let mut assignments = snapshot.assignments.clone();
            expected.sort_by_key(|assignment| assignment.slot);
            assignments.sort_by_key(|assignment| assignment.slot);
            if snapshot.spec != truth.setup.spec || assignments != expected || snapshot.connected != truth.connected {
                return Err(format!(
                    "the snapshot of {id} is {snapshot:?}, expected {expected:?}, {}",
                    truth.connected
                ));
            }
        }
        match seen == self.world.model.participants.len() {
            true => Ok(()),
            false => Err(format!("{seen} participants in the snapshot of {}", self.world.model.participants.len())),
        }
    }

    fn leave_the_house_empty(&mut self) -> Result<(), String> {
        for id in self.world.clients.keys().copied().collect::<Vec<_>>() {
            self.world.remove(id)?;
        }
        let gauges = self.world.engine.counters().entries().filter(|entry| entry.kind == CounterKind::Gauge);
        if let Some(gauge) = gauges.into_iter().find(|gauge| gauge.value != 0) {
            return Err(format!("{} is {} when all have left", gauge.name, gauge.value));
        }
        let sent = self.world.model.counts;
        let end = self.world.now + Duration::from_secs(2);
        while self.world.now < end {
            self.step()?;
        }
        match self.world.model.counts.rtcp_sent == sent.rtcp_sent && self.world.engine.snapshot().next().is_none() {
            true => Ok(()),
            false => Err("the engine goes on when all have left".into()),
        }
    }
}
