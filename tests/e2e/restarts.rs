//! Either process dies in the middle of a call.

use crate::people::{SOON, all_meet, assert_clean, join, longest_pause, receives};
use crate::service::{Process, Service};
use plausch_client::State;
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[tokio::test]
async fn media_goes_on_without_control_and_everybody_comes_back_to_it() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let (anna_id, bert_id) = (anna.participant(), bert.participant());
    for client in [&anna, &bert] {
        client.clear_pauses();
    }
    service.kill(Process::Control);
    sleep(Duration::from_secs(3)).await;
    service.start_control();
    service.ready(SOON).await;
    for client in [&anna, &bert] {
        client
            .wait_for("the re-attachment", SOON, |stats| stats.reattached >= 1 && stats.participants.len() == 1)
            .await
            .unwrap();
    }
    let clara = join(&service, "room", "Clara").await;
    all_meet(&[&anna, &bert, &clara]).await;
    for (client, id, other) in [(&anna, &anna_id, &bert_id), (&bert, &bert_id, &anna_id)] {
        let stats = client.stats();
        assert_eq!(stats.participant, *id, "the identity is kept");
        assert_eq!(stats.connections, 1, "the PeerConnection is kept");
        assert!(longest_pause(&stats, other) < Duration::from_secs(1), "{:?}", longest_pause(&stats, other));
        assert_clean(&stats);
    }
    assert_eq!(clara.stats().participants.len(), 2);
}

#[tokio::test]
async fn who_comes_while_nobody_has_reattached_still_meets_all() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let id = anna.participant();
    service.kill(Process::Control);
    service.start_control();
    service.ready(SOON).await;
    // Anna may or may not have come back yet: her media is there in any case.
    let bert = join(&service, "room", "Bert").await;
    receives(&bert, &id).await;
    receives(&anna, &bert.participant()).await;
}

#[tokio::test]
async fn calls_are_back_when_the_relay_is() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let ids = [anna.participant(), bert.participant()];
    service.kill(Process::Relay);
    sleep(Duration::from_secs(1)).await;
    service.start_relay();
    let restarted = Instant::now();
    for client in [&anna, &bert] {
        client
            .wait_for("a new connection", SOON, |stats| stats.connections == 2 && stats.state == State::Connected)
            .await
            .unwrap_or_else(|error| panic!("{error}: {:#?}", client.stats()));
    }
    all_meet(&[&anna, &bert]).await;
    assert!(restarted.elapsed() < Duration::from_secs(8), "{:?}", restarted.elapsed());
    assert_eq!(ids, [anna.participant(), bert.participant()], "the identities are kept");
}

#[tokio::test]
async fn calls_are_back_after_both_died() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    service.kill(Process::Relay);
    service.kill(Process::Control);
    service.start_control();
    service.start_relay();
    for client in [&anna, &bert] {
        client
            .wait_for("a new connection", SOON, |stats| stats.connections >= 2 && stats.state == State::Connected)
            .await
            .unwrap_or_else(|error| panic!("{error}: {:#?}", client.stats()));
    }
    all_meet(&[&anna, &bert]).await;
}

#[tokio::test]
async fn a_lost_socket_is_no_lost_call() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    bert.clear_pauses();
    anna.lose_socket();
    anna.wait_for("the re-attachment", SOON, |stats| stats.reattached == 1 && stats.participants.len() == 1)
        .await
        .unwrap();
    let stats = receives(&bert, &anna.participant()).await;
    assert!(longest_pause(&stats, &anna.participant()) < Duration::from_secs(1));
    assert_eq!(stats.participants.len(), 1);
    assert_eq!(anna.stats().connections, 1);
}
