//! The door, by a policy that gives every outcome, over real sockets and over HTTP.

use super::whip::{fixture, request};
use super::{Client, World, eventually, offer};
use plausch_control::admission::door::{Closed, Decision, Door, Visitor};
use plausch_control::rooms::member::Role;
use plausch_signalling::{ClientMessage, ErrorCode, Role as WireRole, ServerMessage};
use serde_json::{Value, json};

/// What the policy of this test makes of a room's name.
fn door() -> Door {
    Door::new(|visitor: &Visitor<'_>| match visitor.room.as_str() {
        "blocked" => Decision::Refuse(Closed::Blocked),
        "closed" => Decision::Refuse(Closed::RoomClosed),
        "quota" => Decision::Refuse(Closed::Quota),
        "secret" => match visitor.claims.password.as_deref() {
            Some("open sesame") => Decision::Enter(Role::Guest),
            Some(_) => Decision::Refuse(Closed::PasswordWrong),
            None => Decision::Refuse(Closed::PasswordNeeded),
        },
        "members" => match visitor.claims.token.as_deref() {
            Some("good") => Decision::Enter(Role::Guest),
            _ => Decision::Refuse(Closed::TokenNeeded),
        },
        "lobby" => match visitor.claims.moderator.as_deref() {
            Some("chair") => Decision::Enter(Role::Moderator),
            _ => Decision::Wait,
        },
        _ => Decision::Enter(Role::Guest),
    })
}

fn join(room: &str, name: &str, claims: Value) -> String {
    let capabilities = ["lobby"];
    json!({"type": "join", "capabilities": capabilities, "room": room, "name": name, "offer": offer(1), "media": {},
           "claims": claims})
    .to_string()
}

async fn ask(world: &World, room: &str, name: &str, claims: Value) -> (Client, ServerMessage) {
    let mut client = world.client().await;
    client.send_text(join(room, name, claims)).await;
    let answer = client.next().await;
    (client, answer)
}

#[tokio::test]
async fn every_refusal_reaches_the_socket_and_leaves_nothing() {
    let world = World::with_door(door()).await;
    for (room, claims, code, fatal) in [
        ("blocked", json!({}), ErrorCode::RoomBlocked, true),
        ("closed", json!({}), ErrorCode::RoomClosed, true),
        ("quota", json!({}), ErrorCode::Quota, true),
        ("secret", json!({}), ErrorCode::PasswordNeeded, false),
        ("secret", json!({"password": "sesame"}), ErrorCode::PasswordWrong, false),
        ("members", json!({"token": "bad"}), ErrorCode::TokenNeeded, true),
    ] {
        let (mut client, answer) = ask(&world, room, "Anna", claims).await;
        assert_eq!(answer, ServerMessage::Error { code, fatal }, "{room}");
        if fatal {
            client.until_closed().await;
        }
        assert_eq!((world.participants(), world.server.service.gauges().rooms), (0, 0), "{room}");
        assert!(world.relay.participants().is_empty());
    }
    // Wrong, and then right on the same socket.
    let (mut client, _) = ask(&world, "secret", "Anna", json!({"password": "sesame"})).await;
    client.send_text(join("secret", "Anna", json!({"password": "open sesame"}))).await;
    assert!(matches!(client.next().await, ServerMessage::Welcome { .. }));
    let (_bert, answer) = ask(&world, "members", "Bert", json!({"token": "good"})).await;
    assert!(matches!(answer, ServerMessage::Welcome { .. }));
}

#[tokio::test]
async fn a_client_of_the_first_release_gets_a_code_that_it_knows() {
    let world = World::with_door(door()).await;
    for room in ["blocked", "lobby", "secret"] {
        let mut old = world.client().await;
        old.send_join(room, "Anna", None, Some(offer(1))).await;
        assert_eq!(old.until_error().await, (ErrorCode::RoomFull, true), "{room}");
    }
}

#[tokio::test]
async fn every_refusal_reaches_whip_and_whep() {
    let world = World::with_door(door()).await;
    let (publish, watch) = (fixture("obs-publish"), fixture("aiortc-watch"));
    let sdp = "Content-Type: application/sdp\r\n";
    let bearer = format!("{sdp}Authorization: Bearer good\r\n");
    for (room, headers, status) in [
        ("blocked", sdp, 403),
        ("closed", sdp, 403),
        ("quota", sdp, 429),
        ("secret", sdp, 403),
        ("lobby", sdp, 403),
        ("members", sdp, 401),
        ("members", &bearer, 201),
        ("open", sdp, 201),
    ] {
        for (kind, offer) in [("whip", &publish), ("whep", &watch)] {
            let before = world.participants();
            let reply = request(&world, &format!("POST /{kind}/{room}"), headers, offer).await;
            assert_eq!(reply.status, status, "{kind} {room}: {}", reply.body);
            assert_eq!(world.participants(), before + usize::from(status == 201), "{kind} {room}");
        }
    }
}

#[tokio::test]
async fn who_knocks_comes_in_by_a_moderator_alone() {
    let world = World::with_door(door()).await;
    let (mut chair, welcome) = ask(&world, "lobby", "Chair", json!({"moderator": "chair"})).await;
    let ServerMessage::Welcome { role, lobby, capabilities, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!((role, lobby.len()), (WireRole::Moderator, 0));
    assert_eq!(capabilities, ["lobby"]);
    let (mut anna, answer) = ask(&world, "lobby", "Anna", json!({})).await;
    let ServerMessage::Waiting { participant: anna_id } = answer else { panic!("{answer:?}") };
    let knocked = |message| match message {
        ServerMessage::Knocked { knock } => Some((knock.id, knock.name.reveal().to_owned())),
        _ => None,
    };
    assert_eq!(chair.until(knocked).await, (anna_id.clone(), "Anna".to_owned()));
    // Who waits may not let in, change what they send, or offer.
    anna.send(&ClientMessage::Admit { participant: anna_id.clone() }).await;
    assert_eq!(anna.until_error().await, (ErrorCode::BadMessage, false));
    anna.send(&ClientMessage::Offer { offer: offer(1) }).await;
    assert_eq!(anna.until_error().await, (ErrorCode::BadMessage, false));
    assert_eq!(world.relay.participants().len(), 1, "the relay knows nobody who waits");

    let (mut bert, answer) = ask(&world, "lobby", "Bert", json!({})).await;
    let ServerMessage::Waiting { participant: bert_id } = answer else { panic!("{answer:?}") };
    chair.until(knocked).await;
    chair.send(&ClientMessage::Admit { participant: anna_id.clone() }).await;
    let welcome = anna.next().await;
    let ServerMessage::Welcome { participant, answer, participants, slots, .. } = welcome else {
        panic!("{welcome:?}")
    };
    assert_eq!((&participant, participants.len(), slots.len()), (&anna_id, 1, 1));
    assert!(answer.is_some_and(|answer| !answer.sdp.is_empty()), "by the offer with which she knocked");
    assert_eq!(participants[0].role, WireRole::Moderator);
    chair.until(|message| matches!(message, ServerMessage::ParticipantJoined { .. }).then_some(())).await;

    // A guest has no say, whatever she sends.
    for message in
        [ClientMessage::Admit { participant: bert_id.clone() }, ClientMessage::Reject { participant: bert_id.clone() }]
    {
        anna.send(&message).await;
        assert_eq!(anna.until_error().await, (ErrorCode::NotModerator, false));
    }
    chair.send(&ClientMessage::Admit { participant: "nonsense".into() }).await;
    assert_eq!(chair.until_error().await, (ErrorCode::BadMessage, false));
    chair.send(&ClientMessage::Reject { participant: bert_id }).await;
    assert_eq!(bert.until_error().await, (ErrorCode::Rejected, true));
    bert.until_closed().await;
    assert_eq!(world.participants(), 2);

    // Who gives up knocks no more; who was in comes back past the door.
    let (cleo, answer) = ask(&world, "lobby", "Cleo", json!({})).await;
    assert!(matches!(answer, ServerMessage::Waiting { .. }));
    let (cleo_id, _) = chair.until(knocked).await;
    cleo.vanish().await;
    let ended = |message| match message {
        ServerMessage::KnockEnded { participant } => Some(participant),
        _ => None,
    };
    while chair.until(ended).await != cleo_id {}
    eventually("nobody waits", || world.participants() == 2).await;
}

#[tokio::test]
async fn who_was_let_in_comes_back_past_the_door_after_a_restart_of_control() {
    let mut world = World::with_door(door()).await;
    let (chair, welcome) = ask(&world, "lobby", "Chair", json!({"moderator": "chair"})).await;
    let ServerMessage::Welcome { participant, resume, .. } = welcome else { panic!("{welcome:?}") };
    chair.vanish().await;
    world.relay.hang_up();
    let restarted =
        plausch_control::server::Server::start_with(super::config(&world.folder, ""), door()).await.unwrap();
    world.server = restarted;
    world.relay.dial(&world).await;
    world.ready().await;
    let mut back = world.client().await;
    let welcome = back.join("lobby", "Chair", Some(resume.into_revealed()), None).await;
    let ServerMessage::Welcome { participant: same, role, .. } = welcome else { unreachable!() };
    assert_eq!((same, role), (participant, WireRole::Moderator), "without the secret");
}
