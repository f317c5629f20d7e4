//! Load is aimed at this machine only, unless an operator says otherwise.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

/// Refuses addresses of other machines; `Err` says in one sentence why and what to do. Whether it is another machine,
/// where that is allowed.
pub(crate) fn check_target(url: &str, allow_remote: bool) -> Result<bool, String> {
    let bad = || format!("{url:?} is not an address to load; give http://host:port or https://host");
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(bad()),
    };
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty()).ok_or_else(bad)?;
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, "")) => (host, port),
        Some((host, tail)) => (host, tail.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(bad)?),
        None => match authority.split_once(':') {
            None => (authority, port),
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
        },
    };
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("no address is known for {host:?} ({error}); check its spelling"))?
        .collect();
    match addresses.iter().find(|address| !is_of_this_machine(address.ip())) {
        Some(address) if !allow_remote => Err(format!(
            "{host} is at {}, which is not this machine; give --allow-remote if you may put load on it",
            address.ip()
        )),
        remote => Ok(remote.is_some()),
    }
}

/// Whether packets to this address stay on this machine: a socket can be bound to it.
pub(crate) fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || (!address.is_multicast() && UdpSocket::bind((address, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_allowed_and_others_only_when_wished() {
        for url in ["http://127.0.0.1:8080", "http://[::1]:8080/x", "https://localhost", "http://127.0.0.1"] {
            assert_eq!(check_target(url, false), Ok(false), "{url}");
        }
        // TEST-NET-1 (RFC 5737) belongs to nobody.
        let refused = check_target("http://192.0.2.1:8080", false).unwrap_err();
        assert!(refused.contains("--allow-remote"), "{refused}");
        assert_eq!(check_target("http://192.0.2.1:8080", true), Ok(true));
    }

    #[test]
    fn other_texts_are_refused_in_one_sentence() {
        for url in ["", "localhost:8080", "ftp://localhost", "http://", "http://localhost:x", "http://[::1]8080"] {
            assert!(check_target(url, true).unwrap_err().contains("http://host:port"), "{url}");
        }
    }
}
