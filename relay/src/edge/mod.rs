//! The edge: TCP and TLS. TURN clients whose network lets no UDP through come here, and so does HTTPS, so that one port
//! serves for everything. The threads of the edge are not those of the shards: streams, TLS and slow readers never
//! keep media waiting.
//!
//! A connection's way: `admission` (is there room) → TLS (`tls`) → the first byte tells TURN from HTTP → `web`, or
//! `client` with the engine's `turn::framing`, whose messages go to a shard through `records` and come back the same way.
//! Peers that speak TCP, and clients' connections that are bound to theirs, are in `peers`.

mod admission;
mod client;
mod counters;
pub mod ends;
mod peers;
pub mod records;
#[cfg(test)]
mod tests;
mod tls;
mod web;

pub use admission::Admission;
pub use counters::EdgeCounters;

use crate::cpus;
use crate::ring;
use client::Client;
use counters::{Gauge, count};
use ends::{ThreadEnds, ToEdge};
use peers::{Doors, Pace, Peers};
use plausch_daemon::share::Place;
use plausch_engine::{EdgeNews, EngineCommand, LocalSocket, Path};
use plausch_relay_api::limits::{
    EDGE_CONTROL_WAIT_MS, EDGE_FIRST_BYTES_MS, EDGE_SILENCE_MS, EDGE_SPLICE_IDLE_MS, EDGE_TLS_PORTS,
    EDGE_UNALLOCATED_MS, EDGE_UNSENT_BYTES,
};
use plausch_relay_api::{CommandError, EdgeSocket, TurnSettings};
use records::{Kind, RECORD_BYTES, Reader, Writer};
use rustls::ServerConfig;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tls::Certificates;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Numbers of `LocalSocket` for each thread: one for each port, plain or TLS.
pub const LISTENERS: usize = 1 + EDGE_TLS_PORTS;
/// How often connections are looked after.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// Records taken from one shard before the next has its turn.
const RECORDS_PER_TURN: usize = 256;
/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// Where the thread copies what it reads, TLS records of 16 KiB at the least.
const SCRATCH_BYTES: usize = 16 * 1024 + 512;
/// After an error of accepting, which is mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While the end of a connection waits for room in a ring.
const RING_PAUSE: Duration = Duration::from_millis(1);

/// What the edge's threads have in common, and what main tells them.
pub struct Shared {
    pub counters: Arc<EdgeCounters>,
    admission: Arc<Admission>,
    certificates: Arc<Certificates>,
    tls: Arc<ServerConfig>,
    http: RwLock<Option<EdgeSocket>>,
    peers: Peers,
    /// Of one allocation with its peers' connections.
    bytes_per_second: u64,
    times: Times,
}

/// How long the edge waits for what.
#[derive(Clone, Copy, Debug)]
struct Times {
    first_bytes: Duration,
    unallocated: Duration,
    silence: Duration,
    splice_idle: Duration,
    control: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            first_bytes: Duration::from_millis(EDGE_FIRST_BYTES_MS),
            unallocated: Duration::from_millis(EDGE_UNALLOCATED_MS),
            silence: Duration::from_millis(EDGE_SILENCE_MS),
            splice_idle: Duration::from_millis(EDGE_SPLICE_IDLE_MS),
            control: Duration::from_millis(EDGE_CONTROL_WAIT_MS),
        }
    }
}

impl Shared {
    /// `bytes_per_second`: what one allocation may have by TCP with its peers.
    pub fn new(
        admission: Admission,
        counters: Arc<EdgeCounters>,
        bytes_per_second: u64,
    ) -> Result<Self, rustls::Error> {
        Self::with_times(admission, counters, bytes_per_second, Times::default())
    }

    fn with_times(
        admission: Admission,
        counters: Arc<EdgeCounters>,
        bytes_per_second: u64,
        times: Times,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Certificates::new());
        let tls = tls::server_config(certificates.clone())?;
        Ok(Self {
            counters,
            admission: Arc::new(admission),
            certificates,
            tls,
            http: RwLock::new(None),
            peers: Peers::default(),
            bytes_per_second,
            times,
        })
    }

    /// Takes control's settings for connections to come; where they cannot be used, all stays as it was.
    pub fn set(&self, settings: &TurnSettings) -> Result<(), CommandError> {
        let certificate = settings.certificate.as_ref().map(|certificate| self.certificates.read(certificate));
        self.certificates.set(certificate.transpose().map_err(CommandError::Invalid)?);
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = settings.edge_socket.clone();
        Ok(())
    }

    fn http(&self) -> Option<EdgeSocket> {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A socket on which the edge listens.
pub struct Listener {
    pub socket: std::net::TcpListener,
    pub tls: bool,
    /// Which of the thread's ports it is, below [`LISTENERS`]; the addresses with one port have the same.
    pub port: usize,
}

/// Binds a socket to listen on.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the process before may be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What one thread is made with.
pub struct Setup {
    /// Which thread it is.
    pub index: usize,
    /// Where it may run. Empty: anywhere.
    pub cpus: Vec<usize>,
    pub listeners: Vec<Listener>,
    /// By shard.
    pub shards: Vec<ThreadEnds>,
    /// The shards have news.
    pub notify: Arc<Notify>,
    pub shared: Arc<Shared>,
    /// Closed to end the thread.
    pub stop: watch::Receiver<()>,
}

/// The thread that serves a connection of the edge.
pub fn thread_of(local: LocalSocket) -> usize {
    usize::from(local.0 - LocalSocket::FIRST_EDGE) / LISTENERS
}

/// Starts a thread.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("edge-{}", setup.index)).spawn(move || {
        if !setup.cpus.is_empty()
            && let Err(error) = cpus::pin(&setup.cpus)
        {
            tracing::warn!("edge thread {} cannot be kept off the shards' CPUs: {error}", setup.index);
        }
        LocalSet::new().block_on(&runtime, run(setup));
    })
}

/// One thread's place: all its tasks share it.
struct Floor {
    shared: Arc<Shared>,
    clients: RefCell<HashMap<Path, Rc<Client>>>,
    to_shards: RefCell<Vec<Writer>>,
    news: RefCell<Vec<ring::Sender<EngineCommand>>>,
    doors: Doors,
    flush: Notify,
    next_shard: Cell<usize>,
    /// The time, some hundred milliseconds ago at the most.
    now: Cell<Instant>,
    scratch: RefCell<Box<[u8]>>,
}

/// Where a connection comes from.
#[derive(Clone, Copy)]
struct Origin {
    listener: LocalSocket,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Floor {
    fn shards(&self) -> usize {
        self.to_shards.borrow().len()
    }

    /// For users that name none: one after the other.
    fn next_shard(&self) -> usize {
        let next = self.next_shard.get();
        self.next_shard.set((next + 1) % self.shards());
        next
    }

    /// `false`: there is one with this path already.
    fn register(&self, path: Path, client: &Rc<Client>) -> bool {
        let mut clients = self.clients.borrow_mut();
        let free = !clients.contains_key(&path);
        if free {
            clients.insert(path, client.clone());
        }
        free
    }

    fn unregister(&self, path: Path, shard: usize) {
        self.clients.borrow_mut().remove(&path);
        self.to_shards.borrow_mut()[shard].closed(path);
        self.flush_soon();
    }

    fn to_shard(&self, shard: usize, path: Path, message: &[u8]) -> bool {
        self.to_shards.borrow_mut()[shard].data(path, message, message.len())
    }

    /// Says what became of connections of peers.
    fn tell(&self, shard: usize, news: EdgeNews) {
        self.news.borrow_mut()[shard].send(EngineCommand::Edge(news));
        self.flush_soon();
    }

    fn pace_of(&self, client: Path) -> Arc<Pace> {
        let client = self.clients.borrow().get(&client).cloned();
        client.map_or_else(|| Arc::new(Pace::new(self.shared.bytes_per_second)), |client| client.pace(self))
    }

    /// When all tasks that are ready now have run, the shards are woken, each once.
    fn flush_soon(&self) {
        self.flush.notify_one();
    }

    /// Takes what a shard sends to a client.
    fn deliver(&self, path: Path, data: &[u8], segment: usize, fresh: &mut Vec<Rc<Client>>) {
        let clients = self.clients.borrow();
        let Some(client) = clients.get(&path) else {
            count(&self.shared.counters.drop_gone);
            return;
        };
        data.chunks(segment.max(1)).for_each(|message| client.enqueue(message, self));
        if !client.fresh.replace(true) {
            fresh.push(client.clone());
        }
    }
}

async fn run(setup: Setup) {
    let Setup { index, listeners, shards, notify, shared, mut stop, .. } = setup;
    let (mut to_shards, mut news, mut from_shards) = (Vec::new(), Vec::new(), Vec::new());
    for ends in shards {
        to_shards.push(ends.to_shard);
        news.push(ends.news);
        from_shards.push((ends.from_shard, ends.tasks));
    }
    let floor = Rc::new(Floor {
        shared,
        clients: RefCell::default(),
        to_shards: RefCell::new(to_shards),
        news: RefCell::new(news),
        doors: Doors::default(),
        flush: Notify::new(),
        next_shard: Cell::new(0),
        now: Cell::new(Instant::now()),
        scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
    });
    for listener in listeners {
        let local = LocalSocket(LocalSocket::FIRST_EDGE + (index * LISTENERS + listener.port) as u16);
        match TcpListener::from_std(listener.socket) {
            Ok(socket) => {
                spawn_local(accept(floor.clone(), socket, local, listener.tls));
            }
            Err(error) => tracing::error!("edge thread {index} cannot listen: {error}"),
        }
    }
    spawn_local(wake_shards(floor.clone()));
    spawn_local(look_after(floor.clone()));
    tokio::select! {
        () = deliver(&floor, &mut from_shards, &notify) => {}
        // An error: the other end was dropped.
        _ = stop.changed() => {}
    }
}

/// Distributes what the shards send. All that comes at once to one client is one write.
async fn deliver(floor: &Rc<Floor>, from_shards: &mut [(Reader, ring::Receiver<ToEdge>)], notify: &Notify) {
    let mut record = vec![0; RECORD_BYTES];
    let mut fresh = Vec::new();
    loop {
        notify.notified().await;
        let mut more = true;
        while more {
            more = false;
            for (shard, (reader, tasks)) in from_shards.iter_mut().enumerate() {
                let mut carry_out = || {
                    while let Ok(task) = tasks.pop() {
                        peers::carry_out(floor, shard, task);
                    }
                };
                carry_out();
                for _ in 0..RECORDS_PER_TURN {
                    let Some((path, kind, len)) = reader.next(&mut record) else { break };
                    // What is to be done for it comes before what a client is told of it.
                    carry_out();
                    if let Kind::Data { segment } = kind {
                        floor.deliver(path, &record[..len], segment.into(), &mut fresh);
                    }
                }
                more |= !reader.is_empty();
            }
            for client in fresh.drain(..) {
                client.fresh.set(false);
                client.wake();
            }
            yield_now().await;
        }
    }
}

async fn wake_shards(floor: Rc<Floor>) {
    loop {
        floor.flush.notified().await;
        while !(floor.to_shards.borrow_mut().iter_mut().fold(true, |all, shard| shard.flush() & all)
            & floor.news.borrow_mut().iter_mut().fold(true, |all, shard| shard.flush() & all))
        {
            sleep(RING_PAUSE).await;
        }
    }
}

async fn look_after(floor: Rc<Floor>) {
    loop {
        sleep(LOOK_AFTER).await;
        let now = Instant::now();
        floor.now.set(now);
        floor.clients.borrow().values().for_each(|client| client.look_after(now, &floor));
    }
}

async fn accept(floor: Rc<Floor>, socket: TcpListener, listener: LocalSocket, tls: bool) {
    loop {
        let (stream, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = floor.shared.admission.admit(remote.ip()) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        let floor = floor.clone();
        spawn_local(async move {
            let counters = &floor.shared.counters;
            let _gauge = Gauge::up(&counters.connections);
            tokio::select! {
                () = serve(&floor, stream, Origin { listener, local, remote }, tls, &place) => {}
                () = place.evicted() => count(&counters.closed_evicted),
            }
        });
    }
}

/// Serves one connection from its beginning to its end.
async fn serve(floor: &Rc<Floor>, mut stream: TcpStream, origin: Origin, tls: bool, place: &Arc<Place>) {
    let counters = &floor.shared.counters;
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(EDGE_UNSENT_BYTES);
    let patience = floor.shared.times.first_bytes;
    if !tls {
        match timeout(patience, first_bytes(&mut stream)).await {
            Ok(Some(first)) => client::serve(floor, stream, &first, origin, false, place).await,
            Ok(None) => {}
            Err(_) => count(&counters.closed_silent),
        }
        return;
    }
    let acceptor = TlsAcceptor::from(floor.shared.tls.clone());
    let begun = timeout(patience, async {
        // Records gather here until they are flushed, so that many of them are one write.
        let stream = BufWriter::with_capacity(TLS_WRITE_BYTES, stream);
        let handshake = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER_BYTES)));
        let mut stream = match handshake.into_fallible().await {
            Ok(stream) => stream,
            Err((_, mut stream)) => {
                count(&counters.closed_handshake);
                // The alert that says why, as RFC 7301 wants it of a client's protocols: it waits in the writer.
                let _ = stream.shutdown().await;
                return None;
            }
        };
        let first = first_bytes(&mut stream).await?;
        Some((stream, first))
    });
    match begun.await {
        // HTTP begins with a letter in all its versions, STUN with two zero bits.
        Ok(Some((stream, first))) if first[0] < 0x40 => {
            client::serve(floor, stream, &first, origin, true, place).await;
        }
        Ok(Some((stream, first))) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            web::serve(floor, stream, &first, origin, http2, place).await;
        }
        Ok(None) => {}
        Err(_) => count(&counters.closed_silent),
    }
}

/// Encrypted bytes that wait beside those of the queue, in TLS and in front of the socket.
const TLS_BUFFER_BYTES: usize = 16 * 1024;
const TLS_WRITE_BYTES: usize = 16 * 1024;
/// A TURN client's first request, or most of the first one of a browser.
const FIRST_BYTES: usize = 1024;

/// `None`: the stream ended before there was anything.
async fn first_bytes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<Vec<u8>> {
    let mut first = vec![0; FIRST_BYTES];
    let len = stream.read(&mut first).await.ok().filter(|len| *len > 0)?;
    first.truncate(len);
    Some(first)
}
