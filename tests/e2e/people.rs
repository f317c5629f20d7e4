//! Clients in a room, and what they should see of each other.

use crate::service::Service;
use plausch_client::{Client, JoinOptions, Stats, TrackStats};
use std::time::Duration;

/// Media of everybody must be there within this time.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Joins a room.
pub(crate) async fn join(service: &Service, room: &str, name: &str) -> Client {
    join_with(JoinOptions::new(service.url(), room, name)).await
}

pub(crate) async fn join_with(options: JoinOptions) -> Client {
    let who = format!("{} in {}", options.name, options.room);
    Client::join(options).await.unwrap_or_else(|error| panic!("{who}: {error}"))
}

/// Waits until each receives sound and decodable pictures of all others.
pub(crate) async fn all_meet(clients: &[&Client]) {
    for client in clients {
        for other in clients {
            let id = other.participant();
            if id != client.participant() {
                receives(client, &id).await;
            }
        }
    }
}

/// Waits until more sound and pictures of this participant have come.
pub(crate) async fn receives(client: &Client, other: &str) -> Stats {
    let before = client.stats();
    let counts = |stats: &Stats| {
        stats.slot_of(other).map(|slot| {
            let from = |track: &TrackStats| track.senders.get(other).copied().unwrap_or(0);
            (from(&slot.audio), from(&slot.video), slot.video.key_frames)
        })
    };
    let (audio, video, _) = counts(&before).unwrap_or_default();
    let what = format!("{} to see and hear {other}", before.participant);
    let reached = |stats: &Stats| {
        counts(stats).is_some_and(|(now_audio, now_video, key_frames)| {
            now_audio >= audio + 10 && now_video >= video + 10 && key_frames > 0
        })
    };
    match client.wait_for(&what, SOON, reached).await {
        Ok(stats) => stats,
        Err(error) => panic!("{error}: {:#?}", client.stats()),
    }
}

/// Nothing is wrong with what came: no gaps, nothing double, nothing of strangers.
pub(crate) fn assert_clean(stats: &Stats) {
    assert_eq!((stats.foreign_packets, stats.unknown_packets, stats.junk_datagrams), (0, 0, 0), "{stats:#?}");
    for track in stats.tracks() {
        let wrong = [
            track.missing,
            track.duplicates,
            track.undecryptable,
            track.wrong_mid,
            track.sequence_jumps,
            track.picture_id_jumps,
        ];
        assert_eq!(wrong, [0; 6], "missing, duplicates, undecryptable, wrong MID, jumps: {track:#?}");
    }
}

/// The longest time without a packet in the slot of this participant, of sound and of pictures.
pub(crate) fn longest_pause(stats: &Stats, other: &str) -> Duration {
    let slot = stats.slot_of(other).unwrap_or_else(|| panic!("no slot shows {other}: {stats:#?}"));
    slot.audio.longest_pause.max(slot.video.longest_pause)
}
