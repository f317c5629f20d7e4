//! Participants of WHIP and WHEP: no session speaks for them, their media is all that there is of them.

use super::Rooms;
use super::member::{By, Flow, Presence, State};
use plausch_relay_api::{IceParameters, ParticipantId, ParticipantSpec};
use std::time::Duration;

impl Rooms {
    /// How the participant is connected, once others know of it.
    pub fn presence(&self, participant: ParticipantId) -> Option<&Presence> {
        self.member(participant).filter(|member| member.is_visible()).map(|member| &member.presence)
    }

    /// The request that let the participant in is answered. From now on only its media says that it is there.
    pub fn stand_alone(&mut self, participant: ParticipantId, now: Duration) {
        let Some(State::Present { by, .. }) = self.member_mut(participant).map(|member| &mut member.state) else {
            return;
        };
        *by = By::Media { since: now };
        self.detached.insert(participant);
    }

    /// What the relay has of a participant whose media it has.
    pub fn spec(&self, participant: ParticipantId) -> Option<&ParticipantSpec> {
        self.member(participant)?.live().map(|transport| &transport.spec)
    }

    /// New ICE credentials. They count at once, so that two restarts reach the relay in the order in which they count
    /// here; gives what the relay must be told and the credentials before.
    pub fn restart_ice(
        &mut self,
        participant: ParticipantId,
        ice: IceParameters,
    ) -> Option<(ParticipantSpec, IceParameters)> {
        let note = self.note(participant)?;
        let transport =
            self.member_mut(participant)?.transport_mut().filter(|transport| transport.flow != Flow::Lost)?;
        let before = std::mem::replace(transport.spec.transport.ice_mut()?, ice);
        transport.spec.note = note;
        Some((transport.spec.clone(), before))
    }

    /// The relay did not take them.
    pub fn undo_restart(&mut self, failed: &ParticipantSpec, before: IceParameters) {
        let transport = self.member_mut(failed.participant).and_then(|member| member.transport_mut());
        let ice = transport.and_then(|transport| transport.spec.transport.ice_mut());
        if let Some(ice) = ice.filter(|ice| Some(&**ice) == failed.transport.ice()) {
            *ice = before;
        }
    }
}
