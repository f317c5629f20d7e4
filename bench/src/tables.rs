//! `plausch-bench tables`: the scenarios by which we are measured, ours and Janus in turn, as one Markdown file.

use crate::sfu::{self, MARKDOWN_HEAD, Peer, SfuArguments};
use anyhow::anyhow;
use clap::{Args, Parser};
use plausch_bench::lab::{Cable, Ground};
use plausch_bench::load::Circumstances;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// What is measured, as arguments of `sfu`.
const SCENARIOS: [&[&str]; 6] = [
    &["--viewers", "20"],
    &["--viewers", "100"],
    &["--viewers", "200"],
    &["--viewers", "400"],
    &["--rooms", "5", "--publishers", "8", "--viewers", "0"],
    &["--viewers", "400", "--video-kbps", "0"],
];

/// Arguments of `plausch-bench tables`.
#[derive(Args)]
#[command(after_help = "\
Example:
  the tables of today   plausch-bench tables --out bench/results/$(date +%F)-sfu-janus.md

Each scenario is a run of `sfu --lab --against janus`; the file names the commands. With the default times all of it
takes about ten minutes, in which nothing else should run on this machine. Needs root and scripts/bench-peers.")]
pub(crate) struct TablesArguments {
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write all figures of all rounds to this file, a JSON array of what `sfu --json` writes.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long to measure in each round.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Rounds of each side; the first is thrown away.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// CPUs of the servers, as a list; clients take the others [default: the last one].
    #[arg(long, value_name = "LIST")]
    server_cpus: Option<String>,
    #[command(flatten)]
    cable: Cable,
}

/// One of the scenarios, read as `sfu` reads it.
#[derive(Parser)]
struct Scenario {
    #[command(flatten)]
    sfu: SfuArguments,
}

/// Measures all, and writes the file.
pub(crate) async fn run(arguments: TablesArguments) -> anyhow::Result<()> {
    sfu::check(Peer::Janus, true)?;
    let ground = Ground::prepare(true, arguments.cable, arguments.server_cpus.as_deref())?;
    let begin = Instant::now();
    let mut table = String::new();
    let mut commands = String::new();
    let mut notes = String::new();
    let mut figures = Vec::new();
    for (index, scenario) in SCENARIOS.iter().enumerate() {
        let words = arguments.words(scenario);
        eprintln!("=== {} of {} after {} s", index + 1, SCENARIOS.len(), begin.elapsed().as_secs());
        let parsed = Scenario::try_parse_from(std::iter::once("sfu").chain(words.iter().map(String::as_str)))?;
        let comparison = sfu::compare(&ground, &parsed.sfu, Peer::Janus).await?;
        let _ = writeln!(commands, "    plausch-bench sfu {}", words.join(" "));
        table += &comparison.markdown();
        notes += &comparison.notes();
        figures.push(comparison.json());
        eprintln!("{}", comparison.table());
    }
    let text = document(&ground, &table, &commands, &notes);
    let write = |path: &PathBuf, text: &str| {
        fs::write(path, text).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
    };
    if let Some(path) = &arguments.json {
        write(path, &(serde_json::to_string_pretty(&figures)? + "\n"))?;
    }
    match &arguments.out {
        Some(path) => write(path, &text),
        None => Ok(stdout().write_all(text.as_bytes())?),
    }
}

impl TablesArguments {
    /// A scenario's arguments with those that are common to all.
    fn words(&self, scenario: &[&str]) -> Vec<String> {
        let mut words = vec!["--lab".to_owned(), "--against".to_owned(), "janus".to_owned()];
        words.extend([
            "--seconds".to_owned(),
            self.seconds.to_string(),
            "--rounds".to_owned(),
            self.rounds.to_string(),
        ]);
        words.extend(self.cable.words());
        if let Some(cpus) = &self.server_cpus {
            words.extend(["--server-cpus".to_owned(), cpus.clone()]);
        }
        words.extend(scenario.iter().map(|word| (*word).to_owned()));
        words
    }
}

fn document(ground: &Ground, table: &str, commands: &str, notes: &str) -> String {
    let now = Circumstances::now();
    let commit = now.commit.as_deref().unwrap_or("unknown");
    let day = now.date.split(' ').next().unwrap_or_default();
    let cpus = ground.server_cpus();
    format!(
        "# {day}: ours and Janus in turn, in a lab\n\n\
         {machine}; {device}; clients on the others. Commit {commit}, ended {date}.\n\n\
         Both servers are started afresh for each round on the same CPU{plural}, ours with relay and control (the CPU time \
         of both counts), Janus with `event_loops = {loops}` and ICE Lite. Both may choose the SRTP profile. At Janus each \
         viewer has one PeerConnection for all it watches, and viewers are no participants of the room. Rounds alternate; \
         the first of each side is thrown away, and medians are shown, with the least and the most in brackets. CPU is of \
         the server's processes per packet that was delivered; a server that loses packets is full. Latency is from client \
         to client and holds their own waiting for a CPU.\n\n\
         {commands}\n\
         {MARKDOWN_HEAD}{table}\n\
         {notes}",
        machine = now.machine,
        device = ground.device(),
        date = now.date,
        plural = if cpus.len() == 1 { "" } else { "s" },
        loops = cpus.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_understood_by_sfu() {
        let all = TablesArguments {
            out: None,
            json: None,
            seconds: 6,
            rounds: 3,
            server_cpus: Some("1".to_owned()),
            cable: Cable::default(),
        };
        for scenario in SCENARIOS {
            let words = all.words(scenario);
            let parsed = Scenario::try_parse_from(std::iter::once("sfu").chain(words.iter().map(String::as_str)));
            assert!(parsed.is_ok(), "{words:?}: {:?}", parsed.err());
        }
    }
}
