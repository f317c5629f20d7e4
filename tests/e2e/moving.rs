//! Networks change under a running call.

use crate::people::{all_meet, assert_clean, join, longest_pause, receives};
use crate::service::Service;
use std::time::Duration;

#[tokio::test]
async fn an_ice_restart_keeps_media() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let (anna_id, bert_id) = (anna.participant(), bert.participant());
    anna.clear_pauses();
    bert.clear_pauses();
    for _ in 0..3 {
        anna.restart_ice().await.unwrap();
        receives(&anna, &bert_id).await;
        receives(&bert, &anna_id).await;
    }
    for (client, other) in [(&anna, &bert_id), (&bert, &anna_id)] {
        let stats = client.stats();
        assert!(longest_pause(&stats, other) < Duration::from_secs(1));
        assert_eq!(stats.connections, 1);
        assert_clean(&stats);
    }
}

#[tokio::test]
async fn a_new_address_keeps_media_without_renegotiation() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    for _ in 0..10 {
        // More changes than the relay remembers address pairs.
        anna.change_address();
        receives(&anna, &bert.participant()).await;
        receives(&bert, &anna.participant()).await;
    }
    let stats = anna.stats();
    assert!(longest_pause(&stats, &bert.participant()) < Duration::from_secs(1));
    assert_eq!(stats.connections, 1);
}

#[tokio::test]
async fn an_ice_restart_from_a_new_address_keeps_media() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    anna.change_address();
    anna.restart_ice().await.unwrap();
    receives(&anna, &bert.participant()).await;
    receives(&bert, &anna.participant()).await;
    assert_eq!(anna.stats().connections, 1);
}
