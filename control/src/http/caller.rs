//! Who asks, behind which proxy, and by which name of this server. The name is the client's own word, so only what a host
//! can look like is taken, and it is told to nobody but that client.

use crate::admission::rates::Prefix;
use axum::http::{HeaderMap, Uri, header};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A name or address without a port; IPv6 addresses in brackets, as in addresses of pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host(String);

/// RFC 1035, section 2.3.4.
const NAME_BYTES: usize = 255;

impl Host {
    /// Reads a name or address without a port; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Self(format!("[{address}]")));
        }
        let sound = !text.is_empty()
            && text.len() <= NAME_BYTES
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        sound.then(|| Self(text.to_owned()))
    }

    /// Reads a name or address that a port may follow.
    fn without_port(text: &str) -> Option<Self> {
        let end = match text.rfind(':') {
            // The last colon of an address in brackets may be within them.
            Some(colon) if !text[colon..].contains(']') => colon,
            _ => text.len(),
        };
        Self::parse(&text[..end])
    }

    /// As a request says it; a reverse proxy (`behind_proxy`) may ask by another name than it was asked by.
    pub fn asked_for(uri: &Uri, headers: &HeaderMap, behind_proxy: bool) -> Option<Self> {
        let forwarded = headers.get_all("x-forwarded-host").iter().next_back().filter(|_| behind_proxy);
        let forwarded = forwarded.and_then(|hosts| hosts.to_str().ok()?.rsplit(',').next());
        // HTTP/2 says it in the address.
        let authority = uri.authority().map(|authority| authority.as_str());
        let host = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Self::without_port(forwarded.or(authority).or_else(host)?.trim())
    }

    /// It names the client's own machine: then this server runs there, too.
    pub fn is_loopback(&self) -> bool {
        let bare = self.0.trim_start_matches('[').trim_end_matches(']');
        let name = || self.0.eq_ignore_ascii_case("localhost") || self.0.to_ascii_lowercase().ends_with(".localhost");
        bare.parse::<IpAddr>().map_or_else(|_| name(), |address| address.to_canonical().is_loopback())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The reverse proxies that are believed when they say for whom they ask.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Proxies(Vec<Range>);

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    address: IpAddr,
    bits: u8,
}

impl Range {
    /// `address/bits`, or one address.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other)).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other)).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Proxies {
    /// Reads ranges such as `172.16.0.0/12`; the error is the text that is none.
    pub fn parse(ranges: &[String]) -> Result<Self, &str> {
        ranges.iter().map(|text| Range::parse(text).ok_or(text.as_str())).collect::<Result<_, _>>().map(Self)
    }

    /// Those of this machine besides.
    pub fn and_loopback(mut self) -> Self {
        self.0.extend(["127.0.0.0/8", "::1"].into_iter().filter_map(Range::parse));
        self
    }

    /// There is one that is not this machine.
    pub fn elsewhere(&self) -> bool {
        self.0.iter().any(|range| !range.address.is_loopback())
    }

    /// What comes from this address is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.holds(address.to_canonical()))
    }
}

/// Who asks, as far as shares and rates are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// `None` for this machine itself, which is not limited.
    pub prefix: Option<Prefix>,
    /// A proxy asks, whose headers are believed.
    pub proxied: bool,
}

impl Caller {
    /// The caller itself, or whom a trusted proxy names: the last address of X-Forwarded-For that is no trusted proxy's.
    /// Where the header cannot be read, the proxy has a share as one visitor.
    pub fn of(proxies: &Proxies, peer: SocketAddr, headers: &HeaderMap) -> Self {
        let proxied = proxies.trust(peer.ip());
        if !proxied {
            return Self { prefix: Prefix::of(peer.ip()), proxied };
        }
        let lists: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        if lists.is_empty() {
            return Self { prefix: Prefix::of(peer.ip()), proxied };
        }
        let named = lists.iter().rev().flat_map(|list| list.to_str().unwrap_or("?").rsplit(',')).map(str::trim);
        let mut client = None;
        for text in named {
            client = forwarded_address(text);
            if client.is_none_or(|address| !proxies.trust(address)) {
                break;
            }
        }
        let prefix = match client {
            Some(address) => Prefix::of(address),
            None => Some(Prefix::of_proxy(peer.ip())),
        };
        Self { prefix, proxied }
    }

    /// This machine itself asks.
    pub fn is_this_machine(&self) -> bool {
        self.prefix.is_none()
    }
}

/// Some proxies add the port, and some write IPv6 addresses in brackets.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let socket = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(socket).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn asked(uri: &'static str, headers: &[(&'static str, &str)], behind_proxy: bool) -> Option<String> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        Host::asked_for(&Uri::from_static(uri), &headers.collect(), behind_proxy).map(|host| host.0)
    }

    #[test]
    fn ports_are_left_out() {
        for (header, host) in [
            ("localhost:8080", "localhost"),
            ("plausch.example", "plausch.example"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(asked("/", &[("host", header)], false).as_deref(), Some(host));
        }
        assert_eq!(asked("https://a.example:8443/", &[], false).as_deref(), Some("a.example"));
    }

    #[test]
    fn what_no_host_looks_like_is_none() {
        for bad in ["", ":80", "a b", "a?transport=udp", "a/b", "[::1", "::1]", "[a]", "ä", "a\"", "a>b", "a,b"] {
            assert_eq!(asked("/", &[("host", bad)], false), None, "{bad}");
        }
        assert_eq!(Host::parse(&"a".repeat(256)), None);
        assert_eq!(Host::parse("a:1"), None);
        assert_eq!(asked("/", &[], false), None);
    }

    #[test]
    fn loopback_is_known() {
        for (host, loopback) in [
            ("localhost", true),
            ("plausch.LOCALHOST", true),
            ("127.0.0.2", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("192.0.2.1", false),
            ("[2001:db8::1]", false),
            ("plausch.example", false),
        ] {
            assert_eq!(Host::parse(host).unwrap().is_loopback(), loopback, "{host}");
        }
    }

    #[test]
    fn a_proxy_says_by_which_name_it_was_asked() {
        let headers = [("host", "127.0.0.1:8080"), ("x-forwarded-host", "one.example, plausch.example:443")];
        assert_eq!(asked("/", &headers, true).as_deref(), Some("plausch.example"));
        assert_eq!(asked("/", &headers, false).as_deref(), Some("127.0.0.1"));
        assert_eq!(asked("/", &headers[..1], true).as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn the_last_address_that_is_no_proxy_s_is_the_caller() {
        let ranges = ["172.16.0.0/12", "2001:db8:ffff::/48"].map(str::to_owned);
        let proxies = Proxies::parse(&ranges).unwrap().and_loopback();
        let caller = |peer: &str, lists: &[&'static str]| {
            let headers = lists.iter().map(|list| {
                (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_bytes(list.as_bytes()).unwrap())
            });
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(name, value);
            }
            Caller::of(&proxies, peer.parse().unwrap(), &map)
        };
        let of = |address: &str| Prefix::of(address.parse().unwrap());
        let named = of("192.0.2.7");
        for (peer, lists, prefix) in [
            ("172.18.0.3:9", &["192.0.2.7"][..], named),
            ("172.18.0.3:9", &["203.0.113.1, 192.0.2.7"], named),
            ("172.18.0.3:9", &["192.0.2.7, 172.18.0.9"], named),
            ("172.18.0.3:9", &["192.0.2.7", "172.18.0.9, 127.0.0.1"], named),
            ("[::ffff:172.18.0.3]:9", &["192.0.2.7:5000"], named),
            ("127.0.0.1:9", &["[2001:db8::7]:443"], of("2001:db8::7")),
            ("127.0.0.1:9", &["[2001:db8::7]"], of("2001:db8::7")),
            ("[2001:db8:ffff::1]:9", &["2001:db8::7"], of("2001:db8::7")),
            // Nobody is believed who is no proxy.
            ("192.0.2.9:9", &["198.51.100.1"], of("192.0.2.9")),
            ("172.32.0.1:9", &["198.51.100.1"], of("172.32.0.1")),
            // All are proxies: the first of them.
            ("172.18.0.3:9", &["172.18.0.9, 172.18.0.8"], of("172.18.0.9")),
            ("172.18.0.3:9", &[], of("172.18.0.3")),
        ] {
            assert_eq!(caller(peer, lists).prefix, prefix, "{peer} {lists:?}");
        }
        for unreadable in ["", "unknown", "192.0.2.7, _hidden", "\u{fc}", "1.2.3"] {
            let caller = caller("127.0.0.1:9", &[Box::leak(unreadable.to_owned().into_boxed_str())]);
            assert_eq!(caller.prefix, Some(Prefix::of_proxy("127.0.0.1".parse().unwrap())), "{unreadable}");
            assert!(!caller.is_this_machine());
        }
        assert!(caller("127.0.0.1:9", &[]).is_this_machine());
        assert!(!caller("127.0.0.1:9", &["192.0.2.7"]).is_this_machine());
    }

    #[test]
    fn ranges_are_read_with_their_bits() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "nobody", "10.0.0.0/8/8"] {
            assert_eq!(Proxies::parse(&[bad.to_owned()]), Err(bad));
        }
        let all = Proxies::parse(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]).unwrap();
        assert!(["255.1.2.3", "2001:db8::1"].iter().all(|text| all.trust(text.parse().unwrap())));
        assert!(all.elsewhere() && !Proxies::default().and_loopback().elsewhere());
    }
}
