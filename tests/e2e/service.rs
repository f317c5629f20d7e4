//! Starts and stops the two processes, and asks them how they are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

/// Services at once: more would disturb each other on a small machine.
static PLACES: Semaphore = Semaphore::const_new(2);
/// How long a process may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// Ports of one service: HTTP, metrics, link, HTTPS, then media of up to 26 shards, the same of a second relay after its
/// metrics, and at the end TURN.
const PORT_BLOCK: u16 = 64;
const SECOND_PLACE: u16 = 30;
const SECOND_TURN_PLACE: u16 = 56;
const SECOND_TURN_TLS_PLACE: u16 = 58;
const TURN_PLACE: u16 = 60;
const TURN_TLS_PLACE: u16 = 62;
/// Relay ports of one service, below all of these: the test of TURN's modes takes up to 60 of a family at once, and pairs
/// of them, which need many more to choose from.
const RELAY_PORTS: u16 = 200;
const FIRST_RELAY_PORT: u16 = 10_000;
const FIRST_PORT: u16 = 20_000;
/// Below the ports that the kernel gives away by itself (32768 and more), and as many as there are relay ports for.
const PORT_BLOCKS: u16 = 50;
/// The shards publish their numbers every 100 ms.
const PUBLISHED: Duration = Duration::from_millis(300);

/// Which of the processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Process {
    Control,
    Relay,
    /// Only where a test starts it.
    SecondRelay,
}

impl Process {
    fn name(self) -> &'static str {
        match self {
            Self::Control => "plausch-control",
            Self::Relay => "plausch-relay",
            Self::SecondRelay => "plausch-relay-2",
        }
    }

    /// Its file.
    fn program(self) -> &'static str {
        match self {
            Self::Control => "plausch-control",
            Self::Relay | Self::SecondRelay => "plausch-relay",
        }
    }
}

/// Both processes and their folder. They are killed when this is dropped.
pub(crate) struct Service {
    pub(crate) dir: PathBuf,
    pub(crate) ports: Ports,
    children: BTreeMap<&'static str, Child>,
    /// The most talkative level of logging, for ourselves and for whatever else listens to the environment.
    talkative: bool,
    _place: SemaphorePermit<'static>,
}

/// The ports of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) metrics: u16,
    pub(crate) link: u16,
    pub(crate) media: u16,
    pub(crate) https: u16,
    /// UDP and TCP; the port after it is free, too.
    pub(crate) turn: u16,
    pub(crate) turn_tls: u16,
    /// The first of `RELAY_PORTS`.
    relay: u16,
}

impl Ports {
    /// A block of ports that nobody uses.
    fn find() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Test processes that run side by side begin at different blocks.
        let start = (std::process::id() % u32::from(PORT_BLOCKS)) as u16;
        for _ in 0..PORT_BLOCKS {
            let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % PORT_BLOCKS;
            let base = FIRST_PORT + block * PORT_BLOCK;
            let udp = |port| {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
                    && UdpSocket::bind((Ipv6Addr::LOCALHOST, port)).is_ok()
            };
            let tcp = |port| {
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                    && TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok()
            };
            let (turn, turn_tls) = (base + TURN_PLACE, base + TURN_TLS_PLACE);
            let all_udp = (base + 2..base + 8).chain([turn, turn + 1]);
            if [base, base + 1, base + 3, turn, turn_tls].into_iter().all(tcp) && all_udp.into_iter().all(udp) {
                return Self {
                    http: base,
                    metrics: base + 1,
                    link: base + 2,
                    media: base + 4,
                    https: base + 3,
                    turn,
                    turn_tls,
                    relay: FIRST_RELAY_PORT + block * RELAY_PORTS,
                };
            }
        }
        panic!("no free block of ports between {FIRST_PORT} and {}", FIRST_PORT + PORT_BLOCKS * PORT_BLOCK - 1);
    }
}

impl Ports {
    /// Every port on which one of the two processes may listen.
    pub(crate) fn all(&self) -> Vec<u16> {
        (self.http..self.http + PORT_BLOCK).chain(self.relay..self.relay + RELAY_PORTS).collect()
    }

    /// From here on the second relay has its media.
    pub(crate) fn second_media(&self) -> u16 {
        self.http + SECOND_PLACE + 1
    }

    /// The range of relay ports, as the relay's configuration has it.
    pub(crate) fn relay_ports(&self) -> String {
        format!("{}-{}", self.relay, self.relay + RELAY_PORTS - 1)
    }
}

impl Service {
    /// Starts both and waits until calls can be made.
    pub(crate) async fn start() -> Self {
        let mut service = Self::prepare().await;
        service.start_control();
        service.start_relay();
        service.ready(PATIENCE).await;
        service
    }

    /// A place, a folder and ports, but no processes yet.
    pub(crate) async fn prepare() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let ports = Ports::find();
        let dir = std::env::temp_dir().join(format!("plausch-e2e-{}-{}", std::process::id(), ports.http));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self { dir, ports, children: BTreeMap::new(), talkative: false, _place: place }
    }

    /// Address for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    pub(crate) fn start_control(&mut self) {
        self.launch(Process::Control, None);
    }

    pub(crate) fn start_relay(&mut self) {
        self.launch(Process::Relay, None);
    }

    /// Starts the second relay and waits until it is linked.
    pub(crate) async fn start_second_relay(&mut self) {
        self.launch(Process::SecondRelay, None);
        let begin = Instant::now();
        while !self.log(Process::SecondRelay).contains("linked to control") || self.relays().await != 2 {
            assert!(begin.elapsed() < PATIENCE, "the second relay is not linked");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Relays that are linked to control.
    pub(crate) async fn relays(&self) -> usize {
        let (_, text) = get(self.ports.http, "/metrics").await.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("plausch_relay_linked "));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// Starts a process with this configuration instead of its embedded one.
    pub(crate) fn start_with(&mut self, process: Process, configuration: &str) {
        let path = self.dir.join(format!("{}.toml", process.name()));
        fs::write(&path, configuration).unwrap();
        self.launch(process, Some(&path));
    }

    /// Starts a process whose standard error goes elsewhere.
    pub(crate) fn start_writing_to(&mut self, process: Process, stderr: Stdio) {
        let child = self.command(process).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        self.children.insert(process.name(), child);
    }

    fn launch(&mut self, process: Process, configuration: Option<&Path>) {
        let log = || File::options().create(true).append(true).open(self.log_path(process)).unwrap();
        let mut command = self.command(process);
        if let Some(path) = configuration {
            command.arg("--config").arg(path);
        }
        let child = command.stdout(log()).stderr(log()).spawn().unwrap();
        self.children.insert(process.name(), child);
    }

    /// The process with the environment of this service.
    pub(crate) fn command(&self, process: Process) -> Command {
        let mut command = Command::new(binary(process));
        command
            .env("PLAUSCH_STATE_DIR", &self.dir)
            .env("PLAUSCH_HTTP_PORT", self.ports.http.to_string())
            .env("PLAUSCH_LINK_PORT", self.ports.link.to_string())
            .env("PLAUSCH_MEDIA_PORT", self.ports.media.to_string())
            .env("PLAUSCH_METRICS_PORT", self.ports.metrics.to_string())
            .env("PLAUSCH_TURN_PORT", self.ports.turn.to_string())
            .env("PLAUSCH_TURN_TLS_PORT", self.ports.turn_tls.to_string())
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null());
        if process == Process::SecondRelay {
            let base = self.ports.http;
            command
                .env("PLAUSCH_METRICS_PORT", (base + SECOND_PLACE).to_string())
                .env("PLAUSCH_MEDIA_PORT", self.ports.second_media().to_string())
                .env("PLAUSCH_TURN_PORT", (base + SECOND_TURN_PLACE).to_string())
                .env("PLAUSCH_TURN_TLS_PORT", (base + SECOND_TURN_TLS_PLACE).to_string());
        }
        if self.talkative {
            command.env("PLAUSCH_LOG_LEVEL", "trace").env("RUST_LOG", "trace");
        }
        command
    }

    /// From now on processes start with all that can be switched on in their logs.
    pub(crate) fn log_everything(&mut self) {
        self.talkative = true;
    }

    fn log_path(&self, process: Process) -> PathBuf {
        self.dir.join(format!("{}.log", process.name()))
    }

    /// What the process has written so far.
    pub(crate) fn log(&self, process: Process) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path(process)).unwrap_or_default()).into_owned()
    }

    /// Waits for `/api/health` to say so.
    pub(crate) async fn ready(&self, within: Duration) {
        let begin = Instant::now();
        loop {
            if let Some((200, body)) = get(self.ports.http, "/api/health").await {
                assert!(body.contains("\"ready\":true"), "{body}");
                return;
            }
            assert!(begin.elapsed() < within, "not ready within {within:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, process: Process) {
        let mut child = self.children.remove(process.name()).expect("the process runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and how the process ended.
    pub(crate) async fn terminate(&mut self, process: Process) -> ExitStatus {
        self.ask_to_end(process);
        self.ended(process).await
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self, process: Process) {
        self.signal(process, "TERM");
    }

    /// Any signal, by its name.
    pub(crate) fn signal(&self, process: Process, name: &str) {
        let child = self.children.get(process.name()).expect("the process runs");
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
        assert!(kill.success());
    }

    /// How the process ended, which it does by itself.
    pub(crate) async fn ended(&mut self, process: Process) -> ExitStatus {
        let mut child = self.children.remove(process.name()).expect("the process runs");
        wait(&mut child, process).await
    }

    /// The process has not ended by itself.
    pub(crate) fn lives(&mut self, process: Process) -> bool {
        self.children.get_mut(process.name()).is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// All samples of the relay's metrics without comments: name with labels → value.
    pub(crate) async fn relay_metrics(&self) -> BTreeMap<String, f64> {
        // What was sent before this call is to be among them.
        sleep(PUBLISHED).await;
        let (status, body) = get(self.ports.metrics, "/metrics").await.expect("the relay's metrics answer");
        assert_eq!(status, 200);
        body.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn relay_metric(&self, name: &str) -> f64 {
        total(&self.relay_metrics().await, name)
    }
}

/// The sum of one of these over its labels.
pub(crate) fn total(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    let mut found = metrics.iter().filter(|(key, _)| key.split('{').next() == Some(name)).peekable();
    assert!(found.peek().is_some(), "the relay has no metric {name}; it has {:?}", metrics.keys());
    found.map(|(_, value)| value).sum()
}

impl Drop for Service {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for process in [Process::Control, Process::Relay, Process::SecondRelay] {
                let log = self.log(process);
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {}:\n{}", process.name(), lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Waits for the end of a process.
pub(crate) async fn wait(child: &mut Child, process: Process) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{} did not end within {PATIENCE:?}", process.name());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The program next to this test: target/<profile>/.
fn binary(process: Process) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let binary = folder.join(process.program());
    assert!(
        binary.is_file(),
        "{} is missing; run `cargo build -p plausch-relay -p plausch-control` first",
        binary.display()
    );
    binary
}

/// Status and body of an HTTP request, if the server answers within a second.
pub(crate) async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    };
    timeout(Duration::from_secs(1), exchange).await.ok()?
}
