//! Whether the process at the other end of a link has died. QUIC learns that from silence alone, and a silent link may
//! be of a process whose media flows.

use plausch_relay_api::limits::{LINK_LOOK_MS, LINK_SILENCE_MS};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

/// The socket of the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address: SocketAddr::new(address.ip().to_canonical(), address.port()) }
    }

    /// Is `true` where the other end runs on this machine.
    pub fn is_local(self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Is `true` where the socket is closed for certain, and `false` where that cannot be told. The kernel says so of
    /// this machine's own sockets, by an ICMP message (RFC 1122, section 4.1.3.1), to whoever sends something there; what
    /// other machines say of a port is their firewalls' word.
    pub async fn is_closed(self) -> bool {
        if !self.is_local() {
            return false;
        }
        let ours: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        };
        let refused = async {
            let socket = UdpSocket::bind(ours).await?;
            socket.connect(self.address).await?;
            // Too short for any packet of QUIC.
            socket.send(&[0]).await?;
            socket.recv(&mut [0]).await
        };
        let answer = timeout(Duration::from_millis(LINK_LOOK_MS), refused).await;
        matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
    }
}

/// Looks after a connection from which nothing comes.
#[derive(Debug)]
pub struct Watch {
    connection: quinn::Connection,
    peer: Peer,
}

impl Watch {
    pub(crate) fn new(connection: quinn::Connection, peer: Peer) -> Self {
        Self { connection, peer }
    }

    /// Waits until nothing has come for `LINK_SILENCE_MS` and the other end's socket is closed. May be cancelled.
    pub async fn until_gone(&self) {
        let mut heard = (self.heard(), Instant::now());
        loop {
            sleep(Duration::from_millis(LINK_LOOK_MS)).await;
            if self.heard() != heard.0 {
                heard = (self.heard(), Instant::now());
            } else if heard.1.elapsed() >= Duration::from_millis(LINK_SILENCE_MS) && self.peer.is_closed().await {
                return;
            }
        }
    }

    /// Datagrams that came so far.
    fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }
}
