//! Numbers of all edge threads together.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident = $metric:literal;)+) => {
        /// See the module.
        #[derive(Debug, Default)]
        pub struct EdgeCounters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl EdgeCounters {
            /// Every number: its kind, its name with labels, and itself.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($kind), $metric, self.$name.load(Ordering::Relaxed)),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Connections of all kinds.
    gauge connections = "edge_connections";
    /// Of these, TURN clients.
    gauge clients = "edge_turn_clients";
    /// Of these, web pages and signalling.
    gauge web = "edge_web_connections";
    /// Of TURN clients, those that are bound to a peer's.
    gauge spliced = "edge_spliced_connections";
    /// Connections that were taken.
    counter accepted = "edge_accepted_total";
    /// Messages of TURN clients to the shards.
    counter received = "edge_received_total";
    /// Messages of the shards to them.
    counter sent = "edge_sent_total";
    /// Bytes of TURN clients to peers by TCP, and of peers to them.
    counter bytes_to_peers = "edge_spliced_bytes_total{to=\"peer\"}";
    /// See above.
    counter bytes_from_peers = "edge_spliced_bytes_total{to=\"client\"}";
    /// Connections refused because there are too many.
    counter refused_connections = "edge_refused_total{reason=\"connections\"}";
    /// Connections refused because their network has too many.
    counter refused_prefix = "edge_refused_total{reason=\"prefix\"}";
    /// A second connection of one client address to one port.
    counter refused_twin = "edge_refused_total{reason=\"twin\"}";
    /// Peers that connect faster than they are judged.
    counter refused_peers = "edge_refused_total{reason=\"peers\"}";
    /// Whoever answered on control's socket was not control.
    counter refused_impostor = "edge_refused_total{reason=\"impostor\"}";
    /// TLS that failed: no certificate yet, or no TLS at all.
    counter closed_handshake = "edge_closed_total{reason=\"handshake\"}";
    /// Nothing was said in time.
    counter closed_silent = "edge_closed_total{reason=\"silent\"}";
    /// No allocation was made in time.
    counter closed_unallocated = "edge_closed_total{reason=\"unallocated\"}";
    /// Bytes that are not STUN or ChannelData.
    counter closed_not_turn = "edge_closed_total{reason=\"not_turn\"}";
    /// Web pages while control is away.
    counter closed_no_control = "edge_closed_total{reason=\"no_control\"}";
    /// Strangers whose place somebody else has.
    counter closed_evicted = "edge_closed_total{reason=\"evicted\"}";
    /// Messages larger than may be.
    counter drop_oversized = "edge_drop_total{reason=\"oversized\"}";
    /// Messages that the ring to a shard had no room for.
    counter drop_to_shard = "edge_drop_total{reason=\"to_shard\"}";
    /// Large messages to a client that reads slowly.
    counter drop_slow_large = "edge_drop_total{reason=\"slow_large\"}";
    /// Messages to a client that does not read.
    counter drop_slow = "edge_drop_total{reason=\"slow\"}";
    /// Messages to a client that has gone.
    counter drop_gone = "edge_drop_total{reason=\"gone\"}";
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts a gauge up while it lives.
pub(super) struct Gauge<'c>(&'c AtomicU64);

impl<'c> Gauge<'c> {
    pub(super) fn up(counter: &'c AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
