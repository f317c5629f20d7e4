//! Dialling and listening.

use crate::connection::Connection;
use crate::identity::{CONTROL_NAME, Identity};
use crate::{LinkError, Result, pinning};
use aws_lc_rs::hmac;
use plausch_relay_api::limits::{LINK_DIAL_MS, LINK_HANDSHAKES, LINK_IDLE_MS, LINK_INITIAL_RTT_MS, LINK_KEEP_ALIVE_MS};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
};
use serde::{Serialize, de::DeserializeOwned};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A relay's way to control: one socket for all attempts, because its receive buffer has 3 MB (what the kernel may join,
/// times a batch), and a relay tries for as long as control is away.
#[derive(Debug)]
pub struct Dialer<'a> {
    identity: &'a Identity,
    control: SocketAddr,
    endpoint: Option<Endpoint>,
}

impl<'a> Dialer<'a> {
    pub fn new(identity: &'a Identity, control: SocketAddr) -> Self {
        Self { identity, control, endpoint: None }
    }

    /// Where control listens.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// Connects. The caller speaks first: control takes the connection when its first frame comes. Must be called inside
    /// a tokio runtime, and may be cancelled.
    pub async fn dial<In, Out>(&mut self) -> Result<Connection<In, Out>>
    where
        In: DeserializeOwned,
        Out: Serialize,
    {
        let mut config = quinn::ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(pinning::client(self.identity)?)
                .map_err(|error| LinkError::Tls(rustls::Error::General(error.to_string())))?,
        ));
        config.transport_config(transport(0));
        let endpoint = self.endpoint()?;
        let connecting = endpoint.connect_with(config, self.control, CONTROL_NAME).inspect_err(|_| {
            // Its socket is gone: the next attempt takes another one.
            self.endpoint = None;
        })?;
        let connect = async {
            let connection = connecting.await?;
            let (send, receive) = connection.open_bi().await?;
            Ok(Connection::new(endpoint, connection, send, receive))
        };
        timeout(Duration::from_millis(LINK_DIAL_MS), connect).await.map_err(|_| LinkError::Timeout)?
    }

    fn endpoint(&mut self) -> Result<Endpoint> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let address: SocketAddr = match (self.control.is_ipv4(), self.control.ip().is_loopback()) {
            (true, true) => (Ipv4Addr::LOCALHOST, 0).into(),
            (true, false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            (false, true) => (Ipv6Addr::LOCALHOST, 0).into(),
            (false, false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(address).map_err(|reason| LinkError::Bind { address, reason })?;
        Ok(self.endpoint.insert(endpoint).clone())
    }
}

/// Control's side. Handshakes run beside [`Listener::accept`], so that a slow or hostile dialler keeps nobody out.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    accepted: Mutex<mpsc::Receiver<Accepted>>,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds the UDP port. Must be called inside a tokio runtime.
    pub fn bind(identity: &Identity, address: SocketAddr) -> Result<Self> {
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(
            QuicServerConfig::try_from(pinning::server(identity)?)
                .map_err(|error| LinkError::Tls(rustls::Error::General(error.to_string())))?,
        ));
        config.transport_config(transport(1));
        let bound = || {
            let socket = UdpSocket::bind(address)?;
            Endpoint::new(endpoint_config(identity)?, Some(config), socket, Arc::new(TokioRuntime))
        };
        let endpoint = bound().map_err(|reason| LinkError::Bind { address, reason })?;
        let (sender, receiver) = mpsc::channel(LINK_HANDSHAKES);
        let accepting = tokio::spawn(accept_all(endpoint.clone(), sender));
        Ok(Self { endpoint, accepted: Mutex::new(receiver), accepting })
    }

    /// The address in use, with the real port where 0 was asked for.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.endpoint
            .local_addr()
            .map_err(|reason| LinkError::Bind { address: (Ipv4Addr::UNSPECIFIED, 0).into(), reason })
    }

    /// The next relay that authenticated itself and sent its first frame. May be cancelled.
    pub async fn accept<In, Out>(&self) -> Result<Connection<In, Out>>
    where
        In: DeserializeOwned,
        Out: Serialize,
    {
        let Accepted { connection, send, receive } =
            self.accepted.lock().await.recv().await.ok_or(LinkError::Closed)?;
        Ok(Connection::new(self.endpoint.clone(), connection, send, receive))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A relay that waits for [`Listener::accept`].
#[derive(Debug)]
struct Accepted {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

async fn accept_all(endpoint: Endpoint, accepted: mpsc::Sender<Accepted>) {
    let handshakes = Arc::new(Semaphore::new(LINK_HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let accepted = accepted.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let handshake = async {
                let connection = incoming.await?;
                let (send, receive) = connection.accept_bi().await?;
                Ok::<_, LinkError>(Accepted { connection, send, receive })
            };
            match timeout(Duration::from_millis(LINK_DIAL_MS), handshake).await {
                Ok(Ok(relay)) => drop(accepted.send(relay).await),
                Ok(Err(error)) => tracing::debug!("a link was refused: {error}"),
                Err(_) => tracing::debug!("a link was refused: {}", LinkError::Timeout),
            }
        });
    }
}

/// Stateless resets (RFC 9000, section 10.3) are signed with a key that outlives the process: a control that was
/// killed and is back tells the relay with its answer to the next keep-alive that it knows the connection no more,
/// and the relay need not wait for the idle timeout.
fn endpoint_config(identity: &Identity) -> std::io::Result<EndpointConfig> {
    let secret = identity.control.key().map_err(std::io::Error::other)?;
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.secret_der());
    let key = hmac::sign(&secret, b"plausch-link stateless reset");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())));
    config.cid_generator(|| Box::new(RandomIds));
    Ok(config)
}

/// Connection ids without a mark of the process that made them: the default's have one, and a process that is back
/// would be silent about those of the one before.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; 8];
        // Fails only without a source of randomness, and then TLS has failed before.
        let _ = aws_lc_rs::rand::fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// `incoming_streams`: only the relay opens one.
fn transport(incoming_streams: u32) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(Duration::from_millis(LINK_INITIAL_RTT_MS))
        .keep_alive_interval(Some(Duration::from_millis(LINK_KEEP_ALIVE_MS)))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(LINK_IDLE_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(incoming_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}
