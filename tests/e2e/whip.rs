//! The bench's clients by WHIP and WHEP: the same media and the same counting as by our own signalling.

use crate::people::{SOON, assert_clean, join, join_with};
use crate::service::Service;
use plausch_client::{Client, ClientError, Entry, Flow, JoinOptions, Picture, Stats};
use plausch_signalling::MediaState;
use std::time::Duration;
use tokio::time::sleep;

const SETTLE: Duration = Duration::from_millis(800);
const ON: MediaState = MediaState { microphone: true, camera: true, screen: false };

fn options(service: &Service, name: &str) -> JoinOptions {
    JoinOptions {
        entry: Entry::Whip,
        picture: Picture::Load { kbps: 500, fps: 20 },
        ..JoinOptions::new(service.url(), "stage", name)
    }
}

async fn publisher(service: &Service, name: &str) -> Client {
    join_with(JoinOptions { slots: 0, media: MediaState::default(), ..options(service, name) }).await
}

async fn viewer(service: &Service, watches: &[&str]) -> Client {
    join_with(JoinOptions {
        microphone: false,
        camera_layers: 0,
        slots: watches.len() as u16,
        watches: watches.iter().map(|&name| name.to_owned()).collect(),
        ..options(service, "Viewer")
    })
    .await
}

#[tokio::test]
async fn whep_viewers_get_every_packet_of_whom_they_watch() {
    let service = Service::start().await;
    // With a space, as people are called.
    let publishers = [publisher(&service, "Anna One").await, publisher(&service, "Bert").await];
    let both = viewer(&service, &["Anna One", "Bert"]).await;
    let one = viewer(&service, &["Bert"]).await;
    publishers.iter().for_each(|publisher| publisher.set_media(ON));
    for (client, slots) in [(&both, 2), (&one, 1)] {
        let flows = |stats: &Stats| {
            let whole = |track: &plausch_client::TrackStats| track.packets > 30;
            stats.slots.iter().filter(|slot| whole(&slot.audio) && whole(&slot.video)).count() == slots
        };
        client.wait_for("sound and pictures of all", SOON, flows).await.unwrap();
    }
    publishers.iter().for_each(|publisher| publisher.set_media(MediaState::default()));
    sleep(SETTLE).await;
    let sent = |publisher: &Client| {
        let sent = publisher.counts().sent;
        Flow { audio: sent.audio, video: sent.layers[0] }
    };
    let received = |client: &Client| Flow { audio: client.counts().audio, video: client.counts().video };
    assert_eq!(received(&both), sent(&publishers[0]).plus(sent(&publishers[1])));
    assert_eq!(received(&one), sent(&publishers[1]));
    for client in [&both, &one] {
        assert_clean(&client.stats());
        for slot in client.stats().slots {
            let shown = slot.content.unwrap().participant;
            assert_eq!(slot.video.senders.keys().collect::<Vec<_>>(), [&shown], "the one who is watched, nobody else");
        }
    }
    // All of them are participants, and are gone at once when they leave.
    let native = join(&service, "stage", "Cora").await;
    assert_eq!(native.stats().participants.len(), 5);
    for client in publishers.into_iter().chain([both, one]) {
        client.leave().await;
    }
    native.wait_for("an empty room", SOON, |stats| stats.participants.is_empty()).await.unwrap();
}

#[tokio::test]
async fn refusals_over_http_are_told_in_words() {
    let service = Service::start().await;
    let nameless = JoinOptions { slots: 0, ..options(&service, "\u{200b}") };
    let refused = Client::join(nameless).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ClientError::HttpRefused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("name"), "{refused}");
}
