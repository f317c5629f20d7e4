//! Fuzzing: what each target does with its input, the inputs to begin with, and a mutator for runs without libFuzzer.
//!
//! A body panics where something is wrong. `tests/fuzz/fuzz_targets/*.rs` call them under libFuzzer, and
//! `tests/tests/fuzz_corpus.rs` with the committed corpora and with mutations of them.

pub mod bodies;
pub mod engine;
pub mod mutate;
pub mod seeds;
pub mod turn;

/// One fuzz target.
pub struct Target {
    /// Of `tests/fuzz/fuzz_targets/<name>.rs` and `tests/fuzz/corpus/<name>/`.
    pub name: &'static str,
    pub body: fn(&[u8]),
    /// Name and bytes of each input to begin with.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Mutations that the test command tries: fewer where the body is slow.
    pub mutations: u64,
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "demux", body: engine::demux, seeds: seeds::demux, mutations: 15_000 },
    Target { name: "stun", body: bodies::stun, seeds: seeds::stun, mutations: 150_000 },
    Target { name: "turn", body: turn::turn, seeds: seeds::turn, mutations: 30_000 },
    Target { name: "turn_framed", body: turn::framed, seeds: seeds::turn_framed, mutations: 100_000 },
    Target { name: "rtp", body: bodies::rtp, seeds: seeds::rtp, mutations: 150_000 },
    Target { name: "rtcp", body: bodies::rtcp, seeds: seeds::rtcp, mutations: 150_000 },
    Target { name: "srtp_open", body: bodies::srtp_open, seeds: seeds::srtp_open, mutations: 20_000 },
    Target { name: "codec", body: bodies::codec, seeds: seeds::codec, mutations: 150_000 },
    Target { name: "signalling", body: bodies::signalling, seeds: seeds::signalling, mutations: 50_000 },
    Target { name: "framing", body: bodies::framing, seeds: seeds::framing, mutations: 50_000 },
];
