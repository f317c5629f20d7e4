//! What a shard publishes of itself, for metrics and for the hub.

use crate::driver::DriverCounters;
use plausch_engine::Counters;
use std::time::Duration;

/// What others may know of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    pub engine: Counters,
    pub driver: DriverCounters,
    /// Time outside the wait.
    pub busy: Duration,
    pub restarts: u64,
    /// DTLS datagrams that the handshake thread's ring had no room for.
    pub drop_handshake_ring: u64,
    /// Packets to TCP clients that the edge's ring had no room for.
    pub drop_edge_ring: u64,
    /// Packets to other shards that these had no room for.
    pub drop_neighbour: u64,
    /// Relay ports that could not be opened.
    pub relay_port_failures: u64,
}
