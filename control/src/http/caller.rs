//! Who asks, behind which proxy, and by which name of this server. The name is the client's own word, so only what a host
//! can look like is taken, and it is told to nobody but that client.

use axum::http::{HeaderMap, Uri, header};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A name or address without a port; IPv6 addresses in brackets, as in addresses of pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host(String);

/// RFC 1035, section 2.3.4.
const NAME_BYTES: usize = 255;

impl Host {
    /// Of a name or address without a port; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Self(format!("[{address}]")));
        }
        let sound = !text.is_empty()
            && text.len() <= NAME_BYTES
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        sound.then(|| Self(text.to_owned()))
    }

    /// Of a name or address that a port may follow.
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

/// Who asks. Behind a proxy on this machine that is the last address that the proxy added; `None` if it added none. Who
/// comes past the proxy, over HTTPS or the relay's edge, is not believed.
pub fn client_address(behind_proxy: bool, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
    if !behind_proxy || !peer.ip().to_canonical().is_loopback() {
        return Some(peer.ip());
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    match forwarded {
        Some(list) => {
            let last = list.to_str().ok()?.rsplit(',').next()?.trim();
            // Some proxies add the port.
            last.parse().ok().or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
        }
        None => Some(peer.ip()),
    }
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
}
