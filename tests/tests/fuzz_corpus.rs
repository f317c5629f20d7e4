//! Replays the committed corpora of the fuzz targets, and mutations of them from a fixed seed: what a machine without
//! libFuzzer can do. `PLAUSCH_WRITE_CORPUS=1` writes the inputs to begin with; `PLAUSCH_FUZZ_MUTATIONS=n` tries
//! n times as many mutations.
#![allow(clippy::unwrap_used)]

use plausch_engine::Counters;
use plausch_tests::fuzz::engine::run;
use plausch_tests::fuzz::mutate::mutate;
use plausch_tests::fuzz::{TARGETS, Target};
use plausch_tests::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

/// All inputs of a corpus by name, in order.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries =
        std::fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("corpus of {}: {error}", target.name));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

fn attempt(target: &Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{} fails on {what}: {hex}", target.name);
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if std::env::var_os("PLAUSCH_WRITE_CORPUS").is_some() {
        std::fs::create_dir_all(folder(target)).unwrap();
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
    let inputs = corpus(target);
    for (name, _) in (target.seeds)() {
        assert!(inputs.iter().any(|(other, _)| *other == name), "{name} is not in the corpus of {}", target.name);
    }
    for (name, input) in &inputs {
        attempt(target, input, name);
    }
    let factor: u64 = std::env::var("PLAUSCH_FUZZ_MUTATIONS").map_or(1, |text| text.parse().unwrap());
    let mut random = Random::new(42);
    for round in 0..target.mutations * factor {
        let (name, input) = random.pick(&inputs).clone();
        let (_, other) = random.pick(&inputs).clone();
        let mutated = mutate(&mut random, &input, &other);
        attempt(target, &mutated, &format!("mutation {round} of {name}"));
    }
}

#[test]
fn every_target_has_a_libfuzzer_shim() {
    for target in &TARGETS {
        let shim = format!("{}/fuzz/fuzz_targets/{}.rs", env!("CARGO_MANIFEST_DIR"), target.name);
        assert!(std::fs::exists(&shim).unwrap(), "{shim} is missing");
    }
}

#[test]
fn the_engine_target_goes_all_the_way() {
    let target = TARGETS.iter().find(|target| target.name == "demux").unwrap();
    let counters: Vec<_> = corpus(target).iter().map(|(_, input)| run(input, None)).collect();
    let sum = |of: fn(&Counters) -> u64| counters.iter().map(of).sum::<u64>();
    let reached = [
        ("forwarding", sum(|counters| counters.rtp_forwarded)),
        ("retransmission", sum(|counters| counters.rtp_retransmitted)),
        ("RTCP", sum(|counters| counters.rtcp_received)),
        ("malformed RTCP", sum(|counters| counters.drop_rtcp_malformed)),
        ("ICE", sum(|counters| counters.stun_checks)),
        ("forged SRTP", sum(|counters| counters.drop_srtp_forged)),
    ];
    // The corpus knows which numbers the engine draws: after a change there, write it anew.
    let missed: Vec<_> = reached.iter().filter(|(_, count)| *count == 0).collect();
    assert!(missed.is_empty(), "the corpus does not reach {missed:?}: run this with PLAUSCH_WRITE_CORPUS=1");
}

#[test]
fn the_turn_target_goes_all_the_way() {
    let target = TARGETS.iter().find(|target| target.name == "turn").unwrap();
    let counters: Vec<_> = corpus(target).iter().map(|(_, input)| plausch_tests::fuzz::turn::run(input)).collect();
    let sum = |of: fn(&Counters) -> u64| counters.iter().map(of).sum::<u64>();
    for (what, count) in [
        ("requests", sum(|counters| counters.turn_requests)),
        ("a peer outside", sum(|counters| counters.turn_to_peers)),
        ("what it answers", sum(|counters| counters.turn_from_peers)),
        ("the way in memory", sum(|counters| counters.turn_inner_received)),
        ("TCP to peers", sum(|counters| counters.turn_connected)),
        ("TCP of peers", sum(|counters| counters.turn_accepted)),
        ("who binds it", sum(|counters| counters.turn_bound)),
        ("forbidden peers", sum(|counters| counters.turn_refused_forbidden)),
        ("stale nonces", sum(|counters| counters.turn_refused_stale_nonce)),
        ("challenges", sum(|counters| counters.turn_challenges)),
    ] {
        assert!(count > 0, "the corpus does not reach {what}: run this with PLAUSCH_WRITE_CORPUS=1");
    }
}

macro_rules! replays {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })+
    };
}

replays!(demux stun turn turn_framed rtp rtcp srtp_open codec signalling framing);
