//! A whole relay in this process, with a fake control and independent clients.

mod keyed;

use crate::config::{Config, DriverChoice, Port};
use crate::process::Relay;
use dtls::config::{Config as DtlsConfig, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use plausch_link::{Connection, Identity, Listener};
use plausch_relay_api::framing::CommandFrame;
use plausch_relay_api::*;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use stun::xoraddr::XorMappedAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const LOCAL_PWD: &str = "relay-password-0123456789";
const REMOTE_PWD: &str = "browser-password-012345";

/// A running relay and the control that it dials.
struct Whole {
    listener: Listener,
    hello: Hello,
    metrics: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
    state: PathBuf,
}

impl Whole {
    async fn start(driver: DriverChoice) -> Self {
        Self::start_with(driver, |_| {}).await
    }

    async fn start_with(driver: DriverChoice, change: impl FnOnce(&mut Relay)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = std::env::temp_dir().join(format!("plausch-relay-test-{}-{number}", std::process::id()));
        let identity = Identity::load_or_create(&state.join("link")).unwrap();
        let listener = Listener::bind(&identity, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut config = Config::load(None, |name| (name == "HOME").then(|| "/nowhere".to_owned())).unwrap();
        config.first_port = 0;
        free_turn_ports(&mut config);
        config.driver = driver;
        config.control = listener.local_addr().unwrap();
        config.metrics = Some((Ipv4Addr::LOCALHOST, 0).into());
        config.state.clone_from(&state);
        // Two shards even on a small machine; they may share its CPUs.
        config.cpus = vec![config.cpus[0], config.cpus[0]];
        let mut relay = Relay::start(&config).await.unwrap();
        change(&mut relay);
        let (hello, metrics) = (relay.hello().clone(), relay.metrics_address().unwrap());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        Self { listener, hello, metrics, stop: Some(stop), running, state }
    }

    /// Accepts the link and reads all of the snapshot.
    async fn link(&self) -> (Control, Vec<ParticipantSnapshot>) {
        let connection = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut control = Control { connection, next_id: 0 };
        assert_eq!(control.event().await, Event::Hello(self.hello.clone()));
        let mut snapshot = Vec::new();
        loop {
            match control.event().await {
                Event::Snapshot(participant) => snapshot.push(*participant),
                Event::SnapshotEnd => return (control, snapshot),
                other => panic!("{other:?} within the snapshot"),
            }
        }
    }

    /// The address of a shard that a client on this machine uses.
    fn address(&self, shard: u16, ip: IpAddr) -> SocketAddr {
        let candidates = &self.hello.shards[usize::from(shard)].candidates;
        *candidates.iter().find(|address| address.ip() == ip).unwrap()
    }

    async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        text
    }

    /// Waits until the metrics have a line.
    async fn until_metrics_say(&self, line: &str) {
        let mut text = String::new();
        for _ in 0..100 {
            text = self.metrics().await;
            if text.contains(&format!("\n{line}\n")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {line} in\n{text}");
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        std::fs::remove_dir_all(&self.state).unwrap();
    }
}

/// TURN on any free ports, so that tests run beside each other and beside a relay of somebody else.
fn free_turn_ports(config: &mut Config) {
    let turn = config.turn.as_mut().unwrap();
    let any = Port { number: 0, required: true };
    (turn.udp, turn.tcp, turn.tls) = (Some(any), Some(any), vec![any]);
}

struct Control {
    connection: Connection<Event, Value>,
    next_id: u64,
}

impl Control {
    /// The next event that is not about load.
    async fn event(&mut self) -> Event {
        loop {
            match timeout(PATIENCE, self.connection.recv()).await.expect("an event").unwrap().unwrap().unwrap() {
                Event::Load { .. } => continue,
                event => return event,
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), CommandError> {
        self.next_id += 1;
        let id = CommandId(self.next_id);
        self.connection.send(&serde_json::to_value(CommandFrame { id, command }).unwrap()).await.unwrap();
        self.done(id).await
    }

    async fn done(&mut self, id: CommandId) -> Result<(), CommandError> {
        loop {
            if let Event::Done { id: done, result } = self.event().await {
                assert_eq!(done, id);
                return result;
            }
        }
    }
}

fn spec(participant: u64, shard: u16, fingerprint: Fingerprint) -> ParticipantSpec {
    ParticipantSpec {
        participant: ParticipantId(participant),
        room: RoomId(u64::from(shard)),
        shard: ShardId(shard),
        generation: 1,
        transport: Transport::browser(
            IceParameters {
                local_ufrag: format!("ufrag{participant:05}"),
                local_pwd: LOCAL_PWD.to_owned().into(),
                remote_ufrag: "abcd".to_owned(),
                remote_pwd: REMOTE_PWD.to_owned().into(),
                mode: Default::default(),
            },
            fingerprint,
        ),
        codecs: vec![CodecMapping { codec: Codec::Opus, payload_type: 111, rtx_payload_type: None }],
        extensions: ExtensionIds::default(),
        sends: vec![SendTrack {
            kind: TrackKind::Microphone,
            mid: "0".to_owned(),
            ssrcs: vec![1000 + participant as u32],
            rids: Vec::new(),
        }],
        slots: Vec::new(),
        note: Note::new(format!("note of {participant}")),
    }
}

/// A nominating ICE check.
fn binding_request(ufrag: &str) -> Message {
    let mut request = Message::new();
    let attributes: Vec<Box<dyn Setter>> = vec![
        Box::new(TransactionId::new()),
        Box::new(BINDING_REQUEST),
        Box::new(stun::textattrs::TextAttribute::new(ATTR_USERNAME, format!("{ufrag}:abcd"))),
        Box::new(stun::attributes::RawAttribute { typ: ATTR_USE_CANDIDATE, length: 0, value: Vec::new() }),
        Box::new(stun::attributes::RawAttribute { typ: ATTR_ICE_CONTROLLING, length: 8, value: vec![9; 8] }),
        Box::new(stun::attributes::RawAttribute { typ: ATTR_PRIORITY, length: 4, value: vec![1; 4] }),
        Box::new(MessageIntegrity::new_short_term_integrity(LOCAL_PWD.to_owned())),
        Box::new(stun::fingerprint::FINGERPRINT),
    ];
    request.build(&attributes).unwrap();
    request
}

/// Sends such a check; its answer's reflexive address.
async fn check(socket: &UdpSocket, ufrag: &str) -> SocketAddr {
    let request = binding_request(ufrag);
    socket.send(&request.raw).await.unwrap();
    let mut buffer = [0; 1500];
    let len = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer to the check").unwrap();
    let mut response = Message::new();
    response.unmarshal_binary(&buffer[..len]).unwrap();
    assert_eq!((response.typ, response.transaction_id), (BINDING_SUCCESS, request.transaction_id));
    MessageIntegrity::new_short_term_integrity(LOCAL_PWD.to_owned()).check(&mut response).unwrap();
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&response).unwrap();
    answer_check(socket).await;
    SocketAddr::new(mapped.ip, mapped.port)
}

/// Answers the relay's own check: it sends nothing more than three times what came before.
async fn answer_check(socket: &UdpSocket) {
    let mut buffer = [0; 1500];
    let len = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("a check of the relay").unwrap();
    let mut request = Message::new();
    request.unmarshal_binary(&buffer[..len]).unwrap();
    assert_eq!(request.typ, BINDING_REQUEST);
    let integrity = MessageIntegrity::new_short_term_integrity(REMOTE_PWD.to_owned());
    integrity.check(&mut request).unwrap();
    let local = socket.peer_addr().unwrap();
    let mut response = Message::new();
    let attributes: Vec<Box<dyn Setter>> = vec![
        Box::new(request.transaction_id),
        Box::new(BINDING_SUCCESS),
        Box::new(XorMappedAddress { ip: local.ip(), port: local.port() }),
        Box::new(integrity),
        Box::new(stun::fingerprint::FINGERPRINT),
    ];
    response.build(&attributes).unwrap();
    socket.send(&response.raw).await.unwrap();
}

fn certificate() -> (Certificate, Fingerprint) {
    // Two crates of the tests disagree about rustls' default, which DTLS needs none of.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = Certificate::generate_self_signed(["client".to_owned()]).unwrap();
    let digest = boring::hash::hash(boring::hash::MessageDigest::sha256(), &certificate.certificate[0]).unwrap();
    (certificate, Fingerprint::Sha256(digest[..].try_into().unwrap()))
}

async fn handshake(socket: UdpSocket, certificate: Certificate) -> DTLSConn {
    let config = DtlsConfig {
        certificates: vec![certificate],
        srtp_protection_profiles: vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
        extended_master_secret: ExtendedMasterSecretType::Require,
        insecure_skip_verify: true,
        ..DtlsConfig::default()
    };
    timeout(PATIENCE, DTLSConn::new(Arc::new(socket), config, true, None)).await.unwrap().unwrap()
}

async fn socket_to(address: SocketAddr) -> UdpSocket {
    let ip: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    socket.connect(address).await.unwrap();
    socket
}

async fn a_client_connects_and_leaves(driver: DriverChoice) {
    let whole = Whole::start(driver).await;
    let (mut control, snapshot) = whole.link().await;
    assert!(snapshot.is_empty());

    // One on each shard, one by IPv4 and one by IPv6.
    let ips = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    for (shard, ip) in [0u16, 1].into_iter().zip(ips) {
        let participant = 10 + u64::from(shard);
        let (certificate, fingerprint) = certificate();
        let put = Command::PutParticipant(Box::new(spec(participant, shard, fingerprint)));
        control.command(put.clone()).await.unwrap();
        control.command(put).await.expect("commands are idempotent");
        let socket = socket_to(whole.address(shard, ip)).await;
        let address = socket.local_addr().unwrap();
        assert_eq!(check(&socket, &format!("ufrag{participant:05}")).await, address);
        let client = handshake(socket, certificate).await;
        let participant = ParticipantId(participant);
        assert_eq!(control.event().await, Event::Connected { participant, generation: 1 });
        whole.until_metrics_say(&format!("plausch_connected{{shard=\"{shard}\"}} 1")).await;
        whole.until_metrics_say("plausch_dtls_sessions 1").await;

        client.close().await.unwrap();
        let reason = DisconnectReason::DtlsClosed;
        assert_eq!(control.event().await, Event::Disconnected { participant, generation: 1, reason });
        control.command(Command::RemoveParticipant { participant }).await.unwrap();
        control.command(Command::RemoveParticipant { participant }).await.expect("unknown ones are no error");
        for gauge in ["participants", "connected", "tuples", "tracks"] {
            whole.until_metrics_say(&format!("plausch_{gauge}{{shard=\"{shard}\"}} 0")).await;
        }
        whole.until_metrics_say("plausch_dtls_sessions 0").await;
    }
    whole.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_connects_and_leaves_over_io_uring() {
    a_client_connects_and_leaves(DriverChoice::Uring).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_connects_and_leaves_over_recvmmsg() {
    a_client_connects_and_leaves(DriverChoice::Mmsg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_link_finds_what_the_old_one_left() {
    let whole = Whole::start(DriverChoice::Auto).await;
    let (mut control, _) = whole.link().await;
    let (certificate, fingerprint) = certificate();
    for (participant, shard) in [(1, 0), (2, 1), (3, 1)] {
        let fingerprint = if participant == 1 { fingerprint } else { Fingerprint::Sha256([1; 32]) };
        control.command(Command::PutParticipant(Box::new(spec(participant, shard, fingerprint)))).await.unwrap();
    }
    let note = Command::SetNote { participant: ParticipantId(2), note: Note::new("new") };
    control.command(note).await.unwrap();
    drop(control);

    // While nobody is there, a browser connects; the next control learns it from the snapshot.
    let socket = socket_to(whole.address(0, Ipv4Addr::LOCALHOST.into())).await;
    check(&socket, "ufrag00001").await;
    let _client = handshake(socket, certificate).await;
    whole.until_metrics_say("plausch_connected{shard=\"0\"} 1").await;

    let (mut control, mut snapshot) = whole.link().await;
    snapshot.sort_by_key(|participant| participant.spec.participant);
    let notes: Vec<&[u8]> = snapshot.iter().map(|participant| participant.spec.note.reveal()).collect();
    assert_eq!(notes, [&b"note of 1"[..], b"new", b"note of 3"]);
    assert_eq!(snapshot.iter().map(|participant| participant.connected).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(snapshot[0].spec, spec(1, 0, fingerprint));

    // Commands that name the participant only still find its shard.
    let note = Command::SetNote { participant: ParticipantId(3), note: Note::new("newer") };
    control.command(note).await.unwrap();
    whole.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_commands_are_refused() {
    let whole = Whole::start(DriverChoice::Auto).await;
    let (mut control, _) = whole.link().await;
    let participant = ParticipantId(5);
    let put = |shard| Command::PutParticipant(Box::new(spec(5, shard, Fingerprint::Sha256([0; 32]))));
    assert_eq!(control.command(put(2)).await, Err(CommandError::UnknownShard));
    assert_eq!(control.command(put(u16::MAX)).await, Err(CommandError::UnknownShard));
    let slots = Command::AssignSlots { participant, slots: Vec::new() };
    assert_eq!(control.command(slots.clone()).await, Err(CommandError::UnknownParticipant));
    control.command(put(0)).await.unwrap();
    assert_eq!(control.command(put(1)).await, Err(CommandError::Moved));
    control.command(slots).await.unwrap();
    control.command(Command::RemoveParticipant { participant }).await.unwrap();
    control.command(put(1)).await.expect("after removal it may be elsewhere");

    let mut invalid = spec(6, 0, Fingerprint::Sha256([0; 32]));
    // A later release may have commands that this one does not know, and the link goes on.
    for (id, command) in [(100, json!({ "type": "sing" })), (101, json!({ "type": "remove-participant", "who": 5 }))] {
        control.connection.send(&json!({ "id": id, "command": command })).await.unwrap();
        let unknown = CommandError::Invalid("unknown command".to_owned());
        assert_eq!(control.done(CommandId(id)).await, Err(unknown));
    }
    control.connection.send(&json!("nothing with a number")).await.unwrap();
    control.command(put(1)).await.unwrap();
    invalid.transport.ice_mut().unwrap().local_ufrag.clear();
    assert!(control.command(Command::PutParticipant(Box::new(invalid))).await.is_err());
    control.command(Command::PutParticipant(Box::new(spec(6, 1, Fingerprint::Sha256([0; 32]))))).await.unwrap();
    whole.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_dies_comes_back_empty_and_harms_no_other() {
    let whole = Whole::start_with(DriverChoice::Auto, |relay| relay.panic_shard(1)).await;
    whole.until_metrics_say("plausch_shard_restarts_total{shard=\"1\"} 1").await;
    let (mut control, snapshot) = whole.link().await;
    assert!(snapshot.is_empty());
    for shard in [0, 1] {
        let put = Command::PutParticipant(Box::new(spec(u64::from(shard), shard, Fingerprint::Sha256([0; 32]))));
        control.command(put).await.unwrap();
        let socket = socket_to(whole.address(shard, Ipv4Addr::LOCALHOST.into())).await;
        check(&socket, &format!("ufrag{shard:05}")).await;
    }
    whole.until_metrics_say("plausch_shard_restarts_total{shard=\"0\"} 0").await;
    whole.stop().await;
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said() {
    let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let state = std::env::temp_dir().join(format!("plausch-relay-test-{}-taken", std::process::id()));
    let mut config = Config::load(None, |name| (name == "HOME").then(|| "/nowhere".to_owned())).unwrap();
    config.state.clone_from(&state);
    free_turn_ports(&mut config);
    config.first_port = taken.local_addr().unwrap().port();
    config.addresses = Some(vec![Ipv4Addr::LOCALHOST.into()]);
    let error = Relay::start(&config).await.err().unwrap().to_string();
    assert!(error.contains("used by another program") && error.contains("PLAUSCH_MEDIA_PORT"), "{error}");
    config.addresses = Some(vec!["192.0.2.1".parse().unwrap()]);
    let error = Relay::start(&config).await.err().unwrap().to_string();
    assert!(error.contains("192.0.2.1"), "{error}");
    std::fs::remove_dir_all(state).unwrap();
}
