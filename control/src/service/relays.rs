//! Relays come, say what happens there, and go.

use super::{Service, State};
use crate::relays::placement::{Location, RelayId};
use crate::relays::relay::Relay;
use crate::relays::set::NameTaken;
use crate::rooms::events::Outbox;
use crate::rooms::names::RoomKey;
use plausch_relay_api::framing::Unreadable;
use plausch_relay_api::{CommandError, Event, ParticipantSnapshot};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

impl Service {
    /// Relays of the control before: to be told before anybody joins.
    pub fn expect_relays(&self, relays: impl IntoIterator<Item = RelayId>) {
        self.state().relays.expect(relays, self.now());
    }

    /// All relays that are linked or waited for.
    pub fn relays(&self) -> BTreeSet<RelayId> {
        self.state().relays.ids().cloned().collect()
    }

    /// Changes whenever a relay came or left, or time has decided about one.
    pub fn relay_changes(&self) -> watch::Receiver<()> {
        self.relay_changes.subscribe()
    }

    /// A relay said who it is; what it has follows. The error says why its link is not taken.
    pub fn relay_greets(&self, relay: &RelayId, instance: u64) -> Result<(), NameTaken> {
        self.state().relays.greet(relay, instance, self.now())
    }

    /// A relay said what it has; from now on its rooms are what both agree on.
    pub fn relay_arrived(&self, relay: Relay, snapshot: Vec<ParticipantSnapshot>) {
        self.metrics.relay_connections.fetch_add(1, Relaxed);
        self.change(|state, out| {
            let id = relay.id.clone();
            state.relays.arrive(relay);
            state.tell_turn(&self.turn_key, out);
            state.rooms.reconcile(&id, snapshot, self.now(), out);
            state.give_up_relays(self.now(), out);
        });
        self.relay_changes.send_replace(());
    }

    /// The link of a relay ended. `None` if it was no longer the link in use.
    pub fn relay_left(&self, link: u64) -> Option<RelayId> {
        let relay = self.state().relays.leave(link, self.now())?;
        self.relay_changes.send_replace(());
        Some(relay)
    }

    /// The process of a relay has ended, and nobody's media is there any more. `false` if it is linked again.
    pub fn relay_ended(&self, relay: &RelayId) -> bool {
        let ended = self.change(|state, out| {
            let ended = state.relays.has_ended(relay);
            if ended {
                state.give_up_relays(self.now(), out);
            }
            ended
        });
        self.relay_changes.send_replace(());
        ended
    }

    /// A relay takes no new rooms.
    pub(crate) fn relay_drains(&self, relay: &RelayId) {
        if let Some(relay) = self.state().relays.get_mut(relay) {
            relay.draining = true;
        }
    }

    /// Ends all links; participants stay with their relays, for the next control.
    pub fn stop(&self) {
        self.state().relays.unlink_all(self.now());
        self.relay_changes.send_replace(());
    }

    /// An event after the snapshot. `false` if the link was replaced or must be made anew.
    pub fn relay_event(&self, link: u64, event: Event) -> bool {
        self.change(|state, out| {
            let Some(relay) = state.relays.by_link(link) else { return false };
            let id = relay.id.clone();
            // This relay has nothing to say of people and rooms that are with another one by now.
            let about = match &event {
                Event::Connected { participant, .. } | Event::Disconnected { participant, .. } => {
                    state.rooms.relay_of(*participant)
                }
                Event::Speakers { room, .. } => state.rooms.relay_of_room(*room),
                _ => Some(&id),
            };
            if about != Some(&id) {
                return true;
            }
            match event {
                Event::Done { id, result } => {
                    if let Err(error) = relay.done(id, result) {
                        self.metrics.command_errors.fetch_add(1, Relaxed);
                        tracing::debug!("the relay refused a command: {error}");
                        if error == CommandError::Busy {
                            // What it did not take is lost. It dials again, and then both agree anew.
                            return false;
                        }
                    }
                }
                Event::Connected { participant, generation } => state.rooms.connected(participant, generation, out),
                Event::Disconnected { participant, generation, reason } => {
                    tracing::info!(%participant, generation, ?reason, "media ended");
                    state.rooms.disconnected(participant, generation, reason, out);
                }
                Event::Speakers { room, speakers } => state.rooms.spoke(room, &speakers, out),
                Event::Load { shards, draining } => {
                    relay.loads = shards;
                    relay.draining |= draining;
                }
                Event::ShardRestarted { shard } => {
                    tracing::warn!(relay = %id, %shard, "a shard of the relay restarted");
                    state.rooms.shard_restarted(&Location { relay: id, shard }, out);
                }
                Event::Hello(_) | Event::Snapshot(_) | Event::SnapshotEnd => return false,
            }
            true
        })
    }

    /// A relay of a later release said something that is not known here.
    pub fn unreadable(&self, unreadable: &Unreadable) {
        if self.metrics.unreadable_events.fetch_add(1, Relaxed) == 0 {
            tracing::warn!("a relay of a later release? {unreadable}; such frames are left out and counted");
        }
    }
}

impl State {
    /// Where the media of the room is, or would be if somebody came now.
    pub(crate) fn location_of(&self, room: Option<&RoomKey>, now: Duration) -> Option<Location> {
        if self.relays.expects(now) && !room.is_some_and(|room| self.rooms.exists(room)) {
            return None;
        }
        self.rooms.location_of(room, &self.relays.locations())
    }

    /// Gives the people of relays that stay away to those that are there.
    pub(super) fn give_up_relays(&mut self, now: Duration, out: &mut Outbox) {
        for relay in self.relays.give_up(now) {
            tracing::warn!(%relay, "relay stays away; its rooms go on at another one");
            self.rooms.relay_lost(&relay, out);
        }
    }
}
