//! The command line.

mod churn;
mod floor;
mod join;
mod joins;
mod overload;
mod own_limit;
mod saturation;
mod sfu;
mod soak;
mod tables;
mod turn;

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Loads a Plausch server as real participants would, and tells the truth about it.
#[derive(Parser)]
#[command(name = "plausch-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Joins a room as one participant that plays a test picture and a tone, and shows what arrives.
    Join(join::JoinArguments),
    /// Fills rooms with publishers and viewers, and measures what forwarding to them costs the relay.
    Sfu(sfu::SfuArguments),
    /// Lets more and more rooms talk until the server is full, and tells the latency at half of that.
    Saturation(saturation::SaturationArguments),
    /// Measures the usual scenarios on ours and on Janus, and writes a page of Markdown.
    Tables(tables::TablesArguments),
    /// Lets all viewers join within one second, and tells how long each waits for its picture.
    Joins(joins::JoinsArguments),
    /// Lets viewers come and go, and watches the relay's memory.
    Churn(churn::ChurnArguments),
    /// Raises the load until packets are lost, doubles it, and tells what the server still does then.
    Overload(overload::OverloadArguments),
    /// Loads a server for hours while people come and go, and fails when it grows.
    Soak(soak::SoakArguments),
    /// Says which rate the bench's own clients take; needs no server.
    #[command(name = "self")]
    OwnLimit(own_limit::OwnLimitArguments),
    /// Makes allocations on a TURN server, sends through them, and measures what relaying costs it.
    Turn(turn::TurnArguments),
    /// What sealing and sending alone would cost, without any logic; needs no server.
    Floor(floor::FloorArguments),
}

/// Does what the command line says. Errors are told in one sentence, and end with a non-zero exit.
pub async fn run() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let result = match Arguments::parse().command {
        Command::Join(arguments) => join::run(arguments).await,
        Command::Sfu(arguments) => sfu::run(arguments).await,
        Command::Saturation(arguments) => saturation::run(arguments).await,
        Command::Tables(arguments) => tables::run(arguments).await,
        Command::Joins(arguments) => joins::run(arguments).await,
        Command::Churn(arguments) => churn::run(arguments).await,
        Command::Overload(arguments) => overload::run(arguments).await,
        Command::Soak(arguments) => soak::run(arguments).await,
        Command::OwnLimit(arguments) => own_limit::run(arguments).await,
        Command::Turn(arguments) => turn::run(arguments).await,
        Command::Floor(arguments) => floor::run(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plausch-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
