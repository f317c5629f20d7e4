//! Links that lose packets: pictures are asked for again, in both directions.

use crate::people::{SOON, all_meet, join, join_with};
use crate::service::Service;
use plausch_client::{Client, JoinOptions, Loss, SlotStats, Stats};
use std::time::Duration;
use tokio::time::sleep;

/// Long enough for some hundred packets.
const WHILE: Duration = Duration::from_secs(5);

fn slot<'a>(stats: &'a Stats, of: &Client) -> &'a SlotStats {
    stats.slot_of(&of.participant()).unwrap_or_else(|| panic!("not shown: {stats:#?}"))
}

async fn lossy(service: &Service, name: &str, sent_permille: u16, received_permille: u16) -> Client {
    let loss = Loss { sent_permille, received_permille };
    join_with(JoinOptions { loss, ..JoinOptions::new(service.url(), "room", name) }).await
}

/// All pictures arrived in the end, and none was lost to a decoder.
async fn pictures_are_whole(client: &Client, other: &Client) {
    let whole = |stats: &Stats| {
        let video = &slot(stats, other).video;
        video.missing == 0 && video.picture_id_jumps == 0
    };
    if client.wait_for("whole pictures", SOON, whole).await.is_err() {
        panic!("pictures are missing: {:#?}", client.stats());
    }
}

#[tokio::test]
async fn what_is_lost_on_the_way_to_the_relay_is_sent_again_by_the_sender() {
    let service = Service::start().await;
    let anna = lossy(&service, "Anna", 50, 0).await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    sleep(WHILE).await;
    let stats = anna.stats();
    assert!(stats.rtcp.nacks > 0 && stats.sent.retransmitted > 0, "{:?} {:?}", stats.rtcp, stats.sent);
    pictures_are_whole(&bert, &anna).await;
    // Sound is not asked for again; the gap is left for the listener's concealment.
    assert!(slot(&bert.stats(), &anna).audio.missing > 0);
}

#[tokio::test]
async fn what_is_lost_on_the_way_from_the_relay_is_sent_again_by_the_relay() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = lossy(&service, "Bert", 0, 50).await;
    all_meet(&[&anna, &bert]).await;
    sleep(WHILE).await;
    assert!(bert.stats().rtcp.sent_nacks > 0);
    pictures_are_whole(&bert, &anna).await;
    let stats = anna.stats();
    assert_eq!((stats.rtcp.nacks, stats.sent.retransmitted), (0, 0), "the relay has what Bert lacks");
    // One bad link is nobody else's.
    assert_eq!(slot(&stats, &bert).video.missing, 0);
}
