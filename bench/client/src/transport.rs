//! One PeerConnection of the client: a UDP socket with ICE, DTLS, SRTP and SRTCP on it, in one task.

use super::dtls::{self, DatagramConn, DtlsQueues, Established, Identity, SrtpProfiles};
use super::error::ClientError;
use super::feedback::{self, Told};
use super::ice::{Agent, Credentials, IceEvent};
use super::loss::{Dice, Loss};
use super::publish::{Programme, Publisher};
use super::receive::{Incoming, MayShow};
use super::sdp::{LocalDescription, RemoteDescription};
use super::shared::{Sending, Shared};
use super::stats::SentStats;
use super::way::Way;
use super::{JoinOptions, random, stamp};
use crate::turn::TurnServer;
use ::dtls::conn::DTLSConn;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use webrtc_srtp::config::Config as SrtpConfig;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// ICE must answer within this time.
const ICE_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two rounds of reports; browsers use 1 s.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks for packets to ask for again.
const REPAIR_INTERVAL: Duration = Duration::from_millis(20);
/// Added to it while nothing comes in: hundreds of clients must not spend their time on waking up.
const REPAIR_IDLE: Duration = Duration::from_millis(180);
/// Datagrams received before something else has its turn.
const BATCH: usize = 64;
/// Sent packets of one stream that are kept for NACKs: some seconds of video.
const CACHE_PACKETS: usize = 512;

/// What the session asks of a transport.
pub(crate) enum Order {
    /// ICE restart with the credentials of a new offer and its answer.
    Restart { local: Credentials, remote: Credentials },
    /// Go on from another UDP socket.
    ChangeAddress,
    /// Send these datagrams as they are.
    Inject(Vec<Vec<u8>>),
    /// Send this many of the latest packets of each stream again, as they were.
    Replay(usize),
    /// End; with a DTLS close_notify or silently, as after a crash.
    Stop { notify: bool },
}

/// What a transport tells the session.
#[derive(Debug)]
pub(crate) enum News {
    Connected,
    /// It is over, and why.
    Failed(ClientError),
}

/// How to set up a transport.
pub(crate) struct Setup {
    pub(crate) local: LocalDescription,
    pub(crate) remote: RemoteDescription,
    pub(crate) identity: Identity,
    pub(crate) incoming: Incoming,
    pub(crate) profiles: SrtpProfiles,
    pub(crate) programme: Programme,
    /// Every n-th received RTP packet is decrypted.
    pub(crate) decrypt_every: u32,
    pub(crate) nack: bool,
    pub(crate) loss: Loss,
    pub(crate) turn: Option<TurnServer>,
    /// Also decrypts what shows which layer a track follows.
    pub(crate) follow_layers: bool,
    /// Media is thrown away unseen.
    pub(crate) deaf: bool,
}

impl Setup {
    /// As the options want it; `participant` is the tag for stamps.
    pub(crate) fn new(
        options: &JoinOptions,
        identity: Identity,
        participant: u64,
        local: LocalDescription,
        remote: RemoteDescription,
        incoming: Incoming,
    ) -> Self {
        Self {
            local,
            remote,
            identity,
            incoming,
            profiles: options.profiles,
            programme: Programme {
                room: stamp::room_tag(&options.room),
                participant,
                picture: options.picture,
                speech: options.speech,
            },
            decrypt_every: options.decrypt_every,
            nack: options.nack,
            loss: options.loss,
            turn: options.turn.clone(),
            follow_layers: options.follow_layers,
            deaf: options.deaf,
        }
    }
}

/// A running transport.
pub(crate) struct Transport {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
    task: tokio::task::JoinHandle<()>,
}

impl Transport {
    pub(crate) async fn start(setup: Setup, shared: Arc<Shared>) -> Result<Self, ClientError> {
        let (orders_tx, orders_rx) = mpsc::unbounded_channel();
        let (news_tx, news_rx) = mpsc::unbounded_channel();
        let socket = Way::open(&setup.remote.candidates, setup.turn.as_ref(), setup.deaf).await?;
        if setup.deaf {
            shared.live().deaf.extend(socket.duplicate());
        }
        let task = tokio::spawn(async move {
            let mut driver = Driver::new(setup, shared, socket);
            let end = driver.run(orders_rx, &news_tx).await;
            if let Err(error) = end {
                let _ = news_tx.send(News::Failed(error));
            }
        });
        Ok(Self { orders: orders_tx, news: news_rx, task })
    }

    /// Ends it and waits until the last datagram is out.
    pub(crate) async fn stop(self, notify: bool) {
        let _ = self.orders.send(Order::Stop { notify });
        let _ = self.task.await;
    }
}

/// Both directions of SRTP and SRTCP.
struct Srtp {
    seal: Context,
    open: Context,
}

impl Srtp {
    fn new(config: &SrtpConfig) -> Result<Self, ClientError> {
        let keys = &config.keys;
        let error = |error: webrtc_srtp::Error| ClientError::Srtp(error.to_string());
        Ok(Self {
            seal: Context::new(&keys.local_master_key, &keys.local_master_salt, config.profile, None, None)
                .map_err(error)?,
            open: Context::new(&keys.remote_master_key, &keys.remote_master_salt, config.profile, None, None)
                .map_err(error)?,
        })
    }
}

/// The finished handshake as it comes back from its task.
type Handshake = mpsc::Receiver<Result<Established, ClientError>>;

struct Driver {
    socket: Way,
    agent: Agent,
    shared: Arc<Shared>,
    setup: Setup,
    /// Datagrams of the handshake.
    dtls_incoming: mpsc::Sender<Vec<u8>>,
    dtls_outgoing: Option<mpsc::Receiver<Vec<u8>>>,
    /// Until the handshake is begun.
    dtls_conn: Option<DatagramConn>,
    established: Option<Arc<DTLSConn>>,
    /// Waits for the peer's close_notify; ends with the transport.
    listening: JoinSet<()>,
    srtp: Option<Srtp>,
    publisher: Option<Publisher>,
    sent: HashMap<u32, VecDeque<(u16, Bytes)>>,
    started: Instant,
    next_report: Instant,
    next_repair: Instant,
    received: u32,
    dice: Dice,
}

impl Driver {
    fn new(setup: Setup, shared: Arc<Shared>, socket: Way) -> Self {
        let now = Instant::now();
        // Only candidates of the socket's family can be reached from it.
        let v6 = setup.remote.candidates.first().is_some_and(SocketAddr::is_ipv6);
        let candidates = setup.remote.candidates.iter().copied().filter(|a| a.is_ipv6() == v6).collect();
        let agent = Agent::new(setup.local.ice.clone(), setup.remote.ice.clone(), candidates, now);
        let (dtls_conn, DtlsQueues { incoming, outgoing }) = DatagramConn::new();
        let dice = Dice::new(setup.loss, random::u64());
        Self {
            socket,
            agent,
            shared,
            setup,
            dtls_incoming: incoming,
            dtls_outgoing: Some(outgoing),
            dtls_conn: Some(dtls_conn),
            established: None,
            listening: JoinSet::new(),
            srtp: None,
            publisher: None,
            sent: HashMap::new(),
            started: now,
            next_report: now + REPORT_INTERVAL,
            next_repair: now,
            // Clients that all look into the same packets of one sender would make one late packet look like many.
            received: random::u64() as u32,
            dice,
        }
    }

    async fn run(
        &mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        news: &mpsc::UnboundedSender<News>,
    ) -> Result<(), ClientError> {
        let (handshake_tx, mut handshake_rx): (_, Handshake) = mpsc::channel(1);
        let (closed_tx, mut closed_rx) = mpsc::channel::<()>(1);
        let Some(mut dtls_outgoing) = self.dtls_outgoing.take() else { return Ok(()) };
        loop {
            self.send_due();
            if self.agent.selected().is_some()
                && let Some(conn) = self.dtls_conn.take()
            {
                self.shared.note_time(|timings| &mut timings.ice);
                let shaking = dtls::handshake(
                    conn,
                    self.setup.identity.clone(),
                    self.setup.remote.fingerprint,
                    self.setup.profiles,
                );
                let done = handshake_tx.clone();
                tokio::spawn(async move {
                    let _ = done.send(shaking.await).await;
                });
            }
            let deadline = self.deadline();
            tokio::select! {
                // What comes seldom is looked at first: media may come without end.
                biased;
                Some(datagram) = dtls_outgoing.recv() => self.send_selected(&datagram),
                Some(result) = handshake_rx.recv() => {
                    self.connected(result?, closed_tx.clone())?;
                    let _ = news.send(News::Connected);
                }
                Some(()) = closed_rx.recv() => {
                    return Err(ClientError::Closed { during: "media was flowing (DTLS close)" });
                }
                order = orders.recv() => match order {
                    Some(Order::Restart { local, remote }) => self.agent.restart(local, remote, Instant::now()),
                    Some(Order::ChangeAddress) => self.change_address().await?,
                    Some(Order::Inject(datagrams)) => datagrams.iter().for_each(|datagram| self.send_selected(datagram)),
                    Some(Order::Replay(count)) => self.replay(count),
                    Some(Order::Stop { notify }) => {
                        self.stop(notify, &mut dtls_outgoing).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = self.receive_until(deadline) => {}
                () = sleep_until(deadline.into()) => {}
            }
            self.check_alive()?;
        }
    }

    fn deadline(&self) -> Instant {
        let ice = self.agent.next_check();
        match &self.publisher {
            // Repairs are looked for with every batch that comes; the timer is for streams that have stopped.
            Some(publisher) => [publisher.due(), Some(self.next_report), Some(self.next_repair + REPAIR_IDLE)]
                .into_iter()
                .flatten()
                .fold(ice, Instant::min),
            None => ice,
        }
    }

    fn check_alive(&self) -> Result<(), ClientError> {
        let now = Instant::now();
        let expired = match self.agent.selected() {
            None => now.duration_since(self.started) > ICE_TIMEOUT,
            Some(_) => self.agent.consent_expired(now),
        };
        if expired {
            let candidates = self.setup.remote.candidates.clone();
            return Err(ClientError::NoIce { candidates, within: ICE_TIMEOUT });
        }
        Ok(())
    }

    fn connected(&mut self, established: Established, closed: mpsc::Sender<()>) -> Result<(), ClientError> {
        let now = Instant::now();
        self.shared.note_time(|timings| &mut timings.dtls);
        self.srtp = Some(Srtp::new(&established.srtp)?);
        let local = &self.setup.local;
        self.publisher =
            Some(Publisher::new(local.microphone, &local.camera, &self.setup.remote, self.setup.programme, now));
        self.shared.live().relay = self.agent.selected();
        self.shared.live().srtp_profile = Some(match established.srtp.profile {
            ProtectionProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            ProtectionProfile::AeadAes256Gcm => "AEAD_AES_256_GCM",
            _ => "AES128_CM_HMAC_SHA1_80",
        });
        let conn = Arc::new(established.conn);
        self.established = Some(conn.clone());
        self.listening.spawn(async move {
            let mut buf = [0; 2048];
            // No application data is expected; an error is the peer's close_notify or the end of the transport.
            while conn.read(&mut buf, None).await.is_ok() {}
            let _ = closed.send(()).await;
        });
        Ok(())
    }

    async fn change_address(&mut self) -> Result<(), ClientError> {
        let selected: Vec<SocketAddr> = self.agent.selected().into_iter().collect();
        let towards = if selected.is_empty() { &self.setup.remote.candidates } else { &selected };
        self.socket = Way::open(towards, self.setup.turn.as_ref(), self.setup.deaf).await?;
        self.agent.address_changed(Instant::now());
        Ok(())
    }

    fn replay(&self, count: usize) {
        for cache in self.sent.values() {
            cache.iter().rev().take(count).for_each(|(_, sealed)| self.send_selected(sealed));
        }
    }

    async fn stop(&mut self, notify: bool, dtls_outgoing: &mut mpsc::Receiver<Vec<u8>>) {
        let Some(conn) = self.established.take().filter(|_| notify) else { return };
        let closing = tokio::spawn(async move {
            let _ = conn.close().await;
        });
        let _ = tokio::time::timeout(Duration::from_millis(500), closing).await;
        while let Ok(datagram) = dtls_outgoing.try_recv() {
            self.send_selected(&datagram);
        }
    }

    /// Everything that is due by time: checks, media, reports, repairs.
    fn send_due(&mut self) {
        let now = Instant::now();
        let socket = &self.socket;
        self.agent.poll(now, |to, datagram| {
            socket.send(datagram, to);
        });
        let (Some(publisher), Some(srtp), Some(to)) = (&mut self.publisher, &mut self.srtp, self.agent.selected())
        else {
            return;
        };
        let Sending { media, audio_level, video_kbps } = self.shared.sending();
        if let Some(kbps) = video_kbps {
            publisher.set_rate(kbps);
        }
        let mut newly = SentStats::default();
        let (sent, dice) = (&mut self.sent, &mut self.dice);
        publisher.produce(now, media, audio_level, |origin, plain| {
            let Ok(sealed) = srtp.seal.encrypt_rtp(&plain) else { return };
            // What the own socket had no room for was never sent.
            if dice.loses_sent() || socket.send(&sealed, to) {
                newly.packets += 1;
                newly.bytes += sealed.len() as u64;
                match origin.layer {
                    None => newly.audio += 1,
                    Some(layer) => newly.layers[layer] += 1,
                }
            }
            let cache = sent.entry(origin.ssrc).or_default();
            if cache.len() >= CACHE_PACKETS {
                cache.pop_front();
            }
            cache.push_back((origin.sequence, sealed));
        });
        let connection = self.setup.incoming.connection;
        let mut live = self.shared.live();
        live.sent.add(&newly);
        let own_ssrc = publisher.streams().next().map_or(1, |stream| stream.ssrc);
        let mut compounds: Vec<Bytes> = Vec::new();
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let received = live.receiver.reports(now, connection);
            compounds.extend(feedback::reports(own_ssrc, &self.setup.local.cname, publisher.streams(), &received, now));
        }
        if now >= self.next_repair {
            self.next_repair = now + REPAIR_INTERVAL;
            if self.setup.nack {
                for (ssrc, wanted) in live.receiver.nacks(now, connection) {
                    live.rtcp.sent_nacks += 1;
                    compounds.extend(feedback::nack(own_ssrc, ssrc, &wanted));
                }
            }
            for ssrc in live.receiver.key_frame_requests(now, connection) {
                live.rtcp.sent_key_frame_requests += 1;
                compounds.extend(feedback::key_frame_request(own_ssrc, ssrc));
            }
        }
        drop(live);
        for compound in compounds {
            if let Ok(sealed) = srtp.seal.encrypt_rtcp(&compound) {
                socket.send(&sealed, to);
            }
        }
    }

    /// Receives until something else is to be done, at the latest at `deadline`. It stays in here over many batches of
    /// media: hundreds of clients spend their time on what is around each of them.
    async fn receive_until(&mut self, deadline: Instant) {
        while self.socket.readable().await.is_ok() {
            let now = Instant::now();
            if !self.receive_batch(now) || now >= deadline {
                return;
            }
        }
    }

    /// `false`: something else is to be done now.
    fn receive_batch(&mut self, now: Instant) -> bool {
        let mut calm = true;
        let mut buf = [0; 2048];
        for _ in 0..BATCH {
            match self.socket.try_recv_from(&mut buf) {
                Ok((len, from, at_ns)) => calm &= self.handle(now, &buf[..len], from, at_ns),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ICMP errors of earlier sends come back here; ICE notices a dead path by itself.
                Err(_) => {}
            }
        }
        calm
    }

    /// RFC 7983. `false`: something is to be done because of this datagram.
    fn handle(&mut self, now: Instant, datagram: &[u8], from: SocketAddr, at_ns: Option<u64>) -> bool {
        match datagram.first() {
            Some(0..=3) => {
                match self.agent.handle(now, from, datagram) {
                    IceEvent::Reply(reply) => {
                        self.socket.send(&reply, from);
                    }
                    IceEvent::Selected(_) | IceEvent::None => self.shared.live().refused_checks = self.agent.refused,
                }
                return false;
            }
            Some(20..=63) => {
                // A full queue loses the datagram, as the network might.
                let _ = self.dtls_incoming.try_send(datagram.to_vec());
            }
            Some(128..=191) => return self.handle_srtp(now, datagram, at_ns),
            _ => self.shared.live().junk_datagrams += 1,
        }
        true
    }

    fn handle_srtp(&mut self, now: Instant, datagram: &[u8], at_ns: Option<u64>) -> bool {
        let mut live = self.shared.live();
        let Some(srtp) = &mut self.srtp else {
            // The relay may finish the handshake a moment before we do.
            live.early_datagrams += 1;
            return true;
        };
        // RFC 5761, section 4.
        let rtcp = datagram.get(1).is_some_and(|byte| (192..=223).contains(byte));
        if !rtcp && self.dice.loses_received() {
            return true;
        }
        if !rtcp {
            self.received = self.received.wrapping_add(1);
            let follow_layers = self.setup.follow_layers;
            let decrypt = self.received.is_multiple_of(self.setup.decrypt_every.max(1));
            let urgent = live.receiver.handle(now, self.setup.incoming, datagram, at_ns, |may_show| {
                let look = match may_show {
                    MayShow::Nothing => false,
                    MayShow::Layer => follow_layers,
                    MayShow::KeyFrame => true,
                };
                (decrypt || look).then(|| srtp.open.decrypt_rtp(datagram).map_err(drop))
            });
            return !(urgent && now >= self.next_repair);
        }
        let Ok(plain) = srtp.open.decrypt_rtcp(datagram) else {
            live.rtcp.undecryptable += 1;
            return true;
        };
        for told in feedback::read(&plain) {
            match told {
                Told::SenderReport { ssrc, ntp } => {
                    live.rtcp.sender_reports += 1;
                    live.receiver.sender_report(now, self.setup.incoming.connection, ssrc, ntp);
                }
                Told::ReceiverReport => live.rtcp.receiver_reports += 1,
                Told::KeyFrameRequest { ssrc } => {
                    live.rtcp.key_frame_requests += 1;
                    if let Some(publisher) = &mut self.publisher {
                        publisher.request_key_frame(ssrc);
                        live.sent.requested_key_frames = publisher.requested_key_frames;
                    }
                }
                Told::Nack { ssrc, sequences } => {
                    live.rtcp.nacks += 1;
                    let cache = self.sent.get(&ssrc).map(VecDeque::as_slices).unwrap_or_default();
                    let found = cache.0.iter().chain(cache.1).filter(|(sequence, _)| sequences.contains(sequence));
                    for (_, sealed) in found {
                        live.sent.retransmitted += 1;
                        if let Some(to) = self.agent.selected().filter(|_| !self.dice.loses_sent()) {
                            self.socket.send(sealed, to);
                        }
                    }
                }
                Told::TransportFeedback => live.rtcp.transport_feedback += 1,
                Told::Bye => live.rtcp.byes += 1,
            }
        }
        false
    }

    fn send_selected(&self, datagram: &[u8]) {
        if let Some(to) = self.agent.selected() {
            self.socket.send(datagram, to);
        }
    }
}
