//! Simulcast: of every picture each viewer gets exactly one layer, whole, and goes over to another one with a key frame.

use crate::people::{SOON, join_with};
use crate::service::Service;
use plausch_client::{Client, Counts, Flow, JoinOptions, Picture, Stats};
use plausch_signalling::MediaState;
use std::time::Duration;
use tokio::time::sleep;

/// Packets under way, and the relay's answers to late NACKs, are over by then.
const SETTLE: Duration = Duration::from_millis(800);

async fn publisher(service: &Service, name: &str) -> Client {
    join_with(JoinOptions {
        camera_layers: 3,
        slots: 0,
        media: MediaState::default(),
        picture: Picture::Load { kbps: 600, fps: 20 },
        ..JoinOptions::new(service.url(), "layers", name)
    })
    .await
}

async fn viewer(service: &Service, slots: u16, decrypt_every: u32) -> Client {
    join_with(JoinOptions {
        microphone: false,
        camera_layers: 0,
        slots,
        decrypt_every,
        follow_layers: true,
        ..JoinOptions::new(service.url(), "layers", "Viewer")
    })
    .await
}

fn talk(publishers: &[Client], on: bool) {
    let media = MediaState { microphone: on, camera: on, screen: false };
    publishers.iter().for_each(|publisher| publisher.set_media(media));
}

/// The layer and size of each picture that is seen.
fn seen(stats: &Stats) -> Vec<(u8, Option<(u16, u16)>)> {
    let tracks = stats.slots.iter().map(|slot| &slot.video);
    tracks.filter_map(|track| Some((track.following?.layer, track.picture))).collect()
}

async fn until_all_see(viewer: &Client, slots: usize, layer: u8, size: (u16, u16)) {
    let wanted = |stats: &Stats| {
        let seen = seen(stats);
        seen.len() >= slots && seen.iter().filter(|one| **one == (layer, Some(size))).count() >= slots
    };
    if viewer.wait_for("the right layer", SOON, wanted).await.is_err() {
        panic!("seen: {:?}", seen(&viewer.stats()));
    }
}

/// What came is what was sent of one layer of each, packet by packet.
fn assert_exact(senders: &[(u64, Counts)], viewer: &Client) {
    let counts = viewer.counts();
    let expected = senders.iter().map(|(id, sent)| Flow::expected_of(*id, sent, &counts));
    let expected = expected.fold(Flow::default(), Flow::plus);
    assert_eq!(Flow { audio: counts.audio, video: counts.video }, expected, "{:?}", counts.following);
    let stats = viewer.stats();
    for track in stats.tracks() {
        assert_eq!((track.blind_switches, track.missing, track.duplicates), (0, 0, 0), "{track:#?}");
        assert_eq!((track.sequence_jumps, track.picture_id_jumps), (0, 0), "{track:#?}");
    }
}

fn sent(publisher: &Client) -> (u64, Counts) {
    (u64::from_str_radix(&publisher.participant(), 16).unwrap(), publisher.counts())
}

#[tokio::test]
async fn one_picture_is_seen_in_its_largest_layer_and_counted_exactly() {
    let service = Service::start().await;
    let publishers = [publisher(&service, "Anna").await];
    let all = viewer(&service, 1, 1).await;
    let sampled = viewer(&service, 1, 17).await;
    talk(&publishers, true);
    until_all_see(&all, 1, 2, (1280, 720)).await;
    sleep(Duration::from_secs(1)).await;
    talk(&publishers, false);
    sleep(SETTLE).await;
    let senders = [sent(&publishers[0])];
    assert!(senders[0].1.sent.layers.iter().all(|sent| *sent > 0), "{:?}", senders[0].1.sent);
    assert_exact(&senders, &all);
    assert_exact(&senders, &sampled);
}

#[tokio::test]
async fn with_many_pictures_smaller_ones_come_and_larger_ones_when_somebody_leaves() {
    let service = Service::start().await;
    let mut publishers = Vec::new();
    for name in ["Anna", "Bert", "Cora", "Dora", "Emil"] {
        publishers.push(publisher(&service, name).await);
    }
    let viewer = viewer(&service, 5, 5).await;
    talk(&publishers, true);
    until_all_see(&viewer, 5, 1, (640, 360)).await;
    // Muted before it leaves, so that nothing of it is under way then.
    let leaves = publishers.pop().unwrap();
    leaves.set_media(MediaState::default());
    sleep(SETTLE).await;
    let mut senders = vec![sent(&leaves)];
    leaves.leave().await;
    until_all_see(&viewer, 4, 2, (1280, 720)).await;
    talk(&publishers, false);
    sleep(SETTLE).await;
    senders.extend(publishers.iter().map(sent));
    assert_exact(&senders, &viewer);
    let switches: u64 = viewer.stats().tracks().map(|track| track.layer_switches).sum();
    assert!(switches >= 4, "{switches}");
}
