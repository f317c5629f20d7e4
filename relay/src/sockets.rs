//! Everything that the relay is bound to: media of each shard, and the ports of TURN.

use crate::config::{Config, Port, Turn};
use crate::driver;
use crate::edge;
use crate::interfaces;
use anyhow::{Context, Result, bail};
use plausch_engine::LocalSocket;
use plausch_engine::turn::{DiscoverySocket, RelayAddress};
use plausch_relay_api::TurnPorts;
use plausch_relay_api::limits::{LOCAL_ADDRESSES, RECEIVE_BUFFER_BYTES};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// The kernel takes io_uring apart behind the back of a killed process: its ports are free a moment later only.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// All sockets of the process.
pub struct Bound {
    pub shards: Vec<ShardSockets>,
    /// Of the edge.
    pub listeners: Vec<edge::Listener>,
    /// `None`: TURN is switched off.
    pub turn: Option<TurnPorts>,
}

/// The sockets of one shard, in the order of `LocalSocket`: media on each address, then TURN's port on each of them, then
/// the port after that, where NAT behaviour discovery is wanted.
pub struct ShardSockets {
    sockets: Vec<UdpSocket>,
    /// How many of them are for media.
    media: usize,
}

/// Binds everything, or says in one sentence what is in the way.
pub fn bind_all(config: &Config) -> Result<Bound> {
    let found;
    let addresses = match &config.addresses {
        Some(addresses) => addresses,
        None => {
            found = interfaces::local_addresses().context("cannot ask for this machine's addresses")?;
            &found
        }
    };
    let strict = config.addresses.is_some();
    let deadline = Instant::now() + PORT_PATIENCE;
    let mut shards = Vec::new();
    for index in 0..config.cpus.len() {
        let sockets = match config.first_port {
            0 => bind_any(addresses, strict)?,
            first => bind_shard(addresses, first + index as u16, strict, deadline)?,
        };
        shards.push(ShardSockets { media: sockets.len(), sockets });
    }
    let mut bound = Bound { shards, listeners: Vec::new(), turn: None };
    if let Some(turn) = &config.turn {
        bound.bind_turn(turn, deadline)?;
    }
    bound.warn_of_small_buffers();
    Ok(bound)
}

impl Bound {
    fn bind_turn(&mut self, turn: &Turn, deadline: Instant) -> Result<()> {
        let addresses = self.shards[0].media_addresses()?;
        // Other shards may have had to leave out an address that was just going away.
        let addresses: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        let mut ports = TurnPorts { udp: 0, tcp: None, tls: Vec::new() };
        if let Some(port) = turn.udp {
            ports.udp = self.bind_udp(&addresses, port, deadline, turn.nat_discovery)?.unwrap_or(0);
        }
        let plain = turn.tcp.iter().map(|port| (port, false));
        for (index, (port, tls)) in plain.chain(turn.tls.iter().map(|port| (port, true))).enumerate() {
            let Some(number) = self.listen(&addresses, *port, tls, index, deadline)? else { continue };
            if tls {
                ports.tls.push(number);
            } else {
                ports.tcp = Some(number);
            }
        }
        self.turn = Some(ports);
        Ok(())
    }

    /// TURN's UDP port for every shard; with `discovery` the one after it, too. `None`: another program has it.
    fn bind_udp(
        &mut self,
        addresses: &[IpAddr],
        port: Port,
        deadline: Instant,
        discovery: bool,
    ) -> Result<Option<u16>> {
        let mut number = port.number;
        let mut all = Vec::new();
        for step in 0..=u16::from(discovery) {
            for address in addresses {
                let address = SocketAddr::new(*address, number + step);
                // Alone at first, so that no other program has it; then it is shared.
                let first = match patiently(deadline, || driver::bind(address)) {
                    Ok(socket) => socket,
                    Err(error) if !port.required && error.kind() == io::ErrorKind::AddrInUse => {
                        tracing::warn!(
                            "UDP {address} is used by another program: TURN is to be had at the media ports only; \
                             PLAUSCH_TURN_PORT sets another one"
                        );
                        return Ok(None);
                    }
                    Err(error) => bail!("{}", sentence("UDP", address, &error, "udp_port", "PLAUSCH_TURN_PORT")),
                };
                let address = first.local_addr()?;
                number = address.port() - step;
                driver::share(&first).with_context(|| format!("cannot share UDP {address} among the shards"))?;
                let mut group = vec![first];
                for _ in 1..self.shards.len() {
                    let socket = driver::bind_shared(address);
                    group.push(socket.with_context(|| format!("cannot bind UDP {address} once more"))?);
                }
                all.push(group);
            }
        }
        for group in all {
            for (shard, socket) in self.shards.iter_mut().zip(group) {
                shard.sockets.push(socket);
            }
        }
        Ok(Some(number))
    }

    /// One of the edge's ports on every address. `None`: another program has it.
    fn listen(
        &mut self,
        addresses: &[IpAddr],
        port: Port,
        tls: bool,
        index: usize,
        deadline: Instant,
    ) -> Result<Option<u16>> {
        let (key, variable) =
            if tls { ("tls_ports", "PLAUSCH_TURN_TLS_PORT") } else { ("tcp_port", "PLAUSCH_TURN_PORT") };
        let mut number = port.number;
        let mut listeners = Vec::new();
        for address in addresses {
            let address = SocketAddr::new(*address, number);
            match patiently(deadline, || edge::bind(address)) {
                Ok(socket) => {
                    number = socket.local_addr()?.port();
                    listeners.push(edge::Listener { socket, tls, port: index });
                }
                Err(error) if !port.required && error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!(
                        "TCP {address} is used by another program: TURN does without it; {variable} sets another one"
                    );
                    return Ok(None);
                }
                Err(error) => bail!("{}", sentence("TCP", address, &error, key, variable)),
            }
        }
        self.listeners.extend(listeners);
        Ok(Some(number))
    }

    fn warn_of_small_buffers(&self) {
        let sockets = self.shards.iter().flat_map(|shard| &shard.sockets);
        let smallest = sockets.map(driver::received_buffer).min().unwrap_or(0);
        // The kernel doubles what it grants.
        if smallest < 2 * RECEIVE_BUFFER_BYTES {
            tracing::warn!(
                "receive buffers are {} KiB only, and bursts may be lost; set the sysctl net.core.rmem_max to {RECEIVE_BUFFER_BYTES}",
                smallest / 2048
            );
        }
    }
}

impl ShardSockets {
    /// All of them, as the driver takes them.
    pub fn sockets(self) -> driver::Sockets {
        self.sockets.into()
    }

    /// The local addresses of all of them.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(UdpSocket::local_addr).collect()
    }

    /// The local addresses of media.
    pub fn media_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets[..self.media].iter().map(UdpSocket::local_addr).collect()
    }

    /// The local addresses of media, best first, loopback last.
    pub fn candidates(&self) -> io::Result<Vec<SocketAddr>> {
        let mut local = self.media_addresses()?;
        local.sort_by_key(|address| interfaces::rank(&address.ip()));
        Ok(local)
    }

    /// Two addresses of one family, best first, with two ports each (RFC 5780, section 4).
    pub fn discovery(&self) -> Result<[DiscoverySocket; 4]> {
        let mut addresses: Vec<(usize, IpAddr)> =
            self.media_addresses()?.iter().map(SocketAddr::ip).enumerate().collect();
        addresses.sort_by_key(|(_, address)| interfaces::rank(address));
        let pair = [false, true].into_iter().find_map(|ipv6| {
            let mut family = addresses.iter().filter(|(_, address)| address.is_ipv6() == ipv6);
            Some([family.next()?.0, family.next()?.0])
        });
        let Some([first, second]) = pair else {
            bail!("turn.nat_discovery needs two local addresses of one family, and there is one only");
        };
        let socket = |place: usize, step: usize| -> Result<DiscoverySocket> {
            let index = self.media * (1 + step) + place;
            let Some(socket) = self.sockets.get(index) else {
                bail!("turn.nat_discovery needs turn.udp_port, which another program has");
            };
            Ok(DiscoverySocket { local: LocalSocket(index as u16), address: socket.local_addr()? })
        };
        Ok([socket(first, 0)?, socket(first, 1)?, socket(second, 0)?, socket(second, 1)?])
    }
}

/// The addresses with relay ports, best first. Behind NAT the best local address of a family is the one that the
/// outside address of that family leads to.
pub fn relay_addresses(media: &[SocketAddr], announce: &[IpAddr]) -> Vec<RelayAddress> {
    let mut local: Vec<IpAddr> = media.iter().map(SocketAddr::ip).collect();
    local.sort_by_key(interfaces::rank);
    let mut outside: Vec<IpAddr> = announce.to_vec();
    let announced = |local: &IpAddr, outside: &mut Vec<IpAddr>| {
        let place = outside.iter().position(|address| address.is_ipv4() == local.is_ipv4());
        place.filter(|_| !local.is_loopback()).map_or(*local, |place| {
            let announced = outside[place];
            // Only the first local address of a family has it.
            outside.retain(|address| address.is_ipv4() != local.is_ipv4());
            announced
        })
    };
    local.iter().map(|local| RelayAddress { local: *local, announced: announced(local, &mut outside) }).collect()
}

/// Binds; until `deadline` a port in use is asked for again.
fn patiently<T>(deadline: Instant, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(PORT_PAUSE);
            }
            bound => return bound,
        }
    }
}

/// Why there is no start.
fn sentence(protocol: &str, address: SocketAddr, error: &io::Error, key: &str, variable: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{protocol} {address} is used by another program; set another {key} in [turn] or {variable}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "{protocol} {address} may be used by root or with CAP_NET_BIND_SERVICE only; set another {key} in [turn] or {variable}"
        ),
        _ => format!("cannot bind {protocol} {address}: {error}; correct {key} in [turn]"),
    }
}

/// One socket per address, all with the same port. An address that was found and not asked for may be gone again.
/// Until `deadline` a port in use is asked for again.
fn bind_shard(addresses: &[IpAddr], port: u16, strict: bool, deadline: Instant) -> Result<Vec<UdpSocket>> {
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for address in addresses.iter().take(LOCAL_ADDRESSES) {
        let address = SocketAddr::new(*address, port);
        match patiently(deadline, || driver::bind(address)) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                "UDP {address} is used by another program; set another first_port in [media] or PLAUSCH_MEDIA_PORT"
            ),
            Err(error) if strict => {
                bail!("cannot bind UDP {address}: {error}; correct addresses in [media]")
            }
            Err(error) => tracing::warn!("UDP {address} is left out, it cannot be bound: {error}"),
        }
    }
    if sockets.is_empty() {
        bail!("none of this machine's addresses can be bound at UDP port {port}; name them in addresses in [media]");
    }
    Ok(sockets)
}

/// A port that is free on all addresses.
fn bind_any(addresses: &[IpAddr], strict: bool) -> Result<Vec<UdpSocket>> {
    const ATTEMPTS: usize = 32;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let probe = driver::bind(SocketAddr::new(addresses[0], 0)).context("cannot bind any UDP port")?;
        let port = probe.local_addr()?.port();
        drop(probe);
        match bind_shard(addresses, port, strict, Instant::now()) {
            Ok(sockets) => return Ok(sockets),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no UDP port is free on all addresses")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_addresses_are_best_first_and_told_as_the_outside_sees_them() {
        let media: Vec<SocketAddr> = ["127.0.0.1:1", "10.0.0.1:1", "192.168.0.1:1", "[::1]:1", "[2001:db8::1]:1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let pairs = |announce: &[&str]| {
            let announce: Vec<_> = announce.iter().map(|text| address(text)).collect();
            let relay = relay_addresses(&media, &announce);
            relay.iter().map(|relay| (relay.local.to_string(), relay.announced.to_string())).collect::<Vec<_>>()
        };
        let same = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(
            pairs(&[]),
            ["2001:db8::1", "10.0.0.1", "192.168.0.1", "127.0.0.1", "::1"].map(same),
            "public, private, loopback"
        );
        let told = pairs(&["203.0.113.5"]);
        assert_eq!(told[1], ("10.0.0.1".to_owned(), "203.0.113.5".to_owned()));
        assert_eq!((&told[0], &told[2]), (&same("2001:db8::1"), &same("192.168.0.1")));
    }
}
