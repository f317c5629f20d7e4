//! `plausch-bench turn`: allocations, channels and packets through a TURN server, by an own client that shares no
//! code with the engine.

mod against;
mod arguments;
mod flood;
mod idle;
mod payload;
mod report;
mod run;
mod servers;
mod show;
mod worker;

pub(crate) use arguments::TurnArguments;
pub(crate) use flood::{Flooding, RunningFlood};

use crate::report::{Limits, Measurement};
use crate::run::stop::{Stopped, stop_signal};
use anyhow::Context;
use plausch_client::Trust;
use report::Report;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Measures as the arguments say, prints the report, and writes it where wished.
///
/// # Errors
/// One sentence for whatever ends it early.
pub(crate) async fn run(arguments: TurnArguments) -> anyhow::Result<()> {
    let outputs = arguments.outputs.clone();
    let relay = arguments.limits.relay_metrics.clone();
    let limits = Limits::watch(relay.into_iter().map(|url| (url, Trust::System)).collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut ended) = oneshot::channel();
    let told = Arc::clone(&stop);
    let runtime = Handle::current();
    // The load is threads that do nothing else; none of the runtime's is among them.
    thread::spawn(move || {
        // Nobody waits any more when the program ends.
        let _ = done.send(work(&arguments, &told, &|loss_ratio| runtime.block_on(limits.met(loss_ratio, false))));
    });
    let measured = tokio::select! {
        result = &mut ended => result,
        () = stop_signal() => {
            stop.store(true, Ordering::Relaxed);
            // It ends the servers that it started.
            ended.await
        }
    };
    measured.context("the load ended by a fault")??.conclude(&outputs)
}

/// `limits` names those that were met where so large a share was lost.
fn work(
    arguments: &TurnArguments,
    stop: &AtomicBool,
    limits: &dyn Fn(f64) -> Vec<String>,
) -> anyhow::Result<Measurement> {
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
        let mut out = Measurement::new(&report.scenario, &report)?;
        report.figures(&mut out);
        return Ok(out);
    }
    let mut reports: Vec<Report> = Vec::new();
    for &size in &arguments.size {
        let plan = arguments.plan(server, users.clone(), size, arguments.client_cpus(process));
        let measured = match run::measure(&plan, process, stop) {
            Err(error) if error.is::<Stopped>() && !reports.is_empty() => break,
            measured => measured?,
        };
        let mut report = Report::of(arguments.scenario(size), target.clone(), &measured);
        report.limits = limits(report.loss_ratio);
        reports.push(report);
    }
    let mut out = show::of_runs(&reports)?;
    out.stopped(stop.load(Ordering::Relaxed) && reports.iter().all(|report| !report.stopped));
    Ok(out)
}
