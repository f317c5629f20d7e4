//! A TURN allocation that is used like a socket: how a participant's media goes through TURN.

use super::allocation::Allocation;
use super::datagrams::Datagrams;
use super::error::TurnError;
use super::leg::{Leg, Transport};
use super::message::{FIRST_CHANNEL, Inbound, Request, channel_head, classify};
use super::user::{User, Users};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::task::spawn_blocking;

/// Candidates that get a channel; a server has one for each of its addresses.
const CHANNELS: usize = 16;
/// ChannelData of one packet.
const FRAME_BYTES: usize = 2048;
const HEAD_BYTES: usize = 4;

/// A TURN server for participants, and whom it knows.
#[derive(Clone, Debug)]
pub struct TurnServer {
    address: SocketAddr,
    users: Users,
}

impl TurnServer {
    pub fn new(address: SocketAddr, user: String, password: String) -> Self {
        Self { address, users: Users::One(User::new(user, password)) }
    }
}

/// One participant's allocation. Its permissions and channels are not refreshed: it lasts for five minutes.
pub struct RelayedSocket {
    /// Connected to the server.
    socket: UdpSocket,
    /// Peers and their channels.
    channels: Vec<(SocketAddr, u16)>,
}

impl RelayedSocket {
    /// Makes an allocation by UDP and a channel to each peer that the server allows.
    pub async fn open(server: &TurnServer, peers: &[SocketAddr]) -> Result<Self, TurnError> {
        let (server, peers) = (server.clone(), peers.to_vec());
        let made = spawn_blocking(move || make(&server, &peers)).await;
        let (allocation, channels) = made.map_err(|error| TurnError::Socket(error.to_string()))??;
        let Leg::Udp(socket) = allocation.leg else {
            return Err(TurnError::Socket("media goes by UDP only".to_owned()));
        };
        let socket = UdpSocket::from_std(socket).map_err(|error| TurnError::Socket(error.to_string()))?;
        // `try_send` knows that the socket can be written only after having waited for it once.
        let _ = socket.writable().await;
        Ok(Self { socket, channels })
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// # Errors
    /// What the socket says; `AddrNotAvailable` for a peer without a channel.
    pub fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let channel = self.channels.iter().find(|(peer, _)| *peer == to).ok_or(ErrorKind::AddrNotAvailable)?;
        let mut frame = [0; FRAME_BYTES];
        let whole = frame.get_mut(..HEAD_BYTES + datagram.len()).ok_or(ErrorKind::InvalidInput)?;
        whole[..HEAD_BYTES].copy_from_slice(&channel_head(channel.1, datagram.len()));
        whole[HEAD_BYTES..].copy_from_slice(datagram);
        self.socket.try_send(whole).map(|_| ())
    }

    /// The next datagram of a peer; whatever else the server sends is passed over.
    pub fn try_recv_from(&self, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut frame = [0; FRAME_BYTES];
        loop {
            let len = self.socket.try_recv(&mut frame)?;
            if let Inbound::Channel { channel, payload } = classify(&frame[..len])
                && let Some((peer, _)) = self.channels.iter().find(|(_, bound)| *bound == channel)
                && let Some(room) = bytes.get_mut(..payload.len())
            {
                room.copy_from_slice(payload);
                return Ok((payload.len(), *peer));
            }
        }
    }
}

fn make(server: &TurnServer, peers: &[SocketAddr]) -> Result<(Allocation, Vec<(SocketAddr, u16)>), TurnError> {
    let mut datagrams = Datagrams::new();
    let user = server.users.of(0);
    let mut allocation = Allocation::make(Transport::Udp, server.address, None, &user, &mut datagrams)?;
    allocation.leg.enlarge();
    let mut channels = Vec::new();
    let mut refused = None;
    let reachable = peers.iter().filter(|peer| peer.is_ipv4() == server.address.is_ipv4());
    for (&peer, channel) in reachable.take(CHANNELS).zip(FIRST_CHANNEL..) {
        match allocation.ask(Transport::Udp, Request::ChannelBind { channel, peer }, &mut datagrams) {
            Ok(()) => channels.push((peer, channel)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if channels.is_empty() => Err(error),
        _ => Ok((allocation, channels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::timeout;
    use turn::auth::{AuthHandler, generate_auth_key};
    use turn::relay::relay_static::RelayAddressGeneratorStatic;
    use turn::server::Server;
    use turn::server::config::{ConnConfig, ServerConfig};
    use webrtc_util::vnet::net::Net;

    struct OneUser;

    impl AuthHandler for OneUser {
        fn auth_handle(&self, user: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
            Ok(generate_auth_key(user, realm, "geheim"))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn datagrams_go_to_and_from_each_peer_through_the_server() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let relay_addr_generator = Box::new(RelayAddressGeneratorStatic {
            relay_address: Ipv4Addr::LOCALHOST.into(),
            address: "127.0.0.1".to_owned(),
            net: Arc::new(Net::new(None)),
        });
        let config = ServerConfig {
            conn_configs: vec![ConnConfig { conn: Arc::new(socket), relay_addr_generator }],
            realm: "webrtc.rs".to_owned(),
            auth_handler: Arc::new(OneUser),
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        let _server = Server::new(config).await.unwrap();
        let peers = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let addresses = peers.each_ref().map(|peer| peer.local_addr().unwrap());
        let server = TurnServer::new(address, "robi".to_owned(), "geheim".to_owned());
        let relayed = RelayedSocket::open(&server, &addresses).await.unwrap();
        for (peer, address) in peers.iter().zip(addresses) {
            relayed.try_send_to(b"there", address).unwrap();
            let mut bytes = [0; 16];
            let (len, from) = timeout(Duration::from_secs(5), peer.recv_from(&mut bytes)).await.unwrap().unwrap();
            assert_eq!(&bytes[..len], b"there");
            assert_ne!(from, relayed.socket.local_addr().unwrap());
            peer.send_to(b"and back", from).await.unwrap();
            let back = async {
                loop {
                    relayed.readable().await.unwrap();
                    if let Ok(received) = relayed.try_recv_from(&mut bytes) {
                        return received;
                    }
                }
            };
            assert_eq!(timeout(Duration::from_secs(5), back).await.unwrap(), (8, address));
            assert_eq!(&bytes[..8], b"and back");
        }
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(relayed.try_send_to(b"x", stranger).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let wrong = TurnServer::new(address, "robi".to_owned(), "falsch".to_owned());
        assert!(matches!(RelayedSocket::open(&wrong, &addresses).await, Err(TurnError::Refused { .. })));
    }
}
