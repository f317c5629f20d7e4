//! Allocates without credentials from very many addresses, as an attacker with forged sources would send them.

use plausch_client::turn::{Datagrams, Request, send_from};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Source ports: each serves all addresses.
const SOCKETS: usize = 16;
/// Sent before packets of flows have their turn.
const AT_ONCE: u64 = 32;
/// Between two turns of a thread that does nothing else: with [`AT_ONCE`], 100 000 requests a second are its limit.
const TURN_INTERVAL: Duration = Duration::from_micros(250);
/// Forged sources on loopback and in a lab: networks of which all addresses are this machine's.
pub(crate) const LOOPBACK_SPOOFED: Network = Network::new(Ipv4Addr::new(127, 128, 0, 0), 9);
pub(crate) const LAB_SPOOFED: Network = Network::new(Ipv4Addr::new(10, 0, 0, 0), 10);

/// An IPv4 network in the form of 127.64.0.0/10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    first: u32,
    bits: u32,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no IPv4 network; give one as 127.64.0.0/10");
        let (address, bits) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let bits = bits.parse::<u32>().ok().filter(|bits| (8..=32).contains(bits)).ok_or_else(bad)?;
        Ok(Self { first: u32::from(address) & (u32::MAX << (32 - bits)), bits })
    }
}

impl Network {
    pub(crate) const fn new(first: Ipv4Addr, bits: u32) -> Self {
        Self { first: first.to_bits(), bits }
    }

    /// The n-th address, beginning again after the last. Neighbours in number are none in the network, so that limits
    /// for each prefix see them as people of many.
    pub(crate) fn address(self, n: u64) -> Ipv4Addr {
        // Odd, so that each address of a network of 2^n comes once.
        const STRIDE: u64 = 0x9e37_79b1;
        let size = 1u64 << (32 - self.bits);
        Ipv4Addr::from(self.first + (n.wrapping_mul(STRIDE) % size) as u32)
    }
}

/// The flood and what it got back.
pub(crate) struct Flood {
    sockets: Vec<UdpSocket>,
    network: Network,
    to: SocketAddrV4,
    message: Vec<u8>,
    per_s: f64,
    total: u64,
    begin: Option<Instant>,
    turn: usize,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    pub(crate) replies: u64,
    pub(crate) reply_bytes: u64,
}

impl Flood {
    /// # Errors
    /// When sockets cannot be opened, or the network is not of this machine.
    pub(crate) fn new(to: SocketAddr, network: Network, total: u64, per_s: u32) -> io::Result<Self> {
        let SocketAddr::V4(to) = to else {
            return Err(io::Error::other("spoofed requests need an IPv4 server"));
        };
        let sockets = (0..SOCKETS).map(|_| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let message = Request::Allocate { ipv6: false }.message(None).map_err(io::Error::other)?.raw;
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
            network,
            to,
            message,
            per_s: f64::from(per_s),
            total,
            begin: None,
            turn: 0,
            sent: 0,
            refused: 0,
            replies: 0,
            reply_bytes: 0,
        })
    }

    /// How many requests, and how many in a second.
    pub(crate) fn size(&self) -> (u64, f64) {
        (self.total, self.per_s)
    }

    fn is_over(&self) -> bool {
        self.sent + self.refused >= self.total
    }

    pub(crate) fn request_bytes(&self) -> u64 {
        self.message.len() as u64 * self.sent
    }

    /// Sends what is due, and takes replies. Whether more will be due soon.
    pub(crate) fn send_due(&mut self, now: Instant, datagrams: &mut Datagrams) -> bool {
        let begin = *self.begin.get_or_insert(now);
        let due = (((now - begin).as_secs_f64() * self.per_s) as u64).min(self.total);
        let done = self.sent + self.refused;
        for n in done..due.min(done + AT_ONCE) {
            // The transaction id: another one for each, as from different clients.
            self.message[12..20].copy_from_slice(&n.to_be_bytes());
            let socket = &self.sockets[n as usize % SOCKETS];
            let source = self.network.address(n / SOCKETS as u64);
            match send_from(socket, source, self.to, &self.message) {
                Ok(()) => self.sent += 1,
                Err(_) => self.refused += 1,
            }
        }
        self.turn = (self.turn + 1) % SOCKETS;
        if let Ok(count) = datagrams.receive(&self.sockets[self.turn]) {
            self.replies += count as u64;
            self.reply_bytes += (0..count).map(|index| datagrams.get(index).bytes.len() as u64).sum::<u64>();
        }
        !self.is_over()
    }
}

/// A flood from a thread of its own, for loads that are none of TURN's. Only in a lab.
pub(crate) struct RunningFlood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Flood>,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flooding {
    pub(crate) requests: u64,
    pub(crate) replies: u64,
    pub(crate) seconds: f64,
}

impl RunningFlood {
    /// Begins with so many requests in a second.
    ///
    /// # Errors
    /// When sockets cannot be opened, or the server has no IPv4 address.
    pub(crate) fn start(server: SocketAddr, per_s: u32) -> io::Result<Self> {
        Self::start_from(LAB_SPOOFED, server, per_s)
    }

    fn start_from(network: Network, server: SocketAddr, per_s: u32) -> io::Result<Self> {
        let mut flood = Flood::new(server, network, u64::MAX, per_s)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new().name("flood".to_owned()).spawn(move || {
            let mut datagrams = Datagrams::new();
            while !told.load(Ordering::Relaxed) {
                flood.send_due(Instant::now(), &mut datagrams);
                sleep(TURN_INTERVAL);
            }
            flood
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When most of its requests could not be sent, for its addresses are not this machine's.
    pub(crate) fn stop(self) -> io::Result<Flooding> {
        self.stop.store(true, Ordering::Relaxed);
        let flood = self.thread.join().map_err(|_| io::Error::other("the flood's thread ended by a fault"))?;
        let seconds = flood.begin.map_or(0.0, |begin| begin.elapsed().as_secs_f64());
        match flood.refused >= flood.sent {
            true => Err(io::Error::other("this machine lets no request out from a forged address")),
            false => Ok(Flooding { requests: flood.sent, replies: flood.replies, seconds }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn networks_are_read() {
        let network: Network = "127.77.5.0/24".parse().unwrap();
        let all: HashSet<Ipv4Addr> = (0..256).map(|n| network.address(n)).collect();
        assert_eq!(all.len(), 256);
        assert!(all.iter().all(|address| address.octets()[..3] == [127, 77, 5]));
        assert_eq!(network.address(256 + 9), network.address(9));
        for text in ["127.0.0.1", "127.0.0.0/33", "x/8", "10.0.0.0/4", "::1/64"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
    #[test]
    fn a_flood_beside_other_loads_comes_from_many_until_it_is_stopped() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let flood = RunningFlood::start_from(LOOPBACK_SPOOFED, server.local_addr().unwrap(), 2_000).unwrap();
        let mut buffer = [0; 64];
        let mut from = HashSet::new();
        for _ in 0..100 {
            let (len, source) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(len, 28, "a bare Allocate");
            from.insert(source);
        }
        assert_eq!(from.len(), 100);
        assert!(flood.stop().unwrap().requests >= 100);
    }

    #[test]
    fn a_flood_from_addresses_of_others_is_none() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let documentation = Network::new(Ipv4Addr::new(192, 0, 2, 0), 24);
        let flood = RunningFlood::start_from(documentation, server.local_addr().unwrap(), 2_000).unwrap();
        sleep(Duration::from_millis(100));
        assert!(flood.stop().is_err());
    }
}
