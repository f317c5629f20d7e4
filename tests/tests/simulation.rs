//! Seeds of the simulation, and the proof that its model can say no.
//!
//! `PLAUSCH_SIM_SEED=n` runs that seed only; `PLAUSCH_SIM_SEEDS=n` runs that many.
#![allow(clippy::unwrap_used)]

use plausch_engine::srtp::Profile;
use plausch_relay_api::{Codec, Command, ParticipantId, RoomId, SlotAssignment, SlotId, Source, SourceRef};
use plausch_tests::random::Random;
use plausch_tests::sim::model::Counts;
use plausch_tests::sim::mutation::Mutation;
use plausch_tests::sim::network::Quality;
use plausch_tests::sim::scenario::{Violation, run};
use plausch_tests::sim::setup::{Habits, Setup};
use plausch_tests::sim::world::World;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seeds in the test command.
const SEEDS: u64 = 400;
/// Runs in which one fault of a kind is tried before the model is called blind to it.
const SEEDS_PER_MUTATION: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs seeds on all CPUs; the sums, and the failures in order of their seeds.
fn run_all(seeds: u64) -> (Counts, Vec<Violation>) {
    let next = AtomicU64::new(0);
    let results = Mutex::new((Counts::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let result = std::panic::catch_unwind(|| run(seed, None));
                    let mut results = results.lock().unwrap();
                    match result {
                        Ok(Ok(counts)) => results.0.add(&counts),
                        Ok(Err(violation)) => results.1.push(violation),
                        Err(_) => panic!("PLAUSCH_SIM_SEED={seed} panicked"),
                    }
                }
            });
        }
    });
    let (counts, mut violations) = results.into_inner().unwrap();
    violations.sort_by_key(|violation| violation.seed);
    (counts, violations)
}

/// Each found a fault that none of the first hundreds does.
const ONCE_FAILED: [u64; 1] = [1363];

#[test]
fn seeds_that_once_failed_do_not_fail_again() {
    for seed in ONCE_FAILED {
        run(seed, None).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn everybody_gets_what_they_should_and_nothing_else() {
    if let Some(seed) = number("PLAUSCH_SIM_SEED") {
        let counts = run(seed, None).unwrap_or_else(|violation| panic!("{violation}"));
        println!("{counts:#?}");
        return;
    }
    let seeds = number("PLAUSCH_SIM_SEEDS").unwrap_or(SEEDS);
    let (counts, violations) = run_all(seeds);
    println!("{seeds} seeds: {counts:#?}");
    let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} of {seeds} seeds failed:\n{}", all.len(), all.join("\n"));
    // The runs were about something.
    assert!(seeds < 10 || counts.keyed > seeds / 4, "hardly anybody was keyed: {counts:?}");
    assert!(seeds < 10 || counts.relayed > seeds / 6, "hardly anybody came by TURN: {counts:?}");
    assert!(counts.connected > seeds && counts.forwarded > seeds * 100, "{counts:?}");
    assert!(
        counts.retransmitted > 0 && counts.nacked > 0 && counts.twcc > 0 && counts.sender_reports > 0,
        "{counts:?}"
    );
    let events =
        [counts.layer_switches, counts.source_switches, counts.path_changes, counts.ice_restarts, counts.expired];
    assert!(events.iter().all(|count| *count > 0), "{counts:?}");
    // Most of what subscribers ask for again while it is fresh is sent again.
    assert!(counts.retransmitted * 10 > counts.asked * 8, "{counts:?}");
}

#[test]
fn the_model_notices_every_kind_of_fault() {
    for mutation in Mutation::ALL {
        let said: Vec<_> =
            (1000..1000 + SEEDS_PER_MUTATION).filter_map(|seed| run(seed, Some(mutation)).err()).collect();
        let noticed = |said: &Violation| mutation.symptoms().iter().any(|symptom| said.what.contains(symptom));
        assert!(!said.is_empty(), "the model is blind to {mutation:?}");
        assert!(said.iter().any(noticed), "the model takes {mutation:?} for something else: {said:?}");
    }
}

/// Sequence numbers and picture ids wrap every half hour of a call, in both directions; here within a minute.
#[test]
fn streams_go_on_when_their_numbers_wrap() {
    for (seed, profile) in [(1, Profile::AeadAes128Gcm), (2, Profile::Aes128CmSha1_80)] {
        let mut random = Random::new(seed);
        let mut world = World::new(seed);
        let lossy = Quality {
            loss_permille: 10,
            jitter: Duration::from_millis(3),
            ..Quality::perfect(Duration::from_millis(8))
        };
        let ids = [ParticipantId(1), ParticipantId(2)];
        for id in ids {
            let habits = Habits { video: Codec::Vp8, simulcast: false, screen_permille: 0 };
            let mut setup = Setup::random(&mut random, id, RoomId(1), 1, habits);
            (setup.profile, setup.frame_rate) = (profile, if id == ids[0] { 600 } else { 10 });
            world.join(setup, [lossy; 2]).unwrap();
        }
        let source = SourceRef { participant: ids[0], source: Source::Person };
        let slots = vec![SlotAssignment { slot: SlotId(0), source, max_layer: 0 }];
        world.model.assign(world.now, ids[1], &slots);
        world.control(Command::AssignSlots { participant: ids[1], slots }).unwrap().unwrap();
        while world.model.counts.forwarded < 140_000 {
            let step = random.micros(1_000, 5_000);
            world.step(step).unwrap();
        }
        assert!(world.model.counts.retransmitted > 0 && world.model.counts.nacked > 0);
        let video = world.clients[&ids[1]].setup.spec.slots[0].video.as_ref().unwrap().ssrc;
        let egress = &world.model.egress[&(ids[1], 1, video)];
        assert!(egress.packets > 2 << 16, "{} packets", egress.packets);
        egress.finish(&world.model).unwrap();
        let played = &world.clients[&ids[1]].receivers[&video].played;
        let last = played.last().unwrap().0;
        assert!(world.now.since(last) < Duration::from_millis(500), "the decoder came along");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let [first, second] = [(), ()].map(|()| format!("{:?}", run(7, None)));
    assert_eq!(first, second);
}
