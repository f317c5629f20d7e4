//! One room: who is in it and what each of them sees. Pure: no IO, no clock, no randomness.

use super::events::{Outbox, Person, RoomEvent};
use super::member::Member;
use super::names::RoomKey;
use crate::relays::placement::Location;
use plausch_relay_api::{Command, ParticipantId, RoomId};
use std::collections::BTreeMap;

/// People who see each other.
#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    pub key: RoomKey,
    /// The name as it was first typed.
    pub title: String,
    /// Where its media is.
    pub location: Location,
    pub(crate) members: BTreeMap<ParticipantId, Member>,
    /// Counts joins, screens and speeches, so that each of them has an order.
    pub(crate) events: u64,
}

impl Room {
    pub fn new(id: RoomId, key: RoomKey, title: String, location: Location) -> Self {
        Self { id, key, title, location, members: BTreeMap::new(), events: 0 }
    }

    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// A relay has media of somebody here, as far as control knows.
    pub(crate) fn has_media(&self) -> bool {
        self.members.values().any(|member| member.live().is_some())
    }

    /// Tells the room's relay something.
    pub(crate) fn command(&self, command: Command, out: &mut Outbox) {
        out.commands.push((self.location.relay.clone(), command));
    }

    /// A number larger than all before.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// The others whom `participant` knows of.
    pub(crate) fn others(&self, participant: ParticipantId) -> Vec<Person> {
        self.members
            .iter()
            .filter(|(id, _)| **id != participant)
            .filter_map(|(id, member)| member.describe(*id))
            .collect()
    }

    /// A member as others see it; `None` while they do not.
    pub(crate) fn describe(&self, participant: ParticipantId) -> Option<Person> {
        self.members.get(&participant)?.describe(participant)
    }

    /// Tells all others who have a session.
    pub(crate) fn tell_others(&self, participant: ParticipantId, event: RoomEvent, out: &mut Outbox) {
        let to = self.attached().map(|(id, _)| id).filter(|id| *id != participant).collect();
        out.events.push((to, event));
    }

    /// Members of whom others know and who can be told something.
    pub(crate) fn attached(&self) -> impl Iterator<Item = (ParticipantId, &Member)> {
        self.members.iter().filter(|(_, member)| member.is_attached()).map(|(id, member)| (*id, member))
    }

    /// Takes note of who speaks, loudest first, and passes it on.
    pub(crate) fn spoke(&mut self, speakers: &[ParticipantId], out: &mut Outbox) {
        let known: Vec<_> =
            speakers.iter().copied().filter(|id| self.members.get(id).is_some_and(Member::is_visible)).collect();
        // The loudest gets the largest number.
        for speaker in known.iter().rev() {
            let event = self.next_event();
            if let Some(member) = self.members.get_mut(speaker) {
                member.spoke = event;
            }
        }
        out.events.push((self.attached().map(|(id, _)| id).collect(), RoomEvent::Speakers(known)));
        if self.members.values().any(|member| member.shown().iter().all(Option::is_some)) {
            self.rearrange(out);
        }
    }
}
