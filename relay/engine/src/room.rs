//! Participants who may see and hear each other.

use crate::gather::Waiting;
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
    /// The packets that go out next.
    pub batch: Vec<Waiting>,
    /// Counts the batches, and says when the first packet of this one began to wait.
    pub gathering: u32,
    pub gathering_since: Option<Time>,
    /// How many members have the batch already; 0 while packets may still be added to it.
    pub served: usize,
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
            gathering: 0,
            gathering_since: None,
            served: 0,
        }
    }

    /// The number that the next track gets.
    pub(crate) fn free_number(&self) -> u16 {
        let free = self.numbers.iter().position(Option::is_none).unwrap_or(self.numbers.len());
        // Bounded by PARTICIPANTS_PER_ROOM × TRACKS_PER_PARTICIPANT = 4096.
        free as u16
    }

    /// All have the batch: the next one begins.
    pub(crate) fn begin_batch(&mut self) {
        self.batch.clear();
        self.gathering = self.gathering.wrapping_add(1);
        self.gathering_since = None;
        self.served = 0;
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
