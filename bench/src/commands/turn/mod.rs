//! `plausch-bench turn`: allocations, channels and packets through a TURN server, by an own client that shares no
//! code with the engine.

mod against;
mod arguments;
mod flood;
mod idle;
mod page;
mod payload;
mod report;
mod run;
mod servers;
mod worker;

pub(crate) use arguments::TurnArguments;
pub(crate) use flood::{Flooding, RunningFlood};

use crate::ground::Process;
use crate::report::page::Page;
use anyhow::{Context, anyhow, bail};
use report::{Report, Table};
use serde::Serialize;
use std::fs;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::sync::oneshot;

/// Measures as the arguments say, prints the report, and writes it where wished.
///
/// # Errors
/// One sentence for whatever ends it early.
pub(crate) async fn run(arguments: TurnArguments) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut ended) = oneshot::channel();
    let told = Arc::clone(&stop);
    // The load is threads that do nothing else; none of the runtime's is among them.
    thread::spawn(move || {
        // Nobody waits any more when the program ends.
        let _ = done.send(work(&arguments, &told));
    });
    tokio::select! {
        result = &mut ended => return result.context("the load ended by a fault")?,
        _ = tokio::signal::ctrl_c() => stop.store(true, Ordering::Relaxed),
    }
    // It ends the servers that it started.
    ended.await.context("the load ended by a fault")?
}

fn work(arguments: &TurnArguments, stop: &AtomicBool) -> anyhow::Result<()> {
    arguments.check()?;
    if arguments.against.is_some() || arguments.only.is_some() {
        return against::compare(arguments, stop);
    }
    let server = arguments.resolve()?;
    let process = arguments.find_process(server)?;
    let users = arguments.users()?;
    let target = format!("{server} by {}", arguments.transport.name());
    if arguments.idle {
        let (allocations, from) = (arguments.allocations, arguments.clients_from(server));
        let report = idle::measure(server, &users, allocations, from, process, target, stop)?;
        print(&report.text())?;
        return write_json(arguments.json.as_ref(), &report);
    }
    let mut reports: Vec<Report> = Vec::new();
    for &size in &arguments.size {
        let plan = arguments.plan(server, users.clone(), size, arguments.client_cpus(process));
        let measured = run::measure(&plan, process, stop)?;
        let table = Table::of(arguments.scenario(size), target.clone(), &measured);
        print(&table.text())?;
        reports.push(table.report);
    }
    match &*reports {
        [one] => write_json(arguments.json.as_ref(), one)?,
        several => write_json(arguments.json.as_ref(), &several)?,
    }
    write_html(arguments.html.as_ref(), || page::of_runs(&reports))?;
    refuse_misrouting(&reports)
}

/// A server that confuses its clients is worse than a slow one.
fn refuse_misrouting<'a>(reports: impl IntoIterator<Item = &'a Report>) -> anyhow::Result<()> {
    match reports.into_iter().map(|report| report.misrouted).sum() {
        0u64 => Ok(()),
        packets => bail!(
            "{packets} packets came to or from the wrong address; do not use this server before that is explained"
        ),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(stdout().write_all(text.as_bytes())?)
}

fn write_json(file: Option<&PathBuf>, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::write(file, json).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))
}

fn write_html(file: Option<&PathBuf>, page: impl FnOnce() -> Page) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, page().html()).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))
}

/// The server's process, by its UDP port.
fn process_at(server: SocketAddr) -> Option<Process> {
    Process::at_udp(server)
}
