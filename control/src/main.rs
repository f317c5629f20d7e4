//! `plausch-control`: see the library.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use plausch_control::config::{Config, DEFAULT};
use plausch_control::server::Server;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Plausch's control: the web page, signalling and rooms.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; without it, what `print-config` prints.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// Serve (the default).
    Run,
    /// Print the default configuration with its comments.
    PrintConfig,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plausch-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.action.unwrap_or(Action::Run) {
        Action::PrintConfig => {
            print!("{DEFAULT}");
            Ok(())
        }
        Action::Run => {
            let config = Config::load(arguments.config.as_deref())?;
            // Other crates speak at their level only: their lines may hold addresses.
            let filter = format!("warn,plausch_control={level},plausch_link={level}", level = config.log_level);
            let colours = std::io::stderr().is_terminal();
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
            let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
            runtime.block_on(serve(config))
        }
    }
}

async fn serve(config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut server = Server::start(config).await?;
    for address in server.http() {
        tracing::info!("serving http://{address}");
    }
    for address in server.https() {
        tracing::info!("serving https://{address}");
    }
    loop {
        tokio::select! {
            result = server.run() => return result,
            Some(()) = hangup.recv() => server.reload_certificate(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}
