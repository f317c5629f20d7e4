//! `plausch-bench sfu`: rooms full of publishers and viewers, and what forwarding to them costs the relay.

mod alone;
mod comparison;
mod course;
pub(crate) mod drive;
pub(crate) mod measure;
pub(crate) mod own;
mod plots;
pub(crate) mod report;

use crate::commands::floor::FloorReport;
use crate::ground::lab::Cable;
use crate::ground::servers::Driver;
use crate::run::load::LoadArguments;
pub(crate) use alone::{Alone, GROWTH_HEAD};
use anyhow::bail;
use clap::{Args, ValueEnum};
pub(crate) use comparison::{Comparison, MARKDOWN_HEAD};
use drive::drive;
use measure::Measured;
pub(crate) use own::{check, compare, repeat, with_server};
use report::Report;

/// Arguments of `plausch-bench sfu`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  one speaker and a hundred who watch   plausch-bench sfu --viewers 100
  five rooms of eight, all sending      plausch-bench sfu --rooms 5 --publishers 8 --viewers 0
  sound alone                           plausch-bench sfu --viewers 400 --video-kbps 0
  the same on ours and on Janus         plausch-bench sfu --viewers 100 --lab --against janus --html both.html
  ours beside the least that it costs   plausch-bench sfu --viewers 200 --lab --with-floor
  calls beside a flood of requests      plausch-bench sfu --rooms 3 --publishers 8 --viewers 0 --lab --spoofed-rate 20000
  simulcast in a meeting of ten         plausch-bench sfu --publishers 10 --viewers 0 --layers 3
  by WHIP and WHEP                      plausch-bench sfu --viewers 50 --via whip

With --lab or --against the run starts the server itself, our release build beside this program, and each time afresh.

Clients and server share this machine's CPUs: read the line about the bench's own load before you believe a limit.
The relay keeps memory of earlier rooms for later ones: start it afresh to learn what a participant needs.")]
pub(crate) struct SfuArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// How long to measure.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Decrypt every n-th packet that a client receives; the others are counted by their headers.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    /// Joins in one second [default: 100 on this machine, 10 elsewhere].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins_per_second: Option<u32>,
    /// Start the server in a network namespace of its own, joined to the clients' by a pair of devices. Needs root.
    #[arg(long, conflicts_with_all = ["url", "ca", "via", "relay_pid", "allow_remote"])]
    lab: bool,
    /// Put the same load on this peer, in turn with ours, and tell the ratio. Janus needs --lab.
    #[arg(long, value_enum, conflicts_with_all = ["url", "ca", "via", "relay_pid", "allow_remote"])]
    against: Option<Peer>,
    /// Rounds of a comparison; the first of each side is thrown away.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// CPUs of a server that the run starts, as a list; clients take the others [default: the last one].
    #[arg(long, value_name = "LIST")]
    server_cpus: Option<String>,
    /// The relay's driver: how it sends and receives.
    #[arg(long, value_enum, default_value_t = Driver::Auto, conflicts_with_all = ["url", "ca", "via", "relay_pid", "allow_remote"])]
    driver: Driver,
    #[command(flatten)]
    cable: Cable,
    /// Measure after each round of ours what sealing and sending the same bytes costs without any logic, on the same
    /// CPU and over the same kind of device, and tell the ratio.
    #[arg(long, requires = "lab")]
    with_floor: bool,
    /// Measure once more for as long, while so many requests for TURN come in a second from forged addresses.
    #[arg(long, value_name = "RATE", requires = "lab", conflicts_with = "against", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    spoofed_rate: Option<u32>,
}

/// Whom ours can be compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// Debian's Janus with its video room; scripts/bench-peers installs it.
    Janus,
}

/// Joins all, lets them talk, measures, and reports.
pub(crate) async fn run(arguments: SfuArguments) -> anyhow::Result<()> {
    if !arguments.driver.suits(arguments.lab) {
        bail!("--driver xdp goes past loopback; give --lab, too, as root");
    }
    if arguments.lab || arguments.against.is_some() {
        return own::run(arguments).await;
    }
    arguments.load.check()?;
    let measured = drive(&arguments, arguments.load.target()).await?;
    conclude(&arguments, &measured, None)
}

/// Reports a single run.
fn conclude(arguments: &SfuArguments, measured: &Measured, floor: Option<FloorReport>) -> anyhow::Result<()> {
    let report = Report { floor, ..Report::of(arguments.load.scenario("sfu"), measured) };
    report.measurement()?.conclude(&arguments.load.outputs)
}

fn refuse_foreign(measured: &Measured) -> anyhow::Result<()> {
    match measured.tally.foreign {
        0 => Ok(()),
        foreign => bail!("{foreign} packets came from another room; do not use this server before that is explained"),
    }
}
