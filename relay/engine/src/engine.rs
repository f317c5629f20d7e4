//! The engine's four entry points.

use crate::batch::{RxPacket, TxBatch};
use crate::counters::Counters;
use crate::effect::{Effect, EngineCommand};
use crate::time::Time;
use plausch_relay_api::limits::{PARTICIPANTS_PER_ROOM, PARTICIPANTS_PER_SHARD};
use plausch_relay_api::{Command, CommandError, ParticipantId, ParticipantSnapshot, ShardId};
use std::collections::{BTreeMap, VecDeque};

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
}

impl EngineConfig {
    /// With the limits of `limits`.
    pub fn new(shard: ShardId, seed: u64) -> Self {
        Self {
            shard,
            seed,
            max_participants: PARTICIPANTS_PER_SHARD,
            max_participants_per_room: PARTICIPANTS_PER_ROOM,
        }
    }
}

/// The media engine of one shard.
pub struct Engine {
    config: EngineConfig,
    participants: BTreeMap<ParticipantId, ParticipantSnapshot>,
    effects: VecDeque<Effect>,
    counters: Counters,
}

impl Engine {
    /// An engine without participants.
    pub fn new(config: EngineConfig, _now: Time) -> Self {
        Self { config, participants: BTreeMap::new(), effects: VecDeque::new(), counters: Counters::default() }
    }

    /// Takes received datagrams and writes what follows from them into `tx`.
    pub fn handle_batch(&mut self, _now: Time, rx: &mut [RxPacket<'_>], _tx: &mut TxBatch) {
        for packet in rx {
            self.counters.received_packets += 1;
            self.counters.received_bytes += packet.data.len() as u64;
            self.counters.drop_unknown_protocol += 1;
        }
    }

    /// Takes a command of control, or what a handshake thread says.
    pub fn handle_command(
        &mut self,
        _now: Time,
        command: EngineCommand,
        _tx: &mut TxBatch,
    ) -> Result<(), CommandError> {
        let EngineCommand::Control(command) = command else { return Ok(()) };
        match command {
            Command::PutParticipant(spec) => {
                if spec.shard != self.config.shard {
                    return Err(CommandError::UnknownShard);
                }
                let entry = self.participants.entry(spec.participant);
                entry
                    .and_modify(|participant| participant.spec = (*spec).clone())
                    .or_insert_with(|| ParticipantSnapshot { spec: *spec, assignments: Vec::new(), connected: false });
            }
            Command::RemoveParticipant { participant } => {
                self.participants.remove(&participant);
            }
            Command::AssignSlots { participant, slots } => {
                let found = self.participants.get_mut(&participant).ok_or(CommandError::UnknownParticipant)?;
                found.assignments = slots;
            }
            Command::SetNote { participant, note } => {
                let found = self.participants.get_mut(&participant).ok_or(CommandError::UnknownParticipant)?;
                found.spec.note = note;
            }
        }
        self.counters.participants = self.participants.len() as u64;
        Ok(())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Time, _tx: &mut TxBatch) {}

    /// When [`Self::handle_timeout`] must be called next; `Time::NEVER` when nothing is due.
    pub fn poll_timeout(&self) -> Time {
        Time::NEVER
    }

    /// The next effect, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All participants, for control after a reconnect.
    pub fn snapshot(&self) -> impl Iterator<Item = ParticipantSnapshot> {
        self.participants.values().cloned()
    }
}
