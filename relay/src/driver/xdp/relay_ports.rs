//! The relay ports of a shard: whose datagrams come as frames, and from which address they are sent as such.

use super::Queue;
use plausch_engine::LocalSocket;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Open relay ports. Each is a socket of the kernel, too, which gets what does not come as frames.
pub(super) struct RelayPorts {
    queue: Queue,
    by_address: HashMap<SocketAddr, LocalSocket>,
    addresses: HashMap<LocalSocket, SocketAddr>,
}

impl RelayPorts {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, by_address: HashMap::new(), addresses: HashMap::new() }
    }

    pub(super) fn address(&self, local: LocalSocket) -> Option<SocketAddr> {
        self.addresses.get(&local).copied()
    }

    pub(super) fn find(&self, address: SocketAddr) -> Option<LocalSocket> {
        self.by_address.get(&address).copied()
    }

    pub(super) fn open(&mut self, local: LocalSocket, address: SocketAddr) {
        self.addresses.insert(local, address);
        self.by_address.insert(address, local);
        // Where the program cannot be told, datagrams come by the kernel.
        let _ = self.queue.device.redirect.open_port(address.port(), self.queue.number);
    }

    pub(super) fn close(&mut self, local: LocalSocket) {
        if let Some(address) = self.addresses.remove(&local) {
            self.by_address.remove(&address);
            // Frames of a port that is nobody's are dropped and counted.
            let _ = self.queue.device.redirect.close_port(address.port(), self.queue.number);
        }
    }
}

/// The program outlives a shard that starts again without any of its ports.
impl Drop for RelayPorts {
    fn drop(&mut self) {
        for address in self.addresses.values() {
            let _ = self.queue.device.redirect.close_port(address.port(), self.queue.number);
        }
    }
}
