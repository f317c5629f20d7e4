//! TCP between relayed addresses and the peers of TURN's clients (RFC 6062): sockets that listen, that connect, that wait
//! until a client binds them, and that are copied from and to. The engine says who may; here is no opinion.
//!
//! Until a connection is bound nobody reads from it: what a peer says early stays in the kernel, whose window tells the
//! peer to wait. Nor is anything read later that the other side does not take.

use super::Floor;
use super::client::Client;
use super::counters::{Gauge, count};
use super::ends::ToEdge;
use plausch_engine::turn::ConnectionId;
use plausch_engine::{EdgeNews, EdgeTask, Path};
use plausch_relay_api::limits::{EDGE_PEER_BUFFER_BYTES, EDGE_SPLICE_BYTES, EDGE_SPLICE_REST_MS, EDGE_UNJUDGED_PEERS};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// Peers that have connected and wait to be taken.
const BACKLOG: u32 = 16;
/// After an error of accepting, which is mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What an allocation may have ahead of its rate.
const BURST: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_millis(EDGE_SPLICE_REST_MS);

/// Connections of peers by number, whichever thread they come from and go to: a client binds one by a connection of its
/// own, which any thread may have. At most as many as the engines allow.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<ConnectionId, Entry>>);

struct Entry {
    shard: usize,
    /// While it waits to be bound.
    socket: Option<std::net::TcpStream>,
    pace: Arc<Pace>,
    ending: Arc<Notify>,
}

impl Peers {
    fn entries(&self) -> MutexGuard<'_, HashMap<ConnectionId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: another shard has a connection with this number, which chance hardly ever does.
    fn add(&self, id: ConnectionId, shard: usize, pace: Arc<Pace>) -> Option<Arc<Notify>> {
        let mut entries = self.entries();
        if entries.contains_key(&id) {
            return None;
        }
        let ending = Arc::new(Notify::new());
        entries.insert(id, Entry { shard, socket: None, pace, ending: ending.clone() });
        Some(ending)
    }

    /// Keeps a socket until somebody binds it. `false`: it is over already.
    fn keep(&self, id: ConnectionId, socket: std::net::TcpStream) -> bool {
        let mut entries = self.entries();
        let entry = entries.get_mut(&id);
        let there = entry.is_some();
        if let Some(entry) = entry {
            entry.socket = Some(socket);
        }
        there
    }

    /// Whose connection it is.
    pub(super) fn shard_of(&self, id: ConnectionId) -> Option<usize> {
        self.entries().get(&id).map(|entry| entry.shard)
    }

    fn end(&self, id: ConnectionId) {
        if let Some(entry) = self.entries().remove(&id) {
            entry.ending.notify_one();
        }
    }

    fn end_all(&self, shard: usize) {
        self.entries().retain(|_, entry| {
            let stays = entry.shard != shard;
            if !stays {
                entry.ending.notify_one();
            }
            stays
        });
    }
}

/// A connection of a peer that a client has bound. Dropping it makes its number free.
pub(super) struct Bound<'f> {
    peers: &'f Peers,
    id: ConnectionId,
    socket: Option<std::net::TcpStream>,
    pace: Arc<Pace>,
    ending: Arc<Notify>,
}

impl<'f> Bound<'f> {
    /// `None`: it has ended meanwhile.
    pub(super) fn take(peers: &'f Peers, id: ConnectionId) -> Option<Self> {
        let mut entries = peers.entries();
        let entry = entries.get_mut(&id)?;
        let socket = Some(entry.socket.take()?);
        Some(Self { peers, id, socket, pace: entry.pace.clone(), ending: entry.ending.clone() })
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        let mut entries = self.peers.entries();
        if entries.get(&self.id).is_some_and(|entry| Arc::ptr_eq(&entry.ending, &self.ending)) {
            entries.remove(&self.id);
        }
    }
}

/// How fast the connections of an allocation may be, all together and in both directions: whoever is ahead waits.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    origin: Instant,
    /// Until when what was taken is paid for, in microseconds.
    paid: AtomicU64,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), origin: Instant::now(), paid: AtomicU64::new(0) }
    }

    /// How long to wait after so many bytes.
    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.origin).as_micros() as u64;
        let cost = bytes as u64 * 1_000_000 / self.bytes_per_second;
        let after = |paid: u64| paid.max(now) + cost;
        let paid = self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(after(paid)));
        let (Ok(paid) | Err(paid)) = paid;
        Duration::from_micros(after(paid) - now).saturating_sub(BURST)
    }
}

/// What one thread has of peers.
#[derive(Default)]
pub(super) struct Doors {
    /// By shard and address: dropped to be closed.
    listening: RefCell<HashMap<(usize, SocketAddr), Rc<Notify>>>,
    /// Peers who have connected and of whom the shard has not said what it thinks.
    unjudged: RefCell<HashMap<(usize, u32), TcpStream>>,
    next: Cell<u32>,
}

/// Does what a shard asks for.
pub(super) fn carry_out(floor: &Rc<Floor>, shard: usize, message: ToEdge) {
    let peers = &floor.shared.peers;
    let (client, task) = match message {
        ToEdge::Task { client, task } => (client, task),
        ToEdge::Reset => {
            peers.end_all(shard);
            floor.doors.unjudged.borrow_mut().retain(|(of, _), _| *of != shard);
            floor.doors.listening.borrow_mut().retain(|(of, _), door| {
                let stays = *of != shard;
                if !stays {
                    door.notify_one();
                }
                stays
            });
            return;
        }
    };
    match task {
        EdgeTask::Listen { address } => match listener(address) {
            Ok(socket) => {
                let door = Rc::new(Notify::new());
                floor.doors.listening.borrow_mut().insert((shard, address), door.clone());
                spawn_local(accept(floor.clone(), shard, client, address, socket, door));
            }
            Err(error) => {
                tracing::debug!("a relayed address cannot be listened on: {error}");
                floor.tell(shard, EdgeNews::ListenFailed { client, address });
            }
        },
        EdgeTask::Unlisten { address } => {
            if let Some(door) = floor.doors.listening.borrow_mut().remove(&(shard, address)) {
                door.notify_one();
            }
        }
        EdgeTask::Connect { connection, from, to } => match peers.add(connection, shard, floor.pace_of(client)) {
            Some(ending) => {
                spawn_local(connect(floor.clone(), shard, connection, from, to, ending));
            }
            None => floor.tell(shard, EdgeNews::Failed { connection }),
        },
        EdgeTask::Judge { socket, connection } => {
            let socket = floor.doors.unjudged.borrow_mut().remove(&(shard, socket));
            let Some(connection) = connection else { return };
            let kept = peers.add(connection, shard, floor.pace_of(client)).is_some()
                && socket.and_then(|socket| socket.into_std().ok()).is_some_and(|it| peers.keep(connection, it));
            if !kept {
                peers.end(connection);
                floor.tell(shard, EdgeNews::Failed { connection });
            }
        }
        EdgeTask::Close { connection } => peers.end(connection),
    }
}

/// A socket at a relayed address, which may have several: one that listens, and one for each peer.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    // Before it is connected, so that the window is never larger. What is accepted has the listener's.
    socket.set_recv_buffer_size(EDGE_PEER_BUFFER_BYTES as u32)?;
    socket.set_send_buffer_size(EDGE_PEER_BUFFER_BYTES as u32)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

/// Takes peers until the door is closed.
async fn accept(
    floor: Rc<Floor>,
    shard: usize,
    client: Path,
    address: SocketAddr,
    socket: TcpListener,
    door: Rc<Notify>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = door.notified() => return,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let mut unjudged = floor.doors.unjudged.borrow_mut();
        if unjudged.len() >= EDGE_UNJUDGED_PEERS {
            count(&floor.shared.counters.refused_peers);
            continue;
        }
        let socket = floor.doors.next.get();
        floor.doors.next.set(socket.wrapping_add(1));
        unjudged.insert((shard, socket), stream);
        floor.tell(shard, EdgeNews::Accepted { client, address, socket, peer });
    }
}

async fn connect(
    floor: Rc<Floor>,
    shard: usize,
    connection: ConnectionId,
    from: SocketAddr,
    to: SocketAddr,
    ending: Arc<Notify>,
) {
    let connecting = async { bind(from)?.connect(to).await?.into_std() };
    let connected = tokio::select! {
        connected = connecting => connected,
        () = ending.notified() => return,
    };
    let peers = &floor.shared.peers;
    match connected {
        Ok(socket) => {
            if peers.keep(connection, socket) {
                floor.tell(shard, EdgeNews::Connected { connection });
            }
        }
        Err(error) => {
            tracing::debug!("a peer cannot be reached: {}", error.kind());
            peers.end(connection);
            floor.tell(shard, EdgeNews::Failed { connection });
        }
    }
}

/// Copies between a client's connection and its peer's until one of them has ended. `early`: what the client has said
/// already.
pub(super) async fn splice<S>(floor: &Floor, client: &Client, stream: S, early: &[u8], mut bound: Bound<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let counters = &floor.shared.counters;
    let Some(peer) = bound.socket.take().and_then(|socket| TcpStream::from_std(socket).ok()) else { return };
    let _gauge = Gauge::up(&counters.spliced);
    let _ = peer.set_nodelay(true);
    let (from_client, to_client) = split(stream);
    let (from_peer, to_peer) = peer.into_split();
    let passed = |counter: &AtomicU64, len: usize| {
        client.heard_now(floor);
        counter.fetch_add(len as u64, Ordering::Relaxed);
    };
    let up = pass(from_client, to_peer, early, &bound.pace, |len| passed(&counters.bytes_to_peers, len));
    let down = pass(from_peer, to_client, &[], &bound.pace, |len| passed(&counters.bytes_from_peers, len));
    let (mut up, mut down) = (pin!(up), pin!(down));
    let copying = async {
        tokio::select! {
            end = &mut up => if end.is_ok() { let _ = timeout(REST, down).await; },
            end = &mut down => if end.is_ok() { let _ = timeout(REST, up).await; },
        }
    };
    tokio::select! {
        () = copying => {}
        () = bound.ending.notified() => {}
        () = client.until_over() => {}
    }
}

/// Copies until the end, and passes the end on.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    early: &[u8],
    pace: &Pace,
    passed: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; EDGE_SPLICE_BYTES];
    if !early.is_empty() {
        passed(early.len());
        to.write_all(early).await?;
        to.flush().await?;
    }
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return to.shutdown().await;
        }
        passed(len);
        let wait = pace.take(len, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        to.write_all(&buffer[..len]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_pace_for_all_connections_together() {
        let pace = Pace::new(1_000_000);
        let start = Instant::now();
        assert_eq!(pace.take(400_000, start), Duration::ZERO);
        let wait = pace.take(300_000, start);
        assert!((199..=201).contains(&wait.as_millis()), "{wait:?}");
        // Ten seconds later nothing is owed, and nothing was saved up beyond the burst.
        let later = start + Duration::from_secs(10);
        assert_eq!(pace.take(500_000, later), Duration::ZERO);
        let wait = pace.take(500_000, later);
        assert!((499..=501).contains(&wait.as_millis()), "{wait:?}");
    }
}
