//! The way to a destination, as the kernel knows it: the device, and the Ethernet address of the next hop (rtnetlink(7)).
//!
//! What the kernel does not know yet, or has not confirmed of late, is left to it for a moment: sending through a socket
//! makes it resolve and confirm the neighbour, and its answer is found here the next time.

use super::frame::Header;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an answer of the kernel is believed: routes and neighbours change rarely, and a lost second of media heals.
const BELIEVED: Duration = Duration::from_secs(2);
/// How long one that says "not known" or "not confirmed" is.
const DOUBTED: Duration = Duration::from_millis(200);
/// Destinations remembered: 16 384 × about 400 B = 6.4 MB. Beyond, all are asked for again.
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

/// What the kernel said of a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hop {
    /// By our device: destination and source of the Ethernet header.
    Frame([u8; 12]),
    /// By another device, or to a neighbour that is not known yet.
    Kernel,
}

/// The headers for one destination, for as long as the kernel's answer is believed.
#[derive(Debug)]
struct Destination {
    source: SocketAddr,
    remote: SocketAddr,
    /// `None`: by the kernel.
    header: Option<Header>,
    until: Instant,
    /// Who came after this one the last time: rooms are served in the same order again and again, and so it need not be
    /// looked up.
    next: usize,
}

/// Answers of the kernel, for one device.
#[derive(Debug)]
pub(super) struct Hops {
    netlink: std::fs::File,
    interface: u32,
    mac: [u8; 6],
    destinations: Vec<Destination>,
    by_address: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Who was asked for last.
    last: usize,
    /// Answers of the kernel by source and destination.
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
        Ok(Self {
            netlink: fd.into(),
            interface,
            mac,
            destinations: Vec::with_capacity(DESTINATIONS),
            by_address: HashMap::with_capacity(DESTINATIONS),
            last: 0,
            known: HashMap::with_capacity(DESTINATIONS),
            sequence: 0,
        })
    }

    /// The headers from one of our addresses to a destination; `None` where datagrams must go by the kernel.
    /// Allocates nothing.
    pub(super) fn find(&mut self, source: SocketAddr, remote: SocketAddr, now: Instant) -> Option<&Header> {
        let is = |destination: &Destination| destination.remote == remote && destination.source == source;
        let expected = self.destinations.get(self.last).map_or(0, |last| last.next);
        let place = match self.destinations.get(expected) {
            Some(destination) if is(destination) => expected,
            _ => {
                let place = self.place(source, remote, now);
                if let Some(last) = self.destinations.get_mut(self.last) {
                    last.next = place;
                }
                place
            }
        };
        self.last = place;
        if self.destinations.get(place)?.until <= now {
            return self.renew(place, now);
        }
        self.destinations.get(place)?.header.as_ref()
    }

    /// The place of a destination, of a new one if need be.
    fn place(&mut self, source: SocketAddr, remote: SocketAddr, now: Instant) -> usize {
        if let Some(place) = self.by_address.get(&(source, remote)) {
            return *place;
        }
        if self.destinations.len() >= DESTINATIONS {
            self.destinations.clear();
            self.by_address.clear();
        }
        let place = self.destinations.len();
        self.destinations.push(Destination { source, remote, header: None, until: now, next: place + 1 });
        self.by_address.insert((source, remote), place);
        place
    }

    /// Asks again, of a destination whose answer is too old.
    fn renew(&mut self, place: usize, now: Instant) -> Option<&Header> {
        let &Destination { source, remote, .. } = self.destinations.get(place)?;
        let (hop, until) = self.hop(source.ip(), remote.ip(), now);
        let destination = self.destinations.get_mut(place)?;
        destination.until = until;
        destination.header = match hop {
            Hop::Frame(macs) => Header::new(&macs, source, remote),
            Hop::Kernel => None,
        };
        destination.header.as_ref()
    }

    /// The way from one of our addresses to another, and how long that is to be believed.
    fn hop(&mut self, source: IpAddr, destination: IpAddr, now: Instant) -> (Hop, Instant) {
        if let Some((hop, until)) = self.known.get(&(source, destination))
            && now < *until
        {
            return (*hop, *until);
        }
        let (hop, life) = match self.ask(source, destination) {
            Ok(Neighbour::Sure(mac)) => (self.frame(mac), BELIEVED),
            // This once by the kernel, so that it begins to confirm; from now on by us.
            Ok(Neighbour::Usable(mac)) => {
                let hop = self.frame(mac);
                self.remember(source, destination, hop, now + BELIEVED);
                return (Hop::Kernel, now);
            }
            Ok(Neighbour::Unknown) | Err(_) => (Hop::Kernel, DOUBTED),
        };
        self.remember(source, destination, hop, now + life);
        (hop, now + life)
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
        let here = "127.0.0.1:1".parse().unwrap();
        assert!(hops.find(here, here, Instant::now()).is_none());
        assert!(hops.find(here, "240.0.0.1:1".parse().unwrap(), Instant::now()).is_none());
    }

    #[test]
    fn everybody_is_found_in_any_order_and_beyond_the_limit() {
        let mut hops = Hops::new(1, [7; 6]).unwrap();
        let now = Instant::now();
        let here: SocketAddr = "192.0.2.1:7882".parse().unwrap();
        let there =
            |host: u32| SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + host / 4).into(), 5000 + (host % 4) as u16);
        // As if the kernel had said so: each address has a neighbour of its own.
        for host in 0..500u32 {
            let macs = std::array::from_fn(|byte| (host as usize + byte) as u8);
            hops.known.insert((here.ip(), there(4 * host).ip()), (Hop::Frame(macs), now + BELIEVED));
        }
        let orders: [Vec<u32>; 4] = [
            (0..2000).collect(),
            (0..2000).rev().collect(),
            (0..2000).collect(),
            (0..8000).map(|n| n * n % 1999).collect(),
        ];
        for host in orders.into_iter().flatten() {
            let mut frame = [0; 100];
            let header = hops.find(here, there(host), now).unwrap();
            let written = header.write(&mut frame, b"x");
            assert_eq!(frame[0], (host / 4) as u8);
            assert_eq!(super::super::frame::parse(&frame[..written]).unwrap().destination, there(host));
        }
        assert_eq!(hops.destinations.len(), 2000);
        // An answer that is too old is asked for again: nobody has such a neighbour.
        assert!(hops.find(here, there(0), now + BELIEVED).is_none());
        for host in 0..2 * DESTINATIONS as u32 {
            hops.place(here, there(host), now);
        }
        assert!(hops.destinations.len() <= DESTINATIONS && hops.by_address.len() == hops.destinations.len());
    }
}
