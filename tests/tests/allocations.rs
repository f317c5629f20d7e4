//! No heap allocation for a packet that is forwarded. A binary of its own, for its allocator counts.
#![allow(clippy::unwrap_used)]

use plausch_allocation_count::Counting;
use plausch_engine::srtp::Profile;
use plausch_engine::{Path, RxPacket, TxBatch};
use plausch_relay_api::{Codec, ParticipantId, RoomId, SlotAssignment, Source, SourceRef};
use plausch_tests::random::Random;
use plausch_tests::sim::client::{Upward, What};
use plausch_tests::sim::network::Quality;
use plausch_tests::sim::setup::{Habits, Setup};
use plausch_tests::sim::world::World;
use plausch_tests::wire::rtcp::Rtcp;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(work: impl FnOnce()) -> u64 {
    let before = plausch_allocation_count::allocations();
    work();
    plausch_allocation_count::allocations() - before
}

const SUBSCRIBERS: u64 = 5;
const STEP: Duration = Duration::from_millis(5);
/// Forwarded packets to count allocations of.
const PACKETS: u64 = 8_000;

/// One publisher and several subscribers, connected and past their first seconds.
fn meeting(profile: Profile, video: Codec) -> World {
    let mut random = Random::new(5);
    let mut world = World::new(5);
    let habits = Habits { video, simulcast: false, screen_permille: 0 };
    let publisher = ParticipantId(1);
    for id in 1..=1 + SUBSCRIBERS {
        let mut setup = Setup::random(&mut random, ParticipantId(id), RoomId(1), 1, habits);
        (setup.profile, setup.video, setup.speaks) = (profile, video, true);
        // Losses are part of the usual, and so of the warm-up: enough that each stream has some.
        let lossy = Quality { loss_permille: 60, ..Quality::perfect(Duration::from_millis(1)) };
        world.join(setup, [lossy; 2]).unwrap();
        if id > 1 {
            let source = SourceRef { participant: publisher, source: Source::Person };
            let slots = vec![SlotAssignment { slot: plausch_relay_api::SlotId(0), source, max_layer: 2 }];
            world.model.assign(world.now, ParticipantId(id), &slots);
            let command = plausch_relay_api::Command::AssignSlots { participant: ParticipantId(id), slots };
            world.control(command).unwrap().unwrap();
        }
    }
    while world.now.since(plausch_engine::Time(1_000_000_000)) < Duration::from_secs(6) {
        world.step(STEP).unwrap();
    }
    world
}

/// Allocations in `handle_batch` for media, reports and NACKs.
fn allocations(profile: Profile, video: Codec) -> (u64, u64) {
    let mut world = meeting(profile, video);
    let mut tx = TxBatch::new(8 << 20, 8192);
    let before = world.engine.counters().rtp_forwarded;
    let mut allocations = 0;
    let (mut asked, mut sent) = (0, 0);
    while world.engine.counters().rtp_forwarded - before < PACKETS {
        world.now = world.now + STEP;
        let mut checks = Vec::new();
        let (mut media, rest): (Vec<Upward>, Vec<Upward>) = world
            .clients
            .values_mut()
            .flat_map(|client| {
                let mut sent = client.poll(world.now).unwrap();
                // Now and then a subscriber asks for the latest packets again.
                asked += 1;
                if asked % 50 == 0 && client.setup.spec.participant != ParticipantId(1) {
                    let media = client.setup.spec.slots[0].video.as_ref().unwrap().ssrc;
                    let lost = client.receivers[&media].newest();
                    let sender = 1;
                    let report = Rtcp::ReceiverReport { ssrc: sender, blocks: Vec::new() };
                    sent.push(client.rtcp(vec![report, Rtcp::Nack { sender, media, lost }]));
                }
                sent
            })
            .partition(|datagram| matches!(datagram.what, What::Rtp { .. } | What::Rtcp { .. }));
        media.retain(|_| {
            sent += 1;
            sent % 97 != 0
        });
        for (datagrams, counts) in [(rest, false), (media, true)] {
            let mut buffers: Vec<Vec<u8>> = datagrams.iter().map(|datagram| datagram.bytes.to_vec()).collect();
            let mut rx: Vec<RxPacket<'_>> = buffers
                .iter_mut()
                .zip(&datagrams)
                .map(|(data, datagram)| RxPacket { path: datagram.path, data })
                .collect();
            let (engine, now) = (&mut world.engine, world.now);
            let found = counted(|| engine.handle_batch(now, &mut rx, &mut tx));
            allocations += if counts { found } else { 0 };
            take_checks(&mut tx, &mut checks);
        }
        while world.engine.poll_timeout() <= world.now {
            world.engine.handle_timeout(world.now, &mut tx);
            take_checks(&mut tx, &mut checks);
        }
        answer(&mut world, checks, &mut tx);
        while world.engine.poll_effect().is_some() {}
    }
    (allocations, world.engine.counters().rtp_retransmitted)
}

/// What the engine has sent: its checks are kept.
fn take_checks(tx: &mut TxBatch, checks: &mut Vec<(Path, Vec<u8>)>) {
    let requests = tx.datagrams().filter(|(_, datagram)| datagram.starts_with(&[0, 1]));
    checks.extend(requests.map(|(path, datagram)| (path, datagram.to_vec())));
    tx.clear();
}

/// The clients answer the engine's checks, or it would end their transports.
fn answer(world: &mut World, checks: Vec<(Path, Vec<u8>)>, tx: &mut TxBatch) {
    for (path, check) in checks {
        let Some(client) = world.clients.values_mut().find(|client| client.path == path) else { continue };
        let Some(answer) = client.receive(world.now, path, path.remote, &check).unwrap() else { continue };
        world.engine.handle_batch(world.now, &mut [RxPacket { path, data: &mut answer.bytes.to_vec() }], tx);
        tx.clear();
    }
}

#[test]
fn forwarding_allocates_nothing() {
    for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
        for video in [Codec::Vp8, Codec::H264] {
            let (allocations, retransmitted) = allocations(profile, video);
            assert_eq!(allocations, 0, "allocations in {PACKETS} forwarded packets of {profile:?}, {video:?}");
            assert!(retransmitted > 0, "the NACKs were about something");
        }
    }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(counted(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(counted(|| drop(std::hint::black_box(Vec::<u8>::new()))), 0);
}
