//! The engine and its entry points.

use crate::access::Access;
use crate::batch::{RxPacket, TxBatch};
use crate::checks::CheckIds;
use crate::counters::Counters;
use crate::demux::{Protocol, classify};
use crate::effect::{Effect, EngineCommand};
use crate::gather::Gathered;
use crate::overload::{Load, Overload};
use crate::participant::{Participant, Phase};
use crate::peers::{HashKeys, Peers};
use crate::random::Random;
use crate::room::Room;
use crate::slab::{Key, Slab};
use crate::speakers::Speakers;
use crate::stun::Message;
use crate::time::Time;
use crate::timers::{Owner, Timers};
use crate::track::Track;
use crate::turn::{self, Inner, Turn, TurnConfig};
use plausch_relay_api::limits::{
    DATAGRAM_BYTES, GATHER_FROM_MEMBERS, MISSING_PACKETS, PARTICIPANTS_PER_ROOM, PARTICIPANTS_PER_SHARD,
};
use plausch_relay_api::{CommandError, DisconnectReason, ParticipantId, ParticipantSnapshot, RoomId, ShardId};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Between two turns of one participant's timer.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Commands for other shards are refused.
    pub shard: ShardId,
    /// The only source of randomness.
    pub seed: u64,
    /// At most `limits::PARTICIPANTS_PER_SHARD`.
    pub max_participants: usize,
    /// At most `limits::PARTICIPANTS_PER_ROOM`.
    pub max_participants_per_room: usize,
    /// Rooms of so many send a frame when all of it is there.
    pub gather_from_members: usize,
    /// The addresses of media, in the order of [`crate::LocalSocket`]: what a keyed participant may name as ours.
    pub media: Vec<SocketAddr>,
    /// Makes the transaction ids of our checks, which nobody must be able to guess. Secret, and of this shard alone.
    pub check_key: [u8; 32],
    /// `None`: no TURN, and no STUN but ICE's checks.
    pub turn: Option<TurnConfig>,
}

impl EngineConfig {
    /// A configuration with the limits of `limits`, without TURN and without addresses for keyed participants, and with a key that is none.
    pub fn new(shard: ShardId, seed: u64) -> Self {
        Self {
            shard,
            seed,
            max_participants: PARTICIPANTS_PER_SHARD,
            max_participants_per_room: PARTICIPANTS_PER_ROOM,
            gather_from_members: GATHER_FROM_MEMBERS,
            media: Vec::new(),
            check_key: [seed as u8; 32],
            turn: None,
        }
    }
}

/// The media engine of one shard.
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) participants: Slab<Participant>,
    pub(crate) tracks: Slab<Track>,
    pub(crate) rooms: Slab<Room>,
    pub(crate) peers: Peers,
    pub(crate) by_id: HashMap<ParticipantId, Key<Participant>, HashKeys>,
    pub(crate) by_room: HashMap<RoomId, Key<Room>, HashKeys>,
    pub(crate) by_ufrag: HashMap<Box<[u8]>, Key<Participant>, HashKeys>,
    pub(crate) check_ids: CheckIds,
    pub(crate) timers: Timers,
    pub(crate) random: Random,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) counters: Counters,
    /// Rooms that have packets which wait to go out, the bytes of these, and when the first of them have to.
    pub(crate) touched_rooms: Vec<Key<Room>>,
    pub(crate) gathered: Gathered,
    pub(crate) forward_due: Time,
    pub(crate) overload: Overload,
    /// Participants for whom something may have become due in the present call.
    pub(crate) touched: Vec<Key<Participant>>,
    /// Publishers whom somebody waits for.
    pub(crate) awaited: Vec<Key<Participant>>,
    /// Sequence numbers of one NACK.
    pub(crate) sequences: Vec<u16>,
    pub(crate) turn: Option<Box<Turn>>,
}

impl Engine {
    /// An engine without participants.
    pub fn new(config: EngineConfig, now: Time) -> Self {
        let mut random = Random::new(config.seed);
        let keys = HashKeys::new(&mut random);
        let peers = Peers::new(&mut random);
        let turn = config.turn.as_ref().map(|turn| Box::new(Turn::new(turn, config.shard, &mut random, now)));
        Self {
            participants: Slab::new(),
            tracks: Slab::new(),
            rooms: Slab::new(),
            peers,
            by_id: HashMap::with_hasher(keys.clone()),
            by_room: HashMap::with_hasher(keys.clone()),
            by_ufrag: HashMap::with_hasher(keys),
            check_ids: CheckIds::new(&config.check_key, random.next_u64()),
            timers: Timers::default(),
            random,
            effects: VecDeque::new(),
            counters: Counters::default(),
            touched_rooms: Vec::new(),
            gathered: Gathered::new(),
            forward_due: Time::NEVER,
            overload: Overload::default(),
            touched: Vec::new(),
            awaited: Vec::new(),
            sequences: Vec::with_capacity(MISSING_PACKETS),
            turn,
            config,
        }
    }

    /// Takes how the shard keeps up, before what it received. Without that everything goes out whatever happens.
    pub fn note_load(&mut self, now: Time, load: Load) {
        self.overload.note(now, load);
        self.counters.overload = self.overload.per_mille();
    }

    /// Takes received datagrams, at most `limits::BATCH_PACKETS`, and writes what follows from them into `tx`, as far as
    /// it need not wait: see [`Self::poll_timeout`].
    pub fn handle_batch(&mut self, now: Time, rx: &mut [RxPacket<'_>], tx: &mut TxBatch) {
        for packet in rx.iter_mut() {
            self.counters.received_packets += 1;
            self.counters.received_bytes += packet.data.len() as u64;
            if packet.data.len() > DATAGRAM_BYTES {
                self.counters.drop_oversized += 1;
                continue;
            }
            if packet.path.local.is_turns() {
                if let Some((turn, mut cx)) = self.turn(now, tx) {
                    turn.receive_from_peer(packet.path, packet.data, &mut cx);
                }
                continue;
            }
            let inner = match classify(packet.data) {
                Protocol::Rtp => {
                    self.receive_rtp(packet.path, packet.data, now);
                    None
                }
                Protocol::Rtcp => {
                    self.receive_rtcp(packet.path, packet.data, now, tx);
                    None
                }
                Protocol::Stun => self.receive_stun(packet.path, packet.data, now, tx),
                Protocol::Dtls => {
                    self.receive_dtls(packet.path, packet.data);
                    None
                }
                Protocol::ChannelData => match self.turn(now, tx) {
                    Some((turn, mut cx)) => turn.receive_channel_data(packet.path, packet.data, &mut cx),
                    None => {
                        self.counters.drop_turn_channel += 1;
                        None
                    }
                },
                Protocol::Unknown => {
                    self.counters.drop_unknown_protocol += 1;
                    None
                }
            };
            if let Some(inner) = inner {
                self.enter(packet, inner, now, tx);
            }
        }
        self.forward(now, tx);
        self.settle(now, tx);
        self.wrap_inner(now, tx);
        tx.put_strangers_last();
    }

    /// Takes a command of control, or what a handshake thread says. What a handshake thread says of a participant
    /// or generation that is gone is a counted drop, no error.
    pub fn handle_command(&mut self, now: Time, command: EngineCommand, tx: &mut TxBatch) -> Result<(), CommandError> {
        let result = match command {
            EngineCommand::Control(command) => self.control(command, now, tx),
            EngineCommand::Dtls { participant, generation, input } => {
                self.dtls_input(participant, generation, input, now, tx);
                Ok(())
            }
            command => {
                if let Some((turn, mut cx)) = self.turn(now, tx) {
                    turn.handle_command(command, &mut cx);
                }
                Ok(())
            }
        };
        self.settle(now, tx);
        self.wrap_inner(now, tx);
        result
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, tx: &mut TxBatch) {
        while let Some(owner) = self.timers.pop_due(now) {
            match owner {
                Owner::Participant(index) => {
                    if let Some(key) = self.participants.key_at(index) {
                        self.touch(key);
                    }
                }
                Owner::Room(index) => {
                    if let Some(key) = self.rooms.key_at(index) {
                        self.tell_speakers(key, now);
                    }
                }
                owner @ (Owner::Allocation(_) | Owner::Reservation(_) | Owner::Connection(_)) => {
                    if let Some((turn, mut cx)) = self.turn(now, tx) {
                        turn.handle_timeout(owner, &mut cx);
                    }
                }
            }
        }
        if self.forward_due <= now {
            self.forward(now, tx);
        }
        self.settle(now, tx);
        self.wrap_inner(now, tx);
    }

    /// When [`Self::handle_timeout`] must be called next; `Time::NEVER` when nothing is due. What did not fit into a
    /// batch is due at once: send the batch, and call before there is more input.
    pub fn poll_timeout(&self) -> Time {
        self.timers.next().min(self.forward_due)
    }

    /// The next effect, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What happened so far, and how much there is.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All participants, for control after a reconnect.
    pub fn snapshot(&self) -> impl Iterator<Item = ParticipantSnapshot> {
        self.participants.values().map(Participant::snapshot)
    }

    /// TURN, where there is TURN, and what it works with.
    pub(crate) fn turn<'a>(&'a mut self, now: Time, tx: &'a mut TxBatch) -> Option<(&'a mut Turn, turn::Context<'a>)> {
        let Self { turn, random, timers, effects, counters, .. } = self;
        let turn = turn.as_deref_mut()?;
        Some((turn, turn::Context { now, random, timers, effects, counters, tx }))
    }

    /// Has what the shard sent to relayed addresses of its own go to their clients.
    fn wrap_inner(&mut self, now: Time, tx: &mut TxBatch) {
        if tx.has_inner()
            && let Some((turn, mut cx)) = self.turn(now, tx)
        {
            turn.wrap_inner(&mut cx);
        }
    }

    /// Goes on with a packet that was within one of TURN's. What is in it may be anything but TURN again.
    fn enter(&mut self, packet: &mut RxPacket<'_>, inner: Inner, now: Time, tx: &mut TxBatch) {
        let whole = std::mem::take(&mut packet.data);
        packet.data = whole.get_mut(inner.range).unwrap_or_default();
        packet.path = inner.path;
        match classify(packet.data) {
            Protocol::Rtp => self.receive_rtp(packet.path, packet.data, now),
            Protocol::Rtcp => self.receive_rtcp(packet.path, packet.data, now, tx),
            Protocol::Dtls => self.receive_dtls(packet.path, packet.data),
            Protocol::Stun => match Message::parse(packet.data) {
                Ok(message) => self.receive_check(packet.path, &message, now, tx),
                Err(_) => self.counters.drop_stun_malformed += 1,
            },
            Protocol::ChannelData => self.counters.drop_turn_channel += 1,
            Protocol::Unknown => self.counters.drop_unknown_protocol += 1,
        }
    }

    /// Something may have become due for this participant: [`Self::settle`] will look.
    pub(crate) fn touch(&mut self, key: Key<Participant>) {
        touch(&mut self.participants, &mut self.touched, key);
    }

    /// Ends an entry point: does what has become due for the touched, and sets their timers.
    fn settle(&mut self, now: Time, tx: &mut TxBatch) {
        if self.forward_due == Time(0) {
            // `tx` is full, and this is called again at once.
            return;
        }
        // What is done for one may touch others, which are appended.
        let mut next = 0;
        while let Some(&key) = self.touched.get(next) {
            next += 1;
            let Some(participant) = self.participants.get_mut(key) else { continue };
            participant.touched = false;
            if participant.access.next_check() <= now {
                self.send_checks(key, now, tx);
            }
            let Some(participant) = self.participants.get_mut(key) else { continue };
            let mut lifeless = participant.access.deadline() <= now;
            let reason = match &mut participant.access {
                Access::Ice(agent) => {
                    if lifeless && agent.renew_consent(now) {
                        lifeless = false;
                        self.counters.path_changes += 1;
                    }
                    DisconnectReason::ConsentExpired
                }
                Access::Keyed(_) => DisconnectReason::KeyedSilent,
            };
            match participant.transport.phase {
                Phase::Connecting { until } if until <= now => self.disconnect(key, DisconnectReason::ConnectTimeout),
                Phase::Connected(_) if lifeless => self.disconnect(key, reason),
                Phase::Connected(_) => {
                    if participant.transport.reports_due <= now {
                        self.request_key_frames(key, true, now);
                    }
                    self.send_control(key, now, tx);
                }
                Phase::Connecting { .. } | Phase::Over => {}
            }
            if let Some(participant) = self.participants.get(key) {
                // Not at once again: what did not fit now has its turn a moment later.
                let deadline = participant.deadline(&self.tracks).max(now + LEAST_WAIT);
                self.timers.set(Owner::participant(key), deadline);
            }
        }
        self.touched.clear();
    }

    fn tell_speakers(&mut self, key: Key<Room>, now: Time) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let Room { members, speakers, .. } = room;
        let participants = &mut self.participants;
        let speaking = members.iter().filter_map(|&member| {
            let participant = participants.get_mut(member)?;
            let level = participant.uplink.loudness.speaking(now)?;
            Some((participant.spec.participant, level))
        });
        let news = speakers.update(speaking);
        if let Some(speakers) = news {
            self.effects.push_back(Effect::Speakers { room: room.id, speakers });
        }
        room.speakers_due = now + Speakers::INTERVAL;
        if room.speakers.active {
            self.timers.set(Owner::room(key), room.speakers_due);
        }
    }
}

/// See [`Engine::touch`]; apart, for callers that have borrowed other parts of the engine.
pub(crate) fn touch(participants: &mut Slab<Participant>, touched: &mut Vec<Key<Participant>>, key: Key<Participant>) {
    if let Some(participant) = participants.get_mut(key)
        && !std::mem::replace(&mut participant.touched, true)
    {
        touched.push(key);
    }
}
