//! What the rooms say, in messages of the signalling.

use crate::join::Arrival;
use crate::rooms::events::{FilledSlot, Knock, Person, RoomEvent};
use crate::rooms::member::{Capability, Media, Role};
use plausch_relay_api::Source;
use plausch_signalling::{Answer, ErrorCode, MediaState, Participant, ResumeToken, ServerMessage, SlotContent};

/// An event as clients get it; `None` for what is a sign to the session alone.
pub(super) fn message(event: &RoomEvent) -> Option<ServerMessage> {
    Some(match event {
        RoomEvent::Joined(person) => ServerMessage::ParticipantJoined { participant: participant(person) },
        RoomEvent::Changed(person) => ServerMessage::ParticipantChanged { participant: participant(person) },
        RoomEvent::Left(id) => ServerMessage::ParticipantLeft { participant: id.to_string() },
        RoomEvent::Slots(slots) => ServerMessage::Slots { slots: slots.iter().map(slot).collect() },
        RoomEvent::Speakers(speakers) => {
            ServerMessage::Speakers { participants: speakers.iter().map(ToString::to_string).collect() }
        }
        RoomEvent::MediaLost => ServerMessage::MediaLost,
        RoomEvent::Replaced => ServerMessage::Error { code: ErrorCode::Replaced, fatal: true },
        RoomEvent::Knocked(somebody) => ServerMessage::Knocked { knock: knock(somebody) },
        RoomEvent::KnockEnded(id) => ServerMessage::KnockEnded { participant: id.to_string() },
        RoomEvent::Admitted => return None,
        RoomEvent::Rejected => ServerMessage::Error { code: ErrorCode::Rejected, fatal: true },
    })
}

/// The event is news of others, which may wait for more of it. Answers may not, for media comes at once; nor may what
/// is in slots, nor somebody who knocks.
pub(super) fn may_wait(event: &RoomEvent) -> bool {
    matches!(event, RoomEvent::Joined(_) | RoomEvent::Changed(_) | RoomEvent::Left(_) | RoomEvent::Speakers(_))
}

/// What a client is told that has joined.
pub(super) fn welcome(arrival: Arrival, resume: ResumeToken, offer: Option<u32>) -> ServerMessage {
    let overview = arrival.overview;
    ServerMessage::Welcome {
        participant: arrival.participant.to_string(),
        resume,
        room: overview.title.into_revealed().into(),
        answer: offer.zip(arrival.answer).map(|(id, sdp)| Answer { id, sdp }),
        ice: arrival.ice,
        participants: overview.others.iter().map(participant).collect(),
        slots: overview.slots.iter().map(slot).collect(),
        capabilities: Capability::ALL.iter().map(|capability| capability.name().to_owned()).collect(),
        role: role(overview.role),
        lobby: overview.knocks.iter().map(knock).collect(),
    }
}

/// What a client says that it sends.
pub(super) fn media(state: MediaState) -> Media {
    Media { microphone: state.microphone, camera: state.camera, screen: state.screen }
}

fn participant(person: &Person) -> Participant {
    let Media { microphone, camera, screen } = person.media;
    Participant {
        id: person.id.to_string(),
        name: person.name.reveal().to_owned().into(),
        media: MediaState { microphone, camera, screen },
        connected: person.connected,
        role: role(person.role),
    }
}

fn slot(filled: &FilledSlot) -> SlotContent {
    SlotContent {
        slot: filled.slot,
        participant: filled.source.participant.to_string(),
        source: match filled.source.source {
            Source::Person => plausch_signalling::Source::Person,
            Source::Screen => plausch_signalling::Source::Screen,
        },
    }
}

fn knock(somebody: &Knock) -> plausch_signalling::Knock {
    plausch_signalling::Knock { id: somebody.id.to_string(), name: somebody.name.reveal().to_owned().into() }
}

fn role(role: Role) -> plausch_signalling::Role {
    match role {
        Role::Guest => plausch_signalling::Role::Guest,
        Role::Moderator => plausch_signalling::Role::Moderator,
    }
}
