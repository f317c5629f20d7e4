//! The receiving side: one socket, many senders. The same thread sends and then receives, so that each part can be
//! measured alone.

use super::AblationArguments;
use super::table::{Row, Table};
use crate::contest::{Contender, Pace, Sample, alternate, kernel_threads_ns};
use crate::wire::bind;
use anyhow::Context;
use plausch_bench::kernel::{Message, ReceiveMethod, Receiver, SendMethod, Sender, Sockets, ThreadUse, thread_cpu_ns};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::rc::Rc;

/// Datagrams of each sender in one round.
const PER_SENDER: usize = 16;
/// Datagrams that wait in the socket at most: a few milliseconds of a busy relay, and less than its buffer.
const WAITING: usize = 1024;

const VARIANTS: [(&str, ReceiveMethod, bool); 4] = [
    ("recvmmsg of 32", ReceiveMethod::Recvmmsg, false),
    ("recvmmsg of 32, UDP_GRO", ReceiveMethod::Recvmmsg, true),
    ("io_uring multishot recvmsg", ReceiveMethod::UringMultishot, false),
    ("io_uring multishot recvmsg, UDP_GRO", ReceiveMethod::UringMultishot, true),
];

/// Two tables for each size: the receiver alone, and together with the way up to its socket.
pub(super) fn tables(arguments: &AblationArguments, pace: Pace) -> anyhow::Result<Vec<Table>> {
    let mut tables = Vec::new();
    for bytes in &arguments.bytes {
        let bytes = usize::from(*bytes);
        let rows: Vec<Row> = VARIANTS
            .iter()
            .flat_map(|(name, ..)| arguments.runs.iter().map(|run| Row::new(name, usize::from(*run))))
            .collect();
        let mut both = [rows.clone(), rows];
        for fan_in in &arguments.fan_outs {
            eprintln!("receiving {bytes} bytes from {fan_in} over loopback");
            let wholes: Vec<Rc<Cell<f64>>> = (0..both[0].len()).map(|_| Rc::default()).collect();
            let kinds =
                VARIANTS.iter().flat_map(|kind| arguments.runs.iter().map(move |run| (kind, usize::from(*run))));
            let contenders = kinds.zip(&wholes).map(|(((_, method, gro), run), whole)| {
                contender(*method, *gro, usize::from(*fan_in), bytes, run, pace, whole.clone())
            });
            let outcomes = alternate(contenders.collect(), pace.turns);
            for ((index, outcome), whole) in outcomes.into_iter().enumerate().zip(wholes) {
                let mut sum = outcome.clone();
                let mean = whole.get() / f64::from(pace.turns + 1);
                (sum.median_ns, sum.least_ns, sum.most_ns) = (mean, mean, mean);
                both[0][index].cells.push(outcome);
                both[1][index].cells.push(sum);
            }
        }
        let [alone, whole] = both;
        for (what, side, rows) in [
            ("the receiver alone", "receive", alone),
            ("with sending and the way up to the socket, means", "send and receive", whole),
        ] {
            tables.push(Table {
                title: format!("Receiving {bytes} bytes over loopback, {what}"),
                side,
                wire: "loopback".to_owned(),
                bytes,
                column: "from",
                fan_outs: arguments.fan_outs.clone(),
                rows,
            });
        }
    }
    Ok(tables)
}

/// Adds to `whole` the ns per datagram of each turn, sending included.
fn contender<'a>(
    method: ReceiveMethod,
    gro: bool,
    fan_in: usize,
    bytes: usize,
    run: usize,
    pace: Pace,
    whole: Rc<Cell<f64>>,
) -> Contender<'a> {
    let socket = bind(Ipv4Addr::LOCALHOST.into())?;
    let address = socket.local_addr()?;
    let connect = || -> std::io::Result<UdpSocket> {
        let socket = bind(Ipv4Addr::LOCALHOST.into())?;
        socket.connect(address)?;
        Ok(socket)
    };
    let sources = (0..fan_in).map(|_| connect()).collect::<Result<_, _>>()?;
    let messages: Vec<Message> = (0..PER_SENDER.div_ceil(run))
        .flat_map(|_| (0..fan_in).map(|to| Message { to, start: 0, len: bytes * run, segment: bytes }))
        .collect();
    let names = vec![address; fan_in];
    let mut sender = Sender::open(SendMethod::Sendmsg, Sockets::Connected(sources), &names, bytes * run, None)?;
    let mut receiver = Receiver::open(method, socket, gro)?;
    // The ring and the request are there before the first datagram.
    receiver.drain(0)?;
    Ok(Box::new(move || {
        let (used, elsewhere) = (ThreadUse::sample(), kernel_threads_ns(pace.cpu));
        let mut sample = Sample::default();
        let mut sending_ns = 0;
        while sample.cpu_ns < pace.turn.as_nanos() as u64 {
            for part in messages.chunks((WAITING / run).max(1)) {
                let begin = thread_cpu_ns();
                sender.send(part).context("send")?;
                let sent = thread_cpu_ns();
                let wanted = part.len() * run;
                let received = receiver.drain(wanted).context("receive")?;
                sample.cpu_ns += thread_cpu_ns() - sent;
                sending_ns += sent - begin;
                sample.datagrams += received as u64;
                sample.missing += wanted.saturating_sub(received) as u64;
            }
        }
        sample.elsewhere_ns = kernel_threads_ns(pace.cpu) - elsewhere;
        sample.used = ThreadUse::sample().since(&used);
        whole.set(whole.get() + (sample.cpu_ns + sending_ns) as f64 / sample.datagrams.max(1) as f64);
        Ok(sample)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_method_receives_every_datagram() {
        let pace = Pace { turns: 1, turn: Duration::from_micros(1), cpu: 0 };
        for (name, method, gro) in VARIANTS {
            for run in [1, 4] {
                // Where a sandbox or an older kernel refuses a method, there is nothing to test.
                let Ok(mut contender) = contender(method, gro, 3, 120, run, pace, Rc::default()) else { continue };
                let sample = contender().unwrap();
                assert_eq!((sample.datagrams, sample.missing), (3 * PER_SENDER as u64, 0), "{name} ×{run}");
            }
        }
    }
}
