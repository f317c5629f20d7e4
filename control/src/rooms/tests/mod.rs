//! Rooms in a little world.

mod lobby;
mod notes;
mod relays;
mod world;

use super::*;
use crate::sdp::RemoteOffer;
use plausch_relay_api::{Fingerprint, ParticipantSnapshot, ParticipantSpec, Source};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use world::{World, fresh, offer, relay_id};

const PERSON: Source = Source::Person;
const SCREEN: Source = Source::Screen;

fn name(id: u64) -> ParticipantId {
    ParticipantId(id)
}

fn sharing() -> Media {
    Media { screen: true, ..Media::default() }
}

#[test]
fn people_see_each_other_and_keep_their_slots() {
    let mut world = World::new();
    world.join(1, "Probe", 3, 1).unwrap();
    world.join(2, "probe", 3, 1).unwrap();
    world.join(3, "PRO be", 3, 1).unwrap();
    world.check();
    assert_eq!(world.slots(1), [(0, name(2), PERSON), (1, name(3), PERSON)]);
    assert_eq!(world.slots(2), [(0, name(1), PERSON), (1, name(3), PERSON)]);
    world.leave(2);
    world.check();
    assert_eq!(world.slots(1), [(1, name(3), PERSON)]);
    world.join(4, "probe", 3, 1).unwrap();
    world.check();
    assert_eq!(world.slots(1), [(0, name(4), PERSON), (1, name(3), PERSON)]);
    assert_eq!(world.rooms.rooms(), 1);
    for id in [1, 3, 4] {
        world.leave(id);
    }
    assert_eq!((world.rooms.rooms(), world.rooms.participants(), world.relay.participants.len()), (0, 0, 0));
}

#[test]
fn when_slots_are_few_screens_come_first_and_then_who_spoke() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    for id in 2..=4 {
        world.join(id, "r", 8, 1).unwrap();
    }
    world.check();
    assert_eq!(world.slots(1), [(0, name(2), PERSON), (1, name(3), PERSON)]);
    let room = *world.rooms.by_participant.get(&ParticipantId(1)).unwrap();
    let level = |id| SpeakerLevel { participant: ParticipantId(id), level: 20 };
    world.act(|rooms, _, out| rooms.spoke(room, &[level(4), level(99)], out));
    world.check();
    assert_eq!(world.slots(1), [(0, name(2), PERSON), (1, name(4), PERSON)]);
    assert_eq!(world.clients[&ParticipantId(1)].speakers, [name(4)]);
    world.act(|rooms, _, out| rooms.spoke(room, &[level(3)], out));
    assert_eq!(world.slots(1), [(0, name(3), PERSON), (1, name(4), PERSON)]);
    world.act(|rooms, _, out| rooms.set_media(ParticipantId(2), sharing(), out));
    world.check();
    assert_eq!(world.slots(1), [(0, name(3), PERSON), (1, name(2), SCREEN)]);
    world.act(|rooms, _, out| rooms.set_media(ParticipantId(2), Media::default(), out));
    world.check();
    assert_eq!(world.slots(1), [(0, name(3), PERSON), (1, name(4), PERSON)]);
}

#[test]
fn limits_are_kept_and_a_refusal_leaves_nothing() {
    let mut world = World::new();
    for id in 1..=8 {
        world.join(id, "full", 1, 1).unwrap();
    }
    assert_eq!(world.join(9, "full", 1, 1), Err(EnterError::RoomFull));
    world.join(10, "b", 1, 1).unwrap();
    world.join(11, "c", 1, 1).unwrap();
    assert_eq!(world.join(12, "d", 1, 1), Err(EnterError::ServerFull), "rooms");
    world.join(13, "b", 1, 1).unwrap();
    world.join(14, "b", 1, 1).unwrap();
    assert_eq!(world.join(15, "b", 1, 1), Err(EnterError::ServerFull), "participants");
    world.check();
    assert_eq!((world.rooms.rooms(), world.rooms.participants()), (3, 12));
    let shards: HashSet<_> = world.relay.participants.values().map(|known| known.spec.shard).collect();
    assert_eq!(shards.len(), 2, "the second room goes to the other shard");
}

#[test]
fn nobody_learns_of_a_join_that_fails() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    let key = RoomKey::normalise("r").unwrap();
    let participant = ParticipantId(2);
    let entry = Entry {
        participant,
        session: 77,
        key,
        title: "r".into(),
        name: "N".into(),
        presence: Presence::Signalling,
        role: Role::Guest,
        capabilities: Capabilities::new(),
        media: Media::default(),
        new_room: RoomId(5),
    };
    let mut out = Outbox::default();
    world.rooms.enter(entry, &world.locations, &mut out).unwrap();
    world.settle(out);
    world.check();
    world.act(|rooms, _, out| rooms.abandon(participant, 77, out));
    world.check();
    assert_eq!(world.rooms.participants(), 1);
    assert!(world.clients[&ParticipantId(1)].others.is_empty());
}

#[test]
fn a_lost_socket_shows_after_a_while_and_ends_with_consent() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    world.join(2, "r", 2, 1).unwrap();
    world.detach(2);
    world.wait(1_000);
    assert!(world.clients[&ParticipantId(1)].others[&name(2)].connected);
    world.wait(1_500);
    assert!(!world.clients[&ParticipantId(1)].others[&name(2)].connected);
    world.wait(600_000);
    world.check();
    assert_eq!(world.rooms.participants(), 2, "as long as media flows");
    world.act(|rooms, _, out| rooms.disconnected(ParticipantId(2), 0, DisconnectReason::ConsentExpired, out));
    assert_eq!(world.rooms.participants(), 2, "of an older generation");
    world.act(|rooms, _, out| rooms.disconnected(ParticipantId(2), 1, DisconnectReason::ConsentExpired, out));
    world.check();
    assert!(world.clients[&ParticipantId(1)].others.is_empty());
}

#[test]
fn who_comes_back_is_the_same_person() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    world.join(2, "r", 2, 1).unwrap();
    world.detach(2);
    world.wait(5_000);
    world.resume(2, "r");
    world.check();
    assert!(world.clients[&ParticipantId(1)].others[&name(2)].connected);
    assert!(world.rooms.has_media(ParticipantId(2)));
    // The old socket, of which control learns late, changes nothing.
    world.act(|rooms, now, out| rooms.detach(ParticipantId(2), 2, now, out));
    assert!(world.rooms.session(ParticipantId(2)).is_some());
}

#[test]
fn media_lost_with_a_socket_is_offered_again() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    world.join(2, "r", 2, 1).unwrap();
    world.act(|rooms, _, out| rooms.disconnected(ParticipantId(2), 1, DisconnectReason::ConsentExpired, out));
    assert_eq!(world.clients[&ParticipantId(2)].media_lost, 1);
    assert!(!world.clients[&ParticipantId(1)].others[&name(2)].connected);
    let stale = world.rooms.plan(ParticipantId(2), 1, &offer(2, "abcd"), fresh(1, 2), &world.locations);
    assert_eq!(stale, Err(OfferError::Stale));
    world.join(2, "r", 2, 2).unwrap();
    world.check();
    assert!(world.clients[&ParticipantId(1)].others[&name(2)].connected);
    world.act(|rooms, _, out| rooms.disconnected(ParticipantId(2), 2, DisconnectReason::DtlsClosed, out));
    assert_eq!(world.clients[&ParticipantId(2)].media_lost, 0, "it closed the connection itself");
}

#[test]
fn an_offer_of_the_same_connection_keeps_what_runs() {
    let mut world = World::new();
    world.join(1, "r", 2, 1).unwrap();
    let before = world.relay.participants[&ParticipantId(1)].spec.clone();
    let mut plan = |remote: &RemoteOffer, connection| {
        let fresh = fresh(900, remote.slots.len());
        world.rooms.plan(ParticipantId(1), connection, remote, fresh, &world.locations).map(|planned| planned.spec)
    };
    let grown = plan(&offer(4, "abcd"), 1).unwrap();
    assert_eq!((&grown.transport, &grown.slots[..2]), (&before.transport, &before.slots[..]));
    assert_eq!(grown.slots.len(), 4);
    let restarted = plan(&offer(2, "efgh"), 1).unwrap();
    assert_eq!(restarted.slots, before.slots);
    let ufrag = |spec: &ParticipantSpec| spec.transport.ice().unwrap().local_ufrag.clone();
    assert_ne!(ufrag(&restarted), ufrag(&before));
    assert_eq!(plan(&offer(1, "abcd"), 1), Err(OfferError::SlotsChanged));
    let mut other = offer(2, "abcd");
    other.fingerprint = Fingerprint::Sha256([0xee; 32]);
    assert_eq!(plan(&other, 1), Err(OfferError::CertificateChanged));
    assert_eq!(plan(&other, 2).unwrap().generation, 2);
    assert_eq!(plan(&offer(2, "abcd"), 0), Err(OfferError::Stale));
}

#[test]
fn a_restarted_control_finds_its_rooms() {
    let mut world = World::new();
    world.join_as(1, "Verein Ä", 3, 1, sharing()).unwrap();
    world.join(2, "verein ä", 3, 1).unwrap();
    world.join(3, "other", 3, 1).unwrap();
    let before = world.relay.participants.clone();
    world.restart_control();
    world.check();
    let assignments = |known: &BTreeMap<ParticipantId, ParticipantSnapshot>| -> Vec<_> {
        known.values().map(|known| known.assignments.clone()).collect()
    };
    assert_eq!(assignments(&world.relay.participants), assignments(&before), "nothing moved");
    assert_eq!((world.rooms.rooms(), world.rooms.participants()), (2, 3));
    // Somebody new sees those who have not come back yet.
    world.join(4, "VEREIN ä", 3, 1).unwrap();
    world.check();
    assert_eq!(world.clients[&ParticipantId(4)].others.len(), 2);
    assert_eq!(world.clients[&ParticipantId(4)].slots.len(), 3);
    world.resume(2, "verein ä");
    world.check();
    // Who does not come back goes when consent runs out.
    world.act(|rooms, _, out| rooms.disconnected(ParticipantId(3), 1, DisconnectReason::ConsentExpired, out));
    world.check();
    assert_eq!(world.rooms.rooms(), 1);
}

#[test]
fn a_link_that_was_down_changes_nothing_but_who_left() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join(id, "r", 3, 1).unwrap();
    }
    let relay = world.relay.participants.clone();
    world.leave(2);
    // The relay did not hear of it.
    world.relay.participants = relay;
    world.reconcile();
    world.check();
    assert_eq!(world.relay.participants.len(), 2);
    assert_eq!(world.clients.values().map(|client| client.media_lost).sum::<usize>(), 0);
}

#[test]
fn a_relay_that_came_back_empty_gets_everybody_again() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join(id, "r", 3, 1).unwrap();
    }
    world.detach(3);
    world.relay.participants.clear();
    world.reconcile();
    world.check();
    assert_eq!(world.clients[&ParticipantId(1)].media_lost, 1);
    for id in [1, 2] {
        world.join(id, "r", 3, 2).unwrap();
        world.check();
    }
    assert_eq!(world.relay.participants[&ParticipantId(1)].assignments.len(), 1);
    world.wait(31_000);
    world.check();
    assert_eq!(world.rooms.participants(), 2, "the third did not come back");
}

#[test]
fn a_shard_that_restarted_lost_its_rooms_only() {
    let mut world = World::new();
    world.join(1, "a", 3, 1).unwrap();
    world.join(2, "b", 3, 1).unwrap();
    let shard = world.relay.participants[&ParticipantId(1)].spec.shard;
    world.relay.participants.retain(|_, known| known.spec.shard != shard);
    world.act(|rooms, _, out| rooms.shard_restarted(&Location { relay: relay_id("east"), shard }, out));
    assert_eq!(world.clients[&ParticipantId(1)].media_lost, 1);
    assert_eq!(world.clients[&ParticipantId(2)].media_lost, 0);
    world.join(1, "a", 3, 2).unwrap();
    world.check();
}

#[test]
fn notes_that_no_control_wrote_are_not_adopted() {
    let mut world = World::new();
    world.join(1, "r", 3, 1).unwrap();
    world.join(2, "r", 3, 1).unwrap();
    world.relay.participants.get_mut(&ParticipantId(1)).unwrap().spec.note = plausch_relay_api::Note::new("{}");
    world.restart_control();
    world.check();
    assert_eq!(world.rooms.participants(), 1);
    assert_eq!(world.relay.participants.len(), 1);
}

#[test]
fn somebody_adopted_in_the_middle_of_a_handshake() {
    let mut world = World::new();
    world.join(1, "r", 3, 1).unwrap();
    world.join(2, "r", 3, 1).unwrap();
    world.relay.participants.get_mut(&ParticipantId(2)).unwrap().connected = false;
    world.restart_control();
    world.resume(1, "r");
    assert!(!world.rooms.has_media(ParticipantId(2)));
    world.relay.participants.get_mut(&ParticipantId(2)).unwrap().connected = true;
    world.act(|rooms, _, out| rooms.connected(ParticipantId(2), 1, out));
    world.check();
    assert_eq!(world.relay.participants[&ParticipantId(1)].assignments.len(), 1);
}

/// The relay gave up somebody's handshake while the link was down, so nobody said so.
#[test]
fn nobody_waits_for_ever_for_a_handshake() {
    let mut world = World::new();
    world.join(1, "r", 3, 1).unwrap();
    world.join(2, "r", 3, 1).unwrap();
    world.rooms.member_mut(ParticipantId(2)).unwrap().transport_mut().unwrap().flow = Flow::Connecting;
    world.detach(2);
    world.relay.participants.get_mut(&ParticipantId(2)).unwrap().connected = false;
    world.reconcile();
    world.wait(29_000);
    assert_eq!(world.rooms.participants(), 2, "it may still be on its way");
    world.wait(2_000);
    assert_eq!(world.rooms.participants(), 1);
    world.check();
}

#[derive(Clone, Debug)]
enum Step {
    Join(u64, u8, usize),
    Leave(u64),
    Detach(u64),
    Resume(u64),
    Share(u64, bool),
    Speak(u64),
    Wait(u64),
    Consent(u64),
    RestartControl,
    RestartRelay,
    Relink,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1u64..10;
    prop_oneof![
        4 => (id.clone(), 0u8..2, 0usize..5).prop_map(|(id, room, slots)| Step::Join(id, room, slots)),
        2 => id.clone().prop_map(Step::Leave),
        2 => id.clone().prop_map(Step::Detach),
        2 => id.clone().prop_map(Step::Resume),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, share)| Step::Share(id, share)),
        2 => id.clone().prop_map(Step::Speak),
        1 => (0u64..40_000).prop_map(Step::Wait),
        1 => id.prop_map(Step::Consent),
        1 => Just(Step::RestartControl),
        1 => Just(Step::RestartRelay),
        1 => Just(Step::Relink),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens, in whatever order: what clients and the relay know is what the rooms mean, nobody is twice in
    /// anybody's slots, nobody sees themselves, and what is shown and wanted stays where it is.
    #[test]
    fn any_history(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut connections = BTreeMap::new();
        for step in steps {
            let shown: BTreeMap<_, _> = world.clients.keys()
                .map(|id| (*id, world.rooms.member(*id).map(|member| member.shown().to_vec()).unwrap_or_default())).collect();
            // A new control knows only of what the relay forwards.
            let forgotten: HashSet<_> = match &step {
                Step::RestartControl => {
                    world.rooms.by_participant.keys().copied().filter(|id| !world.rooms.has_media(*id)).collect()
                }
                _ => HashSet::new(),
            };
            let replaced = match &step { Step::Join(id, ..) | Step::Leave(id) => Some(ParticipantId(*id)), _ => None };
            match step {
                Step::Join(id, room, slots) => {
                    if world.rooms.member(ParticipantId(id)).is_none() || world.clients.contains_key(&ParticipantId(id)) {
                        world.leave(id);
                        let connection = connections.entry(id).or_insert(0);
                        *connection += 1;
                        let _ = world.join(id, ["a", "b"][usize::from(room)], slots, *connection);
                    }
                }
                Step::Leave(id) => world.leave(id),
                Step::Detach(id) => world.detach(id),
                Step::Resume(id) => {
                    if let Some(room) = world.rooms.room_of(ParticipantId(id)).map(|room| room.title.clone()) {
                        world.resume(id, &room);
                    }
                }
                Step::Share(id, screen) => {
                    let media = Media { screen, ..Media::default() };
                    world.act(|rooms, _, out| rooms.set_media(ParticipantId(id), media, out));
                }
                Step::Speak(id) => {
                    if let Some(room) = world.rooms.by_participant.get(&ParticipantId(id)).copied() {
                        let level = SpeakerLevel { participant: ParticipantId(id), level: 30 };
                        world.act(|rooms, _, out| rooms.spoke(room, &[level], out));
                    }
                }
                Step::Wait(ms) => world.wait(ms),
                Step::Consent(id) => {
                    let generation = world.relay.participants.get(&ParticipantId(id)).map(|known| known.spec.generation);
                    if let Some(generation) = generation {
                        // The relay forgets the transport and keeps the spec.
                        world.relay.participants.get_mut(&ParticipantId(id)).unwrap().connected = false;
                        world.act(|rooms, _, out| {
                            rooms.disconnected(ParticipantId(id), generation, DisconnectReason::ConsentExpired, out);
                        });
                    }
                }
                Step::RestartControl => world.restart_control(),
                Step::RestartRelay => {
                    world.relay.participants.clear();
                    world.reconcile();
                }
                Step::Relink => world.reconcile(),
            }
            world.check();
            for (viewer, before) in shown {
                let Some(member) = world.rooms.member(viewer) else { continue };
                if Some(viewer) == replaced || forgotten.contains(&viewer) || before.len() != member.shown().len() {
                    continue;
                }
                for (place, source) in before.iter().enumerate() {
                    if let Some(source) = source
                        && Some(source.participant) != replaced
                        && !forgotten.contains(&source.participant)
                        && member.shown().contains(&Some(*source))
                    {
                        prop_assert_eq!(member.shown()[place], Some(*source), "moved");
                    }
                }
            }
        }
    }
}

#[test]
fn layers_follow_the_number_of_tiles() {
    let mut world = World::new();
    for id in 1..=6 {
        world.join(id, "r", 8, 1).unwrap();
        let layers: HashSet<_> =
            world.relay.participants[&ParticipantId(1)].assignments.iter().map(|slot| slot.max_layer).collect();
        let expected = if id <= 5 { 2 } else { 1 };
        assert!(layers.iter().all(|layer| *layer == expected), "{id}: {layers:?}");
    }
    world.act(|rooms, _, out| rooms.set_media(ParticipantId(2), sharing(), out));
    let assignments = &world.relay.participants[&ParticipantId(1)].assignments;
    let screen = assignments.iter().find(|slot| slot.source.source == Source::Screen).unwrap();
    assert_eq!(screen.max_layer, 2);
}
