//! Who is seen and heard in which slot of whom.

use super::events::{FilledSlot, Outbox, RoomEvent};
use super::member::{Member, Presence};
use super::room::Room;
use plausch_relay_api::{Command, ParticipantId, SlotAssignment, SlotId, Source, SourceRef};

impl Room {
    /// What is in the slots of a member.
    pub(crate) fn slots(&self, participant: ParticipantId) -> Vec<FilledSlot> {
        let shown = self.members.get(&participant).map(Member::shown).unwrap_or_default();
        filled(shown).map(|(slot, source)| FilledSlot { slot, source }).collect()
    }

    /// The slots of a member as the relay is told them: only sources whose media the relay has.
    pub(crate) fn assignments(&self, participant: ParticipantId) -> Vec<SlotAssignment> {
        let Some(member) = self.members.get(&participant) else { return Vec::new() };
        let persons = filled(member.shown()).filter(|(_, source)| source.source == Source::Person).count();
        filled(member.shown())
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
            self.command(Command::AssignSlots { participant, slots }, out);
        }
    }

    /// Sends everybody who shows `participant` their assignments again: its media is new at the relay.
    pub(crate) fn command_viewers(&self, participant: ParticipantId, out: &mut Outbox) {
        for (viewer, member) in &self.members {
            if member.shown().iter().flatten().any(|source| source.participant == participant) {
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
            let mut shown = member.shown().to_vec();
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
            if let Some(seat) = self.members.get_mut(&viewer).and_then(Member::seat_mut) {
                seat.shown = shown;
                changed.push(viewer);
            }
        }
        for viewer in changed {
            self.command_assignments(viewer, out);
            if self.members.get(&viewer).is_some_and(Member::is_attached) {
                out.send(viewer, RoomEvent::Slots(self.slots(viewer)));
            }
        }
    }

    /// All sources, most wanted first: screens, then who spoke last, then who has been here longest.
    fn ranking(&self) -> Vec<SourceRef> {
        let watches = |member: &Member| matches!(member.presence, Presence::Viewer { .. });
        let visible = || self.members.iter().filter(|(_, member)| member.is_visible() && !watches(member));
        let mut screens: Vec<_> = visible().filter(|(_, member)| member.shares_screen()).collect();
        screens.sort_by_key(|(_, member)| member.shared);
        let mut persons: Vec<_> = visible().collect();
        persons.sort_by_key(|(_, member)| (std::cmp::Reverse(member.spoke), member.joined));
        let source = |source| move |(id, _): (&ParticipantId, &Member)| SourceRef { participant: *id, source };
        screens.into_iter().map(source(Source::Screen)).chain(persons.into_iter().map(source(Source::Person))).collect()
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
