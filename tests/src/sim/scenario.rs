//! What happens in a simulated run: people join, leave, move, mute and share; control repeats itself; strangers
//! throw junk. Then calm, in which everybody must see and hear everybody, then an empty house.

use crate::random::Random;
use crate::sim::client::{self, Upward, What};
use crate::sim::model::Counts;
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
    Codec, Command, DisconnectReason, ParticipantId, RoomId, SlotAssignment, Source, SourceRef, TrackKind,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Calm at the end: enough for somebody who has lost the connection to come back, for key frames, and for the time
/// in which everything is counted.
const CALM: Duration = Duration::from_secs(7);

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
    /// Somebody vanishes for good, and consent has the time to expire.
    long: bool,
    cuts: BTreeMap<ParticipantId, Time>,
}

impl Scenario {
    fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut random = Random::new(seed);
        // Every third run has TURN, and some of the browsers come by it.
        let world_seed = random.bits();
        let mut world = if seed % 3 == 1 && mutation.is_none() {
            World::with_turn(world_seed, 400)
        } else {
            World::new(world_seed)
        };
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
        let mut vanishes = self.long.then(|| self.world.now + self.random.micros(500_000, 2_500_000));
        while self.world.now < end {
            self.step()?;
            if vanishes.is_some_and(|at| at <= self.world.now) {
                vanishes = None;
                let id = self.world.clients.keys().next().copied();
                id.into_iter().for_each(|id| self.cut(id, Duration::from_secs(60)));
            }
            if self.world.now >= next_action {
                next_action = self.world.now + self.random.micros(50_000, 900_000);
                self.act()?;
            }
        }
        self.calm()?;
        self.world.check_everybody_is_served()?;
        self.world.check_counters()?;
        self.world.check_snapshot()?;
        let mut switches = [0; 2];
        for egress in self.world.model.egress.values() {
            egress.finish(&self.world.model)?;
            switches.iter_mut().zip(egress.switches()).for_each(|(sum, more)| *sum += more);
        }
        let (counters, counts) = (self.world.engine.counters(), &mut self.world.model.counts);
        [counts.layer_switches, counts.source_switches] = switches;
        (counts.path_changes, counts.ice_restarts) = (counters.path_changes, counters.ice_restarts);
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
        let here = self.world.clients.keys().filter(|id| !self.cuts.contains_key(id));
        let ids: Vec<ParticipantId> = here.copied().collect();
        let Some(&id) = ids.get(self.random.index(ids.len().max(1))) else { return self.join() };
        match self.random.range(0, 17) {
            0 | 1 if ids.len() < self.most => self.join(),
            2 if ids.len() > 1 => {
                let room = self.world.clients[&id].setup.spec.room;
                self.world.remove(id)?;
                self.assign_room(room)
            }
            // The process of a keyed participant says goodbye to control.
            3 if self.world.clients[&id].setup.keyed_path().is_some() => {
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
            // A keyed participant stays where control has it.
            7 if self.world.clients[&id].setup.keyed_path().is_some() => Ok(()),
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
                let time = self.random.micros(200_000, 2_000_000);
                self.cut(id, time);
                Ok(())
            }
            14 | 15 => self.throw_junk(id),
            16 => self.be_wrong(id),
            _ => self.world.check_snapshot(),
        }
    }

    fn join(&mut self) -> Result<(), String> {
        let (room, habits) = *self.random.pick(&self.rooms);
        let id = ParticipantId(self.next_participant << 8 | self.random.bits() & 0xff);
        self.next_participant += 1;
        let slots = self.random.range(1, 4) as usize;
        let mut setup = Setup::random(&mut self.random, id, room, slots, habits);
        setup.keyed = keyed(id, 1);
        let quality = [Quality::random(&mut self.random), Quality::random(&mut self.random)];
        self.world.join(setup, quality)?;
        self.assign_room(room)
    }

    fn reconnect(&mut self, id: ParticipantId) -> Result<(), String> {
        let setup = self.world.clients[&id].setup.clone();
        let habits = self.rooms.iter().find(|(room, _)| *room == setup.spec.room).map(|(_, habits)| *habits);
        let mut next = setup.next_generation(&mut self.random, habits.ok_or("no such room")?);
        next.keyed = keyed(id, next.spec.generation);
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
        let Some(named) = client.setup.spec.transport.ice_mut() else { return Ok(()) };
        named.clone_from(&ice);
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
        if publisher.streams.iter().any(|stream| stream.id.layer > 0) && self.random.chance(500) {
            publisher.enable_layer(TrackKind::Camera, self.random.range(1, 2) as u8, self.random.chance(500));
            return Ok(());
        }
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

    fn cut(&mut self, id: ParticipantId, time: Duration) {
        self.set_down(id, true);
        self.cuts.insert(id, self.world.now + time);
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
        let ice = self.world.clients[&id].setup.ice().cloned().unwrap_or_else(|| ice_parameters(&mut self.random));
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

    fn leave_the_house_empty(&mut self) -> Result<(), String> {
        for id in self.world.clients.keys().copied().collect::<Vec<_>>() {
            self.world.remove(id)?;
        }
        let World { relaying, engine, model, now, .. } = &mut self.world;
        if let Some(relaying) = relaying {
            model.counts.relayed += relaying.len() as u64;
            relaying.end(engine, *now, &mut model.counts);
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

/// Whether this connection is of a process of our own: one in eight, and by other luck than the rest, so that the other
/// seven are what they were.
fn keyed(id: ParticipantId, generation: u32) -> bool {
    Random::new(id.0 << 8 | u64::from(generation)).chance(125)
}
