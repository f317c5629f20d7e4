//! `plausch-bench turn` against TURN servers that are not ours: that of webrtc-rs, which sees every packet here and can
//! be made to treat them badly, and Debian's coturn for TCP and TLS.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use serde_json::Value;
use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

/// What happens to ChannelData that comes from clients.
#[derive(Clone, Copy, PartialEq)]
enum Treatment {
    Right,
    /// Every tenth is lost.
    Drop,
    /// Every tenth comes twice.
    Duplicate,
    /// Everything takes this long.
    Delay(Duration),
}

/// The server's socket.
struct Treated {
    socket: UdpSocket,
    treatment: Treatment,
    packets: AtomicU64,
    again: tokio::sync::Mutex<Option<(Vec<u8>, SocketAddr)>>,
}

#[async_trait]
impl Conn for Treated {
    async fn connect(&self, address: SocketAddr) -> webrtc_util::Result<()> {
        Ok(self.socket.connect(address).await?)
    }
    async fn recv(&self, _: &mut [u8]) -> webrtc_util::Result<usize> {
        unreachable!("servers ask for the source, too")
    }
    async fn recv_from(&self, bytes: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        if let Some((again, from)) = self.again.lock().await.take() {
            bytes[..again.len()].copy_from_slice(&again);
            return Ok((again.len(), from));
        }
        loop {
            let (len, from) = self.socket.recv_from(bytes).await?;
            if bytes[0] >> 6 != 1 {
                return Ok((len, from));
            }
            let tenth = (self.packets.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(10);
            match self.treatment {
                Treatment::Drop if tenth => continue,
                Treatment::Duplicate if tenth => *self.again.lock().await = Some((bytes[..len].to_vec(), from)),
                Treatment::Delay(time) => sleep(time).await,
                _ => {}
            }
            return Ok((len, from));
        }
    }
    async fn send(&self, _: &[u8]) -> webrtc_util::Result<usize> {
        unreachable!("servers name the destination, too")
    }
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> webrtc_util::Result<usize> {
        Ok(self.socket.send_to(bytes, to).await?)
    }
    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }
    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

struct OneUser;

impl AuthHandler for OneUser {
    fn auth_handle(&self, user: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        match user {
            "robi" => Ok(generate_auth_key(user, realm, "geheim")),
            _ => Err(turn::Error::ErrFakeErr),
        }
    }
}

async fn server(treatment: Treatment) -> (Server, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let conn = Treated { socket, treatment, packets: AtomicU64::new(0), again: None.into() };
    let config = ServerConfig {
        conn_configs: vec![ConnConfig {
            conn: Arc::new(conn),
            relay_addr_generator: Box::new(RelayAddressGeneratorStatic {
                relay_address: Ipv4Addr::LOCALHOST.into(),
                address: "127.0.0.1".to_owned(),
                net: Arc::new(Net::new(None)),
            }),
        }],
        realm: "webrtc.rs".to_owned(),
        auth_handler: Arc::new(OneUser),
        channel_bind_timeout: Duration::ZERO,
        alloc_close_notify: None,
    };
    (Server::new(config).await.unwrap(), address)
}

async fn bench(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    // Every run is bounded by its own arguments.
    let run = || Command::new(env!("CARGO_BIN_EXE_plausch-bench")).arg("turn").args(arguments).output();
    spawn_blocking(run).await.unwrap().unwrap()
}

/// The JSON object of a run that must work and find no fault, and its table.
async fn report(arguments: &[&str]) -> (Value, String) {
    let (json, output) = measured(arguments).await;
    assert!(output.status.success(), "{output:?}");
    (json, String::from_utf8(output.stdout).unwrap())
}

/// The same of a run that must find fault with the server, which ends with a non-zero exit.
async fn faulty(arguments: &[&str]) -> (Value, String) {
    let (json, output) = measured(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("plausch-bench: "));
    (json, String::from_utf8(output.stdout).unwrap())
}

async fn measured(arguments: &[&str]) -> (Value, Output) {
    let file = std::env::temp_dir().join(format!("plausch-bench-turn-{:016x}.json", {
        let mut tag = [0; 8];
        getrandom::fill(&mut tag).unwrap();
        u64::from_be_bytes(tag)
    }));
    let path = file.to_str().unwrap();
    let common = ["--seconds", "1", "--baseline-seconds", "1", "--json", path];
    let output = bench(&[arguments, &common].concat()).await;
    let json = std::fs::read(&file).unwrap_or_else(|_| panic!("nothing was written: {output:?}"));
    std::fs::remove_file(&file).unwrap();
    (serde_json::from_slice(&json).unwrap(), output)
}

/// What a run that must fail says.
async fn refusal(arguments: &[&str]) -> String {
    let output = bench(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    // Progress may stand before it.
    let last: Vec<&str> = said.lines().filter(|line| line.starts_with("plausch-bench: ")).collect();
    assert_eq!(last.len(), 1, "{said}");
    assert!(said.ends_with(&format!("{}\n", last[0])), "{said}");
    last[0].to_owned()
}

const USER: [&str; 4] = ["--user", "robi", "--password", "geheim"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_of_every_flow_is_counted_once() {
    let (_server, address) = server(Treatment::Right).await;
    let flows = ["--allocations", "3", "--channels", "2", "--rate", "50", "--size", "204"];
    for more in [[].as_slice(), &["--indications"], &["--direction", "up"], &["--direction", "down", "--burst", "4"]] {
        let (json, text) = report(&[["--server", &address].as_slice(), &USER, &flows, more].concat()).await;
        let [sent, received] = ["expected_packets", "forwarded_packets"].map(|key| json[key].as_u64().unwrap());
        // Two seconds with warm-up, six flows, one way or both, fifty in a second: less while the machine is busy.
        let ways = if more.contains(&"--direction") { 1 } else { 2 };
        assert!((100 * 6 / 2 * ways..=130 * 6 * ways).contains(&sent), "{more:?} {text}");
        assert_eq!((received, json["loss_ratio"].as_f64()), (sent, Some(0.0)), "{more:?} {text}");
        assert_eq!(json["faults"].as_array().unwrap().len(), 0, "{text}");
        let p50 = |key: &str| json[key]["p50"].as_f64().unwrap();
        assert!(p50("latency_us") > 0.0 && p50("join_ms") > 0.0, "{text}");
        assert!((p50("latency_us") - p50("direct_latency_us") - p50("added_latency_us")).abs() < 0.11, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_treat_packets_badly_are_told() {
    let run = async |treatment| {
        let delays = matches!(treatment, Treatment::Delay(_));
        let (_server, address) = server(treatment).await;
        let arguments = [["--server", &address, "--rate", "100", "--direction", "up"].as_slice(), &USER].concat();
        if delays { report(&arguments).await } else { faulty(&arguments).await }
    };
    let (json, text) = run(Treatment::Drop).await;
    let loss = json["loss_ratio"].as_f64().unwrap();
    assert!((0.08..0.11).contains(&loss), "{text}");
    assert!(text.contains("packets were lost"), "{text}");
    let (json, text) = run(Treatment::Duplicate).await;
    assert_eq!(json["loss_ratio"].as_f64(), Some(0.0), "{text}");
    assert!(text.contains("packets came twice"), "{text}");
    let (json, text) = run(Treatment::Delay(Duration::from_millis(5))).await;
    assert!(json["added_latency_us"]["p50"].as_f64().unwrap() >= 5_000.0, "{text}");
}

/// The server's own counters tell a limit of its configuration from a bad network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // Each time somebody asks, more was dropped.
        for dropped in (0u32..).map(|asked| asked * 50) {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /metrics "));
            let body = format!("plausch_drop_turn_bandwidth_total{{shard=\"0\"}} {dropped}\n");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    let (_server, address) = server(Treatment::Drop).await;
    let load = ["--server", &address, "--rate", "100", "--direction", "up", "--relay-metrics", &metrics];
    let (_, text) = faulty(&[load.as_slice(), &USER].concat()).await;
    assert!(text.contains("SERVER-LIMIT") && text.contains("raise `turn_bytes_per_second`"), "{text}");
    // Where nothing is lost, no limit was met, whatever the counters say.
    let (_server, address) = server(Treatment::Right).await;
    let load = ["--server", &address, "--rate", "20", "--direction", "up", "--relay-metrics", &metrics];
    let (_, text) = report(&[load.as_slice(), &USER].concat()).await;
    assert!(!text.contains("SERVER-LIMIT"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_targets_are_told_in_one_sentence() {
    let (_server, address) = server(Treatment::Right).await;
    let said = refusal(&["--server", &address, "--user", "robi", "--password", "falsch"]).await;
    assert!(said.contains("check user and password"), "{said}");
    assert!(refusal(&["--server", &address]).await.contains("give --user and --password, or --secret"));

    // Bound and closed again: nobody listens there.
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for transport in ["udp", "tcp", "tls"] {
        let none = ["--baseline-seconds", "0", "--transport", transport];
        let said = refusal(&[["--server", &closed].as_slice(), &USER, &none].concat()).await;
        assert!(said.contains("check that the server runs there"), "{transport}: {said}");
    }
    // It takes everything and says nothing.
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mute = mute.local_addr().unwrap().to_string();
    let said = refusal(&[&["--server", &mute, "--baseline-seconds", "0"], USER.as_slice()].concat()).await;
    assert!(said.contains("did not answer Allocate"), "{said}");
    let said = refusal(&[["--server", "192.0.2.1:3478"].as_slice(), &USER].concat()).await;
    assert!(said.contains("--allow-remote"), "{said}");
    let said = refusal(&[["--server", "nonsense"].as_slice(), &USER].concat()).await;
    assert!(said.contains("give HOST:PORT"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_is_noticed() {
    let (server, address) = server(Treatment::Right).await;
    let long = ["--seconds", "60", "--baseline-seconds", "0", "--rate", "100", "--size", "200"];
    let arguments = [&["--server", &address], USER.as_slice(), &long].concat();
    let dying = async {
        sleep(Duration::from_millis(2500)).await;
        server.close().await.unwrap();
    };
    let (said, ()) = tokio::join!(refusal(&arguments), dying);
    assert!(said.contains("look into"), "{said}");
}

/// Idle allocations, and a flood beside flows: nothing of both can be counted against a server of this process, so
/// only that they work at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_allocations_and_floods_are_made() {
    let (_server, address) = server(Treatment::Right).await;
    let server = ["--server", &address];
    let (json, text) = report(&[server.as_slice(), &USER, &["--idle", "--allocations", "300"]].concat()).await;
    assert_eq!(json["allocations"].as_u64(), Some(300), "{text}");
    assert!(json["rss_bytes_per_participant"].as_u64().is_some(), "{text}");
    let flood = ["--spoofed-allocates", "2000", "--spoofed-rate", "2000", "--rate", "20"];
    // What is lost beside a flood is no fault of the bench.
    let (json, output) = measured(&[server.as_slice(), &USER, &flood].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let flood = &json["flood"];
    assert_eq!(flood["requests"].as_u64(), Some(2000), "{text}");
    assert!((1..=2000).contains(&flood["replies"].as_u64().unwrap()), "{text}");
    assert!(flood["latency_us"]["p99"].as_f64().is_some(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturn_is_measured_by_udp_tcp_and_tls() {
    assert!(PathBuf::from("/usr/bin/turnserver").exists(), "coturn is missing; run scripts/setup test");
    for transport in ["udp", "tcp", "tls"] {
        let load = ["--transport", transport, "--allocations", "5", "--channels", "2", "--rate", "20", "--size", "201"];
        let rounds = ["--only", "coturn", "--rounds", "1"];
        let (json, text) = report(&[rounds.as_slice(), &load].concat()).await;
        let coturn = &json["coturn"];
        // Its small buffers overflow when the tests beside this one take its CPU.
        assert!(coturn["loss_ratio"].as_f64().unwrap() < 0.2, "{transport}: {text}");
        assert!(coturn["forwarded_packets"].as_u64().unwrap() > 300, "{transport}: {text}");
        assert!(coturn["cpu_ns_per_packet"].as_f64().unwrap() >= 0.0, "{transport}: {text}");
        assert_eq!(coturn["misrouted"].as_u64(), Some(0), "{transport}: {text}");
    }
}
