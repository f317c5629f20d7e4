//! A shard: one pinned thread with its sockets, its driver and its engine, and nothing shared with others.
//!
//! The loop is the same for all drivers: receive, forward, send, then what is rare: commands, timers, effects.
//! A packet that is forwarded allocates nothing and takes no lock.

mod status;

pub use status::Status;

use crate::cpus;
use crate::driver::mmsg::Mmsg;
use crate::driver::uring::Uring;
use crate::driver::xdp::{self, Xdp};
use crate::driver::{Driver, Sockets, Waker, latest_wait, recycle};
use crate::edge;
use crate::edge::ends::{ShardEnds, ToEdge};
use crate::edge::records::{Kind, Reader};
use crate::handshake::ToHandshake;
use crate::neighbours::{self, Inbox};
use crate::ring::{Receiver, Sender};
use plausch_engine::{Effect, Engine, EngineCommand, EngineConfig, Load, Path, RxPacket, Time, TxBatch};
use plausch_relay_api::limits::{BATCH_PACKETS, COMMANDS_PER_TURN, DATAGRAM_BYTES, TX_BYTES, TX_RUNS};
use plausch_relay_api::{Command, CommandError, CommandId, Event, ParticipantId, ParticipantSnapshot};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// How often the numbers for others are brought up to date, at most.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before a shard that died starts again, so that one that dies at once does not take a CPU for ever.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// What has waited for less is not looked into.
const HARDLY_WAITED: Duration = Duration::from_millis(1);
/// How often the engine is told the time of day, by which TURN's users and nonces expire.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
/// Pause while messages wait for room in a ring.
const RING_PAUSE: Duration = Duration::from_millis(1);

/// Main → shard.
#[derive(Debug)]
pub enum ToShard {
    /// A command of control.
    Control { ticket: Ticket, command: Command },
    /// Asks for all participants.
    Snapshot { link: u64 },
    /// This host's addresses have changed.
    HostAddresses(Vec<IpAddr>),
    /// Nothing new is to begin.
    Drain,
    /// For the test of what comes after.
    #[cfg(test)]
    Panic,
}

/// Shard → main.
#[derive(Debug)]
pub enum FromShard {
    Done { ticket: Ticket, result: Result<(), CommandError> },
    Snapshot { link: u64, participants: Vec<ParticipantSnapshot> },
    Event(Event),
}

/// What main must know again when a command is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Counts the link's connections: an answer is for the connection on which the command came.
    pub link: u64,
    pub id: CommandId,
    /// This command was the first to put this participant here.
    pub first_put: Option<ParticipantId>,
}

/// The rings of a shard.
pub struct Rings {
    pub commands: Receiver<ToShard>,
    pub events: Sender<FromShard>,
    /// By handshake thread.
    pub handshakes: Vec<(Sender<ToHandshake>, Receiver<EngineCommand>)>,
    /// By edge thread.
    pub edges: Vec<ShardEnds>,
    /// One for each shard, this one among them.
    pub neighbours: Arc<[Inbox]>,
}

/// Which driver a shard opens.
#[derive(Clone, Debug)]
pub enum DriverSetup {
    /// io_uring, and where that is forbidden recvmmsg.
    Auto,
    Uring,
    Mmsg,
    Xdp(xdp::Queue),
}

/// What a shard is made with.
pub struct Setup {
    pub cpu: usize,
    pub sockets: Sockets,
    pub waker: Waker,
    pub driver: DriverSetup,
    pub realtime: bool,
    pub engine: EngineConfig,
    pub status: Arc<Mutex<Status>>,
    /// Set together with a wake-up to end the thread.
    pub stop: Arc<AtomicBool>,
}

/// Starts the thread and waits until its driver is open.
pub fn spawn(setup: Setup, mut rings: Rings) -> io::Result<JoinHandle<()>> {
    let (ready, started) = mpsc::channel();
    let name = format!("shard-{}", setup.engine.shard);
    let thread = thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = cpus::pin(&[setup.cpu]) {
            tracing::warn!("shard {} cannot be pinned to CPU {}: {error}", setup.engine.shard, setup.cpu);
        }
        if let Err(error) = cpus::set_prompt() {
            tracing::warn!("shard {} may wait for others on CPU {}: {error}", setup.engine.shard, setup.cpu);
        }
        if setup.realtime
            && let Err(error) = cpus::set_realtime()
        {
            tracing::warn!("shard {} has no real-time priority: {error}", setup.engine.shard);
        }
        match &setup.driver {
            DriverSetup::Uring => run(&setup, &mut rings, open::<Uring>(&setup, &()), &(), &ready),
            DriverSetup::Mmsg => run(&setup, &mut rings, open::<Mmsg>(&setup, &()), &(), &ready),
            DriverSetup::Xdp(queue) => {
                let opened = open::<Xdp>(&setup, queue);
                if let Ok(driver) = &opened {
                    let copies = if driver.is_zero_copy() { "without copying" } else { "copied by the kernel" };
                    tracing::info!("shard {} uses frames of {}, {copies}", setup.engine.shard, queue.device.name());
                }
                run(&setup, &mut rings, opened, queue, &ready);
            }
            DriverSetup::Auto => match open::<Uring>(&setup, &()) {
                Ok(driver) => run(&setup, &mut rings, Ok(driver), &(), &ready),
                Err(error) => {
                    tracing::info!("shard {} uses recvmmsg, as io_uring is not to be had: {error}", setup.engine.shard);
                    run(&setup, &mut rings, open::<Mmsg>(&setup, &()), &(), &ready);
                }
            },
        }
    })?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(mpsc::RecvError) => Err(io::Error::other("the shard's thread ended at once")),
    }
}

fn open<D: Driver>(setup: &Setup, device: &D::Device) -> io::Result<D> {
    D::open(setup.sockets.clone(), setup.waker.clone(), device)
}

/// Runs the shard until it shall stop; starts it again, empty, when it dies.
fn run<D: Driver>(
    setup: &Setup,
    rings: &mut Rings,
    opened: io::Result<D>,
    device: &D::Device,
    ready: &mpsc::Sender<io::Result<()>>,
) {
    let mut driver = match opened {
        Ok(driver) => driver,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(()));
    let mut restarts = 0;
    loop {
        let mut shard = Shard::new(setup, rings, driver, restarts);
        match catch_unwind(AssertUnwindSafe(|| shard.run())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!("shard {} lost its driver: {error}", setup.engine.shard),
            Err(_) => tracing::error!("shard {} panicked; its participants are gone", setup.engine.shard),
        }
        drop(shard);
        restarts += 1;
        for (handshake, _) in &mut rings.handshakes {
            handshake.send(ToHandshake::EndAll);
        }
        for edge in &mut rings.edges {
            edge.tasks.send(ToEdge::Reset);
        }
        rings.events.send(FromShard::Event(Event::ShardRestarted { shard: setup.engine.shard }));
        rings.events.flush();
        driver = loop {
            thread::sleep(RESTART_PAUSE);
            if setup.stop.load(Ordering::Relaxed) {
                return;
            }
            match open::<D>(setup, device) {
                Ok(driver) => break driver,
                Err(error) => tracing::error!("shard {} cannot start again: {error}", setup.engine.shard),
            }
        };
    }
}

struct Shard<'a, D> {
    setup: &'a Setup,
    rings: &'a mut Rings,
    driver: D,
    engine: Engine,
    tx: TxBatch,
    origin: Instant,
    status: Status,
    /// The numbers have changed since they were published.
    unpublished: bool,
    published_at: Time,
    clock_told_at: Time,
    /// Where packets of the edge are while the engine has them, and the memory of the list of them.
    from_edge: Box<[[u8; DATAGRAM_BYTES]]>,
    edge_storage: Vec<RxPacket<'static>>,
    /// What other shards have handed over, while the engine has it.
    handed_over: Vec<u8>,
    /// There are clients of the edge, or were: only then it is worth looking for packets to them.
    has_edge: bool,
    /// When nothing was left to read, and how many packets were read since.
    through_at: Time,
    depth: usize,
    /// Datagrams that the network did not take since the engine was told.
    refused: u64,
}

impl<'a, D: Driver> Shard<'a, D> {
    fn new(setup: &'a Setup, rings: &'a mut Rings, driver: D, restarts: u64) -> Self {
        // The engine's time begins with the engine; nothing compares times of two shards.
        let mut engine = setup.engine.clone();
        engine.seed = engine.seed.wrapping_add(restarts);
        if let Some(turn) = &mut engine.turn {
            turn.unix_seconds = unix_seconds();
        }
        Self {
            setup,
            rings,
            driver,
            engine: Engine::new(engine, Time(0)),
            tx: TxBatch::new(TX_BYTES, TX_RUNS),
            origin: Instant::now(),
            status: Status { restarts, ..Status::default() },
            unpublished: true,
            published_at: Time(0),
            clock_told_at: Time(0),
            from_edge: vec![[0; DATAGRAM_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            edge_storage: Vec::with_capacity(BATCH_PACKETS),
            handed_over: Vec::new(),
            has_edge: false,
            through_at: Time(0),
            depth: 0,
            refused: 0,
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut storage = Vec::with_capacity(BATCH_PACKETS);
        let mut now = self.now();
        let mut woke_at = now;
        let mut pending = Pending::Nothing;
        while !self.setup.stop.load(Ordering::Relaxed) {
            let before_wait = self.now();
            self.status.busy += before_wait.since(woke_at);
            let wait = self.wait(before_wait, pending);
            let mut rx = recycle(storage);
            let received = self.driver.receive(wait, &mut rx)?;
            // The clock is read once for the batch; `self.driver` is lent until the packets are given back.
            now = Time(self.origin.elapsed().as_micros() as u64);
            woke_at = now;
            // Who had to wait for packets has taken them at once.
            let idle = now.since(before_wait);
            let longest = before_wait.since(self.through_at);
            let wait = match received.taken_at {
                _ if idle > HARDLY_WAITED => Duration::ZERO,
                Some(taken_at) if longest > HARDLY_WAITED => longest.min(waited(&self.setup.sockets, &rx, taken_at)),
                _ => longest,
            };
            self.depth += rx.len();
            self.engine.note_load(now, Load { spare: idle, wait, depth: self.depth, refused: self.refused });
            self.refused = 0;
            if !received.full {
                (self.through_at, self.depth) = (now, 0);
            }
            if !rx.is_empty() {
                self.engine.handle_batch(now, &mut rx, &mut self.tx);
                self.unpublished = true;
            }
            storage = recycle(rx);
            self.send()?;
            self.catch_up(now)?;
            self.neighbours(now)?;
            pending = self.edges(now)?.max(self.commands(now)?);
            self.catch_up(now)?;
            self.effects(now);
            self.send()?;
            if !self.flush() {
                pending = pending.max(Pending::Rings);
            }
            self.publish(now);
        }
        Ok(())
    }

    /// Does what is due. A large room's packets need more than one batch, and no input may come between.
    fn catch_up(&mut self, now: Time) -> io::Result<()> {
        while self.engine.poll_timeout() <= now {
            self.engine.handle_timeout(now, &mut self.tx);
            self.unpublished = true;
            self.send()?;
        }
        Ok(())
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed().as_micros() as u64)
    }

    /// How long the driver may wait. `None`: until something happens.
    fn wait(&self, now: Time, pending: Pending) -> Option<Duration> {
        let until = |due: Time| (due != Time::NEVER).then(|| due.since(now));
        let publish = if self.unpublished { until(self.published_at + PUBLISH_INTERVAL) } else { None };
        let pending = match pending {
            Pending::Commands => Some(Duration::ZERO),
            Pending::Rings => Some(RING_PAUSE),
            Pending::Nothing => None,
        };
        [until(self.engine.poll_timeout()), publish, pending].into_iter().flatten().min()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.tx.is_empty() {
            return Ok(());
        }
        if self.has_edge {
            self.send_to_edge();
        }
        if self.tx.has_neighbours() {
            self.send_to_neighbours();
        }
        let full = self.driver.counters().drop_send_full;
        let sent = self.driver.send(&mut self.tx);
        self.tx.clear();
        self.refused += self.driver.counters().drop_send_full - full;
        sent
    }

    /// Takes the packets to TCP clients out of the batch.
    fn send_to_edge(&mut self) {
        let Self { tx, rings, status, .. } = self;
        tx.retain_runs(|run, bytes| {
            if !run.path.local.is_edge() {
                return true;
            }
            let thread = rings.edges.get_mut(edge::thread_of(run.path.local));
            if !thread.is_some_and(|ends| ends.to_edge.data(run.path, bytes, run.segment)) {
                status.drop_edge_ring += run.datagrams() as u64;
            }
            false
        });
    }

    /// Takes the packets to other shards out of the batch.
    fn send_to_neighbours(&mut self) {
        let Self { tx, rings, status, setup, .. } = self;
        tx.retain_runs(|run, bytes| {
            let Some(shard) = run.path.local.as_neighbour() else { return true };
            status.drop_neighbour += match rings.neighbours.get(usize::from(shard.0)) {
                Some(inbox) => inbox.put(setup.engine.shard, run.path.remote, bytes, run.segment),
                None => run.datagrams() as u64,
            };
            false
        });
    }

    /// Takes what other shards have handed over, all that there is: `limits::NEIGHBOUR_BYTES` at the most.
    fn neighbours(&mut self, now: Time) -> io::Result<()> {
        let own = self.rings.neighbours.get(usize::from(self.setup.engine.shard.0));
        if !own.is_some_and(|inbox| inbox.take(&mut self.handed_over)) {
            return Ok(());
        }
        self.unpublished = true;
        let mut records = std::mem::take(&mut self.handed_over);
        let mut rest = &mut records[..];
        while !rest.is_empty() {
            let mut rx = Vec::with_capacity(BATCH_PACKETS);
            rest = neighbours::batch(rest, &mut rx);
            self.engine.handle_batch(now, &mut rx, &mut self.tx);
            self.send()?;
            self.catch_up(now)?;
        }
        self.handed_over = records;
        Ok(())
    }

    /// Takes a limited number of packets of TCP clients from each edge thread.
    fn edges(&mut self, now: Time) -> io::Result<Pending> {
        let mut pending = Pending::Nothing;
        for thread in 0..self.rings.edges.len() {
            let ShardEnds { from_edge, .. } = &mut self.rings.edges[thread];
            if from_edge.is_empty() {
                continue;
            }
            (self.has_edge, self.unpublished) = (true, true);
            let mut rx = recycle(std::mem::take(&mut self.edge_storage));
            let closed = receive_from_edge(from_edge, &mut self.from_edge, &mut rx);
            if !from_edge.is_empty() {
                pending = Pending::Commands;
            }
            self.engine.handle_batch(now, &mut rx, &mut self.tx);
            self.edge_storage = recycle(rx);
            self.send()?;
            self.catch_up(now)?;
            if let Some(path) = closed {
                let _ = self.engine.handle_command(now, EngineCommand::EdgeClosed { path }, &mut self.tx);
                self.send()?;
            }
        }
        Ok(pending)
    }

    /// Takes a limited number of commands of main and of each handshake thread.
    fn commands(&mut self, now: Time) -> io::Result<Pending> {
        let mut pending = Pending::Nothing;
        if now.since(self.clock_told_at) >= CLOCK_INTERVAL {
            self.clock_told_at = now;
            let command = EngineCommand::UnixTime { seconds: unix_seconds() };
            let _ = self.engine.handle_command(now, command, &mut self.tx);
        }
        for _ in 0..COMMANDS_PER_TURN {
            let Ok(message) = self.rings.commands.pop() else { break };
            self.unpublished = true;
            match message {
                ToShard::Control { ticket, command } => {
                    let result = self.engine.handle_command(now, EngineCommand::Control(command), &mut self.tx);
                    // Before the answer: what the command led to comes before what control does next.
                    self.effects(now);
                    self.rings.events.send(FromShard::Done { ticket, result });
                }
                ToShard::Snapshot { link } => {
                    let participants = self.engine.snapshot().collect();
                    self.rings.events.send(FromShard::Snapshot { link, participants });
                }
                ToShard::HostAddresses(addresses) => {
                    let command = EngineCommand::HostAddresses(addresses);
                    let _ = self.engine.handle_command(now, command, &mut self.tx);
                }
                ToShard::Drain => {
                    let _ = self.engine.handle_command(now, EngineCommand::Drain, &mut self.tx);
                }
                #[cfg(test)]
                ToShard::Panic => panic!("asked for by a test"),
            }
        }
        if !self.rings.commands.is_empty() {
            pending = Pending::Commands;
        }
        for index in 0..self.rings.handshakes.len() {
            for _ in 0..COMMANDS_PER_TURN {
                let Ok(command) = self.rings.handshakes[index].1.pop() else { break };
                self.unpublished = true;
                // Refused when the participant has gone meanwhile, which the engine counts.
                let _ = self.engine.handle_command(now, command, &mut self.tx);
            }
            if !self.rings.handshakes[index].1.is_empty() {
                pending = Pending::Commands;
            }
        }
        for index in 0..self.rings.edges.len() {
            for _ in 0..COMMANDS_PER_TURN {
                let Ok(command) = self.rings.edges[index].news.pop() else { break };
                self.unpublished = true;
                let _ = self.engine.handle_command(now, command, &mut self.tx);
                // What is to be done with a connection comes before what its client is told of it.
                self.effects(now);
            }
            if !self.rings.edges[index].news.is_empty() {
                pending = Pending::Commands;
            }
        }
        self.send()?;
        Ok(pending)
    }

    /// Passes on what the engine asks of the world.
    fn effects(&mut self, now: Time) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Dtls { participant, generation, fingerprint, datagram } => {
                    let message = ToHandshake::Datagram { participant, generation, fingerprint, datagram };
                    if self.handshake(participant).offer(message).is_err() {
                        // Lost like any datagram: the browser sends it again.
                        self.status.drop_handshake_ring += 1;
                    }
                }
                Effect::DtlsConnect { participant, generation, fingerprint } => {
                    // Lost where the ring is full: the engine says it again with the next check.
                    let message = ToHandshake::Connect { participant, generation, fingerprint };
                    self.status.drop_handshake_ring += u64::from(self.handshake(participant).offer(message).is_err());
                }
                Effect::DtlsEnd { participant, generation } => {
                    self.handshake(participant).send(ToHandshake::End { participant, generation });
                }
                Effect::Connected { participant, generation } => {
                    self.rings.events.send(FromShard::Event(Event::Connected { participant, generation }));
                }
                Effect::Disconnected { participant, generation, reason } => {
                    self.rings.events.send(FromShard::Event(Event::Disconnected { participant, generation, reason }));
                }
                Effect::Speakers { room, speakers } => {
                    // The next one says it anew.
                    let _ = self.rings.events.offer(FromShard::Event(Event::Speakers { room, speakers }));
                }
                Effect::OpenPort { local, address } => {
                    if self.driver.open_port(local, address).is_err() {
                        self.status.relay_port_failures += 1;
                        let command = EngineCommand::PortFailed { local };
                        let _ = self.engine.handle_command(now, command, &mut self.tx);
                    }
                }
                Effect::ClosePort { local } => self.driver.close_port(local),
                Effect::Edge { client, task } => {
                    if let Some(ends) = self.rings.edges.get_mut(edge::thread_of(client.local)) {
                        ends.tasks.send(ToEdge::Task { client, task });
                    }
                }
            }
        }
    }

    /// One participant is always with the same handshake thread.
    fn handshake(&mut self, participant: ParticipantId) -> &mut Sender<ToHandshake> {
        let index = (participant.0 % self.rings.handshakes.len() as u64) as usize;
        &mut self.rings.handshakes[index].0
    }

    fn flush(&mut self) -> bool {
        let mut flushed = self.rings.events.flush();
        for (sender, _) in &mut self.rings.handshakes {
            flushed &= sender.flush();
        }
        for ends in &mut self.rings.edges {
            flushed &= ends.to_edge.flush();
            flushed &= ends.tasks.flush();
        }
        flushed
    }

    /// Lets others read the numbers, unless one of them is just reading.
    fn publish(&mut self, now: Time) {
        if !self.unpublished || now.since(self.published_at) < PUBLISH_INTERVAL {
            return;
        }
        if let Ok(mut published) = self.setup.status.try_lock() {
            *published = Status { engine: *self.engine.counters(), driver: self.driver.counters(), ..self.status };
            self.unpublished = false;
        }
        self.published_at = now;
    }
}

/// How long the packets, the first of which was taken from its socket then, had waited to be taken, and since.
fn waited(sockets: &Sockets, rx: &[RxPacket<'_>], taken_at: Instant) -> Duration {
    let socket = rx.iter().find_map(|packet| sockets.get(usize::from(packet.path.local.0)));
    socket.and_then(latest_wait).map_or(Duration::MAX, |before| before + taken_at.elapsed())
}

/// Why the driver must not wait for long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Pending {
    Nothing,
    /// Messages of ours wait for room in a ring.
    Rings,
    /// Commands are in the rings already.
    Commands,
}

/// Copies packets out of the ring of an edge thread, until there is none, room for none, or a connection has ended: what
/// came before the end is handled before it.
fn receive_from_edge<'d>(
    from_edge: &mut Reader,
    storage: &'d mut [[u8; DATAGRAM_BYTES]],
    rx: &mut Vec<RxPacket<'d>>,
) -> Option<Path> {
    for data in storage {
        let (path, kind, len) = from_edge.next(data)?;
        match kind {
            Kind::Data { .. } => rx.push(RxPacket { path, data: &mut data[..len] }),
            Kind::Closed => return Some(path),
        }
    }
    None
}

/// What the clock of this machine says.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
