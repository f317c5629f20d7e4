//! One room: who is in it and what each of them sees. Pure: no IO, no clock, no randomness.

use crate::names::RoomKey;
use plausch_relay_api::{
    Command, ParticipantId, ParticipantSpec, RoomId, ShardId, SlotAssignment, SlotId, Source, SourceRef, TrackKind,
};
use plausch_signalling::{MediaState, Participant, ServerMessage, SlotContent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

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

/// By what somebody is in a room.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The web client's signalling: there while its socket is, or may come back.
    #[default]
    Signalling,
    /// WHIP: publishes, and is there for as long as its media flows.
    Publisher,
    /// WHEP: watches one person, and is there for as long as it does. Others see that it is there, for nobody is
    /// watched by the unseen, but it is no source.
    Viewer {
        /// An id or a name; without one, whoever speaks.
        follows: Option<String>,
    },
}

/// One person in a room.
#[derive(Debug)]
pub struct Member {
    pub(crate) name: String,
    pub(crate) presence: Presence,
    pub(crate) media: MediaState,
    /// The signalling session, if there is one.
    pub(crate) session: Option<u64>,
    /// Since when there is none.
    pub(crate) detached_at: Option<Duration>,
    /// `false` while the first offer is on its way to the relay: nobody knows of this person yet.
    pub(crate) visible: bool,
    /// As the relay was last told.
    pub(crate) transport: Option<Transport>,
    /// Others have last been told that this person is connected.
    pub(crate) shown_connected: bool,
    /// What each slot shows.
    pub(crate) shown: Vec<Option<SourceRef>>,
    /// When the person joined, last spoke (0: never) and began to share, counted by `Room::events`.
    pub(crate) joined: u64,
    pub(crate) spoke: u64,
    pub(crate) shared: u64,
}

/// A PeerConnection of a member.
#[derive(Debug)]
pub struct Transport {
    pub(crate) spec: ParticipantSpec,
    /// DTLS is finished.
    pub(crate) connected: bool,
    /// The relay has it no more; the browser must offer a new one.
    pub(crate) lost: bool,
}

impl Member {
    /// The transport, if the relay has it.
    pub(crate) fn live(&self) -> Option<&Transport> {
        self.transport.as_ref().filter(|transport| !transport.lost)
    }

    /// Nobody but its media can say that it is there, or be told when that is lost.
    pub(crate) fn is_its_media(&self) -> bool {
        self.presence != Presence::Signalling && self.session.is_none()
    }

    /// What its slots may show, of all sources.
    fn wants(&self, source: &SourceRef, of: Option<&str>) -> bool {
        match &self.presence {
            Presence::Signalling | Presence::Publisher => true,
            Presence::Viewer { follows } => {
                source.source == Source::Person
                    && follows
                        .as_ref()
                        .is_none_or(|wanted| of == Some(wanted.as_str()) || source.participant.to_string() == *wanted)
            }
        }
    }

    fn shares_screen(&self) -> bool {
        let sends_screen =
            |transport: &Transport| transport.spec.sends.iter().any(|send| send.kind == TrackKind::Screen);
        self.media.screen && self.transport.as_ref().is_some_and(sends_screen)
    }
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

    /// What is in the slots of a member.
    pub(crate) fn slots(&self, participant: ParticipantId) -> Vec<SlotContent> {
        let shown = self.members.get(&participant).map(|member| member.shown.as_slice()).unwrap_or_default();
        filled(shown)
            .map(|(slot, source)| SlotContent {
                slot,
                participant: source.participant.to_string(),
                source: match source.source {
                    Source::Person => plausch_signalling::Source::Person,
                    Source::Screen => plausch_signalling::Source::Screen,
                },
            })
            .collect()
    }

    /// The slots of a member as the relay is told them: only sources whose media the relay has.
    pub(crate) fn assignments(&self, participant: ParticipantId) -> Vec<SlotAssignment> {
        let Some(member) = self.members.get(&participant) else { return Vec::new() };
        let persons = filled(&member.shown).filter(|(_, source)| source.source == Source::Person).count();
        filled(&member.shown)
            .filter(|(_, source)| self.members.get(&source.participant).is_some_and(|member| member.live().is_some()))
            .map(|(slot, source)| SlotAssignment {
                slot: SlotId(slot),
                source,
                max_layer: max_layer(source.source, persons),
            })
            .collect()
    }

    pub(crate) fn command_assignments(&self, participant: ParticipantId, out: &mut Outbox) {
        if self.members.get(&participant).is_some_and(|member| member.live().is_some()) {
            let slots = self.assignments(participant);
            out.commands.push(Command::AssignSlots { participant, slots });
        }
    }

    /// Sends everybody who shows `participant` their assignments again: its media is new at the relay.
    pub(crate) fn command_viewers(&self, participant: ParticipantId, out: &mut Outbox) {
        for (viewer, member) in &self.members {
            if member.shown.iter().flatten().any(|source| source.participant == participant) {
                self.command_assignments(*viewer, out);
            }
        }
    }

    /// Brings everybody's slots up to date with who is there, and tells those for whom something changed.
    pub(crate) fn rearrange(&mut self, out: &mut Outbox) {
        let ranking = self.ranking();
        let name = |of: ParticipantId| self.members.get(&of).map(|member| member.name.as_str());
        let mut arranged = Vec::new();
        for (viewer, member) in &self.members {
            let mut shown = member.shown.clone();
            let wanted = ranking
                .iter()
                .filter(|source| source.participant != *viewer && member.wants(source, name(source.participant)))
                .take(shown.len());
            if arrange(&mut shown, wanted) {
                arranged.push((*viewer, shown));
            }
        }
        let mut changed = Vec::new();
        for (viewer, shown) in arranged {
            if let Some(member) = self.members.get_mut(&viewer) {
                member.shown = shown;
                changed.push(viewer);
            }
        }
        for viewer in changed {
            self.command_assignments(viewer, out);
            if self.members.get(&viewer).is_some_and(|member| member.session.is_some() && member.visible) {
                out.send(viewer, ServerMessage::Slots { slots: self.slots(viewer) });
            }
        }
    }

    /// All sources, most wanted first: screens, then who spoke last, then who has been here longest.
    fn ranking(&self) -> Vec<SourceRef> {
        let watches = |member: &Member| matches!(member.presence, Presence::Viewer { .. });
        let visible = || self.members.iter().filter(|(_, member)| member.visible && !watches(member));
        let mut screens: Vec<_> = visible().filter(|(_, member)| member.shares_screen()).collect();
        screens.sort_by_key(|(_, member)| member.shared);
        let mut persons: Vec<_> = visible().collect();
        persons.sort_by_key(|(_, member)| (std::cmp::Reverse(member.spoke), member.joined));
        let source = |source| move |(id, _): (&ParticipantId, &Member)| SourceRef { participant: *id, source };
        screens.into_iter().map(source(Source::Screen)).chain(persons.into_iter().map(source(Source::Person))).collect()
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
        name: member.name.clone(),
        media: member.media,
        connected: member.shown_connected,
    }
}

fn filled(shown: &[Option<SourceRef>]) -> impl Iterator<Item = (u16, SourceRef)> {
    shown.iter().zip(0..).filter_map(|(source, slot)| Some((slot, (*source)?)))
}

/// Until clients say how large they show a tile: full pictures as long as four fill the window, and no more pixels
/// in all when there are more.
fn max_layer(source: Source, persons: usize) -> u8 {
    match (source, persons) {
        (Source::Screen, _) | (_, 0..=4) => 2,
        (_, 5..=16) => 1,
        _ => 0,
    }
}

/// Puts the wanted sources into slots. A source that is shown and wanted stays where it is.
fn arrange<'a>(shown: &mut [Option<SourceRef>], wanted: impl Iterator<Item = &'a SourceRef>) -> bool {
    let mut missing: Vec<_> = wanted.copied().collect();
    let mut changed = false;
    for slot in shown.iter_mut() {
        let Some(source) = *slot else { continue };
        match missing.iter().position(|other| *other == source) {
            Some(place) => drop(missing.remove(place)),
            None => {
                *slot = None;
                changed = true;
            }
        }
    }
    let free = shown.iter_mut().filter(|slot| slot.is_none());
    for (slot, source) in free.zip(missing) {
        *slot = Some(source);
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn source(id: u64, source: Source) -> SourceRef {
        SourceRef { participant: ParticipantId(id), source }
    }

    #[test]
    fn a_source_keeps_its_slot_while_it_is_wanted() {
        let [a, b, c] = [1, 2, 3].map(|id| source(id, Source::Person));
        let mut shown = vec![None, None];
        assert!(arrange(&mut shown, [a, b].iter()));
        assert_eq!(shown, [Some(a), Some(b)]);
        assert!(!arrange(&mut shown, [b, a].iter()));
        assert!(arrange(&mut shown, [c, b].iter()));
        assert_eq!(shown, [Some(c), Some(b)]);
        assert!(arrange(&mut shown, [].iter()));
        assert_eq!(shown, [None, None]);
    }

    proptest! {
        #[test]
        fn every_wanted_source_once_and_nobody_moves(
            rounds in prop::collection::vec(prop::collection::vec(0u64..12, 0..12), 1..8),
            slots in 0usize..8,
        ) {
            let mut shown = vec![None; slots];
            for round in rounds {
                let mut seen = HashSet::new();
                let wanted: Vec<_> = round.into_iter().filter(|id| seen.insert(*id)).take(slots)
                    .map(|id| source(id, Source::Person)).collect();
                let before = shown.clone();
                let changed = arrange(&mut shown, wanted.iter());
                prop_assert_eq!(changed, before != shown);
                let now: Vec<_> = shown.iter().flatten().copied().collect();
                prop_assert_eq!(now.len(), wanted.len());
                prop_assert!(wanted.iter().all(|source| now.contains(source)));
                for (old, new) in before.iter().zip(&shown) {
                    if let Some(old) = old && wanted.contains(old) {
                        prop_assert_eq!(Some(*old), *new);
                    }
                }
            }
        }
    }
}
