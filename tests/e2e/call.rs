//! Calls as they should be: everybody sees and hears everybody of the same room, and nobody else.

use crate::people::{SOON, all_meet, assert_clean, join, join_with, receives};
use crate::service::{Process, Service};
use plausch_client::{Client, ClientError, IpFamily, JoinOptions, SrtpProfiles, Trust};
use plausch_signalling::MediaState;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test]
async fn two_and_three_exchange_sound_and_pictures() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let clara = join(&service, "Room ", "Clara").await;
    all_meet(&[&anna, &bert, &clara]).await;
    sleep(Duration::from_secs(2)).await;
    for client in [&anna, &bert, &clara] {
        let stats = client.stats();
        assert_clean(&stats);
        assert_eq!(stats.participants.len(), 2);
        assert_eq!(stats.connections, 1);
        let rtcp = stats.rtcp;
        assert!(rtcp.sender_reports > 0 && rtcp.receiver_reports > 0 && rtcp.transport_feedback > 0, "{rtcp:?}");
        assert_eq!((rtcp.undecryptable, rtcp.nacks), (0, 0));
    }
    let names: BTreeSet<String> =
        clara.stats().participants.into_iter().map(|other| other.name.into_revealed()).collect();
    assert_eq!(names, BTreeSet::from(["Anna".to_owned(), "Bert".to_owned()]));
}

#[tokio::test]
async fn people_meet_over_https_with_a_self_made_certificate() {
    let mut service = Service::prepare().await;
    let https = service.ports.https;
    service.start_with(Process::Control, &format!("[https]\nlisten = [\"127.0.0.1:{https}\"]\n"));
    service.start_relay();
    service.ready(SOON).await;
    let options = |name: &str, trust| JoinOptions {
        trust,
        ..JoinOptions::new(format!("https://localhost:{https}"), "room", name)
    };
    let stranger = Client::join(options("Anna", Trust::System)).await.map(drop);
    assert!(matches!(stranger, Err(ClientError::Untrusted { .. })), "{stranger:?}");
    let own = Trust::File(service.dir.join("https.pem"));
    let anna = join_with(options("Anna", own)).await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
}

#[tokio::test]
async fn all_srtp_profiles_and_both_ip_families_meet_in_one_room() {
    let service = Service::start().await;
    let options =
        |name: &str, profiles, ip| JoinOptions { profiles, ip, ..JoinOptions::new(service.url(), "profiles", name) };
    let anna = join_with(options("Anna", SrtpProfiles::Aes128Gcm, IpFamily::V4)).await;
    let bert = join_with(options("Bert", SrtpProfiles::Aes256Gcm, IpFamily::V6)).await;
    let clara = join_with(options("Clara", SrtpProfiles::Aes128Cm, IpFamily::V4)).await;
    let doris = join_with(options("Doris", SrtpProfiles::All, IpFamily::Any)).await;
    all_meet(&[&anna, &bert, &clara, &doris]).await;
    let profile = |client: &Client| client.stats().srtp_profile.unwrap();
    assert_eq!(profile(&anna), "AEAD_AES_128_GCM");
    assert_eq!(profile(&bert), "AEAD_AES_256_GCM");
    assert_eq!(profile(&clara), "AES128_CM_HMAC_SHA1_80");
    // GCM is what costs the relay least.
    assert_eq!(profile(&doris), "AEAD_AES_128_GCM");
    for client in [&anna, &bert, &clara, &doris] {
        assert_clean(&client.stats());
    }
}

#[tokio::test]
async fn rooms_are_separate() {
    let service = Service::start().await;
    let red = [join(&service, "red", "Anna").await, join(&service, "red", "Bert").await];
    let blue = [join(&service, "blue", "Anna").await, join(&service, "blue", "Bert").await];
    all_meet(&[&red[0], &red[1]]).await;
    all_meet(&[&blue[0], &blue[1]]).await;
    sleep(Duration::from_secs(2)).await;
    for (own, other) in [(&red, &blue), (&blue, &red)] {
        let strangers = [other[0].participant(), other[1].participant()];
        for client in own {
            let stats = client.stats();
            assert_clean(&stats);
            assert_eq!(stats.participants.len(), 1);
            let senders: BTreeSet<&String> = stats.tracks().flat_map(|track| track.senders.keys()).collect();
            assert!(strangers.iter().all(|stranger| !senders.contains(stranger)), "{senders:?}");
        }
    }
}

#[tokio::test]
async fn a_slot_keeps_its_person_while_others_come_and_go() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    let bert_id = bert.participant();
    let slot = receives(&anna, &bert_id).await.slot_of(&bert_id).and_then(|slot| slot.content.clone()).unwrap().slot;
    for round in 0..3 {
        let guest = join(&service, "room", &format!("Guest {round}")).await;
        receives(&anna, &guest.participant()).await;
        let now = anna.stats().slot_of(&bert_id).and_then(|slot| slot.content.clone()).unwrap().slot;
        assert_eq!(now, slot);
        guest.leave().await;
        anna.wait_for("the guest to be gone", SOON, |stats| stats.participants.len() == 1).await.unwrap();
    }
    // Slots are used again: sequence numbers go on without gaps under the next guest's media.
    assert_clean(&anna.stats());
}

#[tokio::test]
async fn more_slots_show_more_people() {
    let service = Service::start().await;
    let anna = join_with(JoinOptions { slots: 1, ..JoinOptions::new(service.url(), "room", "Anna") }).await;
    let bert = join(&service, "room", "Bert").await;
    let clara = join(&service, "room", "Clara").await;
    anna.wait_for("both others", SOON, |stats| stats.participants.len() == 2).await.unwrap();
    let shown = |client: &Client| client.stats().slots.iter().filter(|slot| slot.content.is_some()).count();
    assert_eq!(shown(&anna), 1);
    anna.add_slots(2).await.unwrap();
    all_meet(&[&anna, &bert, &clara]).await;
    assert_eq!((shown(&anna), anna.stats().connections), (2, 1));
    assert_clean(&anna.stats());
}

#[tokio::test]
async fn muted_people_send_nothing_and_come_back_with_a_key_frame() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;
    let id = bert.participant();
    bert.set_media(MediaState { microphone: false, camera: false, screen: false });
    anna.wait_for("word of the mute", SOON, |stats| {
        stats.participants.iter().any(|other| other.id == id && !other.media.microphone && !other.media.camera)
    })
    .await
    .unwrap();
    sleep(Duration::from_millis(500)).await;
    let muted = anna.stats().received_packets();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(anna.stats().received_packets(), muted);
    bert.set_media(MediaState { microphone: true, camera: true, screen: false });
    receives(&anna, &id).await;
    assert_clean(&anna.stats());
}

#[tokio::test]
async fn simulcast_shows_one_layer_at_a_time() {
    let service = Service::start().await;
    let layers = |name: &str| JoinOptions { camera_layers: 3, ..JoinOptions::new(service.url(), "room", name) };
    let anna = join_with(layers("Anna")).await;
    let bert = join_with(layers("Bert")).await;
    all_meet(&[&anna, &bert]).await;
    let id = bert.participant();
    anna.wait_for("the largest picture", SOON, |stats| {
        stats.slot_of(&id).is_some_and(|slot| slot.video.picture == Some((640, 360)))
    })
    .await
    .unwrap();
    assert_clean(&anna.stats());
}

#[tokio::test]
async fn who_speaks_is_told() {
    let service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    let clara = join(&service, "room", "Clara").await;
    for (speaker, others) in [(&bert, [&anna, &clara]), (&anna, [&bert, &clara])] {
        speaker.set_audio_level(10);
        others.iter().for_each(|silent| silent.set_audio_level(127));
        let id = speaker.participant();
        clara
            .wait_for("the speaker to be told", SOON, |stats| stats.speakers.first() == Some(&id))
            .await
            .unwrap_or_else(|error| panic!("{error}: {:?}", clara.stats().speakers));
    }
}
