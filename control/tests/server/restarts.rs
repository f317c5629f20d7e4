//! Either process restarts.

use super::{Client, StateFolder, World, config, eventually, offer};
use plausch_control::metrics::Metrics;
use plausch_control::server::Server;
use plausch_signalling::{ClientMessage, ErrorCode, ServerMessage};
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[tokio::test]
async fn control_restarts_and_nobody_loses_media() {
    let mut world = World::new().await;
    let anna = world.joined("Über uns", "Anna").await;
    let bert = world.joined("überuns", "Bert").await;
    eventually("both have slots", || world.relay.participants().iter().all(|known| known.assignments.len() == 1)).await;
    let before = world.relay.participants();
    // Killed: its state is gone, its folder stays.
    let old = std::mem::replace(&mut world.server, Server::start(config(&StateFolder::new(), "")).await.unwrap());
    drop(old);
    world.relay.hang_up();
    let (anna_id, anna_token) = (anna.id.clone(), anna.resume.clone());
    drop(anna);
    world.server = Server::start(config(&world.folder, "")).await.unwrap();

    // A browser may be back before the relay is: it waits.
    let mut back = world.client().await;
    let resume = back.join("Über uns", "Anna", Some(anna_token), None);
    let relink = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.relay.dial(&world).await;
    };
    let (welcome, ()) = tokio::join!(resume, relink);
    let ServerMessage::Welcome { room, answer, participants, slots, .. } = welcome else { unreachable!() };
    assert_eq!((room.reveal(), answer, &back.id), ("Über uns", None, &anna_id));
    assert_eq!((participants.len(), slots.len()), (1, 1));

    // Somebody late sees both, and the relay was told nothing that moves media.
    let mut late = world.client().await;
    let welcome = late.join("überuns", "Late", None, Some(offer(1))).await;
    let ServerMessage::Welcome { participants, slots, .. } = welcome else { unreachable!() };
    assert_eq!((participants.len(), slots.len()), (2, 2));
    for known in &before {
        let after = world.relay.participants();
        let after = after.iter().find(|other| other.spec.participant == known.spec.participant).unwrap();
        assert_eq!(after.assignments[0], known.assignments[0]);
        assert_eq!((&after.spec.transport, after.spec.generation), (&known.spec.transport, known.spec.generation));
    }
    drop(bert);
}

#[tokio::test]
async fn a_relay_that_comes_back_empty_gets_new_offers() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let mut bert = world.joined("r", "Bert").await;
    world.relay.hang_up();
    eventually("the link is down", || !world.server.service.ready()).await;
    world.relay.forget_everybody();
    world.relay.dial(&world).await;
    for client in [&mut anna, &mut bert] {
        client.until_media_lost().await;
    }
    for client in [&mut anna, &mut bert] {
        client.send(&ClientMessage::Offer { offer: offer(2) }).await;
        client.until(|message| matches!(message, ServerMessage::Answer { .. }).then_some(())).await;
    }
    eventually("both see each other again", || {
        let known = world.relay.participants();
        known.len() == 2 && known.iter().all(|known| known.assignments.len() == 1 && known.spec.generation == 2)
    })
    .await;
}

#[tokio::test]
async fn slots_that_a_busy_relay_did_not_take_are_told_again() {
    let world = World::new().await;
    let anna = world.joined("r", "Anna").await;
    let mut bert = world.joined("r", "Bert").await;
    let shown = || world.relay.participants().iter().map(|known| known.assignments.len()).collect::<Vec<_>>();
    eventually("both have slots", || shown() == [1, 1]).await;
    world.relay.set_busy();
    bert.send(&ClientMessage::Leave).await;
    eventually("the link is made anew", || !world.server.service.ready()).await;
    world.relay.dial(&world).await;
    eventually("Anna's slot is empty", || shown() == [0]).await;
    drop(anna);
}

#[tokio::test]
async fn a_link_that_breaks_for_a_moment_is_not_noticed() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    let mut bert = world.joined("r", "Bert").await;
    world.relay.hang_up();
    eventually("the link is down", || !world.server.service.ready()).await;
    bert.send(&ClientMessage::Leave).await;
    bert.until_closed().await;
    world.relay.dial(&world).await;
    world.ready().await;
    eventually("the relay learns that Bert left", || world.relay.participants().len() == 1).await;
    anna.send(&ClientMessage::Leave).await;
    while let Some(message) = anna.try_next().await {
        assert!(!matches!(message, ServerMessage::MediaLost));
    }
}

#[tokio::test]
async fn what_a_relay_of_a_later_release_says_ends_no_link() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    world.relay.say(json!({ "type": "sang", "participant": 7, "song": { "verse": 3 } }));
    world.relay.say(json!({ "type": "done", "id": 1, "result": { "Err": "too-blue" } }));
    world.relay.say(json!([7]));
    let participant = world.relay.participants()[0].spec.participant;
    world.relay.say(json!({ "type": "disconnected", "participant": participant, "generation": 1, "reason": "moon" }));
    anna.until_media_lost().await;
    let counted = |metrics: &Metrics| metrics.unreadable_events.load(Relaxed);
    assert_eq!(counted(&world.server.service.metrics), 3);
    assert_eq!(world.server.service.metrics.relay_connections.load(Relaxed), 1);
    assert!(world.server.service.ready());
}

#[tokio::test]
async fn both_were_gone_and_the_token_still_counts() {
    let mut world = World::new().await;
    let anna = world.joined("r", "Anna").await;
    let (id, token) = (anna.id.clone(), anna.resume.clone());
    drop(anna);
    world.relay.hang_up();
    world.relay.forget_everybody();
    world.server = Server::start(config(&world.folder, "")).await.unwrap();
    world.relay.dial(&world).await;
    world.ready().await;
    let mut back = world.client().await;
    back.join("r", "Anna", Some(token), None).await;
    assert_eq!(back.id, id);
    assert_eq!(back.next().await, ServerMessage::MediaLost);
    back.send(&ClientMessage::Offer { offer: offer(2) }).await;
    assert!(matches!(back.next().await, ServerMessage::Answer { .. }));
}

#[tokio::test]
async fn without_a_relay_a_join_fails_and_may_be_tried_again() {
    let world = World::without_relay("").await;
    assert!(!world.server.service.ready());
    let mut anna: Client = world.client().await;
    anna.send_join("r", "Anna", None, Some(offer(1))).await;
    assert_eq!(anna.until_error().await, (ErrorCode::NoRelay, false));
    world.relay.dial(&world).await;
    anna.join("r", "Anna", None, Some(offer(1))).await;
    // A relay that hangs.
    world.relay.set_mute(true);
    let mut bert = world.client().await;
    bert.send_join("r", "Bert", None, Some(offer(1))).await;
    assert_eq!(bert.until_error().await, (ErrorCode::NoRelay, false));
    world.relay.set_mute(false);
    bert.join("r", "Bert", None, Some(offer(1))).await;
    assert_eq!(world.participants(), 2);
}
