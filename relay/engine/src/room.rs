//! Participants who may see and hear each other.

use crate::packet::Packet;
use crate::participant::Participant;
use crate::slab::Key;
use crate::speakers::Speakers;
use crate::time::Time;
use crate::track::Track;
use plausch_relay_api::RoomId;

/// One room.
#[derive(Debug)]
pub(crate) struct Room {
    pub id: RoomId,
    pub members: Vec<Key<Participant>>,
    /// The tracks of all members by their number in the room: small and dense, so that a subscriber can look up
    /// by number what it follows.
    numbers: Vec<Option<Key<Track>>>,
    pub speakers: Speakers,
    /// Not before this are speakers told again.
    pub speakers_due: Time,
    /// The packets of the present batch: place in the batch, and description.
    pub batch: Vec<(u32, Packet)>,
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        Self {
            id,
            members: Vec::new(),
            numbers: Vec::new(),
            speakers: Speakers::default(),
            speakers_due: Time(0),
            batch: Vec::new(),
        }
    }

    /// The number that the next track gets.
    pub(crate) fn free_number(&self) -> u16 {
        let free = self.numbers.iter().position(Option::is_none).unwrap_or(self.numbers.len());
        // Bounded by PARTICIPANTS_PER_ROOM × TRACKS_PER_PARTICIPANT = 2000.
        free as u16
    }

    /// Gives a number to a track, or takes it back.
    pub(crate) fn set_number(&mut self, number: u16, track: Option<Key<Track>>) {
        let number = usize::from(number);
        if number >= self.numbers.len() {
            self.numbers.resize(number + 1, None);
        }
        if let Some(place) = self.numbers.get_mut(number) {
            *place = track;
        }
        while self.numbers.last() == Some(&None) {
            self.numbers.pop();
        }
    }
}
