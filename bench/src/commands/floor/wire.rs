//! Where the floor's datagrams go: devices and namespaces that end with the program, and
//! receivers that drain.

use crate::ground::kernel;
use crate::ground::lab::Cable;
use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What lies between sender and receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Wire {
    /// A device (ifb) that takes runs whole, as one with hardware segmentation does, and drops everything: the pure
    /// cost of sending. Needs root.
    Drop,
    /// veth as in the labs of `sfu`, and sockets in the namespace at its other end that a thread drains. Needs root.
    Lab,
    /// Loopback, and sockets that a thread drains.
    Loopback,
}

const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 1);
const THEIR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 231, 0, 2);
/// RFC 2544 reserves it for tests like these.
const DESTINATIONS: &str = "198.18.0.0/15";
/// As the relay has it: what is sent at once must fit.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Receivers have nothing else to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// What those are like who drain the sockets: the clients of `sfu`, as far as the sender can tell.
#[derive(Clone, Debug)]
pub(crate) struct Receivers {
    /// Where they run, if not anywhere.
    pub(crate) cpus: Vec<usize>,
    /// How long they are busy with each datagram. One that has nothing to do falls asleep between two, and to wake it
    /// costs the sender more than the datagram: half of what a send over loopback costs would be that.
    pub(crate) work: Duration,
    /// What lies between sender and receivers of [`Wire::Lab`].
    pub(crate) cable: Cable,
}

impl Receivers {
    /// About what a client of `sfu` uses for a packet.
    pub(crate) const WORK_NS: u64 = 3_000;

    /// On all of these CPUs but one, where they disturb nobody.
    pub(crate) fn beside(cpu: usize, cpus: &[usize]) -> Self {
        let cpus = cpus.iter().copied().filter(|other| *other != cpu).collect();
        Self { cpus, work: Duration::from_nanos(Self::WORK_NS), cable: Cable::default() }
    }
}

/// The devices of one wire. They belong to the namespace of the thread that laid it, which must be a thread made for
/// this: it does not find its way back.
pub(crate) struct Ground {
    wire: Wire,
    peer: Option<Peer>,
    receivers: Receivers,
}

impl Ground {
    pub(crate) fn lay(wire: Wire, receivers: Receivers) -> anyhow::Result<Self> {
        if wire != Wire::Loopback {
            kernel::enter_new_namespace().map_err(|error| {
                anyhow!("cannot make a network namespace ({error}); run as root, or use --wire loopback")
            })?;
        }
        let peer = match wire {
            Wire::Loopback => None,
            Wire::Drop => {
                ip("link add sent type ifb")?;
                ip(&format!("addr add {OUR_ADDRESS}/24 dev sent"))?;
                ip("link set sent up")?;
                ip(&format!("route add {DESTINATIONS} dev sent"))?;
                None
            }
            Wire::Lab => {
                let peer = Peer::start()?;
                ip(&format!(
                    "link add sent address 02:00:00:00:00:01 type veth peer name taken address 02:00:00:00:00:02 netns {}",
                    peer.thread_id
                ))?;
                ip(&format!("addr add {OUR_ADDRESS}/24 dev sent"))?;
                ip("link set sent up")?;
                peer.call(receive_at_other_end)??;
                let Receivers { cpus, cable, .. } = receivers.clone();
                cable.set_up(&[], "sent", &[], true)?;
                peer.call(move || cable.set_up(&[], "taken", &cpus, false))??;
                ip(&format!("neigh add {THEIR_ADDRESS} lladdr 02:00:00:00:00:02 dev sent nud permanent"))?;
                // As on a real server, everything goes through one gateway.
                ip(&format!("route add default via {THEIR_ADDRESS}"))?;
                Some(peer)
            }
        };
        Ok(Self { wire, peer, receivers })
    }

    /// So many destinations, and who receives there.
    pub(crate) fn ends(&self, count: usize) -> anyhow::Result<Ends> {
        let receivers = self.receivers.clone();
        let sink = match (&self.peer, self.wire) {
            (Some(peer), Wire::Lab) => Some(peer.call(move || Sink::open(THEIR_ADDRESS.into(), count, receivers))??),
            (_, Wire::Loopback) => Some(Sink::open(Ipv4Addr::LOCALHOST.into(), count, receivers.clone())?),
            _ => None,
        };
        let destinations = match &sink {
            Some(sink) => sink.addresses.clone(),
            None => (0..count as u32)
                .map(|index| {
                    (Ipv4Addr::from_bits(0xc612_0000 + index / 250 * 256 + index % 250 + 1), 40_000 + index as u16)
                        .into()
                })
                .collect(),
        };
        Ok(Ends {
            source: if self.wire == Wire::Loopback { Ipv4Addr::LOCALHOST } else { OUR_ADDRESS }.into(),
            destinations,
            sink,
        })
    }
}

/// The other end of the cable; on the peer's thread.
fn receive_at_other_end() -> anyhow::Result<()> {
    ip(&format!("addr add {THEIR_ADDRESS}/24 dev taken"))?;
    ip("link set taken up")?;
    ip(&format!("neigh add {OUR_ADDRESS} lladdr 02:00:00:00:00:01 dev taken nud permanent"))
}

/// Both ends of the datagrams' way.
pub(crate) struct Ends {
    source: IpAddr,
    pub(crate) destinations: Vec<SocketAddr>,
    pub(crate) sink: Option<Sink>,
}

impl Ends {
    /// A socket to send from, as the relay binds it.
    pub(crate) fn socket(&self) -> anyhow::Result<UdpSocket> {
        Ok(bind(self.source)?)
    }

    /// Waits until the receivers have everything that was sent; says how many of `sent` are missing.
    pub(crate) fn settle(&self, sent: u64) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.settle(sent))
    }
}

fn bind(ip: IpAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // As far as the system's limits allow.
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    Ok(socket.into())
}

/// A socket for each destination, and those who take everything from them, datagram by datagram, by the runtime that the
/// clients of `sfu` have.
pub(crate) struct Sink {
    addresses: Vec<SocketAddr>,
    received: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    fn open(ip: IpAddr, count: usize, receivers: Receivers) -> anyhow::Result<Self> {
        let sockets: Vec<UdpSocket> = (0..count).map(|_| bind(ip)).collect::<Result<_, _>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = received.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let Receivers { cpus, work, .. } = receivers;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cpus.len().max(1))
            .enable_io()
            .on_thread_start(move || {
                // Where they may not, the figures are noisier.
                let _ = cpus.is_empty() || kernel::pin(&cpus).is_ok();
            })
            .build()?;
        let thread = thread::Builder::new().name("sink".into()).spawn(move || {
            runtime.block_on(async move {
                for socket in sockets {
                    tokio::spawn(drain(socket, work, counter.clone()));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { addresses, received, stop: Some(stop), thread: Some(thread) })
    }

    fn settle(&self, sent: u64) -> u64 {
        let began = Instant::now();
        loop {
            let missing = sent.saturating_sub(self.received.load(Ordering::Relaxed));
            if missing == 0 || began.elapsed() > PATIENCE {
                return missing;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// How many datagrams came so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn drain(socket: UdpSocket, work: Duration, counter: Arc<AtomicU64>) {
    let Ok(socket) = socket.set_nonblocking(true).and_then(|()| tokio::net::UdpSocket::from_std(socket)) else {
        return;
    };
    let mut buffer = [0; 2048];
    while socket.recv_from(&mut buffer).await.is_ok() {
        let until = Instant::now() + work;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A thread in a namespace of its own that does what it is told.
struct Peer {
    thread_id: i32,
    tasks: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Peer {
    fn start() -> anyhow::Result<Self> {
        let (tasks, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (said, hear) = mpsc::channel();
        thread::Builder::new().name("peer".into()).spawn(move || {
            let entered = kernel::enter_new_namespace().map(|()| kernel::thread_id());
            if said.send(entered).is_ok() {
                todo.iter().for_each(|task| task());
            }
        })?;
        let thread_id = hear.recv().context("the peer's thread ended")??;
        Ok(Self { thread_id, tasks })
    }

    fn call<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let (said, hear) = mpsc::channel();
        let task = Box::new(move || {
            let _ = said.send(task());
        });
        self.tasks.send(task).map_err(|_| anyhow!("the peer's thread ended"))?;
        hear.recv().context("the peer's thread ended")
    }
}

/// `ip` in the namespace of the calling thread.
fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("cannot run ip (package iproute2)")?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
