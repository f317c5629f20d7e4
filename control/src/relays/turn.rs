//! TURN, as control sees it: which servers clients are told of, with which credentials, and what the relay must know to
//! check them. The relay itself is the server.

use super::relay::candidates;
use crate::http::caller::Host;
use crate::random;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use plausch_relay_api::limits::{TURN_CREDENTIAL_S, TURN_SECRET_S, TURN_SECRETS};
use plausch_relay_api::{EdgeSocket, Hello, ShardId, TlsCertificate, TurnPorts, TurnSecret, TurnSettings};
use plausch_signalling::{IceServer, IceServers};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The key from which the secrets of TURN follow, one for each day: a restarted control makes the same ones.
pub struct TurnKey(hmac::Key);

/// Separates this use of `control.secret` from the others.
const CONTEXT: &[u8] = b"plausch-turn-v1";

/// Seconds since 1970, as TURN's user names say it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    pub fn now() -> Self {
        // A clock before 1970 is no clock; nothing is valid then, and nothing breaks.
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl TurnKey {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The secrets in force: the present day's first, then those by which earlier credentials are still valid.
    fn secrets(&self, now: UnixSeconds) -> Vec<TurnSecret> {
        let present = period(now);
        (0..TURN_SECRETS as u64).map_while(|age| present.checked_sub(age)).map(|period| self.secret(period)).collect()
    }

    fn secret(&self, period: u64) -> TurnSecret {
        let message = [CONTEXT, &period.to_be_bytes()].concat();
        TurnSecret::new(Bytes::copy_from_slice(hmac::sign(&self.0, &message).as_ref()))
    }

    /// What a client is told: where TURN is to be had at `host`, and by which credentials. The shard is the one of the
    /// client's room, which then needs no socket between the client's allocation and itself.
    pub fn ice_servers(&self, hello: &Hello, shard: ShardId, host: &Host, now: UnixSeconds) -> IceServers {
        let lifetime_seconds = TURN_CREDENTIAL_S as u32;
        let Some(ports) = &hello.turn else { return IceServers { lifetime_seconds, ..IceServers::default() } };
        let username = format!("{}:{shard}:{:016x}", now.0 + TURN_CREDENTIAL_S, random::id());
        let credential = password(self.secret(period(now)).reveal(), &username);
        let media = candidates(hello, shard).first();
        // Firefox reaches no TURN server on loopback.
        let elsewhere = media.filter(|_| host.is_loopback()).map(|media| match media.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        });
        let host = elsewhere.as_deref().unwrap_or(host.as_str());
        let direct = media.map(|media| format!("turn:{host}:{}?transport=udp", media.port()));
        IceServers {
            servers: vec![IceServer {
                urls: urls(ports, host),
                username: username.into(),
                credential: credential.into(),
            }],
            direct,
            lifetime_seconds,
        }
    }
}

/// Addresses of RFC 7065, the path with the least delay first.
fn urls(ports: &TurnPorts, host: &str) -> Vec<String> {
    let udp = (ports.udp != 0).then(|| format!("turn:{host}:{}?transport=udp", ports.udp));
    let tcp = ports.tcp.map(|port| format!("turn:{host}:{port}?transport=tcp"));
    // One is enough: the best is the one that most firewalls let through.
    let tls = ports.tls.first().map(|port| format!("turns:{host}:{port}?transport=tcp"));
    [udp, tcp, tls].into_iter().flatten().collect()
}

/// The days since 1970.
fn period(now: UnixSeconds) -> u64 {
    now.0 / TURN_SECRET_S
}

/// Of time-limited credentials (draft-uberti-behave-turn-rest, section 2.2).
fn password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// What of [`TurnSettings`] does not follow from the key and the time.
#[derive(Default)]
pub struct Edge {
    certificate: Option<TlsCertificate>,
    /// Where this machine's edge hands HTTP over.
    socket: Option<EdgeSocket>,
    /// TCP ports on which control listens.
    ports: Vec<u16>,
    changes: u64,
}

/// Tells one state of the settings from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SettingsVersion {
    period: u64,
    changes: u64,
}

impl Edge {
    pub fn set_certificate(&mut self, certificate: TlsCertificate) {
        self.certificate = Some(certificate);
        self.changes += 1;
    }

    pub fn set_socket(&mut self, socket: EdgeSocket) {
        self.socket = Some(socket);
        self.changes += 1;
    }

    pub fn set_ports(&mut self, ports: Vec<u16>) {
        self.ports = ports;
        self.changes += 1;
    }

    pub fn version(&self, now: UnixSeconds) -> SettingsVersion {
        SettingsVersion { period: period(now), changes: self.changes }
    }

    /// What a relay is told. One on another machine cannot reach a socket of this one.
    pub fn settings(&self, key: &TurnKey, now: UnixSeconds, same_machine: bool) -> TurnSettings {
        let edge_socket = self.socket.clone().filter(|_| same_machine);
        TurnSettings {
            secrets: key.secrets(now),
            certificate: self.certificate.clone(),
            edge_socket,
            ports: self.ports.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plausch_relay_api::{Fingerprint, ShardInfo, TlsKey};

    const DAY: u64 = 86_400;

    fn hello(turn: Option<TurnPorts>) -> Hello {
        let candidates = vec!["192.0.2.1:7882".parse().unwrap()];
        let shards = vec![ShardInfo { shard: ShardId(3), candidates }];
        Hello {
            version: 1,
            name: "relay".to_owned(),
            instance: 1,
            fingerprint: Fingerprint::Sha256([0; 32]),
            shards,
            turn,
        }
    }

    #[test]
    fn the_password_is_what_other_programs_make_of_it() {
        // `printf %s 1700000000:0:probe | openssl dgst -sha1 -hmac north -binary | base64`
        assert_eq!(password(b"north", "1700000000:0:probe"), "ybaqWebKh1nV6MEAQUR+vaRuV/w=");
    }

    #[test]
    fn a_credential_outlives_the_day_it_was_made_on() {
        let key = TurnKey::new(&[7; 32]);
        let hello = hello(Some(TurnPorts { udp: 3478, tcp: Some(3478), tls: vec![443, 5349] }));
        let edge = Edge::default();
        for made in [0, 5 * DAY - 1, 5 * DAY, 5 * DAY + DAY / 2] {
            let host = Host::parse("plausch.example").unwrap();
            let ice = key.ice_servers(&hello, ShardId(3), &host, UnixSeconds(made));
            let IceServer { username, credential, .. } = &ice.servers[0];
            let (username, credential) = (username.reveal(), credential.reveal());
            let (expiry, rest) = username.split_once(':').unwrap();
            let expiry: u64 = expiry.parse().unwrap();
            assert_eq!(expiry, made + u64::from(ice.lifetime_seconds));
            assert!(rest.starts_with("3:"), "{username}");
            for used in [made, made + 3600, expiry] {
                let secrets = edge.settings(&key, UnixSeconds(used), true).secrets;
                assert!(secrets.len() <= TURN_SECRETS);
                assert!(
                    secrets.iter().any(|secret| password(secret.reveal(), username) == credential),
                    "{made} {used}"
                );
            }
            let later = edge.settings(&key, UnixSeconds(made + 2 * DAY), true).secrets;
            assert!(later.iter().all(|secret| password(secret.reveal(), username) != credential), "{made}");
        }
    }

    #[test]
    fn secrets_are_of_one_key_and_survive_a_restart() {
        let now = UnixSeconds(20_000 * DAY);
        let secrets = TurnKey::new(&[7; 32]).secrets(now);
        assert_eq!(secrets.len(), 2);
        assert_ne!(secrets[0], secrets[1]);
        assert_eq!(secrets, TurnKey::new(&[7; 32]).secrets(now));
        assert_eq!(secrets[0], TurnKey::new(&[7; 32]).secrets(UnixSeconds(20_001 * DAY))[1]);
        assert_ne!(secrets, TurnKey::new(&[8; 32]).secrets(now));
        assert_eq!(TurnKey::new(&[7; 32]).secrets(UnixSeconds(0)).len(), 1, "a clock that was never set");
    }

    #[test]
    fn addresses_name_what_there_is() {
        let key = TurnKey::new(&[7; 32]);
        let told = |turn, host| {
            let host = Host::parse(host).unwrap();
            key.ice_servers(&hello(turn), ShardId(3), &host, UnixSeconds(0))
        };
        let all = told(Some(TurnPorts { udp: 3478, tcp: Some(3479), tls: vec![443, 5349] }), "[2001:db8::1]");
        assert_eq!(
            all.servers[0].urls,
            [
                "turn:[2001:db8::1]:3478?transport=udp",
                "turn:[2001:db8::1]:3479?transport=tcp",
                "turns:[2001:db8::1]:443?transport=tcp",
            ]
        );
        assert_eq!(all.direct.as_deref(), Some("turn:[2001:db8::1]:7882?transport=udp"));
        let udp = told(Some(TurnPorts { udp: 3478, tcp: None, tls: vec![] }), "plausch.example");
        assert_eq!(udp.servers[0].urls, ["turn:plausch.example:3478?transport=udp"]);
        assert_ne!(udp.servers[0].username, all.servers[0].username);
        assert_eq!(told(None, "plausch.example").servers, []);
        let here = told(Some(TurnPorts { udp: 3478, tcp: None, tls: vec![] }), "localhost");
        assert_eq!(here.servers[0].urls, ["turn:192.0.2.1:3478?transport=udp"]);
        assert_eq!(here.direct.as_deref(), Some("turn:192.0.2.1:7882?transport=udp"));
    }

    #[test]
    fn only_an_edge_on_this_machine_is_told_of_plain_http() {
        let key = TurnKey::new(&[7; 32]);
        let mut edge = Edge::default();
        let now = UnixSeconds(0);
        let empty = edge.version(now);
        let socket = EdgeSocket { path: "/state/edge.sock".into(), uid: 7 };
        edge.set_socket(socket.clone());
        edge.set_certificate(TlsCertificate { chain: Bytes::from_static(b"c"), key: TlsKey::new("k") });
        assert_ne!(edge.version(now), empty);
        assert_ne!(edge.version(now), edge.version(UnixSeconds(DAY)));
        assert_eq!(edge.version(now), edge.version(UnixSeconds(DAY - 1)));
        assert_eq!(edge.settings(&key, now, true).edge_socket, Some(socket));
        let afar = edge.settings(&key, now, false);
        assert_eq!(afar.edge_socket, None);
        assert!(afar.certificate.is_some());
    }
}
