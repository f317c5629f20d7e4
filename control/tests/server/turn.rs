//! TURN and the relay's edge: what the relay is told, what clients are told, and HTTP that comes over the edge.

use super::client::Client;
use super::{StateFolder, World, config, eventually, offer};
use futures_util::{SinkExt, StreamExt};
use plausch_control::server::Server;
use plausch_relay_api::limits::TURN_CREDENTIAL_S;
use plausch_relay_api::{EdgeSocket, TurnPorts, TurnSettings};
use plausch_signalling::{ClientMessage, IceServers, RoomTitle, ServerMessage};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

async fn world(toml: &str) -> World {
    let world = World::without_relay(toml).await;
    world.relay.set_turn_ports(TurnPorts { udp: 3478, tcp: Some(3478), tls: vec![443] });
    world.relay.dial(&world).await;
    world.ready().await;
    world
}

async fn settings(world: &World) -> TurnSettings {
    eventually("the relay is told of TURN", || world.relay.turn().is_some()).await;
    world.relay.turn().unwrap()
}

/// Asks before joining.
async fn ask(client: &mut Client, room: &str) -> IceServers {
    client.send(&ClientMessage::IceServers { room: RoomTitle::new(room) }).await;
    match client.next().await {
        ServerMessage::IceServers { ice } => ice,
        other => panic!("no servers but {other:?}"),
    }
}

/// What the relay makes of a user name (draft-uberti-behave-turn-rest), by other people's code.
fn password(secret: &[u8], username: &str) -> String {
    use std::process::{Command, Stdio};
    let key: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha1", "-binary", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut openssl.stdin.take().unwrap(), username.as_bytes()).unwrap();
    let digest = openssl.wait_with_output().unwrap().stdout;
    assert_eq!(digest.len(), 20);
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[tokio::test]
async fn a_relay_is_told_of_turn_at_each_link() {
    let world = world("").await;
    let first = settings(&world).await;
    assert_eq!(first.secrets.len(), 2);
    assert!(first.edge_socket.as_ref().is_some_and(|socket| socket.path.starts_with(&world.folder.0)));
    // Made by ourselves, where nobody configured one.
    let certificate = first.certificate.clone().unwrap();
    assert!(CertificateDer::from_pem_slice(&certificate.chain).is_ok());
    world.relay.hang_up();
    world.relay.forget_turn();
    world.relay.dial(&world).await;
    assert_eq!(settings(&world).await, first);
}

#[tokio::test]
async fn a_relay_without_turn_is_told_nothing_of_it() {
    let world = World::new().await;
    let mut anna = world.joined("r", "Anna").await;
    assert_eq!(ask(&mut anna, "r").await.servers, []);
    assert_eq!(world.relay.turn(), None);
}

#[tokio::test]
async fn clients_get_credentials_that_the_relay_can_check() {
    let world = world("").await;
    let address = world.server.http()[0];
    let settings = settings(&world).await;
    let mut anna = Client::connect(address, &[("Host", "plausch.example:8080")]).await;
    let before = ask(&mut anna, "r").await;
    let ServerMessage::Welcome { ice: Some(welcome), .. } = anna.join("r", "Anna", None, Some(offer(1))).await else {
        panic!("no servers in the welcome")
    };
    let after = ask(&mut anna, "r").await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shard = world.relay.participants()[0].spec.shard;
    let mut names = Vec::new();
    for ice in [before, welcome, after] {
        assert_eq!(u64::from(ice.lifetime_seconds), TURN_CREDENTIAL_S);
        assert_eq!(ice.direct, Some(format!("turn:plausch.example:{}?transport=udp", 7000 + shard.0)));
        let [server] = &ice.servers[..] else { panic!("{ice:?}") };
        assert_eq!(
            server.urls,
            [
                "turn:plausch.example:3478?transport=udp",
                "turn:plausch.example:3478?transport=tcp",
                "turns:plausch.example:443?transport=tcp",
            ]
        );
        let [expiry, of, _] = server.username.reveal().split(':').collect::<Vec<_>>()[..] else { panic!("{server:?}") };
        let lives = expiry.parse::<u64>().unwrap() - now;
        assert!((TURN_CREDENTIAL_S - 60..=TURN_CREDENTIAL_S).contains(&lives), "{lives}");
        assert_eq!(of, shard.to_string());
        assert_eq!(server.credential.reveal(), password(settings.secrets[0].reveal(), server.username.reveal()));
        names.push(server.username.clone());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "every credential is another one");
    // Whose room is on another shard is sent there.
    let mut boris = Client::connect(address, &[]).await;
    let elsewhere = ask(&mut boris, "another room").await;
    assert!(!elsewhere.servers[0].username.reveal().contains(&format!(":{shard}:")), "{elsewhere:?}");
}

#[tokio::test]
async fn the_configured_host_is_named() {
    let world = world("[turn]\nhost = \"relay.example\"").await;
    let mut client = world.client().await;
    let ice = ask(&mut client, "r").await;
    assert!(ice.servers[0].urls.iter().all(|url| url.contains(":relay.example:")), "{ice:?}");
}

#[tokio::test]
async fn who_asks_for_too_many_credentials_gets_none() {
    let world = world("[limits]\njoin_burst = 2\njoins_per_minute = 1").await;
    let settings = settings(&world).await;
    let mut socket = over_edge(&settings.edge_socket.unwrap(), "192.0.2.7:5000", "/api/signalling").await;
    for some in [[true; 8].as_slice(), &[false]].concat() {
        socket.send(Message::text("{\"type\":\"ice-servers\",\"room\":\"r\"}")).await.unwrap();
        let text = loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => break text,
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("no answer but {other:?}"),
            }
        };
        let ServerMessage::IceServers { ice } = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert_eq!(!ice.servers.is_empty(), some);
    }
}

#[tokio::test]
async fn whip_and_whep_name_turn() {
    let world = world("").await;
    let secrets = settings(&world).await.secrets;
    let offer =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/obs-publish.sdp")).unwrap();
    let post = format!(
        "POST /whip/r HTTP/1.1\r\nHost: plausch.example\r\nConnection: close\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{offer}",
        offer.len()
    );
    let options = "OPTIONS /whep/r HTTP/1.1\r\nHost: plausch.example\r\nConnection: close\r\n\r\n".to_owned();
    for (request, status) in [(post, "201"), (options, "204")] {
        let reply = exchange(world.server.http()[0], request.as_bytes()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        assert!(reply.contains("cache-control: no-store\r\n"), "{reply}");
        let links: Vec<_> = reply.lines().filter_map(|line| line.strip_prefix("link: ")).collect();
        let urls = ["turn:plausch.example:3478?transport=udp", "turn:plausch.example:3478?transport=tcp"];
        let urls = [urls[0], urls[1], "turns:plausch.example:443?transport=tcp"];
        assert_eq!(links.len(), urls.len(), "{reply}");
        for (link, url) in links.iter().zip(urls) {
            let rest = link.strip_prefix(&format!("<{url}>; rel=\"ice-server\"; username=\"")).unwrap();
            let (username, rest) = rest.split_once("\"; credential=\"").unwrap();
            let credential = rest.strip_suffix("\"; credential-type=\"password\"").unwrap();
            assert_eq!(credential, password(secrets[0].reveal(), username), "{link}");
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart() {
    let folder = StateFolder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let (chain, key) = (folder.0.join("chain.pem"), folder.0.join("key.pem"));
    let first = renew(&chain, &key);
    let toml = format!(
        "[http]\nlisten = [\"127.0.0.1:0\"]\n[link]\nlisten = \"127.0.0.1:0\"\n[https]\nlisten = [\"127.0.0.1:0\"]\n\
         certificate = {chain:?}\nkey = {key:?}\n"
    );
    let server = Server::start(config(&folder, &toml)).await.unwrap();
    let world = World { folder, server, relay: Default::default() };
    world.relay.set_turn_ports(TurnPorts { udp: 3478, tcp: None, tls: vec![443] });
    world.relay.dial(&world).await;
    assert_eq!(settings(&world).await.certificate.unwrap().chain, first);
    let https = world.server.https()[0];
    assert!(trusts(https, first.clone()).await);

    let second = renew(&chain, &key);
    world.server.reload_certificate();
    eventually("the relay has the new certificate", || {
        world.relay.turn().unwrap().certificate.is_some_and(|certificate| certificate.chain == second)
    })
    .await;
    assert!(trusts(https, second).await);
    assert!(!trusts(https, first).await);
}

/// Writes a new self-made pair; gives the certificate.
fn renew(chain: &Path, key: &Path) -> Vec<u8> {
    let pair = rcgen::generate_simple_self_signed(["plausch.example".to_owned()]).unwrap();
    std::fs::write(chain, pair.cert.pem()).unwrap();
    std::fs::write(key, pair.signing_key.serialize_pem()).unwrap();
    pair.cert.pem().into_bytes()
}

/// Whether a TLS client that trusts only this certificate finds it at the address.
async fn trusts(address: SocketAddr, certificate: Vec<u8>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let handshake = move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let name = "plausch.example".try_into().unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        std::io::Result::Ok(())
    };
    match tokio::task::spawn_blocking(handshake).await.unwrap() {
        Ok(()) => true,
        Err(error) => {
            let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            assert!(matches!(error, Some(rustls::Error::InvalidCertificate(_))), "{error:?}");
            false
        }
    }
}

fn proxy_header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match client.ip() {
        std::net::IpAddr::V4(v4) => {
            header.extend([0x11, 0, 12]);
            header.extend(v4.octets());
            header.extend([192, 0, 2, 1]);
        }
        std::net::IpAddr::V6(v6) => {
            header.extend([0x21, 0, 36]);
            header.extend(v6.octets());
            header.extend([0; 16]);
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(443u16.to_be_bytes());
    header
}

/// Sends bytes, and gives all that comes back until the other side closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    answer(TcpStream::connect(address).await.unwrap(), bytes).await
}

/// The same as the edge.
async fn hand_over(edge: &EdgeSocket, bytes: &[u8]) -> String {
    answer(UnixStream::connect(&edge.path).await.unwrap(), bytes).await
}

async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    let _ = socket.write_all(bytes).await;
    let mut reply = Vec::new();
    let _ = socket.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

/// A WebSocket that the edge hands over for a client.
async fn over_edge(edge: &EdgeSocket, client: &str, path: &str) -> tokio_tungstenite::WebSocketStream<UnixStream> {
    let mut socket = UnixStream::connect(&edge.path).await.unwrap();
    socket.write_all(&proxy_header(client)).await.unwrap();
    client_async(format!("ws://plausch.example{path}"), socket).await.unwrap().0
}

#[tokio::test]
async fn http_over_the_edge_is_https_of_its_client() {
    let world = world("").await;
    let edge = &settings(&world).await.edge_socket.unwrap();
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: plausch.example\r\nConnection: close\r\n\r\n").into_bytes();
    for client in ["192.0.2.7:5000", "[2001:db8::7]:5000"] {
        let page = hand_over(edge, &[proxy_header(client), get("/room")].concat()).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("strict-transport-security: "), "{page}");
        assert!(page.contains("connect-src 'self' wss://plausch.example;"), "{page}");
        // They are this machine's business only, and the client is not this machine.
        let metrics = hand_over(edge, &[proxy_header(client), get("/metrics")].concat()).await;
        assert!(metrics.starts_with("HTTP/1.1 404"), "{metrics}");
    }
    let metrics = hand_over(edge, &[proxy_header("127.0.0.1:5000"), get("/metrics")].concat()).await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    // HTTP/2, as browsers speak it after TLS: the preface, and settings with no stream.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let mut reply = hand_over(edge, &[proxy_header("192.0.2.7:5000"), preface].concat()).await.into_bytes();
    reply.truncate(4);
    assert_eq!(reply.get(3), Some(&4), "a SETTINGS frame");
}

#[tokio::test]
async fn without_a_header_the_edge_gets_nothing() {
    let world = world("").await;
    let edge = &settings(&world).await.edge_socket.unwrap();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
        [&proxy_header("192.0.2.7:5000")[..12], &[0xff; 40]].concat(),
    ] {
        assert_eq!(hand_over(edge, &bytes).await, "");
    }
}
