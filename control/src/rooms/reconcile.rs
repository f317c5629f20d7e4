//! Agreeing with the relay after either process restarted or the link was lost.

use super::Rooms;
use super::events::Outbox;
use super::member::{Flow, Media, Member, Presence, Role, Seat, State, Transport, capabilities};
use super::names::{RoomKey, person_name, room_title};
use super::room::Room;
use crate::relays::placement::{Location, RelayId};
use plausch_relay_api::limits::NOTE_BYTES;
use plausch_relay_api::{Command, ParticipantId, ParticipantSnapshot};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Control's memory of a participant. The relay keeps it and gives it back in its snapshot: that is how a
/// restarted control finds its rooms again. Everything else that it needs is in the spec.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Which start of control wrote this.
    control: u64,
    room: RoomKey,
    title: String,
    name: String,
    #[serde(default)]
    presence: Presence,
    #[serde(default)]
    role: Role,
    /// Names, so that a control that does not know one still reads the others.
    #[serde(default)]
    capabilities: Vec<String>,
    media: Media,
    /// The order of joining.
    joined: u64,
    shared: u64,
}

impl Note {
    pub(super) fn of(control: u64, room: &Room, member: &Member) -> Self {
        Self {
            control,
            room: room.key.clone(),
            title: room.title.clone(),
            name: member.name.clone(),
            presence: member.presence.clone(),
            role: member.role,
            capabilities: member.capabilities.iter().map(|capability| capability.name().to_owned()).collect(),
            media: member.media,
            joined: member.joined,
            shared: member.shared,
        }
    }

    /// As the relay keeps it. Names are limited so that it always fits.
    pub fn encode(&self) -> Option<plausch_relay_api::Note> {
        let json = serde_json::to_vec(self).ok()?;
        debug_assert!(json.len() <= NOTE_BYTES);
        Some(plausch_relay_api::Note::new(json))
    }

    /// `None` for what no control wrote.
    fn decode(note: &[u8]) -> Option<Self> {
        let note: Self = serde_json::from_slice(note).ok()?;
        let sound = RoomKey::normalise(note.room.as_str()).as_ref() == Some(&note.room)
            && person_name(&note.name).as_ref() == Some(&note.name)
            && room_title(&note.title) == note.title;
        sound.then_some(note)
    }
}

impl Rooms {
    /// Takes over what the relay has: people whom another control let in are adopted, people who left meanwhile or are at
    /// another relay by now are removed, and whose media the relay has not is told so.
    pub fn reconcile(&mut self, relay: &RelayId, snapshot: Vec<ParticipantSnapshot>, now: Duration, out: &mut Outbox) {
        let there: HashSet<_> = snapshot.iter().map(|known| known.spec.participant).collect();
        let missing = |room: &Room, participant| room.location.relay == *relay && !there.contains(&participant);
        let gone: Vec<_> = self.with_media(missing).collect();
        for participant in gone {
            self.lose(participant, true, out);
        }
        let mut agreed = HashMap::new();
        for known in snapshot {
            let participant = known.spec.participant;
            let relays = (known.assignments.clone(), known.spec.note.clone());
            let same = match self.relay_of(participant) {
                Some(of) => of == relay && self.compare(&known, out),
                None => self.adopt(relay, known, now),
            };
            if same {
                agreed.insert(participant, relays);
            } else if self.relay_of(participant) != Some(relay) {
                out.commands.push((relay.clone(), Command::RemoveParticipant { participant }));
            }
        }
        // Slots first in everybody's memory, then one comparison with the relay's.
        let mut arranged = Outbox::default();
        for room in self.rooms.values_mut().filter(|room| room.location.relay == *relay) {
            room.rearrange(&mut arranged);
        }
        out.events.append(&mut arranged.events);
        for (participant, (assignments, note)) in agreed {
            let Some(room) = self.room_of(participant) else { continue };
            if room.assignments(participant) != assignments {
                room.command_assignments(participant, out);
            }
            // Also a note of the control before us: the next comparison shall know it as ours.
            if let Some(ours) = self.note(participant).filter(|ours| *ours != note) {
                out.commands.push((relay.clone(), Command::SetNote { participant, note: ours }));
            }
        }
    }

    /// Somebody whom both know. `true` if the relay's transport is the one that we mean.
    fn compare(&mut self, known: &ParticipantSnapshot, out: &mut Outbox) -> bool {
        let participant = known.spec.participant;
        let Some(transport) = self.member_mut(participant).and_then(Member::transport_mut) else {
            return false;
        };
        let same = transport.spec.generation == known.spec.generation && transport.spec.room == known.spec.room;
        let ended = transport.flow == Flow::Connected && !known.connected;
        if !same || ended {
            self.lose(participant, true, out);
            return false;
        }
        if transport.flow == Flow::Lost {
            return false;
        }
        transport.flow = if known.connected { Flow::Connected } else { Flow::Connecting };
        true
    }

    /// Somebody whom only the relay knows. `false` if nobody is to know.
    fn adopt(&mut self, relay: &RelayId, known: ParticipantSnapshot, now: Duration) -> bool {
        let ParticipantSnapshot { spec, assignments, connected } = known;
        let Some(note) = Note::decode(spec.note.reveal()) else { return false };
        // Our own note on somebody whom we do not know: they left while the link was down.
        if note.control == self.control {
            return false;
        }
        let location = Location { relay: relay.clone(), shard: spec.shard };
        let id = match self.by_key.get(&note.room) {
            Some(id) => *id,
            None => {
                self.insert_room(Room::new(spec.room, note.room, note.title, location.clone()));
                spec.room
            }
        };
        let Some(room) = self.rooms.get_mut(&id) else { return false };
        if room.id != spec.room || room.location != location {
            return false;
        }
        let mut shown = vec![None; spec.slots.len()];
        for assignment in assignments {
            if let Some(slot) = shown.get_mut(usize::from(assignment.slot.0)) {
                *slot = Some(assignment.source);
            }
        }
        let participant: ParticipantId = spec.participant;
        room.events = room.events.max(note.joined).max(note.shared);
        room.members.insert(
            participant,
            Member {
                name: note.name,
                presence: note.presence,
                role: note.role,
                capabilities: capabilities(&note.capabilities),
                media: note.media,
                state: State::Away {
                    since: now,
                    seat: Seat {
                        // Where DTLS is not finished it may be on its way, or over since long: `connected` will tell.
                        transport: Some(Transport { spec, flow: if connected { Flow::Connected } else { Flow::Lost } }),
                        shown,
                        shown_connected: true,
                    },
                },
                joined: note.joined,
                spoke: 0,
                shared: note.shared,
            },
        );
        self.by_participant.insert(participant, id);
        self.detached.insert(participant);
        true
    }
}
