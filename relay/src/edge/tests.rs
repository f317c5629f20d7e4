//! Edge threads with sockets, a client of the rustls crate, and the test in the place of shards and control.

use super::ends::{ShardEnds, rings};
use super::*;
use crate::ring::Wake;
use plausch_relay_api::limits::EDGE_QUEUE_BYTES;
use plausch_relay_api::{EdgeSocket, TlsCertificate, TlsKey};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use stun::message::Setter;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod peers;

const PATIENCE: Duration = Duration::from_secs(10);
const SHARDS: usize = 3;
const BYTES_PER_SECOND: u64 = 1 << 40;

struct Edge {
    plain: SocketAddr,
    tls: SocketAddr,
    shared: Arc<Shared>,
    /// The shards' ends, and how they are woken.
    shards: Vec<ShardEnds>,
    notify: Arc<Notify>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Edge {
    fn start() -> Self {
        Self::with(Times::default(), 100)
    }

    fn with(times: Times, connections: usize) -> Self {
        Self::with_rate(times, connections, BYTES_PER_SECOND)
    }

    fn start_at(bytes_per_second: u64) -> Self {
        Self::with_rate(Times::default(), 100, bytes_per_second)
    }

    fn with_rate(times: Times, connections: usize, bytes_per_second: u64) -> Self {
        let counters = Arc::new(EdgeCounters::default());
        let admission = Admission::new(connections, connections, counters.clone());
        let shared = Arc::new(Shared::with_times(admission, counters, bytes_per_second, times).unwrap());
        let [plain, tls] = [(); 2].map(|()| bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let addresses = [plain.local_addr().unwrap(), tls.local_addr().unwrap()];
        let (edge_notify, notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut edge_ends = Vec::new();
        let mut shards = Vec::new();
        for _ in 0..SHARDS {
            let (thread, shard) = rings(&Wake::Task(notify.clone()), &Wake::Task(edge_notify.clone()));
            edge_ends.push(thread);
            shards.push(shard);
        }
        let (stop, stopped) = watch::channel(());
        let thread = spawn(Setup {
            index: 0,
            cpus: Vec::new(),
            listeners: vec![
                Listener { socket: plain, tls: false, port: 0 },
                Listener { socket: tls, tls: true, port: 1 },
            ],
            shards: edge_ends,
            notify: edge_notify,
            shared: shared.clone(),
            stop: stopped,
        });
        let [plain, tls] = addresses;
        Self { plain, tls, shared, shards, notify, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// The next record and the shard that it is for.
    async fn record(&mut self) -> (usize, Path, Kind, Vec<u8>) {
        let mut data = vec![0; RECORD_BYTES];
        timeout(PATIENCE, async {
            loop {
                for (shard, ends) in self.shards.iter_mut().enumerate() {
                    if let Some((path, kind, len)) = ends.from_edge.next(&mut data) {
                        return (shard, path, kind, data[..len].to_vec());
                    }
                }
                self.notify.notified().await;
            }
        })
        .await
        .expect("a record")
    }

    fn send(&mut self, shard: usize, path: Path, data: &[u8], segment: usize) -> bool {
        let sent = self.shards[shard].to_edge.data(path, data, segment);
        self.shards[shard].to_edge.flush();
        sent
    }

    fn set(&self, certificate: Option<&Certificate>, edge_socket: Option<EdgeSocket>) {
        let certificate = certificate.map(Certificate::pem);
        self.shared.set(&TurnSettings { certificate, edge_socket, ..TurnSettings::default() }).unwrap();
    }

    async fn until(&self, what: &str, counter: impl Fn(&EdgeCounters) -> &AtomicU64, value: u64) {
        for _ in 0..1000 {
            if counter(&self.shared.counters).load(Ordering::Relaxed) == value {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} is {:?}, not {value}", counter(&self.shared.counters));
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

struct Certificate(CertifiedKey<rcgen::KeyPair>);

impl Certificate {
    fn new() -> Self {
        Self(generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    fn pem(&self) -> TlsCertificate {
        TlsCertificate { chain: self.0.cert.pem().into(), key: TlsKey::new(self.0.signing_key.serialize_pem()) }
    }

    fn der(&self) -> &CertificateDer<'static> {
        self.0.cert.der()
    }
}

/// Connects, and accepts this certificate only.
async fn tls_to(address: SocketAddr, certificate: &Certificate, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("a handshake")
}

fn binding() -> Vec<u8> {
    request(None)
}

fn request(user: Option<&str>) -> Vec<u8> {
    let mut message = stun::message::Message::new();
    let mut attributes: Vec<Box<dyn Setter>> =
        vec![Box::new(stun::agent::TransactionId::new()), Box::new(stun::message::BINDING_REQUEST)];
    if let Some(user) = user {
        let attribute = stun::textattrs::TextAttribute::new(stun::attributes::ATTR_USERNAME, user.to_owned());
        attributes.push(Box::new(attribute));
    }
    message.build(&attributes).unwrap();
    message.raw
}

fn channel_data(len: usize, fill: u8) -> Vec<u8> {
    let mut message = vec![0x40, 0x01];
    message.extend((len as u16).to_be_bytes());
    message.resize(4 + len, fill);
    message
}

fn allocate_success() -> Vec<u8> {
    let mut message = binding();
    message[..2].copy_from_slice(&[0x01, 0x03]);
    message
}

async fn read(stream: &mut (impl AsyncRead + Unpin), len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("bytes").unwrap();
    bytes
}

/// The stream ends, with or without good-bye.
async fn ends(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the end");
    assert_eq!(bytes, b"");
}

#[tokio::test]
async fn messages_go_to_the_shard_of_the_user_and_back() {
    let mut edge = Edge::start();
    let mut stream = TcpStream::connect(edge.plain).await.unwrap();
    let remote = stream.local_addr().unwrap();
    let path = Path { local: LocalSocket(LocalSocket::FIRST_EDGE), remote };
    let stranger = binding();
    stream.write_all(&stranger).await.unwrap();
    let data = |message: &[u8]| Kind::Data { segment: message.len() as u16 };
    assert_eq!(edge.record().await, (0, path, data(&stranger), stranger));

    // Both at once, and the second in two parts.
    let (named, channel) = (request(Some("1700000000:2:abc")), channel_data(5, 9));
    let bytes = [&named[..], &channel, &[0; 3], &channel[..3]].concat();
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(edge.record().await, (2, path, data(&named), named));
    assert_eq!(edge.record().await, (2, path, data(&channel), channel.clone()));
    stream.write_all(&[&channel[3..], &[0; 3]].concat()).await.unwrap();
    assert_eq!(edge.record().await, (2, path, data(&channel), channel));

    // A run, whose messages get their padding.
    let run: Vec<u8> = (0..3).flat_map(|number| channel_data(6 - number / 2, number as u8)).collect();
    assert!(edge.send(2, path, &run, 10));
    let padded = [(6, 0), (6, 1), (5, 2)].map(|(len, fill)| {
        let mut message = channel_data(len, fill);
        message.resize(12, 0);
        message
    });
    assert_eq!(read(&mut stream, 36).await, padded.concat());
    drop(stream);
    assert_eq!(edge.record().await, (2, path, Kind::Closed, Vec::new()));
    edge.until("clients", |counters| &counters.clients, 0).await;
    edge.until("connections", |counters| &counters.connections, 0).await;
    assert!(edge.send(2, path, &channel_data(1, 1), 5));
    edge.until("drops", |counters| &counters.drop_gone, 1).await;
}

#[tokio::test]
async fn users_that_name_no_shard_are_spread() {
    let mut edge = Edge::start();
    let mut seen = Vec::new();
    let mut streams = Vec::new();
    for user in ["talk", "1700000000:matrix", "1700000000:77:x", "talk"] {
        let mut stream = TcpStream::connect(edge.plain).await.unwrap();
        stream.write_all(&request(Some(user))).await.unwrap();
        seen.push(edge.record().await.0);
        streams.push(stream);
    }
    assert_eq!(seen, [0, 1, 2, 0]);
}

#[tokio::test]
async fn who_comes_for_a_reserved_port_finds_the_shard_that_has_it() {
    let mut edge = Edge::start();
    let mut seen = Vec::new();
    let mut streams = Vec::new();
    // The last one is of no shard.
    for shard in [2, 2, 1, 2, 77] {
        let mut stream = TcpStream::connect(edge.plain).await.unwrap();
        let mut message = stun::message::Message::new();
        let method = stun::message::METHOD_ALLOCATE;
        message.typ = stun::message::MessageType::new(method, stun::message::CLASS_REQUEST);
        message.write_header();
        message.add(stun::attributes::ATTR_USERNAME, b"talk");
        message.add(stun::attributes::ATTR_RESERVATION_TOKEN, &[9, 9, 9, 9, 9, 9, 9, shard]);
        stream.write_all(&message.raw).await.unwrap();
        seen.push(edge.record().await.0);
        streams.push(stream);
    }
    assert_eq!(seen, [2, 2, 1, 2, 0]);
}

#[tokio::test]
async fn turn_over_tls_begins_with_control_s_certificate_and_outlives_it() {
    let mut edge = Edge::start();
    let (old, new) = (Certificate::new(), Certificate::new());
    assert!(tls_to(edge.tls, &old, &[]).await.is_err(), "control has given none yet");
    edge.until("handshakes", |counters| &counters.closed_handshake, 1).await;
    edge.set(Some(&old), None);
    for alpn in [&[][..], &[&b"stun.turn"[..]], &[&b"stun.nat-discovery"[..]]] {
        let mut stream = tls_to(edge.tls, &old, alpn).await.unwrap();
        stream.write_all(&binding()).await.unwrap();
        let (_, path, ..) = edge.record().await;
        assert_eq!(path.local, LocalSocket(LocalSocket::FIRST_EDGE + 1));
        // Exchanged under way.
        edge.set(Some(&new), None);
        assert!(edge.send(0, path, &channel_data(3, 7), 7));
        assert_eq!(read(&mut stream, 8).await, [0x40, 1, 0, 3, 7, 7, 7, 0]);
        let run: Vec<u8> = (0..50).flat_map(|fill| channel_data(1000, fill)).collect();
        assert!(edge.send(0, path, &run, 1004));
        assert_eq!(read(&mut stream, run.len()).await, run);
        assert!(tls_to(edge.tls, &old, &[]).await.is_err());
        tls_to(edge.tls, &new, &[]).await.unwrap();
        edge.set(Some(&old), None);
        drop(stream);
        assert_eq!(edge.record().await.2, Kind::Closed);
    }
    let error = tls_to(edge.tls, &old, &[b"foo"]).await.expect_err("a protocol that is not spoken here").to_string();
    // RFC 7301, section 3.2: the client is told why.
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    let mut wrong = old.pem();
    wrong.key = new.pem().key;
    let settings = TurnSettings { certificate: Some(wrong), ..TurnSettings::default() };
    assert!(matches!(edge.shared.set(&settings), Err(CommandError::Invalid(_))));
    let nonsense = TlsCertificate { chain: "x".into(), key: TlsKey::new("y") };
    let settings = TurnSettings { certificate: Some(nonsense), ..TurnSettings::default() };
    assert!(matches!(edge.shared.set(&settings), Err(CommandError::Invalid(_))));
    tls_to(edge.tls, &old, &[]).await.expect("the good one stays");
}

#[tokio::test]
async fn web_pages_on_the_same_port_are_control_s() {
    let edge = Edge::with(Times { control: Duration::from_millis(500), ..Times::default() }, 100);
    let certificate = Certificate::new();
    edge.set(Some(&certificate), None);
    let mut stream = tls_to(edge.tls, &certificate, &[b"http/1.1"]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    edge.until("pages without control", |counters| &counters.closed_no_control, 1).await;

    let path = std::env::temp_dir().join(format!("plausch-edge-test-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let control = UnixListener::bind(&path).unwrap();
    // SAFETY: it has no conditions.
    let uid = unsafe { libc::geteuid() };
    let mut stream = tls_to(edge.tls, &certificate, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let remote = stream.get_ref().0.local_addr().unwrap();
    stream.write_all(b"P").await.unwrap();
    // It comes a moment after the request.
    sleep(Duration::from_millis(100)).await;
    // Somebody else's socket at that place gets no word of a visitor.
    edge.set(Some(&certificate), Some(EdgeSocket { path: path.clone(), uid: uid + 1 }));
    let (mut impostor, _) = timeout(PATIENCE, control.accept()).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, impostor.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert!(edge.shared.counters.refused_impostor.load(Ordering::Relaxed) > 0);
    edge.set(Some(&certificate), Some(EdgeSocket { path: path.clone(), uid }));
    let mut header = vec![0; 28];
    let mut passed = loop {
        // Those that came before the change are closed by the edge.
        let (mut passed, _) = timeout(PATIENCE, control.accept()).await.unwrap().unwrap();
        if timeout(PATIENCE, passed.read_exact(&mut header)).await.unwrap().is_ok() {
            break passed;
        }
    };
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(
        header[16..],
        [&[127, 0, 0, 1, 127, 0, 0, 1][..], &remote.port().to_be_bytes(), &edge.tls.port().to_be_bytes()].concat()
    );
    stream.write_all(&[b'R'; 100_000]).await.unwrap();
    assert_eq!(read(&mut passed, 100_001).await[..3], *b"PRR");
    passed.write_all(&[b'x'; 300_000]).await.unwrap();
    assert_eq!(read(&mut stream, 300_000).await, [b'x'; 300_000]);
    edge.until("pages", |counters| &counters.web, 1).await;
    drop(passed);
    ends(&mut stream).await;
    edge.until("pages", |counters| &counters.web, 0).await;
}

/// Opus goes before pictures, and nothing grows without end.
#[tokio::test]
async fn a_client_that_does_not_read_loses_large_messages_first_and_hurts_no_other() {
    let mut edge = Edge::start();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(edge.plain).await.unwrap();
        stream.write_all(&request(Some("1700000000:1:x"))).await.unwrap();
        clients.push((stream, edge.record().await.1));
    }
    let (mut reads, reading) = clients.pop().unwrap();
    let (mut slow, sleeping) = clients.pop().unwrap();
    let (large, small) = (channel_data(1200, 1), channel_data(96, 2));
    let dropped =
        |counter: fn(&EdgeCounters) -> &AtomicU64, edge: &Edge| counter(&edge.shared.counters).load(Ordering::Relaxed);
    let mut sent = 0u64;
    // Loopback's socket buffers take some megabytes.
    while dropped(|counters| &counters.drop_slow_large, &edge) == 0 {
        assert!(sent < 20_000, "the queue grows without end");
        for _ in 0..20 {
            sent += u64::from(edge.send(1, sleeping, &large, large.len()));
        }
        assert!(edge.send(1, reading, &small, small.len()));
        assert_eq!(read(&mut reads, 100).await, small, "the other goes on");
    }
    assert_eq!(dropped(|counters| &counters.drop_slow, &edge), 0);
    // Small ones still fit, until they do not either.
    for number in 0..EDGE_QUEUE_BYTES / 100 + 1 {
        assert!(edge.send(1, sleeping, &small, small.len()));
        if number % 100 == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    }
    for _ in 0..1000 {
        if dropped(|counters| &counters.drop_slow, &edge) > 0 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let lost = dropped(|counters| &counters.drop_slow, &edge);
    assert!((1..EDGE_QUEUE_BYTES as u64 / 100).contains(&lost), "small messages had half of the queue: {lost}");
    // What was not dropped arrives whole and in order once it reads again.
    let mut bytes = vec![0; 4];
    let mut received = 0;
    while received < 500 {
        timeout(PATIENCE, slow.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(bytes[..2], [0x40, 1]);
        let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let data = read(&mut slow, len).await;
        assert!(data.iter().all(|byte| *byte == if len == 1200 { 1 } else { 2 }));
        received += usize::from(len == 96);
    }
}

#[tokio::test]
async fn what_is_not_turn_and_who_says_nothing_is_closed() {
    let times =
        Times { first_bytes: Duration::from_millis(300), unallocated: Duration::from_millis(1500), ..Times::default() };
    let mut edge = Edge::with(times, 100);
    let certificate = Certificate::new();
    edge.set(Some(&certificate), None);

    let mut silent = TcpStream::connect(edge.plain).await.unwrap();
    let mut half = TcpStream::connect(edge.tls).await.unwrap();
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut silent_tls = tls_to(edge.tls, &certificate, &[]).await.unwrap();
    ends(&mut silent).await;
    ends(&mut half).await;
    ends(&mut silent_tls).await;
    edge.until("silent ones", |counters| &counters.closed_silent, 3).await;

    let mut not_turn = 0;
    let mut wrong_cookie = binding();
    wrong_cookie[5] ^= 1;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 0xe0, 1, 0, 0], &wrong_cookie, &[0xff; 5000]] {
        let mut stream = TcpStream::connect(edge.plain).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        ends(&mut stream).await;
        not_turn += 1;
        edge.until("not TURN", |counters| &counters.closed_not_turn, not_turn).await;
        let (_, _, kind, _) = edge.record().await;
        assert_eq!(kind, Kind::Closed, "not a byte of it went to the shard");
    }
    let mut garbage = tls_to(edge.tls, &certificate, &[]).await.unwrap();
    garbage.write_all(&[&binding()[..], &[0x97; 3000]].concat()).await.unwrap();
    ends(&mut garbage).await;
    assert!(matches!(edge.record().await.2, Kind::Data { .. }));
    assert_eq!(edge.record().await.2, Kind::Closed);

    // Giant lengths are skipped, byte for byte if need be, and what follows is served.
    let mut giant = TcpStream::connect(edge.plain).await.unwrap();
    giant.write_all(&[&binding()[..], &channel_data(65_535, 3), &[0], &binding()].concat()).await.unwrap();
    assert!(matches!(edge.record().await.2, Kind::Data { segment: 20 }));
    assert!(matches!(edge.record().await.2, Kind::Data { segment: 20 }));
    assert_eq!(edge.shared.counters.drop_oversized.load(Ordering::Relaxed), 1);

    // A drop of a byte now and then keeps nobody here; an allocation does.
    let mut allocated = TcpStream::connect(edge.plain).await.unwrap();
    allocated.write_all(&binding()).await.unwrap();
    let path = edge.record().await.1;
    assert!(edge.send(0, path, &allocate_success(), 20));
    let mut drip = TcpStream::connect(edge.plain).await.unwrap();
    let opened = Instant::now();
    let mut closed = false;
    // A message that would take a minute.
    let mut long = binding();
    long[2..4].copy_from_slice(&1200u16.to_be_bytes());
    long.resize(1220, 0);
    let mut bytes = long.iter();
    while !closed && opened.elapsed() < PATIENCE {
        closed = drip.write_all(&[*bytes.next().unwrap()]).await.is_err();
        sleep(Duration::from_millis(50)).await;
    }
    assert!(closed);
    assert!(edge.shared.counters.closed_unallocated.load(Ordering::Relaxed) >= 1);
    assert_eq!(read(&mut allocated, 20).await[..2], [1, 3]);
    assert!(edge.send(0, path, &channel_data(4, 4), 8));
    assert_eq!(read(&mut allocated, 8).await, channel_data(4, 4));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_places_come_back() {
    let edge = Edge::with(Times::default(), 2);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(edge.plain).await.unwrap();
        stream.write_all(&binding()).await.unwrap();
        kept.push(stream);
    }
    edge.until("clients", |counters| &counters.clients, 2).await;
    let mut third = TcpStream::connect(edge.tls).await.unwrap();
    ends(&mut third).await;
    assert_eq!(edge.shared.counters.refused_connections.load(Ordering::Relaxed), 1);
    drop(kept);
    edge.until("connections", |counters| &counters.connections, 0).await;
    let mut fourth = TcpStream::connect(edge.plain).await.unwrap();
    fourth.write_all(&binding()).await.unwrap();
    edge.until("clients", |counters| &counters.clients, 1).await;
}
