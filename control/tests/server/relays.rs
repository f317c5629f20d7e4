//! Two relays.

use super::relay::FakeRelay;
use super::{Client, World, eventually, offer};
use plausch_relay_api::{CommandError, Event};
use plausch_signalling::{ClientMessage, ErrorCode, ServerMessage};
use std::time::{Duration, Instant};

/// East and west, with a room of two on each: "a" and "b".
struct Two {
    world: World,
    east: FakeRelay,
    west: FakeRelay,
    a: [Client; 2],
    b: [Client; 2],
}

impl Two {
    async fn new() -> Self {
        let world = World::without_relay("").await;
        let (east, west) = (FakeRelay::named("east", 7000), FakeRelay::named("west", 7100));
        east.dial(&world).await;
        world.ready().await;
        let a = [world.joined("a", "Anna").await, world.joined("a", "Bert").await];
        // East's second shard is the first of those that are empty.
        let _filler = world.joined("filler", "Fritz").await;
        west.dial(&world).await;
        eventually("west is linked", || world.server.service.gauges().relays.len() == 2).await;
        let b = [world.joined("b", "Clara").await, world.joined("b", "Doris").await];
        eventually("everybody has slots", || {
            let all =
                |relay: &FakeRelay| relay.participants().iter().filter(|known| known.assignments.len() == 1).count();
            (all(&east), all(&west)) == (2, 2)
        })
        .await;
        assert_eq!((east.participants().len(), west.participants().len()), (3, 2));
        let mut two = Self { world, east, west, a, b };
        for client in two.a.iter_mut().chain(&mut two.b) {
            client.hear_all().await;
        }
        two
    }
}

impl Client {
    /// Reads what there is.
    async fn hear_all(&mut self) -> Vec<ServerMessage> {
        let mut heard = Vec::new();
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(150), self.try_next()).await {
            heard.push(message);
        }
        heard
    }

    /// Offers a new connection, and gives the answer's SDP.
    async fn offer_again(&mut self, connection: u32) -> String {
        self.send(&ClientMessage::Offer { offer: offer(connection) }).await;
        self.until(|message| match message {
            ServerMessage::Answer { answer } => Some(answer.sdp),
            ServerMessage::Error { code, .. } => panic!("{code:?}"),
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn a_relay_that_dies_gives_its_rooms_to_the_other_whose_people_notice_nothing() {
    let mut two = Two::new().await;
    let before = two.east.participants();
    two.west.die();
    let died = Instant::now();
    for client in &mut two.b {
        client.until_media_lost().await;
        let sdp = client.offer_again(2).await;
        assert!(sdp.contains(" 127.0.0.1 700") && !sdp.contains(" 127.0.0.1 71"), "east's candidates: {sdp}");
        assert!(sdp.contains("a=fingerprint:sha-256 65:65:"), "east's fingerprint: {sdp}");
    }
    assert!(died.elapsed() < Duration::from_secs(2), "{:?}", died.elapsed());
    eventually("they see each other at east", || {
        let room_b = two.east.participants().into_iter().filter(|known| known.spec.generation == 2);
        room_b.map(|known| known.assignments.len()).collect::<Vec<_>>() == [1, 1]
    })
    .await;
    for client in &mut two.a {
        assert_eq!(client.hear_all().await, []);
    }
    let after = two.east.participants();
    let unmoved = |known| after.contains(known);
    assert!(before.iter().all(unmoved));

    // It was not dead after all: whom it still has is removed there, and nobody notices.
    two.b[1].hear_all().await;
    two.west.dial(&two.world).await;
    eventually("west is empty", || two.west.participants().is_empty()).await;
    for client in two.a.iter_mut().chain(&mut two.b[1..]) {
        assert_eq!(client.hear_all().await, []);
    }
    assert_eq!(two.east.participants().len(), 5);
}

#[tokio::test]
async fn a_link_that_breaks_for_a_moment_moves_nobody() {
    let mut two = Two::new().await;
    let before = two.west.participants();
    two.west.hang_up();
    eventually("west is away", || two.world.server.service.gauges().relays.iter().any(|relay| !relay.linked)).await;
    // A join waits for the room's relay, though another one is there.
    let mut emil = two.world.client().await;
    emil.send_join("b", "Emil", None, Some(offer(1))).await;
    two.b[0].send(&ClientMessage::Offer { offer: offer(2) }).await;
    assert_eq!(two.b[0].until_error().await, (ErrorCode::NoRelay, false));
    tokio::time::sleep(Duration::from_millis(300)).await;
    two.west.dial(&two.world).await;
    assert!(matches!(emil.next().await, ServerMessage::Welcome { .. }));
    for client in two.a.iter_mut().chain(&mut two.b) {
        let lost = client.hear_all().await.into_iter().find(|message| matches!(message, ServerMessage::MediaLost));
        assert_eq!(lost, None);
    }
    let after = two.west.participants();
    assert_eq!((before.len(), after.len()), (2, 3));
    for known in before {
        assert!(after.iter().any(|after| after.spec.transport == known.spec.transport && after.spec.generation == 1));
    }
}

#[tokio::test]
async fn a_relay_that_stays_away_without_a_word_is_given_up_after_a_while() {
    let mut two = Two::new().await;
    two.west.hang_up();
    for client in &mut two.b {
        client.until_media_lost().await;
        client.offer_again(2).await;
    }
    assert_eq!(two.east.participants().len(), 5);
    assert_eq!(two.world.server.service.gauges().relays.len(), 1);
}

#[tokio::test]
async fn a_draining_relay_keeps_its_rooms_and_gets_no_others() {
    let two = Two::new().await;
    let there = |relay: &FakeRelay| relay.participants().len();
    two.west.send(Event::Load { shards: Vec::new(), draining: true });
    let draining = || two.world.server.service.gauges().relays.iter().any(|relay| relay.draining);
    eventually("control knows", draining).await;
    let _emil = two.world.joined("b", "Emil").await;
    assert_eq!((there(&two.east), there(&two.west)), (3, 3));
    for room in ["c", "d", "e"] {
        two.world.joined(room, "Gast").await;
    }
    assert_eq!(there(&two.west), 3);
}

#[tokio::test]
async fn a_room_that_a_relay_refuses_because_it_drains_begins_at_the_other() {
    let two = Two::new().await;
    let there = || (two.east.participants().len(), two.west.participants().len());
    // West's second shard has nobody, so it is asked first.
    two.west.refuse_next(CommandError::Draining);
    let _emil = two.world.joined("c", "Emil").await;
    assert_eq!(there(), (4, 2));
    // Nor has it people of that room when it is asked once more.
    two.east.refuse_next(CommandError::Draining);
    two.east.refuse_next(CommandError::Draining);
    let mut frieda = two.world.client().await;
    frieda.send_join("d", "Frieda", None, Some(offer(1))).await;
    assert_eq!(frieda.until_error().await, (ErrorCode::NoRelay, false), "nobody takes new rooms any more");
    let _gert = two.world.joined("a", "Gert").await;
    assert_eq!(there(), (5, 2));
}

#[tokio::test]
async fn relays_have_numbers_of_their_own() {
    let two = Two::new().await;
    let load = |participants| plausch_relay_api::ShardLoad {
        shard: plausch_relay_api::ShardId(0),
        participants,
        busy_permille: 7,
        received_packets: 0,
        sent_packets: 0,
    };
    two.east.send(Event::Load { shards: vec![load(3)], draining: false });
    two.west.send(Event::Load { shards: vec![load(2)], draining: false });
    let text = || two.world.server.service.metrics.text(&two.world.server.service.gauges());
    let lines = [
        "plausch_relay_linked 2",
        "plausch_relay_up{relay=\"east\"} 1",
        "plausch_relay_draining{relay=\"west\"} 0",
        "plausch_shard_participants{relay=\"east\",shard=\"0\"} 3",
        "plausch_shard_participants{relay=\"west\",shard=\"0\"} 2",
    ];
    eventually("all numbers are there", || lines.iter().all(|line| text().lines().any(|other| other == *line))).await;
}
