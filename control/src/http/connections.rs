//! Connections of HTTP: each has a place among all, which a stranger gives up to whoever holds less, and none is idle for
//! ever. What strangers may send before they join is bounded as a whole.
//!
//! The wrapper sits between the socket and TLS, so that a connection ends whatever its owner is at.

use super::caller::Proxies;
use axum::extract::ConnectInfo;
use axum_server::accept::Accept;
use plausch_daemon::prefix::Networks;
use plausch_daemon::share::{Limits, Place, Share};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready as ready_or_pending};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tower_http::add_extension::AddExtension;

/// A connection on which nothing goes either way for so long is closed: WebSockets ping every ten seconds, and browsers
/// open another connection when they need one.
const IDLE: Duration = Duration::from_secs(75);
/// Connections over all listeners: 16 384 × about 30 KiB (TLS 1.3 with its buffers, hyper's) = 480 MiB if all are
/// taken, four times the sockets of the default configuration; less where the descriptors are fewer.
const CONNECTIONS: usize = 16_384;
/// Descriptors that are for something else: the link, listeners, files, and those who are just being refused.
const OTHER_DESCRIPTORS: usize = 128;
/// Bytes that one WebSocket may send before its owner joins: two of the largest offers, and small talk.
const UNJOINED_SOCKET_BYTES: usize = 1 << 20;
/// The same for all of them together: a thousand pages with a usual offer of 60 KB that join in the same moment.
const UNJOINED_BYTES: usize = 64 << 20;

/// All connections of control, over all its listeners.
pub struct Connections {
    share: Arc<Share>,
    idle: Duration,
    unjoined: Mutex<Unjoined>,
    pub closed_idle: AtomicU64,
    pub closed_unjoined: AtomicU64,
}

/// What sockets have sent that nobody has joined with.
#[derive(Default)]
struct Unjoined {
    next: u64,
    bytes: usize,
    /// The largest is last.
    by_bytes: BTreeSet<(usize, u64)>,
    holders: HashMap<u64, Weak<Held>>,
}

/// What a connection holds, and what its requests may say of it.
pub struct Held {
    connections: Arc<Connections>,
    place: Place,
    socket: Mutex<Option<Socket>>,
}

/// A WebSocket before its join.
struct Socket {
    number: u64,
    bytes: usize,
}

/// In the extensions of every request: the connection that it came by.
#[derive(Clone)]
pub struct Connection(Arc<Held>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("share", &self.share).finish_non_exhaustive()
    }
}

impl Connections {
    /// `descriptors`: how many this process may have open.
    pub fn new(descriptors: u64) -> Arc<Self> {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let all = CONNECTIONS.min(descriptors.saturating_sub(OTHER_DESCRIPTORS)).max(16);
        Self::with(limits(all), IDLE)
    }

    fn with(limits: Limits, idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            share: Share::new("HTTP connections", limits),
            idle,
            unjoined: Mutex::default(),
            closed_idle: AtomicU64::new(0),
            closed_unjoined: AtomicU64::new(0),
        })
    }

    /// Connections now.
    pub fn held(&self) -> usize {
        self.share.held()
    }

    /// Reasons for which there was no place, or no longer.
    pub fn refused(&self) -> [(&'static str, u64); 5] {
        let [network, full, evicted] = self.share.counted();
        let (idle, unjoined) = (self.closed_idle.load(Relaxed), self.closed_unjoined.load(Relaxed));
        [network, full, evicted, ("idle", idle), ("unjoined", unjoined)]
    }

    /// A stream with its place, if there is one. `client`: the networks of whoever it is; `None` for this machine, and for
    /// proxies, whose connections are everybody's.
    pub fn guard<S>(self: &Arc<Self>, stream: S, client: Option<Networks>) -> io::Result<(Guarded<S>, Connection)> {
        let refused = |_| io::Error::new(io::ErrorKind::QuotaExceeded, "no place for one more connection");
        let place = self.share.enter(client).map_err(refused)?;
        let evicted = Box::pin(place.evicted());
        let held = Arc::new(Held { connections: self.clone(), place, socket: Mutex::new(None) });
        let guarded = Guarded {
            stream,
            held: held.clone(),
            evicted,
            heard: Instant::now(),
            over: None,
            idle: Box::pin(sleep(self.idle)),
        };
        Ok((guarded, Connection(held)))
    }

    fn unjoined(&self) -> std::sync::MutexGuard<'_, Unjoined> {
        self.unjoined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sixteenth is kept for those in calls; a network has a quarter at the most, a household an eighth.
fn limits(all: usize) -> Limits {
    Limits { all, strangers: all - all / 16, narrow: all / 8, middle: all / 8, wide: all / 4 }
}

impl Connection {
    /// From here on it is a WebSocket: what it sends before it joins is counted.
    pub fn upgraded(&self) {
        let mut unjoined = self.0.connections.unjoined();
        let number = unjoined.next;
        unjoined.next += 1;
        unjoined.by_bytes.insert((0, number));
        unjoined.holders.insert(number, Arc::downgrade(&self.0));
        drop(unjoined);
        *self.0.socket() = Some(Socket { number, bytes: 0 });
    }

    /// Its owner has joined: nobody takes its place, and it may send as others in calls do.
    pub fn joined(&self) {
        self.0.forget_socket();
        self.0.place.settle();
    }
}

impl Held {
    fn socket(&self) -> std::sync::MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_socket(&self) {
        let Some(socket) = self.socket().take() else { return };
        let mut unjoined = self.connections.unjoined();
        unjoined.bytes -= socket.bytes;
        unjoined.by_bytes.remove(&(socket.bytes, socket.number));
        unjoined.holders.remove(&socket.number);
    }

    /// Counts what came. Whoever has sent most gives way when it is too much in all.
    fn received(&self, bytes: usize) {
        let mut own = self.socket();
        let Some(socket) = own.as_mut() else { return };
        let mut unjoined = self.connections.unjoined();
        unjoined.by_bytes.remove(&(socket.bytes, socket.number));
        socket.bytes += bytes;
        unjoined.bytes += bytes;
        unjoined.by_bytes.insert((socket.bytes, socket.number));
        let own_limit = socket.bytes > UNJOINED_SOCKET_BYTES;
        let largest = unjoined.by_bytes.last().filter(|_| unjoined.bytes > UNJOINED_BYTES).map(|(_, number)| *number);
        let largest = largest.and_then(|number| unjoined.holders.get(&number)).and_then(Weak::upgrade);
        drop((unjoined, own));
        if own_limit {
            self.connections.closed_unjoined.fetch_add(1, Relaxed);
            self.place.give_up();
        } else if let Some(largest) = largest {
            self.connections.closed_unjoined.fetch_add(1, Relaxed);
            largest.place.give_up();
            largest.forget_socket();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.forget_socket();
    }
}

/// A stream that ends when its place is given to somebody else, or when nothing goes either way for long.
pub struct Guarded<S> {
    stream: S,
    held: Arc<Held>,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When something last went either way.
    heard: Instant,
    /// Why there is nothing more.
    over: Option<io::ErrorKind>,
    idle: Pin<Box<Sleep>>,
}

impl<S> Guarded<S> {
    fn over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if let Some(kind) = self.over {
            return Poll::Ready(kind.into());
        }
        if self.evicted.as_mut().poll(context).is_ready() {
            self.over = Some(io::ErrorKind::ConnectionAborted);
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        while self.idle.as_mut().poll(context).is_ready() {
            let due = self.heard + self.held.connections.idle;
            if due <= Instant::now() {
                self.held.connections.closed_idle.fetch_add(1, Relaxed);
                self.over = Some(io::ErrorKind::TimedOut);
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.idle.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.over(context) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        ready_or_pending!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.heard = Instant::now();
        self.held.received(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.heard = Instant::now();
            return written;
        }
        self.over(context).map(Err)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if written.is_ready() {
            self.heard = Instant::now();
            return written;
        }
        self.over(context).map(Err)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Takes TCP connections that have a place.
#[derive(Clone)]
pub struct Guard {
    connections: Arc<Connections>,
    proxies: Proxies,
    plain: bool,
}

impl Guard {
    /// Without TLS: from this machine, and from proxies.
    pub fn for_plain(connections: Arc<Connections>, proxies: Proxies) -> Self {
        Self { connections, proxies, plain: true }
    }

    /// From anybody; TLS comes next.
    pub fn for_tls(connections: Arc<Connections>, proxies: Proxies) -> Self {
        Self { connections, proxies, plain: false }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<(Guarded<TcpStream>, Connection, SocketAddr)> {
        let client = stream.peer_addr()?;
        let trusted = self.proxies.trust(client.ip());
        if self.plain && !trusted && !client.ip().to_canonical().is_loopback() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let networks = Networks::of(client.ip()).filter(|_| !trusted);
        let (guarded, connection) = self.connections.guard(stream, networks)?;
        Ok((guarded, connection, client))
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Guard {
    type Stream = Guarded<TcpStream>;
    type Service = AddExtension<AddExtension<S, Connection>, ConnectInfo<SocketAddr>>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit(stream).map(|(stream, connection, client)| {
            (stream, AddExtension::new(AddExtension::new(service, connection), ConnectInfo(client)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMITS: Limits = Limits { all: 8, strangers: 6, narrow: 4, middle: 4, wide: 4 };

    fn client(text: &str) -> Option<Networks> {
        Networks::of(text.parse().unwrap())
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_goes_ends() {
        let connections = Connections::with(LIMITS, Duration::from_millis(50));
        let (ours, mut theirs) = duplex(64);
        let (mut guarded, _connection) = connections.guard(ours, client("192.0.2.1")).unwrap();
        let (mut byte, opened) = ([0], guarded.heard);
        theirs.write_all(b"x").await.unwrap();
        guarded.read_exact(&mut byte).await.unwrap();
        assert!(guarded.heard >= opened);
        for _ in 0..2 {
            assert_eq!(guarded.read_exact(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert!(guarded.heard.elapsed() >= Duration::from_millis(50));
        assert_eq!(connections.closed_idle.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_flood_from_many_networks_gives_way_and_who_has_joined_stays() {
        let connections = Connections::with(LIMITS, IDLE);
        let open = |address: &str| {
            let (ours, theirs) = duplex(64);
            connections.guard(ours, client(address)).map(|(guarded, connection)| (guarded, connection, theirs))
        };
        let mut call = open("198.51.100.1").unwrap();
        call.1.joined();
        let mut flood: Vec<_> = (0..40).filter_map(|net| open(&format!("10.{net}.0.1")).ok()).collect();
        let mut visitor = open("203.0.113.1").expect("somebody else comes in");
        assert!(connections.held() <= 8);
        let mut byte = [0];
        for (guarded, _, theirs) in [&mut call, &mut visitor] {
            theirs.write_all(b"x").await.unwrap();
            guarded.read_exact(&mut byte).await.unwrap();
        }
        assert_eq!(flood[0].0.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn what_is_sent_before_a_join_is_bounded_and_the_largest_gives_way() {
        let connections = Connections::with(limits(10_000), IDLE);
        let half_message = 380_000;
        let mut flood = Vec::new();
        for number in 0..400u32 {
            let (ours, _theirs) = duplex(64);
            let address = format!("10.{}.{}.1", number / 250, number % 250);
            let (guarded, connection) = connections.guard(ours, client(&address)).unwrap();
            connection.upgraded();
            guarded.held.received(half_message);
            assert!(connections.unjoined().bytes <= UNJOINED_BYTES + half_message);
            flood.push((guarded, connection));
        }
        let (ours, _theirs) = duplex(64);
        let (guarded, visitor) = connections.guard(ours, client("203.0.113.1")).unwrap();
        visitor.upgraded();
        guarded.held.received(100_000);
        assert!(!guarded.held.place.is_evicted(), "a page with an offer of its own");
        visitor.joined();
        let evicted = flood.iter().filter(|(guarded, _)| guarded.held.place.is_evicted()).count();
        assert!(evicted >= 400 - UNJOINED_BYTES / half_message - 1, "{evicted}");
        drop((flood, guarded, visitor));
        let unjoined = connections.unjoined();
        assert_eq!((unjoined.bytes, unjoined.by_bytes.len(), unjoined.holders.len()), (0, 0, 0));
    }
}
