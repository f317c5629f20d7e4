//! The relay's command line.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use plausch_daemon::log;
use plausch_relay::config::{Config, DEFAULT};
use plausch_relay::host;
use plausch_relay::process::Relay;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Carries the sound and pictures of Plausch.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; without it, what `print-config` prints.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// Runs the relay (the default).
    Run,
    /// Prints the default configuration with its comments.
    PrintConfig,
    /// Says in plain sentences what this host gives and lacks.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.action {
        Some(Action::PrintConfig) => log::print(DEFAULT).context("cannot write the configuration"),
        Some(Action::Check) => check(arguments.config),
        Some(Action::Run) | None => run(arguments.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(&format!("plausch-relay: {error:#}."));
            ExitCode::FAILURE
        }
    }
}

fn check(file: Option<PathBuf>) -> Result<()> {
    let config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    let findings: String = host::check(&config).iter().map(|finding| format!("{finding}\n")).collect();
    log::print(&findings).context("cannot write what was found")
}

fn run(file: Option<PathBuf>) -> Result<()> {
    let config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    let _log = log::start(&config.log_level, &["plausch_relay", "plausch_link", "plausch_daemon"]);
    // One thread is plenty: all that is heavy has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let relay = Relay::start(&config).await?;
        for shard in &relay.hello().shards {
            let port = shard.candidates.first().map_or(0, |address| address.port());
            tracing::info!(
                "shard {} on CPU {} has UDP port {port}",
                shard.shard,
                config.cpus[usize::from(shard.shard.0)]
            );
        }
        let drain = relay.drain(config.drain);
        let reload = relay.reload();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::info!(
                    "names in `announce` are looked up again; certificates come from control, and all other settings are \
                     read when the relay starts"
                );
                reload.notify_one();
            }
        });
        let stop = async {
            tokio::select! {
                // Whoever sits in front of it does not want to wait.
                _ = interrupt.recv() => return,
                _ = terminate.recv() => {}
            }
            let again = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            drain.run(again).await;
        };
        relay.run(stop).await;
        Ok(())
    })
}
