//! `plausch-bench tables`: the scenarios by which we are measured, ours and Janus in turn, as one Markdown file.

use crate::commands::sfu::{self, GROWTH_HEAD, MARKDOWN_HEAD, Peer, SfuArguments};
use crate::ground::lab::{Cable, Ground};
use crate::report::{Circumstances, check_writable, write};
use anyhow::anyhow;
use clap::{Args, Parser};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// What is measured: a name, and arguments of `sfu`.
const BESIDE_JANUS: [(&str, &[&str]); 8] = [
    ("20-viewers", &["--viewers", "20"]),
    ("100-viewers", &["--viewers", "100"]),
    ("200-viewers", &["--viewers", "200"]),
    ("400-viewers", &["--viewers", "400"]),
    ("rooms-of-8", &["--rooms", "5", "--publishers", "8", "--viewers", "0"]),
    ("audio", &["--viewers", "400", "--video-kbps", "0"]),
    ("1000-viewers", &["--viewers", "1000", "--video-kbps", "150", "--fps", "15", "--listeners", "200"]),
    ("60-senders", &["--publishers", "60", "--viewers", "0", "--tiles", "25", "--video-kbps", "150", "--fps", "15"]),
];
/// Ours alone, to see that its cost grows with what it forwards and with nothing else.
const GROWTH: [(&str, &[&str]); 7] = [
    ("50-viewers-slow", &["--viewers", "50", "--video-kbps", "150", "--fps", "15"]),
    ("200-viewers-slow", &["--viewers", "200", "--video-kbps", "150", "--fps", "15"]),
    ("500-viewers-slow", &["--viewers", "500", "--video-kbps", "150", "--fps", "15", "--listeners", "200"]),
    ("1000-viewers-slow", &["--viewers", "1000", "--video-kbps", "150", "--fps", "15", "--listeners", "200"]),
    ("15-senders", &["--publishers", "15", "--viewers", "0", "--tiles", "25", "--video-kbps", "150", "--fps", "15"]),
    ("30-senders", &["--publishers", "30", "--viewers", "0", "--tiles", "25", "--video-kbps", "150", "--fps", "15"]),
    (
        "60-senders-alone",
        &["--publishers", "60", "--viewers", "0", "--tiles", "25", "--video-kbps", "150", "--fps", "15"],
    ),
];

/// Arguments of `plausch-bench tables`.
#[derive(Args)]
#[command(after_help = "\
Example:
  the tables of today   plausch-bench tables --out bench/results/$(date +%F)-sfu-janus.md

Each scenario is a run of `sfu --lab`, most of them with `--against janus`; the file names the commands. With the default
times all of it takes about half an hour, in which nothing else should run on this machine; --scenarios measures some
and keeps the rest. Needs root and scripts/bench-peers.")]
pub(crate) struct TablesArguments {
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write all figures of all rounds to this file, a JSON object with what `sfu --json` writes of each scenario.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long to measure in each round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Rounds of each side; the first is thrown away.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measure these only, and keep what the files have of the others.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenarios: Vec<String>,
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

/// Measures all that is wanted, and writes the file.
pub(crate) async fn run(arguments: TablesArguments) -> anyhow::Result<()> {
    sfu::check(Peer::Janus, true)?;
    let wanted = arguments.wanted()?;
    arguments.out.iter().chain(&arguments.json).try_for_each(|file| check_writable(file))?;
    let mut parts = arguments.parts()?;
    let ground = Ground::prepare(true, arguments.cable, arguments.server_cpus.as_deref())?;
    let begin = Instant::now();
    for (index, (name, scenario)) in wanted.iter().enumerate() {
        let alone = GROWTH.iter().any(|(of_growth, _)| of_growth == name);
        let words = arguments.words(scenario, alone);
        eprintln!("=== {name}, {} of {} after {} s", index + 1, wanted.len(), begin.elapsed().as_secs());
        let parsed = Scenario::try_parse_from(std::iter::once("sfu").chain(words.iter().map(String::as_str)))?;
        let command = format!("plausch-bench sfu {}", words.join(" "));
        let part = match alone {
            true => {
                let rounds = sfu::repeat(&ground, &parsed.sfu).await?;
                Part { command, row: rounds.markdown(), notes: rounds.notes(), figures: rounds.json(), alone }
            }
            false => {
                let comparison = sfu::compare(&ground, &parsed.sfu, Peer::Janus).await?;
                eprintln!("{}", comparison.measurement()?.text());
                let (row, notes) = (comparison.markdown(), comparison.notes());
                Part { command, row, notes, figures: comparison.json(), alone }
            }
        };
        parts.insert((*name).to_owned(), part);
        // Each by itself, so that nothing is lost when a later one fails.
        arguments.write(&document(&ground, &parts), &parts)?;
    }
    Ok(())
}

/// What one scenario has shown, as it stands in the page.
#[derive(Serialize, Deserialize)]
struct Part {
    command: String,
    row: String,
    notes: String,
    figures: Value,
    /// Not beside Janus.
    alone: bool,
}

/// By name of the scenario.
type Parts = BTreeMap<String, Part>;

impl TablesArguments {
    fn wanted(&self) -> anyhow::Result<Vec<(&'static str, &'static [&'static str])>> {
        let all = || BESIDE_JANUS.into_iter().chain(GROWTH);
        if self.scenarios.is_empty() {
            return Ok(all().collect());
        }
        let find = |name: &String| {
            let names = || all().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
            all()
                .find(|(known, _)| known == name)
                .ok_or_else(|| anyhow!("there is no scenario {name}, but {}", names()))
        };
        self.scenarios.iter().map(find).collect()
    }

    /// What the file of `--json` has from earlier runs, where only some scenarios are wanted.
    fn parts(&self) -> anyhow::Result<Parts> {
        let Some(path) = self.json.as_ref().filter(|path| !self.scenarios.is_empty() && path.exists()) else {
            return Ok(Parts::new());
        };
        let read = || Ok::<_, anyhow::Error>(serde_json::from_slice(&fs::read(path)?)?);
        read().map_err(|error| anyhow!("cannot add to {}: {error}", path.display()))
    }

    fn write(&self, page: &str, parts: &Parts) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            write(path, &(serde_json::to_string_pretty(parts)? + "\n"))?;
        }
        match &self.out {
            Some(path) => write(path, page),
            None => Ok(stdout().write_all(page.as_bytes())?),
        }
    }

    /// A scenario's arguments with those that are common to all.
    fn words(&self, scenario: &[&str], alone: bool) -> Vec<String> {
        let mut words = vec!["--lab".to_owned(), "--with-floor".to_owned()];
        if !alone {
            words.extend(["--against".to_owned(), "janus".to_owned()]);
        }
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

fn document(ground: &Ground, parts: &Parts) -> String {
    let now = Circumstances::now();
    let commit = now.commit.as_deref().unwrap_or("unknown");
    let day = now.date.split(' ').next().unwrap_or_default();
    let cpus = ground.server_cpus();
    let mut out = format!(
        "# {day}: ours and Janus in turn, in a lab\n\n\
         {machine}; {device}; clients on the others. Commit {commit}, ended {date}.\n\n\
         Both servers are started afresh for each round on the same CPU{plural}, ours with relay and control (the CPU time \
         of both counts), Janus with `event_loops = {loops}` and ICE Lite. Both may choose the SRTP profile. At Janus each \
         viewer has one PeerConnection for all it watches, and viewers are no participants of the room. Rounds alternate; \
         the first of each side is thrown away, and medians are shown, with the least and the most in brackets. CPU is of \
         the server's processes per packet that was delivered; \"whole\" is all that the server's CPU did meanwhile, as \
         receiving what comes while the server sleeps. A server that loses packets is full. The floor is what sealing and \
         sending the same bytes by the frame costs without any logic, measured after each round of ours. Latency is from \
         client to client and holds their own waiting for a CPU; \"at the device\" ends where packets reach the receiver's \
         network device.\n\n",
        machine = now.machine,
        device = ground.device(),
        date = now.date,
        plural = if cpus.len() == 1 { "" } else { "s" },
        loops = cpus.len(),
    );
    let known = |set: &[(&str, &[&str])]| set.iter().filter_map(|(name, _)| parts.get(*name)).collect::<Vec<_>>();
    let mut section = |title: &str, head: &str, parts: &[&Part]| {
        if parts.is_empty() {
            return;
        }
        out += title;
        parts.iter().for_each(|part| {
            let _ = writeln!(out, "    {}", part.command);
        });
        let _ = write!(out, "\n{head}");
        parts.iter().for_each(|part| out += &part.row);
        out.push('\n');
        parts.iter().for_each(|part| out += &part.notes);
        out.push('\n');
    };
    section("", MARKDOWN_HEAD, &known(&BESIDE_JANUS));
    let growth = "## What more participants cost ours\n\n\
                  The same picture and sound of each sender, to more and more who receive. Where the cost of a packet stays \
                  the same, CPU grows with what is forwarded and with nothing else.\n\n";
    section(growth, GROWTH_HEAD, &known(&GROWTH));
    out
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
            scenarios: Vec::new(),
            server_cpus: Some("1".to_owned()),
            cable: Cable::default(),
        };
        for (name, scenario) in all.wanted().unwrap() {
            let words = all.words(scenario, false);
            let parsed = Scenario::try_parse_from(std::iter::once("sfu").chain(words.iter().map(String::as_str)));
            assert!(parsed.is_ok(), "{name}: {words:?}: {:?}", parsed.err());
        }
        let some = TablesArguments { scenarios: vec!["audio".to_owned(), "15-senders".to_owned()], ..all };
        assert_eq!(some.wanted().unwrap().len(), 2);
        let wrong = TablesArguments { scenarios: vec!["no".to_owned()], ..some };
        assert!(wrong.wanted().unwrap_err().to_string().contains("rooms-of-8"));
    }
}
