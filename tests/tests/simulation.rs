//! Seeds of the simulation, and the proof that its model can say no.
//!
//! `PLAUSCH_SIM_SEED=n` runs that seed only; `PLAUSCH_SIM_SEEDS=n` runs that many.
#![allow(clippy::unwrap_used)]

use plausch_tests::sim::model::Counts;
use plausch_tests::sim::mutation::Mutation;
use plausch_tests::sim::scenario::{Violation, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds in the test command.
const SEEDS: u64 = 200;
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
    assert!(counts.connected > seeds && counts.forwarded > seeds * 100, "{counts:?}");
    assert!(
        counts.retransmitted > 0 && counts.nacked > 0 && counts.twcc > 0 && counts.sender_reports > 0,
        "{counts:?}"
    );
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

#[test]
fn the_same_seed_gives_the_same_run() {
    let [first, second] = [(), ()].map(|()| format!("{:?}", run(7, None)));
    assert_eq!(first, second);
}
