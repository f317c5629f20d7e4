//! The relay's parts, put together: sockets, rings, threads.

use crate::config::{Config, DriverChoice, Turn};
use crate::cpus;
use crate::drain::{Drain, Draining};
use crate::driver::Waker;
use crate::driver::xdp::{Device, Queue, Steering};
use crate::edge::ends::{ShardEnds, rings};
use crate::edge::{self, Admission, EdgeCounters};
use crate::handshake::{self, Bounds, HandshakeCounters, Port};
use crate::hub::Hub;
use crate::interfaces;
use crate::metrics;
use crate::neighbours::Inbox;
use crate::reach::Reach;
use crate::ring::{Wake, ring};
use crate::shard::{self, DriverSetup, Rings, Setup, Status};
use crate::sockets::{self, ShardSockets};
use anyhow::{Context, Result, bail};
use plausch_daemon::descriptors;
use plausch_engine::EngineConfig;
use plausch_engine::turn::{MediaAddress, Neighbour, TcpAllocations, TurnConfig, TurnLimits};
use plausch_link::Identity;
use plausch_relay_api::framing::PROTOCOL_VERSION;
use plausch_relay_api::limits::{PARTICIPANTS_PER_SHARD, RING_MESSAGES};
use plausch_relay_api::{Hello, ShardId, ShardInfo};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// A relay that carries media. Dropping it ends its threads.
pub struct Relay {
    identity: Identity,
    control: SocketAddr,
    hub: Hub,
    metrics: Option<TcpListener>,
    numbers: metrics::Numbers,
    /// Wakes the hub.
    notify: Arc<Notify>,
    reach: Reach,
    tell: watch::Sender<Vec<ShardInfo>>,
    reload: Arc<Notify>,
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
        if let Err(error) = descriptors::raise_limit() {
            tracing::warn!("the limit of open sockets stays as it is: {error}");
        }
        let mut reach = Reach::new(config.announce.clone()).await;
        let bound = sockets::bind_all(config)?;
        let shard_count = bound.shards.len();

        let mut threads = Threads::default();
        let notify = Arc::new(Notify::new());
        let counters = Arc::new(HandshakeCounters::default());
        let wakers = (0..shard_count).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
        threads.wakers.clone_from(&wakers);

        // By shard, the ends that it has: to each handshake thread and from it.
        let mut handshakes: Vec<Vec<_>> = (0..shard_count).map(|_| Vec::new()).collect();
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

        let drivers = drivers(config, &bound.shards)?;
        let listening = bound.listeners.iter().map(|listener| listener.socket.local_addr());
        let mut own_ports = listening.map(|address| Ok(address?.port())).collect::<io::Result<Vec<_>>>()?;
        own_ports.extend(metrics.as_ref().and_then(|listener| listener.local_addr().ok()).map(|it| it.port()));
        let edge_counters = Arc::new(EdgeCounters::default());
        let (edge, edges) = match &config.turn {
            Some(turn) if !bound.listeners.is_empty() => {
                let admission = Admission::new(
                    config.limits.turn_connections,
                    config.limits.turn_connections_per_prefix,
                    edge_counters.clone(),
                );
                let shared =
                    Arc::new(edge::Shared::new(admission, edge_counters.clone(), config.limits.turn_bytes_per_second)?);
                let ends = threads.start_edge(&shared, turn.edge_threads, bound.listeners, &wakers, &config.cpus)?;
                (Some(shared), ends)
            }
            _ => (None, (0..shard_count).map(|_| Vec::new()).collect()),
        };

        let mut infos = Vec::new();
        for (index, shard) in bound.shards.iter().enumerate() {
            infos.push(ShardInfo { shard: ShardId(index as u16), candidates: shard.candidates()? });
        }
        reach.bind(infos);
        let infos = reach.shards();
        let turn = match &config.turn {
            Some(turn) => Some(TurnOfAll::new(config, turn, &bound.shards, &infos, &reach.outside(), own_ports)?),
            None => None,
        };
        let neighbours: Arc<[Inbox]> = wakers.iter().cloned().map(Inbox::new).collect();
        let mut ends = Vec::new();
        let mut statuses = Vec::new();
        for (index, ((sockets, handshakes), edges)) in bound.shards.into_iter().zip(handshakes).zip(edges).enumerate() {
            let id = ShardId(index as u16);
            let media = sockets.media_addresses()?;
            let (to_shard, commands) = ring(RING_MESSAGES, Wake::Shard(wakers[index].clone()));
            let (events, from_shard) = ring(RING_MESSAGES, Wake::Task(notify.clone()));
            let status = Arc::new(Mutex::new(Status::default()));
            let setup = Setup {
                cpu: config.cpus[index],
                sockets: sockets.sockets(),
                waker: wakers[index].clone(),
                driver: drivers[index].clone(),
                realtime: config.realtime,
                engine: EngineConfig {
                    max_participants: config.limits.participants_per_shard,
                    max_participants_per_room: config.limits.participants_per_room,
                    media,
                    check_key: random()?,
                    turn: turn.as_ref().map(|turn| turn.of_shard(index)),
                    ..EngineConfig::new(id, u64::from_ne_bytes(random()?))
                },
                status: status.clone(),
                stop: threads.stop.clone(),
            };
            let thread =
                shard::spawn(setup, Rings { commands, events, handshakes, edges, neighbours: neighbours.clone() })
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
        let draining = Draining::default();
        let (tell, told) = watch::channel(infos.clone());
        let name = match &config.name {
            Some(name) => name.clone(),
            None => default_name(infos.iter().flat_map(|info| &info.candidates).map(SocketAddr::port).next()),
        };
        // Never 0, which says nothing.
        let instance = u64::from_ne_bytes(random()?).max(1);
        let hello = Hello { version: PROTOCOL_VERSION, name, instance, fingerprint, shards: infos, turn: bound.turn };
        Ok(Self {
            identity,
            control: config.control,
            hub: Hub::new(hello, ends, statuses.clone(), notify.clone(), edge, draining.clone(), told),
            metrics,
            numbers: metrics::Numbers { shards: statuses, handshakes: counters, edge: edge_counters, draining },
            notify,
            reach,
            tell,
            reload: Arc::default(),
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

    /// Lets it run empty, for so long at the most, before `stop` of [`Self::run`] is ready.
    pub fn drain(&self, time: Duration) -> Drain {
        Drain::new(time, self.numbers.draining.clone(), self.numbers.shards.clone(), self.notify.clone())
    }

    /// Notified, it looks up again what can change while it runs: the names that are announced.
    pub fn reload(&self) -> Arc<Notify> {
        self.reload.clone()
    }

    /// Keeps up the link and serves metrics, until `stop` is ready.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { identity, control, mut hub, metrics, numbers, reach, tell, reload, _threads, .. } = self;
        let metrics = async {
            match metrics {
                Some(listener) => metrics::serve(listener, numbers).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hub.run(&identity, control, stop) => {}
            () = metrics => {}
            () = reach.watch(tell, reload) => {}
        }
    }
}

/// What TURN is made with, for all shards.
struct TurnOfAll {
    config: TurnConfig,
    /// Media addresses with their shard.
    media: Vec<(usize, SocketAddr)>,
    /// By shard.
    relay_ports: Vec<RangeInclusive<u16>>,
}

impl TurnOfAll {
    fn new(
        config: &Config,
        turn: &Turn,
        shards: &[ShardSockets],
        infos: &[ShardInfo],
        outside: &[IpAddr],
        own_ports: Vec<u16>,
    ) -> Result<Self> {
        let mut nonce_key = [0; 32];
        boring::rand::rand_bytes(&mut nonce_key).context("cannot get random numbers")?;
        let media = infos.iter().enumerate();
        let limits = &config.limits;
        let config = TurnConfig {
            realm: turn.realm.clone(),
            nonce_key,
            unix_seconds: shard::unix_seconds(),
            users: turn.users.clone(),
            shared_secrets: turn.shared_secrets.clone(),
            media: Vec::new(),
            host_addresses: interfaces::all_addresses().context("cannot ask for this machine's addresses")?,
            allow_peers: turn.allow_peers.clone(),
            relay: sockets::relay_addresses(&shards[0].media_addresses()?, outside),
            relay_ports: turn.relay_ports.clone(),
            neighbours: Vec::new(),
            nat_discovery: if turn.nat_discovery { Some(shards[0].discovery()?) } else { None },
            tcp: turn.tcp_allocations.then(|| TcpAllocations {
                own_ports,
                connections: (limits.turn_peer_connections / shards.len()).max(1),
                connections_per_allocation: limits.turn_peer_connections_per_allocation,
                connections_per_user: limits.turn_peer_connections_per_user,
            }),
            limits: TurnLimits {
                allocations: limits.turn_allocations_per_shard,
                allocations_per_user: limits.turn_allocations_per_user,
                open_ports: limits.turn_open_ports_per_shard,
                permissions_per_allocation: limits.turn_permissions_per_allocation,
                bytes_per_second: limits.turn_bytes_per_second,
                new_peers_per_second: limits.turn_new_peers_per_second,
                ..TurnLimits::default()
            },
        };
        Ok(Self {
            config,
            media: media
                .flat_map(|(index, info)| info.candidates.iter().map(move |address| (index, *address)))
                .collect(),
            relay_ports: (0..shards.len()).map(|shard| turn.relay_ports_of(shard, shards.len())).collect(),
        })
    }

    fn of_shard(&self, shard: usize) -> TurnConfig {
        let media = self.media.iter().map(|(index, address)| MediaAddress { address: *address, here: *index == shard });
        let neighbours = (0..).map(ShardId).zip(self.relay_ports.iter().cloned());
        let neighbours = neighbours.map(|(shard, relay_ports)| Neighbour { shard, relay_ports });
        TurnConfig {
            media: media.collect(),
            relay_ports: self.relay_ports[shard].clone(),
            neighbours: neighbours.filter(|neighbour| usize::from(neighbour.shard.0) != shard).collect(),
            ..self.config.clone()
        }
    }
}

/// Ends all threads when dropped.
#[derive(Default)]
struct Threads {
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    /// Dropped to end the edge's threads.
    edge_stop: Option<watch::Sender<()>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts the edge. Gives back, by shard, its ends of the rings.
    fn start_edge(
        &mut self,
        shared: &Arc<edge::Shared>,
        count: usize,
        listeners: Vec<edge::Listener>,
        wakers: &[Waker],
        shard_cpus: &[usize],
    ) -> Result<Vec<Vec<ShardEnds>>> {
        let (stop, stopped) = watch::channel(());
        self.edge_stop = Some(stop);
        let mut cpus = cpus::allowed().unwrap_or_default();
        cpus.retain(|cpu| !shard_cpus.contains(cpu));
        let mut ends: Vec<Vec<_>> = wakers.iter().map(|_| Vec::new()).collect();
        for index in 0..count {
            let notify = Arc::new(Notify::new());
            let mut shards = Vec::new();
            for (waker, ends) in wakers.iter().zip(&mut ends) {
                let (thread, shard) = rings(&Wake::Shard(waker.clone()), &Wake::Task(notify.clone()));
                shards.push(thread);
                ends.push(shard);
            }
            let listeners = listeners.iter().map(|listener| {
                let edge::Listener { socket, tls, port } = listener;
                Ok(edge::Listener { socket: socket.try_clone()?, tls: *tls, port: *port })
            });
            let setup = edge::Setup {
                index,
                cpus: cpus.clone(),
                listeners: listeners.collect::<io::Result<_>>()?,
                shards,
                notify,
                shared: shared.clone(),
                stop: stopped.clone(),
            };
            self.handles.push(edge::spawn(setup).context("cannot start the threads for TCP and TLS")?);
        }
        Ok(ends)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.edge_stop.take());
        self.wakers.iter().for_each(Waker::wake);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            let _ = handle.join();
        }
    }
}

/// What each shard opens.
fn drivers(config: &Config, shards: &[ShardSockets]) -> Result<Vec<DriverSetup>> {
    let same = |driver: DriverSetup| Ok(vec![driver; shards.len()]);
    let name = &config.device;
    match config.driver {
        DriverChoice::Auto => return same(DriverSetup::Auto),
        DriverChoice::Uring => return same(DriverSetup::Uring),
        DriverChoice::Mmsg => return same(DriverSetup::Mmsg),
        DriverChoice::Xdp => {}
    }
    let queues = Device::queues(name)
        .with_context(|| format!("there is no network device {name:?}; correct device in [media]"))?;
    if queues < shards.len() {
        bail!(
            "{name} has {queues} receive queues for {} shards; name fewer cpus in [media], or add queues with \
             `ethtool -L {name} combined {}`",
            shards.len(),
            shards.len()
        );
    }
    let addresses = shards.iter().map(ShardSockets::addresses).collect::<io::Result<Vec<_>>>()?;
    let device = Device::attach(name, &Steering::new(addresses.iter().map(Vec::as_slice))).with_context(|| {
        format!(
            "no program can be put onto {name}: the relay needs root for it, and the device no other program; \
             or try driver = \"auto\" in [media]"
        )
    })?;
    let device = Arc::new(device);
    Ok((0..shards.len() as u32).map(|number| DriverSetup::Xdp(Queue { device: device.clone(), number })).collect())
}

/// The name of this host and a port that no second relay has there.
fn default_name(port: Option<u16>) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let told = host.chars().filter(|char| char.is_ascii_alphanumeric() || ".-_".contains(*char));
    // A label of a host name has 63 characters at most, and what is longer is cut before the port.
    let host: String = told.take(63).collect();
    let host = if host.is_empty() { "relay" } else { &host };
    format!("{host}:{}", port.unwrap_or(0))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    boring::rand::rand_bytes(&mut bytes).context("cannot get random numbers")?;
    Ok(bytes)
}
