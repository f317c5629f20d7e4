//! A relay's place taken by something that does nothing but send: connects clients as they are, by ICE and DTLS, and
//! gives out for each of them a stream of sealed packets. So what the clients themselves cost can be measured.

mod seal;

use super::dtls::{DatagramConn, DtlsQueues, Identity};
use super::error::ClientError;
use super::histogram::Histogram;
use super::ice::Credentials;
use super::receive::{Half, Incoming, Line};
use super::sdp::{EXTENSION_MID, LocalDescription, RemoteDescription, RemoteMedia, slot_mids};
use super::shared::Shared;
use super::transport::{News, Setup, Transport};
use super::{EPOCH, JoinOptions};
use ::dtls::config::{ClientAuthType, Config};
use ::dtls::conn::DTLSConn;
use ::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
pub use seal::{PACKET_BYTES, Stream};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_SUCCESS, Message, Setter};
use stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use webrtc_srtp::config::Config as SrtpConfig;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// All of it happens on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SSRC: u32 = 1002;
/// The room that stamps name.
pub(crate) const ROOM: &str = "self";
/// The kernel's buffers shall not be what ends first.
const BUFFER_BYTES: usize = 4 << 20;

/// Clients that are connected to us.
pub struct StandIn {
    clients: Vec<(Transport, Arc<Shared>)>,
    socket: std::net::UdpSocket,
    streams: Vec<Stream>,
    answering: tokio::task::JoinHandle<()>,
}

impl StandIn {
    /// Connects so many clients that decrypt every n-th packet, one after the other.
    pub async fn connect(clients: usize, decrypt_every: u32) -> Result<Self, ClientError> {
        LazyLock::force(&EPOCH);
        let failed = |error: io::Error| ClientError::Socket(error.to_string());
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?);
        let reference = socket2::SockRef::from(&socket);
        // Smaller ones than wished only end a measurement sooner.
        let _ = reference.set_recv_buffer_size(BUFFER_BYTES);
        let _ = reference.set_send_buffer_size(BUFFER_BYTES);
        let sending = reference.try_clone().map_err(failed)?.into();
        let address = socket.local_addr().map_err(failed)?;
        let identity = Identity::generate()?;
        let mids = slot_mids(0);
        let remote = RemoteDescription {
            ice: Credentials::random(),
            fingerprint: identity.fingerprint,
            candidates: vec![address],
            media: vec![RemoteMedia { mid: mids.video.clone(), ssrcs: vec![SSRC], ..RemoteMedia::default() }],
        };
        let (keys_tx, mut keys) = mpsc::channel(1);
        let peer = Peer {
            socket,
            pwd: remote.ice.pwd.clone(),
            identity,
            handshakes: HashMap::new(),
            keys: keys_tx,
            tasks: JoinSet::new(),
        };
        let answering = tokio::spawn(peer.run());
        let mut stand_in = Self { clients: Vec::new(), socket: sending, streams: Vec::new(), answering };
        for _ in 0..clients {
            let client = connect_one(&remote, &mids.video, decrypt_every).await?;
            stand_in.clients.push(client);
            let keys = timeout(CONNECT_TIMEOUT, keys.recv()).await.ok().flatten();
            let (to, keys) = keys.ok_or(ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT })?;
            stand_in.streams.push(Stream::new(to, &keys, SSRC, &mids.video)?);
        }
        Ok(stand_in)
    }

    /// One for each client.
    pub fn take_streams(&mut self) -> Vec<Stream> {
        std::mem::take(&mut self.streams)
    }

    /// Which the clients expect packets from.
    pub fn socket(&self) -> io::Result<std::net::UdpSocket> {
        self.socket.try_clone()
    }

    /// Packets that all have received, each counted once.
    pub fn received(&self) -> u64 {
        self.clients.iter().map(|(_, shared)| shared.live().receiver.counts().video).sum()
    }

    /// Packets that clients looked into and could not open, or took for another room's or nobody's.
    pub fn wrong(&self) -> u64 {
        let wrong = |shared: &Shared| {
            let stats = shared.stats();
            let undecryptable: u64 = stats.tracks().map(|track| track.undecryptable + track.wrong_mid).sum();
            undecryptable + stats.foreign_packets + stats.unknown_packets
        };
        self.clients.iter().map(|(_, shared)| wrong(shared)).sum()
    }

    /// Ages of the packets that were looked into since the last call.
    pub fn take_latencies(&self) -> Histogram {
        let mut all = Histogram::default();
        self.clients.iter().for_each(|(_, shared)| all.add(&std::mem::take(&mut shared.live().receiver.ages).handled));
        all
    }

    /// Ends the clients.
    pub async fn stop(self) {
        for (transport, _) in self.clients {
            transport.stop(false).await;
        }
        self.answering.abort();
    }
}

async fn connect_one(
    remote: &RemoteDescription,
    mid: &str,
    decrypt_every: u32,
) -> Result<(Transport, Arc<Shared>), ClientError> {
    let options = JoinOptions { decrypt_every, slots: 1, ..JoinOptions::new("", ROOM, "") };
    let shared = Arc::new(Shared::new(&options));
    let line = Line { slot: 0, half: Half::Video, mid: mid.to_owned(), ssrc: Some(SSRC) };
    shared.live().receiver.describe(0, &[line], true);
    let identity = Identity::generate()?;
    let local = LocalDescription::watching(&identity, 1);
    let incoming = Incoming { connection: 0, mid_extension: Some(EXTENSION_MID) };
    let setup = Setup::new(&options, identity, 0, local, remote.clone(), incoming);
    let mut transport = Transport::start(setup, shared.clone()).await?;
    match timeout(CONNECT_TIMEOUT, transport.news.recv()).await {
        Ok(Some(News::Connected)) => Ok((transport, shared)),
        Ok(Some(News::Failed(error))) => Err(error),
        Ok(None) | Err(_) => Err(ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT }),
    }
}

/// Keys of a client that has connected, and its address.
type Keys = (SocketAddr, SrtpConfig);

/// Answers ICE checks and DTLS handshakes.
struct Peer {
    socket: Arc<UdpSocket>,
    pwd: String,
    identity: Identity,
    /// Where the datagrams of each client's handshake go in.
    handshakes: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    keys: mpsc::Sender<Keys>,
    /// Of the handshakes; they end with us.
    tasks: JoinSet<()>,
}

impl Peer {
    async fn run(mut self) {
        let mut buf = [0; 2048];
        loop {
            // Refused datagrams of clients that have gone are reported here.
            let Ok((len, from)) = self.socket.recv_from(&mut buf).await else { continue };
            let datagram = &buf[..len];
            match datagram.first() {
                Some(0..=3) => {
                    if let Some(reply) = answer_check(datagram, from, &self.pwd) {
                        let _ = self.socket.send_to(&reply, from).await;
                    }
                }
                Some(20..=63) => {
                    let handshake = self.handshakes.entry(from).or_insert_with(|| {
                        let (conn, queues) = DatagramConn::new();
                        let incoming = queues.incoming.clone();
                        self.tasks.spawn(shake(conn, self.identity.clone(), from, self.keys.clone()));
                        self.tasks.spawn(pump(queues, self.socket.clone(), from));
                        incoming
                    });
                    let _ = handshake.try_send(datagram.to_vec());
                }
                // What clients report and ask for is of no interest: nothing is sent again.
                _ => {}
            }
        }
    }
}

async fn shake(conn: DatagramConn, identity: Identity, from: SocketAddr, keys: mpsc::Sender<Keys>) {
    let config = Config {
        certificates: vec![identity.certificate],
        srtp_protection_profiles: vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
        client_auth: ClientAuthType::RequireAnyClientCert,
        insecure_skip_verify: true,
        ..Config::default()
    };
    // A handshake that failed is missed by who waits for its keys.
    let Ok(conn) = DTLSConn::new(Arc::new(conn), config, false, None).await else { return };
    let mut srtp = SrtpConfig { profile: ProtectionProfile::AeadAes128Gcm, ..SrtpConfig::default() };
    if srtp.extract_session_keys_from_dtls(conn.connection_state().await, false).await.is_err() {
        return;
    }
    let _ = keys.send((from, srtp)).await;
    // The connection stays for as long as its client does.
    let mut buf = [0; 2048];
    while conn.read(&mut buf, None).await.is_ok() {}
}

async fn pump(mut queues: DtlsQueues, socket: Arc<UdpSocket>, to: SocketAddr) {
    while let Some(datagram) = queues.outgoing.recv().await {
        let _ = socket.send_to(&datagram, to).await;
    }
}

/// The answer to an ICE check that knows our password (RFC 8445, section 7.3); `None` for others.
pub(crate) fn answer_check(datagram: &[u8], from: SocketAddr, pwd: &str) -> Option<Vec<u8>> {
    let mut request = Message::new();
    request.unmarshal_binary(datagram).ok()?;
    FINGERPRINT.check(&request).ok()?;
    let integrity = MessageIntegrity::new_short_term_integrity(pwd.to_owned());
    integrity.check(&mut request).ok()?;
    let setters: Vec<Box<dyn Setter>> = vec![
        Box::new(request.transaction_id),
        Box::new(BINDING_SUCCESS),
        Box::new(XorMappedAddress { ip: from.ip(), port: from.port() }),
        Box::new(integrity),
        Box::new(FINGERPRINT),
    ];
    let mut reply = Message::new();
    reply.build(&setters).ok()?;
    Some(reply.raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_left_of_clients_that_have_gone() {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let stand_in = StandIn::connect(2, 1).await.unwrap();
        assert!(tasks() > before);
        stand_in.stop().await;
        for _ in 0..200 {
            if tasks() == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} tasks are left", tasks() - before);
    }

    #[tokio::test]
    async fn clients_take_what_is_sent_in_their_place() {
        let mut stand_in = StandIn::connect(3, 1).await.unwrap();
        let socket = stand_in.socket().unwrap();
        let mut streams = stand_in.take_streams();
        let mut run = [0; 4 * PACKET_BYTES];
        for _ in 0..5 {
            for stream in &mut streams {
                stream.write(&mut run);
                for packet in run.chunks(PACKET_BYTES) {
                    socket.send_to(packet, stream.to()).unwrap();
                }
            }
        }
        for _ in 0..500 {
            if stand_in.received() == 60 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((stand_in.received(), stand_in.wrong()), (60, 0));
        assert_eq!(stand_in.take_latencies().samples(), 60);
        stand_in.stop().await;
    }
}
