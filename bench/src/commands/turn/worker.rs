//! One thread with its clients and peers: it sends on schedule, and takes what comes, without ever sleeping long.

use super::flood::Flood;
use super::payload::{Order, PHASES, Phase, Seen, Stamp, Tally, Way};
use crate::ground::kernel::pin;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use plausch_client::turn::{
    Allocation, Answer, Datagrams, Inbound, Request, classify, now_ns, parse_response, send_run,
};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stun::error_code::CODE_STALE_NONCE;

/// Units sent before what came in has its turn.
const UNITS_AT_ONCE: u64 = 64;
/// A next packet this far away leaves time to sleep; the kernel counts such waits in milliseconds.
const SLEEP_FROM: Duration = Duration::from_millis(3);
const SLEEP: Duration = Duration::from_millis(1);
/// All allocations are refreshed within this time: permissions last 300 s (RFC 8656 section 9).
const REFRESH_WITHIN: Duration = Duration::from_secs(120);
/// What a Refresh asks for: the default lifetime (RFC 8656 section 3.2).
const LIFETIME_S: u32 = 600;
/// Events of one look at the sockets.
const EVENTS: usize = 1024;
/// Longest run of packets: what one datagram may hold.
const RUN_BYTES: usize = 65_000;

/// Which ways packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Direction {
    /// From clients to peers.
    Up,
    /// From peers to clients.
    Down,
    /// Both at once, each at the whole rate.
    Both,
}

/// Where a client's packets go.
pub(crate) enum Path {
    Relayed(Box<Allocation>),
    /// Straight to the peer, to know what a server adds.
    Direct(UdpSocket),
}

/// A client with one of its peers.
pub(crate) struct Flow {
    pub(crate) client: usize,
    pub(crate) peer: usize,
    /// The channel, if there is one.
    pub(crate) channel: Option<u16>,
    /// What stands before each payload on the way to the server.
    pub(crate) head: Vec<u8>,
    pub(crate) peer_address: SocketAddr,
    /// As the peer sees the client.
    pub(crate) relayed: SocketAddr,
    pub(crate) sent: [u64; 2],
    pub(crate) seen: [Seen; 2],
}

/// What all workers are told and tell.
#[derive(Default)]
pub(crate) struct Shared {
    /// 0 while it warms up, then a [`Phase`].
    pub(crate) phase: AtomicU8,
    /// Send no more.
    pub(crate) quiet: AtomicBool,
    pub(crate) end: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Furthest behind schedule, in nanoseconds, while measured.
    pub(crate) behind_ns: AtomicU64,
    /// Why a client could not go on.
    pub(crate) failure: Mutex<Option<String>>,
}

/// How fast and how large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) payload_bytes: usize,
    /// Of each flow and way.
    pub(crate) packets_per_s: f64,
    /// Packets of one flow that go out together.
    pub(crate) burst: u32,
    /// By one call, as far as a run may go (UDP_SEGMENT), instead of one each.
    pub(crate) runs: bool,
    pub(crate) direction: Direction,
}

impl Pace {
    /// Packets of this many bytes, heads included, that one call takes.
    fn run_packets(&self, bytes: usize) -> usize {
        if self.runs { (RUN_BYTES / bytes).max(1) } else { 1 }
    }
}

/// Everything one thread holds.
pub(crate) struct Worker {
    /// Tag of this run, in all packets.
    pub(crate) run: u32,
    /// Number of its first flow among those of all workers.
    pub(crate) first_flow: u32,
    pub(crate) clients: Vec<Path>,
    pub(crate) peers: Vec<UdpSocket>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) pace: Pace,
    pub(crate) flood: Option<Flood>,
    pub(crate) cpu: Option<usize>,
}

/// What a worker leaves when it ends.
pub(crate) struct Finished {
    pub(crate) tally: Tally,
    pub(crate) clients: Vec<Path>,
    pub(crate) flood: Option<Flood>,
}

impl Worker {
    /// Works until it is told to end.
    pub(crate) fn run(mut self, shared: &Shared) -> Finished {
        if let Some(cpu) = self.cpu {
            // Elsewhere it works as well, only with more noise.
            let _ = pin(&[cpu]);
        }
        let mut state = State::default();
        if let Err(error) = self.work(shared, &mut state) {
            note_failure(shared, &error);
        }
        Finished { tally: state.tally, clients: self.clients, flood: self.flood }
    }

    fn work(&mut self, shared: &Shared, state: &mut State) -> io::Result<()> {
        let mut poll = Poll::new()?;
        let fds = self.clients.iter().map(Path::fd).chain(self.peers.iter().map(AsRawFd::as_raw_fd));
        for (index, fd) in fds.enumerate() {
            poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(EVENTS);
        let units_per_s = self.flows.len() as f64 * self.pace.packets_per_s / f64::from(self.pace.burst);
        let begin = Instant::now();
        let mut units = 0u64;
        let mut refresh = Refresh::new(begin, self.clients.len());
        while !shared.end.load(Ordering::Relaxed) {
            let phase = usize::from(shared.phase.load(Ordering::Relaxed)).min(PHASES - 1);
            let now = Instant::now();
            let mut timeout = Duration::ZERO;
            if shared.quiet.load(Ordering::Relaxed) {
                timeout = SLEEP;
            } else {
                let due = ((now - begin).as_secs_f64() * units_per_s) as u64 + 1;
                let until = due.min(units + UNITS_AT_ONCE);
                for unit in units..until {
                    self.send_unit(unit, state);
                }
                units = units.max(until);
                if phase > 0 && due > units {
                    let behind = (due - units) as f64 / units_per_s;
                    shared.behind_ns.fetch_max((behind * 1e9) as u64, Ordering::Relaxed);
                }
                let next = begin + Duration::from_secs_f64(units as f64 / units_per_s);
                if next.saturating_duration_since(now) >= SLEEP_FROM {
                    timeout = SLEEP;
                }
            }
            if let Some(flood) = self.flood.as_mut().filter(|_| phase == Phase::Flooded as usize)
                && flood.send_due(now, &mut state.datagrams)
            {
                timeout = Duration::ZERO;
            }
            match poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let index = event.token().0;
                match index.checked_sub(self.clients.len()) {
                    None => self.receive_at_client(index, phase, state, shared),
                    Some(peer) => self.receive_at_peer(peer, phase, state),
                }
            }
            if let Some(client) = refresh.due(now) {
                self.keep_alive(client, state);
            }
            state.publish(shared);
        }
        state.publish(shared);
        Ok(())
    }

    /// Sends the burst of one flow, in all ways that are wanted.
    fn send_unit(&mut self, unit: u64, state: &mut State) {
        let index = (unit % self.flows.len() as u64) as usize;
        let flow = &mut self.flows[index];
        let direction = self.pace.direction;
        for way in [Way::Up, Way::Down] {
            if direction != Direction::Both && (direction == Direction::Up) != (way == Way::Up) {
                continue;
            }
            let head = if way == Way::Up { flow.head.len() } else { 0 };
            let bytes = head + self.pace.payload_bytes;
            let flow_number = self.first_flow + index as u32;
            let mut left = self.pace.burst as usize;
            while left > 0 {
                let count = left.min(self.pace.run_packets(bytes));
                left -= count;
                let run = &mut state.scratch[..count * bytes];
                for (packet, sequence) in run.chunks_exact_mut(bytes).zip(flow.sent[way as usize]..) {
                    packet[..head].copy_from_slice(&flow.head[..head]);
                    let stamp = Stamp { run: self.run, flow: flow_number, way, sequence, sent_ns: now_ns() };
                    stamp.write(&mut packet[head..]);
                }
                let sent = match (way, &mut self.clients[flow.client]) {
                    (Way::Up, Path::Relayed(allocation)) if count == 1 => allocation.leg.send(run),
                    (Way::Up, Path::Relayed(allocation)) => allocation.leg.send_run(run, bytes),
                    (Way::Up, Path::Direct(socket)) => send(socket, flow.peer_address, run, bytes),
                    (Way::Down, _) => send(&self.peers[flow.peer], flow.relayed, run, bytes),
                };
                if sent.is_ok() {
                    flow.sent[way as usize] += count as u64;
                    state.tally.sent += count as u64;
                } else {
                    state.tally.refused += count as u64;
                }
            }
        }
    }

    fn receive_at_client(&mut self, client: usize, phase: usize, state: &mut State, shared: &Shared) {
        let Self { clients, flows, run, first_flow, .. } = self;
        let State { tally, datagrams, answers, .. } = state;
        let mut take = |payload: &[u8], channel: Option<u16>, at_ns: u64| {
            let Some((flow, stamp)) = stamped(payload, flows, *run, *first_flow) else {
                tally.unreadable += 1;
                return;
            };
            let right = stamp.way == Way::Down && flow.client == client && flow.channel == channel;
            tally.note(flow, &stamp, right, at_ns, phase);
        };
        let result = match &mut clients[client] {
            Path::Relayed(allocation) => allocation.leg.receive(datagrams, |frame, at_ns| match classify(frame) {
                Inbound::Channel { channel, payload } => take(payload, Some(channel), at_ns),
                Inbound::Data { payload } => take(payload, None, at_ns),
                Inbound::Response => answers.push(frame.to_vec()),
                // Counted as one, because it has no stamp.
                Inbound::Unreadable => take(&[], None, at_ns),
            }),
            Path::Direct(socket) => datagrams.drain(socket, |payload, _, at_ns| take(payload, None, at_ns)),
        };
        match result {
            Ok(()) => {}
            // A server that goes away; whoever looks at its process says so better.
            Err(error) => note_failure(shared, &error),
        }
        while let Some(answer) = state.answers.pop() {
            self.take_answer(client, &answer, state);
        }
    }

    fn receive_at_peer(&mut self, peer: usize, phase: usize, state: &mut State) {
        let Self { peers, flows, run, first_flow, .. } = self;
        let State { tally, datagrams, .. } = state;
        let result = datagrams.drain(&peers[peer], |payload, from, at_ns| {
            let Some((flow, stamp)) = stamped(payload, flows, *run, *first_flow) else {
                tally.unreadable += 1;
                return;
            };
            let right = stamp.way == Way::Up && flow.peer == peer && from == Some(flow.relayed);
            tally.note(flow, &stamp, right, at_ns, phase);
        });
        // Peers are not connected; an error here is of an earlier datagram that nobody took, and is counted as lost.
        drop(result);
    }

    /// Sends what keeps a client's allocation, permissions and channels alive.
    fn keep_alive(&mut self, client: usize, state: &mut State) {
        let Path::Relayed(_) = &self.clients[client] else { return };
        let flows = self.flows.iter().filter(|flow| flow.client == client);
        let requests: Vec<Request> = flows
            .map(|flow| match flow.channel {
                Some(channel) => Request::ChannelBind { channel, peer: flow.peer_address },
                None => Request::CreatePermission { peer: flow.peer_address },
            })
            .chain([Request::Refresh { seconds: LIFETIME_S }])
            .collect();
        for request in requests {
            self.ask(client, request, state);
        }
    }

    fn ask(&mut self, client: usize, request: Request, state: &mut State) {
        let Path::Relayed(allocation) = &mut self.clients[client] else { return };
        if let Ok(message) = request.message(Some(&allocation.session))
            && allocation.leg.send(&message.raw).is_ok()
        {
            state.asked.insert(message.transaction_id.0, request);
        }
    }

    fn take_answer(&mut self, client: usize, frame: &[u8], state: &mut State) {
        let Path::Relayed(allocation) = &mut self.clients[client] else { return };
        let Some((response, answer)) = parse_response(frame) else {
            state.tally.unreadable += 1;
            return;
        };
        // Late ones of the time before are no news.
        let Some(request) = state.asked.remove(&response.transaction_id.0) else { return };
        match answer {
            Answer::Success => {}
            Answer::Error { code, .. } if code == CODE_STALE_NONCE.0 => {
                allocation.session.renew(&response);
                self.ask(client, request, state);
            }
            Answer::Error { .. } => state.tally.refreshes_refused += 1,
        }
    }
}

/// One packet, or several by one call.
fn send(socket: &UdpSocket, to: SocketAddr, run: &[u8], bytes: usize) -> io::Result<()> {
    match run.len() > bytes {
        true => send_run(socket, Some(to), run, bytes),
        false => socket.send_to(run, to).map(|_| ()),
    }
}

/// What changes while a worker works.
struct State {
    tally: Tally,
    published: (u64, u64),
    datagrams: Datagrams,
    scratch: Vec<u8>,
    answers: Vec<Vec<u8>>,
    /// Requests without an answer yet, by transaction.
    asked: HashMap<[u8; 12], Request>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            published: (0, 0),
            datagrams: Datagrams::new(),
            scratch: (0..RUN_BYTES).map(|at| (at * 31) as u8).collect(),
            answers: Vec::new(),
            asked: HashMap::new(),
        }
    }
}

impl State {
    fn publish(&mut self, shared: &Shared) {
        let (sent, received) = self.published;
        if (self.tally.sent, self.tally.received) != self.published {
            shared.sent.fetch_add(self.tally.sent - sent, Ordering::Relaxed);
            shared.received.fetch_add(self.tally.received - received, Ordering::Relaxed);
            self.published = (self.tally.sent, self.tally.received);
        }
    }
}

impl Tally {
    fn note(&mut self, flow: &mut Flow, stamp: &Stamp, right: bool, at_ns: u64, phase: usize) {
        if !right {
            self.misrouted += 1;
            return;
        }
        match flow.seen[stamp.way as usize].note(stamp.sequence) {
            Order::Duplicate => {
                self.duplicates += 1;
                return;
            }
            Order::Late => self.reordered += 1,
            Order::Next => {}
        }
        self.received += 1;
        self.latency[phase].record(at_ns.saturating_sub(stamp.sent_ns));
    }
}

impl Path {
    fn fd(&self) -> RawFd {
        match self {
            Self::Relayed(allocation) => allocation.leg.fd(),
            Self::Direct(socket) => socket.as_raw_fd(),
        }
    }
}

/// Spreads what keeps allocations alive over time.
struct Refresh {
    next: Instant,
    interval: Duration,
    client: usize,
    clients: usize,
}

impl Refresh {
    fn new(now: Instant, clients: usize) -> Self {
        let interval = REFRESH_WITHIN / clients.max(1) as u32;
        Self { next: now + REFRESH_WITHIN, interval, client: 0, clients }
    }

    /// The client whose turn it is.
    fn due(&mut self, now: Instant) -> Option<usize> {
        if now < self.next || self.clients == 0 {
            return None;
        }
        self.next += self.interval;
        self.client = (self.client + 1) % self.clients;
        Some(self.client)
    }
}

/// The flow of a packet of this run.
fn stamped<'a>(payload: &[u8], flows: &'a mut [Flow], run: u32, first_flow: u32) -> Option<(&'a mut Flow, Stamp)> {
    let stamp = Stamp::read(payload).filter(|stamp| stamp.run == run)?;
    let index = stamp.flow.checked_sub(first_flow)? as usize;
    Some((flows.get_mut(index)?, stamp))
}

fn note_failure(shared: &Shared, error: &io::Error) {
    let said = match error.kind() {
        ErrorKind::UnexpectedEof => "it closed a connection".to_owned(),
        _ => error.to_string(),
    };
    // A thread that panicked with the lock has told its own story.
    if let Ok(mut failure) = shared.failure.lock() {
        failure.get_or_insert(said);
    }
}
