//! Relays come, say what happens there, and go.

use super::{Service, State};
use crate::relays::relay::Relay;
use plausch_relay_api::framing::Unreadable;
use plausch_relay_api::{CommandError, Event, ParticipantSnapshot, ShardId};
use std::sync::atomic::Ordering::Relaxed;

impl Service {
    /// A relay said who it is and what it has; from now on it is the relay.
    pub fn relay_arrived(&self, relay: Relay, snapshot: Vec<ParticipantSnapshot>) {
        self.metrics.relay_connections.fetch_add(1, Relaxed);
        self.change(|state, out| {
            let ready = !relay.hello.shards.is_empty();
            state.relay = Some(relay);
            state.tell_turn(&self.turn_key, out);
            state.rooms.reconcile(snapshot, self.now(), out);
            self.linked.send_replace(ready);
        });
    }

    /// The link of a relay ended. `false` if it was no longer the link in use.
    pub fn relay_left(&self, link: u64) -> bool {
        let mut state = self.state();
        let current = state.relay.as_ref().is_some_and(|relay| relay.link == link);
        if current {
            state.relay = None;
            self.linked.send_replace(false);
        }
        current
    }

    /// Ends the link; participants stay with the relay, for the next control.
    pub fn stop(&self) {
        self.state().relay = None;
        self.linked.send_replace(false);
    }

    /// An event after the snapshot. `false` if the link was replaced or must be made anew.
    pub fn relay_event(&self, link: u64, event: Event) -> bool {
        self.change(|state, out| {
            let Some(relay) = state.relay.as_mut().filter(|relay| relay.link == link) else { return false };
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
                Event::Load { shards, .. } => relay.loads = shards,
                Event::ShardRestarted { shard } => {
                    tracing::warn!(%shard, "a shard of the relay restarted");
                    state.rooms.shard_restarted(shard, out);
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
    pub(crate) fn shards(&self) -> Vec<ShardId> {
        self.relay.iter().flat_map(|relay| &relay.hello.shards).map(|shard| shard.shard).collect()
    }
}
