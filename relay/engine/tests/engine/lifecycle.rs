//! Commands, generations, removal, limits, and what must not grow.

use super::harness::*;
use plausch_engine::effect::Effect;
use plausch_engine::engine::{Engine, EngineConfig};
use plausch_engine::time::Time;
use plausch_relay_api::*;

fn gauges(world: &World) -> Vec<(&'static str, u64)> {
    let gauges = world.engine.counters().entries().filter(|entry| entry.kind == plausch_engine::CounterKind::Gauge);
    gauges.map(|entry| (entry.name, entry.value)).collect()
}

#[test]
fn fifty_rejoins_leave_nothing_behind() {
    let mut world = World::meeting(2);
    let stay = gauges(&world);
    for round in 0..50 {
        let mut again = spec(3);
        again.transport.ice_mut().unwrap().local_ufrag = format!("local-3-{round}");
        world.put(again.clone()).unwrap();
        let client = world.add_client(again);
        world.assign(3, vec![assignment(0, 1, Source::Person), assignment(1, 2, Source::Person)]).unwrap();
        world.connect(client);
        world.send(client, &Rtp::audio(300, 1));
        world.send(client, &Rtp::video(301, 1, 1, true));
        world.pass(100);
        world.remove(3);
        world.clients.pop();
        assert_eq!(gauges(&world), stay);
    }
    world.remove(1);
    world.remove(2);
    assert!(gauges(&world).iter().all(|&(_, value)| value == 0), "{:?}", gauges(&world));
    assert_eq!(world.engine.poll_timeout(), Time::NEVER);
    assert_eq!(world.engine.snapshot().count(), 0);
}

#[test]
fn whoever_is_removed_is_silent_at_once() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::audio(100, 1));
    world.remove(1);
    world.send(0, &Rtp::audio(100, 2));
    assert_eq!(world.clients[1].rtp.len(), 1);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::DtlsEnd { participant: ParticipantId(1), .. })));
    world.remove(1);
}

#[test]
fn a_new_generation_begins_anew_and_keeps_its_assignments() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::audio(100, 1));
    world.send(1, &Rtp::audio(200, 1));
    let mut again = spec(1);
    again.generation = 2;
    again.transport.ice_mut().unwrap().local_ufrag = "local-1-2".into();
    world.put(again.clone()).unwrap();
    assert_eq!(world.put(spec(1)), Err(CommandError::Stale));
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::DtlsEnd { generation: 1, .. })));
    world.clients.remove(0);
    let client = world.add_client(again);
    world.connect(client);
    world.send(client, &Rtp::audio(100, 1));
    world.send(0, &Rtp::audio(200, 2));
    assert_eq!(world.clients[0].take(0x1000).len(), 2);
    assert_eq!(world.clients[client].take(0x1000).len(), 1);
}

#[test]
fn tracks_and_slots_may_grow() {
    let mut world = World::meeting(2);
    world.send(0, &Rtp::audio(100, 1));
    let mut more = spec(2);
    more.slots.push(slot_spec(4));
    more.note = Note::new("{}");
    world.put(more).unwrap();
    world.assign(2, vec![assignment(0, 1, Source::Person), assignment(4, 1, Source::Screen)]).unwrap();
    let mut more = spec(1);
    more.sends.push(SendTrack { kind: TrackKind::ScreenAudio, mid: "3".into(), ssrcs: vec![], rids: vec![] });
    world.put(more).unwrap();
    world.send(0, &Rtp::audio(100, 2));
    world.send(0, &Rtp::audio(999, 1).with(4, b"3"));
    let audio = world.clients[1].take(0x1000);
    assert_eq!((audio.len(), audio[0].index + 1), (2, audio[1].index));
    assert_eq!(world.clients[1].take(0x1004).len(), 1);
    assert_eq!(world.engine.counters().subscriptions, 3);
}

#[test]
fn commands_that_cannot_be_are_refused_and_change_nothing() {
    let mut world = World::meeting(2);
    let before = gauges(&world);
    let refused = |world: &mut World, change: &dyn Fn(&mut ParticipantSpec)| {
        let mut changed = spec(1);
        change(&mut changed);
        world.put(changed).unwrap_err()
    };
    assert_eq!(refused(&mut world, &|spec| spec.shard = ShardId(1)), CommandError::UnknownShard);
    assert_eq!(refused(&mut world, &|spec| spec.room = RoomId(1)), CommandError::Moved);
    assert_eq!(refused(&mut world, &|spec| spec.generation = 0), CommandError::Stale);
    assert_eq!(
        refused(&mut world, &|spec| spec.transport.ice_mut().unwrap().local_ufrag = "local-2-1".into()),
        CommandError::UfragTaken
    );
    let invalid: [&dyn Fn(&mut ParticipantSpec); 13] = [
        &|spec| spec.transport.ice_mut().unwrap().local_pwd = IcePassword::new("short"),
        &|spec| spec.transport.ice_mut().unwrap().local_pwd = IcePassword::new("another-password-of-participant-1"),
        &|spec| spec.codecs[0].payload_type = 72,
        &|spec| spec.codecs[0].payload_type = VP8,
        &|spec| spec.codecs[0].payload_type = 100,
        &|spec| spec.extensions.mid = Some(15),
        &|spec| spec.extensions.mid = spec.extensions.rid,
        &|spec| spec.sends[1].mid = "a-mid-that-is-too-long".into(),
        &|spec| spec.slots[1].video = spec.slots[0].audio.clone(),
        &|spec| {
            let ice = spec.transport.ice().unwrap().clone();
            spec.transport = Transport::browser(ice, Fingerprint::Sha256([9; 32]));
        },
        &|spec| spec.slots.truncate(3),
        &|spec| spec.slots[3].video.as_mut().unwrap().mid = "another".into(),
        &|spec| spec.slots[3].slot = SlotId(9),
    ];
    for (number, change) in invalid.into_iter().enumerate() {
        assert!(matches!(refused(&mut world, change), CommandError::Invalid(_)), "{number}");
    }
    let limited: [&dyn Fn(&mut ParticipantSpec); 3] = [
        &|spec| spec.slots = (0..51).map(slot_spec).collect(),
        &|spec| spec.note = Note::new(vec![0; 5_000]),
        &|spec| spec.sends[1].rids = ["a", "b", "c", "d"].map(String::from).to_vec(),
    ];
    for (number, change) in limited.into_iter().enumerate() {
        assert!(matches!(refused(&mut world, change), CommandError::Limit(_)), "{number}");
    }
    assert_eq!(world.assign(77, vec![]), Err(CommandError::UnknownParticipant));
    let twice = vec![assignment(0, 2, Source::Person), assignment(1, 2, Source::Person)];
    assert!(matches!(world.assign(1, twice), Err(CommandError::Invalid(_))));
    assert_eq!(gauges(&world), before);
    world.send(0, &Rtp::audio(100, 1));
    assert_eq!(world.clients[1].rtp.len(), 1);
}

#[test]
fn an_engine_and_a_room_have_an_end() {
    let mut config = EngineConfig::new(ShardId(0), 1);
    config.max_participants = 3;
    config.max_participants_per_room = 2;
    let mut world = World::new();
    world.engine = Engine::new(config, world.now);
    world.put(spec(1)).unwrap();
    world.put(spec(2)).unwrap();
    assert!(matches!(world.put(spec(3)), Err(CommandError::Limit(_))));
    let mut elsewhere = spec(3);
    elsewhere.room = RoomId(8);
    world.put(elsewhere).unwrap();
    let mut elsewhere = spec(4);
    elsewhere.room = RoomId(8);
    assert!(matches!(world.put(elsewhere), Err(CommandError::Limit(_))));
}

#[test]
fn a_flood_of_ssrcs_is_bounded() {
    let mut world = World::meeting(2);
    for n in 0..1_000 {
        world.send(0, &Rtp::audio(50_000 + n, 1));
        world.send(0, &Rtp::video(60_000 + n, 1, 1, true).with(4, b"2"));
    }
    let counters = world.engine.counters();
    assert_eq!((counters.drop_rtp_unknown_ssrc, counters.ssrcs), (1_000, limits::SSRCS_PER_PARTICIPANT as u64));
    assert_eq!(counters.drop_rtp_ssrc_limit, 1_000 - limits::SSRCS_PER_PARTICIPANT as u64);
}

#[test]
fn forged_and_replayed_packets_are_dropped() {
    let mut world = World::meeting(2);
    let path = world.clients[0].path;
    let good = world.seal(0, &Rtp::audio(100, 1));
    for byte in 0..good.len() {
        let mut forged = good.clone();
        forged[byte] ^= 1;
        world.raw(path, forged);
    }
    for len in 0..good.len() {
        world.raw(path, good[..len].to_vec());
    }
    assert!(world.clients[1].rtp.is_empty());
    world.raw(path, good.clone());
    world.raw(path, good.clone());
    world.raw(path, good);
    assert_eq!(world.clients[1].rtp.len(), 1);
    assert_eq!(world.engine.counters().drop_srtp_replayed, 2);
    assert_eq!(world.engine.counters().ssrcs, 1);
}

#[test]
fn a_full_batch_is_a_counted_drop() {
    let mut world = World::meeting(3);
    world.shrink_tx(2_000);
    for sequence in 0..10 {
        let path = world.clients[0].path;
        let batch = vec![
            (path, world.seal(0, &Rtp::video(101, 2 * sequence, sequence, true))),
            (path, world.seal(0, &Rtp::video(101, 2 * sequence + 1, sequence, true))),
        ];
        world.raw_batch(batch);
    }
    assert!(world.engine.counters().drop_tx_full >= 10);
    assert!(world.engine.counters().rtp_forwarded >= 10);
}

#[test]
fn speakers_are_told() {
    let mut world = World::meeting(3);
    for sequence in 0..50 {
        world.send(1, &Rtp::audio(200, sequence));
        world.pass(20);
    }
    world.pass(3_000);
    let told: Vec<Vec<u64>> = world
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Speakers { room: ROOM, speakers } => {
                Some(speakers.iter().map(|speaker| speaker.participant.0).collect())
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [vec![2], vec![]]);
}
