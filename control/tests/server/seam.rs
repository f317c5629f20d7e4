//! A third front, which only records events: what rooms say can be rendered without a socket or a protocol.

use super::{World, eventually, offer};
use plausch_control::admission::door::Claims;
use plausch_control::join::{Admission, Arrival, ReadOffer, Refusal, Request};
use plausch_control::rooms::events::RoomEvent;
use plausch_control::rooms::member::{Capabilities, Media, Presence};
use plausch_control::sdp::RemoteOffer;
use plausch_control::service::Delivery;
use plausch_relay_api::ParticipantId;
use plausch_signalling::{ClientMessage, MediaState, ServerMessage};
use std::sync::Arc;
use tokio::sync::mpsc;

struct Recorder {
    arrival: Arrival,
    session: u64,
    queue: mpsc::Receiver<Arc<Delivery>>,
    events: Vec<RoomEvent>,
}

impl Recorder {
    async fn join(world: &World, room: &str, name: &str) -> Result<Self, Refusal> {
        let service = &world.server.service;
        let (sender, queue) = mpsc::channel(100);
        let session = service.next_session();
        let request = Request {
            guest: service.ticket(None)?.guest(room, name)?,
            session,
            queue: Some(sender),
            presence: Presence::Signalling,
            capabilities: Capabilities::new(),
            claims: Claims::default(),
            media: Media { microphone: true, ..Media::default() },
            resume: None,
        };
        let Admission::Enter(place) = service.admit(request).await? else { panic!("the door is open") };
        let recorded = offer(1);
        let remote = RemoteOffer::read(&recorded, &service.config.codecs).unwrap();
        let read = ReadOffer { id: 1, connection: 1, remote };
        let arrival = service.complete(place, Some(&read), None).await?;
        Ok(Self { arrival, session, queue, events: Vec::new() })
    }

    /// Records until an event is as wanted.
    async fn until(&mut self, wanted: impl Fn(&RoomEvent) -> bool) {
        while !self.events.last().is_some_and(&wanted) {
            self.events.push(self.queue.recv().await.unwrap().event.clone());
        }
    }
}

#[tokio::test]
async fn a_recorder_of_events_is_a_front_like_the_others() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let mut recorder = Recorder::join(&world, "r", "Recorder").await.unwrap();
    assert!(recorder.arrival.answer.is_some());
    let anna_id = ParticipantId(u64::from_str_radix(&anna.id, 16).unwrap());
    assert_eq!(recorder.arrival.overview.others.iter().map(|other| other.id).collect::<Vec<_>>(), [anna_id]);
    assert_eq!(recorder.arrival.overview.slots[0].source.participant, anna_id);
    // A browser sees the recorder as anybody else.
    let joined = |message| match message {
        ServerMessage::ParticipantJoined { participant } => Some((participant.id, participant.media.microphone)),
        _ => None,
    };
    assert_eq!(anna.until(joined).await, (recorder.arrival.participant.to_string(), true));
    anna.send(&ClientMessage::Media { media: MediaState { screen: true, ..MediaState::default() } }).await;
    recorder.until(|event| matches!(event, RoomEvent::Slots(slots) if slots.len() == 2)).await;
    anna.send(&ClientMessage::Leave).await;
    recorder.until(|event| matches!(event, RoomEvent::Slots(slots) if slots.is_empty())).await;
    let kinds: Vec<_> = recorder
        .events
        .iter()
        .map(|event| match event {
            RoomEvent::Changed(person) if person.media.screen => "changed",
            RoomEvent::Slots(_) => "slots",
            RoomEvent::Left(id) if *id == anna_id => "left",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["changed", "slots", "left", "slots"]);
    world.server.service.leave(recorder.arrival.participant, recorder.session);
    assert!(recorder.queue.recv().await.is_none(), "its end is the end of its queue");
    eventually("the room is gone", || world.participants() == 0).await;
}
