//! The data of TURN's clients and their peers: nothing is remembered, nothing allocated, and nothing relayed without a
//! permission.

use super::allocation::{Allocation, Socket};
use super::policy::{Permit, Scope, Way, canonical};
use super::ports::Family;
use super::{Context, Turn, local_of};
use crate::batch::{CHANNEL_HEADER_LEN, LocalSocket, Path, TxBatch};
use crate::counters::Counters;
use crate::random::Random;
use crate::slab::Key;
use crate::stun::{AttributeType, Class, Message, MessageWriter, Method, TransactionId};
use crate::time::Time;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// What a Data indication has besides the data: header, XOR-PEER-ADDRESS for IPv6, the head of DATA and its padding.
const INDICATION_BYTES: usize = 20 + 24 + 4 + 3;

/// In front of what is handed to another shard: family, address and port of the relayed address that it is from.
const SOURCE_BYTES: usize = 1 + 16 + 2;

/// A packet within one of TURN's, for this shard.
pub(crate) struct Inner {
    /// The relayed address is where it comes from.
    pub path: Path,
    pub range: Range<usize>,
}

/// Where a client's data goes.
enum Exit {
    Inner(Path),
    Port(Path),
    /// To another client, from this relayed address.
    Client {
        from: SocketAddr,
        way: Way,
    },
}

impl Turn {
    /// ChannelData of a client (RFC 8656, section 12.6).
    pub(crate) fn receive_channel_data(&mut self, path: Path, datagram: &[u8], cx: &mut Context<'_>) -> Option<Inner> {
        let Context { now, counters, tx, .. } = cx;
        let now = *now;
        let Some(key) = self.find(path) else {
            counters.drop_turn_channel += 1;
            return None;
        };
        let &[n0, n1, l0, l1, ..] = datagram else {
            counters.drop_turn_malformed += 1;
            return None;
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        // Datagrams may be padded.
        let range = CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + len;
        let Some(data) = datagram.get(range.clone()) else {
            counters.drop_turn_malformed += 1;
            return None;
        };
        let Self { allocations, ports, bytes, .. } = self;
        let allocation = allocations.get_mut(key)?;
        let Some(&channel) = allocation.channel(u16::from_be_bytes([n0, n1]), now) else {
            counters.drop_turn_channel += 1;
            return None;
        };
        if allocation.permit(channel.peer.ip(), now).is_none() {
            counters.drop_turn_no_permission += 1;
            return None;
        }
        if !allocation.bytes.admit(*bytes, len as u64, now) {
            counters.drop_turn_bandwidth += 1;
            return None;
        }
        let relayed = allocation.relayed(Family::of(&channel.peer))?;
        match (channel.way, relayed.socket) {
            (Way::Inner(place), _) => {
                counters.turn_inner_received += 1;
                let path = Path { local: LocalSocket::inner(place), remote: ports.announced(relayed.place) };
                Some(Inner { path, range })
            }
            (Way::Port, Socket::Open(number)) => {
                let path = Path { local: local_of(number), remote: channel.peer };
                count_sent(counters, tx.push(path, data));
                None
            }
            (Way::Port, Socket::Closed | Socket::Failed) => {
                counters.drop_turn_no_port += 1;
                None
            }
            (way @ (Way::Relayed | Way::Neighbour(_)), _) => {
                let from = ports.announced(relayed.place);
                self.hand_over(from, channel.peer, way, data, cx);
                None
            }
        }
    }

    /// A Send indication of a client (RFC 8656, section 11.2).
    pub(super) fn receive_send(&mut self, path: Path, message: &Message<'_>, cx: &mut Context<'_>) -> Option<Inner> {
        let Some(key) = self.find(path) else {
            cx.counters.drop_turn_no_allocation += 1;
            return None;
        };
        let known = [AttributeType::XOR_PEER_ADDRESS, AttributeType::DATA, AttributeType::DONT_FRAGMENT];
        let peer = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).next().flatten().map(canonical);
        let data = message.attribute(AttributeType::DATA);
        let (Some(peer), Some(data)) = (peer, data.filter(|_| message.unknown_required(&known).is_empty())) else {
            cx.counters.drop_turn_malformed += 1;
            return None;
        };
        let exit = self.exit(key, peer, data.len(), cx)?;
        match exit {
            Exit::Inner(path) => {
                cx.counters.turn_inner_received += 1;
                Some(Inner { path, range: message.value_range(AttributeType::DATA)? })
            }
            Exit::Port(path) => {
                count_sent(cx.counters, cx.tx.push(path, data));
                None
            }
            Exit::Client { from, way } => {
                self.hand_over(from, peer, way, data, cx);
                None
            }
        }
    }

    fn exit(&mut self, key: Key<Allocation>, peer: SocketAddr, len: usize, cx: &mut Context<'_>) -> Option<Exit> {
        let now = cx.now;
        let tariff = self.bytes;
        let allocation = self.allocations.get_mut(key)?;
        if allocation.tcp {
            cx.counters.drop_turn_malformed += 1;
            return None;
        }
        if allocation.permit(peer.ip(), now).is_none() {
            cx.counters.drop_turn_no_permission += 1;
            return None;
        }
        let Some(way) = self.policy.way(allocation.owner.scope, peer) else {
            cx.counters.drop_turn_forbidden_peer += 1;
            return None;
        };
        if !allocation.bytes.admit(tariff, len as u64, now) {
            cx.counters.drop_turn_bandwidth += 1;
            return None;
        }
        let relayed = *allocation.relayed(Family::of(&peer))?;
        match (way, relayed.socket) {
            (Way::Inner(place), _) => Some(Exit::Inner(Path {
                local: LocalSocket::inner(place),
                remote: self.ports.announced(relayed.place),
            })),
            (Way::Port, Socket::Open(number)) => Some(Exit::Port(Path { local: local_of(number), remote: peer })),
            (Way::Relayed | Way::Neighbour(_), _) => {
                Some(Exit::Client { from: self.ports.announced(relayed.place), way })
            }
            (Way::Port, socket) => {
                cx.counters.drop_turn_no_port += 1;
                // The permission was for all media of ours at that address: now it shows that this is another shard.
                if socket == Socket::Closed {
                    let _ = self.open_port(key, Family::of(&peer), cx);
                }
                None
            }
        }
    }

    /// Gives a packet to another client of this relay, from and to relayed addresses. It never leaves the process, so that
    /// behind NAT it needs no way back, and no port of this host is reached but those of allocations.
    fn hand_over(&mut self, from: SocketAddr, to: SocketAddr, way: Way, data: &[u8], cx: &mut Context<'_>) {
        let Way::Neighbour(shard) = way else { return self.relay_between_clients(from, to, data, cx) };
        let path = Path { local: LocalSocket::neighbour(shard), remote: to };
        let written = cx.tx.reserve(path, SOURCE_BYTES + data.len()).and_then(|buffer| {
            let (source, rest) = buffer.split_first_chunk_mut::<SOURCE_BYTES>()?;
            *source = encode_source(from);
            rest.get_mut(..data.len())?.copy_from_slice(data);
            Some(SOURCE_BYTES + data.len())
        });
        if cx.tx.commit_if(written) {
            cx.tx.mark_neighbour();
        } else {
            cx.counters.drop_tx_full += 1;
        }
    }

    /// A packet that a client of another shard, or of this one, has sent to a relayed address of this shard.
    fn relay_between_clients(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8], cx: &mut Context<'_>) {
        let Context { now, counters, random, tx, .. } = cx;
        let now = *now;
        let allocation = self.ports.holder_of(to).and_then(|key| self.allocations.get_mut(key));
        let Some(allocation) = allocation else {
            counters.drop_turn_no_allocation += 1;
            return;
        };
        // Who was let in for media only has a permission for our media at the same address.
        let permitted = allocation.owner.scope == Scope::Peers && allocation.permit(from.ip(), now).is_some();
        if !permitted || allocation.tcp {
            counters.drop_turn_no_permission += 1;
            return;
        }
        if !allocation.bytes.admit(self.bytes, data.len() as u64, now) {
            counters.drop_turn_bandwidth += 1;
            return;
        }
        let sent = send_to_client(allocation, from, data, now, random, tx);
        counters.turn_between_clients += u64::from(sent);
        counters.drop_tx_full += u64::from(!sent);
    }

    /// A datagram of a peer at a relay port (RFC 8656, sections 11.3 and 12.7).
    pub(crate) fn receive_from_peer(&mut self, path: Path, datagram: &[u8], cx: &mut Context<'_>) {
        if !path.local.is_relay_port() {
            match datagram.split_first_chunk::<SOURCE_BYTES>() {
                Some((source, data)) => self.relay_between_clients(decode_source(*source), path.remote, data, cx),
                None => cx.counters.drop_turn_malformed += 1,
            }
            return;
        }
        let Self { allocations, ports, policy, bytes, .. } = self;
        let Context { now, counters, random, tx, .. } = cx;
        let now = *now;
        let number = path.local.0 - LocalSocket::FIRST_RELAY_PORT;
        let peer = canonical(path.remote);
        let Some(allocation) = ports.owner(number).and_then(|key| allocations.get_mut(key)) else {
            counters.drop_turn_no_allocation += 1;
            return;
        };
        let permitted = match allocation.permit(peer.ip(), now) {
            Some(Permit::All) => true,
            Some(Permit::Own) => policy.is_media(peer),
            None => false,
        };
        if !permitted {
            counters.drop_turn_no_permission += 1;
            return;
        }
        if !allocation.bytes.admit(*bytes, datagram.len() as u64, now) {
            counters.drop_turn_bandwidth += 1;
            return;
        }
        let sent = send_to_client(allocation, peer, datagram, now, random, tx);
        counters.turn_from_peers += u64::from(sent);
        counters.drop_tx_full += u64::from(!sent);
    }

    /// Gives what the shard has sent to relayed addresses of its own to their clients: in place where a channel is
    /// bound, so that runs stay runs.
    pub(crate) fn wrap_inner(&mut self, cx: &mut Context<'_>) {
        let Context { now, counters, random, tx, .. } = cx;
        for index in 0..tx.runs().len() {
            let Some(&run) = tx.runs().get(index) else { break };
            let Some(place) = run.path.local.inner_place() else { continue };
            let datagrams = run.datagrams() as u64;
            match self.way_to_client(run.path.remote, place, run.len, *now) {
                Ok(ToClient { client, channel: Some(number), .. }) => {
                    tx.wrap(index, client, number);
                    counters.turn_inner_sent += datagrams;
                }
                Ok(ToClient { client, peer, channel: None }) => {
                    for nth in 0..run.datagrams() {
                        let sent = tx.copy_inner(index, nth, client, INDICATION_BYTES, |datagram, buffer| {
                            write_indication(buffer, peer, datagram, random)
                        });
                        counters.turn_inner_sent += u64::from(sent);
                        counters.drop_tx_full += u64::from(!sent);
                    }
                    tx.take_back(index);
                }
                Err(obstacle) => {
                    *obstacle.counter(counters) += datagrams;
                    tx.take_back(index);
                }
            }
        }
        tx.forget_inner();
    }
}

/// Where a packet for a relayed address goes.
struct ToClient {
    client: Path,
    /// Our media address from which it comes.
    peer: SocketAddr,
    channel: Option<u16>,
}

/// Why it goes nowhere.
enum Obstacle {
    Gone,
    NoPermission,
    Bandwidth,
}

impl Obstacle {
    fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Self::Gone => &mut counters.drop_turn_no_allocation,
            Self::NoPermission => &mut counters.drop_turn_no_permission,
            Self::Bandwidth => &mut counters.drop_turn_bandwidth,
        }
    }
}

impl Turn {
    fn way_to_client(
        &mut self,
        relayed: SocketAddr,
        inner_place: usize,
        len: usize,
        now: Time,
    ) -> Result<ToClient, Obstacle> {
        let peer = self.policy.inner(inner_place).ok_or(Obstacle::Gone)?;
        let allocation = self.ports.holder_of(relayed).and_then(|key| self.allocations.get_mut(key));
        let allocation = allocation.ok_or(Obstacle::Gone)?;
        // The peer is a media address of ours: both kinds of permission are for that.
        if allocation.permit(peer.ip(), now).is_none() {
            return Err(Obstacle::NoPermission);
        }
        if !allocation.bytes.admit(self.bytes, len as u64, now) {
            return Err(Obstacle::Bandwidth);
        }
        Ok(ToClient { client: allocation.client, peer, channel: allocation.channel_of(peer, now) })
    }
}

/// Sends a client what a peer has sent to its relayed address. `false`: the batch is full.
#[inline]
fn send_to_client(
    allocation: &Allocation,
    peer: SocketAddr,
    data: &[u8],
    now: Time,
    random: &mut Random,
    tx: &mut TxBatch,
) -> bool {
    let channel = allocation.channel_of(peer, now);
    let more = if channel.is_some() { CHANNEL_HEADER_LEN } else { INDICATION_BYTES };
    let written = tx.reserve(allocation.client, more + data.len()).and_then(|buffer| match channel {
        Some(number) => write_channel_data(buffer, number, data),
        None => write_indication(buffer, peer, data, random),
    });
    tx.commit_if(written)
}

fn encode_source(address: SocketAddr) -> [u8; SOURCE_BYTES] {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (4, ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => (6, ip),
    };
    let mut source = [family; SOURCE_BYTES];
    let bytes = ip.octets().into_iter().chain(address.port().to_be_bytes());
    source.iter_mut().skip(1).zip(bytes).for_each(|(to, from)| *to = from);
    source
}

fn decode_source([family, ip @ .., p0, p1]: [u8; SOURCE_BYTES]) -> SocketAddr {
    let ip = Ipv6Addr::from(ip);
    let ip = if family == 4 { IpAddr::V6(ip).to_canonical() } else { ip.into() };
    SocketAddr::new(ip, u16::from_be_bytes([p0, p1]))
}

fn count_sent(counters: &mut Counters, sent: bool) {
    counters.turn_to_peers += u64::from(sent);
    counters.drop_tx_full += u64::from(!sent);
}

fn write_channel_data(buffer: &mut [u8], number: u16, data: &[u8]) -> Option<usize> {
    let (header, rest) = buffer.split_first_chunk_mut::<CHANNEL_HEADER_LEN>()?;
    let ([n0, n1], [l0, l1]) = (number.to_be_bytes(), u16::try_from(data.len()).ok()?.to_be_bytes());
    *header = [n0, n1, l0, l1];
    rest.get_mut(..data.len())?.copy_from_slice(data);
    Some(CHANNEL_HEADER_LEN + data.len())
}

fn write_indication(buffer: &mut [u8], peer: SocketAddr, data: &[u8], random: &mut Random) -> Option<usize> {
    let (a, b) = (random.next_u64().to_be_bytes(), random.next_u32().to_be_bytes());
    let mut id = [0; 12];
    let (first, second) = id.split_at_mut(8);
    first.copy_from_slice(&a);
    second.copy_from_slice(&b);
    MessageWriter::new(buffer, Class::Indication, Method::DATA, TransactionId(id))
        .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        .attribute(AttributeType::DATA, data)
        .finish()
}
