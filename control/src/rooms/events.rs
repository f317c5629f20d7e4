//! What members are told and what relays are asked. Fronts render events each in its own protocol.

use super::member::{Media, Role};
use super::names::PersonName;
use crate::relays::placement::RelayId;
use plausch_relay_api::{Command, ParticipantId, SourceRef};

/// News for members of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoomEvent {
    Joined(Person),
    Changed(Person),
    Left(ParticipantId),
    /// What the member's slots show from now on, all of them; others are empty.
    Slots(Vec<FilledSlot>),
    /// Who speaks, loudest first; empty when all are silent.
    Speakers(Vec<ParticipantId>),
    /// The relay has lost this member's media.
    MediaLost,
    /// The same identity joined from another place.
    Replaced,
    /// Somebody waits in the lobby: for moderators.
    Knocked(Knock),
    /// Somebody waits there no more: admitted, rejected or gone.
    KnockEnded(ParticipantId),
    /// This member, who waited, may come in.
    Admitted,
    /// This member, who waited, may not come in.
    Rejected,
}

impl RoomEvent {
    /// The session to which it goes ends with it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Replaced | Self::Rejected)
    }
}

/// A member as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    pub id: ParticipantId,
    pub name: PersonName,
    pub media: Media,
    /// `false` while the connection is lost and may still come back.
    pub connected: bool,
    pub role: Role,
}

/// Somebody in the lobby, as moderators see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Knock {
    pub id: ParticipantId,
    pub name: PersonName,
}

/// A slot that shows something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilledSlot {
    /// Index into the offer's slots.
    pub slot: u16,
    pub source: SourceRef,
}

/// What follows from a change: events with their addressees, and commands for relays. Events for members who have no
/// session are dropped on the way.
#[derive(Debug, Default)]
pub struct Outbox {
    pub events: Vec<(Vec<ParticipantId>, RoomEvent)>,
    /// Commands, each with the relay that it is for.
    pub commands: Vec<(RelayId, Command)>,
}

impl Outbox {
    /// Addresses an event to one member.
    pub fn send(&mut self, to: ParticipantId, event: RoomEvent) {
        self.events.push((vec![to], event));
    }

    /// Withdraws what was addressed to a member, who is about to be told everything at once.
    pub fn withdraw(&mut self, from: ParticipantId) {
        for (to, _) in &mut self.events {
            to.retain(|id| *id != from);
        }
    }

    /// Nothing is to be told or asked.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty()
    }
}
