//! The sockets of a driver by their number: those that it was opened with, and relay ports that come and go.

use super::Sockets;
use super::socket::{bind_relay_port, receive_joined};
use plausch_engine::LocalSocket;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

pub(super) struct Ports {
    sockets: Sockets,
    /// By number less `LocalSocket::FIRST_RELAY_PORT`; as long as the largest number needed so far.
    relay: Vec<Option<RelayPort>>,
    opened: u16,
}

pub(super) struct RelayPort {
    pub(super) socket: UdpSocket,
    /// Differs from that of the port which had the number before, so that what is still to come of that one is known.
    pub(super) generation: u16,
}

impl Ports {
    pub(super) fn new(sockets: Sockets) -> Self {
        sockets.iter().for_each(receive_joined);
        Self { sockets, relay: Vec::new(), opened: 0 }
    }

    /// How many sockets there are besides relay ports.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// `None`: there is no such socket, or not any more.
    pub(super) fn fd(&self, local: LocalSocket) -> Option<RawFd> {
        match self.sockets.get(usize::from(local.0)) {
            Some(socket) => Some(socket.as_raw_fd()),
            None => Some(self.relay_port(local)?.socket.as_raw_fd()),
        }
    }

    pub(super) fn relay_port(&self, local: LocalSocket) -> Option<&RelayPort> {
        self.relay.get(place(local)?)?.as_ref()
    }

    /// Binds a relay port; the number must be free.
    pub(super) fn open(&mut self, local: LocalSocket, address: SocketAddr) -> io::Result<&RelayPort> {
        let place = place(local).ok_or(io::ErrorKind::InvalidInput)?;
        if self.relay.len() <= place {
            self.relay.resize_with(place + 1, || None);
        }
        let slot = &mut self.relay[place];
        if slot.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let socket = bind_relay_port(address)?;
        receive_joined(&socket);
        self.opened = self.opened.wrapping_add(1);
        Ok(slot.insert(RelayPort { socket, generation: self.opened }))
    }

    /// Takes a relay port out.
    pub(super) fn close(&mut self, local: LocalSocket) -> Option<RelayPort> {
        self.relay.get_mut(place(local)?)?.take()
    }
}

fn place(local: LocalSocket) -> Option<usize> {
    local.is_relay_port().then(|| usize::from(local.0 - LocalSocket::FIRST_RELAY_PORT))
}
