//! Moves datagrams between a shard's sockets and its engine.
//!
//! Three implementations of one small trait: [`uring`] is the default; [`mmsg`] serves where io_uring is forbidden,
//! as containers often do, and is the honest baseline to measure against; [`xdp`] goes past the kernel's UDP.

mod message;
pub mod mmsg;
mod ports;
#[cfg(test)]
mod slow_network;
mod socket;
#[cfg(test)]
mod tests;
pub mod uring;
mod waker;
pub mod xdp;

pub(crate) use socket::set_option;
pub use socket::{bind, bind_shared, latest_wait, received_buffer, share};
pub use waker::Waker;

use plausch_engine::{LocalSocket, RxPacket, TxBatch};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shard's sockets: `LocalSocket(i)` is the i-th.
pub type Sockets = Arc<[UdpSocket]>;

/// Owned by one shard thread and opened on it.
pub trait Driver: Sized {
    /// What it needs besides sockets.
    type Device;

    /// Takes the sockets over. They stay open when the driver is dropped, so that a restarted shard has them again.
    fn open(sockets: Sockets, waker: Waker, device: &Self::Device) -> io::Result<Self>;

    /// Waits until there are datagrams, somebody wakes the shard, or the time is over; then fills `rx`, which
    /// comes empty and with room for `limits::BATCH_PACKETS`.
    fn receive<'d>(&'d mut self, timeout: Option<Duration>, rx: &mut Vec<RxPacket<'d>>) -> io::Result<Received>;

    /// Sends everything in `tx`. When this returns, the kernel has taken or refused every datagram, and the batch
    /// may be used again. A refused datagram is a counted drop, as it would be in any router; but for sound the socket's
    /// buffer gets a little time to empty itself, `limits::SOUND_PATIENCE_MS` for all of a batch.
    fn send(&mut self, tx: &mut TxBatch) -> io::Result<()>;

    /// Opens a relay port: from now on `local` is this address. The number must be one for relay ports and free.
    fn open_port(&mut self, local: LocalSocket, address: SocketAddr) -> io::Result<()>;

    /// Closes a relay port. What it received and nobody has seen yet is lost; unknown ones are no error.
    fn close_port(&mut self, local: LocalSocket);

    /// What happened so far.
    fn counters(&self) -> DriverCounters;
}

/// What `receive` says besides the datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// There was no room for more, so there may be more.
    pub full: bool,
    /// When the first datagram was taken from its socket; `None`: by a way on which sockets know nothing of it.
    pub taken_at: Option<Instant>,
}

/// Numbers of a driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DriverCounters {
    /// Messages in which datagrams came: the engine's `received_packets` are more where the kernel joined some.
    pub received_messages: u64,
    /// Datagrams sent, and the messages in which they were.
    pub sent_packets: u64,
    pub sent_messages: u64,
    /// How often sound had to wait for the socket's send buffer.
    pub sound_waits: u64,
    /// Datagrams that did not fit into the socket's send buffer.
    pub drop_send_full: u64,
    /// Datagrams that the kernel refused otherwise: no route, larger than the path, forbidden by a filter.
    pub drop_send_refused: u64,
    /// Datagrams larger than `limits::DATAGRAM_BYTES`.
    pub drop_receive_oversized: u64,
    /// How often the receive buffers ran out, and other errors of receiving.
    pub receive_buffers_empty: u64,
    pub receive_errors: u64,
}

impl DriverCounters {
    /// Every number with its name.
    pub fn entries(&self) -> [(&'static str, u64); 9] {
        [
            ("received_messages", self.received_messages),
            ("sent_packets", self.sent_packets),
            ("sent_messages", self.sent_messages),
            ("sound_waits", self.sound_waits),
            ("drop_send_full", self.drop_send_full),
            ("drop_send_refused", self.drop_send_refused),
            ("drop_receive_oversized", self.drop_receive_oversized),
            ("receive_buffers_empty", self.receive_buffers_empty),
            ("receive_errors", self.receive_errors),
        ]
    }

    /// Both together.
    fn plus(&self, other: &Self) -> Self {
        Self {
            received_messages: self.received_messages + other.received_messages,
            sent_packets: self.sent_packets + other.sent_packets,
            sent_messages: self.sent_messages + other.sent_messages,
            sound_waits: self.sound_waits + other.sound_waits,
            drop_send_full: self.drop_send_full + other.drop_send_full,
            drop_send_refused: self.drop_send_refused + other.drop_send_refused,
            drop_receive_oversized: self.drop_receive_oversized + other.drop_receive_oversized,
            receive_buffers_empty: self.receive_buffers_empty + other.receive_buffers_empty,
            receive_errors: self.receive_errors + other.receive_errors,
        }
    }

    /// One message with so many datagrams.
    fn count_sent(&mut self, datagrams: u64) {
        self.sent_messages += 1;
        self.sent_packets += datagrams;
    }

    fn count_refused(&mut self, error: &io::Error, datagrams: u64) {
        match is_full(error) {
            true => self.drop_send_full += datagrams,
            false => self.drop_send_refused += datagrams,
        }
    }
}

/// Whether the network does not take more at the moment.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether a device or kernel refuses UDP_SEGMENT. EIO: no checksum offload, which segmentation needs (udp(7));
/// EINVAL and EMSGSIZE: the kernel does not know it, or the route's MTU is smaller than the segment.
fn segmentation_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// The empty vector with the memory of a used one, for the next batch with its other lifetime.
pub fn recycle<'next>(mut used: Vec<RxPacket<'_>>) -> Vec<RxPacket<'next>> {
    used.clear();
    // In-place collection: the standard library keeps the allocation, as the test below the driver counts.
    used.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}
