//! The servers that are compared, each started afresh on its own CPU with a configuration of its own.

use crate::ground::Process;
use crate::ground::lab::{DEVICE, Ground};
use crate::ground::servers::Driver;
use anyhow::{Context, bail};
use plausch_client::turn::{Datagrams, Leg, Request, Transport, TurnError, parse_response};
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server must answer within this time.
const START_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The secret of both; it protects nothing.
pub(crate) const SECRET: &str = "only-for-this-run";

/// Ours relays from these ports, which are above those that the kernel gives away by itself.
const FIRST_RELAY_PORT: u16 = 61_000;
const RELAY_PORTS: usize = 65_536 - FIRST_RELAY_PORT as usize;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    /// plausch-relay.
    Ours,
    /// Debian's coturn.
    Coturn,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Coturn => "coturn",
        }
    }
}

/// How to start one.
pub(crate) struct Setup<'a> {
    pub(crate) transport: Transport,
    pub(crate) ground: &'a Ground,
    pub(crate) allocations: usize,
    /// The program plausch-relay.
    pub(crate) relay: &'a Path,
    pub(crate) driver: Driver,
}

/// A running server. It ends, and its folder is removed, when this is dropped.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Server {
    /// # Errors
    /// When it cannot be started or does not answer, with the end of what it said.
    pub(crate) fn start(kind: Kind, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let mut tag = [0; 8];
        getrandom::fill(&mut tag).context("no random numbers")?;
        let folder = std::env::temp_dir().join(format!("plausch-bench-{:016x}", u64::from_be_bytes(tag)));
        fs::create_dir(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let started = match kind {
            Kind::Ours => ours(setup, &folder),
            Kind::Coturn => coturn(setup, &folder),
        };
        let server = started.and_then(|(mut command, address)| {
            let log = fs::File::create(folder.join("log"))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            let child = command.spawn().with_context(|| format!("cannot start {}", kind.name()))?;
            let process = Process { pid: child.id() };
            Ok(Self { child, folder: folder.clone(), address, process })
        });
        match server {
            Ok(mut server) => {
                server.wait(kind, setup.transport)?;
                Ok(server)
            }
            Err(error) => {
                // The first error says more than that the folder stays.
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Asks until it answers.
    fn wait(&mut self, kind: Kind, transport: Transport) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start ({status}): {}", kind.name(), self.last_words());
            }
            match self.answers(transport) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(TurnError::Unreachable { .. } | TurnError::Tls { .. }) if Instant::now() < deadline => {
                    thread::sleep(ASK_AGAIN);
                }
                Ok(false) => bail!("{} does not answer: {}", kind.name(), self.last_words()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn answers(&self, transport: Transport) -> Result<bool, TurnError> {
        let mut leg = Leg::connect(transport, self.address, None)?;
        let Ok(message) = (Request::Allocate { ipv6: false }).message(None) else { return Ok(false) };
        let mut answered = false;
        if leg.send(&message.raw).is_ok() {
            thread::sleep(ASK_AGAIN);
            // A closed port is told by the receive; it is asked again.
            let _ = leg.receive(&mut Datagrams::new(), |frame, _| answered |= parse_response(frame).is_some());
        }
        Ok(answered)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if last.is_empty() {
            "it said nothing".to_owned()
        } else {
            last.into_iter().rev().collect::<Vec<_>>().join(" | ")
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and the folder may be in use by nobody else.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn coturn(setup: &Setup<'_>, folder: &Path) -> anyhow::Result<(Command, SocketAddr)> {
    let program = find_program("turnserver")
        .context("there is no turnserver; install Debian's coturn with scripts/bench-peers")?;
    let (port, tls_port) = (free_port()?, free_port()?);
    let ip = setup.ground.server_address();
    let mut text = format!(
        "listening-ip={ip}\nrelay-ip={ip}\nlistening-port={port}\ntls-listening-port={tls_port}\n\
         min-port=20000\nmax-port=65535\nrelay-threads={threads}\n\
         use-auth-secret\nstatic-auth-secret={SECRET}\nrealm=bench\n\
         allow-loopback-peers\nno-cli\nno-dtls\nno-multicast-peers\nno-rfc5780\nno-software-attribute\n\
         log-file={log}\nsimple-log\nno-stdout-log\npidfile={folder}/pid\nuserdb={folder}/turndb\n",
        threads = setup.ground.server_cpus().len(),
        log = folder.join("turnserver.log").display(),
        folder = folder.display(),
    );
    let mut address = SocketAddr::from((ip, port));
    if setup.transport == Transport::Tls {
        make_certificate(folder)?;
        writeln!(text, "cert={0}/cert.pem\npkey={0}/key.pem", folder.display())?;
        address.set_port(tls_port);
    } else {
        text += "no-tls\n";
    }
    let file = folder.join("turnserver.conf");
    fs::write(&file, text)?;
    let mut command = setup.ground.server_command(&program);
    command.arg("-c").arg(file);
    Ok((command, address))
}

fn ours(setup: &Setup<'_>, folder: &Path) -> anyhow::Result<(Command, SocketAddr)> {
    let program = setup.relay;
    if !program.exists() {
        bail!("there is no {}; build it with `cargo build --release -p plausch-relay`", program.display());
    }
    if setup.transport == Transport::Tls {
        bail!("the relay has its certificate from control; give the address of a whole service with --server");
    }
    let (port, media, link) = (free_port()?, free_port()?, free_port()?);
    // A relayed address is a port of one of the relay's addresses, in use or not. Those above the kernel's own choices
    // collide with no socket of the clients.
    let addresses = setup.ground.server_addresses(setup.allocations / RELAY_PORTS + 1);
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let text = format!(
        "[media]\ncpus = {cpus:?}\nfirst_port = {media}\naddresses = [{addresses}]\n\
         driver = \"{driver}\"\ndevice = \"{DEVICE}\"\n\
         [link]\ncontrol = \"127.0.0.1:{link}\"\n[state]\ndirectory = \"{folder}\"\n\
         [turn]\nudp_port = {port}\ntcp_port = {port}\ntls_ports = []\n\
         relay_ports = \"{FIRST_RELAY_PORT}-65535\"\n\
         shared_secrets = [\"{SECRET}\"]\nallow_peers = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n",
        addresses = quoted.join(", "),
        cpus = setup.ground.server_cpus(),
        driver = setup.driver,
        folder = folder.display(),
    );
    let file = folder.join("relay.toml");
    fs::write(&file, text)?;
    let mut command = setup.ground.server_command(program);
    command.arg("--config").arg(file);
    Ok((command, SocketAddr::from((setup.ground.server_address(), port))))
}

/// A certificate for coturn.
fn make_certificate(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=bench", "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("there is no openssl to make a certificate with; install it")?;
    if !status.success() {
        bail!("openssl could not make a certificate ({status})");
    }
    Ok(())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A port that nobody uses, neither by UDP nor by TCP.
fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address.port()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("no port of 127.0.0.1 is free")
}
