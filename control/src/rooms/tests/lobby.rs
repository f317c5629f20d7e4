//! Who waits sees nobody, is seen by moderators, and comes in by their word alone.

use super::world::{Client, World, locations};
use super::*;

impl World {
    fn entry(&mut self, id: u64, role: Role) -> Entry {
        self.sessions += 1;
        Entry {
            participant: ParticipantId(id),
            session: self.sessions,
            key: RoomKey::normalise("r").unwrap(),
            title: "r".into(),
            name: format!("Person {id}"),
            presence: Presence::Signalling,
            role,
            capabilities: Capabilities::new(),
            media: Media::default(),
            new_room: RoomId(7000 + id),
        }
    }

    /// Somebody in the room, by their session alone.
    fn enter(&mut self, id: u64, role: Role) {
        let entry = self.entry(id, role);
        let session = entry.session;
        self.act(|rooms, _, out| {
            rooms.enter(entry, &locations(&["east"]), out).unwrap();
            rooms.show(ParticipantId(id), out);
        });
        self.welcome(ParticipantId(id), session);
    }

    fn knock(&mut self, id: u64) {
        let entry = self.entry(id, Role::Guest);
        self.clients.insert(ParticipantId(id), Client { session: entry.session, ..Client::default() });
        self.act(|rooms, _, out| rooms.knock(entry, &locations(&["east"]), out).unwrap());
    }

    fn knocks(&self, id: u64) -> Vec<u64> {
        self.clients[&ParticipantId(id)].knocks.iter().map(|knock| knock.id.0).collect()
    }
}

#[test]
fn a_moderator_admits_one_and_rejects_another() {
    let mut world = World::new();
    world.enter(1, Role::Moderator);
    world.enter(2, Role::Guest);
    world.knock(3);
    world.knock(4);
    assert_eq!(world.knocks(1), [3, 4]);
    assert_eq!(world.knocks(2), [0; 0], "only moderators are told");
    assert_eq!(world.rooms.knocks(ParticipantId(2)), []);
    assert_eq!(world.rooms.overview(ParticipantId(1)).unwrap().knocks.len(), 2);
    assert!(world.clients[&ParticipantId(1)].others.keys().all(|id| id.0 == 2), "who waits is not in the room");

    let admit = |world: &mut World, moderator, guest| {
        let mut result = Ok(());
        world.act(|rooms, _, out| result = rooms.admit(ParticipantId(moderator), ParticipantId(guest), out));
        result
    };
    assert_eq!(admit(&mut world, 2, 3), Err(LobbyError::NotModerator));
    assert_eq!(admit(&mut world, 3, 3), Err(LobbyError::NotModerator), "nobody lets themselves in");
    assert_eq!(admit(&mut world, 1, 2), Err(LobbyError::NobodyWaits));
    assert_eq!(admit(&mut world, 1, 99), Err(LobbyError::NobodyWaits));
    assert_eq!(admit(&mut world, 1, 3), Ok(()));
    assert_eq!(admit(&mut world, 1, 3), Err(LobbyError::NobodyWaits), "once");
    world.act(|rooms, _, out| rooms.reject(ParticipantId(1), ParticipantId(4), out).unwrap());
    assert_eq!(world.knocks(1), [0; 0]);
    let heard = |world: &World, id| {
        let client = &world.clients[&ParticipantId(id)];
        assert!(client.others.is_empty() && client.slots.is_empty() && client.speakers.is_empty());
        client.signs.clone()
    };
    assert_eq!(heard(&world, 3), [RoomEvent::Admitted]);
    assert_eq!(heard(&world, 4), [RoomEvent::Rejected]);
    world.clients.remove(&ParticipantId(4));
    assert_eq!(world.rooms.session(ParticipantId(4)), None);
    assert_eq!(world.rooms.participants(), 3);
    assert!(!world.clients[&ParticipantId(1)].others.contains_key(&ParticipantId(3)), "admitted is not yet joined");
    let session = world.clients[&ParticipantId(3)].session;
    world.act(|rooms, _, out| rooms.show(ParticipantId(3), out));
    world.welcome(ParticipantId(3), session);
    world.check();
    assert_eq!(world.clients[&ParticipantId(2)].others.len(), 2);
}

#[test]
fn who_waits_cannot_speak_or_be_given_media() {
    let mut world = World::new();
    world.enter(1, Role::Moderator);
    world.knock(2);
    world.act(|rooms, _, out| {
        rooms.show(ParticipantId(2), out);
        rooms.set_media(ParticipantId(2), Media { screen: true, ..Media::default() }, out);
    });
    let remote = offer(2, "abcd");
    let planned = world.rooms.plan(ParticipantId(2), 1, &remote, fresh(9, 2), &world.locations).unwrap();
    let session = world.rooms.session(ParticipantId(2)).unwrap();
    world.act(|rooms, _, out| {
        assert_eq!(rooms.commit(planned, session, out), Err(OfferError::Gone), "a seat without a moderator's word");
    });
    assert!(world.clients[&ParticipantId(1)].others.is_empty());
    assert!(world.clients[&ParticipantId(2)].others.is_empty());
    world.check();
}

#[test]
fn somebody_may_knock_before_a_moderator_is_there_and_give_up() {
    let mut world = World::new();
    world.knock(2);
    world.knock(3);
    assert_eq!(world.rooms.rooms(), 1);
    world.enter(1, Role::Moderator);
    assert_eq!(world.knocks(1), [2, 3]);
    let session = world.clients.remove(&ParticipantId(2)).unwrap().session;
    world.act(|rooms, now, out| rooms.detach(ParticipantId(2), session, now, out));
    assert_eq!(world.knocks(1), [3], "a lost socket ends a knock");
    world.leave(1);
    world.leave(3);
    assert_eq!((world.rooms.rooms(), world.rooms.participants()), (0, 0));
    assert!(world.relay.participants.is_empty());
}
