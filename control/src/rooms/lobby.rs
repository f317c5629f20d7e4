//! The lobby: who waits there, and who lets them in.

use super::Rooms;
use super::events::{Knock, Outbox, RoomEvent};
use super::member::{Role, State};
use plausch_relay_api::ParticipantId;

/// Why a moderator's wish is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LobbyError {
    #[error("only a moderator may do this")]
    NotModerator,
    #[error("nobody of this id waits in this room")]
    NobodyWaits,
}

impl Rooms {
    /// Who waits in the room of a moderator, in the order of their ids; nobody for others.
    pub fn knocks(&self, moderator: ParticipantId) -> Vec<Knock> {
        let Some(room) = self.room_of(moderator) else { return Vec::new() };
        if room.members.get(&moderator).is_none_or(|member| member.role != Role::Moderator) {
            return Vec::new();
        }
        let waiting = room.members.iter().filter(|(_, member)| member.is_waiting());
        waiting.map(|(id, member)| Knock { id: *id, name: member.name.clone().into() }).collect()
    }

    /// Lets somebody in who waits: from now on they join like everybody else.
    pub fn admit(
        &mut self,
        moderator: ParticipantId,
        guest: ParticipantId,
        out: &mut Outbox,
    ) -> Result<(), LobbyError> {
        self.check_knock(moderator, guest)?;
        if let Some(member) = self.member_mut(guest)
            && let State::Waiting { session } = member.state
        {
            member.state = State::Joining { session };
        }
        out.send(guest, RoomEvent::Admitted);
        self.tell_moderators(guest, RoomEvent::KnockEnded(guest), out);
        Ok(())
    }

    /// Turns somebody away who waits.
    pub fn reject(
        &mut self,
        moderator: ParticipantId,
        guest: ParticipantId,
        out: &mut Outbox,
    ) -> Result<(), LobbyError> {
        self.check_knock(moderator, guest)?;
        out.send(guest, RoomEvent::Rejected);
        self.remove(guest, out);
        Ok(())
    }

    fn check_knock(&self, moderator: ParticipantId, guest: ParticipantId) -> Result<(), LobbyError> {
        let room = self.room_of(moderator).ok_or(LobbyError::NotModerator)?;
        let may = |member: &super::Member| member.role == Role::Moderator && member.is_visible();
        if !room.members.get(&moderator).is_some_and(may) {
            return Err(LobbyError::NotModerator);
        }
        let waits = room.members.get(&guest).is_some_and(|member| member.is_waiting());
        if waits { Ok(()) } else { Err(LobbyError::NobodyWaits) }
    }

    /// Tells the moderators of the room in which somebody waits.
    pub(super) fn tell_moderators(&self, guest: ParticipantId, event: RoomEvent, out: &mut Outbox) {
        let Some(room) = self.room_of(guest) else { return };
        let moderators: Vec<_> = room.attached().filter(|(_, member)| member.role == Role::Moderator).collect();
        let to: Vec<_> = moderators.into_iter().map(|(id, _)| id).collect();
        if !to.is_empty() {
            out.events.push((to, event));
        }
    }
}
