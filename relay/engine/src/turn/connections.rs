//! TCP to peers (RFC 6062): whom a client connects to and who connects to it, which of its connections carries on with
//! which peer's, and until when they wait for each other. The sockets are the edge's, and so are the bytes.

use super::Turn;
use super::allocation::{Allocation, Socket};
use super::credentials::{User, UserId};
use super::policy::{Permit, canonical};
use super::ports::Family;
use super::requests::{Granted, Refusal};
use super::{ANSWER_BYTES, Answer, Context};
use crate::batch::Path;
use crate::effect::{EdgeNews, EdgeTask, Effect};
use crate::slab::Key;
use crate::stun::{AttributeType, Class, IntegrityKind, Message, MessageWriter, Method, TransactionId};
use crate::time::Time;
use crate::timers::Owner as TimerOwner;
use plausch_relay_api::limits::{TURN_CONNECT_MS, TURN_CONNECTION_BIND_MS};
use std::net::SocketAddr;
use std::time::Duration;

const CONNECT_TIME: Duration = Duration::from_millis(TURN_CONNECT_MS);
const BIND_TIME: Duration = Duration::from_millis(TURN_CONNECTION_BIND_MS);
/// A ConnectionAttempt: header, XOR-PEER-ADDRESS for IPv6, CONNECTION-ID.
const ATTEMPT_BYTES: usize = 20 + 24 + 8;

/// CONNECTION-ID (RFC 6062, section 6.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// The one that a request names.
    pub fn of(message: &Message<'_>) -> Option<Self> {
        message.fixed(AttributeType::CONNECTION_ID).map(|id| Self(u32::from_be_bytes(id)))
    }
}

/// A connection between a relayed address and a peer.
pub(crate) struct Connection {
    id: ConnectionId,
    allocation: Key<Allocation>,
    pub(super) peer: SocketAddr,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// The peer has not answered, nor have we this Connect request.
    Connecting { transaction: TransactionId, kind: IntegrityKind, fingerprint: bool },
    /// No client has bound it.
    Waiting,
    /// To this connection of a client.
    Bound(Path),
}

impl Turn {
    fn connection(&self, id: ConnectionId) -> Option<Key<Connection>> {
        self.find_connection(|connection| connection.id == id)
    }

    /// There are not many (`limits::TURN_PEER_CONNECTIONS`).
    fn find_connection(&self, wanted: impl Fn(&Connection) -> bool) -> Option<Key<Connection>> {
        (0..self.connections.places()).find_map(|index| {
            let key = self.connections.key_at(index)?;
            self.connections.get(key).is_some_and(&wanted).then_some(key)
        })
    }

    /// Whose connection a ConnectionBind request names.
    pub(super) fn allocation_to_bind(&self, message: &Message<'_>) -> Option<Key<Allocation>> {
        if message.method != Method::CONNECTION_BIND {
            return None;
        }
        let key = self.connection(ConnectionId::of(message)?)?;
        self.connections.get(key).map(|connection| connection.allocation)
    }

    fn connections_of(&self, user: UserId) -> usize {
        let is_theirs = |connection: &&Connection| {
            self.allocations.get(connection.allocation).is_some_and(|allocation| allocation.owner.id == user)
        };
        self.connections.values().filter(is_theirs).count()
    }

    /// Whether there may be one more.
    fn has_room(&self, allocation: &Allocation) -> Result<(), Refusal> {
        let Some(tcp) = &self.tcp else { return Err(Refusal::Capacity) };
        if usize::from(allocation.connections) >= tcp.connections_per_allocation
            || self.connections_of(allocation.owner.id) >= tcp.connections_per_user
        {
            return Err(Refusal::Quota);
        }
        if self.connections.len() >= tcp.connections { Err(Refusal::Capacity) } else { Ok(()) }
    }

    /// Of a connection to be.
    fn new_id(&mut self) -> ConnectionId {
        loop {
            let [a, b, c, d, ..] = self.next_token();
            let id = ConnectionId(u32::from_be_bytes([a, b, c, d]));
            if self.connection(id).is_none() {
                return id;
            }
        }
    }
}

impl Turn {
    /// RFC 6062, section 5.2.
    pub(super) fn connect_peer(
        &mut self,
        key: Key<Allocation>,
        message: &Message<'_>,
        user: &User,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        let now = cx.now;
        let tariff = self.new_peers;
        let allocation = self.allocations.get(key).ok_or(Refusal::AllocationMismatch)?;
        if !allocation.tcp {
            return Err(Refusal::Forbidden);
        }
        let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten();
        let peer = canonical(peer.ok_or(Refusal::BadRequest)?);
        if self.find_connection(|known| known.allocation == key && known.peer == peer).is_some() {
            return Err(Refusal::ConnectionExists);
        }
        let relayed = allocation.relayed(Family::of(&peer)).ok_or(Refusal::PeerFamily)?;
        let from = self.ports.local(relayed.place).ok_or(Refusal::Capacity)?;
        // To connect to oneself is possible with TCP, and good for nothing.
        let itself = [from, self.ports.announced(relayed.place)].map(canonical).contains(&peer);
        if itself || !self.policy.may_connect(allocation.owner.scope, peer) {
            return Err(Refusal::Forbidden);
        }
        self.has_room(allocation)?;
        let allocation = self.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        // Each counts, also to a known address: this would be a port scan otherwise.
        if !allocation.new_peers.admit(tariff, 1, now) {
            return Err(Refusal::Capacity);
        }
        let state = State::Connecting {
            transaction: message.transaction_id,
            kind: user.integrity.kind(),
            fingerprint: message.has_fingerprint(),
        };
        let id = self.add_connection(key, peer, state, now + CONNECT_TIME, cx).ok_or(Refusal::Capacity)?;
        self.task(key, EdgeTask::Connect { connection: id, from, to: peer }, cx);
        Ok(Granted::Later)
    }

    /// RFC 6062, section 5.4. The credentials are those of the allocation.
    pub(super) fn bind_connection(
        &mut self,
        path: Path,
        message: &Message<'_>,
        key: Option<Key<Allocation>>,
        user: &User,
        cx: &mut Context<'_>,
    ) -> Result<Granted, Refusal> {
        if !path.local.is_edge() || key.is_some() || self.bound_to(path).is_some() {
            return Err(Refusal::BadRequest);
        }
        let id = ConnectionId::of(message).ok_or(Refusal::BadRequest)?;
        let found = self.connection(id).ok_or(Refusal::BadRequest)?;
        let connection = self.connections.get_mut(found).ok_or(Refusal::BadRequest)?;
        if !matches!(connection.state, State::Waiting) {
            return Err(Refusal::BadRequest);
        }
        let owner = self.allocations.get(connection.allocation).map(|allocation| allocation.owner.id);
        if owner != Some(user.id) {
            return Err(Refusal::WrongCredentials);
        }
        connection.state = State::Bound(path);
        cx.timers.set(TimerOwner::connection(found), Time::NEVER);
        cx.counters.turn_bound += 1;
        Ok(Granted::Done)
    }

    /// What became of connections of peers.
    pub(super) fn edge_news(&mut self, news: EdgeNews, cx: &mut Context<'_>) {
        match news {
            EdgeNews::ListenFailed { client, address } => self.listen_failed(client, address, cx),
            EdgeNews::Accepted { client, address, socket, peer } => {
                let connection = self.accept(client, address, canonical(peer), cx);
                cx.effects.push_back(Effect::Edge { client, task: EdgeTask::Judge { socket, connection } });
            }
            EdgeNews::Connected { connection } => self.connected(connection, cx),
            EdgeNews::Failed { connection } => {
                if let Some(key) = self.connection(connection) {
                    self.answer_connect(key, Err(Refusal::ConnectionFailed), cx);
                    self.remove_connection(key, cx);
                }
            }
        }
    }

    fn listen_failed(&mut self, client: Path, address: SocketAddr, cx: &mut Context<'_>) {
        let key = self.find(client);
        let Some(allocation) = key.and_then(|key| self.allocations.get(key)).filter(|allocation| allocation.tcp) else {
            return;
        };
        let relayed = allocation.relayed(Family::of(&address));
        let relayed = relayed.filter(|relayed| self.ports.local(relayed.place) == Some(address));
        if let Some(Socket::Open(number)) = relayed.map(|relayed| relayed.socket) {
            self.socket_failed(number, cx.counters);
        }
    }

    /// RFC 6062, section 5.3: a peer has connected. `None`: it is not wanted.
    fn accept(
        &mut self,
        client: Path,
        address: SocketAddr,
        peer: SocketAddr,
        cx: &mut Context<'_>,
    ) -> Option<ConnectionId> {
        let now = cx.now;
        let key = self.find(client)?;
        let allocation = self.allocations.get(key).filter(|allocation| allocation.tcp)?;
        // It may have come to a port that was another's before.
        let relayed = allocation.relayed(Family::of(&peer))?;
        if self.ports.local(relayed.place) != Some(address) {
            return None;
        }
        if allocation.permit(peer.ip(), now) != Some(Permit::All) {
            cx.counters.drop_turn_peer_forbidden += 1;
            return None;
        }
        let known = self.find_connection(|known| known.allocation == key && known.peer == peer).is_some();
        if known || self.has_room(allocation).is_err() || !cx.tx.has_room(1, ATTEMPT_BYTES) {
            cx.counters.drop_turn_peer_limit += 1;
            return None;
        }
        cx.counters.turn_accepted += 1;
        let id = self.add_connection(key, peer, State::Waiting, now + BIND_TIME, cx)?;
        let [a, b] = [cx.random.next_u64(), cx.random.next_u64()].map(u64::to_be_bytes);
        let mut transaction = [0; 12];
        transaction.iter_mut().zip(a.iter().chain(&b)).for_each(|(to, from)| *to = *from);
        let written = cx.tx.reserve(client, ATTEMPT_BYTES).and_then(|buffer| {
            MessageWriter::new(buffer, Class::Indication, Method::CONNECTION_ATTEMPT, TransactionId(transaction))
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                .attribute(AttributeType::CONNECTION_ID, &id.0.to_be_bytes())
                .finish()
        });
        cx.tx.commit_if(written);
        Some(id)
    }

    fn connected(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let Some(key) = self.connection(id) else { return };
        let state = self.connections.get(key).map(|connection| connection.state);
        if !matches!(state, Some(State::Connecting { .. })) {
            return;
        }
        cx.timers.set(TimerOwner::connection(key), cx.now + BIND_TIME);
        cx.counters.turn_connected += 1;
        self.answer_connect(key, Ok(id), cx);
    }

    /// Answers the Connect request of a connection, unless that was done.
    fn answer_connect(&mut self, key: Key<Connection>, result: Result<ConnectionId, Refusal>, cx: &mut Context<'_>) {
        let Context { counters, tx, .. } = cx;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let State::Connecting { transaction, kind, fingerprint } = connection.state else { return };
        connection.state = State::Waiting;
        let Some(allocation) = self.allocations.get(connection.allocation) else { return };
        let integrity = allocation.owner.key.integrity(kind);
        let answer = Answer {
            path: allocation.client,
            method: Method::CONNECT,
            transaction_id: transaction,
            fingerprint,
            integrity: Some(&integrity),
        };
        let sent = match result {
            Ok(id) => {
                counters.turn_requests += 1;
                answer.send(tx, ANSWER_BYTES, Class::Success, |writer| {
                    writer.attribute(AttributeType::CONNECTION_ID, &id.0.to_be_bytes());
                })
            }
            Err(refusal) => {
                *refusal.counter(counters) += 1;
                answer.send(tx, ANSWER_BYTES, Class::Error, |writer| {
                    writer.error_code(refusal.code(), "");
                })
            }
        };
        counters.drop_tx_full += u64::from(!sent);
    }

    /// The peer has not answered in time, or no client has come for it.
    pub(super) fn expire_connection(&mut self, index: usize, cx: &mut Context<'_>) {
        let Some(key) = self.connections.key_at(index) else { return };
        let Some(state) = self.connections.get(key).map(|connection| connection.state) else { return };
        match state {
            State::Connecting { .. } => self.answer_connect(key, Err(Refusal::ConnectionFailed), cx),
            State::Waiting => cx.counters.drop_turn_unbound += 1,
            State::Bound(_) => return,
        }
        self.close_connection(key, cx);
    }

    /// A connection of a client is closed: the peer's that it was bound to has no other.
    pub(super) fn data_connection_closed(&mut self, path: Path, cx: &mut Context<'_>) {
        if let Some(key) = self.bound_to(path) {
            self.close_connection(key, cx);
        }
    }

    /// Closes those of an allocation that are meant.
    pub(super) fn remove_connections(
        &mut self,
        key: Key<Allocation>,
        meant: impl Fn(&Connection) -> bool,
        cx: &mut Context<'_>,
    ) {
        while self.allocations.get(key).is_some_and(|allocation| allocation.connections > 0)
            && let Some(found) = self.find_connection(|connection| connection.allocation == key && meant(connection))
        {
            self.close_connection(found, cx);
        }
    }

    fn close_connection(&mut self, key: Key<Connection>, cx: &mut Context<'_>) {
        let Some(connection) = self.connections.get(key) else { return };
        let (id, allocation) = (connection.id, connection.allocation);
        self.task(allocation, EdgeTask::Close { connection: id }, cx);
        self.remove_connection(key, cx);
    }

    fn remove_connection(&mut self, key: Key<Connection>, cx: &mut Context<'_>) {
        let Some(connection) = self.connections.remove(key) else { return };
        cx.timers.set(TimerOwner::connection(key), Time::NEVER);
        cx.counters.turn_connections -= 1;
        if let Some(allocation) = self.allocations.get_mut(connection.allocation) {
            allocation.connections -= 1;
        }
    }

    fn add_connection(
        &mut self,
        allocation: Key<Allocation>,
        peer: SocketAddr,
        state: State,
        expires: Time,
        cx: &mut Context<'_>,
    ) -> Option<ConnectionId> {
        let id = self.new_id();
        self.allocations.get_mut(allocation)?.connections += 1;
        let key = self.connections.insert(Connection { id, allocation, peer, state });
        cx.timers.set(TimerOwner::connection(key), expires);
        cx.counters.turn_connections += 1;
        Some(id)
    }

    fn task(&mut self, allocation: Key<Allocation>, task: EdgeTask, cx: &mut Context<'_>) {
        if let Some(allocation) = self.allocations.get(allocation) {
            cx.effects.push_back(Effect::Edge { client: allocation.client, task });
        }
    }

    /// The connection that a client's is bound to.
    fn bound_to(&self, path: Path) -> Option<Key<Connection>> {
        self.find_connection(|connection| matches!(connection.state, State::Bound(bound) if bound == path))
    }
}
