//! The way of media: a UDP socket to the server, or a TURN server between.

use super::error::ClientError;
use crate::arrival::{receive_stamped, stamp_arrivals, throw_media_away};
use crate::turn::{RelayedSocket, TurnServer};
use socket2::{SockRef, Socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Receive buffer of the socket: bursts of key frames of many senders.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

pub(super) enum Way {
    Direct(UdpSocket),
    Relayed(RelayedSocket),
}

impl Way {
    /// Opens a socket of the family of the first candidate; with a TURN server, a channel to each of them.
    pub(super) async fn open(
        candidates: &[SocketAddr],
        turn: Option<&TurnServer>,
        deaf: bool,
    ) -> Result<Self, ClientError> {
        if let Some(turn) = turn {
            return RelayedSocket::open(turn, candidates).await.map(Self::Relayed).map_err(ClientError::Turn);
        }
        let any = match candidates.first().map(SocketAddr::ip) {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let socket =
            UdpSocket::bind(SocketAddr::new(any, 0)).await.map_err(|error| ClientError::Socket(error.to_string()))?;
        // `try_send_to` knows that the socket can be written only after having waited for it once.
        let _ = socket.writable().await;
        // A smaller buffer than wished only loses packets sooner.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let prepared = if deaf { throw_media_away(&socket) } else { stamp_arrivals(&socket) };
        prepared.map_err(|error| ClientError::Socket(error.to_string()))?;
        Ok(Self::Direct(socket))
    }

    /// Sends a datagram, or loses it when the socket is full, as the network might; says whether it went.
    pub(super) fn send(&self, datagram: &[u8], to: SocketAddr) -> bool {
        match self {
            Self::Direct(socket) => socket.try_send_to(datagram, to).is_ok(),
            Self::Relayed(socket) => socket.try_send_to(datagram, to).is_ok(),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Direct(socket) => socket.readable().await,
            Self::Relayed(socket) => socket.readable().await,
        }
    }

    /// Takes a datagram: its length and sender, and when it came out of the network in Unix time in nanoseconds, where
    /// that is known.
    pub(super) fn try_recv_from(&self, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<u64>)> {
        match self {
            Self::Direct(socket) => socket.try_io(Interest::READABLE, || receive_stamped(socket, bytes)),
            Self::Relayed(socket) => socket.try_recv_from(bytes).map(|(len, from)| (len, from, None)),
        }
    }

    /// The socket once more, to ask it what it has thrown away.
    pub(super) fn duplicate(&self) -> Option<Socket> {
        match self {
            Self::Direct(socket) => SockRef::from(socket).try_clone().ok(),
            Self::Relayed(_) => None,
        }
    }
}
