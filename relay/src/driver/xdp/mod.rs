//! The AF_XDP driver: datagrams for the shards' ports come from the device's queue and go into it as frames, past the
//! kernel's UDP, its routing and its queues. That is what makes sound cheap: one small packet to each destination, which
//! segmentation cannot help.
//!
//! Everything else stays with the kernel: other programs' traffic, ARP and routes, what comes by another device (loopback,
//! for example), and destinations whose neighbour is not known yet. A [`Mmsg`] driver inside serves those.

mod device;
mod frame;
mod hops;
mod pace;
mod program;
mod relay_ports;
#[cfg(test)]
mod tests;
mod umem;

pub use program::Steering;

use super::mmsg::Mmsg;
use super::{Driver, DriverCounters, Received, Sockets, Waker};
use crate::cpus::sleep_exactly;
use device::Description;
use frame::HEADER_BYTES;
use hops::Hops;
use pace::Pace;
use plausch_engine::{LocalSocket, Path, RxPacket, TxBatch, TxRun};
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES, XDP_RECEIVE_FRAMES, XDP_SEND_FRAMES, XDP_SOUND_FRAMES};
use program::Redirect;
use relay_ports::RelayPorts;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use umem::{FRAME_BYTES, XdpSocket};

/// Pause before frames are offered again for which the device's queue had no room.
const RETRY: Duration = Duration::from_millis(1);
const _: () = assert!(HEADER_BYTES + DATAGRAM_BYTES <= FRAME_BYTES);

/// A network device with the program on it.
#[derive(Debug)]
pub struct Device {
    redirect: Redirect,
    index: u32,
    mac: [u8; 6],
    /// Bytes of the largest IP packet.
    mtu: usize,
    name: String,
}

impl Device {
    /// Puts the program onto the device. Needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, or root. Fails where the device
    /// has a program already.
    pub fn attach(name: &str, steering: &Steering) -> io::Result<Self> {
        let Description { index, mac, mtu } = device::describe(name)?;
        let redirect = Redirect::attach(index, steering)?;
        Ok(Self { redirect, index, mac, mtu, name: name.to_owned() })
    }

    /// How many receive queues the device has, each of which can have one shard.
    pub fn queues(name: &str) -> io::Result<usize> {
        device::receive_queues(name)
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One receive queue of a device, for one shard.
#[derive(Clone, Debug)]
pub struct Queue {
    pub device: Arc<Device>,
    pub number: u32,
}

/// See the module.
pub struct Xdp {
    /// The program stays on it as long as somebody has it.
    device: Arc<Device>,
    socket: XdpSocket,
    /// What does not go by frames.
    kernel: Mmsg,
    /// By `LocalSocket`.
    addresses: Vec<SocketAddr>,
    relay_ports: RelayPorts,
    hops: Hops,
    pace: Pace,
    counters: DriverCounters,
}

impl Xdp {
    /// Whether the device reads and writes the frames itself, or the kernel copies them.
    pub fn is_zero_copy(&self) -> bool {
        self.socket.is_zero_copy()
    }

    /// Writes the datagrams of a run as frames. `false`: they must go by the kernel.
    fn send_frames(&mut self, tx: &TxBatch, run: &TxRun, now: Instant) -> bool {
        let Self { device, socket, addresses, relay_ports, hops, counters, .. } = self;
        if run.len == 0 {
            // Empty datagrams are rare enough for the kernel.
            return false;
        }
        let source = addresses.get(usize::from(run.path.local.0)).copied();
        let Some(source) = source.or_else(|| relay_ports.address(run.path.local)) else { return false };
        let Some(header) = hops.find(source, run.path.remote, now) else { return false };
        let kept_free = if run.sound { 0 } else { XDP_SOUND_FRAMES };
        for datagram in tx.bytes(run).chunks(run.segment) {
            if header.packet_bytes(datagram.len()) > device.mtu {
                counters.drop_send_refused += 1;
            } else if socket.transmit(kept_free, |frame| header.write(frame, datagram)) {
                counters.sent_packets += 1;
            } else {
                counters.drop_send_full += 1;
            }
        }
        true
    }
}

impl Driver for Xdp {
    type Device = Queue;

    fn open(sockets: Sockets, waker: Waker, queue: &Queue) -> io::Result<Self> {
        let (Queue { device, number }, relay_ports) = (queue.clone(), RelayPorts::new(queue.clone()));
        let socket = XdpSocket::open(device.index, number, XDP_RECEIVE_FRAMES, XDP_SEND_FRAMES)?;
        device.redirect.insert(number, socket.fd())?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
        let hops = Hops::new(device.index, device.mac)?;
        let kernel = Mmsg::open_beside(sockets, waker, socket.fd())?;
        let (pace, counters) = (Pace::new(Instant::now()), DriverCounters::default());
        Ok(Self { device, socket, kernel, addresses, relay_ports, hops, pace, counters })
    }

    fn receive<'d>(&'d mut self, timeout: Option<Duration>, rx: &mut Vec<RxPacket<'d>>) -> io::Result<Received> {
        self.socket.give_back();
        // What the device did not take is offered again, though nobody says when it would be taken.
        let timeout = match self.socket.flush() {
            true => timeout,
            false => Some(timeout.map_or(RETRY, |timeout| timeout.min(RETRY))),
        };
        if let Some(next_look) = self.pace.next_look() {
            let pause = next_look.saturating_duration_since(Instant::now());
            if !pause.is_zero() && timeout.is_none_or(|timeout| timeout > pause) {
                sleep_exactly(pause);
            }
        }
        self.kernel.wait(timeout)?;
        let woke_at = Instant::now();
        // Neither of the two may take all the room while the other has something.
        let share = if self.kernel.has_datagrams() { BATCH_PACKETS / 2 } else { BATCH_PACKETS };
        let Self { socket, kernel, addresses, relay_ports, counters, .. } = self;
        let mut taken = 0;
        for frame in socket.receive(share) {
            taken += 1;
            counters.received_messages += 1;
            let Some(received) = frame::parse(frame) else {
                counters.receive_errors += 1;
                continue;
            };
            let place = addresses.iter().position(|address| *address == received.destination);
            let local = place.map(|place| LocalSocket(place as u16));
            let Some(local) = local.or_else(|| relay_ports.find(received.destination)) else {
                counters.receive_errors += 1;
                continue;
            };
            if received.len > DATAGRAM_BYTES {
                counters.drop_receive_oversized += 1;
                continue;
            }
            let path = Path { local, remote: received.source };
            rx.push(RxPacket { path, data: &mut frame[received.start..][..received.len] });
        }
        self.pace.looked(woke_at, taken);
        let full = kernel.take(rx) | (taken == share);
        Ok(Received { full, taken_at: None })
    }

    fn send(&mut self, tx: &mut TxBatch) -> io::Result<()> {
        let now = Instant::now();
        self.kernel.begin_batch();
        let mut refused = false;
        for run in tx.runs() {
            if !self.send_frames(tx, run, now) {
                refused |= self.kernel.send_one(tx, run);
            }
        }
        self.socket.flush();
        self.counters.sent_messages += 1;
        if refused {
            tx.set_segmentation(false);
        }
        Ok(())
    }

    fn open_port(&mut self, local: LocalSocket, address: SocketAddr) -> io::Result<()> {
        self.kernel.open_port(local, address)?;
        self.relay_ports.open(local, address);
        Ok(())
    }

    fn close_port(&mut self, local: LocalSocket) {
        self.relay_ports.close(local);
        self.kernel.close_port(local);
    }

    fn counters(&self) -> DriverCounters {
        self.counters.plus(&self.kernel.counters())
    }
}
