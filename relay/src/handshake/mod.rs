//! Threads on which DTLS runs, so that milliseconds of public-key work never hold up a shard.
//!
//! A shard hands over datagrams of browsers that passed an ICE check; keys and answers come back as commands to
//! its engine. Sessions live on until the engine ends them, because a browser that leaves says close_notify.

mod certificate;
mod failure;
mod session;
#[cfg(test)]
mod tests;

pub use certificate::context;
pub use failure::{Failures, HandshakeFailure};
pub use session::{Progress, Session};

use crate::ring::{Receiver, Sender};
use boring::ssl::SslContext;
use plausch_engine::{DtlsInput, EngineCommand};
use plausch_relay_api::limits::{CONNECT_TIMEOUT_MS, RING_MESSAGES};
use plausch_relay_api::{DtlsRole, Fingerprint, ParticipantId};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Shard → handshake thread.
#[derive(Debug)]
pub enum ToHandshake {
    /// A datagram; the session begins with it when it is not known.
    Datagram { participant: ParticipantId, generation: u32, fingerprint: Fingerprint, datagram: Vec<u8> },
    /// A session of which we are the client: it begins, unless it has begun.
    Connect { participant: ParticipantId, generation: u32, fingerprint: Fingerprint },
    /// The session is over.
    End { participant: ParticipantId, generation: u32 },
    /// All sessions of this shard are over: it died.
    EndAll,
}

/// One shard as a handshake thread sees it.
pub struct Port {
    pub inbox: Receiver<ToHandshake>,
    pub outbox: Sender<EngineCommand>,
}

/// What the operator may lower.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Handshakes under way for one shard, and sessions of it.
    pub handshakes: usize,
    pub sessions: usize,
}

/// Numbers of all handshake threads.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    pub sessions: AtomicU64,
    pub under_way: AtomicU64,
    pub finished_dtls12: AtomicU64,
    pub finished_dtls13: AtomicU64,
    pub failed: Failures,
    pub closed: AtomicU64,
    pub drop_not_hello: AtomicU64,
    pub drop_limit: AtomicU64,
    /// Handshakes that were ended because they were idle and all places were taken.
    pub evicted: AtomicU64,
    pub drop_ring_full: AtomicU64,
}

/// The work of a handshake thread, until `stop` is set and the thread unparked.
pub fn run(
    context: &SslContext,
    mut ports: Vec<Port>,
    bounds: Bounds,
    counters: &HandshakeCounters,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let mut worker = Worker::new(context, &mut ports, bounds, counters);
        // BoringSSL does not unwind, and we do not mean to; but one session must not end all others for ever.
        if catch_unwind(AssertUnwindSafe(|| worker.run(stop))).is_err() {
            worker.end_all_sessions();
            tracing::error!("a handshake thread panicked and starts again; joins under way are lost");
        }
    }
}

/// A handshake of which nothing comes for so long gives way where all places are taken: browsers repeat a flight after a
/// second at the latest, and round trips are shorter.
const HANDSHAKE_IDLE_MS: u64 = 2_000;

type Key = (usize, ParticipantId, u32);

struct Entry {
    session: Session,
    began: Instant,
    /// When its last datagram came.
    heard: Instant,
    /// When its timer runs out; entries of the heap with another time are old.
    due: Option<Instant>,
}

struct Worker<'a> {
    context: &'a SslContext,
    ports: &'a mut [Port],
    bounds: Bounds,
    counters: &'a HandshakeCounters,
    sessions: HashMap<Key, Entry>,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    /// Per port: handshakes under way and sessions.
    counts: Vec<(usize, usize)>,
}

impl<'a> Worker<'a> {
    fn new(context: &'a SslContext, ports: &'a mut [Port], bounds: Bounds, counters: &'a HandshakeCounters) -> Self {
        let counts = vec![(0, 0); ports.len()];
        Self { context, ports, bounds, counters, sessions: HashMap::new(), timers: BinaryHeap::new(), counts }
    }

    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let mut busy = false;
            for port in 0..self.ports.len() {
                // One message of each shard in turn: a storm of joins on one does not starve the others.
                if let Ok(message) = self.ports[port].inbox.pop() {
                    busy = true;
                    self.handle(port, message);
                }
            }
            self.run_timers();
            let mut flushed = true;
            for port in self.ports.iter_mut() {
                flushed &= port.outbox.flush();
            }
            if busy {
                continue;
            }
            let until_timer = self.timers.peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()));
            match (flushed, until_timer) {
                (false, _) => thread::park_timeout(Duration::from_millis(1)),
                (true, Some(time)) => thread::park_timeout(time),
                (true, None) => thread::park(),
            }
        }
        self.end_all_sessions();
    }

    fn handle(&mut self, port: usize, message: ToHandshake) {
        match message {
            ToHandshake::Datagram { participant, generation, fingerprint, datagram } => {
                self.datagram((port, participant, generation), fingerprint, datagram);
            }
            ToHandshake::Connect { participant, generation, fingerprint } => {
                self.connect((port, participant, generation), fingerprint);
            }
            ToHandshake::End { participant, generation } => self.remove((port, participant, generation)),
            ToHandshake::EndAll => {
                let keys: Vec<_> = self.sessions.keys().filter(|key| key.0 == port).copied().collect();
                keys.into_iter().for_each(|key| self.remove(key));
            }
        }
    }

    fn datagram(&mut self, key: Key, fingerprint: Fingerprint, datagram: Vec<u8>) {
        if !self.sessions.contains_key(&key) {
            if !may_begin_session(&datagram) {
                self.counters.drop_not_hello.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if !self.begin(key, DtlsRole::Server, fingerprint) {
                return;
            }
        }
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        entry.heard = Instant::now();
        let progress = entry.session.receive(datagram);
        self.after(key, progress);
    }

    fn connect(&mut self, key: Key, fingerprint: Fingerprint) {
        if self.sessions.contains_key(&key) || !self.begin(key, DtlsRole::Client, fingerprint) {
            return;
        }
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let progress = entry.session.start();
        self.after(key, progress);
    }

    fn begin(&mut self, key: Key, role: DtlsRole, fingerprint: Fingerprint) -> bool {
        let (handshakes, sessions) = self.counts[key.0];
        let room = handshakes < self.bounds.handshakes && sessions < self.bounds.sessions;
        if !room && !self.evict_idle(key.0) {
            self.counters.drop_limit.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let Ok(session) = Session::new(self.context, role, fingerprint) else {
            self.counters.failed.count(HandshakeFailure::Protocol);
            return false;
        };
        self.sessions.insert(key, Entry { session, began: Instant::now(), heard: Instant::now(), due: None });
        self.counts[key.0].0 += 1;
        self.counts[key.0].1 += 1;
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        self.counters.under_way.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends the handshake of this port of which nothing was heard for longest, if that is long: who only begins does not
    /// keep others out.
    fn evict_idle(&mut self, port: usize) -> bool {
        let under_way = self.sessions.iter().filter(|(key, entry)| key.0 == port && entry.session.is_handshaking());
        let Some((key, entry)) = under_way.min_by_key(|(_, entry)| entry.heard) else { return false };
        if entry.heard.elapsed() < Duration::from_millis(HANDSHAKE_IDLE_MS) {
            return false;
        }
        let key = *key;
        self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        self.after(key, Progress::Failed(HandshakeFailure::Timeout));
        true
    }

    /// Passes on what a session has to say, and sets its timer anew.
    fn after(&mut self, key: Key, progress: Progress) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let (port, participant, generation) = key;
        let outbox = &mut self.ports[port].outbox;
        let outgoing = entry.session.take_outgoing();
        if !outgoing.is_empty() {
            let send = EngineCommand::Dtls { participant, generation, input: DtlsInput::Send(outgoing) };
            if outbox.offer(send).is_err() {
                // The browser or our timer repeats it.
                self.counters.drop_ring_full.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (input, counter) = match progress {
            Progress::None => return self.set_timer(key),
            Progress::Keys(keys) => {
                let dtls13 = entry.session.version() == "DTLSv1.3";
                let counters = self.counters;
                self.counts[port].0 -= 1;
                counters.under_way.fetch_sub(1, Ordering::Relaxed);
                let counter = if dtls13 { &counters.finished_dtls13 } else { &counters.finished_dtls12 };
                (DtlsInput::Keys(keys), Some(counter))
            }
            Progress::Failed(failure) => {
                tracing::info!(%participant, reason = failure.label(), "a DTLS handshake failed: {}", failure.sentence());
                self.counters.failed.count(failure);
                (DtlsInput::Failed, None)
            }
            Progress::Closed => (DtlsInput::Closed, Some(&self.counters.closed)),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let over = !matches!(input, DtlsInput::Keys(_));
        outbox.send(EngineCommand::Dtls { participant, generation, input });
        if over { self.remove(key) } else { self.set_timer(key) }
    }

    fn set_timer(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let retransmit = entry.session.timeout().map(|time| Instant::now() + time);
        let end = entry.session.is_handshaking().then(|| entry.began + Duration::from_millis(CONNECT_TIMEOUT_MS));
        let due = [retransmit, end].into_iter().flatten().min();
        if due != entry.due {
            entry.due = due;
            if let Some(due) = due {
                self.timers.push(Reverse((due, key)));
            }
        }
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, key))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            let Some(entry) = self.sessions.get_mut(&key).filter(|entry| entry.due == Some(due)) else { continue };
            entry.due = None;
            let too_long = now.duration_since(entry.began) >= Duration::from_millis(CONNECT_TIMEOUT_MS);
            let progress = if entry.session.is_handshaking() && too_long {
                Progress::Failed(HandshakeFailure::Timeout)
            } else {
                entry.session.handle_timeout()
            };
            self.after(key, progress);
        }
        // Times that were overtaken go with time; a burst of them must not stay.
        if self.timers.len() > RING_MESSAGES + 4 * self.sessions.len() {
            let sessions = &self.sessions;
            self.timers.retain(|Reverse((due, key))| sessions.get(key).is_some_and(|entry| entry.due == Some(*due)));
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(entry) = self.sessions.remove(&key) else { return };
        self.counts[key.0].1 -= 1;
        self.counters.sessions.fetch_sub(1, Ordering::Relaxed);
        if entry.session.is_unfinished() {
            self.counts[key.0].0 -= 1;
            self.counters.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn end_all_sessions(&mut self) {
        let keys: Vec<_> = self.sessions.keys().copied().collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }
}

/// A part of a ClientHello in a record of epoch 0 (RFC 9147, sections 4 and 5.2): the only thing with which a session can
/// begin. What else arrives for an unknown session is left over from one that has ended. Any part will do: the first may
/// come second.
fn may_begin_session(datagram: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    /// Type, version, epoch, sequence number, length; then of the message: type, length, number, offset, length of the part.
    const HEADERS: usize = 13 + 12;
    let Some((headers, _)) = datagram.split_first_chunk::<HEADERS>() else { return false };
    let number = |bytes: &[u8]| bytes.iter().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
    let (record, message) = headers.split_at(13);
    let (whole, offset, part) = (number(&message[1..4]), number(&message[6..9]), number(&message[9..12]));
    record[0] == HANDSHAKE
        && record[1] == 0xfe
        && record[3..5] == [0, 0]
        && message[0] == CLIENT_HELLO
        && (1..=whole).contains(&part)
        && offset + part <= whole
        && number(&record[11..13]) >= 12 + part
        && datagram.len() >= HEADERS + part
}
