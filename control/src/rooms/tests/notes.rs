//! Notes that relays keep, of this release and of the one before.

use super::world::World;
use super::*;

/// As control 0.1 wrote it.
const FIRST: &str = r#"{"control":99,"room":"r","title":"R","name":"Zoë","presence":"signalling",
    "media":{"microphone":true,"camera":false,"screen":false},"joined":3,"shared":0}"#;

fn adopt(note: &str) -> World {
    let mut world = World::new();
    world.join(1, "r", 3, 1).unwrap();
    let known = world.relay.participants.get_mut(&ParticipantId(1)).unwrap();
    known.spec.note = plausch_relay_api::Note::new(note.to_owned());
    world.restart_control();
    world
}

#[test]
fn a_note_of_the_release_before_is_understood() {
    let world = adopt(FIRST);
    let member = world.rooms.member(ParticipantId(1)).unwrap();
    assert_eq!((member.name.as_str(), member.role, member.media.microphone), ("Zoë", Role::Guest, true));
    assert!(matches!(member.state, State::Away { .. }));
    let older = FIRST.replace("\"presence\":\"signalling\",", "");
    assert!(adopt(&older).rooms.member(ParticipantId(1)).is_some(), "before there was WHIP");
}

#[test]
fn a_note_of_the_next_release_loses_only_what_is_new() {
    let next = FIRST
        .replace("\"joined\"", "\"role\":\"moderator\",\"capabilities\":[\"lobby\",\"magic\"],\"hat\":1,\"joined\"");
    let world = adopt(&next);
    let member = world.rooms.member(ParticipantId(1)).unwrap();
    assert_eq!(member.role, Role::Moderator);
    assert_eq!(member.capabilities, Capabilities::from([member::Capability::Lobby]));
}

#[test]
fn a_moderator_is_one_after_a_restart_of_control() {
    let mut world = World::new();
    world.join(1, "r", 3, 1).unwrap();
    world.join(2, "r", 3, 1).unwrap();
    world.rooms.member_mut(ParticipantId(1)).unwrap().role = Role::Moderator;
    world.act(|rooms, _, out| rooms.set_media(ParticipantId(1), sharing(), out));
    world.restart_control();
    world.resume(1, "r");
    let role = |id| world.rooms.overview(ParticipantId(id)).unwrap().role;
    assert_eq!((role(1), role(2)), (Role::Moderator, Role::Guest), "who comes back as a guest by the door stays one");
    world.check();
}
