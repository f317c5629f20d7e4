//! The sending side: every method, alone and with runs.

use super::AblationArguments;
use super::table::{Row, Table};
use crate::contest::{Contender, Pace, Sample, alternate, kernel_threads_ns};
use crate::wire::{Ends, Ground, Receivers, Wire};
use anyhow::Context;
use plausch_bench::kernel::{Message, SendMethod, Sender, Sockets, ThreadUse, thread_cpu_ns};

/// Datagrams to each destination in one round, whatever the length of the runs.
const PER_DESTINATION: usize = 16;
/// Datagrams between two looks at the clock, which costs as much as a tenth of a datagram.
const PER_SECTION: usize = 512;

/// Name, method, and whether each destination has a socket of its own.
const VARIANTS: [(&str, SendMethod, bool); 10] = [
    ("sendmsg", SendMethod::Sendmsg, false),
    ("sendmsg, connected sockets", SendMethod::Sendmsg, true),
    ("sendmmsg of 256", SendMethod::Sendmmsg, false),
    ("io_uring SENDMSG", SendMethod::UringSendmsg, false),
    ("io_uring SENDMSG, registered file", SendMethod::UringSendmsgFixedFile, false),
    ("io_uring SENDMSG, connected sockets", SendMethod::UringSendmsg, true),
    ("io_uring SEND", SendMethod::UringSend, false),
    ("io_uring SENDMSG_ZC", SendMethod::UringSendmsgZc, false),
    ("io_uring SENDMSG_ZC, registered buffer", SendMethod::UringSendmsgZcFixed, false),
    ("io_uring SEND_ZC, registered buffer", SendMethod::UringSendZcFixed, false),
];

/// A table for each size. Lays the wire in the calling thread's namespace.
pub(super) fn tables(
    arguments: &AblationArguments,
    wire: Wire,
    receivers: Receivers,
    pace: Pace,
) -> anyhow::Result<Vec<Table>> {
    let ground = Ground::lay(wire, receivers)?;
    let mut tables = Vec::new();
    for bytes in &arguments.bytes {
        let bytes = usize::from(*bytes);
        let mut rows: Vec<Row> = VARIANTS
            .iter()
            .flat_map(|(name, ..)| arguments.runs.iter().map(|run| Row::new(name, usize::from(*run))))
            .collect();
        for fan_out in &arguments.fan_outs {
            let fan_out = usize::from(*fan_out);
            eprintln!("sending {bytes} bytes to {fan_out} through {wire:?}");
            let ends = ground.ends(fan_out)?;
            let contenders = VARIANTS.iter().flat_map(|(_, method, connected)| {
                arguments.runs.iter().map(|run| contender(&ends, *method, *connected, bytes, usize::from(*run), pace))
            });
            let outcomes = alternate(contenders.collect(), pace.turns);
            rows.iter_mut().zip(outcomes).for_each(|(row, outcome)| row.cells.push(outcome));
        }
        tables.push(Table {
            title: format!("Sending {bytes} bytes into {}", wire.describe()),
            side: "send",
            wire: format!("{wire:?}").to_lowercase(),
            bytes,
            column: "to",
            fan_outs: arguments.fan_outs.clone(),
            rows,
        });
    }
    Ok(tables)
}

fn contender<'a>(
    ends: &'a Ends,
    method: SendMethod,
    connected: bool,
    bytes: usize,
    run: usize,
    pace: Pace,
) -> Contender<'a> {
    let sockets = if connected {
        let connect = |to: &_| -> anyhow::Result<_> {
            let socket = ends.socket()?;
            socket.connect(to)?;
            Ok(socket)
        };
        Sockets::Connected(ends.destinations.iter().map(connect).collect::<Result<_, _>>()?)
    } else {
        Sockets::Shared(ends.socket()?)
    };
    let messages = messages(ends.destinations.len(), bytes, run);
    let arena = messages.last().map_or(0, |last| last.start + last.len);
    let segment = (run > 1).then_some(bytes);
    let mut sender = Sender::open(method, sockets, &ends.destinations, arena, segment)?;
    let per_round = messages.iter().map(|message| message.len / bytes).sum::<usize>();
    let rounds = PER_SECTION.div_ceil(per_round);
    let per_section = (rounds * per_round) as u64;
    let section = move |sender: &mut Sender| -> anyhow::Result<u64> {
        let begin = thread_cpu_ns();
        for _ in 0..rounds {
            sender.send(&messages).context("send")?;
        }
        Ok(thread_cpu_ns() - begin)
    };
    Ok(Box::new(move || {
        let mut received = ends.sink.as_ref().map_or(0, |sink| sink.received());
        // Caches and branch predictors belong to the variant before.
        section(&mut sender)?;
        received += per_section;
        received -= ends.settle(received);
        let (used, elsewhere, copied) = (ThreadUse::sample(), kernel_threads_ns(pace.cpu), sender.copied);
        let mut sample = Sample::default();
        while sample.cpu_ns < pace.turn.as_nanos() as u64 {
            sample.cpu_ns += section(&mut sender)?;
            sample.datagrams += per_section;
            received += per_section;
            let missing = ends.settle(received);
            sample.missing += missing;
            received -= missing;
        }
        sample.elsewhere_ns = kernel_threads_ns(pace.cpu) - elsewhere;
        sample.used = ThreadUse::sample().since(&used);
        sample.copied = sender.copied - copied;
        Ok(sample)
    }))
}

/// One round: subscriber by subscriber, each with bytes of its own, as an SFU sends.
fn messages(destinations: usize, bytes: usize, run: usize) -> Vec<Message> {
    let datagrams = PER_DESTINATION.next_multiple_of(run);
    let mut start = 0;
    let mut messages = Vec::new();
    for to in 0..destinations {
        for _ in 0..datagrams / run {
            let len = run * bytes;
            messages.push(Message { to, start, len, segment: bytes });
            start += len;
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_method_delivers_every_datagram_over_loopback() {
        let ground = Ground::lay(Wire::Loopback, Receivers::beside(0, &[])).unwrap();
        let ends = ground.ends(3).unwrap();
        let pace = Pace { turns: 1, turn: Duration::from_micros(1), cpu: 0 };
        for (name, method, connected) in VARIANTS {
            for run in [1, 4] {
                let sent_before = ends.sink.as_ref().unwrap().received();
                // Where a sandbox or an older kernel refuses a method, there is nothing to test.
                let Ok(mut contender) = contender(&ends, method, connected, 120, run, pace) else { continue };
                let sample = match contender() {
                    Ok(sample) => sample,
                    Err(error) if method != SendMethod::Sendmsg => {
                        eprintln!("{name}: {error:#}");
                        continue;
                    }
                    Err(error) => panic!("{name}: {error:#}"),
                };
                assert_eq!(sample.missing, 0, "{name}");
                assert!(sample.cpu_ns > 0 && sample.datagrams > 0);
                // The section that warms up is sent, too.
                let received = ends.sink.as_ref().unwrap().received() - sent_before;
                let per_section = PER_SECTION.next_multiple_of(3 * PER_DESTINATION) as u64;
                assert_eq!(received, sample.datagrams + per_section, "{name} ×{run}");
            }
        }
    }

    #[test]
    fn a_round_is_the_same_bytes_in_any_length_of_runs() {
        for run in [1, 4, 16] {
            let messages = messages(5, 100, run);
            assert_eq!(messages.len(), 5 * PER_DESTINATION / run);
            assert_eq!(messages.iter().map(|message| message.len).sum::<usize>(), 5 * PER_DESTINATION * 100);
            assert!(messages.windows(2).all(|pair| pair[1].start == pair[0].start + pair[0].len));
        }
    }
}
