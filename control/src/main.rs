//! `plausch-control`: see the library.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use plausch_control::config::{Config, DEFAULT};
use plausch_control::server::Server;
use plausch_daemon::log;
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
            log::say(&format!("plausch-control: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.action.unwrap_or(Action::Run) {
        Action::PrintConfig => log::print(DEFAULT).context("cannot write the configuration"),
        Action::Run => {
            let config = Config::load(arguments.config.as_deref())?;
            let _log = log::start(&config.log_level, &["plausch_control", "plausch_link", "plausch_daemon"]);
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
            Some(()) = hangup.recv() => {
                tracing::info!("the certificate's files are read again; all other settings are read when control starts");
                server.reload_certificate();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}
