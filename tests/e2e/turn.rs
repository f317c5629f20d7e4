//! TURN with clients of coturn, whose implementation has nothing in common with ours, and HTTPS on the same port.
//!
//! `scripts/setup test` installs the clients. Every mode runs against a real relay, most of them side by side: a client
//! takes seconds whatever the server does.

use crate::people::{SOON, all_meet, join, join_with};
use crate::service::{Process, Service};
use plausch_client::{JoinOptions, Trust};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The slowest modes take seven seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(40);
const MESSAGES: usize = 10;
pub(crate) const CLIENTS: usize = 2;

/// Sends everything back, as a peer beyond the relay: at two ports in a row of each family, for RTP and RTCP.
struct Echo {
    /// The first ones.
    ports: [u16; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pairs = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(two_in_a_row);
        let ports = [0, 1].map(|family: usize| pairs[family][0].local_addr().unwrap().port());
        let threads = pairs.into_iter().flatten().map(|socket| {
            let stop = stop.clone();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 2000];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                        let _ = socket.send_to(&buffer[..len], from);
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { ports, stop, threads }
    }

    /// Options that make it a client's peer.
    fn options(&self, ipv6: bool) -> [String; 4] {
        let address = if ipv6 { "::1" } else { "127.0.0.1" };
        ["-e".to_owned(), address.to_owned(), "-r".to_owned(), self.ports[usize::from(ipv6)].to_string()]
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn two_in_a_row(address: IpAddr) -> [UdpSocket; 2] {
    let pair = |_| {
        let first = UdpSocket::bind((address, 0)).ok()?;
        let next = first.local_addr().ok()?.port().checked_add(1)?;
        Some([first, UdpSocket::bind((address, next)).ok()?])
    };
    (0..100).find_map(pair).expect("two free ports in a row")
}

/// A program under way, whose output goes to a file.
pub(crate) struct Run {
    pub(crate) what: String,
    program: String,
    arguments: Vec<String>,
    child: Child,
    output: PathBuf,
}

fn spawn(program: &str, arguments: &[String], output: &Path) -> Child {
    let file = || File::options().create(true).append(true).open(output).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(file()).stderr(file());
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run `scripts/setup test`"))
}

impl Run {
    pub(crate) fn start(service: &Service, name: &str, program: &str, arguments: &[String]) -> Self {
        let output = service.dir.join(format!("{name}.out"));
        Self {
            what: format!("{program} {}", arguments.join(" ")),
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            child: spawn(program, arguments, &output),
            output,
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// Waits for a word in the output.
    pub(crate) async fn says(&self, word: &str) {
        let begun = Instant::now();
        while !self.output().contains(word) {
            assert!(begun.elapsed() < PATIENCE, "{} does not say {word}:\n{}", self.what, self.output());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the end; the output of a success.
    pub(crate) async fn succeeds(&mut self) -> String {
        let begun = Instant::now();
        let mut attempts = 1;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // It draws a version of TLS by lot, 1.0 and 1.1 among them, which we refuse, and gives up after some.
                if !status.success() && attempts < 8 && self.output().contains("tls_connect: cannot connect") {
                    attempts += 1;
                    fs::remove_file(&self.output).unwrap();
                    self.child = spawn(&self.program, &self.arguments, &self.output);
                    continue;
                }
                assert!(status.success(), "{}: {status}\n{}", self.what, self.output());
                return self.output();
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not end:\n{}", self.what, self.output());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay with static users `user0` and so on, which may reach this machine.
pub(crate) fn configuration(service: &Service, users: usize, addresses: &str, more: &str) -> String {
    let users: String = (0..users)
        .map(|user| format!("[[turn.users]]\nname = \"user{user}\"\npassword = \"secret{user}\"\n"))
        .collect();
    let relay_ports = service.ports.relay_ports();
    format!(
        "[media]\naddresses = [{addresses}]\n[turn]\nrelay_ports = \"{relay_ports}\"\n\
         allow_peers = [\"127.0.0.0/8\", \"::1\"]\n{more}\n{users}"
    )
}

pub(crate) async fn start(users: usize, addresses: &str, more: &str) -> Service {
    let mut service = Service::prepare().await;
    let configuration = configuration(&service, users, addresses, more);
    service.start_control();
    service.start_with(Process::Relay, &configuration);
    service.ready(SOON).await;
    service
}

pub(crate) const BOTH: &str = "\"127.0.0.1\", \"::1\"";

/// What coturn's client is told by its options, and over which family it reaches us and its peer.
struct Mode {
    options: &'static str,
    server_ipv6: bool,
    peer_ipv6: bool,
}

const fn mode(options: &'static str, server_ipv6: bool, peer_ipv6: bool) -> Mode {
    Mode { options, server_ipv6, peer_ipv6 }
}

/// -t: TCP, -S: TLS, -s: Send and Data instead of channels, -y: clients with each other, -x: IPv6 relay address,
/// -c: no second port by EVEN-PORT, -g: DONT-FRAGMENT, -D: padded channels, -G: refreshes,
/// -l: bytes of a message. (-Z, both families at once, asks by 0x8032, a number that ADDITIONAL-ADDRESS-FAMILY never got.)
const MODES: [Mode; 18] = [
    mode("", false, false),
    mode("-s", false, false),
    mode("-c -y", false, false),
    mode("-c -y -s", false, false),
    mode("-c -l 1100", true, false),
    mode("-c -x", true, true),
    mode("-c -x -s", false, true),
    mode("-g -X -c", false, false),
    mode("-G -c", false, false),
    mode("-t", false, false),
    mode("-t -c -s", true, false),
    mode("-t -c -y", false, false),
    mode("-t -c -x -l 1101", true, true),
    mode("-t -c -D -l 3", false, false),
    mode("-t -S", false, false),
    mode("-t -S -c -s", true, false),
    mode("-t -S -c -y", false, false),
    mode("-t -S -c -x -l 1099", true, true),
];

#[tokio::test]
async fn coturn_s_client_relays_in_all_transports() {
    let service = start(MODES.len(), BOTH, "").await;
    let echo = Echo::start();
    let mut runs = Vec::new();
    for (number, mode) in MODES.iter().enumerate() {
        let mut arguments: Vec<String> = mode.options.split_whitespace().map(str::to_owned).collect();
        let port = if mode.options.contains("-S") { service.ports.turn_tls } else { service.ports.turn };
        let user = [format!("user{number}"), format!("secret{number}"), port.to_string()];
        arguments.extend(["-u", &user[0], "-w", &user[1], "-p", &user[2]].map(str::to_owned));
        arguments.extend(["-n", &MESSAGES.to_string(), "-m", &CLIENTS.to_string()].map(str::to_owned));
        arguments.extend(echo.options(mode.peer_ipv6));
        arguments.push(if mode.server_ipv6 { "::1" } else { "127.0.0.1" }.to_owned());
        runs.push(Run::start(&service, &format!("mode{number}"), "turnutils_uclient", &arguments));
        // All at once would be more than two CPUs do in time.
        sleep(Duration::from_millis(100)).await;
    }
    for run in &mut runs {
        let output = run.succeeds().await;
        assert!(output.contains("Total lost packets 0 (0.000000%)"), "{}:\n{output}", run.what);
    }
    // Nothing of it went by another way, and nothing was lost on ours.
    let metrics = service.relay_metrics().await;
    let sum =
        |name: &str| -> f64 { metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum() };
    let relayed = (MODES.len() * MESSAGES * CLIENTS) as f64;
    // Where both ends are clients of this relay, their packets go from one to the other in memory.
    let between = sum("plausch_turn_between_clients_total");
    assert!(sum("plausch_turn_to_peers_total") + between >= relayed, "{metrics:#?}");
    assert!(sum("plausch_turn_from_peers_total") + between >= relayed, "{metrics:#?}");
    let streams = MODES.iter().filter(|mode| mode.options.contains("-t")).count() * CLIENTS;
    assert!(sum("plausch_edge_accepted_total") >= streams as f64, "{metrics:#?}");
    assert!(sum("plausch_edge_received_total") >= (streams * MESSAGES) as f64, "{metrics:#?}");
    for name in
        ["plausch_drop_edge_ring_total", "plausch_relay_port_failures_total", "plausch_edge_drop_total{reason=\"slow"]
    {
        assert_eq!(sum(name), 0.0, "{name}: {metrics:#?}");
    }
}

/// A pair of ports is asked for by two connections, which nothing but a token has in common.
#[tokio::test]
async fn pairs_of_ports_are_had_by_tcp_on_several_shards() {
    let mut service = Service::prepare().await;
    let configuration = configuration(&service, 2, BOTH, "").replacen("[media]", "[media]\ncpus = [0, 1]", 1);
    service.start_control();
    service.start_with(Process::Relay, &configuration);
    service.ready(SOON).await;
    let echo = Echo::start();
    let mut runs = Vec::new();
    for (user, options, port) in [(0, "-t", service.ports.turn), (1, "-t -S", service.ports.turn_tls)] {
        let mut arguments: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        arguments.extend(["-u", &format!("user{user}"), "-w", &format!("secret{user}")].map(str::to_owned));
        arguments.extend(["-p", &port.to_string(), "-n", "3", "-m", "8"].map(str::to_owned));
        arguments.extend(echo.options(false));
        arguments.push("127.0.0.1".to_owned());
        runs.push(Run::start(&service, &format!("pairs{user}"), "turnutils_uclient", &arguments));
    }
    for run in &mut runs {
        let output = run.succeeds().await;
        assert!(output.contains("Total lost packets 0 (0.000000%)"), "{}:\n{output}", run.what);
    }
    let metrics = service.relay_metrics().await;
    let requests = |shard| metrics[&format!("plausch_turn_requests_total{{shard=\"{shard}\"}}")];
    assert!(requests(0) > 0.0 && requests(1) > 0.0, "both shards had clients");
    assert_eq!(service.relay_metric("plausch_turn_refused_capacity_total").await, 0.0, "no token was in vain");
}

#[tokio::test]
async fn coturn_s_stun_and_nat_discovery_clients_are_answered() {
    let service = start(0, "\"127.0.0.1\", \"127.0.0.2\", \"::1\"", "nat_discovery = true").await;
    let port = service.ports.turn.to_string();
    for address in ["127.0.0.1", "::1"] {
        let arguments = ["-p", &port, address].map(str::to_owned);
        let output = Run::start(&service, "stun", "turnutils_stunclient", &arguments).succeeds().await;
        assert!(output.contains(&format!("UDP reflexive addr: {address}:")), "{output}");
    }
    let arguments = ["-m", "-f", "-p", &port, "127.0.0.1"].map(str::to_owned);
    let output = Run::start(&service, "discovery", "turnutils_natdiscovery", &arguments).succeeds().await;
    for said in ["NAT with Endpoint Independent Mapping", "NAT with Endpoint Independent Filtering"] {
        assert!(output.contains(said), "{output}");
    }
}

/// Attacks that come with coturn: broken messages for as long as they are let, and connections that end at once.
#[tokio::test]
async fn coturn_s_attacks_change_nothing_for_others() {
    let mut service = start(3, BOTH, "").await;
    let echo = Echo::start();
    let options = |options: &str, user: usize| {
        let mut arguments: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        arguments.extend(["-u".to_owned(), format!("user{user}"), "-w".to_owned(), format!("secret{user}")]);
        arguments.extend(["-p".to_owned(), service.ports.turn.to_string()]);
        arguments.extend(echo.options(false));
        arguments.push("127.0.0.1".to_owned());
        arguments
    };
    let _attacks = [
        Run::start(&service, "broken", "turnutils_uclient", &options("-R -n 1000 -m 2", 0)),
        Run::start(&service, "broken-tcp", "turnutils_uclient", &options("-R -t -n 1000 -m 2", 0)),
        Run::start(&service, "short", "turnutils_uclient", &options("-O -n 1000 -m 5", 1)),
        Run::start(&service, "short-tcp", "turnutils_uclient", &options("-O -t -n 1000 -m 5", 1)),
    ];
    let mut good = Run::start(&service, "good", "turnutils_uclient", &options("-n 50 -m 2", 2));
    let output = good.succeeds().await;
    assert!(output.contains("Total lost packets 0 (0.000000%)"), "{output}");
    assert!(service.lives(Process::Relay));
    assert_eq!(service.relay_metric("plausch_shard_restarts_total").await, 0.0);
}

/// A firewall that lets one TCP port through is enough for the page, for signalling and for TURN; and control may be
/// exchanged meanwhile.
#[tokio::test]
async fn one_tls_port_serves_signalling_and_turn_and_turn_outlives_control() {
    let mut service = start(2, BOTH, "").await;
    let port = service.ports.turn_tls;
    let own = || Trust::File(service.dir.join("https.pem"));
    let options = |name: &str, trust| JoinOptions {
        trust,
        ..JoinOptions::new(format!("https://localhost:{port}"), "room", name)
    };
    let anna = join_with(options("Anna", own())).await;
    let bert = join(&service, "room", "Bert").await;
    all_meet(&[&anna, &bert]).await;

    let echo = Echo::start();
    let mut runs = Vec::new();
    // Five seconds of packets, in the middle of which control is away for two.
    for (user, transport, port) in [(0, "-t -S", port), (1, "-t", service.ports.turn)] {
        let mut arguments: Vec<String> = transport.split_whitespace().map(str::to_owned).collect();
        arguments.extend(["-c", "-n", "100", "-z", "50", "-m", "2", "-p", &port.to_string()].map(str::to_owned));
        arguments.extend(["-u", &format!("user{user}"), "-w", &format!("secret{user}")].map(str::to_owned));
        arguments.extend(echo.options(false));
        arguments.push("127.0.0.1".to_owned());
        runs.push(Run::start(&service, &format!("during{user}"), "turnutils_uclient", &arguments));
    }
    let begun = Instant::now();
    while service.relay_metric("plausch_turn_from_peers_total").await < 50.0 {
        assert!(begun.elapsed() < PATIENCE, "{}", runs[0].output());
        sleep(Duration::from_millis(50)).await;
    }
    service.kill(Process::Control);
    sleep(Duration::from_secs(2)).await;
    service.start_control();
    service.ready(SOON).await;
    assert!(runs.iter_mut().all(|run| run.child.try_wait().unwrap().is_none()), "they were to go on meanwhile");
    for run in &mut runs {
        let output = run.succeeds().await;
        assert!(output.contains("Total lost packets 0 (0.000000%)"), "{}:\n{output}", run.what);
    }
    let clara = join_with(options("Clara", Trust::File(service.dir.join("https.pem")))).await;
    all_meet(&[&anna, &bert, &clara]).await;
}

#[tokio::test]
async fn ports_of_others_are_told_in_a_sentence_if_they_were_asked_for() {
    let service = Service::prepare().await;
    let run = |variable: &str, port: u16| {
        let output = service.command(Process::Relay).env(variable, port.to_string()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        let sentence = text.lines().last().unwrap_or_default().to_owned();
        assert!(sentence.contains(&port.to_string()) && sentence.contains(variable), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    };
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    run("PLAUSCH_TURN_PORT", udp.local_addr().unwrap().port());
    let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    run("PLAUSCH_TURN_TLS_PORT", tcp.local_addr().unwrap().port());
}
