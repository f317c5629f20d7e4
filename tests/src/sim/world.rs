//! The world around one engine: browsers, links, handshake threads, and a clock that only the simulation moves.

use crate::random::Random;
use crate::sim::client::{
    CLOSE, Client, DONE, FINISHED, FLIGHT, HELLO, STRANGER, Upward, What, fresh_path, record, word_of,
};
use crate::sim::egress::Sent;
use crate::sim::model::Model;
use crate::sim::mutation::Mutator;
use crate::sim::network::{Flight, Link, Quality};
use crate::sim::relaying::{self, Relaying};
use crate::sim::session::random_keys;
use crate::sim::setup::{SHARD, Setup, media_addresses};
use crate::wire::rtcp::Rtcp;
use crate::wire::rtp::RtpPacket;
use plausch_engine::{
    DtlsInput, Effect, Engine, EngineCommand, EngineConfig, Path, RxPacket, SessionKeys, Time, TxBatch,
};
use plausch_relay_api::limits::{BATCH_PACKETS, TX_BYTES, TX_RUNS};
use plausch_relay_api::{Command, CommandError, DisconnectReason, ParticipantId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A timer that is due again at once, this often, makes no progress.
const TIMEOUTS_AT_ONCE: usize = 64;

/// A datagram on its way to a browser, opened already: opening costs more than all else here.
struct Downward {
    to: ParticipantId,
    generation: u32,
    path: Path,
    what: Opened,
}

#[derive(Clone)]
enum Opened {
    Plain(Vec<u8>),
    Rtp(RtpPacket),
    Rtcp(Vec<Rtcp>),
}

/// From a browser's move to the moment in which the old path must be forgotten.
const PATH_CHANGE_WITHIN: Duration = Duration::from_secs(5);

/// One side of a handshake that the simulation stands in for.
struct Handshake {
    keys: SessionKeys,
    hello: [bool; 2],
    finished: bool,
}

/// Both directions of a browser's connection.
pub struct Links {
    pub up: Link,
    pub down: Link,
}

/// Everything.
pub struct World {
    pub now: Time,
    pub engine: Engine,
    pub model: Model,
    pub clients: BTreeMap<ParticipantId, Client>,
    pub links: BTreeMap<ParticipantId, Links>,
    pub random: Random,
    pub mutator: Option<Mutator>,
    /// What ended, for control to act on.
    pub ended: Vec<(ParticipantId, u32, DisconnectReason)>,
    /// The last datagrams that went up, for those who replay.
    pub recent: Vec<Upward>,
    /// Who comes by TURN, where there is TURN.
    pub relaying: Option<Relaying>,
    up: Flight<Upward>,
    down: Flight<Downward>,
    from_threads: Flight<EngineCommand>,
    handshakes: BTreeMap<(ParticipantId, u32), Handshake>,
    addresses: BTreeMap<SocketAddr, ParticipantId>,
    tx: TxBatch,
    addresses_used: u32,
}

impl World {
    /// An engine and nobody.
    pub fn new(seed: u64) -> Self {
        let now = Time(1_000_000_000);
        Self {
            now,
            engine: Engine::new(config(seed), now),
            model: Model::default(),
            clients: BTreeMap::new(),
            links: BTreeMap::new(),
            random: Random::new(seed),
            mutator: None,
            ended: Vec::new(),
            recent: Vec::new(),
            relaying: None,
            up: Flight::default(),
            down: Flight::default(),
            from_threads: Flight::default(),
            handshakes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            tx: TxBatch::new(TX_BYTES, TX_RUNS),
            addresses_used: 0,
        }
    }

    /// An engine with TURN, by which so many of a thousand paths come, and nobody.
    pub fn with_turn(seed: u64, permille: u64) -> Self {
        let mut world = Self::new(seed);
        world.engine = Engine::new(relaying::config(config(seed)), world.now);
        world.relaying = Some(Relaying::new(Random::new(seed), permille));
        world
    }

    /// Control puts a participant and its browser begins to connect.
    pub fn join(&mut self, mut setup: Setup, quality: [Quality; 2]) -> Result<(), String> {
        let id = setup.spec.participant;
        let generation = setup.spec.generation;
        let keys = random_keys(&mut self.random, setup.profile);
        self.handshakes.insert((id, generation), Handshake { keys: keys.clone(), hello: [false; 2], finished: false });
        let [up, down] = quality.map(|quality| Link::new(quality, self.random.fork(id.0)));
        self.links.insert(id, Links { up, down });
        // A new PeerConnection may come from the address of the one before.
        let before = self.clients.get(&id).map(|client| client.path).filter(|_| self.random.chance(300));
        let path = match setup.keyed {
            true => self.direct_path(id),
            false => before.unwrap_or_else(|| self.fresh_path(id)),
        };
        if setup.keyed {
            setup.key(path, &keys);
        }
        let client = Client::new(setup.clone(), &keys, path, self.random.fork(id.0), self.now);
        self.clients.insert(id, client);
        self.put(&setup)
    }

    /// Control puts this.
    pub fn put(&mut self, setup: &Setup) -> Result<(), String> {
        self.model.put(self.now, setup);
        if let Some(path) = setup.keyed_path() {
            self.model.enter_keyed(self.now, setup.spec.participant, path);
        }
        self.control(Command::PutParticipant(Box::new(setup.spec.clone())))?.map_err(|error| format!("Put: {error}"))
    }

    /// Control removes a participant; its browser is gone.
    pub fn remove(&mut self, id: ParticipantId) -> Result<(), String> {
        self.model.remove(self.now, id);
        self.clients.remove(&id);
        self.links.remove(&id);
        self.control(Command::RemoveParticipant { participant: id })?.map_err(|error| format!("Remove: {error}"))
    }

    /// The keys of a participant's connection.
    pub fn keys(&self, id: ParticipantId, generation: u32) -> Option<&SessionKeys> {
        self.handshakes.get(&(id, generation)).map(|handshake| &handshake.keys)
    }

    /// Gives a command of control to the engine.
    pub fn control(&mut self, command: Command) -> Result<Result<(), CommandError>, String> {
        let result = self.engine.handle_command(self.now, EngineCommand::Control(command), &mut self.tx);
        self.take_output()?;
        Ok(result)
    }

    /// An address of this participant that nobody had before.
    pub fn fresh_path(&mut self, id: ParticipantId) -> Path {
        let ipv6 = self.random.chance(400);
        let path = fresh_path(&mut self.addresses_used, ipv6);
        self.addresses.insert(path.remote, id);
        if let Some(relaying) = &mut self.relaying {
            relaying.begin(&mut self.engine, self.now, &mut self.model.counts, path);
        }
        path
    }

    /// The same, and never by TURN.
    fn direct_path(&mut self, id: ParticipantId) -> Path {
        let path = self.hostile_path();
        self.addresses.insert(path.remote, id);
        path
    }

    /// An address of nobody.
    pub fn hostile_path(&mut self) -> Path {
        let ipv6 = self.random.chance(400);
        fresh_path(&mut self.addresses_used, ipv6)
    }

    /// Puts a datagram on the way, over no link in particular.
    pub fn inject(&mut self, datagram: Upward) {
        let at = self.now + self.random.micros(0, 5_000);
        self.up.send(at, datagram);
    }

    /// Lets `step` go by.
    pub fn step(&mut self, step: Duration) -> Result<(), String> {
        self.now = self.now + step;
        self.note_cuts();
        self.poll_clients()?;
        self.deliver_up()?;
        while let Some(command) = self.from_threads.receive(self.now) {
            self.thread_says(command)?;
        }
        self.run_timers()?;
        self.deliver_down()?;
        self.model.check_time(self.now)
    }

    /// Does what is due, as the relay does before it reads again: what did not fit into a batch goes first.
    fn run_timers(&mut self) -> Result<(), String> {
        for _ in 0..TIMEOUTS_AT_ONCE {
            if self.engine.poll_timeout() > self.now {
                return Ok(());
            }
            self.engine.handle_timeout(self.now, &mut self.tx);
            self.take_output()?;
        }
        Err("the engine's timer is due again and again".into())
    }

    fn note_cuts(&mut self) {
        for (id, links) in &self.links {
            if (links.up.down || links.down.down)
                && let Some(truth) = self.model.participants.get_mut(id)
            {
                truth.cut = Some(self.now);
            }
        }
    }

    fn poll_clients(&mut self) -> Result<(), String> {
        for (id, client) in &mut self.clients {
            let sent = client.poll(self.now).map_err(|error| format!("browser {id}: {error}"))?;
            if let Some(publisher) = &client.publisher {
                self.model.learn_streams(publisher, client.setup.spec.extensions);
            }
            if let Some(links) = self.links.get_mut(id) {
                send_up(self.now, sent, links, &mut self.up, &mut self.model, &mut self.recent);
            }
        }
        Ok(())
    }

    fn deliver_up(&mut self) -> Result<(), String> {
        loop {
            let most = self.random.range(1, BATCH_PACKETS as u64) as usize;
            let mut batch = Vec::new();
            while batch.len() < most
                && let Some(datagram) = self.up.receive(self.now)
            {
                batch.push(datagram);
            }
            if batch.is_empty() {
                return Ok(());
            }
            // So that what came in an earlier batch is older.
            self.now = self.now + Duration::from_micros(1);
            batch.iter().for_each(|datagram| self.note_arrival(datagram));
            let mut buffers: Vec<Vec<u8>> = batch.iter().map(|datagram| self.on_the_wire(datagram)).collect();
            self.model.counts.delivered_bytes += buffers.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
            let paths = batch.iter().map(|datagram| datagram.path);
            let mut rx: Vec<RxPacket<'_>> =
                buffers.iter_mut().zip(paths).map(|(data, path)| RxPacket { path, data }).collect();
            self.engine.handle_batch(self.now, &mut rx, &mut self.tx);
            self.take_output()?;
            self.run_timers()?;
        }
    }

    fn note_arrival(&mut self, datagram: &Upward) {
        self.model.counts.delivered += 1;
        match &datagram.what {
            What::Check { participant, local_ufrag, use_candidate } => {
                self.model.check_arrived(self.now, *participant, local_ufrag, datagram.path, *use_candidate);
            }
            What::Rtp { stream, counter, transport_sequence, .. } => {
                self.model.arrived(self.now, *stream, *counter, *transport_sequence);
                self.model.keyed_heard(self.now, stream.participant, stream.generation);
            }
            What::Rtcp { participant, generation, compound } => {
                self.model.nack_arrived(self.now, *participant, *generation, compound);
                self.model.keyed_heard(self.now, *participant, *generation);
            }
            What::Answer { participant, generation, transaction } => {
                self.model.answer_arrived(self.now, *participant, *generation, datagram.path, *transaction);
            }
            What::Dtls { .. } | What::Hostile => {}
        }
    }

    fn on_the_wire(&self, datagram: &Upward) -> Vec<u8> {
        let wrapped = self.relaying.as_ref().and_then(|relaying| relaying.wrap(datagram.path, &datagram.bytes));
        wrapped.unwrap_or_else(|| datagram.bytes.to_vec())
    }

    /// Looks at everything that the engine sends and says.
    fn take_output(&mut self) -> Result<(), String> {
        let tx = std::mem::replace(&mut self.tx, TxBatch::new(2048, 1));
        let result = tx.datagrams().try_for_each(|(path, datagram)| self.take_datagram(path, datagram));
        self.tx = tx;
        self.tx.clear();
        result?;
        while let Some(effect) = self.engine.poll_effect() {
            self.take_effect(effect)?;
        }
        Ok(())
    }

    fn take_datagram(&mut self, path: Path, datagram: &[u8]) -> Result<(), String> {
        let Some(&to) = self.addresses.get(&path.remote) else {
            // Somebody who is not in any room gets short STUN errors at most.
            return match datagram.first() {
                Some(0..=3) if datagram.len() <= 100 => Ok(()),
                first => Err(format!(
                    "{} bytes beginning with {first:?} to {}, which is nobody",
                    datagram.len(),
                    path.remote
                )),
            };
        };
        let datagram = match &self.relaying {
            Some(relaying) => relaying.unwrap(path, datagram)?,
            None => datagram,
        };
        let first = *datagram.first().ok_or("an empty datagram")?;
        let Some(client) = self.clients.get_mut(&to) else {
            return if first < 4 { Ok(()) } else { Err(format!("{first} to {to}, who is gone")) };
        };
        let generation = client.setup.spec.generation;
        let what = match first {
            128..=191 => {
                self.check_path(to, path)?;
                let client = self.clients.get_mut(&to).ok_or("gone")?;
                // RFC 5761, section 4: the payload types of RTCP.
                if (64..=95).contains(&(datagram.get(1).copied().unwrap_or_default() & 0x7f)) {
                    let compound = Rtcp::decode_compound(&client.session.open_rtcp(datagram)?)?;
                    self.model.egress_rtcp(self.now, to, &compound)?;
                    Opened::Rtcp(compound)
                } else {
                    let plain = client.session.open_rtp(datagram)?;
                    self.take_rtp(to, &plain)?;
                    Opened::Rtp(RtpPacket::decode(&plain)?)
                }
            }
            _ => Opened::Plain(datagram.to_vec()),
        };
        let Some(links) = self.links.get_mut(&to) else { return Ok(()) };
        for at in links.down.transmit(self.now, datagram.len()).into_iter().flatten() {
            self.down.send(at, Downward { to, generation, path, what: what.clone() });
        }
        Ok(())
    }

    fn take_rtp(&mut self, to: ParticipantId, plain: &[u8]) -> Result<(), String> {
        let seen = match &mut self.mutator {
            None => return self.model_sees(to, plain),
            Some(mutator) => {
                let others: Vec<_> =
                    self.model.participants.iter().filter(|(_, truth)| truth.connected).map(|(id, _)| *id).collect();
                mutator.apply(to, &others, plain)
            }
        };
        seen.iter().try_for_each(|(to, plain)| self.model_sees(*to, plain))
    }

    fn model_sees(&mut self, to: ParticipantId, plain: &[u8]) -> Result<(), String> {
        match self.model.egress_rtp(self.now, to, plain)? {
            Sent::Forwarded => self.model.counts.forwarded += 1,
            Sent::Behind => self.model.counts.behind += 1,
            Sent::Retransmitted => self.model.counts.retransmitted += 1,
            Sent::Filler => self.model.counts.fillers += 1,
        }
        Ok(())
    }

    /// Media goes where the browser said last; checks overtake each other, so it may take a moment to be sure.
    fn check_path(&self, to: ParticipantId, path: Path) -> Result<(), String> {
        let Some(truth) = self.model.participants.get(&to) else { return Ok(()) };
        if !truth.answered.contains(&path) {
            return Err(format!("media of {to} goes to {path:?}, which has not answered"));
        }
        let Some(selected) = truth.selected else { return Ok(()) };
        let lately = |(nominated, at): &(Path, Time)| *nominated == path && self.now.since(*at) < PATH_CHANGE_WITHIN;
        // A check that was overtaken by the browser's move must not take its media back.
        let in_use = self.clients.get(&to).map(|client| client.newest_path());
        if path == selected || in_use == Some(path) || truth.nominated.iter().any(lately) {
            return Ok(());
        }
        Err(format!("media of {to} goes to {path:?}, nominated is {selected:?}, in use {in_use:?}"))
    }

    fn take_effect(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Dtls { participant, generation, fingerprint, datagram } => {
                let truth = self.model.participants.get(&participant).ok_or("DTLS of somebody unknown")?;
                if truth.setup.spec.transport.remote_fingerprint() != Some(fingerprint)
                    || truth.setup.spec.generation != generation
                {
                    return Err(format!("DTLS of {participant} with another fingerprint or generation"));
                }
                self.handshake(participant, generation, word_of(&datagram))
            }
            Effect::DtlsConnect { participant, .. } => {
                Err(format!("a ClientHello for {participant}, who begins the handshake itself"))
            }
            Effect::DtlsEnd { .. } => Ok(()),
            Effect::Connected { participant, generation } => {
                let truth = self.model.participants.get(&participant).ok_or("Connected: somebody unknown")?;
                match truth.connected && truth.setup.spec.generation == generation {
                    true => Ok(()),
                    false => Err(format!("{participant} is said to be connected and is not")),
                }
            }
            Effect::Disconnected { participant, generation, reason } => {
                self.ended.push((participant, generation, reason));
                self.model.disconnected(self.now, participant, generation, reason)
            }
            Effect::Speakers { room, speakers } => {
                let inside = |id: &ParticipantId| {
                    self.model.participants.get(id).is_some_and(|truth| truth.setup.spec.room == room)
                };
                match speakers.iter().find(|speaker| !inside(&speaker.participant)) {
                    Some(speaker) => Err(format!("{} speaks in a room where it is not", speaker.participant)),
                    None => Ok(()),
                }
            }
            Effect::OpenPort { .. } | Effect::ClosePort { .. } | Effect::Edge { .. } => {
                Err("a relay port without TURN".to_owned())
            }
        }
    }

    /// What a handshake thread does, some milliseconds later.
    fn handshake(&mut self, participant: ParticipantId, generation: u32, word: &str) -> Result<(), String> {
        let Some(handshake) = self.handshakes.get_mut(&(participant, generation)) else {
            return Err(format!("DTLS of {participant}, who never had generation {generation}"));
        };
        for (part, seen) in HELLO.iter().zip(&mut handshake.hello) {
            *seen |= *part == word;
        }
        let mut says = Vec::new();
        if HELLO.contains(&word) && handshake.hello == [true; 2] {
            says.push(DtlsInput::Send(FLIGHT.map(record).to_vec()));
        } else if word == FINISHED {
            if !std::mem::replace(&mut handshake.finished, true) {
                says.push(DtlsInput::Keys(handshake.keys.clone()));
            }
            says.push(DtlsInput::Send(vec![record(DONE)]));
        } else if word == CLOSE {
            says.push(DtlsInput::Closed);
        } else if word == STRANGER {
            return Err("a DTLS datagram of an address that passed no check".into());
        }
        for (order, input) in says.into_iter().enumerate() {
            let at = self.now + Duration::from_millis(3 + order as u64);
            self.from_threads.send(at, EngineCommand::Dtls { participant, generation, input });
        }
        Ok(())
    }

    fn thread_says(&mut self, command: EngineCommand) -> Result<(), String> {
        if let EngineCommand::Dtls { participant, generation, input: DtlsInput::Keys(_) } = &command {
            let current = self.model.participants.get(participant);
            if current.is_some_and(|truth| truth.setup.spec.generation == *generation && !truth.over) {
                self.model.connect(self.now, *participant);
            }
        }
        // Of somebody who is gone: no error, or one; both are fine.
        let _ = self.engine.handle_command(self.now, command, &mut self.tx);
        self.take_output()
    }

    fn deliver_down(&mut self) -> Result<(), String> {
        while let Some(downward) = self.down.receive(self.now) {
            let Some(client) = self.clients.get_mut(&downward.to) else { continue };
            if client.setup.spec.generation != downward.generation {
                continue;
            }
            let again = match downward.what {
                Opened::Plain(bytes) => {
                    let remote = downward.path.remote;
                    let seen_as = self.relaying.as_ref().map_or(remote, |relaying| relaying.seen_as(downward.path));
                    client.receive(self.now, downward.path, seen_as, &bytes).map(|answer| answer.into_iter().collect())
                }
                Opened::Rtp(packet) => client.receive_rtp(self.now, &packet).map(|()| Vec::new()),
                Opened::Rtcp(compound) => Ok(client.receive_rtcp(&compound)),
            };
            let again = again.map_err(|error| format!("browser {}: {error}", downward.to))?;
            if let Some(links) = self.links.get_mut(&downward.to) {
                send_up(self.now, again, links, &mut self.up, &mut self.model, &mut self.recent);
            }
        }
        Ok(())
    }
}

/// Puts a browser's datagrams on its link.
fn send_up(
    now: Time,
    sent: Vec<Upward>,
    links: &mut Links,
    up: &mut Flight<Upward>,
    model: &mut Model,
    recent: &mut Vec<Upward>,
) {
    for datagram in sent {
        if let What::Rtp { stream, counter, kind, .. } = &datagram.what {
            model.sent(*stream, *counter, *kind);
        }
        for at in links.up.transmit(now, datagram.bytes.len()).into_iter().flatten() {
            up.send(at, datagram.clone());
        }
        recent.push(datagram);
        if recent.len() > 32 {
            recent.remove(0);
        }
    }
}

/// Every second world has rooms in which frames wait for their last packet, as they do in large ones.
fn config(seed: u64) -> EngineConfig {
    let config = EngineConfig::new(SHARD, seed);
    let gather_from_members = if seed.is_multiple_of(2) { 2 } else { config.gather_from_members };
    EngineConfig { gather_from_members, media: media_addresses(), ..config }
}
