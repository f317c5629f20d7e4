//! The deny list, address by address.

use super::super::config::TurnLimits;
use super::*;

const OWN: &str = "198.41.0.4";
const OWN_V6: &str = "2a01:4f8::1";
const MEDIA: &str = "198.41.0.4:7882";
const OTHER_SHARD: &str = "198.41.0.4:7883";
const PRIVATE_MEDIA: &str = "10.1.2.3:7882";

fn config(allow: &[(&str, u8)]) -> TurnConfig {
    TurnConfig {
        realm: "plausch".into(),
        nonce_key: [0; 32],
        unix_seconds: 0,
        users: vec![],
        shared_secrets: vec![],
        media: [(MEDIA, true), (OTHER_SHARD, false), (PRIVATE_MEDIA, true)]
            .map(|(address, here)| MediaAddress { address: address.parse().unwrap(), here })
            .to_vec(),
        host_addresses: [OWN, OWN_V6, "10.1.2.3", "127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).to_vec(),
        allow_peers: allow.iter().map(|&(ip, bits)| Prefix { address: ip.parse().unwrap(), bits }).collect(),
        relay: vec![],
        relay_ports: 49152..=65535,
        neighbours: vec![],
        nat_discovery: None,
        tcp: None,
        limits: TurnLimits::default(),
    }
}

fn policy(allow: &[(&str, u8)]) -> Policy {
    Policy::new(&config(allow), &mut Random::new(1))
}

/// As a request's address comes to the policy.
fn peer(ip: &str, port: u16) -> SocketAddr {
    canonical(SocketAddr::new(ip.parse().unwrap(), port))
}

fn allows(policy: &Policy, scope: Scope, ip: &str) -> bool {
    let peer = peer(ip, 4711);
    let (permit, way) = (policy.permit(scope, peer.ip()), policy.way(scope, peer));
    assert_eq!(permit == Some(Permit::All), way.is_some(), "{ip}: a permission and a way go together");
    way.is_some()
}

/// Address and what it is; the first and the last of each range.
const DENIED: [(&str, &str); 78] = [
    ("0.0.0.0", "unspecified: on Linux, this host"),
    ("0.1.2.3", "this network"),
    ("0.255.255.255", "this network"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "shared"),
    ("100.127.255.255", "shared"),
    ("127.0.0.0", "loopback"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback"),
    ("169.254.0.0", "link-local"),
    ("169.254.169.254", "cloud metadata"),
    ("169.254.255.255", "link-local"),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.0", "protocol assignments"),
    ("192.0.0.255", "protocol assignments"),
    ("192.0.2.0", "documentation"),
    ("192.0.2.255", "documentation"),
    ("192.31.196.1", "AS112"),
    ("192.52.193.1", "AMT"),
    ("192.88.99.1", "6to4 relay anycast"),
    ("192.168.0.0", "private"),
    ("192.168.255.255", "private"),
    ("198.18.0.0", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.0", "multicast"),
    ("224.0.0.251", "mDNS"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "broadcast"),
    (OWN, "this host"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::2", "reserved"),
    ("::127.0.0.1", "v4-compatible loopback"),
    ("::8.8.8.8", "v4-compatible"),
    ("::ffff:0.0.0.0", "v4-mapped unspecified"),
    ("::ffff:127.0.0.1", "v4-mapped loopback (CVE-2020-26262)"),
    ("::ffff:10.0.0.1", "v4-mapped private"),
    ("::ffff:100.64.0.1", "v4-mapped shared"),
    ("::ffff:169.254.169.254", "v4-mapped cloud metadata"),
    ("::ffff:172.16.0.1", "v4-mapped private"),
    ("::ffff:192.168.1.1", "v4-mapped private"),
    ("::ffff:224.0.0.1", "v4-mapped multicast"),
    ("::ffff:255.255.255.255", "v4-mapped broadcast"),
    ("::ffff:198.41.0.4", "v4-mapped this host"),
    ("::ffff:0:127.0.0.1", "v4-translated"),
    ("64:ff9b::127.0.0.1", "NAT64 to loopback"),
    ("64:ff9b::8.8.8.8", "NAT64"),
    ("64:ff9b:1::1", "local-use NAT64"),
    ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local-use NAT64"),
    ("100::1", "discard-only"),
    ("2001::1", "Teredo"),
    ("2001:0:7f00:1::", "Teredo with loopback"),
    ("2001:2::1", "benchmarks"),
    ("2001:10::1", "ORCHID"),
    ("2001:20::1", "ORCHIDv2"),
    ("2001:1ff:ffff::", "protocol assignments"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::1", "6to4 of loopback"),
    ("2002:808:808::1", "6to4"),
    ("2620:4f:8000::1", "AS112"),
    ("3fff::1", "documentation"),
    ("3fff:fff:ffff::1", "documentation"),
    ("4000::1", "not allocated"),
    ("5f00::1", "segment routing"),
    ("fc00::1", "unique-local"),
    ("fdff:ffff::1", "unique-local"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
    (OWN_V6, "this host"),
];

/// The neighbours of denied ranges among them.
const ALLOWED: [&str; 34] = [
    "1.0.0.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.41.0.3",
    "198.41.0.5",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2a01:4f8::2",
    "3ffe:ffff::1",
    "3fff:1000::1",
];

#[test]
fn what_is_not_on_the_public_internet_is_denied() {
    let policy = policy(&[]);
    for (ip, what) in DENIED {
        assert!(!allows(&policy, Scope::Peers, ip), "{ip} is {what}");
        assert!(!allows(&policy, Scope::Media, ip), "{ip} is {what}");
    }
}

#[test]
fn the_public_internet_is_for_users_of_the_operator_only() {
    let policy = policy(&[]);
    for ip in ALLOWED {
        assert!(allows(&policy, Scope::Peers, ip), "{ip}");
        assert!(!allows(&policy, Scope::Media, ip), "{ip}: a visitor's relay is open");
    }
}

#[test]
fn own_media_is_reached_at_exactly_its_address() {
    let policy = policy(&[]);
    for scope in [Scope::Media, Scope::Peers] {
        for (address, way) in [(MEDIA, Way::Inner(0)), (PRIVATE_MEDIA, Way::Inner(1)), (OTHER_SHARD, Way::Port)] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(policy.way(scope, address), Some(way));
            assert_eq!(policy.permit(scope, address.ip()), Some(Permit::Own), "and nothing else of this host");
            let IpAddr::V4(ip) = address.ip() else { unreachable!() };
            let mapped = SocketAddr::new(ip.to_ipv6_mapped().into(), address.port());
            assert_eq!(policy.way(scope, canonical(mapped)), Some(way));
        }
        for port in [0, 22, 53, 443, 3478, 7881, 7884, 7900, 49152] {
            assert_eq!(policy.way(scope, peer(OWN, port)), None, "port {port}");
            assert_eq!(policy.way(scope, peer("10.1.2.3", port)), None, "port {port}");
        }
    }
}

#[test]
fn nobody_is_at_port_zero() {
    let policy = policy(&[("10.0.0.0", 8)]);
    for ip in ["8.8.8.8", "10.9.9.9", "2a00::1"] {
        assert_eq!(policy.way(Scope::Peers, peer(ip, 0)), None, "{ip}");
        assert_eq!(policy.way(Scope::Peers, peer(ip, 1)), Some(Way::Port), "{ip}");
    }
}

#[test]
fn an_operator_may_allow_ranges_but_not_by_accident_this_host() {
    let wide = policy(&[("10.0.0.0", 8), ("0.0.0.0", 0), ("::", 0)]);
    for ip in ["10.0.0.1", "192.168.1.1", "169.254.0.1", "fd00::1", "::ffff:10.0.0.1", "127.0.0.1", "::1"] {
        assert!(allows(&wide, Scope::Peers, ip), "{ip}");
        assert!(!allows(&wide, Scope::Media, ip), "{ip}");
    }
    for ip in [OWN, OWN_V6, "10.1.2.3", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
        assert!(!allows(&wide, Scope::Peers, ip), "{ip}");
    }
    let named = policy(&[(OWN, 32), (OWN_V6, 128)]);
    assert!(allows(&named, Scope::Peers, OWN) && allows(&named, Scope::Peers, OWN_V6));
    assert!(!allows(&named, Scope::Peers, "10.1.2.3"));
}

#[test]
fn prefixes_end_where_they_end() {
    let policy = policy(&[("192.168.128.0", 17), ("fd00:1234::", 33)]);
    for (ip, allowed) in [
        ("192.168.127.255", false),
        ("192.168.128.0", true),
        ("192.168.255.255", true),
        ("192.169.0.0", true),
        ("172.16.0.1", false),
        ("fd00:1234:7fff::1", true),
        ("fd00:1234:8000::1", false),
        ("fd00:1235::1", false),
    ] {
        assert_eq!(allows(&policy, Scope::Peers, ip), allowed, "{ip}");
    }
}

#[test]
fn new_addresses_of_this_host_count_at_once() {
    let mut policy = policy(&[]);
    assert!(allows(&policy, Scope::Peers, "8.8.8.8"));
    policy.set_host_addresses(&["::ffff:8.8.8.8".parse().unwrap()]);
    assert!(!allows(&policy, Scope::Peers, "8.8.8.8"));
    assert!(allows(&policy, Scope::Peers, "198.41.0.5"));
}
