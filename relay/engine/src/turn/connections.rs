//! TCP to peers (RFC 6062): whom a client connects to and who connects to it, which of its connections carries on with
//! which peer's, and until when they wait for each other. The sockets are the edge's, and so are the bytes.

use super::Turn;
use super::allocation::{Allocation, Socket};
use super::credentials::{User, UserId};
use super::policy::{Permit, canonical};
use super::ports::Family;
use super::requests::{Granted, Refusal};
use super::{ANSWER_BYTES, Answer};
use crate::batch::{Path, TxBatch};
use crate::effect::{EdgeNews, EdgeTask, Effect};
use crate::engine::Engine;
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

impl Engine {
    pub(super) fn has_tcp_allocations(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.tcp.is_some())
    }

    /// RFC 6062, section 5.2.
    pub(super) fn connect_peer(
        &mut self,
        key: Key<Allocation>,
        message: &Message<'_>,
        user: &User,
        now: Time,
    ) -> Result<Granted, Refusal> {
        let turn = self.turn.as_mut().ok_or(Refusal::AllocationMismatch)?;
        let tariff = turn.new_peers;
        let allocation = turn.allocations.get(key).ok_or(Refusal::AllocationMismatch)?;
        if !allocation.tcp {
            return Err(Refusal::Forbidden);
        }
        let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten();
        let peer = canonical(peer.ok_or(Refusal::BadRequest)?);
        if turn.find_connection(|known| known.allocation == key && known.peer == peer).is_some() {
            return Err(Refusal::ConnectionExists);
        }
        let relayed = allocation.relayed(Family::of(&peer)).ok_or(Refusal::PeerFamily)?;
        let from = turn.ports.local(relayed.place).ok_or(Refusal::Capacity)?;
        // To connect to oneself is possible with TCP, and good for nothing.
        let itself = [from, turn.ports.announced(relayed.place)].map(canonical).contains(&peer);
        if itself || !turn.policy.may_connect(allocation.owner.scope, peer) {
            return Err(Refusal::Forbidden);
        }
        turn.has_room(allocation)?;
        let allocation = turn.allocations.get_mut(key).ok_or(Refusal::AllocationMismatch)?;
        // Each counts, also to a known address: this would be a port scan otherwise.
        if !allocation.new_peers.admit(tariff, 1, now) {
            return Err(Refusal::Capacity);
        }
        let state = State::Connecting {
            transaction: message.transaction_id,
            kind: user.integrity.kind(),
            fingerprint: message.has_fingerprint(),
        };
        let id = self.add_connection(key, peer, state, now + CONNECT_TIME).ok_or(Refusal::Capacity)?;
        self.task(key, EdgeTask::Connect { connection: id, from, to: peer });
        Ok(Granted::Later)
    }

    /// RFC 6062, section 5.4. The credentials are those of the allocation.
    pub(super) fn bind_connection(
        &mut self,
        path: Path,
        message: &Message<'_>,
        key: Option<Key<Allocation>>,
        user: &User,
    ) -> Result<Granted, Refusal> {
        let Self { turn, timers, counters, .. } = self;
        let turn = turn.as_mut().ok_or(Refusal::BadRequest)?;
        if !path.local.is_edge() || key.is_some() || turn.bound_to(path).is_some() {
            return Err(Refusal::BadRequest);
        }
        let id = ConnectionId::of(message).ok_or(Refusal::BadRequest)?;
        let found = turn.connection(id).ok_or(Refusal::BadRequest)?;
        let connection = turn.connections.get_mut(found).ok_or(Refusal::BadRequest)?;
        if !matches!(connection.state, State::Waiting) {
            return Err(Refusal::BadRequest);
        }
        let owner = turn.allocations.get(connection.allocation).map(|allocation| allocation.owner.id);
        if owner != Some(user.id) {
            return Err(Refusal::WrongCredentials);
        }
        connection.state = State::Bound(path);
        timers.set(TimerOwner::connection(found), Time::NEVER);
        counters.turn_bound += 1;
        Ok(Granted::Done)
    }

    /// What became of connections of peers.
    pub(crate) fn edge_news(&mut self, news: EdgeNews, now: Time, tx: &mut TxBatch) {
        match news {
            EdgeNews::ListenFailed { client, address } => self.listen_failed(client, address),
            EdgeNews::Accepted { client, address, socket, peer } => {
                let connection = self.accept(client, address, canonical(peer), now, tx);
                self.effects.push_back(Effect::Edge { client, task: EdgeTask::Judge { socket, connection } });
            }
            EdgeNews::Connected { connection } => self.connected(connection, now, tx),
            EdgeNews::Failed { connection } => {
                let found = self.turn.as_ref().and_then(|turn| turn.connection(connection));
                if let Some(key) = found {
                    self.answer_connect(key, Err(Refusal::ConnectionFailed), tx);
                    self.remove_connection(key);
                }
            }
        }
    }

    fn listen_failed(&mut self, client: Path, address: SocketAddr) {
        let key = self.peers.find_allocation(client);
        let Self { turn: Some(turn), counters, .. } = self else { return };
        let Some(allocation) = key.and_then(|key| turn.allocations.get(key)).filter(|allocation| allocation.tcp) else {
            return;
        };
        let relayed = allocation.relayed(Family::of(&address));
        let relayed = relayed.filter(|relayed| turn.ports.local(relayed.place) == Some(address));
        if let Some(Socket::Open(number)) = relayed.map(|relayed| relayed.socket) {
            turn.socket_failed(number, counters);
        }
    }

    /// RFC 6062, section 5.3: a peer has connected. `None`: it is not wanted.
    fn accept(
        &mut self,
        client: Path,
        address: SocketAddr,
        peer: SocketAddr,
        now: Time,
        tx: &mut TxBatch,
    ) -> Option<ConnectionId> {
        let key = self.peers.find_allocation(client)?;
        let Self { turn: Some(turn), counters, .. } = self else { return None };
        let allocation = turn.allocations.get(key).filter(|allocation| allocation.tcp)?;
        // It may have come to a port that was another's before.
        let relayed = allocation.relayed(Family::of(&peer))?;
        if turn.ports.local(relayed.place) != Some(address) {
            return None;
        }
        if allocation.permit(peer.ip(), now) != Some(Permit::All) {
            counters.drop_turn_peer_forbidden += 1;
            return None;
        }
        let known = turn.find_connection(|known| known.allocation == key && known.peer == peer).is_some();
        if known || turn.has_room(allocation).is_err() || !tx.has_room(1, ATTEMPT_BYTES) {
            counters.drop_turn_peer_limit += 1;
            return None;
        }
        counters.turn_accepted += 1;
        let id = self.add_connection(key, peer, State::Waiting, now + BIND_TIME)?;
        let [a, b] = [self.random.next_u64(), self.random.next_u64()].map(u64::to_be_bytes);
        let mut transaction = [0; 12];
        transaction.iter_mut().zip(a.iter().chain(&b)).for_each(|(to, from)| *to = *from);
        let written = tx.reserve(client, ATTEMPT_BYTES).and_then(|buffer| {
            MessageWriter::new(buffer, Class::Indication, Method::CONNECTION_ATTEMPT, TransactionId(transaction))
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                .attribute(AttributeType::CONNECTION_ID, &id.0.to_be_bytes())
                .finish()
        });
        tx.commit_if(written);
        Some(id)
    }

    fn connected(&mut self, id: ConnectionId, now: Time, tx: &mut TxBatch) {
        let Self { turn: Some(turn), timers, counters, .. } = self else { return };
        let Some(key) = turn.connection(id) else { return };
        let state = turn.connections.get(key).map(|connection| connection.state);
        if !matches!(state, Some(State::Connecting { .. })) {
            return;
        }
        timers.set(TimerOwner::connection(key), now + BIND_TIME);
        counters.turn_connected += 1;
        self.answer_connect(key, Ok(id), tx);
    }

    /// Answers the Connect request of a connection, unless that was done.
    fn answer_connect(&mut self, key: Key<Connection>, result: Result<ConnectionId, Refusal>, tx: &mut TxBatch) {
        let Self { turn: Some(turn), counters, .. } = self else { return };
        let Some(connection) = turn.connections.get_mut(key) else { return };
        let State::Connecting { transaction, kind, fingerprint } = connection.state else { return };
        connection.state = State::Waiting;
        let Some(allocation) = turn.allocations.get(connection.allocation) else { return };
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
    pub(crate) fn expire_connection(&mut self, index: usize, tx: &mut TxBatch) {
        let found = self.turn.as_ref().and_then(|turn| {
            let key = turn.connections.key_at(index)?;
            Some((key, turn.connections.get(key)?.state))
        });
        let Some((key, state)) = found else { return };
        match state {
            State::Connecting { .. } => self.answer_connect(key, Err(Refusal::ConnectionFailed), tx),
            State::Waiting => self.counters.drop_turn_unbound += 1,
            State::Bound(_) => return,
        }
        self.close_connection(key);
    }

    /// A connection of a client is closed: the peer's that it was bound to has no other.
    pub(super) fn data_connection_closed(&mut self, path: Path) {
        if let Some(key) = self.turn.as_ref().and_then(|turn| turn.bound_to(path)) {
            self.close_connection(key);
        }
    }

    /// Closes those of an allocation that are meant.
    pub(super) fn remove_connections(&mut self, key: Key<Allocation>, meant: impl Fn(&Connection) -> bool) {
        let has_some = |turn: &Turn| turn.allocations.get(key).is_some_and(|allocation| allocation.connections > 0);
        while let Some(found) = self
            .turn
            .as_ref()
            .filter(|turn| has_some(turn))
            .and_then(|turn| turn.find_connection(|connection| connection.allocation == key && meant(connection)))
        {
            self.close_connection(found);
        }
    }

    fn close_connection(&mut self, key: Key<Connection>) {
        let Some(connection) = self.turn.as_ref().and_then(|turn| turn.connections.get(key)) else { return };
        let (id, allocation) = (connection.id, connection.allocation);
        self.task(allocation, EdgeTask::Close { connection: id });
        self.remove_connection(key);
    }

    fn remove_connection(&mut self, key: Key<Connection>) {
        let Self { turn: Some(turn), timers, counters, .. } = self else { return };
        let Some(connection) = turn.connections.remove(key) else { return };
        timers.set(TimerOwner::connection(key), Time::NEVER);
        counters.turn_connections -= 1;
        if let Some(allocation) = turn.allocations.get_mut(connection.allocation) {
            allocation.connections -= 1;
        }
    }

    fn add_connection(
        &mut self,
        allocation: Key<Allocation>,
        peer: SocketAddr,
        state: State,
        expires: Time,
    ) -> Option<ConnectionId> {
        let Self { turn, timers, counters, .. } = self;
        let turn = turn.as_mut()?;
        let id = turn.new_id();
        turn.allocations.get_mut(allocation)?.connections += 1;
        let key = turn.connections.insert(Connection { id, allocation, peer, state });
        timers.set(TimerOwner::connection(key), expires);
        counters.turn_connections += 1;
        Some(id)
    }

    fn task(&mut self, allocation: Key<Allocation>, task: EdgeTask) {
        let Self { turn: Some(turn), effects, .. } = self else { return };
        if let Some(allocation) = turn.allocations.get(allocation) {
            effects.push_back(Effect::Edge { client: allocation.client, task });
        }
    }
}

impl Turn {
    /// The connection that a client's is bound to.
    fn bound_to(&self, path: Path) -> Option<Key<Connection>> {
        self.find_connection(|connection| matches!(connection.state, State::Bound(bound) if bound == path))
    }
}
