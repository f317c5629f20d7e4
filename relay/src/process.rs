//! The relay's parts, put together: sockets, rings, threads.

use crate::config::Config;
use crate::cpus;
use crate::driver::{self, Sockets, Waker};
use crate::handshake::{self, Bounds, HandshakeCounters, Port};
use crate::interfaces;
use crate::link::Hub;
use crate::metrics;
use crate::ring::{Wake, ring};
use crate::shard::{self, Rings, Setup, Status};
use anyhow::{Context, Result, bail};
use plausch_engine::EngineConfig;
use plausch_link::Identity;
use plausch_relay_api::framing::PROTOCOL_VERSION;
use plausch_relay_api::limits::{LOCAL_ADDRESSES, PARTICIPANTS_PER_SHARD, RING_MESSAGES, SOCKET_BUFFER_BYTES};
use plausch_relay_api::{Hello, ShardId, ShardInfo};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A relay that carries media. Dropping it ends its threads.
pub struct Relay {
    identity: Identity,
    control: SocketAddr,
    hub: Hub,
    metrics: Option<TcpListener>,
    numbers: metrics::Numbers,
    /// Kept for their end.
    _threads: Threads,
}

impl Relay {
    /// Binds, opens and starts everything but the link. Must be called inside a tokio runtime.
    pub async fn start(config: &Config) -> Result<Self> {
        let identity = Identity::load_or_create(&config.state.join("link"))?;
        let (context, fingerprint) = handshake::context().context("cannot make a DTLS certificate")?;
        let metrics = match config.metrics {
            Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
                format!("cannot listen on TCP {address} for metrics; set another address in [metrics] or PLAUSCH_METRICS_PORT")
            })?),
            None => None,
        };
        let sockets = bind_all(config)?;
        warn_of_small_buffers(&sockets);

        let mut threads = Threads::default();
        let notify = Arc::new(Notify::new());
        let counters = Arc::new(HandshakeCounters::default());
        let wakers = (0..sockets.len()).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
        threads.wakers.clone_from(&wakers);

        // By shard, the ends that it has: to each handshake thread and from it.
        let mut handshakes: Vec<Vec<_>> = sockets.iter().map(|_| Vec::new()).collect();
        let bounds = Bounds { handshakes: config.limits.handshakes_per_shard, sessions: 2 * PARTICIPANTS_PER_SHARD };
        for index in 0..config.handshake_threads {
            // The thread needs the rings, and the rings need the thread to wake it.
            let (give, take) = mpsc::channel::<Vec<Port>>();
            let (context, counters, stop) = (context.clone(), counters.clone(), threads.stop.clone());
            let work = move || {
                if let Ok(ports) = take.recv() {
                    handshake::run(&context, ports, bounds, &counters, &stop);
                }
            };
            let thread = thread::Builder::new().name(format!("handshake-{index}")).spawn(work)?;
            let mut ports = Vec::new();
            for (rings, waker) in handshakes.iter_mut().zip(&wakers) {
                let (to_handshake, inbox) = ring(RING_MESSAGES, Wake::Thread(thread.thread().clone()));
                let (outbox, from_handshake) = ring(RING_MESSAGES, Wake::Shard(waker.clone()));
                ports.push(Port { inbox, outbox });
                rings.push((to_handshake, from_handshake));
            }
            let _ = give.send(ports);
            threads.handles.push(thread);
        }

        let mut infos = Vec::new();
        let mut ends = Vec::new();
        let mut statuses = Vec::new();
        for (index, (sockets, handshakes)) in sockets.into_iter().zip(handshakes).enumerate() {
            let id = ShardId(index as u16);
            infos.push(ShardInfo { shard: id, candidates: candidates(config, &sockets)? });
            let (to_shard, commands) = ring(RING_MESSAGES, Wake::Shard(wakers[index].clone()));
            let (events, from_shard) = ring(RING_MESSAGES, Wake::Task(notify.clone()));
            let status = Arc::new(Mutex::new(Status::default()));
            let setup = Setup {
                cpu: config.cpus[index],
                sockets,
                waker: wakers[index].clone(),
                driver: config.driver,
                realtime: config.realtime,
                engine: EngineConfig {
                    max_participants: config.limits.participants_per_shard,
                    max_participants_per_room: config.limits.participants_per_room,
                    ..EngineConfig::new(id, random()?)
                },
                status: status.clone(),
                stop: threads.stop.clone(),
            };
            let thread = shard::spawn(setup, Rings { commands, events, handshakes })
                .with_context(|| format!("shard {id} cannot start; try driver = \"mmsg\" in [media]"))?;
            threads.handles.push(thread);
            ends.push((to_shard, from_shard));
            statuses.push(status);
        }
        if config.lock_memory {
            cpus::lock_memory().context(
                "memory cannot be locked; set lock_memory = false in [media], or allow it (ulimit -l unlimited)",
            )?;
        }
        let hello = Hello { version: PROTOCOL_VERSION, fingerprint, shards: infos };
        Ok(Self {
            identity,
            control: config.control,
            hub: Hub::new(hello, ends, statuses.clone(), notify),
            metrics,
            numbers: metrics::Numbers { shards: statuses, handshakes: counters },
            _threads: threads,
        })
    }

    /// What control is told first.
    pub fn hello(&self) -> &Hello {
        self.hub.hello()
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    #[cfg(test)]
    pub(crate) fn panic_shard(&mut self, shard: usize) {
        self.hub.panic_shard(shard);
    }

    /// Keeps up the link and serves metrics, until `stop` is ready.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { identity, control, mut hub, metrics, numbers, _threads } = self;
        let metrics = async {
            match metrics {
                Some(listener) => metrics::serve(listener, numbers).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hub.run(&identity, control, stop) => {}
            () = metrics => {}
        }
    }
}

/// Ends all threads when dropped.
#[derive(Default)]
struct Threads {
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    handles: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wakers.iter().for_each(Waker::wake);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            let _ = handle.join();
        }
    }
}

/// The kernel takes io_uring apart behind the back of a killed process: its ports are free a moment later only.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// The sockets of all shards.
fn bind_all(config: &Config) -> Result<Vec<Sockets>> {
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
    let sockets = (0..config.cpus.len()).map(|index| match config.first_port {
        0 => bind_any(addresses, strict),
        first => bind_shard(addresses, first + index as u16, strict, deadline),
    });
    sockets.collect()
}

/// One socket per address, all with the same port. An address that was found and not asked for may be gone again.
/// Until `deadline` a port in use is asked for again.
fn bind_shard(addresses: &[IpAddr], port: u16, strict: bool, deadline: Instant) -> Result<Sockets> {
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for address in addresses.iter().take(LOCAL_ADDRESSES) {
        let address = SocketAddr::new(*address, port);
        let mut bound = driver::bind(address);
        while bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) && Instant::now() < deadline {
            thread::sleep(PORT_PAUSE);
            bound = driver::bind(address);
        }
        match bound {
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
    Ok(sockets.into())
}

/// A port that is free on all addresses.
fn bind_any(addresses: &[IpAddr], strict: bool) -> Result<Sockets> {
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

/// What browsers are told: the addresses outside of a NAT first, then the local ones, loopback last.
fn candidates(config: &Config, sockets: &Sockets) -> io::Result<Vec<SocketAddr>> {
    let mut local = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
    let port = local[0].port();
    local.sort_by_key(|address| interfaces::rank(&address.ip()));
    let outside = config.announce.iter().map(|address| SocketAddr::new(*address, port));
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for address in outside.chain(local) {
        if !candidates.contains(&address) {
            candidates.push(address);
        }
    }
    Ok(candidates)
}

fn warn_of_small_buffers(shards: &[Sockets]) {
    let smallest = shards.iter().flat_map(|sockets| sockets.iter()).map(driver::received_buffer).min().unwrap_or(0);
    // The kernel doubles what it grants.
    if smallest < 2 * SOCKET_BUFFER_BYTES {
        tracing::warn!(
            "receive buffers are {} KiB only, and bursts may be lost; set the sysctl net.core.rmem_max to {SOCKET_BUFFER_BYTES}",
            smallest / 2048
        );
    }
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    boring::rand::rand_bytes(&mut bytes).context("cannot get random numbers")?;
    Ok(u64::from_ne_bytes(bytes))
}
