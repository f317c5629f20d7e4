//! Rooms on two relays.

use super::world::{World, fresh, locations, offer, relay_id};
use super::*;
use plausch_relay_api::ShardId;

/// Two rooms with two people each, one on each relay.
fn two_rooms() -> World {
    let mut world = World::new();
    world.join(1, "a", 3, 1).unwrap();
    world.join(2, "a", 3, 1).unwrap();
    world.locations = locations(&["east", "west"]);
    // The other shard of east is as empty, and comes first.
    world.join(9, "filler", 3, 1).unwrap();
    world.join(3, "b", 3, 1).unwrap();
    world.join(4, "b", 3, 1).unwrap();
    world.leave(9);
    world.check();
    assert_eq!((world.relay.participants.len(), world.west.participants.len()), (2, 2));
    world
}

fn lost(world: &World, id: u64) -> usize {
    world.clients[&ParticipantId(id)].media_lost
}

#[test]
fn one_relays_loss_says_nothing_of_the_others_people() {
    let mut world = two_rooms();
    let before = world.relay.participants.clone();
    // It came back empty.
    world.west.participants.clear();
    world.reconcile_west();
    world.check();
    assert_eq!([1, 2, 3, 4].map(|id| lost(&world, id)), [0, 0, 1, 1]);
    assert_eq!(world.relay.participants, before);
    for id in [3, 4] {
        world.join(id, "b", 3, 2).unwrap();
    }
    world.check();
    assert_eq!(world.west.participants.len(), 2, "the room stays where it is");
    world.act(|rooms, _, out| rooms.shard_restarted(&Location { relay: relay_id("west"), shard: ShardId(0) }, out));
    assert_eq!([1, 2, 3, 4].map(|id| lost(&world, id)), [0, 0, 1, 1], "clients that joined again count from 0");
}

#[test]
fn the_people_of_a_lost_relay_go_on_at_another_one_and_are_removed_where_they_were() {
    let mut world = two_rooms();
    let old = world.west.participants.clone();
    world.locations = locations(&["east"]);
    world.act(|rooms, _, out| rooms.relay_lost(&relay_id("west"), out));
    assert_eq!([1, 2, 3, 4].map(|id| lost(&world, id)), [0, 0, 1, 1]);
    // What it still says is not heard where its rooms are elsewhere; and they are with the first offer.
    world.west.participants.clear();
    world.join(3, "b", 3, 2).unwrap();
    assert_eq!(world.rooms.relay_of(ParticipantId(4)), Some(&relay_id("east")));
    world.join(4, "b", 3, 2).unwrap();
    world.check();
    assert_eq!(world.relay.participants.len(), 4);
    // It was not dead after all.
    world.west.participants = old;
    world.locations = locations(&["east", "west"]);
    world.reconcile_west();
    world.check();
    assert_eq!(world.west.participants.len(), 0, "they are removed there");
    assert_eq!([1, 2, 3, 4].map(|id| lost(&world, id)), [0, 0, 0, 0], "and nobody notices");
}

#[test]
fn while_a_relay_is_away_its_rooms_wait_and_others_do_not() {
    let mut world = two_rooms();
    world.locations = locations(&["east"]);
    let key = |room| RoomKey::normalise(room).unwrap();
    assert_eq!(world.rooms.location_of(Some(&key("b")), &world.locations), None);
    assert_eq!(world.rooms.location_of(Some(&key("a")), &world.locations).unwrap().relay, relay_id("east"));
    assert!(world.rooms.location_of(Some(&key("new")), &world.locations).is_some());
    let planned = world.rooms.plan(ParticipantId(3), 2, &offer(3, "abcd"), fresh(77, 3), &world.locations);
    assert_eq!(planned, Err(OfferError::Nowhere));
    // Whose socket is lost meanwhile stays: nobody can say whether their media flows, but of the others.
    world.west.participants.get_mut(&ParticipantId(4)).unwrap().connected = false;
    world.detach(4);
    world.detach(2);
    world.now += Duration::from_secs(31);
    let linked = |relay: &RelayId| *relay == relay_id("east");
    world.act(|rooms, now, out| rooms.tick(now, linked, out));
    assert_eq!(world.rooms.participants(), 3, "without a link and a socket nobody stays");
    world.locations = locations(&["east", "west"]);
    world.reconcile_west();
    world.check();
    assert_eq!([1, 3].map(|id| lost(&world, id)), [0, 0]);
}

#[test]
fn what_a_relay_did_for_a_room_that_has_moved_is_undone() {
    let mut world = two_rooms();
    world.act(|rooms, _, out| rooms.relay_lost(&relay_id("west"), out));
    let session = world.clients[&ParticipantId(3)].session;
    let remote = offer(3, "abcd");
    let planned = world.rooms.plan(ParticipantId(3), 2, &remote, fresh(77, 3), &world.locations).unwrap();
    assert_eq!(planned.relay, relay_id("west"), "it is back in time");
    // And it is lost again before it has answered.
    world.locations = locations(&["east"]);
    world.join(4, "b", 3, 2).unwrap();
    let mut out = Outbox::default();
    assert_eq!(world.rooms.commit(planned, session, &mut out), Err(OfferError::Nowhere));
    let participant = ParticipantId(3);
    assert_eq!(out.commands, [(relay_id("west"), Command::RemoveParticipant { participant })]);
}

#[test]
fn a_room_goes_from_a_draining_relay_only_when_nobodys_media_is_there() {
    let mut world = two_rooms();
    let of = |name: &'static str| {
        [0, 1].map(|shard| (Location { relay: relay_id(name), shard: ShardId(shard) }, name != "west"))
    };
    world.locations = Locations::new(["east", "west"].into_iter().flat_map(of));
    world.join(5, "b", 3, 1).unwrap();
    world.check();
    assert_eq!(world.west.participants.len(), 3);
    world.act(|rooms, _, out| rooms.relay_lost(&relay_id("west"), out));
    world.west.participants.clear();
    for id in [3, 4, 5] {
        world.join(id, "b", 3, 2).unwrap();
    }
    world.check();
    assert_eq!(world.west.participants.len(), 0);
    // Where all drain, a room goes on where it is, and none begins.
    world.locations = Locations::new([
        (Location { relay: relay_id("east"), shard: ShardId(0) }, false),
        (Location { relay: relay_id("east"), shard: ShardId(1) }, false),
    ]);
    world.join(6, "b", 3, 1).unwrap();
    assert_eq!(world.join(7, "new", 3, 1), Err(EnterError::NoShard));
}

#[test]
fn a_restarted_control_finds_the_rooms_of_all_relays() {
    let mut world = two_rooms();
    let before = (world.relay.participants.clone(), world.west.participants.clone());
    world.restart_control();
    world.check();
    assert_eq!((world.rooms.rooms(), world.rooms.participants()), (2, 4));
    for (id, room) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        world.resume(id, room);
    }
    world.check();
    assert_eq!([1, 2, 3, 4].map(|id| lost(&world, id)), [0; 4]);
    let assignments = |known: &BTreeMap<ParticipantId, ParticipantSnapshot>| -> Vec<_> {
        known.values().map(|known| known.assignments.clone()).collect()
    };
    assert_eq!(assignments(&world.west.participants), assignments(&before.1));
    assert_eq!(assignments(&world.relay.participants), assignments(&before.0));
}
