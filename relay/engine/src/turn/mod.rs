//! TURN (RFC 8656) and STUN as a service (RFC 8489): for clients that reach us only through a relay, and for those who
//! ask for their address.
//!
//! A client's messages come by `requests` (who may: `credentials`, `nonce`; to whom: `policy`), and its data and that of
//! its peers by `relaying`. Most clients want to reach nobody but this very shard: their packets go on in memory as if
//! they had come from the relayed address, and what the shard sends there is wrapped for the client in the outgoing
//! batch. A relayed address becomes a socket (`ports`) only where a peer is elsewhere. Peers that speak TCP have
//! `connections`, whose bytes the edge copies.

mod allocation;
mod binding;
mod config;
mod connections;
mod credentials;
pub mod framing;
mod nonce;
mod policy;
mod ports;
mod quotas;
mod rate;
mod relaying;
mod requests;
mod wish;

pub use config::{
    DiscoverySocket, MediaAddress, Neighbour, Prefix, RelayAddress, StaticUser, TcpAllocations, TurnConfig, TurnLimits,
};
pub use connections::ConnectionId;

pub(crate) use allocation::Allocation;
pub(crate) use connections::Connection;
pub(crate) use relaying::Inner;

use crate::batch::{LocalSocket, Path, TxBatch};
use crate::counters::Counters;
use crate::effect::{EdgeTask, Effect, EngineCommand};
use crate::peers::HashKeys;
use crate::random::Random;
use crate::slab::{Key, Slab};
use crate::stun::{Class, IntegrityKey, Message, MessageWriter, Method, TransactionId};
use crate::time::Time;
use crate::timers::{Owner as TimerOwner, Timers};
use allocation::{Relayed, Socket};
use credentials::{Credentials, UserId};
use plausch_relay_api::limits::TURN_RESERVATION_MS;
use plausch_relay_api::{ShardId, TurnSettings};
use policy::Policy;
use ports::{Family, Place, Ports};
use quotas::Quotas;
use rate::{Guessers, Strangers, Tariff};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const RESERVATION_LIFETIME: Duration = Duration::from_millis(TURN_RESERVATION_MS);
/// What an allocation may relay at once: a key frame of everybody whom it shows.
const BYTES_BURST: Duration = Duration::from_millis(500);
/// The longest answer is to an Allocate request for two families, with 200 bytes; an error that lists attributes has less.
const ANSWER_BYTES: usize = 320;

/// A port for whoever shows its token (RFC 8656, section 7.2), to this shard: the last byte of the token says which. By TCP
/// and TLS the edge knows, and by UDP at a port of the shard's own there is no other. At the port that all shards share the
/// kernel gives one client's sockets to different shards, which is seldom the right one where there are many: such a client
/// is refused with 508, as if the time were over, and has to make do with a port of its own.
pub(crate) struct Reservation {
    token: [u8; 8],
    place: Place,
}

/// What TURN works with while the engine calls it: the time, randomness, and where its results go.
pub(crate) struct Context<'a> {
    pub now: Time,
    pub random: &'a mut Random,
    pub timers: &'a mut Timers,
    pub effects: &'a mut VecDeque<Effect>,
    pub counters: &'a mut Counters,
    pub tx: &'a mut TxBatch,
}

/// All of TURN that one shard knows. It stands beside the engine, which calls it where packets come in
/// ([`Turn::receive_message`], [`Turn::receive_channel_data`], [`Turn::receive_from_peer`]) and where they go out
/// ([`Turn::wrap_inner`]), and hands it the commands and timers that are TURN's.
pub(crate) struct Turn {
    limits: TurnLimits,
    tcp: Option<TcpAllocations>,
    discovery: Option<[DiscoverySocket; 4]>,
    credentials: Credentials,
    policy: Policy,
    ports: Ports,
    allocations: Slab<Allocation>,
    /// Allocations by the path of their client.
    clients: HashMap<Path, Key<Allocation>, HashKeys>,
    /// How many allocations they have.
    users: HashMap<UserId, u32, HashKeys>,
    quotas: Quotas,
    reservations: Slab<Reservation>,
    connections: Slab<Connection>,
    strangers: Strangers,
    guessers: Guessers,
    /// Unix time at a moment of ours.
    unix: (u64, Time),
    bytes: Tariff,
    new_peers: Tariff,
    tokens: u64,
    /// The last byte of a reservation's token, for the edge to find it by.
    shard: u8,
    draining: bool,
}

impl Turn {
    pub(crate) fn new(config: &TurnConfig, shard: ShardId, random: &mut Random, now: Time) -> Self {
        let limits = config.limits;
        Self {
            limits,
            tcp: config.tcp.clone(),
            discovery: config.nat_discovery,
            credentials: Credentials::new(config, random),
            policy: Policy::new(config, random),
            ports: Ports::new(config),
            allocations: Slab::new(),
            clients: HashMap::with_hasher(HashKeys::new(random)),
            users: HashMap::with_hasher(HashKeys::new(random)),
            quotas: Quotas::new(config, random),
            reservations: Slab::new(),
            connections: Slab::new(),
            strangers: Strangers::forgers(random),
            guessers: Guessers::new(random),
            unix: (config.unix_seconds, now),
            bytes: Tariff::new(limits.bytes_per_second, BYTES_BURST),
            new_peers: Tariff::with_burst(
                u64::from(limits.new_peers_per_second),
                limits.permissions_per_allocation as u64,
            ),
            tokens: random.next_u64(),
            shard: shard.0 as u8,
            draining: false,
        }
    }

    pub(crate) fn set(&mut self, settings: &TurnSettings) {
        self.credentials.set(settings);
        self.policy.set_control_ports(&settings.ports);
    }

    /// An open port is none after all.
    fn socket_failed(&mut self, number: u16, counters: &mut Counters) {
        let owner = self.ports.owner(number).and_then(|key| self.allocations.get_mut(key));
        let Some(relayed) = owner.and_then(|allocation| {
            allocation.relayed.iter_mut().flatten().find(|relayed| relayed.socket == Socket::Open(number))
        }) else {
            return;
        };
        relayed.socket = Socket::Failed;
        self.ports.close(number);
        counters.turn_ports -= 1;
        counters.turn_ports_failed += 1;
    }

    fn unix_seconds(&self, now: Time) -> u64 {
        let (seconds, at) = self.unix;
        seconds.saturating_add(now.since(at).as_secs())
    }

    /// Of a reservation.
    fn reservation_token(&mut self) -> [u8; 8] {
        let mut token = self.next_token();
        let [.., last] = &mut token;
        *last = self.shard;
        token
    }

    /// A token or a number of a connection: nobody can guess it who has not seen it.
    fn next_token(&mut self) -> [u8; 8] {
        self.tokens = self.tokens.wrapping_add(1);
        self.credentials.token(self.tokens)
    }

    /// Frees a relayed address; `listener` is whose it is if peers come by TCP.
    fn release(&mut self, relayed: &Relayed, listener: Option<Path>, cx: &mut Context<'_>) {
        if let Socket::Open(number) = relayed.socket {
            self.ports.close(number);
            cx.counters.turn_ports -= 1;
            cx.effects.extend(match (listener, self.ports.local(relayed.place)) {
                (None, _) => Some(Effect::ClosePort { local: local_of(number) }),
                (Some(client), Some(address)) => Some(Effect::Edge { client, task: EdgeTask::Unlisten { address } }),
                (Some(_), None) => None,
            });
        }
        self.ports.release(relayed.place);
    }
}

/// The socket of an open relay port.
fn local_of(number: u16) -> LocalSocket {
    LocalSocket(LocalSocket::FIRST_RELAY_PORT + number)
}

impl Turn {
    /// Takes what the edge, the driver and the clock say; other commands are not TURN's.
    pub(crate) fn handle_command(&mut self, command: EngineCommand, cx: &mut Context<'_>) {
        match command {
            EngineCommand::EdgeClosed { path } => self.client_gone(path, cx),
            EngineCommand::PortFailed { local } => {
                if let Some(number) = local.0.checked_sub(LocalSocket::FIRST_RELAY_PORT) {
                    self.socket_failed(number, cx.counters);
                }
            }
            EngineCommand::UnixTime { seconds } => self.unix = (seconds, cx.now),
            EngineCommand::HostAddresses(addresses) => self.policy.set_host_addresses(&addresses),
            // Allocations for people in rooms go on: who changes networks needs another one.
            EngineCommand::Drain => self.draining = true,
            EngineCommand::Edge(news) => self.edge_news(news, cx),
            EngineCommand::Control(_) | EngineCommand::Dtls { .. } => {}
        }
    }

    /// Does what is due for one of TURN's owners of timers.
    pub(crate) fn handle_timeout(&mut self, owner: TimerOwner, cx: &mut Context<'_>) {
        match owner {
            TimerOwner::Allocation(index) => self.expire_allocation(index, cx),
            TimerOwner::Reservation(index) => self.expire_reservation(index, cx),
            TimerOwner::Connection(index) => self.expire_connection(index, cx),
            TimerOwner::Participant(_) | TimerOwner::Room(_) => {}
        }
    }

    /// The allocation of a client.
    fn find(&self, client: Path) -> Option<Key<Allocation>> {
        self.clients.get(&client).copied()
    }

    /// The allocation is over: by its client, by time, or with its connection.
    fn remove_allocation(&mut self, key: Key<Allocation>, cx: &mut Context<'_>) {
        self.remove_connections(key, |_| true, cx);
        let Some(allocation) = self.allocations.remove(key) else { return };
        for relayed in allocation.relayed.iter().flatten() {
            self.release(relayed, allocation.tcp.then_some(allocation.client), cx);
        }
        self.clients.remove(&allocation.client);
        self.quotas.give_back(allocation.owner.scope, allocation.client.remote.ip());
        if let Some(count) = self.users.get_mut(&allocation.owner.id) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&allocation.owner.id);
            }
        }
        cx.timers.set(TimerOwner::allocation(key), Time::NEVER);
        cx.counters.turn_allocations -= 1;
    }

    /// One of the relayed addresses of an allocation is over, or both are.
    fn remove_family(&mut self, key: Key<Allocation>, family: Family, cx: &mut Context<'_>) {
        self.remove_connections(key, |connection| Family::of(&connection.peer) == family, cx);
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        let Some(relayed) = allocation.drop_family(family) else { return };
        let (expires, is_over) = (allocation.deadline(), allocation.relayed.iter().all(Option::is_none));
        let listener = allocation.tcp.then_some(allocation.client);
        self.release(&relayed, listener, cx);
        if is_over {
            self.remove_allocation(key, cx);
        } else {
            cx.timers.set(TimerOwner::allocation(key), expires);
        }
    }

    /// The time of an allocation, or of one of its relayed addresses, has come; or nobody may have used it for long.
    fn expire_allocation(&mut self, index: usize, cx: &mut Context<'_>) {
        let Some(key) = self.allocations.key_at(index) else { return };
        let Some(allocation) = self.allocations.get(key) else { return };
        let over = [Family::V4, Family::V6]
            .map(|family| allocation.relayed(family).filter(|relayed| relayed.expires <= cx.now).map(|_| family));
        if allocation.unused_at() <= cx.now && over.iter().all(Option::is_none) {
            cx.counters.turn_unused += 1;
            self.remove_allocation(key, cx);
            return;
        }
        // A permission since the timer was set may have put the end off.
        cx.timers.set(TimerOwner::allocation(key), allocation.deadline());
        for family in over.into_iter().flatten() {
            self.remove_family(key, family, cx);
        }
    }

    /// Nobody came for a reserved port.
    fn expire_reservation(&mut self, index: usize, cx: &mut Context<'_>) {
        if let Some(key) = self.reservations.key_at(index)
            && let Some(reservation) = self.reservations.remove(key)
        {
            self.ports.release(reservation.place);
            cx.counters.turn_reservations -= 1;
        }
    }

    /// Nobody is at this path any more: its connection is closed, or control has given it to somebody else.
    pub(crate) fn client_gone(&mut self, path: Path, cx: &mut Context<'_>) {
        if let Some(key) = self.find(path) {
            self.remove_allocation(key, cx);
        }
        self.data_connection_closed(path, cx);
    }
}

/// An answer on the path of its request, with FINGERPRINT where the request had one.
struct Answer<'a> {
    path: Path,
    method: Method,
    transaction_id: TransactionId,
    fingerprint: bool,
    integrity: Option<&'a IntegrityKey>,
}

impl<'a> Answer<'a> {
    fn to(message: &Message<'_>, path: Path, integrity: Option<&'a IntegrityKey>) -> Self {
        Self {
            path,
            method: message.method,
            transaction_id: message.transaction_id,
            fingerprint: message.has_fingerprint(),
            integrity,
        }
    }

    /// `room` is for what `fill` writes and all that follows. `false`: the batch is full.
    fn send(&self, tx: &mut TxBatch, room: usize, class: Class, fill: impl FnOnce(&mut MessageWriter<'_>)) -> bool {
        let written = self.write(tx, room, class, fill);
        tx.commit_if(written)
    }

    /// As [`Self::send`], but leaves it to the caller to commit: the length.
    fn write(
        &self,
        tx: &mut TxBatch,
        room: usize,
        class: Class,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Option<usize> {
        let buffer = tx.reserve(self.path, room)?;
        let mut writer = MessageWriter::new(buffer, class, self.method, self.transaction_id);
        fill(&mut writer);
        if let Some(integrity) = self.integrity {
            writer.integrity(integrity);
        }
        if self.fingerprint {
            writer.fingerprint();
        }
        writer.finish()
    }
}
