//! The command line of `plausch-bench turn`.

use super::flood::{LAB_SPOOFED, LOOPBACK_SPOOFED, Network};
use super::payload::STAMP_BYTES;
use super::run::{FloodPlan, Plan};
use super::servers::Kind;
use super::worker::{Direction, Pace};
use crate::ground::lab::{Cable, parse_cpus};
use crate::ground::servers::Driver;
use crate::ground::{Process, open_files_limits};
use crate::report::{LimitArguments, Outputs};
use crate::run::permission::is_of_this_machine;
use anyhow::{anyhow, bail};
use clap::Args;
use clap::builder::TypedValueParser;
use plausch_client::turn::{CHANNELS, Transport, User, Users};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread::available_parallelism;

/// Packets in a second, all flows together, that another machine gets unless a rate is given.
const REMOTE_PACKETS_PER_S: f64 = 1000.0;
const DEFAULT_RATE: f64 = 50.0;
/// Clients: networks of which all addresses are this machine's.
const LOOPBACK_CLIENTS: Network = Network::new(Ipv4Addr::new(127, 77, 0, 0), 16);
const LAB_CLIENTS: Network = Network::new(Ipv4Addr::new(10, 77, 0, 0), 16);

/// Whom to compare ours with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Peer {
    /// Debian's coturn.
    Coturn,
}

/// Arguments of `plausch-bench turn`.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  a hundred calls, sound alone       plausch-bench turn --user robi --password x --allocations 100
  what 60 000 packets/s cost         plausch-bench turn --user robi --password x --rate 60000 --size 200,1100
  ours beside coturn                 plausch-bench turn --against coturn --lab --allocations 100 --rate 600 --size 200,1100
  frames of six packets              plausch-bench turn --against coturn --lab --allocations 100 --rate 600 --burst 6
  memory of allocations              plausch-bench turn --secret s --allocations 100000 --idle
  a flood beside running calls       plausch-bench turn --only ours --allocations 100 --spoofed-allocates 1000000

A flow is one channel of one allocation; each has the rate of --rate, in each direction. The receiver's kernel notes
when a packet arrives, so the program's own turns are not in the latencies. `direct` is the same way without a server.
The program keeps its CPUs busy all the time: keep the server off them (--cpus), and believe no figure of a run that
says LIMITED or DISTURBED.")]
pub(crate) struct TurnArguments {
    /// Address of the TURN server.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3478")]
    server: String,
    /// User of a static password.
    #[arg(long, requires = "password")]
    user: Option<String>,
    #[arg(long, requires = "user")]
    password: Option<String>,
    /// Secret by which time-limited users are made, one for each allocation (TURN REST API).
    #[arg(long, conflicts_with = "user")]
    secret: Option<String>,
    /// Between clients and server; between server and peers it is always UDP.
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    pub(crate) transport: Transport,
    /// Allocations, each of a client with its own socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000).map(|n| n as usize))]
    pub(crate) allocations: usize,
    /// Channels of each allocation, each to another peer.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=CHANNELS as i64))]
    channels: u16,
    /// Bytes of each packet behind the server; several are measured one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [200], value_parser = clap::value_parser!(u16).range(STAMP_BYTES as i64..=1400))]
    pub(crate) size: Vec<u16>,
    /// Packets in a second, of each flow and direction [default: 50; on another machine at most 1000 in all].
    #[arg(long)]
    rate: Option<f64>,
    /// Packets of a flow that go out together, as those of a video frame do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    burst: u32,
    /// Send each packet of a burst by a call of its own, instead of all by one as runs (UDP_SEGMENT): a server that can
    /// take runs then gets them as they come from the network through a card that gathers (GRO).
    #[arg(long)]
    single: bool,
    /// From clients to peers, from peers to clients, or both.
    #[arg(long, value_enum, default_value_t = Direction::Both)]
    direction: Direction,
    /// Send and Data indications instead of channels.
    #[arg(long)]
    indications: bool,
    /// How long to measure.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long the way without a server is measured before; 0: not at all.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    baseline_seconds: u64,
    /// Only make allocations, from other addresses each, and tell what they cost the server.
    #[arg(long)]
    pub(crate) idle: bool,
    /// Addresses of clients of a server on loopback or in a lab, an own one for each as people have; the network must be
    /// of this machine, as all of 127.0.0.0/8 is [default: 127.77.0.0/16, or 10.77.0.0/16 in a lab].
    #[arg(long, value_name = "NETWORK")]
    clients_from: Option<Network>,
    /// After the measurement, send this many Allocates without credentials from forged addresses beside the flows.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    spoofed_allocates: u64,
    /// How many of them in a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    spoofed_rate: u32,
    /// Where they come from; the network must be of this machine, as all of 127.0.0.0/8 is [default: 127.128.0.0/9, or
    /// 10.0.0.0/10 in a lab].
    #[arg(long, value_name = "NETWORK")]
    spoofed_from: Option<Network>,
    /// CPUs of this program, a thread on each [default: those that the server may not use].
    #[arg(long = "cpus", value_delimiter = ',')]
    pub(crate) client_cpus: Vec<usize>,
    /// Process of the server; without it, the one that receives at its UDP port.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Start ours and this one by turns, each on a CPU of its own, and tell the ratio.
    #[arg(long, value_enum)]
    pub(crate) against: Option<Peer>,
    /// Start this one only.
    #[arg(long, value_enum, conflicts_with = "against")]
    pub(crate) only: Option<Kind>,
    /// How often each is measured; once more at first, which is thrown away, unless this is 1.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// CPUs of the servers that this program starts, as a list; clients take the others [default: the last one].
    #[arg(long, value_name = "LIST")]
    pub(crate) server_cpus: Option<String>,
    /// Start the servers in a network namespace of their own, joined to the clients' by a pair of devices. Needs root, and
    /// --against or --only.
    #[arg(long)]
    pub(crate) lab: bool,
    #[command(flatten)]
    pub(crate) cable: Cable,
    /// Our relay's driver: how it sends and receives.
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// The program plausch-relay [default: beside this program].
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,
    /// Allow a server on another machine: only with the consent of those who run it.
    #[arg(long)]
    allow_remote: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

impl TurnArguments {
    /// Refuses what cannot work before anybody is bothered with it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.outputs.check()?;
        if self.indications && self.size.iter().any(|size| !size.is_multiple_of(4)) {
            bail!("indications are padded to four bytes; give --size in multiples of four");
        }
        if self.rate.is_some_and(|rate| !(0.01..=10_000_000.0).contains(&rate)) {
            bail!("--rate must be from 0.01 to 10000000 packets in a second");
        }
        if self.idle && self.transport != Transport::Udp {
            bail!("idle allocations are made by UDP only, because a closed connection ends its allocation");
        }
        if self.client_cpus.iter().any(|cpu| *cpu >= available_parallelism().map_or(1, usize::from)) {
            bail!("--cpus names a CPU that this machine has not");
        }
        if !self.driver.suits(self.lab) {
            bail!("--driver xdp goes past loopback; give --lab, too, as root");
        }
        if self.lab && self.against.is_none() && self.only.is_none() {
            bail!("a lab is for servers that this program starts; give --against or --only");
        }
        let sockets = if self.idle { 0 } else { 2 * self.allocations };
        let wanted = (sockets + usize::from(self.channels) * 64 + 64) as u64;
        let allowed = open_files_limits().map_or(u64::MAX, |(now, _)| now);
        if wanted > allowed {
            bail!("{wanted} open files are needed, but only {allowed} are allowed; run `ulimit -n {wanted}` before");
        }
        Ok(())
    }

    /// The server's address, if load may be put on it.
    pub(crate) fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let server = &self.server;
        let mut addresses = server
            .to_socket_addrs()
            .map_err(|error| anyhow!("{server:?} is no address of a TURN server ({error}); give HOST:PORT"))?;
        let address = addresses.next().ok_or_else(|| anyhow!("{server:?} has no address; check its spelling"))?;
        if !is_of_this_machine(address.ip()) && !self.allow_remote {
            bail!("{address} is not this machine; give --allow-remote if you may put load on it");
        }
        Ok(address)
    }

    pub(crate) fn find_process(&self, server: SocketAddr) -> anyhow::Result<Option<Process>> {
        let Some(pid) = self.pid else { return Ok(Process::at_udp(server)) };
        let process = Process { pid };
        process.sample().ok_or_else(|| anyhow!("there is no process {pid}; check --pid"))?;
        Ok(Some(process))
    }

    pub(crate) fn users(&self) -> anyhow::Result<Users> {
        match (&self.user, &self.password, &self.secret) {
            (Some(user), Some(password), _) => Ok(Users::One(User::new(user.clone(), password.clone()))),
            (_, _, Some(secret)) => Ok(Users::Secret(secret.clone())),
            _ => bail!("without credentials there are no allocations; give --user and --password, or --secret"),
        }
    }

    /// Those that were given, or those that the server keeps off, or all.
    pub(crate) fn client_cpus(&self, server: Option<Process>) -> Vec<usize> {
        if !self.client_cpus.is_empty() {
            return self.client_cpus.clone();
        }
        let all: Vec<usize> = (0..available_parallelism().map_or(1, usize::from)).collect();
        let servers = server.and_then(allowed_cpus).unwrap_or_default();
        let free: Vec<usize> = all.iter().copied().filter(|cpu| !servers.contains(cpu)).collect();
        if free.is_empty() { all } else { free }
    }

    /// Where clients come from, if each has an address of its own.
    pub(crate) fn clients_from(&self, server: SocketAddr) -> Option<Network> {
        let default = match self.lab {
            true => Some(LAB_CLIENTS),
            false => (server.is_ipv4() && server.ip().is_loopback()).then_some(LOOPBACK_CLIENTS),
        };
        let given = self.clients_from.filter(|_| default.is_some());
        given.or(default)
    }

    pub(crate) fn relay(&self) -> anyhow::Result<PathBuf> {
        match &self.relay {
            Some(relay) => Ok(relay.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("plausch-relay")),
        }
    }

    pub(crate) fn plan(&self, server: SocketAddr, users: Users, size: u16, cpus: Vec<usize>) -> Plan {
        let from = self.spoofed_from.unwrap_or(if self.lab { LAB_SPOOFED } else { LOOPBACK_SPOOFED });
        let (total, per_s) = (self.spoofed_allocates, self.spoofed_rate);
        Plan {
            server,
            transport: self.transport,
            clients_from: self.clients_from(server),
            users,
            allocations: self.allocations,
            channels: usize::from(self.channels),
            indications: self.indications,
            pace: Pace {
                payload_bytes: usize::from(size),
                packets_per_s: self.packets_per_s(server),
                burst: self.burst,
                runs: !self.single,
                direction: self.direction,
            },
            seconds: self.seconds,
            baseline_seconds: self.baseline_seconds,
            cpus,
            server_cpus: Vec::new(),
            receives_itself: false,
            flood: (total > 0).then_some(FloodPlan { total, per_s, from }),
        }
    }

    fn packets_per_s(&self, server: SocketAddr) -> f64 {
        let flows = (self.allocations * usize::from(self.channels)) as f64;
        self.rate.unwrap_or_else(|| match is_of_this_machine(server.ip()) {
            true => DEFAULT_RATE,
            false => DEFAULT_RATE.min(REMOTE_PACKETS_PER_S / flows),
        })
    }

    /// Who does what, for the head of a report.
    pub(crate) fn scenario(&self, size: u16) -> String {
        let (allocations, channels) = (self.allocations, self.channels);
        let rate = self.rate.unwrap_or(DEFAULT_RATE);
        let what = if self.indications { "peers by indications" } else { "channels" };
        let direction = match self.direction {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Both => "both ways",
        };
        let burst = match (self.burst, self.single) {
            (1, _) => String::new(),
            (packets, false) => format!(" in runs of {packets}"),
            (packets, true) => format!(" in bursts of {packets} single packets"),
        };
        let transport = self.transport.name();
        format!(
            "turn: {allocations} allocations × {channels} {what} × {rate} packets/s {direction}{burst}, {size} B, {transport}"
        )
    }
}

/// The CPUs that a process may use, from a list as 0-2,7.
fn allowed_cpus(process: Process) -> Option<Vec<usize>> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
    parse_cpus(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}
