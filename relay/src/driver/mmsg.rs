//! The driver for places without io_uring: `ppoll` (with an `epoll` for relay ports in it), `recvmmsg`, and `sendmsg`
//! with UDP_SEGMENT.

use super::message::{NAME_BYTES, Name, Outgoing, send_run};
use super::ports::Ports;
use super::{Driver, DriverCounters, Received, Sockets, Waker};
use plausch_engine::{LocalSocket, Path, RxPacket, TxBatch, TxRun};
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES, SOUND_PATIENCE_MS};
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// See the module.
pub struct Mmsg {
    ports: Ports,
    waker: Waker,
    /// All relay ports: to `ppoll` them one by one would cost each wait as much as there are.
    relay_ports: OwnedFd,
    /// The sockets, then the relay ports together, then the waker.
    polled: Vec<libc::pollfd>,
    /// Where the last round began: every socket gets its turn to be first, and so do the relay ports.
    first: usize,
    data: Box<[[u8; DATAGRAM_BYTES]]>,
    names: Box<[[u8; NAME_BYTES]]>,
    /// What the last `recvmmsg` of each packet said, filled anew every time.
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    /// Which socket each packet came from.
    origins: [LocalSocket; BATCH_PACKETS],
    outgoing: Outgoing,
    /// How long sound of this batch may still wait for the sockets.
    patience: Duration,
    counters: DriverCounters,
}

impl Driver for Mmsg {
    type Device = ();

    fn open(sockets: Sockets, waker: Waker, (): &()) -> io::Result<Self> {
        Self::open_with(sockets, waker, None)
    }

    fn receive<'d>(&'d mut self, timeout: Option<Duration>, rx: &mut Vec<RxPacket<'d>>) -> io::Result<Received> {
        self.wait(timeout)?;
        let taken_at = Some(Instant::now());
        Ok(Received { full: self.take(rx), taken_at })
    }

    fn send(&mut self, tx: &mut TxBatch) -> io::Result<()> {
        self.begin_batch();
        let mut refused = false;
        for run in tx.runs() {
            refused |= self.send_one(tx, run);
        }
        if refused {
            tx.set_segmentation(false);
        }
        Ok(())
    }

    fn open_port(&mut self, local: LocalSocket, address: SocketAddr) -> io::Result<()> {
        let fd = self.ports.open(local, address)?.socket.as_raw_fd();
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: local.0.into() };
        // SAFETY: both descriptors are open, and the event lives until the call returns.
        let result = unsafe { libc::epoll_ctl(self.relay_ports.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        self.ports.close(local);
        Err(error)
    }

    fn close_port(&mut self, local: LocalSocket) {
        // With its only descriptor a socket leaves the epoll.
        self.ports.close(local);
    }

    fn counters(&self) -> DriverCounters {
        self.counters
    }
}

impl Mmsg {
    /// For a driver that receives from `other` itself and lets this one wait for it, too.
    pub(super) fn open_beside(sockets: Sockets, waker: Waker, other: RawFd) -> io::Result<Self> {
        Self::open_with(sockets, waker, Some(other))
    }

    fn open_with(sockets: Sockets, waker: Waker, other: Option<RawFd>) -> io::Result<Self> {
        let relay_ports = epoll()?;
        let fds = sockets.iter().map(AsRawFd::as_raw_fd).chain([relay_ports.as_raw_fd(), waker.fd()]).chain(other);
        let polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: C structs of integers and pointers, for which zeroes are valid.
        let (header, vector): (libc::mmsghdr, libc::iovec) = unsafe { (zeroed(), zeroed()) };
        Ok(Self {
            ports: Ports::new(sockets),
            waker,
            relay_ports,
            polled,
            first: 0,
            data: vec![[0; DATAGRAM_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            names: vec![[0; NAME_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            headers: vec![header; BATCH_PACKETS].into_boxed_slice(),
            vectors: vec![vector; BATCH_PACKETS].into_boxed_slice(),
            origins: [LocalSocket(0); BATCH_PACKETS],
            outgoing: Outgoing::new(),
            patience: Duration::ZERO,
            counters: DriverCounters::default(),
        })
    }

    /// To be called before the first run of a batch.
    pub(super) fn begin_batch(&mut self) {
        self.patience = Duration::from_millis(SOUND_PATIENCE_MS);
    }

    /// Sends one run. `true`: segmentation was refused.
    pub(super) fn send_one(&mut self, tx: &TxBatch, run: &TxRun) -> bool {
        let Some(fd) = self.ports.fd(run.path.local) else {
            self.counters.drop_send_refused += run.datagrams() as u64;
            return false;
        };
        send_run(fd, &mut self.outgoing, tx, run, &mut self.counters, &mut self.patience)
    }

    /// Whether the last wait found anything besides wake-ups and the other descriptor.
    pub(super) fn has_datagrams(&self) -> bool {
        self.polled[..=self.ports.sockets()].iter().any(|entry| entry.revents != 0)
    }

    /// Takes what the last wait found, as far as the batch has room; answers whether it had none left.
    pub(super) fn take<'d>(&'d mut self, rx: &mut Vec<RxPacket<'d>>) -> bool {
        let sockets = self.ports.sockets();
        if self.polled[sockets + 1].revents != 0 {
            self.waker.drain();
        }
        let begin = rx.len();
        let mut filled = begin;
        for turn in 0..=sockets {
            let index = (self.first + turn) % (sockets + 1);
            if self.polled[index].revents == 0 || filled == BATCH_PACKETS {
                continue;
            }
            if index == sockets {
                filled = self.receive_from_relay_ports(filled);
            } else {
                filled = self.receive_from(LocalSocket(index as u16), filled);
            }
        }
        self.first = (self.first + 1) % (sockets + 1);

        let packets =
            self.data.iter_mut().zip(&self.names).zip(&self.headers).zip(&self.origins).take(filled).skip(begin);
        for (((data, name), header), local) in packets {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                self.counters.drop_receive_oversized += 1;
                continue;
            }
            let name_len = (header.msg_hdr.msg_namelen as usize).min(NAME_BYTES);
            let Some(remote) = Name::parse(&name[..name_len]) else {
                self.counters.receive_errors += 1;
                continue;
            };
            let len = (header.msg_len as usize).min(DATAGRAM_BYTES);
            rx.push(RxPacket { path: Path { local: *local, remote }, data: &mut data[..len] });
        }
        filled == BATCH_PACKETS
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timespec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let pointer = timespec.as_ref().map_or(std::ptr::null(), |timespec| &raw const *timespec);
        let len = self.polled.len() as libc::nfds_t;
        // SAFETY: `polled` has `len` entries, `timespec` lives until the call returns, and there is no signal mask.
        let result = unsafe { libc::ppoll(self.polled.as_mut_ptr(), len, pointer, std::ptr::null()) };
        if result >= 0 {
            return Ok(());
        }
        // What the entries say after a failure is not said anywhere.
        self.polled.iter_mut().for_each(|entry| entry.revents = 0);
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }

    /// Takes the relay ports that have something in turn, as the kernel does: who was served is last in its list.
    fn receive_from_relay_ports(&mut self, mut filled: usize) -> usize {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH_PACKETS];
        let room = (BATCH_PACKETS - filled) as i32;
        // SAFETY: there is room for as many events as the call may write.
        let ready = unsafe { libc::epoll_wait(self.relay_ports.as_raw_fd(), events.as_mut_ptr(), room, 0) };
        for event in &events[..ready.max(0) as usize] {
            if filled < BATCH_PACKETS {
                filled = self.receive_from(LocalSocket(event.u64 as u16), filled);
            }
        }
        filled
    }

    /// Fills the arrays from `filled` on; answers how far.
    fn receive_from(&mut self, local: LocalSocket, filled: usize) -> usize {
        let Some(fd) = self.ports.fd(local) else { return filled };
        let data = self.data[filled..].iter_mut();
        let packets = data.zip(&mut self.names[filled..]).zip(&mut self.vectors[filled..]);
        for (((data, name), vector), header) in packets.zip(&mut self.headers[filled..]) {
            *vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES };
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = null_mut();
            header.msg_hdr.msg_controllen = 0;
        }
        let headers = &mut self.headers[filled..];
        // SAFETY: every header points to one vector, one name and one buffer of its own, all owned by `self` and at
        // rest until the call returns.
        let received =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), headers.len() as u32, libc::MSG_DONTWAIT, null_mut()) };
        if received < 0 {
            let error = io::Error::last_os_error();
            if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                self.counters.receive_errors += 1;
            }
        }
        let end = filled + received.max(0) as usize;
        self.origins[filled..end].fill(local);
        end
    }
}

fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd: RawFd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
