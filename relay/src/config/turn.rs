//! The section [turn] of the configuration.

use super::ConfigError;
use plausch_engine::turn::{Prefix, StaticUser};
use plausch_relay_api::{TurnSecret, limits};
use serde::Deserialize;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// TURN after all checks.
#[derive(Clone, Debug)]
pub struct Turn {
    pub realm: String,
    pub udp: Option<Port>,
    pub tcp: Option<Port>,
    pub tls: Vec<Port>,
    /// Of all shards together.
    pub relay_ports: RangeInclusive<u16>,
    pub edge_threads: usize,
    pub users: Vec<StaticUser>,
    pub shared_secrets: Vec<TurnSecret>,
    pub allow_peers: Vec<Prefix>,
    pub tcp_allocations: bool,
    pub nat_discovery: bool,
}

/// A port to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// 0 is any free one, for tests.
    pub number: u16,
    /// Somebody asked for it: without it there is no start. A port that is a default only is done without when
    /// another program has it.
    pub required: bool,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    enabled: bool,
    realm: String,
    udp_port: u16,
    tcp_port: u16,
    tls_ports: Vec<u16>,
    relay_ports: String,
    edge_threads: super::OrAuto<usize>,
    users: Vec<User>,
    shared_secrets: Vec<String>,
    allow_peers: Vec<String>,
    tcp_allocations: bool,
    nat_discovery: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    password: String,
}

/// What the rest of the configuration says that matters here.
pub(super) struct Around<'a> {
    /// Keys of the section that the file or the environment gives.
    pub(super) given: &'a HashSet<String>,
    pub(super) port: Option<u16>,
    pub(super) tls_port: Option<u16>,
    pub(super) shards: usize,
    pub(super) media: RangeInclusive<u16>,
    pub(super) cpus: usize,
}

impl Section {
    /// `None`: TURN is switched off.
    pub(super) fn check(self, around: &Around<'_>) -> Result<Option<Turn>, ConfigError> {
        if !self.enabled {
            return Ok(None);
        }
        let realm_fits = (1..=limits::TURN_REALM_BYTES).contains(&self.realm.len());
        if !realm_fits || self.realm.chars().any(|letter| letter.is_control() || letter == '"') {
            return Err(wrong!(
                "turn.realm has to be a word of 1 to {} bytes without quotation marks, for example this server's name",
                limits::TURN_REALM_BYTES
            ));
        }
        let port = |key: &str, configured: u16| {
            let required = around.port.is_some() || around.given.contains(key);
            let number = around.port.unwrap_or(configured);
            (number != 0).then_some(Port { number, required })
        };
        let (udp, tcp) = (port("udp_port", self.udp_port), port("tcp_port", self.tcp_port));
        if udp.is_some_and(|port| around.media.contains(&port.number)) {
            return Err(wrong!(
                "turn.udp_port is {}, which a shard has for media: set another one, or another first_port in [media]",
                self.udp_port
            ));
        }
        let required = around.tls_port.is_some() || around.given.contains("tls_ports");
        let numbers = around.tls_port.map_or(self.tls_ports, |port| vec![port]);
        if numbers.len() > limits::EDGE_TLS_PORTS {
            return Err(wrong!("turn.tls_ports names more than {} ports", limits::EDGE_TLS_PORTS));
        }
        let listening = numbers.iter().copied().chain(tcp.map(|port| port.number));
        if numbers.contains(&0) || listening.clone().collect::<HashSet<_>>().len() != listening.count() {
            return Err(wrong!("turn.tls_ports has to name ports from 1 to 65535, each once, and not turn.tcp_port"));
        }
        let tls = numbers.into_iter().map(|number| Port { number, required }).collect();
        let edge_threads =
            self.edge_threads.given().unwrap_or_else(|| (around.cpus / 8).clamp(1, limits::EDGE_THREADS));
        super::within("turn.edge_threads", edge_threads, limits::EDGE_THREADS)?;
        if self.nat_discovery && udp.is_none_or(|port| port.number == u16::MAX) {
            return Err(wrong!("turn.nat_discovery needs turn.udp_port and the port after it"));
        }
        Ok(Some(Turn {
            realm: self.realm,
            udp,
            tcp,
            tls,
            relay_ports: relay_ports(&self.relay_ports, around)?,
            edge_threads,
            users: users(self.users)?,
            shared_secrets: shared_secrets(self.shared_secrets)?,
            allow_peers: self.allow_peers.iter().map(|text| prefix(text)).collect::<Result<_, _>>()?,
            tcp_allocations: self.tcp_allocations,
            nat_discovery: self.nat_discovery,
        }))
    }
}

impl Turn {
    /// A shard's part of the relay ports.
    pub fn relay_ports_of(&self, shard: usize, shards: usize) -> RangeInclusive<u16> {
        let (first, count) = (usize::from(*self.relay_ports.start()), self.relay_ports.len());
        let at = |shard: usize| first + count * shard / shards;
        at(shard) as u16..=(at(shard + 1) - 1) as u16
    }
}

fn relay_ports(text: &str, around: &Around<'_>) -> Result<RangeInclusive<u16>, ConfigError> {
    let range = text.split_once('-').and_then(|(first, last)| {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        Some(number(first)?..=number(last)?)
    });
    let Some(range) = range.filter(|range| range.len() >= around.shards) else {
        return Err(wrong!(
            "turn.relay_ports is '{text}', but must be a range as in \"61000-65535\" with one port for each shard at least"
        ));
    };
    if around.media.start().max(range.start()) <= around.media.end().min(range.end()) {
        return Err(wrong!("turn.relay_ports is '{text}', but media.first_port lies in it: move one of them"));
    }
    Ok(range)
}

fn users(users: Vec<User>) -> Result<Vec<StaticUser>, ConfigError> {
    if users.len() > limits::TURN_STATIC_USERS {
        return Err(wrong!("[[turn.users]]: at most {} users", limits::TURN_STATIC_USERS));
    }
    let mut names = HashSet::new();
    for user in &users {
        let fits =
            |text: &str| (1..=limits::TURN_USER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if !fits(&user.name) || !fits(&user.password) {
            return Err(wrong!(
                "[[turn.users]]: a name and a password have 1 to {} bytes and no control characters",
                limits::TURN_USER_BYTES
            ));
        }
        if user.name.contains(':') {
            return Err(wrong!("[[turn.users]]: '{}' has a colon, which belongs to time-limited users", user.name));
        }
        if !names.insert(&user.name) {
            return Err(wrong!("[[turn.users]]: '{}' is there twice", user.name));
        }
    }
    Ok(users.into_iter().map(|User { name, password }| StaticUser { name, password }).collect())
}

fn shared_secrets(secrets: Vec<String>) -> Result<Vec<TurnSecret>, ConfigError> {
    if secrets.len() > limits::TURN_SHARED_SECRETS {
        return Err(wrong!("turn.shared_secrets: at most {} secrets", limits::TURN_SHARED_SECRETS));
    }
    if secrets.iter().any(|secret| secret.len() < SECRET_BYTES_LEAST) {
        return Err(wrong!(
            "turn.shared_secrets: a secret has at least {SECRET_BYTES_LEAST} characters, as `openssl rand -hex 32` makes it"
        ));
    }
    Ok(secrets.into_iter().map(TurnSecret::new).collect())
}

/// Whoever guesses a shared secret has a relay of his own: 16 characters of hexadecimal are 64 bits.
const SECRET_BYTES_LEAST: usize = 16;

fn prefix(text: &str) -> Result<Prefix, ConfigError> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Prefix { address, bits })
    });
    parsed.ok_or_else(|| {
        wrong!("turn.allow_peers names '{text}', but must name ranges as in \"10.0.0.0/8\" or \"2001:db8::/32\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, "relay.toml", |name| (name == "HOME").then(|| "/home/somebody".to_owned()))
    }

    fn turn(text: &str) -> Turn {
        parse(text).unwrap().turn.unwrap()
    }

    #[test]
    fn default_ports_may_be_taken_by_others_and_named_ones_may_not() {
        let default = turn("");
        let port = |number, required| Port { number, required };
        assert_eq!((default.udp, default.tcp), (Some(port(3478, false)), Some(port(3478, false))));
        assert_eq!((default.tls, default.relay_ports), (vec![port(5349, false)], 61000..=65535));
        let named = turn("[turn]\nudp_port = 3478\ntcp_port = 0\ntls_ports = [443, 5349]");
        assert_eq!((named.udp, named.tcp), (Some(port(3478, true)), None));
        assert_eq!(named.tls, [port(443, true), port(5349, true)]);
        assert!(parse("[turn]\nenabled = false").unwrap().turn.is_none());
        assert!(!default.tcp_allocations && turn("[turn]\ntcp_allocations = true").tcp_allocations);
    }

    #[test]
    fn the_environment_names_ports() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/somebody".to_owned()),
            "PLAUSCH_TURN_PORT" => Some("9003".to_owned()),
            "PLAUSCH_TURN_TLS_PORT" => Some("9004".to_owned()),
            _ => None,
        };
        let turn = Config::parse("[turn]\nudp_port = 1\ntls_ports = [2, 3]", "x", env).unwrap().turn.unwrap();
        let port = |number| Port { number, required: true };
        assert_eq!((turn.udp, turn.tcp, turn.tls), (Some(port(9003)), Some(port(9003)), vec![port(9004)]));
    }

    #[test]
    fn others_may_have_users_and_secrets() {
        let turn = turn(
            "[turn]\nshared_secrets = [\"0123456789abcdef\"]\nallow_peers = [\"10.0.0.0/8\", \"2001:db8::1\"]\n\
             [[turn.users]]\nname = \"talk\"\npassword = \"secret\"\n[[turn.users]]\nname = \"matrix\"\npassword = \"x\"",
        );
        assert_eq!(turn.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["talk", "matrix"]);
        assert_eq!(turn.shared_secrets, [TurnSecret::new("0123456789abcdef")]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected =
            [Prefix { address: address("10.0.0.0"), bits: 8 }, Prefix { address: address("2001:db8::1"), bits: 128 }];
        assert_eq!(turn.allow_peers, expected);
    }

    #[test]
    fn shards_share_the_relay_ports_without_a_gap() {
        let turn = turn("[turn]\nrelay_ports = \"50000-50009\"");
        let parts: Vec<_> = (0..3).map(|shard| turn.relay_ports_of(shard, 3)).collect();
        assert_eq!(parts, [50000..=50002, 50003..=50005, 50006..=50009]);
        let whole = self::turn("[turn]\nrelay_ports = \"8000-65535\"");
        assert_eq!(whole.relay_ports_of(255, 256).end(), &65535);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            ("realm = \"\"", "turn.realm"),
            ("realm = \"a realm that is longer than any that fits into a challenge\"", "turn.realm"),
            ("udp_port = 7882", "turn.udp_port is 7882"),
            ("udp_port = 70000", "section [turn]"),
            ("tls_ports = [0]", "turn.tls_ports"),
            ("tls_ports = [443, 443]", "turn.tls_ports"),
            ("tls_ports = [3478]", "turn.tls_ports"),
            ("tls_ports = [1, 2, 3, 4, 5]", "turn.tls_ports"),
            ("relay_ports = \"all\"", "turn.relay_ports is 'all'"),
            ("relay_ports = \"9-8\"", "turn.relay_ports is '9-8'"),
            ("relay_ports = \"7000-8000\"", "media.first_port lies in it"),
            ("edge_threads = 0", "turn.edge_threads is 0"),
            ("shared_secrets = [\"short\"]", "turn.shared_secrets"),
            ("allow_peers = [\"10.0.0.0/33\"]", "turn.allow_peers names '10.0.0.0/33'"),
            ("allow_peers = [\"localhost\"]", "turn.allow_peers names 'localhost'"),
            ("nat_discovery = true\nudp_port = 0", "turn.nat_discovery"),
            ("colour = 1", "section [turn] has no key colour"),
            ("[[turn.users]]\nname = \"a\"", "section [turn]"),
            ("[[turn.users]]\nname = \"a\"\npassword = \"\"", "[[turn.users]]"),
            ("[[turn.users]]\nname = \"1:2\"\npassword = \"x\"", "colon"),
            ("users = [{ name = \"a\", password = \"x\" }, { name = \"a\", password = \"y\" }]", "twice"),
        ] {
            let error = parse(&format!("[turn]\n{text}")).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains('\n'), "one sentence: {error}");
        }
    }
}
