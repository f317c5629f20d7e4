//! `plausch-bench ablation`: what each way of sending and receiving datagrams costs on this machine, at the fan-outs
//! and packet sizes of calls.

mod receive;
mod send;
mod table;

use crate::contest::{Pace, choose_cpu, on_cpu};
use crate::wire::{Receivers, Wire};
use anyhow::anyhow;
use clap::{Args, ValueEnum};

use plausch_bench::lab::Cable;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use table::Report;

/// Arguments of `plausch-bench ablation`.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  everything, three minutes     plausch-bench ablation --markdown ablation.md
  one question                  plausch-bench ablation --side send --wire veth --bytes 1200 --fan-outs 200
  without root                  plausch-bench ablation --wire loopback

CPU is that of the sending (or receiving) thread, with the softirqs that ran on top of it. All variants of a group
take turns in one run, the order turns round each time, and the first turn is thrown away. Read ratios within a table.")]
pub(crate) struct AblationArguments {
    /// Sending, receiving, or both.
    #[arg(long, value_enum, default_value_t = Side::Both)]
    side: Side,
    /// What is sent into.
    #[arg(long = "wire", value_enum, value_delimiter = ',', default_values_t = [Wire::Drop, Wire::Veth, Wire::Loopback])]
    wires: Vec<Wire>,
    /// Bytes of a datagram: sound and pictures.
    #[arg(long, value_delimiter = ',', default_values_t = [120, 1200], value_parser = clap::value_parser!(u16).range(20..=1472))]
    bytes: Vec<u16>,
    /// Destinations; senders for the receiving side.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20, 200], value_parser = clap::value_parser!(u16).range(1..=2000))]
    fan_outs: Vec<u16>,
    /// Datagrams in one message (UDP_SEGMENT); 1 is without.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16], value_parser = clap::value_parser!(u8).range(1..=32))]
    runs: Vec<u8>,
    /// Turns of each variant that count.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// CPU time of one turn.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    turn_ms: u64,
    /// The CPU that is measured [default: the last].
    #[arg(long)]
    cpu: Option<usize>,
    #[command(flatten)]
    cable: Cable,
    /// Write the tables to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the figures to this file as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Side {
    Send,
    Receive,
    Both,
}

/// Measures on threads of its own: namespaces and pinning belong to threads.
pub(crate) async fn run(arguments: AblationArguments) -> anyhow::Result<()> {
    let (markdown, json) = (arguments.markdown.clone(), arguments.json.clone());
    let measured = tokio::task::spawn_blocking(move || measure(&arguments));
    // Namespaces go with the process, so there is nothing to clean up.
    let report = tokio::select! {
        report = measured => report??,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("plausch-bench: stopped; nothing is reported");
            std::process::exit(130);
        }
    };
    print!("{}", report.terminal());
    if let Some(file) = markdown {
        fs::write(&file, report.markdown()).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))?;
    }
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(&file, text).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

fn measure(arguments: &AblationArguments) -> anyhow::Result<Report> {
    let (cpu, cpus) = choose_cpu(arguments.cpu)?;
    let receivers = Receivers { cable: arguments.cable, ..Receivers::beside(cpu, &cpus) };
    let pace = Pace { turns: arguments.turns, turn: Duration::from_millis(arguments.turn_ms), cpu };
    let mut report = Report::new(pace);
    let sides = |side| arguments.side == side || arguments.side == Side::Both;
    if sides(Side::Send) {
        for wire in &arguments.wires {
            let wire = *wire;
            let tables = on_cpu(cpu, || send::tables(arguments, wire, receivers.clone(), pace))?;
            report.tables.extend(tables);
        }
    }
    if sides(Side::Receive) {
        report.tables.extend(on_cpu(cpu, || receive::tables(arguments, pace))?);
    }
    Ok(report)
}
