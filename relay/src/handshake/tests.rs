//! Sessions against two independent clients: BoringSSL's (DTLS 1.3, post-quantum) and webrtc-rs' (DTLS 1.2).

use super::*;
use crate::ring::{Wake, ring};
use boring::ec::{EcGroup, EcKey};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::PKey;
use boring::ssl::{ErrorCode, Ssl, SslContextBuilder, SslMethod, SslOptions, SslStream, SslVersion};
use boring::x509::{X509, X509NameBuilder};
use dtls::config::{Config, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use plausch_engine::SessionKeys;
use plausch_engine::srtp::Profile;
use session::Datagrams;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use webrtc_util::KeyingMaterialExporter;

const ALL_PROFILES: &str = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM";

/// The other end in memory, with its own certificate: a client, unless it is said to wait.
struct Client {
    stream: SslStream<Datagrams>,
    fingerprint: Fingerprint,
    waits: bool,
}

fn on_curve(curve: Nid) -> PKey<boring::pkey::Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

impl Client {
    fn new(version: SslVersion, profiles: &str) -> Self {
        Self::with_key(version, profiles, &on_curve(Nid::X9_62_PRIME256V1), MessageDigest::sha256())
    }

    /// `hash`: of the fingerprint.
    fn with_key(version: SslVersion, profiles: &str, key: &PKey<boring::pkey::Private>, hash: MessageDigest) -> Self {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, "browser").unwrap();
        let name = name.build();
        let mut certificate = X509::builder().unwrap();
        certificate.set_version(2).unwrap();
        certificate.set_subject_name(&name).unwrap();
        certificate.set_issuer_name(&name).unwrap();
        certificate.set_not_before(&boring::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&boring::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
        certificate.set_pubkey(key).unwrap();
        certificate.sign(key, MessageDigest::sha256()).unwrap();
        let certificate = certificate.build();

        let mut builder: SslContextBuilder = SslContext::builder(SslMethod::dtls()).unwrap();
        builder.set_certificate(&certificate).unwrap();
        builder.set_private_key(key).unwrap();
        // For the role of the server, which asks for our certificate.
        builder.set_custom_verify_callback(
            boring::ssl::SslVerifyMode::PEER | boring::ssl::SslVerifyMode::FAIL_IF_NO_PEER_CERT,
            |_| Ok(()),
        );
        builder.set_max_proto_version(Some(version)).unwrap();
        builder.set_curves_list("X25519MLKEM768:X25519:P-256").unwrap();
        builder.set_options(SslOptions::NO_QUERY_MTU);
        if !profiles.is_empty() {
            builder.set_tlsext_use_srtp(profiles).unwrap();
        }
        let mut ssl = Ssl::new(&builder.build()).unwrap();
        ssl.set_mtu(1200).unwrap();
        let fingerprint = Fingerprint::try_from(&*certificate.digest(hash).unwrap()).unwrap();
        Self { stream: SslStream::new(ssl, Datagrams::default()).unwrap(), fingerprint, waits: false }
    }

    /// `true`: finished.
    fn connect(&mut self) -> bool {
        match if self.waits { self.stream.accept() } else { self.stream.connect() } {
            Ok(()) => true,
            Err(error) if error.code() == ErrorCode::WANT_READ => false,
            Err(error) => {
                drop(ErrorStack::get());
                panic!("the client gave up: {error}");
            }
        }
    }

    fn receive(&mut self, datagram: Vec<u8>) -> bool {
        self.stream.get_mut().incoming = Some(datagram);
        self.connect()
    }

    fn outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    fn keys(&self) -> Vec<u8> {
        let len = match self.stream.ssl().selected_srtp_profile().unwrap().name() {
            "SRTP_AEAD_AES_128_GCM" => 56,
            "SRTP_AEAD_AES_256_GCM" => 88,
            _ => 60,
        };
        let mut material = vec![0; len];
        self.stream.ssl().export_keying_material(&mut material, "EXTRACTOR-dtls_srtp", None).unwrap();
        material
    }
}

fn joined(keys: &SessionKeys) -> Vec<u8> {
    [&keys.remote_key[..], &keys.local_key, &keys.remote_salt, &keys.local_salt].concat()
}

/// Runs both ends against each other; `mangle` may change what the client sends.
fn handshake(client: &mut Client, server: &mut Session, mangle: impl Fn(&mut Vec<Vec<u8>>)) -> Option<SessionKeys> {
    let mut keys = None;
    let mut finished = client.connect();
    for _ in 0..20 {
        let mut flight = client.outgoing();
        mangle(&mut flight);
        for datagram in flight {
            match server.receive(datagram) {
                Progress::Keys(new) => keys = Some(new),
                Progress::Failed(_) => return None,
                _ => {}
            }
        }
        for datagram in server.take_outgoing() {
            assert!(datagram.len() <= 1200, "a flight of {} bytes", datagram.len());
            finished |= client.receive(datagram);
        }
        if finished && keys.is_some() && client.stream.get_ref().outgoing.is_empty() {
            break;
        }
    }
    assert!(finished);
    keys
}

#[test]
fn both_versions_agree_on_keys_and_prefer_gcm() {
    let (context, _) = context().unwrap();
    for (version, name) in [(SslVersion::DTLS1_3, "DTLSv1.3"), (SslVersion::DTLS1_2, "DTLSv1.2")] {
        for (profiles, expected) in [
            (ALL_PROFILES, Profile::AeadAes128Gcm),
            ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", Profile::AeadAes256Gcm),
            ("SRTP_AES128_CM_SHA1_80", Profile::Aes128CmSha1_80),
        ] {
            let mut client = Client::new(version, profiles);
            let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
            let keys = handshake(&mut client, &mut server, |_| {}).unwrap();
            assert_eq!((keys.profile, server.version()), (expected, name));
            assert_eq!(joined(&keys), client.keys());
        }
    }
}

#[test]
fn the_relay_may_be_the_client() {
    let (context, _) = context().unwrap();
    for (version, name) in [(SslVersion::DTLS1_3, "DTLSv1.3"), (SslVersion::DTLS1_2, "DTLSv1.2")] {
        let mut other = Client::new(version, "SRTP_AEAD_AES_128_GCM");
        other.waits = true;
        let mut session = Session::new(&context, DtlsRole::Client, other.fingerprint).unwrap();
        assert!(matches!(session.start(), Progress::None));
        assert!(session.timeout().is_some(), "a lost ClientHello is repeated");
        let hello = session.take_outgoing();
        assert_eq!(hello.len(), 1, "servers that look for a cookie take a ClientHello in one datagram only");
        for datagram in hello {
            other.receive(datagram);
        }
        let keys = handshake(&mut other, &mut session, |_| {}).unwrap();
        assert_eq!((keys.profile, session.version()), (Profile::AeadAes128Gcm, name));
        // RFC 5764, section 4.2: the client's come first, and the client is us.
        let client_first = [&keys.local_key[..], &keys.remote_key, &keys.local_salt, &keys.remote_salt].concat();
        assert_eq!(client_first, other.keys());
    }
}

#[test]
fn certificates_of_other_kinds_and_hashes_are_taken() {
    let (context, _) = context().unwrap();
    let rsa = PKey::from_rsa(boring::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let curves = [on_curve(Nid::SECP384R1), on_curve(Nid::SECP521R1)];
    for (n, key) in curves.iter().chain([&rsa]).enumerate() {
        for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
            for hash in [MessageDigest::sha384(), MessageDigest::sha512()] {
                let mut client = Client::with_key(version, ALL_PROFILES, key, hash);
                let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
                let keys = handshake(&mut client, &mut server, |_| {}).unwrap_or_else(|| panic!("key {n}"));
                assert_eq!(joined(&keys), client.keys());
            }
        }
    }
}

#[test]
fn hellos_in_two_datagrams_may_be_reordered_and_doubled() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        let mut client = Client::new(version, ALL_PROFILES);
        client.connect();
        let hello = client.outgoing();
        if version == SslVersion::DTLS1_3 {
            assert_eq!(hello.len(), 2, "a post-quantum share does not fit into one datagram");
        }
        client.stream.get_mut().outgoing = hello;
        let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
        let keys = handshake(&mut client, &mut server, |flight| {
            flight.reverse();
            *flight = flight.iter().flat_map(|datagram| [datagram.clone(), datagram.clone()]).collect();
        });
        assert_eq!(joined(&keys.unwrap()), client.keys());
    }
}

#[test]
fn lost_datagrams_are_sent_again_in_time() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        let mut client = Client::new(version, ALL_PROFILES);
        let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
        assert!(server.timeout().is_none(), "nothing to repeat before the ClientHello");
        client.connect();
        client.outgoing().into_iter().for_each(|datagram| drop(server.receive(datagram)));
        assert!(!server.take_outgoing().is_empty(), "this flight is lost");
        let time = server.timeout().expect("a timer runs");
        assert!(time <= Duration::from_millis(200));
        thread::sleep(time + Duration::from_millis(5));
        assert!(matches!(server.handle_timeout(), Progress::None));
        let repeated = server.take_outgoing();
        assert!(!repeated.is_empty());
        let mut finished = false;
        repeated.into_iter().for_each(|datagram| finished |= client.receive(datagram));
        let keys = handshake(&mut client, &mut server, |_| {});
        assert_eq!(joined(&keys.unwrap()), client.keys());
    }
}

#[test]
fn another_certificate_than_the_announced_one_is_refused() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        let mut client = Client::new(version, ALL_PROFILES);
        let mut server = Session::new(&context, DtlsRole::Server, Fingerprint::Sha256([7; 32])).unwrap();
        client.connect();
        let mut failed = false;
        for _ in 0..10 {
            for datagram in client.outgoing() {
                match server.receive(datagram) {
                    Progress::Failed(failure) => {
                        assert_eq!(failure, HandshakeFailure::Fingerprint);
                        failed = true;
                    }
                    Progress::Keys(_) => panic!("keys for a stranger"),
                    _ => {}
                }
            }
            if failed {
                break;
            }
            server.take_outgoing().into_iter().for_each(|datagram| {
                client.receive(datagram);
            });
        }
        assert!(failed);
        assert!(!server.take_outgoing().is_empty(), "an alert says so");
    }
}

#[test]
fn no_common_srtp_profile_is_a_failure() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        for profiles in ["", "SRTP_AES128_CM_SHA1_32"] {
            let mut client = Client::new(version, profiles);
            let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
            assert!(handshake(&mut client, &mut server, |_| {}).is_none());
        }
    }
}

#[test]
fn close_notify_is_noticed() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        let mut client = Client::new(version, ALL_PROFILES);
        let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
        handshake(&mut client, &mut server, |_| {}).unwrap();
        client.outgoing().into_iter().for_each(|datagram| drop(server.receive(datagram)));
        client.stream.shutdown().unwrap();
        let closed = client.outgoing().into_iter().any(|datagram| matches!(server.receive(datagram), Progress::Closed));
        assert!(closed, "{version:?}");
        assert!(server.timeout().is_none());
    }
}

#[test]
fn garbage_ends_nothing_and_makes_no_answer() {
    let (context, _) = context().unwrap();
    for version in [SslVersion::DTLS1_3, SslVersion::DTLS1_2] {
        let mut client = Client::new(version, ALL_PROFILES);
        let mut server = Session::new(&context, DtlsRole::Server, client.fingerprint).unwrap();
        let mut garbage: Vec<Vec<u8>> = (0..64u8).map(|byte| vec![byte; usize::from(byte) * 20]).collect();
        // Records of a handshake with lengths that are not true, and an encrypted record of nobody.
        garbage.push([&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255][..], &[1; 100]].concat());
        garbage.push([&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40][..], &[1; 40]].concat());
        garbage.push([&[0x2f, 1, 2][..], &[1; 60]].concat());
        for datagram in &garbage {
            assert!(matches!(server.receive(datagram.clone()), Progress::None));
        }
        assert!(server.take_outgoing().is_empty());
        let keys = handshake(&mut client, &mut server, |flight| flight.splice(0..0, garbage.clone()).for_each(drop));
        assert_eq!(joined(&keys.unwrap()), client.keys());
        for datagram in garbage {
            assert!(matches!(server.receive(datagram), Progress::None));
        }
        client.stream.shutdown().unwrap();
        assert!(client.outgoing().into_iter().any(|datagram| matches!(server.receive(datagram), Progress::Closed)));
    }
}

/// The thread as a shard uses it, with a socket in place of the engine.
struct Thread {
    to: Sender<ToHandshake>,
    from: Receiver<EngineCommand>,
    counters: Arc<HandshakeCounters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(bounds: Bounds) -> Self {
        let (context, _) = context().unwrap();
        let (counters, stop) = (Arc::new(HandshakeCounters::default()), Arc::new(AtomicBool::new(false)));
        let notify = Arc::new(tokio::sync::Notify::new());
        let (outbox, from) = ring(RING_MESSAGES, Wake::Task(notify));
        let (ready, spawned) = std::sync::mpsc::channel();
        // The ring needs the thread's handle and the thread needs the ring.
        let (spawn_counters, spawn_stop) = (counters.clone(), stop.clone());
        let starter = thread::spawn(move || {
            let (send, inbox) = ring(RING_MESSAGES, Wake::Thread(thread::current()));
            ready.send(send).unwrap();
            let ports = vec![Port { inbox, outbox }];
            run(&context, ports, bounds, &spawn_counters, &spawn_stop);
        });
        Self { to: spawned.recv().unwrap(), from, counters, stop, thread: Some(starter) }
    }

    fn send(&mut self, participant: u64, fingerprint: Fingerprint, datagram: Vec<u8>) {
        let participant = ParticipantId(participant);
        self.to.send(ToHandshake::Datagram { participant, generation: 1, fingerprint, datagram });
        self.to.flush();
    }

    fn next(&mut self) -> Option<(u64, DtlsInput)> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if let Ok(EngineCommand::Dtls { participant, input, .. }) = self.from.pop() {
                return Some((participant.0, input));
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap();
        }
        assert_eq!(self.counters.sessions.load(Ordering::Relaxed), 0);
        assert_eq!(self.counters.under_way.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn sessions_are_bounded_and_freed() {
    let mut thread = Thread::start(Bounds { handshakes: 2, sessions: 2 });
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(SslVersion::DTLS1_2, ALL_PROFILES)).collect();
    for (participant, client) in clients.iter_mut().enumerate() {
        client.connect();
        for datagram in client.outgoing() {
            thread.send(participant as u64, client.fingerprint, datagram);
        }
    }
    for participant in [0, 1] {
        let (from, input) = thread.next().unwrap();
        assert_eq!(from, participant);
        assert!(matches!(input, DtlsInput::Send(_)));
    }
    // Left over from a session that ended: no new session.
    thread.send(9, Fingerprint::Sha256([0; 32]), vec![23; 60]);
    let wait = Instant::now();
    while thread.counters.drop_not_hello.load(Ordering::Relaxed) == 0 && wait.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(thread.counters.drop_limit.load(Ordering::Relaxed), 1);
    assert_eq!(thread.counters.sessions.load(Ordering::Relaxed), 2);
    thread.to.send(ToHandshake::End { participant: ParticipantId(0), generation: 1 });
    thread.to.send(ToHandshake::End { participant: ParticipantId(0), generation: 1 });
    thread.to.send(ToHandshake::EndAll);
    thread.to.flush();
    let wait = Instant::now();
    while thread.counters.sessions.load(Ordering::Relaxed) != 0 && wait.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(thread.counters.sessions.load(Ordering::Relaxed), 0);
}

/// webrtc-rs' DTLS 1.2 client over a real socket, against a handshake thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_client_gets_the_same_keys() {
    // Two crates of the tests disagree about rustls' default, which DTLS needs none of.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = Certificate::generate_self_signed(["client".to_owned()]).unwrap();
    let digest = boring::hash::hash(MessageDigest::sha256(), &certificate.certificate[0]).unwrap();
    let fingerprint = Fingerprint::Sha256(digest[..].try_into().unwrap());
    let server_socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client_socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client_socket.connect(server_socket.local_addr().unwrap()).await.unwrap();
    let client_address = client_socket.local_addr().unwrap();

    let server = tokio::task::spawn_blocking(move || {
        let mut thread = Thread::start(Bounds { handshakes: 10, sessions: 10 });
        server_socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut keys = None;
        let began = Instant::now();
        // Goes on for a moment after the keys, for what the client repeats or closes.
        while began.elapsed() < Duration::from_secs(20) {
            let mut buffer = [0; 2000];
            if let Ok(len) = server_socket.recv(&mut buffer) {
                thread.send(1, fingerprint, buffer[..len].to_vec());
            }
            while let Ok(EngineCommand::Dtls { input, .. }) = thread.from.pop() {
                match input {
                    DtlsInput::Send(datagrams) => datagrams.iter().for_each(|datagram| {
                        server_socket.send_to(datagram, client_address).unwrap();
                    }),
                    DtlsInput::Keys(new) => keys = Some(new),
                    DtlsInput::Failed => panic!("the handshake failed"),
                    DtlsInput::Closed => return keys.unwrap(),
                }
            }
        }
        panic!("not closed in time");
    });

    let config = Config {
        certificates: vec![certificate],
        srtp_protection_profiles: vec![
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        ],
        extended_master_secret: ExtendedMasterSecretType::Require,
        insecure_skip_verify: true,
        ..Config::default()
    };
    let client = DTLSConn::new(Arc::new(client_socket), config, true, None).await.unwrap();
    assert!(matches!(client.selected_srtpprotection_profile(), SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm));
    let state = client.connection_state().await;
    let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 56).await.unwrap();
    client.close().await.unwrap();
    let keys = server.await.unwrap();
    assert_eq!(keys.profile, Profile::AeadAes128Gcm);
    assert_eq!(joined(&keys), material);
}

#[test]
fn who_only_begins_gives_way_to_who_comes_later() {
    let mut thread = Thread::start(Bounds { handshakes: 1, sessions: 2 });
    let mut clients: Vec<_> = (0..2).map(|_| Client::new(SslVersion::DTLS1_2, ALL_PROFILES)).collect();
    for (participant, client) in clients.iter_mut().enumerate() {
        client.connect();
        // What is no ClientHello takes no place.
        for junk in [vec![22], vec![22; 60], [&[22, 0xfe, 0xfd][..], &[0; 40]].concat()] {
            thread.send(participant as u64, client.fingerprint, junk);
        }
        for datagram in client.outgoing() {
            thread.send(participant as u64, client.fingerprint, datagram);
        }
        let first = thread.next().unwrap();
        if participant == 0 {
            assert!(matches!(first, (0, DtlsInput::Send(_))), "{first:?}");
            // Longer than a handshake may be silent; what our side repeats meanwhile is of no interest.
            thread::sleep(Duration::from_millis(HANDSHAKE_IDLE_MS + 200));
            while thread.from.pop().is_ok() {}
        } else {
            assert!(matches!(first, (0, DtlsInput::Failed)), "{first:?}");
            assert!(matches!(thread.next().unwrap(), (1, DtlsInput::Send(_))));
        }
    }
    assert_eq!(thread.counters.evicted.load(Ordering::Relaxed), 1);
    assert_eq!(thread.counters.drop_not_hello.load(Ordering::Relaxed), 6);
}
