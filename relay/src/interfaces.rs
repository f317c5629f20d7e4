//! This machine's addresses, and in which order browsers are told of them.

use plausch_relay_api::limits::LOCAL_ADDRESSES;
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::null_mut;

/// Flags of `/proc/net/if_inet6` (`include/uapi/linux/if_addr.h`): addresses that go away or are not there yet.
const TEMPORARY: u8 = 0x01;
const DEPRECATED: u8 = 0x20;
const TENTATIVE: u8 = 0x40;

/// All addresses to bind, best first: public ones, private ones, loopback.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let passing =
        std::fs::read_to_string("/proc/net/if_inet6").map(|text| passing_addresses(&text)).unwrap_or_default();
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !passing.contains(v6),
    };
    let mut addresses = Vec::new();
    for address in all_addresses()?.into_iter().filter(usable) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.sort_by_key(rank);
    // A machine with hundreds of addresses keeps loopback among those that are taken.
    while addresses.len() > LOCAL_ADDRESSES {
        let last_other = addresses.iter().rposition(|address| !address.is_loopback()).unwrap_or(addresses.len() - 1);
        addresses.remove(last_other);
    }
    Ok(addresses)
}

/// Smaller is better. Among equals IPv4 is first: it is the one that works everywhere.
pub fn rank(address: &IpAddr) -> (u8, bool) {
    let class = match address {
        _ if address.is_loopback() => 2,
        IpAddr::V4(v4) if v4.is_private() || is_shared(*v4) => 1,
        IpAddr::V6(v6) if v6.is_unique_local() => 1,
        _ => 0,
    };
    (class, address.is_ipv6())
}

/// RFC 6598: 100.64.0.0/10.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

fn passing_addresses(text: &str) -> HashSet<Ipv6Addr> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        (flags & (TEMPORARY | DEPRECATED | TENTATIVE) != 0).then(|| Ipv6Addr::from(address))
    };
    text.lines().filter_map(parse).collect()
}

/// Addresses of all interfaces that are up, in the kernel's order, also those that nobody is told of.
pub fn all_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = null_mut();
    // SAFETY: on success `list` is a linked list that is ours until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: every entry of the list is valid until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 || entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: not null, and at least a family; the family says which of the two structs it is.
        let address = unsafe {
            match i32::from((*entry.ifa_addr).sa_family) {
                libc::AF_INET => {
                    let v4 = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
                }
                libc::AF_INET6 => {
                    let v6 = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(IpAddr::from(v6.sin6_addr.s6_addr))
                }
                _ => None,
            }
        };
        addresses.extend(address);
    }
    // SAFETY: the list came from getifaddrs and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_loopback_last() {
        let addresses = local_addresses().unwrap();
        assert!(addresses.contains(&Ipv4Addr::LOCALHOST.into()));
        assert!(addresses.is_sorted_by_key(rank));
        assert!(addresses.len() <= LOCAL_ADDRESSES);
    }

    #[test]
    fn public_before_private_before_loopback() {
        let mut addresses: Vec<IpAddr> =
            ["::1", "127.0.0.1", "fd00::1", "100.64.0.1", "10.0.0.1", "2001:db8::1", "198.51.100.1"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        addresses.sort_by_key(rank);
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["198.51.100.1", "2001:db8::1", "100.64.0.1", "10.0.0.1", "fd00::1", "127.0.0.1", "::1"]);
    }

    #[test]
    fn addresses_that_pass_are_known_by_their_flags() {
        let text = "20010db8000000000000000000000001 02 40 00 80 eth0\n\
                    20010db8000000000000000000000002 02 40 00 01 eth0\n\
                    20010db8000000000000000000000003 02 40 00 c0 eth0\nshort\n";
        let passing = passing_addresses(text);
        assert_eq!(passing.len(), 2);
        assert!(!passing.contains(&"2001:db8::1".parse().unwrap()));
    }
}
