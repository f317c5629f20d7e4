//! Two relays on one control.

use crate::people::{SOON, all_meet, assert_clean, join, longest_pause, receives};
use crate::service::{Process, Service};
use plausch_client::{Client, State};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A service with two relays, and a room of two on each.
async fn two_rooms() -> (Service, [Client; 2], [Client; 2]) {
    let mut service = Service::start().await;
    let first = [join(&service, "first", "Anna").await, join(&service, "first", "Bert").await];
    service.start_second_relay().await;
    // Rooms begin where fewest people are: sooner or later one is at the second relay.
    for number in 0..64 {
        let room = format!("room {number}");
        let clara = join(&service, &room, "Clara").await;
        if at_second(&service, &clara) {
            let second = [clara, join(&service, &room, "Doris").await];
            assert!(at_second(&service, &second[1]));
            all_meet(&[&first[0], &first[1]]).await;
            all_meet(&[&second[0], &second[1]]).await;
            return (service, first, second);
        }
    }
    panic!("no room begins at the second relay");
}

/// The client's media is at the second relay.
fn at_second(service: &Service, client: &Client) -> bool {
    client.stats().relay.expect("joined, with media").port() >= service.ports.second_media()
}

/// Nothing has happened to this call since its pauses were cleared.
fn assert_untouched([anna, bert]: &[Client; 2]) {
    for (client, other) in [(anna, bert), (bert, anna)] {
        let stats = client.stats();
        assert_clean(&stats);
        assert_eq!((stats.connections, stats.lost_sockets, stats.participants.len()), (1, 0, 1));
        let pause = longest_pause(&stats, &other.participant());
        assert!(pause < Duration::from_secs(1), "{pause:?}");
    }
}

#[tokio::test]
async fn a_relay_that_is_killed_gives_its_rooms_to_the_other() {
    let (mut service, first, second) = two_rooms().await;
    first.iter().for_each(Client::clear_pauses);
    service.kill(Process::SecondRelay);
    let killed = Instant::now();
    for client in &second {
        client
            .wait_for("a new connection", SOON, |stats| stats.connections == 2 && stats.state == State::Connected)
            .await
            .unwrap_or_else(|error| panic!("{error}: {:#?}", client.stats()));
    }
    // Where nothing else runs it is half of that.
    assert!(killed.elapsed() < Duration::from_secs(4), "{:?}", killed.elapsed());
    eprintln!("back after {:?}", killed.elapsed());
    assert!(second.iter().all(|client| !at_second(&service, client)));
    all_meet(&[&second[0], &second[1]]).await;
    assert_untouched(&first);
    assert_eq!(service.relays().await, 1);

    // It starts again, and takes rooms again; those that moved stay.
    service.start_second_relay().await;
    all_meet(&[&second[0], &second[1]]).await;
    assert!(second.iter().all(|client| client.stats().connections == 2));
    assert_untouched(&first);
}

#[tokio::test]
async fn calls_on_both_relays_go_on_while_control_restarts() {
    let (mut service, first, second) = two_rooms().await;
    service.kill(Process::Control);
    first.iter().chain(&second).for_each(Client::clear_pauses);
    sleep(Duration::from_secs(1)).await;
    service.start_control();
    for client in first.iter().chain(&second) {
        client
            .wait_for("the re-attachment", SOON, |stats| stats.reattached >= 1 && stats.participants.len() == 1)
            .await
            .unwrap();
    }
    for (client, other) in [(&first[0], &first[1]), (&second[0], &second[1])] {
        let stats = receives(client, &other.participant()).await;
        assert_clean(&stats);
        assert_eq!(stats.connections, 1, "the PeerConnection is kept");
        let pause = longest_pause(&stats, &other.participant());
        assert!(pause < Duration::from_secs(1), "{pause:?}");
    }
    assert_eq!(service.relays().await, 2);
}
