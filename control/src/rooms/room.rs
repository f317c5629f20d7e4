//! One room: who is in it and what each of them sees. Pure: no IO, no clock, no randomness.

use super::member::Member;
use super::names::RoomKey;
use plausch_relay_api::{Command, ParticipantId, RoomId, ShardId};
use plausch_signalling::{Participant, ServerMessage};
use std::collections::BTreeMap;

/// People who see each other.
#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    pub key: RoomKey,
    /// The name as it was first typed.
    pub title: String,
    pub shard: ShardId,
    pub(crate) members: BTreeMap<ParticipantId, Member>,
    /// Counts joins, screens and speeches, so that each of them has an order.
    pub(crate) events: u64,
}

/// What the world is to be told after a change. Messages to members without a session are dropped on the way.
#[derive(Debug, Default)]
pub struct Outbox {
    pub messages: Vec<(Vec<ParticipantId>, ServerMessage)>,
    pub commands: Vec<Command>,
}

impl Outbox {
    pub(crate) fn send(&mut self, to: ParticipantId, message: ServerMessage) {
        self.messages.push((vec![to], message));
    }
}

impl Room {
    pub fn new(id: RoomId, key: RoomKey, title: String, shard: ShardId) -> Self {
        Self { id, key, title, shard, members: BTreeMap::new(), events: 0 }
    }

    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// A number larger than all before.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// The others whom `participant` knows of.
    pub(crate) fn others(&self, participant: ParticipantId) -> Vec<Participant> {
        let known = self.members.iter().filter(|(id, member)| **id != participant && member.visible);
        known.map(|(id, member)| describe(*id, member)).collect()
    }

    pub(crate) fn describe(&self, participant: ParticipantId) -> Option<Participant> {
        self.members.get(&participant).map(|member| describe(participant, member))
    }

    /// Tells all others who have a session.
    pub(crate) fn tell_others(&self, participant: ParticipantId, message: ServerMessage, out: &mut Outbox) {
        let to = self.attached().filter(|id| *id != participant).collect();
        out.messages.push((to, message));
    }

    pub(crate) fn attached(&self) -> impl Iterator<Item = ParticipantId> {
        self.members.iter().filter(|(_, member)| member.session.is_some() && member.visible).map(|(id, _)| *id)
    }

    /// Takes note of who speaks, loudest first, and passes it on.
    pub(crate) fn spoke(&mut self, speakers: &[ParticipantId], out: &mut Outbox) {
        let known: Vec<_> =
            speakers.iter().copied().filter(|id| self.members.get(id).is_some_and(|member| member.visible)).collect();
        // The loudest gets the largest number.
        for speaker in known.iter().rev() {
            let event = self.next_event();
            if let Some(member) = self.members.get_mut(speaker) {
                member.spoke = event;
            }
        }
        let message = ServerMessage::Speakers { participants: known.iter().map(ParticipantId::to_string).collect() };
        out.messages.push((self.attached().collect(), message));
        if self.members.values().any(|member| member.shown.iter().all(Option::is_some)) {
            self.rearrange(out);
        }
    }
}

fn describe(id: ParticipantId, member: &Member) -> Participant {
    Participant {
        id: id.to_string(),
        name: member.name.clone().into(),
        media: member.media,
        connected: member.shown_connected,
    }
}
