//! The bench's conversations are such that the relay notices who speaks.

use crate::people::join_with;
use crate::service::Service;
use plausch_client::{Client, JoinOptions, Speech};
use plausch_signalling::MediaState;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

const PEOPLE: u16 = 3;
const LOOKS: u32 = 80;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

#[tokio::test]
async fn who_has_the_word_is_noticed_as_the_speaker() {
    let service = Service::start().await;
    let mut people: Vec<Client> = Vec::new();
    for index in 0..PEOPLE {
        people.push(
            join_with(JoinOptions {
                camera_layers: 0,
                slots: PEOPLE - 1,
                media: MediaState { microphone: true, camera: false, screen: false },
                speech: Some(Speech { seed: 3, index, people: PEOPLE, dtx: index == 0 }),
                ..JoinOptions::new(service.url(), "speech", format!("Person {index}"))
            })
            .await,
        );
    }
    let known: BTreeSet<String> = people.iter().map(Client::participant).collect();
    let (mut noticed, mut everybody) = (0, 0);
    for _ in 0..LOOKS {
        sleep(BETWEEN_LOOKS).await;
        let speakers = people[0].stats().speakers;
        assert!(speakers.iter().all(|speaker| known.contains(speaker)), "{speakers:?}");
        noticed += u32::from(!speakers.is_empty());
        everybody += u32::from(speakers.len() == usize::from(PEOPLE));
    }
    // About two thirds of the time somebody speaks, and the relay keeps a speaker over short pauses.
    assert!(noticed > LOOKS / 4, "somebody was noticed in {noticed} of {LOOKS} looks");
    // It also keeps who spoke before; but a conversation in which all speak at once is none.
    assert!(everybody < LOOKS / 3, "everybody at once in {everybody} of {LOOKS} looks");
    // Who leaves silence out sent less than the others.
    let sent = |person: &Client| person.counts().sent.audio;
    assert!(sent(&people[0]) < sent(&people[1]), "{} and {}", sent(&people[0]), sent(&people[1]));
}
