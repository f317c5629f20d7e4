//! Control's commands: each says how something shall be, and nothing happens where it is so already.

use crate::access::{Access, KeyedPath};
use crate::batch::{LocalSocket, Path, TxBatch};
use crate::engine::Engine;
use crate::ice::Agent;
use crate::participant::{Keys, Participant, Transport, Uplink, belongs};
use crate::room::Room;
use crate::slab::Key;
use crate::slot::{Downlink, Slot};
use crate::spec;
use crate::stream::Stream;
use crate::target::Circumstances;
use crate::time::Time;
use crate::timers::Owner;
use crate::track::Track;
use crate::transport::keyed_srtp;
use plausch_relay_api::limits::NOTE_BYTES;
use plausch_relay_api::{
    Command, CommandError, MediaKind, ParticipantId, ParticipantSpec, RoomId, SendTrack, SlotAssignment,
    Transport as TransportSpec,
};

/// What a transport begins with.
struct Entrance {
    access: Access,
    /// The SRTP keys of a keyed participant.
    keys: Option<Keys>,
}

impl Engine {
    /// Carries out one command.
    pub(crate) fn control(&mut self, command: Command, now: Time, tx: &mut TxBatch) -> Result<(), CommandError> {
        match command {
            Command::PutParticipant(spec) => self.put(*spec, now, tx),
            Command::RemoveParticipant { participant } => {
                if let Some(&key) = self.by_id.get(&participant) {
                    self.remove(key, now);
                }
                Ok(())
            }
            Command::AssignSlots { participant, slots } => self.assign(participant, slots, now),
            Command::SetTurn(settings) => {
                if let Some(turn) = &mut self.turn {
                    turn.set(&settings);
                }
                Ok(())
            }
            Command::SetNote { participant, note } => {
                if note.reveal().len() > NOTE_BYTES {
                    return Err(CommandError::Limit("bytes of the note".to_owned()));
                }
                self.find_mut(participant)?.1.spec.note = note;
                Ok(())
            }
        }
    }

    fn find_mut(&mut self, id: ParticipantId) -> Result<(Key<Participant>, &mut Participant), CommandError> {
        let key = *self.by_id.get(&id).ok_or(CommandError::UnknownParticipant)?;
        let participant = self.participants.get_mut(key).ok_or(CommandError::UnknownParticipant)?;
        Ok((key, participant))
    }

    fn put(&mut self, spec: ParticipantSpec, now: Time, tx: &mut TxBatch) -> Result<(), CommandError> {
        if spec.shard != self.config.shard {
            return Err(CommandError::UnknownShard);
        }
        spec::check(&spec)?;
        let known = self.by_id.get(&spec.participant).copied();
        let ufrag = spec.transport.ice().map(|ice| ice.local_ufrag.as_bytes());
        if ufrag.and_then(|ufrag| self.by_ufrag.get(ufrag)).is_some_and(|&owner| Some(owner) != known) {
            return Err(CommandError::UfragTaken);
        }
        let known = known.and_then(|key| Some((key, self.participants.get(key)?)));
        match known {
            None => {
                let entrance = self.entrance(&spec.transport, None, now)?;
                self.put_new(spec, entrance, now, tx)
            }
            Some((_, old)) if old.spec.room != spec.room => Err(CommandError::Moved),
            Some((_, old)) if old.spec.generation > spec.generation => Err(CommandError::Stale),
            Some((_, old)) if old.spec == spec => Ok(()),
            Some((key, old)) if old.spec.generation == spec.generation => {
                spec::check_same_generation(&old.spec, &spec)?;
                self.change(key, spec, now)
            }
            Some((key, old)) => {
                spec::check_next_generation(&old.spec, &spec)?;
                let entrance = self.entrance(&spec.transport, Some(key), now)?;
                self.begin_generation(key, spec, entrance, now, tx);
                Ok(())
            }
        }
    }

    /// What a new transport begins with, or why it cannot be: nothing was changed yet.
    fn entrance(
        &mut self,
        transport: &TransportSpec,
        owner: Option<Key<Participant>>,
        now: Time,
    ) -> Result<Entrance, CommandError> {
        let keyed = match transport {
            TransportSpec::Browser(browser) => {
                return Ok(Entrance {
                    access: Access::Ice(Box::new(Agent::new(&browser.ice, self.random.next_u64()))),
                    keys: None,
                });
            }
            TransportSpec::Keyed { keyed } => keyed,
        };
        let Some(place) = self.config.media.iter().position(|address| *address == keyed.local) else {
            return Err(CommandError::Invalid(
                "the shard has no media address like that of the keyed transport".to_owned(),
            ));
        };
        let path = Path { local: LocalSocket(place as u16), remote: keyed.remote };
        let holder = self.peers.find(path).filter(|&holder| Some(holder) != owner);
        if holder.and_then(|holder| self.participants.get(holder)).is_some_and(|holder| holder.access.agent().is_none())
        {
            return Err(CommandError::Invalid("another keyed participant has these addresses".to_owned()));
        }
        let keys = keyed_srtp(&keyed.keys).map_err(|error| CommandError::Invalid(error.to_string()))?;
        Ok(Entrance { access: Access::Keyed(KeyedPath::new(path, now)), keys: Some(keys) })
    }

    /// The transport has begun: checks find a browser's, and a keyed participant is there at once.
    fn enter_transport(&mut self, key: Key<Participant>, keys: Option<Keys>, now: Time, tx: &mut TxBatch) {
        let Some(participant) = self.participants.get(key) else { return };
        if let Some(agent) = participant.access.agent() {
            for ufrag in agent.ufrags() {
                self.by_ufrag.insert(ufrag.into(), key);
            }
        }
        if let Some(keys) = keys {
            self.enter_keyed(key, keys, now, tx);
        }
    }

    fn put_new(
        &mut self,
        spec: ParticipantSpec,
        entrance: Entrance,
        now: Time,
        tx: &mut TxBatch,
    ) -> Result<(), CommandError> {
        if self.participants.len() >= self.config.max_participants {
            return Err(CommandError::Limit("participants of a shard".to_owned()));
        }
        let room_id = spec.room;
        let room = self.by_room.get(&room_id).copied();
        let members = room.and_then(|room| self.rooms.get(room)).map_or(0, |room| room.members.len());
        if members >= self.config.max_participants_per_room {
            return Err(CommandError::Limit("participants of a room".to_owned()));
        }
        let room = room.unwrap_or_else(|| self.open_room(room_id));
        let id = spec.participant;
        let sends = spec.sends.clone();
        let Entrance { access, keys } = entrance;
        let key = self.participants.insert(Participant::new(spec, access, room, self.random.next_u32(), now));
        self.by_id.insert(id, key);
        if let Some(room) = self.rooms.get_mut(room) {
            room.members.push(key);
        }
        self.counters.participants += 1;
        self.enter_transport(key, keys, now, tx);
        self.set_tracks(key, room, &sends);
        self.follow(key, now);
        self.follow_all(room, id, now);
        self.touch(key);
        Ok(())
    }

    fn open_room(&mut self, id: RoomId) -> Key<Room> {
        let key = self.rooms.insert(Room::new(id));
        self.by_room.insert(id, key);
        self.counters.rooms += 1;
        key
    }

    /// The same PeerConnection: an ICE restart, more tracks or slots, another note.
    fn change(&mut self, key: Key<Participant>, spec: ParticipantSpec, now: Time) -> Result<(), CommandError> {
        let Some(participant) = self.participants.get_mut(key) else { return Ok(()) };
        let over = participant.is_over();
        if let (Some(before), Some(ice), Some(agent)) =
            (participant.spec.transport.ice(), spec.transport.ice(), participant.access.agent_mut())
            && before.local_ufrag != ice.local_ufrag
            && !over
        {
            if agent.key(ice.local_ufrag.as_bytes()).is_some() {
                return Err(CommandError::Invalid("an ICE restart needs a new user fragment".to_owned()));
            }
            if let Some(ended) = agent.restart(ice) {
                self.by_ufrag.remove(&ended);
            }
            self.by_ufrag.insert(ice.local_ufrag.as_bytes().into(), key);
        }
        if participant.spec.extensions != spec.extensions {
            participant.downlink.slots.iter_mut().flat_map(Slot::streams_mut).for_each(Stream::forget_past);
        }
        participant.downlink.change(&spec.slots);
        let (room, id, sends) = (participant.room, spec.participant, spec.sends.clone());
        participant.spec = spec;
        self.set_tracks(key, room, &sends);
        self.follow(key, now);
        self.follow_all(room, id, now);
        self.touch(key);
        Ok(())
    }

    /// A new PeerConnection of a known participant: everything but the assignments begins anew.
    fn begin_generation(
        &mut self,
        key: Key<Participant>,
        spec: ParticipantSpec,
        entrance: Entrance,
        now: Time,
        tx: &mut TxBatch,
    ) {
        self.close_transport(key);
        let local_ssrc = self.random.next_u32();
        let Some(room) = self.participants.get(key).map(|participant| participant.room) else { return };
        self.set_tracks(key, room, &[]);
        let Some(participant) = self.participants.get_mut(key) else { return };
        participant.access = entrance.access;
        participant.transport = Transport::new(now);
        participant.uplink = Uplink::new(local_ssrc);
        let before = std::mem::replace(&mut participant.downlink, Downlink::new(&spec.slots, now));
        self.counters.subscriptions -= before.counted;
        let (id, sends) = (spec.participant, spec.sends.clone());
        participant.spec = spec;
        self.enter_transport(key, entrance.keys, now, tx);
        self.set_tracks(key, room, &sends);
        self.follow(key, now);
        self.follow_all(room, id, now);
        self.touch(key);
    }

    fn remove(&mut self, key: Key<Participant>, now: Time) {
        self.close_transport(key);
        let Some(room_key) = self.participants.get(key).map(|participant| participant.room) else { return };
        self.set_tracks(key, room_key, &[]);
        self.timers.set(Owner::participant(key), Time::NEVER);
        let Some(participant) = self.participants.remove(key) else { return };
        let id = participant.spec.participant;
        self.by_id.remove(&id);
        self.counters.participants -= 1;
        self.counters.subscriptions -= participant.downlink.counted;
        let Some(room) = self.rooms.get_mut(room_key) else { return };
        room.members.retain(|&member| member != key);
        if room.members.is_empty() {
            self.by_room.remove(&room.id);
            self.timers.set(Owner::room(room_key), Time::NEVER);
            self.rooms.remove(room_key);
            self.counters.rooms -= 1;
        } else {
            self.follow_all(room_key, id, now);
        }
    }

    /// Makes the participant's tracks those of `sends`.
    fn set_tracks(&mut self, key: Key<Participant>, room_key: Key<Room>, sends: &[SendTrack]) {
        use plausch_relay_api::TrackKind::{Camera, Microphone, Screen, ScreenAudio};
        let Some(room) = self.rooms.get_mut(room_key) else { return };
        let Some(participant) = self.participants.get_mut(key) else { return };
        for kind in [Microphone, Camera, Screen, ScreenAudio] {
            let sent = sends.iter().any(|send| send.kind == kind);
            match (participant.uplink.track(kind), sent) {
                (None, true) => {
                    let number = room.free_number();
                    let track = self.tracks.insert(Track::new(key, participant.spec.participant, kind, number));
                    room.set_number(number, Some(track));
                    participant.uplink.set_track(kind, Some(track));
                    self.counters.tracks += 1;
                }
                (Some(track), false) => {
                    participant.uplink.set_track(kind, None);
                    for binding in &mut participant.uplink.bindings {
                        binding.place = binding.place.filter(|&(bound, _)| bound != track);
                    }
                    if let Some(track) = self.tracks.remove(track) {
                        room.set_number(track.number, None);
                    }
                    self.counters.tracks -= 1;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }

    fn assign(&mut self, id: ParticipantId, slots: Vec<SlotAssignment>, now: Time) -> Result<(), CommandError> {
        spec::check_assignments(&slots)?;
        let (key, participant) = self.find_mut(id)?;
        participant.assignments = slots;
        self.follow(key, now);
        Ok(())
    }

    /// All members of the room who are assigned a source of `publisher` look it up again.
    fn follow_all(&mut self, room: Key<Room>, publisher: ParticipantId, now: Time) {
        let mut next = 0;
        while let Some(&member) = self.rooms.get(room).and_then(|room| room.members.get(next)) {
            next += 1;
            let concerned = self.participants.get(member).is_some_and(|member| {
                member.assignments.iter().any(|assignment| assignment.source.participant == publisher)
            });
            if concerned {
                self.follow(member, now);
            }
        }
    }

    /// Makes the participant's slots follow the tracks of the sources that they are assigned, as far as these are there.
    fn follow(&mut self, key: Key<Participant>, now: Time) {
        let Some(participant) = self.participants.get(key) else { return };
        let room = participant.room;
        let sources: Vec<_> = participant
            .assignments
            .iter()
            .map(|assignment| {
                let source = self.by_id.get(&assignment.source.participant).and_then(|&key| self.participants.get(key));
                // Only those in the same room can be heard.
                let source = source.filter(|source| source.room == room);
                (*assignment, source.map_or((None, None), |source| source.uplink.source(assignment.source.source)))
            })
            .collect();
        let Some(participant) = self.participants.get_mut(key) else { return };
        let downlink = &mut participant.downlink;
        let mut new_video = false;
        for slot in &mut downlink.slots {
            let found = sources.iter().find(|(assignment, _)| assignment.slot == slot.spec.slot);
            slot.assignment = found.map(|&(assignment, _)| assignment);
            let (audio, video) = found.map_or((None, None), |&(_, tracks)| tracks);
            let (audio, video) = (audio.filter(|_| slot.audio.is_some()), video.filter(|_| slot.video.is_some()));
            new_video |= video.is_some() && slot.video_track != video;
            slot.audio_track = audio;
            slot.video_track = video;
            for (stream, track) in [(&mut slot.audio, audio), (&mut slot.video, video)] {
                if let Some(stream) = stream.as_mut().filter(|stream| !belongs(stream.following(), track)) {
                    stream.release();
                }
            }
        }
        let tracks = &self.tracks;
        let numbers: Vec<_> = (0..)
            .zip(&downlink.slots)
            .flat_map(|(place, slot)| [slot.audio_track, slot.video_track].map(|track| (place, track)))
            .filter_map(|(place, track)| Some((tracks.get(track?)?.number, place)))
            .collect();
        downlink.set_follows(numbers.into_iter());
        self.counters.subscriptions -= downlink.counted;
        downlink.counted = downlink.subscriptions();
        self.counters.subscriptions += downlink.counted;
        if new_video {
            self.request_key_frames(key, false, now);
        }
    }

    /// Asks for key frames of everything that the participant waits for, where both sides are connected. `again`:
    /// only of what may still come; a camera that is off is not asked every second.
    pub(crate) fn request_key_frames(&mut self, key: Key<Participant>, again: bool, now: Time) {
        let Some(participant) = self.participants.get(key).filter(|participant| participant.is_connected()) else {
            return;
        };
        let around = Circumstances { overload: &self.overload, member: key.index(), now };
        for slot in &participant.downlink.slots {
            if let Some(track) = slot.video_track.filter(|_| slot.following(MediaKind::Video).is_none())
                && let Some(track) = self.tracks.get_mut(track)
                && let Some(layer) = slot.layer_to_begin(track, again, around)
                && track.want_key_frame(layer)
            {
                self.awaited.push(track.owner);
            }
        }
        while let Some(owner) = self.awaited.pop() {
            self.touch(owner);
        }
    }
}
