//! What TURN is made with.

use crate::batch::LocalSocket;
use plausch_relay_api::{ShardId, TurnSecret, limits};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// See the module. All shards of a process have the same, but for `media[..].here`, `relay_ports`
/// and `neighbours`.
#[derive(Clone)]
pub struct TurnConfig {
    /// At most `limits::TURN_REALM_BYTES`; it is in every challenge.
    pub realm: String,
    /// From a good source of randomness, the same for all shards of a process: nonces of one are valid with all.
    pub nonce_key: [u8; 32],
    /// Unix time when the engine is made; corrected by [`crate::EngineCommand::UnixTime`].
    pub unix_seconds: u64,
    /// Users with a password of their own.
    pub users: Vec<StaticUser>,
    /// Secrets of time-limited users of other programs: `expiry` or `expiry:anything`, the password is the base64 of
    /// HMAC-SHA1(secret, user name).
    pub shared_secrets: Vec<TurnSecret>,
    /// The addresses at which browsers are told to reach media, of all shards of the process: local ones and announced ones.
    pub media: Vec<MediaAddress>,
    /// All addresses of this host.
    pub host_addresses: Vec<IpAddr>,
    /// Peers that are allowed though their range is not.
    pub allow_peers: Vec<Prefix>,
    /// The addresses with relay ports: best first, and at most `limits::LOCAL_ADDRESSES`.
    pub relay: Vec<RelayAddress>,
    /// This shard's part of the ports, on each of `relay`.
    pub relay_ports: RangeInclusive<u16>,
    /// The parts of the other shards: their allocations can be peers of this one's.
    pub neighbours: Vec<Neighbour>,
    /// RFC 5780: two addresses × two ports, of which each address and each port differs: `[A1 P1, A1 P2, A2 P1, A2 P2]`.
    pub nat_discovery: Option<[DiscoverySocket; 4]>,
    /// RFC 6062. `None`: no TCP allocations.
    pub tcp: Option<TcpAllocations>,
    pub limits: TurnLimits,
}

/// What TCP allocations are granted with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpAllocations {
    /// TCP ports of our own on this host: no client connects there, whatever else is allowed. Control adds its own
    /// ([`plausch_relay_api::TurnSettings`]).
    pub own_ports: Vec<u16>,
    /// Connections of peers on this shard, those under way among them.
    pub connections: usize,
    pub connections_per_allocation: usize,
    pub connections_per_user: usize,
}

/// A user of the configuration.
#[derive(Clone)]
pub struct StaticUser {
    pub name: String,
    pub password: String,
}

/// An address at which media is to be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaAddress {
    pub address: SocketAddr,
    /// Of this shard: TURN clients reach it in memory.
    pub here: bool,
}

/// Another shard of the same relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    pub shard: ShardId,
    /// Its part of the relay ports.
    pub relay_ports: RangeInclusive<u16>,
}

/// An address with relay ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayAddress {
    /// Where the socket is opened.
    pub local: IpAddr,
    /// What clients are told: another one behind NAT, of the same family.
    pub announced: IpAddr,
}

/// One of our sockets as clients see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiscoverySocket {
    pub local: LocalSocket,
    pub address: SocketAddr,
}

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    pub address: IpAddr,
    /// Bits that count: at most 32 or 128.
    pub bits: u8,
}

/// Limits that an operator may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnLimits {
    /// Of this shard.
    pub allocations: usize,
    pub allocations_per_user: usize,
    /// Allocations of all clients with one address: a /32 or /64.
    pub allocations_per_address: usize,
    /// Allocations of one network: a /24 or /56.
    pub allocations_per_network: usize,
    /// Allocations of one site: a /48.
    pub allocations_per_site: usize,
    /// Open relay ports of this shard.
    pub open_ports: usize,
    pub permissions_per_allocation: usize,
    pub channels_per_allocation: usize,
    /// Of one allocation, both directions together.
    pub bytes_per_second: u64,
    /// Of one allocation: addresses that it has no permission for at the time.
    pub new_peers_per_second: u32,
    /// How long an allocation may be without a permission.
    pub unused: Duration,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            allocations: limits::TURN_ALLOCATIONS_PER_SHARD,
            allocations_per_user: limits::TURN_ALLOCATIONS_PER_USER,
            allocations_per_address: limits::TURN_ALLOCATIONS_PER_ADDRESS,
            allocations_per_network: limits::TURN_ALLOCATIONS_PER_NETWORK,
            allocations_per_site: limits::TURN_ALLOCATIONS_PER_SITE,
            open_ports: limits::TURN_OPEN_PORTS_PER_SHARD,
            permissions_per_allocation: limits::TURN_PERMISSIONS_PER_ALLOCATION,
            channels_per_allocation: limits::TURN_CHANNELS_PER_ALLOCATION,
            bytes_per_second: limits::TURN_BYTES_PER_SECOND,
            new_peers_per_second: limits::TURN_NEW_PEERS_PER_SECOND,
            unused: Duration::from_millis(limits::TURN_UNUSED_MS),
        }
    }
}

impl fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnConfig")
            .field("realm", &self.realm)
            .field("relay_ports", &self.relay_ports)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StaticUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticUser").finish_non_exhaustive()
    }
}
