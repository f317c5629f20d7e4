//! The driver for places without io_uring: `ppoll`, `recvmmsg`, and `sendmsg` with UDP_SEGMENT.

use super::message::{NAME_BYTES, Name, Outgoing, send_run};
use super::{Driver, DriverCounters, Sockets, Waker};
use plausch_engine::{LocalSocket, Path, RxPacket, TxBatch};
use plausch_relay_api::limits::{BATCH_PACKETS, DATAGRAM_BYTES};
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::Duration;

/// See the module.
pub struct Mmsg {
    sockets: Sockets,
    waker: Waker,
    /// The sockets, then the waker.
    polled: Vec<libc::pollfd>,
    /// Where the last round began: every socket gets its turn to be first.
    first: usize,
    data: Box<[[u8; DATAGRAM_BYTES]]>,
    names: Box<[[u8; NAME_BYTES]]>,
    /// What the last `recvmmsg` of each packet said, filled anew every time.
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    outgoing: Outgoing,
    counters: DriverCounters,
}

impl Driver for Mmsg {
    fn open(sockets: Sockets, waker: Waker) -> io::Result<Self> {
        let fds = sockets.iter().map(AsRawFd::as_raw_fd).chain([waker.fd()]);
        let polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: C structs of integers and pointers, for which zeroes are valid.
        let (header, vector): (libc::mmsghdr, libc::iovec) = unsafe { (zeroed(), zeroed()) };
        Ok(Self {
            sockets,
            waker,
            polled,
            first: 0,
            data: vec![[0; DATAGRAM_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            names: vec![[0; NAME_BYTES]; BATCH_PACKETS].into_boxed_slice(),
            headers: vec![header; BATCH_PACKETS].into_boxed_slice(),
            vectors: vec![vector; BATCH_PACKETS].into_boxed_slice(),
            outgoing: Outgoing::new(),
            counters: DriverCounters::default(),
        })
    }

    fn receive<'d>(&'d mut self, timeout: Option<Duration>, rx: &mut Vec<RxPacket<'d>>) -> io::Result<bool> {
        self.wait(timeout)?;
        let sockets = self.sockets.len();
        if self.polled[sockets].revents != 0 {
            self.waker.drain();
        }
        let mut filled = 0;
        // Which socket each packet came from, by the end of its part of the arrays.
        let mut parts = [(LocalSocket(0), 0); plausch_relay_api::limits::LOCAL_ADDRESSES];
        let mut part_count = 0;
        for turn in 0..sockets {
            let index = (self.first + turn) % sockets;
            if self.polled[index].revents == 0 || filled == BATCH_PACKETS {
                continue;
            }
            filled += self.receive_from(index, filled);
            parts[part_count] = (LocalSocket(index as u8), filled);
            part_count += 1;
        }
        self.first = (self.first + 1) % sockets.max(1);

        let mut parts = parts[..part_count].iter();
        let mut part = parts.next();
        let packets = self.data.iter_mut().zip(&self.names).zip(&self.headers).take(filled);
        for (index, ((data, name), header)) in packets.enumerate() {
            while part.is_some_and(|(_, end)| index >= *end) {
                part = parts.next();
            }
            let Some((local, _)) = part else { break };
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
        Ok(filled == BATCH_PACKETS)
    }

    fn send(&mut self, tx: &mut TxBatch) -> io::Result<()> {
        let mut refused = false;
        for run in tx.runs() {
            let fd = self.sockets[run.path.local.0 as usize].as_raw_fd();
            refused |= send_run(fd, &mut self.outgoing, tx, run, &mut self.counters);
        }
        if refused {
            tx.set_segmentation(false);
        }
        Ok(())
    }

    fn counters(&self) -> DriverCounters {
        self.counters
    }
}

impl Mmsg {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
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

    /// Fills the arrays from `filled` on; answers by how much.
    fn receive_from(&mut self, socket: usize, filled: usize) -> usize {
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
        let fd = self.sockets[socket].as_raw_fd();
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
        received.max(0) as usize
    }
}
