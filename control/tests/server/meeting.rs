//! People meet, and go.

use super::{Client, World, eventually, offer};
use plausch_relay_api::{CommandError, DisconnectReason, Event, ParticipantId, SpeakerLevel};
use plausch_signalling::{ClientMessage, ErrorCode, MediaState, ServerMessage, Source};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn two_people_meet_and_part() {
    let world = World::new().await;
    let mut anna = world.client().await;
    let welcome = anna.join("Kulturverein Marion", "Anna", None, Some(offer(1))).await;
    let ServerMessage::Welcome { room, answer, participants, slots, .. } = welcome else { unreachable!() };
    assert_eq!((room.reveal(), participants.len(), slots.len()), ("Kulturverein Marion", 0, 0));
    let sdp = answer.unwrap().sdp;
    assert!(sdp.contains("a=ice-lite\r\n") && sdp.contains("127.0.0.1 7000 typ host"), "{sdp}");

    let mut bert = world.client().await;
    let welcome = bert.join("kulturvereinmarion", "Bert", None, Some(offer(1))).await;
    let ServerMessage::Welcome { room, participants, slots, .. } = welcome else { unreachable!() };
    assert_eq!(room.reveal(), "Kulturverein Marion");
    assert_eq!((participants[0].name.reveal(), participants[0].connected), ("Anna", true));
    assert_eq!((slots[0].slot, &slots[0].participant, slots[0].source), (0, &anna.id, Source::Person));

    let ServerMessage::ParticipantJoined { participant } = anna.next().await else { panic!() };
    assert_eq!((&participant.id, participant.name.reveal()), (&bert.id, "Bert"));
    let ServerMessage::Slots { slots } = anna.next().await else { panic!() };
    assert_eq!(slots[0].participant, bert.id);

    let known = world.relay.participants();
    assert_eq!(known.len(), 2);
    assert_eq!((known[0].spec.room, known[0].spec.shard), (known[1].spec.room, known[1].spec.shard));
    eventually("both have slots", || world.relay.participants().iter().all(|known| known.assignments.len() == 1)).await;

    bert.send(&ClientMessage::Media { media: MediaState { screen: true, ..MediaState::default() } }).await;
    let ServerMessage::ParticipantChanged { participant } = anna.next().await else { panic!() };
    assert!(participant.media.screen && !participant.media.camera);
    let ServerMessage::Slots { slots } = anna.next().await else { panic!() };
    assert_eq!(slots[1].source, Source::Screen);

    bert.send(&ClientMessage::Leave).await;
    let ServerMessage::ParticipantLeft { participant } = anna.next().await else { panic!() };
    assert_eq!(participant, bert.id);
    bert.until_closed().await;
    eventually("the relay forgets Bert", || world.relay.participants().len() == 1).await;
}

#[tokio::test]
async fn closing_the_tab_is_leaving_and_losing_the_network_is_not() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    for code in [CloseCode::Normal, CloseCode::Away] {
        let mut bert = world.joined("r", "Bert").await;
        bert.socket.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        anna.until(|message| matches!(message, ServerMessage::ParticipantLeft { .. }).then_some(())).await;
    }
    let bert = world.joined("r", "Bert").await;
    let id = ParticipantId(u64::from_str_radix(&bert.id, 16).unwrap());
    bert.vanish().await;
    // After a moment others are told that the connection is lost.
    anna.until(|message| match message {
        ServerMessage::ParticipantChanged { participant } => (!participant.connected).then_some(()),
        ServerMessage::ParticipantLeft { .. } => panic!("left"),
        _ => None,
    })
    .await;
    assert_eq!(world.participants(), 2);
    world.relay.send(Event::Disconnected { participant: id, generation: 1, reason: DisconnectReason::ConsentExpired });
    anna.until(|message| matches!(message, ServerMessage::ParticipantLeft { .. }).then_some(())).await;
    assert_eq!(world.participants(), 1);
}

#[tokio::test]
async fn coming_back_with_the_token() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let bert = world.joined("r", "Bert").await;
    let (id, token) = (bert.id.clone(), bert.resume.clone());
    bert.vanish().await;
    eventually("the socket is gone", || world.server.service.gauges().attached == 1).await;
    let mut back = world.client().await;
    let welcome = back.join("r", "Bert", Some(token.clone()), None).await;
    let ServerMessage::Welcome { answer, participants, slots, .. } = welcome else { unreachable!() };
    assert_eq!((&back.id, answer, participants.len(), slots.len()), (&id, None, 1, 1));

    // Another device with the same identity: the first is told.
    let mut second = world.client().await;
    second.join("r", "Bert", Some(token), None).await;
    assert_eq!(back.until_error().await, (ErrorCode::Replaced, true));
    back.until_closed().await;
    assert_eq!(world.participants(), 2);
    // A token of another room names nobody here.
    let mut third = world.client().await;
    third.join("other", "Bert", Some(second.resume.clone()), Some(offer(1))).await;
    assert_ne!(third.id, id);
    second.send(&ClientMessage::Leave).await;
    anna.until(|message| matches!(message, ServerMessage::ParticipantLeft { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_browser_adds_slots_and_restarts_ice() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let before = world.relay.participants()[0].spec.clone();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chromium-grown.json");
    let mut grown: plausch_signalling::Offer = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    anna.send(&ClientMessage::Offer { offer: grown.clone() }).await;
    let ServerMessage::Answer { answer } = anna.next().await else { panic!() };
    assert_eq!(answer.id, grown.id);
    let after = world.relay.participants()[0].spec.clone();
    assert_eq!((before.slots.len(), after.slots.len()), (8, 16));
    assert_eq!((&before.transport, &before.slots[..]), (&after.transport, &after.slots[..8]));

    let ufrag = grown.sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap().to_owned();
    grown.sdp = grown.sdp.replace(&format!("a=ice-ufrag:{ufrag}"), "a=ice-ufrag:restarted");
    grown.id += 1;
    anna.send(&ClientMessage::Offer { offer: grown }).await;
    let ServerMessage::Answer { answer } = anna.next().await else { panic!() };
    let restarted = world.relay.participants()[0].spec.clone();
    let ufrag = &restarted.transport.ice().unwrap().local_ufrag;
    assert_ne!(*ufrag, after.transport.ice().unwrap().local_ufrag);
    assert!(answer.sdp.contains(&format!("a=ice-ufrag:{ufrag}\r\n")));
    assert_eq!(restarted.generation, 1);
}

#[tokio::test]
async fn speakers_are_passed_on() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let known = world.relay.participants()[0].spec.clone();
    let speakers = vec![SpeakerLevel { participant: known.participant, level: 20 }];
    world.relay.send(Event::Speakers { room: known.room, speakers });
    let ServerMessage::Speakers { participants } = anna.next().await else { panic!() };
    assert_eq!(participants, std::slice::from_ref(&anna.id));
}

#[tokio::test]
async fn what_comes_in_a_moment_is_told_in_order_and_by_few_writes() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let known = world.relay.participants()[0].spec.clone();
    let told = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let metrics = &world.server.service.metrics;
    let before = (told(&metrics.messages_sent), told(&metrics.message_writes));
    let says = |n: usize| n.is_multiple_of(3) || n.is_multiple_of(7);
    for n in 0..300 {
        let speakers =
            if says(n) { vec![SpeakerLevel { participant: known.participant, level: 20 }] } else { Vec::new() };
        world.relay.send(Event::Speakers { room: known.room, speakers });
    }
    for n in 0..300 {
        let ServerMessage::Speakers { participants } = anna.next().await else { panic!() };
        assert_eq!(!participants.is_empty(), says(n), "{n}");
    }
    eventually("all are counted", || told(&metrics.messages_sent) == before.0 + 300).await;
    let writes = told(&metrics.message_writes) - before.1;
    assert!((1..150).contains(&writes), "{writes} writes");
}

#[tokio::test]
async fn what_the_relay_refuses_leaves_nothing() {
    let world = World::new().await;
    for (error, expected) in [
        (CommandError::Limit("participants".into()), (ErrorCode::ServerFull, true)),
        (CommandError::Invalid("x".into()), (ErrorCode::BadOffer, false)),
        (CommandError::Busy, (ErrorCode::NoRelay, false)),
    ] {
        world.relay.refuse_next(error);
        let mut client = world.client().await;
        client.send_join("r", "Anna", None, Some(offer(1))).await;
        assert_eq!(client.until_error().await, expected);
        assert_eq!((world.participants(), world.server.service.gauges().rooms), (0, 0));
        if !expected.1 {
            client.join("r", "Anna", None, Some(offer(1))).await;
            client.send(&ClientMessage::Leave).await;
            eventually("Anna is gone", || world.participants() == 0).await;
        }
    }
    // The relay remembers the participant from another life: control clears that away by itself.
    world.relay.refuse_next(CommandError::Moved);
    let mut client = world.client().await;
    client.join("r", "Anna", None, Some(offer(1))).await;
}

#[tokio::test]
async fn fifty_joins_in_a_row_leave_nothing() {
    let world = World::new().await;
    let _anna = world.joined("r", "Anna").await;
    for n in 0..50 {
        let mut client = world.joined("r", "Bert").await;
        match n % 3 {
            0 => client.send(&ClientMessage::Leave).await,
            1 => drop(client.socket.close(None).await),
            _ => client.socket.send_close().await,
        }
        eventually("Bert is gone", || world.participants() == 1 && world.relay.participants().len() == 1).await;
    }
    eventually("no socket is left", || world.server.service.gauges().attached == 1).await;
}

trait SendClose {
    async fn send_close(&mut self);
}

impl<S: futures_util::Sink<Message> + Unpin> SendClose for S {
    /// Says goodbye and does not wait for the answer.
    async fn send_close(&mut self) {
        let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
        let _ = futures_util::SinkExt::send(self, Message::Close(Some(frame))).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let deaf: Client = world.joined("r", "Deaf").await;
    let known = world.relay.participants();
    let speakers: Vec<_> = known
        .iter()
        .cycle()
        .take(8)
        .map(|known| SpeakerLevel { participant: known.spec.participant, level: 1 })
        .collect();
    // As quickly as the other one reads.
    for _ in 0..200 {
        for _ in 0..500 {
            world.relay.send(Event::Speakers { room: known[0].spec.room, speakers: speakers.clone() });
        }
        for _ in 0..500 {
            anna.until(|message| matches!(message, ServerMessage::Speakers { .. }).then_some(())).await;
        }
        if world.server.service.gauges().attached == 1 {
            break;
        }
    }
    eventually("the deaf one is given up", || world.server.service.gauges().attached == 1).await;
    assert_eq!(world.participants(), 2, "who may come back");
    drop(deaf);
}
