//! What forwarding cannot do without: sealing the same packets for the same receivers and sending them, with no logic
//! at all. What a relay needs per packet is read as a multiple of it.

pub(crate) mod contest;
mod load;
pub(crate) mod wire;

use crate::commands::floor::contest::{
    Contender, Outcome, Pace, Sample, alternate, choose_cpu, kernel_threads_ns, on_cpu,
};
use crate::commands::floor::wire::{Ends, Ground, Receivers, Wire};
use crate::ground::kernel::{SendMethod, Sender, ThreadUse, thread_cpu_ns};
use crate::ground::lab::Cable;
use crate::report::page::{Bars, Plot};
use crate::report::{Circumstances, Measurement, Outputs};
use crate::run::stop::stop_signal;
use anyhow::Context;
use clap::Args;
pub(crate) use load::FloorLoad;
use load::{Batch, Floor};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Arguments of `plausch-bench floor`.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  beside `sfu --viewers 200`     plausch-bench floor --viewers 200
  beside five rooms of eight     plausch-bench floor --rooms 5 --publishers 8 --viewers 0
  without the receivers' part    plausch-bench floor --viewers 200 --wire drop

Packets have the sizes and the rhythm of `sfu`, keys are one for each receiver, and the receivers drain as its clients
do. Over loopback the receivers' path up to their sockets is part of every send, here and there alike.
\"a frame at once\" is the floor of a relay that sends each receiver the packets of a frame together, \"each packet by
itself\" that of one which forwards every packet as it comes.")]
pub(crate) struct FloorArguments {
    /// Rooms that are used at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    rooms: u16,
    /// Participants of each room who send, and receive all others who do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    publishers: u16,
    /// Participants of each room who only receive.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=1000))]
    viewers: u16,
    /// Bitrate of each picture; 0 sends none.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    video_kbps: u32,
    /// Frames per second of each picture.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    fps: u32,
    /// Whether publishers send sound (50 packets per second).
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    audio: bool,
    /// What is sent into.
    #[arg(long, value_enum, default_value_t = Wire::Loopback)]
    wire: Wire,
    /// Send as fast as it goes instead of in real time; caches are warmer than in a call then.
    #[arg(long)]
    flat_out: bool,
    /// How long a receiver is busy with a packet: what `sfu` says of its own clients.
    #[arg(long, default_value_t = Receivers::WORK_NS, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    receiver_ns: u64,
    /// Turns of each variant that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Time of one turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    turn_ms: u64,
    /// The CPU that is measured [default: the last].
    #[arg(long)]
    cpu: Option<usize>,
    /// Let the receivers run on the measured CPU, too, as the clients of `sfu` may unless the server is pinned apart.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    cable: Cable,
    #[command(flatten)]
    outputs: Outputs,
}

/// How packets are handed to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Runs of a frame for each receiver.
    Frames(SendMethod),
    /// One packet for all receivers, then the next.
    Packets(SendMethod),
    /// Sealed, and not sent.
    SealOnly,
}

const KINDS: [(&str, Kind); 5] = [
    ("a frame at once, sendmsg", Kind::Frames(SendMethod::Sendmsg)),
    ("a frame at once, io_uring SENDMSG", Kind::Frames(SendMethod::UringSendmsg)),
    ("each packet by itself, sendmsg", Kind::Packets(SendMethod::Sendmsg)),
    ("each packet by itself, io_uring SENDMSG", Kind::Packets(SendMethod::UringSendmsg)),
    ("sealing alone", Kind::SealOnly),
];

/// The figures; CPU of the sending thread, in ns per packet that went to one receiver.
#[derive(Clone, Serialize)]
pub(crate) struct FloorReport {
    scenario: String,
    wire: String,
    real_time: bool,
    /// The best of those that send a frame at once, and of those that send each packet by itself.
    pub(crate) frames_ns_per_packet: Option<f64>,
    pub(crate) packets_ns_per_packet: Option<f64>,
    pub(crate) seal_ns_per_packet: Option<f64>,
    rows: Vec<FloorRow>,
}

#[derive(Clone, Serialize)]
struct FloorRow {
    name: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

pub(crate) async fn run(arguments: FloorArguments) -> anyhow::Result<()> {
    arguments.outputs.check()?;
    let load = FloorLoad {
        rooms: arguments.rooms.into(),
        publishers: arguments.publishers.into(),
        viewers: arguments.viewers.into(),
        tiles: None,
        video_kbps: arguments.video_kbps,
        fps: arguments.fps,
        audio: arguments.audio,
    };
    let real_time = !arguments.flat_out;
    let turn = Duration::from_millis(arguments.turn_ms);
    let (cpu, cpus) = choose_cpu(arguments.cpu)?;
    let work = Duration::from_nanos(arguments.receiver_ns);
    let cable = arguments.cable;
    let receivers = match arguments.shared {
        true => Receivers { cpus, work, cable },
        false => Receivers { work, cable, ..Receivers::beside(cpu, &cpus) },
    };
    let pace = Pace { turns: arguments.turns, turn, cpu };
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let mut measured =
        tokio::task::spawn_blocking(move || measure(load, arguments.wire, receivers, real_time, pace, &told));
    let report = tokio::select! {
        report = &mut measured => report??,
        () = stop_signal() => {
            // The turn that is under way comes to its end.
            stop.store(true, Ordering::Relaxed);
            measured.await??
        }
    };
    let mut measurement = report.measurement()?;
    measurement.stopped(stop.load(Ordering::Relaxed));
    measurement.conclude(&arguments.outputs)
}

/// Measures the floor of a load. Takes `pace.turns` + 1 turns for each of five variants, and blocks meanwhile. The pace's
/// CPU should be the relay's, the receivers' another one.
///
/// # Errors
/// When nobody would receive anything, or when the wire cannot be laid.
pub(crate) fn measure(
    load: FloorLoad,
    wire: Wire,
    receivers: Receivers,
    real_time: bool,
    pace: Pace,
    stop: &AtomicBool,
) -> anyhow::Result<FloorReport> {
    load.check()?;
    let outcomes = on_cpu(pace.cpu, || {
        let ends = Ground::lay(wire, receivers)?.ends(load.receivers())?;
        let contenders = KINDS.iter().map(|(_, kind)| contender(&ends, load, *kind, real_time, pace));
        Ok(alternate(contenders.collect(), pace.turns, stop))
    })?;
    let rows = KINDS.iter().zip(outcomes).map(|((name, _), outcome)| FloorRow { name, outcome }).collect();
    Ok(FloorReport::new(load, wire, real_time, rows))
}

fn contender(ends: &Ends, load: FloorLoad, kind: Kind, real_time: bool, pace: Pace) -> Contender<'_> {
    let (method, whole_frames) = match kind {
        Kind::Frames(method) => (Some(method), true),
        Kind::Packets(method) => (Some(method), false),
        Kind::SealOnly => (None, true),
    };
    let (any, bytes) = (method.unwrap_or(SendMethod::Sendmsg), load.largest_batch_bytes());
    let sender = Sender::open(any, ends.socket()?, &ends.destinations, bytes)?;
    let mut floor = Floor::new(load, sender)?;
    Ok(Box::new(move || {
        let (used, elsewhere) = (ThreadUse::sample(), kernel_threads_ns(pace.cpu));
        let mut sample = Sample::default();
        let mut received = ends.sink.as_ref().map_or(0, |sink| sink.received());
        let began = Instant::now();
        for Batch { due, publisher, packets } in load.batches(whole_frames) {
            if real_time {
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            if began.elapsed() >= pace.turn {
                break;
            }
            let begin = thread_cpu_ns();
            let count = floor.seal(publisher, packets);
            if method.is_some() {
                floor.send().context("send")?;
            }
            sample.cpu_ns += thread_cpu_ns() - begin;
            sample.datagrams += count;
            if method.is_some() {
                received += count;
                // Receivers have slept before each batch, as in a call, where there is time between two.
                let missing = if real_time { 0 } else { ends.settle(received) };
                sample.missing += missing;
                received -= missing;
            }
        }
        if method.is_some() && real_time {
            sample.missing = ends.settle(received);
        }
        sample.elsewhere_ns = kernel_threads_ns(pace.cpu) - elsewhere;
        sample.used = ThreadUse::sample().since(&used);
        Ok(sample)
    }))
}

impl FloorReport {
    fn new(load: FloorLoad, wire: Wire, real_time: bool, rows: Vec<FloorRow>) -> Self {
        let best = |wanted: fn(Kind) -> bool| {
            let rows =
                KINDS.iter().zip(&rows).filter(|((_, kind), row)| wanted(*kind) && row.outcome.refused.is_none());
            rows.map(|(_, row)| row.outcome.median_ns).min_by(f64::total_cmp)
        };
        Self {
            scenario: load.describe(),
            wire: format!("{wire:?}").to_lowercase(),
            real_time,
            frames_ns_per_packet: best(|kind| matches!(kind, Kind::Frames(_))),
            packets_ns_per_packet: best(|kind| matches!(kind, Kind::Packets(_))),
            seal_ns_per_packet: best(|kind| matches!(kind, Kind::SealOnly)),
            rows,
        }
    }

    fn measurement(&self) -> anyhow::Result<Measurement> {
        let mut out = Measurement::new(&format!("floor of {}, {}", self.scenario, self.wire), self)?;
        let rhythm = if self.real_time { "in real time" } else { "as fast as it goes" };
        out.figure("sealing", format!("AEAD_AES_128_GCM, a key for each receiver, {rhythm}"));
        out.figure("figures", "CPU ns per packet: median (least–most)");
        self.rows.iter().for_each(|row| out.figure(row.name, row.outcome.cell()));
        let bar = |row: &FloorRow| (row.name.to_owned(), row.outcome.median_ns, 0);
        let bars = self.rows.iter().filter(|row| row.outcome.refused.is_none()).map(bar).collect();
        out.plots = vec![Plot::Bars(Bars { title: "CPU per packet".to_owned(), unit: "ns", bars })];
        out.circumstances.extend(Circumstances::now().lines());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_sends_every_packet() {
        let load =
            FloorLoad { rooms: 2, publishers: 2, viewers: 1, tiles: None, video_kbps: 1500, fps: 30, audio: true };
        let pace = Pace { turns: 1, turn: Duration::from_millis(20), cpu: choose_cpu(None).unwrap().0 };
        let report =
            measure(load, Wire::Loopback, Receivers::beside(0, &[]), false, pace, &AtomicBool::new(false)).unwrap();
        for row in &report.rows {
            // io_uring may be forbidden where this runs.
            if row.outcome.refused.is_none() || row.name.ends_with("sendmsg") {
                assert!(
                    row.outcome.median_ns > 0.0 && row.outcome.missing_ratio == 0.0,
                    "{}: {:?}",
                    row.name,
                    row.outcome
                );
            }
        }
        assert!(report.seal_ns_per_packet < report.frames_ns_per_packet);
    }
}
