//! All rooms, by name. Pure: ids and the time are arguments, and what follows from a change goes to an [`Outbox`].

pub mod events;
mod lobby;
pub mod member;
pub mod names;
mod offers;
mod reconcile;
pub mod room;
mod slots;
mod standalone;
#[cfg(test)]
mod tests;

pub use lobby::LobbyError;
pub use offers::{Fresh, OfferError, Planned};
pub use reconcile::Note;

use crate::config::Limits;
use crate::relays::placement::{Location, Locations, RelayId};
use events::{FilledSlot, Knock, Outbox, Person, RoomEvent};
use member::{Capabilities, Flow, Media, Member, Presence, Role, State};
use names::{RoomKey, RoomTitle, distinct_name, is_numbered};
use plausch_relay_api::limits::{DETACH_GRACE_MS, DETACH_TIMEOUT_MS};
use plausch_relay_api::{Command, DisconnectReason, ParticipantId, RoomId, SpeakerLevel};
use room::Room;
use std::collections::{BTreeSet, HashMap, btree_map};
use std::time::Duration;

/// Rooms and who is in them.
#[derive(Debug)]
pub struct Rooms {
    limits: Limits,
    /// Random for every start of control: tells its own notes from those of the control before it.
    control: u64,
    rooms: HashMap<RoomId, Room>,
    by_key: HashMap<RoomKey, RoomId>,
    by_participant: HashMap<ParticipantId, RoomId>,
    /// Participants without a session: the only ones that time does something to.
    detached: BTreeSet<ParticipantId>,
}

/// Somebody who wants to be in a room.
#[derive(Debug)]
pub struct Entry {
    pub participant: ParticipantId,
    pub session: u64,
    pub key: RoomKey,
    pub title: String,
    pub name: String,
    pub presence: Presence,
    pub role: Role,
    pub capabilities: Capabilities,
    pub media: Media,
    /// Of the room, if nobody is in it yet.
    pub new_room: RoomId,
}

/// Why there is no place for somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnterError {
    #[error("the room is full")]
    RoomFull,
    #[error("the server has no place for more rooms or participants")]
    ServerFull,
    #[error("no shard of a relay is there to serve the room")]
    NoShard,
    #[error("the participant is in another room")]
    OtherRoom,
}

/// What a member is told when it comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overview {
    /// The room's name as it was first typed.
    pub title: RoomTitle,
    pub role: Role,
    pub others: Vec<Person>,
    pub slots: Vec<FilledSlot>,
    /// Who waits in the lobby; for moderators.
    pub knocks: Vec<Knock>,
}

impl Rooms {
    pub fn new(limits: Limits, control: u64) -> Self {
        Self {
            limits,
            control,
            rooms: HashMap::new(),
            by_key: HashMap::new(),
            by_participant: HashMap::new(),
            detached: BTreeSet::new(),
        }
    }

    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    pub fn participants(&self) -> usize {
        self.by_participant.len()
    }

    /// The session that speaks for a participant.
    pub fn session(&self, participant: ParticipantId) -> Option<u64> {
        self.member(participant)?.session()
    }

    /// Whether somebody is in the room of this name, or about to be.
    pub fn exists(&self, key: &RoomKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// The participant is in this room already, whether others know of it or not; who waits is not in it.
    pub fn knows(&self, key: &RoomKey, participant: ParticipantId) -> bool {
        self.room_of(participant).is_some_and(|room| room.key == *key)
            && self.member(participant).is_some_and(|member| !member.is_waiting())
    }

    /// Gives a place in the room, or the place that the participant already has. Others learn of somebody new only
    /// by [`Rooms::commit`] or [`Rooms::show`].
    pub fn enter(&mut self, entry: Entry, locations: &Locations, out: &mut Outbox) -> Result<(), EnterError> {
        let state = State::Joining { session: entry.session };
        self.take_place(entry, state, locations, out)
    }

    /// Gives a place in the lobby of the room; moderators are told. Who is in the room already just comes back.
    pub fn knock(&mut self, entry: Entry, locations: &Locations, out: &mut Outbox) -> Result<(), EnterError> {
        let participant = entry.participant;
        let state = State::Waiting { session: entry.session };
        self.take_place(entry, state, locations, out)?;
        if let Some(member) = self.member(participant).filter(|member| member.is_waiting()) {
            let knock = Knock { id: participant, name: member.name.clone().into() };
            self.tell_moderators(participant, RoomEvent::Knocked(knock), out);
        }
        Ok(())
    }

    fn take_place(
        &mut self,
        entry: Entry,
        state: State,
        locations: &Locations,
        out: &mut Outbox,
    ) -> Result<(), EnterError> {
        let id = match self.by_key.get(&entry.key) {
            Some(id) => *id,
            None if self.rooms.len() >= self.limits.rooms => return Err(EnterError::ServerFull),
            None => {
                let location = self.place(None, locations).ok_or(EnterError::NoShard)?;
                self.check_place(&entry, None)?;
                self.insert_room(Room::new(entry.new_room, entry.key.clone(), entry.title.clone(), location));
                entry.new_room
            }
        };
        let known = self.by_participant.get(&entry.participant).copied();
        if known.is_some_and(|room| room != id) {
            // Ids are random and tokens name the room, so this is a forgery that cannot happen.
            return Err(EnterError::OtherRoom);
        }
        if known.is_none() {
            self.check_place(&entry, self.rooms.get(&id))?;
        }
        let Some(room) = self.rooms.get_mut(&id) else { return Err(EnterError::NoShard) };
        let shown = room.members.get(&entry.participant).map(|member| member.name.as_str());
        let name = match shown.filter(|shown| is_numbered(shown, &entry.name)) {
            // Who comes back stays "Anna 2", though the other Anna may have left.
            Some(shown) => shown.to_owned(),
            None => {
                let others = room.members.iter().filter(|(id, _)| **id != entry.participant);
                distinct_name(&entry.name, others.map(|(_, member)| member.name.as_str()))
            }
        };
        let joined = room.next_event();
        let mut waited = false;
        let member = match room.members.entry(entry.participant) {
            btree_map::Entry::Occupied(there) => {
                let member = there.into_mut();
                waited = member.is_waiting();
                member.take_over(entry.session);
                if let (State::Waiting { .. }, State::Joining { .. }) = (&member.state, &state) {
                    // Admitted by the door this time.
                    member.state = state;
                }
                member
            }
            btree_map::Entry::Vacant(place) => place.insert(Member {
                name: name.clone(),
                presence: Presence::default(),
                role: entry.role,
                capabilities: Capabilities::default(),
                media: Media::default(),
                state,
                joined,
                spoke: 0,
                shared: 0,
            }),
        };
        let changed = member.name != name || member.media != entry.media || member.role < entry.role;
        if entry.media.screen && !member.media.screen {
            member.shared = joined;
        }
        // Who was made a moderator stays one, whatever the door says when they come back.
        member.role = member.role.max(entry.role);
        member.name = name;
        member.presence = entry.presence;
        member.capabilities = entry.capabilities;
        member.media = entry.media;
        let visible = member.is_visible();
        let admitted = waited && !member.is_waiting();
        self.by_participant.insert(entry.participant, id);
        self.detached.remove(&entry.participant);
        if changed && visible {
            self.changed(entry.participant, out);
        }
        if admitted {
            self.tell_moderators(entry.participant, RoomEvent::KnockEnded(entry.participant), out);
        }
        self.refresh_connected(entry.participant, out);
        Ok(())
    }

    fn check_place(&self, entry: &Entry, room: Option<&Room>) -> Result<(), EnterError> {
        if self.by_participant.contains_key(&entry.participant) {
            return Ok(());
        }
        if self.by_participant.len() >= self.limits.participants {
            return Err(EnterError::ServerFull);
        }
        if room.map_or(0, Room::members) >= self.limits.participants_per_room {
            return Err(EnterError::RoomFull);
        }
        Ok(())
    }

    /// Gives up a place whose first offer failed.
    pub fn abandon(&mut self, participant: ParticipantId, session: u64, out: &mut Outbox) {
        let ours = |member: &Member| member.session() == Some(session) && !member.is_visible();
        if self.member(participant).is_some_and(ours) {
            self.remove(participant, out);
        }
    }

    /// Lets others know of somebody who came back and has no media yet.
    pub fn show(&mut self, participant: ParticipantId, out: &mut Outbox) {
        let Some(room) = self.room_of_mut(participant) else { return };
        let Some(member) = room.members.get_mut(&participant) else { return };
        // There is no transport before the first offer.
        if member.sit_down(false) {
            self.joined(participant, out);
        }
    }

    /// Tells others of somebody new, and gives everybody slots.
    fn joined(&mut self, participant: ParticipantId, out: &mut Outbox) {
        let Some(room) = self.room_of_mut(participant) else { return };
        if let Some(description) = room.describe(participant) {
            room.tell_others(participant, RoomEvent::Joined(description), out);
        }
        room.rearrange(out);
    }

    /// What a member is told when it comes in; `None` for somebody who is in no room.
    pub fn overview(&self, participant: ParticipantId) -> Option<Overview> {
        let room = self.room_of(participant)?;
        Some(Overview {
            title: room.title.clone().into(),
            role: room.members.get(&participant)?.role,
            others: room.others(participant),
            slots: room.slots(participant),
            knocks: self.knocks(participant),
        })
    }

    /// The relay has the participant's media, as far as control knows.
    pub fn has_media(&self, participant: ParticipantId) -> bool {
        self.member(participant).is_some_and(|member| member.live().is_some())
    }

    /// What the participant sends changed.
    pub fn set_media(&mut self, participant: ParticipantId, media: Media, out: &mut Outbox) {
        let Some(room) = self.room_of_mut(participant) else { return };
        let event = room.next_event();
        let Some(member) = room.members.get_mut(&participant) else { return };
        if member.media == media {
            return;
        }
        if media.screen && !member.media.screen {
            member.shared = event;
        }
        member.media = media;
        self.changed(participant, out);
    }

    /// Tells others and the relay's note of what is new about a participant, and gives screens their slots.
    fn changed(&mut self, participant: ParticipantId, out: &mut Outbox) {
        let note = self.note(participant);
        let Some(room) = self.room_of_mut(participant) else { return };
        if let Some(description) = room.describe(participant) {
            room.tell_others(participant, RoomEvent::Changed(description), out);
        }
        if let (Some(note), true) = (note, room.members.get(&participant).is_some_and(|m| m.live().is_some())) {
            room.command(Command::SetNote { participant, note }, out);
        }
        room.rearrange(out);
    }

    /// Removes a participant; others learn of it at once.
    pub fn remove(&mut self, participant: ParticipantId, out: &mut Outbox) {
        if self.member(participant).is_some_and(Member::is_waiting) {
            self.tell_moderators(participant, RoomEvent::KnockEnded(participant), out);
        }
        let Some(id) = self.by_participant.remove(&participant) else { return };
        self.detached.remove(&participant);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(member) = room.members.remove(&participant) else { return };
        if !member.is_waiting() {
            // Also when the first command has not been answered: it may be on its way.
            room.command(Command::RemoveParticipant { participant }, out);
        }
        if room.members.is_empty() {
            self.by_key.remove(&room.key);
            self.rooms.remove(&id);
        } else if member.is_visible() {
            room.tell_others(participant, RoomEvent::Left(participant), out);
            room.rearrange(out);
        }
    }

    /// The participant's socket is gone, and the participant may come back.
    pub fn detach(&mut self, participant: ParticipantId, session: u64, now: Duration, out: &mut Outbox) {
        let Some(member) = self.member_mut(participant) else { return };
        if member.session() != Some(session) {
            return;
        }
        let before = std::mem::replace(&mut member.state, State::Joining { session });
        match before {
            State::Present { seat, .. } => {
                member.state = State::Away { since: now, seat };
                self.detached.insert(participant);
            }
            before => {
                member.state = before;
                self.remove(participant, out);
            }
        }
    }

    /// What the passing of time does: to be called about twice a second. While a relay is not linked (`linked`),
    /// nobody else can say whether somebody's media there still flows.
    pub fn tick(&mut self, now: Duration, linked: impl Fn(&RelayId) -> bool, out: &mut Outbox) {
        for participant in self.detached.clone() {
            let Some(room) = self.room_of(participant) else { continue };
            let Some(member) = room.members.get(&participant) else { continue };
            let away = now.saturating_sub(member.alone_since().unwrap_or(now));
            let media_may_flow = match member.live() {
                // Who was not connected by now never will be, and the relay's word of that is lost with a link.
                Some(transport) if linked(&room.location.relay) => transport.flow == Flow::Connected,
                // The media of WHIP and WHEP is all that there is of them: a link that is down says nothing about it.
                Some(_) => member.is_its_media(),
                None => false,
            };
            if away >= Duration::from_millis(DETACH_TIMEOUT_MS) && !media_may_flow {
                self.remove(participant, out);
            } else if member.is_its_media() {
                continue;
            } else if away >= Duration::from_millis(DETACH_GRACE_MS) {
                self.set_shown_connected(participant, false, out);
            }
        }
    }

    /// DTLS is finished.
    pub fn connected(&mut self, participant: ParticipantId, generation: u32, out: &mut Outbox) {
        let Some(transport) = self.member_mut(participant).and_then(Member::transport_mut) else { return };
        if transport.spec.generation != generation {
            return;
        }
        // Adopted in the middle of its handshake.
        if std::mem::replace(&mut transport.flow, Flow::Connected) == Flow::Lost {
            if let Some(room) = self.room_of(participant) {
                room.command_assignments(participant, out);
                room.command_viewers(participant, out);
            }
            self.refresh_connected(participant, out);
        }
    }

    /// The relay gave a transport up.
    pub fn disconnected(
        &mut self,
        participant: ParticipantId,
        generation: u32,
        reason: DisconnectReason,
        out: &mut Outbox,
    ) {
        let Some(member) = self.member(participant) else { return };
        let current = member.transport().is_some_and(|transport| transport.spec.generation == generation);
        if !current {
            return;
        }
        if member.session().is_none() {
            self.remove(participant, out);
        } else {
            // A browser that closes its side itself is about to offer a new connection, or to leave.
            let tell = reason != DisconnectReason::DtlsClosed;
            self.lose(participant, tell, out);
        }
    }

    /// All transports of the shard are gone.
    pub fn shard_restarted(&mut self, location: &Location, out: &mut Outbox) {
        let lost: Vec<_> = self.with_media(|room, _| room.location == *location).collect();
        for participant in lost {
            self.lose(participant, true, out);
        }
    }

    /// All transports of the relay are gone, and its rooms go elsewhere with the next offers.
    pub fn relay_lost(&mut self, relay: &RelayId, out: &mut Outbox) {
        let lost: Vec<_> = self.with_media(|room, _| room.location.relay == *relay).collect();
        for participant in lost {
            self.lose(participant, true, out);
        }
    }

    /// The relay of a participant's room.
    pub fn relay_of(&self, participant: ParticipantId) -> Option<&RelayId> {
        self.room_of(participant).map(|room| &room.location.relay)
    }

    /// The relay of a room.
    pub fn relay_of_room(&self, room: RoomId) -> Option<&RelayId> {
        self.rooms.get(&room).map(|room| &room.location.relay)
    }

    /// The participants whose media the relay has, as far as control knows.
    fn with_media(&self, which: impl Fn(&Room, ParticipantId) -> bool) -> impl Iterator<Item = ParticipantId> {
        let members =
            self.rooms.values().flat_map(|room| room.members.iter().map(move |(id, member)| (room, *id, member)));
        members.filter(move |(room, id, member)| member.live().is_some() && which(room, *id)).map(|(_, id, _)| id)
    }

    /// The transport of a participant is gone: the browser must offer a new one.
    fn lose(&mut self, participant: ParticipantId, tell: bool, out: &mut Outbox) {
        if self.member(participant).is_some_and(|member| member.is_its_media() && member.transport().is_some()) {
            self.remove(participant, out);
            return;
        }
        let Some(member) = self.member_mut(participant) else { return };
        let attached = member.session().is_some();
        let Some(transport) = member.transport_mut() else { return };
        if std::mem::replace(&mut transport.flow, Flow::Lost) == Flow::Lost {
            return;
        }
        if tell && attached {
            out.send(participant, RoomEvent::MediaLost);
        }
        self.refresh_connected(participant, out);
    }

    fn refresh_connected(&mut self, participant: ParticipantId, out: &mut Outbox) {
        let Some(member) = self.member(participant) else { return };
        if member.session().is_some() {
            let connected = member.live().is_some();
            self.set_shown_connected(participant, connected, out);
        }
    }

    fn set_shown_connected(&mut self, participant: ParticipantId, connected: bool, out: &mut Outbox) {
        let Some(room) = self.room_of_mut(participant) else { return };
        let Some(seat) = room.members.get_mut(&participant).and_then(Member::seat_mut) else { return };
        if seat.shown_connected == connected {
            return;
        }
        seat.shown_connected = connected;
        if let Some(description) = room.describe(participant) {
            room.tell_others(participant, RoomEvent::Changed(description), out);
        }
    }

    /// Who speaks in a room, loudest first.
    pub fn spoke(&mut self, room: RoomId, speakers: &[SpeakerLevel], out: &mut Outbox) {
        let speakers: Vec<_> = speakers.iter().map(|speaker| speaker.participant).collect();
        if let Some(room) = self.rooms.get_mut(&room) {
            room.spoke(&speakers, out);
        }
    }

    fn insert_room(&mut self, room: Room) {
        self.by_key.insert(room.key.clone(), room.id);
        self.rooms.insert(room.id, room);
    }

    /// Where the media of the room is, or would be if somebody came now. `None` while its relay is away for a moment, or
    /// none takes rooms.
    pub fn location_of(&self, key: Option<&RoomKey>, locations: &Locations) -> Option<Location> {
        self.place(key.and_then(|key| self.rooms.get(self.by_key.get(key)?)), locations)
    }

    /// A room with media stays where that is. Without, it stays where rooms may begin, and begins where fewest people are.
    fn place(&self, room: Option<&Room>, locations: &Locations) -> Option<Location> {
        let here = room.map(|room| &room.location).filter(|location| locations.contains(location));
        if room.is_some_and(Room::has_media) || here.is_some_and(|location| locations.is_open(location)) {
            return here.cloned();
        }
        let mut people: HashMap<&Location, usize> = HashMap::new();
        for room in self.rooms.values() {
            *people.entry(&room.location).or_default() += room.members();
        }
        locations.least(|location| people.get(location).copied().unwrap_or(0)).or(here).cloned()
    }

    /// Control's memory of a participant, for the relay to keep.
    fn note(&self, participant: ParticipantId) -> Option<plausch_relay_api::Note> {
        let room = self.room_of(participant)?;
        let member = room.members.get(&participant)?;
        Note::of(self.control, room, member).encode()
    }

    fn room_of(&self, participant: ParticipantId) -> Option<&Room> {
        self.rooms.get(self.by_participant.get(&participant)?)
    }

    fn room_of_mut(&mut self, participant: ParticipantId) -> Option<&mut Room> {
        self.rooms.get_mut(self.by_participant.get(&participant)?)
    }

    fn member(&self, participant: ParticipantId) -> Option<&Member> {
        self.room_of(participant)?.members.get(&participant)
    }

    fn member_mut(&mut self, participant: ParticipantId) -> Option<&mut Member> {
        self.room_of_mut(participant)?.members.get_mut(&participant)
    }
}
