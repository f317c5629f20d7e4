//! When whose turn is: a heap with one place for each owner, so that moving a deadline leaves nothing behind.

use crate::participant::Participant;
use crate::room::Room;
use crate::slab::Key;
use crate::time::Time;
use crate::turn::{Allocation, Connection, Reservation};

/// Whose deadline it is, by dense index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Participant(usize),
    Room(usize),
    Allocation(usize),
    Reservation(usize),
    Connection(usize),
}

impl Owner {
    pub(crate) fn participant(key: Key<Participant>) -> Self {
        Self::Participant(key.index())
    }

    pub(crate) fn room(key: Key<Room>) -> Self {
        Self::Room(key.index())
    }

    pub(crate) fn allocation(key: Key<Allocation>) -> Self {
        Self::Allocation(key.index())
    }

    pub(crate) fn reservation(key: Key<Reservation>) -> Self {
        Self::Reservation(key.index())
    }

    pub(crate) fn connection(key: Key<Connection>) -> Self {
        Self::Connection(key.index())
    }

    fn number(self) -> usize {
        match self {
            Self::Participant(index) => index * 5,
            Self::Room(index) => index * 5 + 1,
            Self::Allocation(index) => index * 5 + 2,
            Self::Reservation(index) => index * 5 + 3,
            Self::Connection(index) => index * 5 + 4,
        }
    }

    fn from_number(number: usize) -> Self {
        let index = number / 5;
        match number % 5 {
            0 => Self::Participant(index),
            1 => Self::Room(index),
            2 => Self::Allocation(index),
            3 => Self::Reservation(index),
            _ => Self::Connection(index),
        }
    }
}

const ABSENT: u32 = u32::MAX;

/// A binary heap that knows where everybody is.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The earliest first.
    heap: Vec<(Time, u32)>,
    /// Owner number → place in the heap, or `ABSENT`.
    places: Vec<u32>,
}

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Time {
        self.heap.first().map_or(Time::NEVER, |&(at, _)| at)
    }

    /// Takes one owner whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Owner> {
        let &(at, number) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.remove_at(0);
        Some(Owner::from_number(number as usize))
    }

    /// Sets the owner's only deadline; `Time::NEVER` takes it away.
    pub(crate) fn set(&mut self, owner: Owner, at: Time) {
        let number = owner.number();
        if number >= self.places.len() {
            if at == Time::NEVER {
                return;
            }
            self.places.resize(number + 1, ABSENT);
        }
        let place = self.place(number);
        match (place, at) {
            (None, Time::NEVER) => {}
            (None, at) => {
                self.heap.push((at, number as u32));
                self.move_to(self.heap.len() - 1, (at, number as u32));
                self.sift_up(self.heap.len() - 1);
            }
            (Some(place), Time::NEVER) => self.remove_at(place),
            (Some(place), at) => {
                self.move_to(place, (at, number as u32));
                let place = self.sift_up(place);
                self.sift_down(place);
            }
        }
    }

    /// Like [`Self::set`], but only where that is earlier.
    pub(crate) fn set_earlier(&mut self, owner: Owner, at: Time) {
        let current = self.place(owner.number()).and_then(|place| self.heap.get(place));
        if current.is_none_or(|&(current, _)| at < current) {
            self.set(owner, at);
        }
    }

    fn place(&self, number: usize) -> Option<usize> {
        self.places.get(number).filter(|&&place| place != ABSENT).map(|&place| place as usize)
    }

    fn remove_at(&mut self, place: usize) {
        let Some(last) = self.heap.pop() else { return };
        if let Some(&(_, number)) = self.heap.get(place) {
            self.forget(number);
            self.move_to(place, last);
            let place = self.sift_up(place);
            self.sift_down(place);
        } else {
            self.forget(last.1);
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(place) = self.places.get_mut(number as usize) {
            *place = ABSENT;
        }
    }

    fn move_to(&mut self, place: usize, entry: (Time, u32)) {
        if let Some(slot) = self.heap.get_mut(place) {
            *slot = entry;
        }
        if let Some(slot) = self.places.get_mut(entry.1 as usize) {
            *slot = place as u32;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if let (Some(&at_a), Some(&at_b)) = (self.heap.get(a), self.heap.get(b)) {
            self.move_to(a, at_b);
            self.move_to(b, at_a);
        }
    }

    fn time(&self, place: usize) -> Time {
        self.heap.get(place).map_or(Time::NEVER, |&(at, _)| at)
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.time(parent) <= self.time(place) {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let left = place * 2 + 1;
            let child = if self.time(left + 1) < self.time(left) { left + 1 } else { left };
            if child >= self.heap.len() || self.time(place) <= self.time(child) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_map_searched_for_the_least(steps in prop::collection::vec((0usize..20, 0u64..50, 0u8..4), 0..300)) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for (index, at, action) in steps {
                let owner = Owner::from_number(index);
                match action {
                    0 => {
                        timers.set(owner, Time(at));
                        model.insert(owner.number(), at);
                    }
                    1 => {
                        timers.set(owner, Time::NEVER);
                        model.remove(&owner.number());
                    }
                    2 => {
                        timers.set_earlier(owner, Time(at));
                        let entry = model.entry(owner.number()).or_insert(at);
                        *entry = at.min(*entry);
                    }
                    _ => {
                        let due = timers.pop_due(Time(at));
                        let least = model.values().min().copied().filter(|&least| least <= at);
                        prop_assert_eq!(due.is_some(), least.is_some());
                        if let Some(due) = due {
                            prop_assert_eq!(model.remove(&due.number()), least);
                        }
                    }
                }
                let least = model.values().min().map_or(Time::NEVER, |&at| Time(at));
                prop_assert_eq!(timers.next(), least);
            }
        }
    }
}
