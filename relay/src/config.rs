//! The relay's configuration: one TOML file over an embedded default, then the environment. Every value is checked
//! before anything starts, and what is wrong is said in one sentence.

use crate::cpus;
use crate::reach::Announced;
use plausch_daemon::log::LEVELS;
use plausch_relay_api::limits;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[macro_use]
mod wrong {
    /// Makes a `ConfigError::Value`.
    macro_rules! wrong {
        ($($argument:tt)+) => { crate::config::ConfigError::Value(format!($($argument)+)) };
    }
}
mod turn;

pub use turn::{Port, Turn};

/// The default configuration with its comments.
pub const DEFAULT: &str = include_str!("../relay.toml");

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {reason}")]
    Read { path: PathBuf, reason: std::io::Error },
    #[error("{file} is not understood: {reason}")]
    Syntax { file: String, reason: String },
    #[error("{0}")]
    Value(String),
}

/// The configuration after all checks.
#[derive(Clone, Debug)]
pub struct Config {
    /// One shard on each.
    pub cpus: Vec<usize>,
    /// 0: any free ports.
    pub first_port: u16,
    /// `None`: all that this machine has.
    pub addresses: Option<Vec<IpAddr>>,
    pub announce: Vec<Announced>,
    pub driver: DriverChoice,
    /// For [`DriverChoice::Xdp`] only.
    pub device: String,
    /// Shards have SCHED_FIFO.
    pub realtime: bool,
    pub lock_memory: bool,
    pub handshake_threads: usize,
    pub control: SocketAddr,
    /// Tells this relay from others of the same control. `None`: host and port do.
    pub name: Option<String>,
    pub metrics: Option<SocketAddr>,
    /// `None`: switched off.
    pub turn: Option<Turn>,
    pub state: PathBuf,
    /// How long what runs may go on after SIGTERM.
    pub drain: Duration,
    pub limits: Limits,
    pub log_level: String,
}

/// Limits that an operator may lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub participants_per_shard: usize,
    pub participants_per_room: usize,
    pub handshakes_per_shard: usize,
    pub turn_allocations_per_shard: usize,
    pub turn_allocations_per_user: usize,
    pub turn_open_ports_per_shard: usize,
    pub turn_permissions_per_allocation: usize,
    pub turn_bytes_per_second: u64,
    pub turn_new_peers_per_second: u32,
    pub turn_connections: usize,
    pub turn_connections_per_prefix: usize,
    pub turn_peer_connections: usize,
    pub turn_peer_connections_per_allocation: usize,
    pub turn_peer_connections_per_user: usize,
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        for (key, value, most) in [
            ("participants_per_shard", self.participants_per_shard, limits::PARTICIPANTS_PER_SHARD),
            ("participants_per_room", self.participants_per_room, limits::PARTICIPANTS_PER_ROOM),
            ("handshakes_per_shard", self.handshakes_per_shard, limits::HANDSHAKES_PER_SHARD),
            ("turn_allocations_per_shard", self.turn_allocations_per_shard, limits::TURN_ALLOCATIONS_PER_SHARD),
            // A name that all clients of another program share needs more than a person does.
            ("turn_allocations_per_user", self.turn_allocations_per_user, limits::TURN_ALLOCATIONS_PER_SHARD),
            ("turn_open_ports_per_shard", self.turn_open_ports_per_shard, limits::TURN_OPEN_PORTS_PER_SHARD),
            (
                "turn_permissions_per_allocation",
                self.turn_permissions_per_allocation,
                limits::TURN_PERMISSIONS_PER_ALLOCATION,
            ),
            ("turn_bytes_per_second", self.turn_bytes_per_second as usize, limits::TURN_BYTES_PER_SECOND as usize),
            (
                "turn_new_peers_per_second",
                self.turn_new_peers_per_second as usize,
                limits::TURN_NEW_PEERS_PER_SECOND as usize,
            ),
            ("turn_connections", self.turn_connections, limits::EDGE_CONNECTIONS),
            ("turn_connections_per_prefix", self.turn_connections_per_prefix, limits::EDGE_CONNECTIONS_PER_PREFIX),
            ("turn_peer_connections", self.turn_peer_connections, limits::TURN_PEER_CONNECTIONS),
            (
                "turn_peer_connections_per_allocation",
                self.turn_peer_connections_per_allocation,
                limits::TURN_PEER_CONNECTIONS_PER_ALLOCATION,
            ),
            // As with allocations: a name may be shared.
            ("turn_peer_connections_per_user", self.turn_peer_connections_per_user, limits::TURN_PEER_CONNECTIONS),
        ] {
            within(&format!("limits.{key}"), value, most)?;
        }
        Ok(())
    }
}

/// Which driver a shard has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverChoice {
    Auto,
    Uring,
    Mmsg,
    Xdp,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    media: Media,
    link: Link,
    metrics: Metrics,
    turn: turn::Section,
    state: State,
    shutdown: Shutdown,
    limits: Limits,
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Media {
    cpus: OrAuto<Vec<usize>>,
    first_port: u16,
    addresses: OrAuto<Vec<IpAddr>>,
    announce: Vec<Announced>,
    driver: DriverChoice,
    device: String,
    realtime: bool,
    lock_memory: bool,
    handshake_threads: OrAuto<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    control: SocketAddr,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    directory: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shutdown {
    drain_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    level: String,
}

/// A value, or the word "auto".
#[derive(Deserialize)]
#[serde(untagged)]
enum OrAuto<T> {
    Given(T),
    Word(Auto),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

impl<T> OrAuto<T> {
    fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Word(Auto::Auto) => None,
        }
    }
}

impl Config {
    /// Reads `file` over the default; `env` looks up an environment variable.
    pub fn load(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Self::parse("", "the default configuration", env) };
        let text =
            std::fs::read_to_string(path).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })?;
        Self::parse(&text, &path.display().to_string(), env)
    }

    fn parse(text: &str, name: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let syntax =
            |error: toml::de::Error| ConfigError::Syntax { file: name.to_owned(), reason: error.message().to_owned() };
        // The file on its own first: its errors have line numbers.
        let own: toml::Table = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { file: name.to_owned(), reason: error.to_string() })?;
        let mut merged: toml::Table = toml::from_str(DEFAULT).map_err(syntax)?;
        let given = own.get("turn").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
        let given: HashSet<String> = given.cloned().collect();
        for (section, values) in own {
            let Some(known) = merged.get_mut(&section).and_then(toml::Value::as_table_mut) else {
                return Err(wrong!("{name}: there is no section [{section}]"));
            };
            let toml::Value::Table(values) = values else {
                return Err(wrong!("{name}: {section} is a section and is written [{section}]"));
            };
            for (key, value) in values {
                if known.insert(key.clone(), value).is_none() {
                    return Err(wrong!("{name}: section [{section}] has no key {key}"));
                }
            }
        }
        // Section by section, so that a wrong value is said with its place.
        let mut section = |name_of: &str| merged.remove(name_of).unwrap_or(toml::Value::Boolean(false));
        let sections = (section("media"), section("link"), section("metrics"), section("state"));
        let (turn, shutdown) = (section("turn"), section("shutdown"));
        let (limits, log) = (section("limits"), section("log"));
        let file = File {
            media: read(name, "media", sections.0)?,
            link: read(name, "link", sections.1)?,
            metrics: read(name, "metrics", sections.2)?,
            turn: read(name, "turn", turn)?,
            state: read(name, "state", sections.3)?,
            shutdown: read(name, "shutdown", shutdown)?,
            limits: read(name, "limits", limits)?,
            log: read(name, "log", log)?,
        };
        Self::check(file, &given, env)
    }

    fn check(file: File, given: &HashSet<String>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let port = |name: &str| -> Result<Option<u16>, ConfigError> {
            let Some(text) = env(name) else { return Ok(None) };
            let port = text.parse().ok().filter(|port| *port != 0);
            port.map(Some).ok_or_else(|| wrong!("{name} is '{text}', but must be a port number from 1 to 65535"))
        };
        let allowed = cpus::allowed().map_err(|error| wrong!("cannot ask which CPUs may be used: {error}"))?;
        let cpus = match file.media.cpus.given() {
            Some(cpus) => check_cpus(cpus, &allowed)?,
            None => cpus::for_shards(&allowed, &cpus::Topology::read(Path::new("/"))),
        };
        let first_port = port("PLAUSCH_MEDIA_PORT")?.unwrap_or(file.media.first_port);
        if usize::from(first_port) + cpus.len() > usize::from(u16::MAX) + 1 {
            return Err(wrong!(
                "media.first_port is {first_port}, and {} shards need as many ports from there",
                cpus.len()
            ));
        }
        let addresses = file.media.addresses.given();
        if let Some(addresses) = &addresses {
            check_addresses(addresses)?;
        }
        if let Some(wrong) = file.media.announce.iter().find(
            |entry| matches!(entry, Announced::Address(address) if address.is_unspecified() || address.is_multicast()),
        ) {
            return Err(wrong!("media.announce: {wrong} is no address of a machine"));
        }
        if file.media.announce.len() > limits::LOCAL_ADDRESSES {
            return Err(wrong!("media.announce: at most {} addresses", limits::LOCAL_ADDRESSES));
        }
        let handshake_threads = file
            .media
            .handshake_threads
            .given()
            .unwrap_or_else(|| (allowed.len() / 4).clamp(1, limits::HANDSHAKE_THREADS));
        within("media.handshake_threads", handshake_threads, limits::HANDSHAKE_THREADS)?;

        let mut control = file.link.control;
        if let Some(port) = port("PLAUSCH_LINK_PORT")? {
            control.set_port(port);
        }
        if control.port() == 0 || control.ip().is_unspecified() {
            return Err(wrong!("link.control is {control}, but must be the address and port on which control listens"));
        }
        let name = Some(file.link.name).filter(|name| !name.is_empty());
        if let Some(name) = &name
            && !is_relay_name(name)
        {
            return Err(wrong!(
                "link.name is {name:?}, but must be at most {} letters, digits and . : _ -, or empty",
                limits::RELAY_NAME_BYTES
            ));
        }
        let metrics = match (port("PLAUSCH_METRICS_PORT")?, file.metrics.listen.as_str()) {
            (Some(port), _) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            (None, "") => None,
            (None, text) => Some(text.parse().map_err(|_| {
                wrong!(
                    "metrics.listen is '{text}', but must be an address with port as in \"127.0.0.1:7901\", or empty"
                )
            })?),
        };
        let last_port = first_port.saturating_add(cpus.len() as u16 - 1);
        let around = turn::Around {
            given,
            port: port("PLAUSCH_TURN_PORT")?,
            tls_port: port("PLAUSCH_TURN_TLS_PORT")?,
            shards: cpus.len(),
            media: first_port..=last_port,
            cpus: allowed.len(),
        };
        let turn = file.turn.check(&around)?;
        if file.shutdown.drain_seconds > limits::DRAIN_S {
            return Err(wrong!(
                "shutdown.drain_seconds is {}, but must be from 0 to {}",
                file.shutdown.drain_seconds,
                limits::DRAIN_S
            ));
        }
        file.limits.check()?;
        let log_level = env("PLAUSCH_LOG_LEVEL").filter(|level| !level.is_empty()).unwrap_or(file.log.level);
        if !LEVELS.contains(&log_level.as_str()) {
            return Err(wrong!("log.level is '{log_level}', but must be error, warn, info, debug or trace"));
        }
        if file.media.driver == DriverChoice::Xdp && file.media.device.is_empty() {
            return Err(wrong!("media.driver is \"xdp\", which needs a network device: name it in media.device"));
        }
        Ok(Self {
            cpus,
            first_port,
            addresses,
            announce: file.media.announce,
            driver: file.media.driver,
            device: file.media.device,
            realtime: file.media.realtime,
            lock_memory: file.media.lock_memory,
            handshake_threads,
            control,
            name,
            metrics,
            turn,
            state: state_directory(file.state.directory, env)?,
            drain: Duration::from_secs(file.shutdown.drain_seconds),
            limits: file.limits,
            log_level,
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &str, section: &str, value: toml::Value) -> Result<T, ConfigError> {
    value.try_into().map_err(|error: toml::de::Error| {
        let reason = error.to_string().trim().replace('\n', " ");
        ConfigError::Syntax { file: format!("{file}, section [{section}],"), reason }
    })
}

fn check_cpus(cpus: Vec<usize>, allowed: &[usize]) -> Result<Vec<usize>, ConfigError> {
    if cpus.is_empty() || cpus.len() > limits::SHARDS {
        return Err(wrong!("media.cpus must name from 1 to {} CPUs, or be \"auto\"", limits::SHARDS));
    }
    if let Some(unknown) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(wrong!("media.cpus names CPU {unknown}, but this process may use {allowed:?} only"));
    }
    if cpus.iter().collect::<HashSet<_>>().len() != cpus.len() {
        return Err(wrong!("media.cpus names a CPU twice; one shard has one CPU"));
    }
    Ok(cpus)
}

fn check_addresses(addresses: &[IpAddr]) -> Result<(), ConfigError> {
    if addresses.is_empty() || addresses.len() > limits::LOCAL_ADDRESSES {
        return Err(wrong!(
            "media.addresses must name from 1 to {} addresses, or be \"auto\"",
            limits::LOCAL_ADDRESSES
        ));
    }
    for (index, address) in addresses.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() {
            return Err(wrong!(
                "media.addresses names {address}, but replies must leave from the address that was asked: \
                 name this machine's addresses one by one, or \"auto\""
            ));
        }
        if addresses[..index].contains(address) {
            return Err(wrong!("media.addresses names {address} twice"));
        }
    }
    Ok(())
}

/// What control takes as a relay's name, in metrics and in its log.
fn is_relay_name(name: &str) -> bool {
    name.len() <= limits::RELAY_NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte))
}

fn within(key: &str, value: usize, most: usize) -> Result<(), ConfigError> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(wrong!("{key} is {value}, but must be from 1 to {most}")) }
}

fn state_directory(configured: PathBuf, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
    let filled = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    filled("PLAUSCH_STATE_DIR")
        .or_else(|| (!configured.as_os_str().is_empty()).then_some(configured))
        .or_else(|| filled("XDG_STATE_HOME").map(|home| home.join("plausch")))
        .or_else(|| filled("HOME").map(|home| home.join(".local/state/plausch")))
        .ok_or_else(|| wrong!("there is no HOME; set PLAUSCH_STATE_DIR to a folder for the link's certificates"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/somebody".to_owned())
    }

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, "relay.toml", env)
    }

    #[test]
    fn the_default_is_valid_and_says_all_limits() {
        let config = parse("").unwrap();
        assert_eq!(config.first_port, 7882);
        assert_eq!(config.control, SocketAddr::from((Ipv4Addr::LOCALHOST, 7900)));
        assert_eq!(config.state, Path::new("/home/somebody/.local/state/plausch"));
        assert_eq!((config.metrics, config.drain, config.name), (None, Duration::ZERO, None));
        assert_eq!(
            config.limits,
            Limits {
                participants_per_shard: limits::PARTICIPANTS_PER_SHARD,
                participants_per_room: limits::PARTICIPANTS_PER_ROOM,
                handshakes_per_shard: limits::HANDSHAKES_PER_SHARD,
                turn_allocations_per_shard: limits::TURN_ALLOCATIONS_PER_SHARD,
                turn_allocations_per_user: limits::TURN_ALLOCATIONS_PER_USER,
                turn_open_ports_per_shard: limits::TURN_OPEN_PORTS_PER_SHARD,
                turn_permissions_per_allocation: limits::TURN_PERMISSIONS_PER_ALLOCATION,
                turn_bytes_per_second: limits::TURN_BYTES_PER_SECOND,
                turn_new_peers_per_second: limits::TURN_NEW_PEERS_PER_SECOND,
                turn_connections: limits::EDGE_CONNECTIONS,
                turn_connections_per_prefix: limits::EDGE_CONNECTIONS_PER_PREFIX,
                turn_peer_connections: limits::TURN_PEER_CONNECTIONS,
                turn_peer_connections_per_allocation: limits::TURN_PEER_CONNECTIONS_PER_ALLOCATION,
                turn_peer_connections_per_user: limits::TURN_PEER_CONNECTIONS_PER_USER,
            }
        );
    }

    #[test]
    fn a_file_needs_only_what_differs() {
        let config = parse("[media]\nfirst_port = 10000\nannounce = [\"203.0.113.5\"]\ndriver = \"mmsg\"").unwrap();
        assert_eq!((config.first_port, config.driver), (10000, DriverChoice::Mmsg));
        assert_eq!(config.announce, [Announced::Address("203.0.113.5".parse().unwrap())]);
    }

    #[test]
    fn the_environment_wins() {
        let env = |name: &str| match name {
            "PLAUSCH_STATE_DIR" => Some("/tmp/state".to_owned()),
            "PLAUSCH_MEDIA_PORT" => Some("9000".to_owned()),
            "PLAUSCH_LINK_PORT" => Some("9001".to_owned()),
            "PLAUSCH_METRICS_PORT" => Some("9002".to_owned()),
            _ => None,
        };
        let config = Config::parse("[link]\ncontrol = \"192.0.2.1:1\"", "relay.toml", env).unwrap();
        assert_eq!((config.first_port, config.state.as_path()), (9000, Path::new("/tmp/state")));
        assert_eq!(config.control, SocketAddr::from(([192, 0, 2, 1], 9001)));
        assert_eq!(config.metrics, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9002))));
        let error = Config::parse("", "relay.toml", |name| (name == "PLAUSCH_MEDIA_PORT").then(|| "x".to_owned()));
        assert!(error.unwrap_err().to_string().starts_with("PLAUSCH_MEDIA_PORT is 'x'"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            ("nonsense", "relay.toml"),
            ("[medium]", "no section [medium]"),
            ("[media]\nfirst_prot = 1", "section [media] has no key first_prot"),
            ("media = 3", "is a section"),
            ("[media]\nfirst_port = 70000", "section [media]"),
            ("[media]\nfirst_port = \"x\"", "section [media]"),
            ("[media]\ncpus = \"all\"", "section [media]"),
            ("[media]\ncpus = []", "media.cpus"),
            ("[media]\ncpus = [99999]", "media.cpus names CPU 99999"),
            ("[media]\naddresses = [\"0.0.0.0\"]", "media.addresses"),
            ("[media]\naddresses = [\"192.0.2.1\", \"192.0.2.1\"]", "twice"),
            ("[media]\nannounce = [\"::\"]", "media.announce"),
            ("[media]\nannounce = [\"a b\"]", "no address and no name"),
            ("[media]\nhandshake_threads = 0", "media.handshake_threads is 0"),
            ("[media]\ndriver = \"dpdk\"", "section [media]"),
            ("[media]\ndriver = \"xdp\"", "name it in media.device"),
            ("[link]\ncontrol = \"localhost\"", "section [link]"),
            ("[link]\ncontrol = \"0.0.0.0:1\"", "link.control"),
            ("[link]\nname = \"two words\"", "link.name is \"two words\""),
            ("[metrics]\nlisten = \"here\"", "metrics.listen"),
            ("[shutdown]\ndrain_seconds = 90000", "shutdown.drain_seconds is 90000"),
            ("[shutdown]\ndrain_seconds = -1", "section [shutdown]"),
            ("[limits]\nparticipants_per_room = 1025", "limits.participants_per_room is 1025"),
            ("[limits]\nturn_connections = 0", "limits.turn_connections is 0"),
            ("[log]\nlevel = \"loud\"", "log.level"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let error = Config::load(Some(Path::new("/nowhere/relay.toml")), env).unwrap_err().to_string();
        assert!(error.contains("/nowhere/relay.toml"), "{error}");
    }
}
