//! The driver for places without io_uring: `ppoll` (with an `epoll` for relay ports in it), `recvmmsg`, and `sendmsg`
//! with UDP_SEGMENT.

use super::message::{CONTROL_BYTES, Joined, NAME_BYTES, Outgoing, Sending};
use super::ports::Ports;
use super::{Driver, DriverCounters, Received, Sockets, Waker};
use plausch_engine::{LocalSocket, Path, RxPacket, TxBatch, TxRun};
use plausch_relay_api::limits::{BATCH_PACKETS, JOINED_BYTES, SOUND_PATIENCE_MS};
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::ops::Range;
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
    /// What one receive each has brought: a datagram, or some that were joined.
    data: Box<[[u8; JOINED_BYTES]]>,
    names: Box<[[u8; NAME_BYTES]]>,
    controls: Box<[[u8; CONTROL_BYTES]]>,
    /// What the last `recvmmsg` of each packet said, filled anew every time.
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    /// Which socket each came from; `None`: one that has been closed since.
    origins: [Option<LocalSocket>; BATCH_PACKETS],
    /// Of what was received: which are still to be handed out, and where the next datagram begins in the first of them.
    rest: Range<usize>,
    begin: usize,
    taken_at: Option<Instant>,
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
        if self.rest.is_empty() {
            self.taken_at = Some(Instant::now());
        }
        let taken_at = self.taken_at;
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
        // What is left of the last receive is nobody's now, not even the next port's with this number.
        self.origins.iter_mut().filter(|origin| **origin == Some(local)).for_each(|origin| *origin = None);
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
            data: vec![[0; JOINED_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            names: vec![[0; NAME_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            controls: vec![[0; CONTROL_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            headers: vec![header; BATCH_PACKETS].into_boxed_slice(),
            vectors: vec![vector; BATCH_PACKETS].into_boxed_slice(),
            origins: [None; BATCH_PACKETS],
            rest: 0..0,
            begin: 0,
            taken_at: None,
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
        let Self { outgoing, counters, patience, .. } = self;
        Sending { fd, outgoing, tx, counters, patience }.run(run)
    }

    /// Whether there is anything besides wake-ups and the other descriptor.
    pub(super) fn has_datagrams(&self) -> bool {
        !self.rest.is_empty() || self.polled[..=self.ports.sockets()].iter().any(|entry| entry.revents != 0)
    }

    /// Takes what is left of the last receive, or what the last wait found, as far as the batch has room; answers whether
    /// there may be more.
    pub(super) fn take<'d>(&'d mut self, rx: &mut Vec<RxPacket<'d>>) -> bool {
        let room = BATCH_PACKETS - rx.len();
        let mut full = false;
        if self.rest.is_empty() {
            self.rest = 0..self.receive_all(room);
            self.begin = 0;
            full = self.rest.end == room;
        }
        let Self { data, names, controls, headers, origins, rest, begin, counters, .. } = self;
        let parts = data.iter_mut().zip(names).zip(controls).zip(headers).zip(origins);
        for ((((data, name), control), header), local) in parts.take(rest.end).skip(rest.start) {
            let message = &header.msg_hdr;
            let name = &name[..(message.msg_namelen as usize).min(NAME_BYTES)];
            let control = &control[..message.msg_controllen.min(CONTROL_BYTES)];
            let truncated = message.msg_flags & libc::MSG_TRUNC != 0;
            match (local, Joined::new(name, control, (header.msg_len as usize).min(JOINED_BYTES), truncated)) {
                (Some(local), Ok(Joined { remote, len, size })) => {
                    let mut data = &mut data[*begin..len];
                    loop {
                        if rx.len() == BATCH_PACKETS {
                            return true;
                        }
                        let (datagram, others) = data.split_at_mut(size.min(data.len()));
                        *begin += datagram.len();
                        rx.push(RxPacket { path: Path { local: *local, remote }, data: datagram });
                        data = others;
                        if data.is_empty() {
                            break;
                        }
                    }
                }
                (Some(_), Err(reason)) => counters.count_unusable(reason),
                (None, _) => {}
            }
            *rest = rest.start + 1..rest.end;
            *begin = 0;
        }
        full
    }

    /// Receives from all sockets for which the last wait found something, `room` times at the most; answers how often.
    fn receive_all(&mut self, room: usize) -> usize {
        let sockets = self.ports.sockets();
        if self.polled[sockets + 1].revents != 0 {
            self.waker.drain();
        }
        let mut filled = 0;
        for turn in 0..=sockets {
            let index = (self.first + turn) % (sockets + 1);
            if self.polled[index].revents == 0 || filled == room {
                continue;
            }
            if index == sockets {
                filled = self.receive_from_relay_ports(filled, room);
            } else {
                filled = self.receive_from(LocalSocket(index as u16), filled, room);
            }
        }
        self.first = (self.first + 1) % (sockets + 1);
        filled
    }

    /// Does not wait while there is something left of the last receive.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.rest.is_empty() {
            return Ok(());
        }
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
    fn receive_from_relay_ports(&mut self, mut filled: usize, room: usize) -> usize {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH_PACKETS];
        let most = (room - filled) as i32;
        // SAFETY: there is room for as many events as the call may write.
        let ready = unsafe { libc::epoll_wait(self.relay_ports.as_raw_fd(), events.as_mut_ptr(), most, 0) };
        for event in &events[..ready.max(0) as usize] {
            if filled < room {
                filled = self.receive_from(LocalSocket(event.u64 as u16), filled, room);
            }
        }
        filled
    }

    /// Fills the arrays from `filled` on, up to `room`; answers how far.
    fn receive_from(&mut self, local: LocalSocket, filled: usize, room: usize) -> usize {
        let Some(fd) = self.ports.fd(local) else { return filled };
        let data = self.data[filled..room].iter_mut();
        let packets = data.zip(&mut self.names[filled..]).zip(&mut self.controls[filled..]);
        let packets = packets.zip(&mut self.vectors[filled..]).zip(&mut self.headers[filled..]);
        for ((((data, name), control), vector), header) in packets {
            *vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: JOINED_BYTES };
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        let headers = &mut self.headers[filled..room];
        // SAFETY: every header points to one vector, one name, one room for control messages and one buffer of its own,
        // all owned by `self` and at rest until the call returns.
        let received =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), headers.len() as u32, libc::MSG_DONTWAIT, null_mut()) };
        if received < 0 {
            let error = io::Error::last_os_error();
            if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                self.counters.receive_errors += 1;
            }
        }
        let end = filled + received.max(0) as usize;
        self.origins[filled..end].fill(Some(local));
        self.counters.received_messages += received.max(0) as u64;
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
