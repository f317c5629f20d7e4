//! Who leaves is gone at once, who vanishes is gone after a while, and nothing of either stays behind.

use crate::people::{SOON, all_meet, join};
use crate::service::{Service, total};
use plausch_client::Client;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Gauges of the relay that grow with participants.
const GAUGES: [&str; 6] = [
    "plausch_participants",
    "plausch_tracks",
    "plausch_subscriptions",
    "plausch_ssrcs",
    "plausch_dtls_sessions",
    "plausch_tuples",
];

async fn gauges(service: &Service) -> BTreeMap<&'static str, f64> {
    let metrics = service.relay_metrics().await;
    GAUGES.map(|name| (name, total(&metrics, name))).into()
}

async fn wait_for_gauges(service: &Service, expected: &BTreeMap<&'static str, f64>) {
    let begin = Instant::now();
    loop {
        let now = gauges(service).await;
        if now == *expected {
            return;
        }
        assert!(begin.elapsed() < SOON, "{now:?} instead of {expected:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn is_alone(client: &Client, within: Duration) -> Duration {
    let begin = Instant::now();
    client.wait_for("the other to be gone", within, |stats| stats.participants.is_empty()).await.unwrap();
    begin.elapsed()
}

#[tokio::test]
async fn who_leaves_or_closes_the_tab_is_gone_at_once() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    bert.leave().await;
    assert!(is_alone(&anna, SOON).await < Duration::from_secs(1));
    assert!(anna.stats().slots.iter().all(|slot| slot.content.is_none()));
    let clara = join(&service, "room", "Clara").await;
    all_meet(&[&anna, &clara]).await;
    clara.close_tab().await;
    assert!(is_alone(&anna, SOON).await < Duration::from_secs(1));
}

#[tokio::test]
async fn who_vanishes_is_gone_when_consent_has_run_out() {
    let service = Service::start().await;
    let empty = gauges(&service).await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let id = bert.participant();
    bert.vanish().await;
    // Bert could still come back: he is shown as not connected, or still as he was, but he is there.
    sleep(Duration::from_secs(5)).await;
    assert!(anna.stats().participants.iter().any(|other| other.id == id));
    // 30 s of consent since the last check, at most 4 s ago when he vanished, and some slack.
    is_alone(&anna, Duration::from_secs(35)).await;
    anna.leave().await;
    wait_for_gauges(&service, &empty).await;
}

#[tokio::test]
async fn fifty_joins_in_a_row_leave_nothing_behind() {
    let service = Service::start().await;
    let empty = gauges(&service).await;
    assert!(empty.values().all(|value| *value == 0.0), "{empty:?}");
    let anna = join(&service, "room", "Anna").await;
    anna.wait_for("sent packets", SOON, |stats| stats.sent.packets > 100).await.unwrap();
    let alone = gauges(&service).await;
    for round in 0..50 {
        let bert = join(&service, "room", "Bert").await;
        bert.wait_for("media", SOON, |stats| stats.received_packets() > 0).await.unwrap();
        match round % 3 {
            0 => bert.close_tab().await,
            _ => bert.leave().await,
        }
    }
    is_alone(&anna, SOON).await;
    wait_for_gauges(&service, &alone).await;
    anna.leave().await;
    wait_for_gauges(&service, &empty).await;
}
