//! The way to a destination, as the kernel knows it: the device, and the Ethernet address of the next hop (rtnetlink(7)).
//!
//! What the kernel does not know yet, or has not confirmed of late, is left to it for a moment: sending through a socket
//! makes it resolve and confirm the neighbour, and its answer is found here the next time.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an answer of the kernel is believed: routes and neighbours change rarely, and a lost second of media heals.
const BELIEVED: Duration = Duration::from_secs(2);
/// How long one that says "not known" or "not confirmed" is.
const DOUBTED: Duration = Duration::from_millis(200);
/// Destinations remembered: 16 384 × about 100 B = 1.6 MB. Beyond, all are asked for again.
const DESTINATIONS: usize = 16_384;
/// The kernel answers at once; this is for the case that it does not.
const PATIENCE: Duration = Duration::from_millis(20);

const RTM_GETROUTE: u16 = 26;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETNEIGH: u16 = 30;
const RTM_NEWNEIGH: u16 = 28;
const NLM_F_REQUEST: u16 = 1;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Neighbour states (linux/neighbour.h): reachable, no ARP, permanent; and those that are used while being confirmed.
const NUD_SURE: u16 = 0x02 | 0x40 | 0x80;
const NUD_USABLE: u16 = 0x04 | 0x08 | 0x10;
const MESSAGE_HEADER: usize = 16;
/// Both `rtmsg` and `ndmsg`.
const BODY: usize = 12;

/// What a datagram to a destination needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    /// By our device: destination and source of the Ethernet header.
    Frame([u8; 12]),
    /// By another device, or to a neighbour that is not known yet.
    Kernel,
}

/// Answers of the kernel, for one device.
#[derive(Debug)]
pub(super) struct Hops {
    netlink: std::fs::File,
    interface: u32,
    mac: [u8; 6],
    known: HashMap<(IpAddr, IpAddr), (Hop, Instant)>,
    sequence: u32,
}

/// How sure the kernel is of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Neighbour {
    Sure([u8; 6]),
    Usable([u8; 6]),
    Unknown,
}

impl Hops {
    /// For sending by `interface`, whose Ethernet address is `mac`.
    pub(super) fn new(interface: u32, mac: [u8; 6]) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        socket2::SockRef::from(&fd).set_read_timeout(Some(PATIENCE))?;
        let known = HashMap::with_capacity(DESTINATIONS);
        Ok(Self { netlink: fd.into(), interface, mac, known, sequence: 0 })
    }

    /// The way from one of our addresses to a destination. Allocates nothing.
    pub(super) fn find(&mut self, source: IpAddr, destination: IpAddr, now: Instant) -> Hop {
        if let Some((hop, until)) = self.known.get(&(source, destination))
            && now < *until
        {
            return *hop;
        }
        let (hop, life) = match self.ask(source, destination) {
            Ok(Neighbour::Sure(mac)) => (self.frame(mac), BELIEVED),
            // This once by the kernel, so that it begins to confirm; from now on by us.
            Ok(Neighbour::Usable(mac)) => {
                let hop = self.frame(mac);
                self.remember(source, destination, hop, now + BELIEVED);
                return Hop::Kernel;
            }
            Ok(Neighbour::Unknown) | Err(_) => (Hop::Kernel, DOUBTED),
        };
        self.remember(source, destination, hop, now + life);
        hop
    }

    fn frame(&self, neighbour: [u8; 6]) -> Hop {
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&neighbour);
        macs[6..].copy_from_slice(&self.mac);
        Hop::Frame(macs)
    }

    fn remember(&mut self, source: IpAddr, destination: IpAddr, hop: Hop, until: Instant) {
        if self.known.len() >= DESTINATIONS {
            self.known.clear();
        }
        self.known.insert((source, destination), (hop, until));
    }

    fn ask(&mut self, source: IpAddr, destination: IpAddr) -> io::Result<Neighbour> {
        let bits = if destination.is_ipv4() { 32 } else { 128 };
        let body = [family(destination), bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let next =
            self.request(RTM_GETROUTE, RTM_NEWROUTE, body, [(RTA_DST, destination), (RTA_SRC, source)], |answer| {
                parse_route(answer, destination)
            })?;
        let Some((interface, next)) = next.filter(|(interface, _)| *interface == self.interface) else {
            return Ok(Neighbour::Unknown);
        };
        let mut body = [0; BODY];
        body[0] = family(next);
        body[4..8].copy_from_slice(&interface.to_ne_bytes());
        let neighbour = self.request(RTM_GETNEIGH, RTM_NEWNEIGH, body, [(NDA_DST, next)], parse_neighbour)?;
        Ok(neighbour.unwrap_or(Neighbour::Unknown))
    }

    /// Sends one request and reads its answer.
    fn request<T, const N: usize>(
        &mut self,
        kind: u16,
        answered_by: u16,
        body: [u8; BODY],
        attributes: [(u16, IpAddr); N],
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = [0; 128];
        let mut len = MESSAGE_HEADER + BODY;
        message[MESSAGE_HEADER..len].copy_from_slice(&body);
        for (number, address) in attributes {
            len += put_address(&mut message[len..], number, address);
        }
        message[..4].copy_from_slice(&(len as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        self.netlink.write_all(&message[..len])?;
        let mut answer = [0; 4096];
        loop {
            let len = self.netlink.read(&mut answer)?;
            let answer = &answer[..len];
            // One that came too late for an earlier request is read past.
            if word(answer, 8) != Some(self.sequence) {
                continue;
            }
            let is_answer = answer.get(4..6) == Some(&answered_by.to_ne_bytes());
            return Ok(answer.get(MESSAGE_HEADER..).filter(|_| is_answer).and_then(parse));
        }
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes an attribute, which is 4-byte aligned for both families; answers its length.
fn put_address(out: &mut [u8], number: u16, address: IpAddr) -> usize {
    let len = match address {
        IpAddr::V4(address) => {
            out[4..8].copy_from_slice(&address.octets());
            8
        }
        IpAddr::V6(address) => {
            out[4..20].copy_from_slice(&address.octets());
            20
        }
    };
    out[..2].copy_from_slice(&(len as u16).to_ne_bytes());
    out[2..4].copy_from_slice(&number.to_ne_bytes());
    len
}

/// The attributes behind a body.
fn attributes(answer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = answer.get(BODY..).unwrap_or_default();
    std::iter::from_fn(move || {
        let [l0, l1, n0, n1] = *rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([n0, n1]), value))
    })
}

/// The device and the next hop of a route to `destination`.
fn parse_route(answer: &[u8], destination: IpAddr) -> Option<(u32, IpAddr)> {
    if *answer.get(7)? != RTN_UNICAST {
        return None;
    }
    let mut interface = None;
    let mut next = destination;
    for (number, value) in attributes(answer) {
        match number {
            RTA_OIF => interface = word(value, 0),
            RTA_GATEWAY => next = parse_address(value)?,
            _ => {}
        }
    }
    Some((interface?, next))
}

fn parse_neighbour(answer: &[u8]) -> Option<Neighbour> {
    let state = u16::from_ne_bytes(*answer.get(8..)?.first_chunk()?);
    let (_, mac) = attributes(answer).find(|(number, _)| *number == NDA_LLADDR)?;
    let mac = mac.try_into().ok()?;
    Some(match state {
        state if state & NUD_SURE != 0 => Neighbour::Sure(mac),
        state if state & NUD_USABLE != 0 => Neighbour::Usable(mac),
        _ => Neighbour::Unknown,
    })
}

fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(number.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn routes_are_read() {
        let destination = "198.51.100.7".parse().unwrap();
        let mut answer = vec![0; BODY];
        answer[7] = RTN_UNICAST;
        answer.extend(attribute(RTA_OIF, &3u32.to_ne_bytes()));
        assert_eq!(parse_route(&answer, destination), Some((3, destination)));
        answer.extend(attribute(RTA_GATEWAY, &[192, 0, 2, 254]));
        assert_eq!(parse_route(&answer, destination), Some((3, "192.0.2.254".parse().unwrap())));
        // To ourselves, a black hole, and answers cut short.
        for kind in [2, 6] {
            answer[7] = kind;
            assert_eq!(parse_route(&answer, destination), None);
        }
        answer[7] = RTN_UNICAST;
        for len in 0..BODY + 8 {
            assert_eq!(parse_route(&answer[..len], destination), None);
        }
    }

    #[test]
    fn neighbours_are_as_sure_as_the_kernel_is() {
        let mac = [2, 0, 0, 0, 0, 9];
        for (state, expected) in [
            (0x02u16, Neighbour::Sure(mac)),
            (0x80, Neighbour::Sure(mac)),
            (0x04, Neighbour::Usable(mac)),
            (0x10, Neighbour::Usable(mac)),
            (0x01, Neighbour::Unknown),
            (0x20, Neighbour::Unknown),
        ] {
            let mut answer = vec![0; BODY];
            answer[8..10].copy_from_slice(&state.to_ne_bytes());
            assert_eq!(parse_neighbour(&answer), None, "no address at all");
            answer.extend(attribute(NDA_LLADDR, &mac));
            assert_eq!(parse_neighbour(&answer), Some(expected));
        }
    }

    #[test]
    fn the_kernel_answers() {
        // 127.0.0.1 is a local route: nothing that a frame would reach.
        let mut hops = Hops::new(1, [0; 6]).unwrap();
        let here = Ipv4Addr::LOCALHOST.into();
        assert_eq!(hops.find(here, here, Instant::now()), Hop::Kernel);
        let nowhere = "240.0.0.1".parse().unwrap();
        assert_eq!(hops.find(here, nowhere, Instant::now()), Hop::Kernel);
    }
}
