//! One TURN client over a stream: its messages to a shard, and a shard's to it.

use super::counters::{Gauge, count};
use super::peers::{Bound, Pace, splice};
use super::{Floor, Origin};
use bytes::{Buf, BytesMut};
use plausch_daemon::share::Place;
use plausch_engine::Path;
use plausch_engine::stun::{AttributeType, Class, Message, Method};
use plausch_engine::turn::ConnectionId;
use plausch_engine::turn::framing::{Framer, NotTurn, first_len, padding};
use plausch_relay_api::limits::{EDGE_QUEUE_BYTES, EDGE_QUEUE_LARGE_BYTES, EDGE_READ_BYTES, EDGE_SMALL_BYTES};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Memory that an idle queue keeps.
const IDLE_QUEUE_BYTES: usize = 16 * 1024;
/// Type of a success response to Allocate (RFC 8489, section 5; RFC 8656, section 17).
const ALLOCATE_SUCCESS: [u8; 2] = [0x01, 0x03];
/// ConnectionBind (RFC 6062, section 6.1): request, success and error.
const BIND: [u8; 2] = [0x00, 0x0b];
const BIND_SUCCESS: [u8; 2] = [0x01, 0x0b];
const BIND_ERROR: [u8; 2] = [0x01, 0x1b];

/// What others on this thread know of a client.
pub(super) struct Client {
    /// What waits to be written to the stream.
    queue: RefCell<BytesMut>,
    /// Of the task that serves it.
    waker: RefCell<Option<Waker>>,
    /// Chosen by its first request that names a user.
    shard: Cell<Option<usize>>,
    opened: Instant,
    heard: Cell<Instant>,
    allocated: Cell<bool>,
    /// The answer to its ConnectionBind request: whether it was granted.
    bound: Cell<Option<bool>>,
    /// Of its allocation's peers.
    pace: OnceCell<Arc<Pace>>,
    /// It is to be closed.
    over: Cell<bool>,
    /// Among all connections: an allocation keeps it.
    place: Arc<Place>,
    /// Its task is to be woken at the end of the present round.
    pub(super) fresh: Cell<bool>,
}

impl Client {
    fn new(now: Instant, place: Arc<Place>) -> Self {
        Self {
            queue: RefCell::new(BytesMut::new()),
            waker: RefCell::new(None),
            shard: Cell::new(None),
            opened: now,
            heard: Cell::new(now),
            allocated: Cell::new(false),
            bound: Cell::new(None),
            pace: OnceCell::new(),
            over: Cell::new(false),
            place,
            fresh: Cell::new(false),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Takes one message of a shard; it goes out once the task is woken.
    pub(super) fn enqueue(&self, message: &[u8], floor: &Floor) {
        let counters = &floor.shared.counters;
        let mut queue = self.queue.borrow_mut();
        if message.starts_with(&ALLOCATE_SUCCESS) {
            self.allocated.set(true);
            self.place.settle();
        } else if message.starts_with(&BIND_SUCCESS) || message.starts_with(&BIND_ERROR) {
            self.bound.set(Some(message.starts_with(&BIND_SUCCESS)));
            if message.starts_with(&BIND_SUCCESS) {
                self.place.settle();
            }
        }
        if queue.len() + message.len() > EDGE_QUEUE_BYTES {
            count(&counters.drop_slow);
        } else if queue.len() > EDGE_QUEUE_LARGE_BYTES && message.len() > EDGE_SMALL_BYTES {
            count(&counters.drop_slow_large);
        } else {
            queue.extend_from_slice(message);
            queue.extend_from_slice(padding(message));
            count(&counters.sent);
        }
    }

    /// Ends a client that has been silent, or without an allocation, for too long.
    pub(super) fn look_after(&self, now: Instant, floor: &Floor) {
        let times = &floor.shared.times;
        let bound = self.bound.get() == Some(true);
        let silence = if bound { times.splice_idle } else { times.silence };
        let silent = now.duration_since(self.heard.get()) >= silence;
        let useless = !self.allocated.get() && !bound && now.duration_since(self.opened) >= times.unallocated;
        if silent || useless {
            let counters = &floor.shared.counters;
            count(if silent { &counters.closed_silent } else { &counters.closed_unallocated });
            self.over.set(true);
            self.wake();
        }
    }

    pub(super) fn heard_now(&self, floor: &Floor) {
        self.heard.set(floor.now.get());
    }

    /// Ready when it is to be closed.
    pub(super) async fn until_over(&self) {
        poll_fn(|context| {
            self.set_waker(context);
            if self.over.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn set_waker(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    pub(super) fn pace(&self, floor: &Floor) -> Arc<Pace> {
        self.pace.get_or_init(|| Arc::new(Pace::new(floor.shared.bytes_per_second))).clone()
    }

    /// The shard that gets a message. Whoever names no user yet is with the first: challenges need no state, and all
    /// shards know each other's nonces. The user name of control says which shard's media the client will want, and who binds a
    /// connection, or comes for a reserved port, needs the shard that has it.
    fn shard_for(&self, message: &[u8], floor: &Floor) -> usize {
        if let Some(shard) = self.shard.get() {
            return shard;
        }
        let Some(named) = named_shard(message) else { return 0 };
        let bound = connection_to_bind(message).and_then(|id| floor.shared.peers.shard_of(id));
        let wanted = bound.or_else(|| reserving_shard(message)).or(named);
        let shard = wanted.filter(|shard| *shard < floor.shards()).unwrap_or_else(|| floor.next_shard());
        self.shard.set(Some(shard));
        shard
    }
}

/// `None`: the message names no user. Within: the shard in `expiry:shard:anything`.
fn named_shard(message: &[u8]) -> Option<Option<usize>> {
    let message = Message::parse(message).ok().filter(|message| message.class == Class::Request)?;
    if let Some(name) = message.username() {
        let mut parts = std::str::from_utf8(name).ok().into_iter().flat_map(|name| name.split(':'));
        let expiry = parts.next().and_then(|expiry| expiry.parse::<u64>().ok());
        let shard = parts.next().and_then(|shard| shard.parse().ok());
        return Some(expiry.and(shard));
    }
    message.attribute(AttributeType::USERHASH).map(|_| None)
}

/// The shard with the port that an Allocate request comes for: its token says it.
fn reserving_shard(message: &[u8]) -> Option<usize> {
    let message = Message::parse(message).ok().filter(|message| message.method == Method::ALLOCATE)?;
    let [.., shard] = message.fixed::<8>(AttributeType::RESERVATION_TOKEN)?;
    Some(shard.into())
}

/// What a ConnectionBind request is about.
fn connection_to_bind(message: &[u8]) -> Option<ConnectionId> {
    let message = Message::parse(message.strip_prefix(&BIND).and(Some(message))?).ok()?;
    debug_assert_eq!((message.class, message.method), (Class::Request, Method::CONNECTION_BIND));
    ConnectionId::of(&message)
}

/// Why a client is served no longer.
enum End {
    /// It closed, or something between us did.
    Closed,
    NotTurn,
    /// We close it.
    Over,
    /// From now on its bytes are for a peer, and the peer's for it.
    Bound(ConnectionId),
}

impl From<NotTurn> for End {
    fn from(_: NotTurn) -> Self {
        Self::NotTurn
    }
}

/// Serves a client until it ends. `first` was read already. `apart`: each message is written by itself, which makes it a
/// record of TLS: there are clients, coturn's among them, that take a record for a message.
pub(super) async fn serve<S>(
    floor: &Rc<Floor>,
    stream: S,
    first: &[u8],
    origin: Origin,
    apart: bool,
    place: &Arc<Place>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let counters = &floor.shared.counters;
    let path = Path { local: origin.listener, remote: origin.remote };
    let client = Rc::new(Client::new(floor.now.get(), place.clone()));
    if !floor.register(path, &client) {
        count(&counters.refused_twin);
        return;
    }
    // Also when it is ended from outside.
    let _registered = Registered { floor, path, client: &client };
    let _gauge = Gauge::up(&counters.clients);
    let mut serving = Serving {
        floor,
        client: &client,
        path,
        stream,
        framer: Framer::default(),
        apart,
        begun: 0,
        unflushed: false,
        binding: None,
        held: Vec::new(),
    };
    let end = match serving.take(first) {
        Ok(()) => poll_fn(|context| serving.poll(context)).await,
        Err(end) => end,
    };
    match end {
        End::NotTurn => count(&counters.closed_not_turn),
        End::Bound(connection) => {
            if let Some(bound) = Bound::take(&floor.shared.peers, connection) {
                splice(floor, &client, serving.stream, &serving.held, bound).await;
            }
        }
        End::Closed | End::Over => {}
    }
}

/// While it lives, messages of the shards find the client.
struct Registered<'f> {
    floor: &'f Floor,
    path: Path,
    client: &'f Client,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.floor.unregister(self.path, self.client.shard.get().unwrap_or(0));
    }
}

struct Serving<'f, S> {
    floor: &'f Floor,
    client: &'f Client,
    path: Path,
    stream: S,
    framer: Framer,
    apart: bool,
    /// Bytes still to be written of a message that the stream took a part of.
    begun: usize,
    /// Something was written that may wait in TLS.
    unflushed: bool,
    /// It has asked to bind this connection. What comes after that may be its peer's: it waits for the answer.
    binding: Option<ConnectionId>,
    /// As much of it as was read already.
    held: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<'_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.client.set_waker(context);
        if self.client.over.get() {
            return Poll::Ready(End::Over);
        }
        if let Err(end) = self.write(context) {
            return Poll::Ready(end);
        }
        while let Some(connection) = self.binding {
            match self.client.bound.get() {
                // The answer comes with a wake-up, and so does room for it in the stream.
                None => return Poll::Pending,
                Some(true) if self.client.queue.borrow().is_empty() => return Poll::Ready(End::Bound(connection)),
                Some(true) => return Poll::Pending,
                Some(false) => {
                    self.client.bound.set(None);
                    self.binding = None;
                    let held = std::mem::take(&mut self.held);
                    if let Err(end) = self.take(&held) {
                        return Poll::Ready(end);
                    }
                }
            }
        }
        let end = ready!(self.read(context));
        Poll::Ready(end)
    }

    /// Reads what there is, up to a limit. Ready at the end only.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let floor = self.floor;
        let mut scratch = floor.scratch.borrow_mut();
        let mut budget = EDGE_READ_BYTES;
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(End::Closed),
            }
            let bytes = buffer.filled();
            if let Err(end) = self.take(bytes) {
                return Poll::Ready(end);
            }
            if self.binding.is_some() {
                return Poll::Pending;
            }
            budget = budget.saturating_sub(bytes.len());
            if budget == 0 {
                // Others have their turn before the rest.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Hands the messages in `bytes` to the shard.
    fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Self { floor, client, path, .. } = *self;
        let counters = &floor.shared.counters;
        client.heard_now(floor);
        let mut binding = None;
        let fed = self.framer.feed(bytes, |message| {
            if floor.to_shard(client.shard_for(message, floor), path, message) {
                count(&counters.received);
                binding = connection_to_bind(message);
            } else {
                count(&counters.drop_to_shard);
            }
            binding.is_none()
        });
        floor.flush_soon();
        counters.drop_oversized.fetch_add(self.framer.take_oversized(), Ordering::Relaxed);
        self.held.extend_from_slice(fed?);
        self.binding = binding;
        Ok(())
    }

    /// Writes what waits, as far as the stream takes it.
    fn write(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let mut queue = self.client.queue.borrow_mut();
        while !queue.is_empty() {
            let len = match self.begun {
                0 if self.apart => first_len(&queue).unwrap_or(queue.len()),
                0 => queue.len(),
                begun => begun,
            };
            match Pin::new(&mut self.stream).poll_write(context, &queue[..len]) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    queue.advance(written);
                    self.begun = len - written;
                    self.unflushed = true;
                }
                Poll::Ready(_) => return Err(End::Closed),
                Poll::Pending => break,
            }
        }
        if queue.is_empty() && queue.capacity() > IDLE_QUEUE_BYTES {
            *queue = BytesMut::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(End::Closed),
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stun::message::Setter;

    fn request(attributes: Vec<Box<dyn Setter>>) -> Vec<u8> {
        let mut message = stun::message::Message::new();
        let mut all: Vec<Box<dyn Setter>> =
            vec![Box::new(stun::agent::TransactionId::new()), Box::new(stun::message::BINDING_REQUEST)];
        all.extend(attributes);
        message.build(&all).unwrap();
        message.raw
    }

    #[test]
    fn the_user_name_says_which_shard() {
        let user = |name: &str| {
            let attribute = stun::textattrs::TextAttribute::new(stun::attributes::ATTR_USERNAME, name.to_owned());
            named_shard(&request(vec![Box::new(attribute)]))
        };
        assert_eq!(user("1700000000:3:x1y2"), Some(Some(3)));
        assert_eq!(user("1700000000:70000000000000000000:x"), Some(None));
        assert_eq!(user("1700000000:nextcloud"), Some(None));
        assert_eq!(user("talk:3:x"), Some(None));
        assert_eq!(user("talk"), Some(None));
        assert_eq!(named_shard(&request(vec![])), None);
        let hash = stun::attributes::RawAttribute {
            typ: stun::attributes::AttrType(AttributeType::USERHASH.0),
            length: 32,
            value: vec![1; 32],
        };
        assert_eq!(named_shard(&request(vec![Box::new(hash)])), Some(None));
        assert_eq!(named_shard(&[0x40, 1, 0, 0]), None);
    }
}
