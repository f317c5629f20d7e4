//! Allocations that nobody uses: how long each takes, and what the server keeps for it.

use super::flood::Network;
use crate::ground::Process;
use crate::report::{Measurement, Times, rounded};
use crate::run::stop::Stopped;
use anyhow::{anyhow, bail};
use plausch_client::Histogram;
use plausch_client::turn::{Allocation, Datagrams, Transport, Users};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Allocations before memory is looked at for the first time, so that pages and pools are there.
const FIRST: usize = 64;
/// Source ports of one address. Allocations outlive our sockets, so no port may be used twice.
const PORTS: usize = 256;
const FIRST_PORT: usize = 10_000;
const PROGRESS_EVERY: usize = 10_000;

#[derive(Serialize)]
pub(crate) struct IdleReport {
    pub(crate) scenario: String,
    pub(crate) target: String,
    pub(crate) allocations: usize,
    pub(crate) allocations_per_s: f64,
    pub(crate) join_ms: Times,
    pub(crate) cpu_us_per_allocation: Option<f64>,
    pub(crate) rss_bytes_per_participant: Option<u64>,
    pub(crate) rss_bytes: Option<u64>,
}

/// Makes them one after another, each from another address, and keeps no socket: the server cannot tell.
pub(crate) fn measure(
    server: SocketAddr,
    users: &Users,
    allocations: usize,
    from: Option<Network>,
    process: Option<Process>,
    target: String,
    stop: &AtomicBool,
) -> anyhow::Result<IdleReport> {
    let Some(from) = from.filter(|_| server.is_ipv4()) else {
        bail!("idle allocations need an IPv4 server on loopback or in a lab, and clients with many addresses");
    };
    let sample = || process.and_then(|process| process.sample());
    let mut datagrams = Datagrams::new();
    let mut allocating = Histogram::default();
    let mut before = None;
    let mut begin = Instant::now();
    for index in 0..allocations {
        if stop.load(Ordering::Relaxed) {
            bail!(Stopped);
        }
        if index == FIRST.min(allocations - 1) {
            before = sample();
            begin = Instant::now();
        }
        let port = (FIRST_PORT + index % PORTS) as u16;
        let local = SocketAddr::new(from.address((index / PORTS) as u64).into(), port);
        let allocation = Allocation::make(Transport::Udp, server, Some(local), &users.of(index), &mut datagrams)?;
        allocating.record(allocation.took.as_micros() as u64);
        if (index + 1).is_multiple_of(PROGRESS_EVERY) {
            eprintln!("  {} allocations", index + 1);
        }
    }
    let counted = allocations - FIRST.min(allocations - 1);
    let seconds = begin.elapsed().as_secs_f64();
    let after = sample();
    if process.is_some() && after.is_none() {
        return Err(anyhow!("the server ended in the middle of the run; look into its log"));
    }
    let both = before.zip(after.as_ref());
    let grown = both.as_ref().map(|(before, after)| after.rss_bytes.saturating_sub(before.rss_bytes));
    let cpu = both.as_ref().map(|(before, after)| after.cpu_ns.saturating_sub(before.cpu_ns));
    Ok(IdleReport {
        scenario: format!("turn: {allocations} idle allocations"),
        target,
        allocations,
        allocations_per_s: (counted as f64 / seconds).round(),
        join_ms: Times::of(&allocating),
        cpu_us_per_allocation: cpu.map(|ns| rounded(ns as f64 / 1e3 / counted as f64)),
        rss_bytes_per_participant: grown.map(|bytes| bytes / counted as u64),
        rss_bytes: after.map(|sample| sample.rss_bytes),
    })
}

impl IdleReport {
    pub(crate) fn figures(&self, out: &mut Measurement) {
        out.figure("target", self.target.clone());
        out.figure("allocation", format!("{}, {:.0} in a second", self.join_ms.text_with(2), self.allocations_per_s));
        if let Some(us) = self.cpu_us_per_allocation {
            out.figure("server CPU", format!("{us:.1} µs per allocation"));
        }
        let memory = self.rss_bytes_per_participant.map(|bytes| format!("{bytes} bytes of the server per allocation"));
        let unknown = || "unknown: no process of this machine that we may look at; give --pid".to_owned();
        out.figure("memory", memory.unwrap_or_else(unknown));
    }
}
