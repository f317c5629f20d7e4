//! One measurement: the way without a server first, then allocations, then load, and what it cost meanwhile.

use super::flood::{Flood, Network};
use super::payload::{Phase, Seen, Tally};
use super::worker::{Finished, Flow, Pace, Path, Shared, Worker};
use crate::ground::{Machine, Process, ProcessSample};
use crate::run::stop::Stopped;
use anyhow::{Context, anyhow, bail};
use plausch_client::Histogram;
use plausch_client::arrival::stamp_arrivals;
use plausch_client::turn::{
    Allocation, CHANNELS, Datagrams, FIRST_CHANNEL, Request, Transport, Users, channel_head, enlarge_buffers,
    indication_head,
};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// From the first packet until the measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// What is still under way when sending ends.
const SETTLE: Duration = Duration::from_millis(500);
/// Without any packet for this long, the server counts as dead.
const SILENCE: Duration = Duration::from_secs(3);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a stop is noticed.
const NAP: Duration = Duration::from_millis(50);

/// What is to be measured.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) transport: Transport,
    /// Where clients come from, each from another address.
    pub(crate) clients_from: Option<Network>,
    pub(crate) users: Users,
    pub(crate) allocations: usize,
    /// Of each allocation.
    pub(crate) channels: usize,
    /// Send and Data indications instead of channels.
    pub(crate) indications: bool,
    pub(crate) pace: Pace,
    pub(crate) seconds: u64,
    /// How long the way without a server is measured; 0: not at all.
    pub(crate) baseline_seconds: u64,
    /// CPUs of the workers, one each.
    pub(crate) cpus: Vec<usize>,
    /// CPUs that nobody but the server should use, if there are such, and whether they do its receive work.
    pub(crate) server_cpus: Vec<usize>,
    pub(crate) receives_itself: bool,
    pub(crate) flood: Option<FloodPlan>,
}

#[derive(Clone, Copy)]
pub(crate) struct FloodPlan {
    pub(crate) total: u64,
    pub(crate) per_s: u32,
    pub(crate) from: Network,
}

/// All counters at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) server: Option<ProcessSample>,
    pub(crate) bench: ProcessSample,
    pub(crate) machine: Machine,
    /// The server's own CPUs.
    pub(crate) pinned: Option<Machine>,
}

/// What a flood did.
pub(crate) struct Flooded {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) request_bytes: u64,
    pub(crate) replies: u64,
    pub(crate) reply_bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) rss_before: Option<u64>,
    pub(crate) rss_after: Option<u64>,
}

/// A whole measurement.
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    /// Latencies without a server.
    pub(crate) direct: Option<Histogram>,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    /// Time that each allocation took, in microseconds.
    pub(crate) allocating: Histogram,
    pub(crate) rss_per_allocation: Option<u64>,
    /// Furthest behind schedule.
    pub(crate) behind: Duration,
    pub(crate) flooded: Option<Flooded>,
    pub(crate) has_process: bool,
    /// Somebody ended it early.
    pub(crate) stopped: bool,
    pub(crate) server_cpus: usize,
    pub(crate) receives_itself: bool,
}

/// Runs one measurement; `stop` ends it early with an error.
pub(crate) fn measure(plan: &Plan, process: Option<Process>, stop: &AtomicBool) -> anyhow::Result<Measured> {
    let local = local_ip(plan.server)?;
    let direct = match plan.baseline_seconds {
        0 => None,
        seconds => {
            let workers = assemble(plan, local, None)?;
            let loaded = load(workers, seconds, false, None, &[], stop)?;
            Some(loaded.tally.latency[Phase::Measured as usize].clone())
        }
    };
    let before = process.and_then(|process| process.sample());
    let mut allocations = Vec::with_capacity(plan.allocations);
    let mut datagrams = Datagrams::new();
    let mut allocating = Histogram::default();
    let mut rss_first = None;
    for index in 0..plan.allocations {
        if stop.load(Ordering::Relaxed) {
            bail!(Stopped);
        }
        let user = plan.users.of(index);
        let local = plan.clients_from.map(|network| SocketAddr::new(network.address(index as u64).into(), 0));
        let allocation = Allocation::make(plan.transport, plan.server, local, &user, &mut datagrams)?;
        allocating.record(allocation.took.as_micros() as u64);
        allocations.push(allocation);
        if index == 0 {
            rss_first = process.and_then(|process| process.sample()).map(|sample| sample.rss_bytes);
        }
    }
    if process.is_some() && before.is_none() {
        bail!("the server's process has ended; look into its log");
    }
    let workers = assemble(plan, local, Some(allocations))?;
    let rss_all = process.and_then(|process| process.sample()).map(|sample| sample.rss_bytes);
    let rss_per_allocation = match (rss_first, rss_all, plan.allocations) {
        (Some(first), Some(all), 2..) => Some(all.saturating_sub(first) / (plan.allocations as u64 - 1)),
        _ => None,
    };
    eprintln!("{} allocations are there; warming up", plan.allocations);
    let loaded = load(workers, plan.seconds, true, process, &plan.server_cpus, stop)?;
    Ok(Measured {
        tally: loaded.tally,
        direct,
        begin: loaded.begin,
        end: loaded.end,
        allocating,
        rss_per_allocation,
        behind: loaded.behind,
        flooded: loaded.flooded,
        has_process: process.is_some(),
        stopped: stop.load(Ordering::Relaxed),
        server_cpus: plan.server_cpus.len(),
        receives_itself: plan.receives_itself,
    })
}

/// The address of this machine that the server is reached from; peers bind to it.
pub(crate) fn local_ip(server: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { [0u8; 4].into() } else { [0u8; 16].into() };
    let find = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.local_addr()
    };
    let address = find().with_context(|| format!("there is no way to {server}; check its address"))?;
    Ok(address.ip())
}

/// Spreads clients over workers; without allocations their packets go straight to the peers.
fn assemble(plan: &Plan, local: IpAddr, allocations: Option<Vec<Allocation>>) -> anyhow::Result<Vec<Worker>> {
    let mut run = [0; 4];
    getrandom::fill(&mut run).map_err(|error| anyhow!("no random numbers: {error}"))?;
    let wanted = plan.flood.filter(|_| allocations.is_some());
    let flood = wanted.map(|flood| Flood::new(plan.server, flood.from, flood.total, flood.per_s));
    let mut flood = flood.transpose().map_err(|error| anyhow!("cannot send spoofed requests: {error}"))?;
    let threads = plan.cpus.len().clamp(1, plan.allocations);
    let mut allocations = allocations.map(Vec::into_iter);
    let mut workers = Vec::with_capacity(threads);
    let mut datagrams = Datagrams::new();
    let mut first_flow = 0;
    for thread in 0..threads {
        let clients = plan.allocations / threads + usize::from(thread < plan.allocations % threads);
        let peers: Vec<UdpSocket> = (0..plan.channels).map(|_| open_socket(local)).collect::<anyhow::Result<_>>()?;
        let mut worker = Worker {
            run: u32::from_be_bytes(run),
            first_flow,
            clients: Vec::with_capacity(clients),
            peers,
            flows: Vec::with_capacity(clients * plan.channels),
            pace: plan.pace,
            flood: flood.take(),
            cpu: plan.cpus.get(thread).copied(),
        };
        for client in 0..clients {
            let path = match &mut allocations {
                Some(rest) => Path::Relayed(Box::new(rest.next().ok_or_else(|| anyhow!("an allocation is missing"))?)),
                None => Path::Direct(open_socket(local)?),
            };
            worker.add_client(client, path, plan, &mut datagrams)?;
        }
        first_flow += worker.flows.len() as u32;
        workers.push(worker);
    }
    Ok(workers)
}

impl Worker {
    /// Takes a client in, with a flow to each peer.
    fn add_client(
        &mut self,
        client: usize,
        mut path: Path,
        plan: &Plan,
        datagrams: &mut Datagrams,
    ) -> anyhow::Result<()> {
        let bytes = plan.pace.payload_bytes;
        for (peer, socket) in self.peers.iter().enumerate() {
            let peer_address = socket.local_addr()?;
            let (relayed, channel, head) = match &mut path {
                Path::Direct(socket) => (socket.local_addr()?, None, Vec::new()),
                Path::Relayed(allocation) if plan.indications => {
                    let request = Request::CreatePermission { peer: peer_address };
                    allocation.ask(plan.transport, request, datagrams)?;
                    (allocation.relayed, None, indication_head(peer_address, bytes)?)
                }
                Path::Relayed(allocation) => {
                    let channel = FIRST_CHANNEL + peer as u16 % CHANNELS;
                    let request = Request::ChannelBind { channel, peer: peer_address };
                    allocation.ask(plan.transport, request, datagrams)?;
                    (allocation.relayed, Some(channel), channel_head(channel, bytes))
                }
            };
            let (sent, seen) = ([0; 2], [Seen::default(); 2]);
            self.flows.push(Flow { client, peer, channel, head, peer_address, relayed, sent, seen });
        }
        if let Path::Relayed(allocation) = &path {
            allocation.leg.enlarge();
        }
        self.clients.push(path);
        Ok(())
    }
}

fn open_socket(local: IpAddr) -> anyhow::Result<UdpSocket> {
    let open = || {
        let socket = UdpSocket::bind((local, 0))?;
        socket.set_nonblocking(true)?;
        stamp_arrivals(&socket)?;
        enlarge_buffers(&socket);
        Ok(socket)
    };
    open().map_err(|error: std::io::Error| anyhow!("cannot open a UDP socket: {error}"))
}

struct Loaded {
    tally: Tally,
    begin: Moment,
    end: Moment,
    behind: Duration,
    flooded: Option<Flooded>,
}

/// Lets workers send for a time, and looks at the counters meanwhile.
fn load(
    workers: Vec<Worker>,
    seconds: u64,
    relayed: bool,
    process: Option<Process>,
    server_cpus: &[usize],
    stop: &AtomicBool,
) -> anyhow::Result<Loaded> {
    let shared = Shared::default();
    let (flood_total, flood_per_s) =
        workers.iter().find_map(|worker| worker.flood.as_ref()).map_or((0, 1.0), Flood::size);
    thread::scope(|scope| {
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(|| worker.run(&shared))).collect();
        let watch = Watch { shared: &shared, process, server_cpus, relayed, stop };
        let watched = watch.all(Duration::from_secs(seconds), flood_total, flood_per_s);
        shared.quiet.store(true, Ordering::Relaxed);
        if watched.is_ok() {
            thread::sleep(SETTLE);
        }
        shared.end.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        let mut flood = None;
        for thread in threads {
            let finished: Finished = thread.join().map_err(|_| anyhow!("a thread of the load ended by a fault"))?;
            tally.add(&finished.tally);
            flood = flood.or(finished.flood);
            for client in finished.clients {
                if let Path::Relayed(mut allocation) = client {
                    allocation.release();
                }
            }
        }
        let (begin, end, mut flooded) = watched?;
        if let (Some(flooded), Some(flood)) = (&mut flooded, &flood) {
            flooded.requests = flood.sent;
            flooded.refused = flood.refused;
            flooded.request_bytes = flood.request_bytes();
            flooded.replies = flood.replies;
            flooded.reply_bytes = flood.reply_bytes;
        }
        let behind = Duration::from_nanos(shared.behind_ns.load(Ordering::Relaxed));
        Ok(Loaded { tally, begin, end, behind, flooded })
    })
}

/// Who looks at a load while it runs.
struct Watch<'a> {
    shared: &'a Shared,
    process: Option<Process>,
    server_cpus: &'a [usize],
    relayed: bool,
    stop: &'a AtomicBool,
}

impl Watch<'_> {
    fn all(
        &self,
        time: Duration,
        flood_total: u64,
        flood_per_s: f64,
    ) -> anyhow::Result<(Moment, Moment, Option<Flooded>)> {
        self.wait(WARM_UP)?;
        self.shared.phase.store(Phase::Measured as u8, Ordering::Relaxed);
        let begin = self.moment()?;
        match self.wait(time) {
            // What there is, if that is enough to tell anything.
            Err(error) if error.is::<Stopped>() && begin.at.elapsed() >= PROGRESS_INTERVAL => {}
            waited => waited?,
        }
        let end = self.moment()?;
        let mut flooded = None;
        if flood_total > 0 && !self.stop.load(Ordering::Relaxed) {
            eprintln!("{flood_total} spoofed requests, {flood_per_s:.0} in a second");
            self.shared.phase.store(Phase::Flooded as u8, Ordering::Relaxed);
            self.wait(Duration::from_secs_f64(flood_total as f64 / flood_per_s))?;
            let after = self.moment()?;
            let rss = |moment: &Moment| moment.server.as_ref().map(|server| server.rss_bytes);
            flooded = Some(Flooded {
                requests: 0,
                refused: 0,
                request_bytes: 0,
                replies: 0,
                reply_bytes: 0,
                seconds: (after.at - end.at).as_secs_f64(),
                rss_before: rss(&end),
                rss_after: rss(&after),
            });
        }
        Ok((begin, end, flooded))
    }

    /// Sleeps, with a line of progress now and then; an error if something ends too early.
    fn wait(&self, time: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut before = self.moment()?;
        let mut alive = (Instant::now(), before.received);
        while begin.elapsed() < time {
            thread::sleep(NAP.min(time.saturating_sub(begin.elapsed())));
            if self.stop.load(Ordering::Relaxed) {
                bail!(Stopped);
            }
            let failure = self.shared.failure.lock().map_or(None, |failure| failure.clone());
            if let Some(failure) = failure {
                // The process tells more, if it has ended.
                self.moment()?;
                bail!("the server went away in the middle of the run ({failure}); look into its log");
            }
            let received = self.shared.received.load(Ordering::Relaxed);
            if received > alive.1 {
                alive = (Instant::now(), received);
            } else if alive.0.elapsed() > SILENCE {
                bail!("no packet came through for {} s; look into the server's log", SILENCE.as_secs());
            }
            if before.at.elapsed() >= PROGRESS_INTERVAL {
                let now = self.moment()?;
                if self.relayed {
                    eprintln!("{}", now.progress(&before));
                }
                before = now;
            }
        }
        Ok(())
    }

    fn moment(&self) -> anyhow::Result<Moment> {
        let sample = |process: Process| {
            process.sample().ok_or_else(|| {
                anyhow!("the server (process {}) ended in the middle of the run; look into its log", process.pid)
            })
        };
        Ok(Moment {
            at: Instant::now(),
            sent: self.shared.sent.load(Ordering::Relaxed),
            received: self.shared.received.load(Ordering::Relaxed),
            server: self.process.map(sample).transpose()?,
            bench: Process::own().sample().unwrap_or_default(),
            machine: Machine::sample().unwrap_or_default(),
            pinned: (!self.server_cpus.is_empty()).then(|| Machine::sample_of(self.server_cpus)).flatten(),
        })
    }
}

impl Moment {
    /// CPU time of the server since then.
    pub(crate) fn server_cpu_ns(&self, before: &Self) -> Option<u64> {
        Some(self.server.as_ref()?.cpu_ns.saturating_sub(before.server.as_ref()?.cpu_ns))
    }

    pub(crate) fn bench_cpu_ns(&self, before: &Self) -> u64 {
        self.bench.cpu_ns.saturating_sub(before.bench.cpu_ns)
    }

    fn progress(&self, before: &Self) -> String {
        let time = (self.at - before.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| (now - then) as f64 / time;
        let share = |ns: u64| ns as f64 / 1e9 / time * 100.0;
        let packets = (self.received - before.received).max(1);
        let server = match self.server_cpu_ns(before) {
            Some(ns) => format!("server {:3.0} % CPU, {:6} ns/packet", share(ns), ns / packets),
            None => "server out of sight".to_owned(),
        };
        format!(
            "  {:7.0} of {:7.0} packets/s relayed  {server}  bench {:3.0} % CPU",
            rate(self.received, before.received),
            rate(self.sent, before.sent),
            share(self.bench_cpu_ns(before)),
        )
    }
}
