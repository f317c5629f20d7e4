//! `plausch-bench self`: what the bench's own clients take, so that nobody mistakes their limit for a server's.

use crate::ground::Process;
use crate::ground::kernel::{self, Message, SendMethod, Sender};
use crate::report::Circumstances;
use crate::report::page::{Lines, Plot, Series};
use crate::report::{Measurement, Outputs};
use crate::run::stop::{Stopped, stop_signal};
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_client::{PACKET_BYTES, StandIn, Stream, loss_ratio};
use serde::Serialize;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Of the thread that sends: its time is not the clients'.
const SOURCE: &str = "source";
/// The first rate, and by how much each is larger than the one before.
const FIRST_RATE: f64 = 20_000.0;
const STEP: f64 = 1.5;
/// Clients that lose more than this have reached their limit.
const LOSS: f64 = 0.001;
/// A source that sends less than this share of what it should has reached its own.
const PACE: f64 = 0.95;
/// What is under way when a step ends.
const SETTLE: Duration = Duration::from_millis(300);
/// Runs that are sealed and sent before the clock is looked at again.
const TOGETHER: usize = 32;
/// A source that is ahead of its time waits at least this long.
const NAP: Duration = Duration::from_micros(50);

/// Arguments of `plausch-bench self`.
#[derive(Args)]
#[command(after_help = "\
A source without any logic sends sealed packets to real clients at rising rates, until they lose some. Run it on the
machine, and pinned to the CPUs, on which you will load a server: what is printed per CPU is the rate that the bench's
part of the machine can take.

Examples:
  packets one by one, and in runs of six   plausch-bench self
  as many clients as the load will have    plausch-bench self --clients 400 --runs 1")]
pub(crate) struct OwnLimitArguments {
    /// Clients that receive.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Packets that come to one client together; one figure for each.
    #[arg(long, value_delimiter = ',', default_value = "1,6", value_parser = clap::value_parser!(u8).range(1..=32))]
    runs: Vec<u8>,
    /// How long each rate is held.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Decrypt every n-th packet, as `sfu` does.
    #[arg(long, default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    decrypt_every: u32,
    #[command(flatten)]
    outputs: Outputs,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report {
    scenario: String,
    circumstances: Circumstances,
    limits: Vec<Limit>,
}

/// Of runs of one length.
#[derive(Serialize)]
struct Limit {
    packets_per_run: u8,
    /// Received without loss at the highest such rate.
    packets_per_second: f64,
    /// Of the clients there.
    cpu_ns_per_packet: f64,
    /// What a whole CPU would take by that.
    packets_per_second_per_cpu: f64,
    /// What ended it.
    ended_by: &'static str,
    steps: Vec<Step>,
}

/// One rate.
#[derive(Clone, Serialize)]
struct Step {
    wanted_per_second: f64,
    sent: u64,
    received: u64,
    seconds: f64,
    /// Of the clients, all their threads.
    cpu_ns: u64,
    /// Of the source.
    source_cpu_ns: u64,
    /// Of the packets that were looked into, in microseconds.
    latency_p99_us: Option<u64>,
}

impl Step {
    fn cpu_ns_per_packet(&self) -> f64 {
        self.cpu_ns as f64 / self.received.max(1) as f64
    }

    fn loss(&self) -> f64 {
        loss_ratio(self.received, self.sent)
    }

    fn kept_pace(&self) -> bool {
        self.sent as f64 >= PACE * self.wanted_per_second * self.seconds
    }
}

/// Raises the rate for each length of run, and says what the clients took.
pub(crate) async fn run(arguments: OwnLimitArguments) -> anyhow::Result<()> {
    arguments.outputs.check()?;
    let clients = usize::from(arguments.clients);
    let mut report = Report {
        scenario: format!("self: {clients} clients that decrypt one packet of {}", arguments.decrypt_every),
        circumstances: Circumstances::now(),
        limits: Vec::new(),
    };
    let limits = &mut report.limits;
    let all = async {
        for run in &arguments.runs {
            let mut stand_in = StandIn::connect(clients, arguments.decrypt_every).await?;
            let limit = limit(&arguments, &mut stand_in, *run).await;
            stand_in.stop().await;
            limits.push(limit?);
        }
        Ok::<_, anyhow::Error>(false)
    };
    let stopped = tokio::select! {
        all = all => all?,
        () = stop_signal() => true,
    };
    if report.limits.is_empty() {
        bail!(Stopped);
    }
    let mut measurement = report.measurement()?;
    measurement.stopped(stopped);
    measurement.conclude(&arguments.outputs)
}

impl Report {
    fn measurement(&self) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&self.scenario, self)?;
        out.figure("machine", self.circumstances.machine.clone());
        for limit in &self.limits {
            let text = format!(
                "{:.0} packets/s without loss (ended by {}), {:.0} ns of CPU each: {:.0} packets/s per CPU",
                limit.packets_per_second, limit.ended_by, limit.cpu_ns_per_packet, limit.packets_per_second_per_cpu
            );
            out.figure(&format!("runs of {}", limit.packets_per_run), text);
        }
        let loss = |limit: &Limit| {
            let points = limit.steps.iter().map(|step| (step.wanted_per_second / 1e3, step.loss() * 100.0));
            Series::new(format!("runs of {}", limit.packets_per_run), points)
        };
        out.plots = vec![Plot::Lines(Lines {
            title: "Loss at the clients".to_owned(),
            unit: "%",
            along: "1000 packets/s",
            series: self.limits.iter().map(loss).collect(),
            ..Lines::default()
        })];
        out.circumstances.extend(self.circumstances.lines());
        Ok(out)
    }
}

async fn limit(arguments: &OwnLimitArguments, stand_in: &mut StandIn, run: u8) -> anyhow::Result<Limit> {
    let duration = Duration::from_secs(arguments.seconds);
    let source = start_source(stand_in, run.into())?;
    let mut steps: Vec<Step> = Vec::new();
    let mut wanted_per_second = FIRST_RATE;
    let ended_by = loop {
        let received = stand_in.received();
        stand_in.take_latencies();
        let before = clients_cpu_ns();
        let (done, sent) = oneshot::channel();
        let _ = source.send((wanted_per_second, duration, done));
        let sent = sent.await.map_err(|_| anyhow!("the source ended in the middle of its work"))?;
        sleep(SETTLE).await;
        let step = Step {
            wanted_per_second,
            sent: sent.packets,
            received: stand_in.received() - received,
            seconds: sent.took.as_secs_f64(),
            cpu_ns: clients_cpu_ns().saturating_sub(before),
            source_cpu_ns: sent.cpu_ns,
            latency_p99_us: stand_in.take_latencies().quantile(0.99),
        };
        eprintln!(
            "runs of {run}: {:8.0} packets/s wanted, {:8.0} sent, {:.4} lost, clients {:3.0} % of a CPU, {:5.0} ns each, source {:3.0} %",
            step.wanted_per_second,
            step.sent as f64 / step.seconds,
            step.loss(),
            step.cpu_ns as f64 / step.seconds / 1e7,
            step.cpu_ns_per_packet(),
            step.source_cpu_ns as f64 / step.seconds / 1e7,
        );
        let (lost, kept_pace) = (step.loss() > LOSS, step.kept_pace());
        steps.push(step);
        match (lost, kept_pace) {
            (true, _) => break "the clients",
            (false, false) => break "the source",
            (false, true) => wanted_per_second *= STEP,
        }
    };
    let wrong = stand_in.wrong();
    anyhow::ensure!(
        wrong == 0,
        "the clients found fault with {wrong} packets of a right source; do not trust this build"
    );
    let best = steps.iter().rev().find(|step| step.loss() <= LOSS);
    let best =
        best.ok_or_else(|| anyhow!("packets were lost at {FIRST_RATE:.0} packets/s already; is the machine busy?"))?;
    let cpu_ns_per_packet = best.cpu_ns_per_packet();
    Ok(Limit {
        packets_per_run: run,
        packets_per_second: best.received as f64 / best.seconds,
        cpu_ns_per_packet,
        packets_per_second_per_cpu: 1e9 / cpu_ns_per_packet.max(1.0),
        ended_by,
        steps,
    })
}

/// CPU time of all our threads but the source's.
fn clients_cpu_ns() -> u64 {
    let threads = Process::own().sample().unwrap_or_default().threads;
    threads.iter().filter(|thread| thread.name != SOURCE).map(|thread| thread.cpu_ns).sum()
}

/// Seals and sends.
struct Source {
    sender: Sender,
    streams: Vec<Stream>,
    packets_per_run: usize,
    next: usize,
}

/// What a source did in one step.
struct Sent {
    packets: u64,
    took: Duration,
    cpu_ns: u64,
}

/// A rate, for how long, and who waits for what came of it.
type Order = (f64, Duration, oneshot::Sender<Sent>);

/// Starts the thread of the source. It ends when nobody orders any more.
fn start_source(stand_in: &mut StandIn, packets_per_run: usize) -> anyhow::Result<mpsc::Sender<Order>> {
    let streams = stand_in.take_streams();
    let socket = stand_in.socket()?;
    let (orders, ordered) = mpsc::channel::<Order>();
    thread::Builder::new().name(SOURCE.to_owned()).spawn(move || {
        let to: Vec<_> = streams.iter().map(Stream::to).collect();
        let arena = TOGETHER * packets_per_run * PACKET_BYTES;
        let sender = Sender::open(SendMethod::Sendmsg, socket, &to, arena)?;
        let mut source = Source { sender, streams, packets_per_run, next: 0 };
        while let Ok((per_second, duration, done)) = ordered.recv() {
            let _ = done.send(source.run(per_second, duration));
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(orders)
}

impl Source {
    fn send_runs(&mut self, runs: usize) -> u64 {
        let len = self.packets_per_run * PACKET_BYTES;
        let mut messages = Vec::with_capacity(runs);
        for place in 0..runs {
            let to = self.next;
            self.next = (self.next + 1) % self.streams.len();
            let start = place * len;
            self.streams[to].write(&mut self.sender.arena()[start..start + len]);
            messages.push(Message { to, start, len, segment: PACKET_BYTES });
        }
        // What a full buffer refuses is lost, and shows in what is received.
        let _ = self.sender.send(&messages);
        (runs * self.packets_per_run) as u64
    }

    fn run(&mut self, per_second: f64, duration: Duration) -> Sent {
        let runs_per_second = per_second / self.packets_per_run as f64;
        let cpu_ns = kernel::thread_cpu_ns();
        let begin = Instant::now();
        let (mut runs, mut packets) = (0, 0);
        let took = loop {
            let elapsed = begin.elapsed();
            if elapsed >= duration {
                break elapsed;
            }
            let due = (elapsed.as_secs_f64() * runs_per_second) as usize;
            match due.saturating_sub(runs).min(TOGETHER) {
                0 => thread::sleep(NAP),
                more => {
                    packets += self.send_runs(more);
                    runs += more;
                }
            }
        };
        Sent { packets, took, cpu_ns: kernel::thread_cpu_ns() - cpu_ns }
    }
}
