//! The ways to receive many datagrams.

use super::message::NAME_BYTES;
use super::{set_option, uring};
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Messages of one recvmmsg: the relay's batch.
const BATCH: usize = 32;
/// A datagram, or an aggregate as large as the kernel makes them.
const DATAGRAM_BYTES: usize = 1536;
const AGGREGATE_BYTES: usize = 65_536;
/// Buffers in the ring, so that both kinds take a few megabytes at most.
const DATAGRAM_BUFFERS: u16 = 1024;
const AGGREGATE_BUFFERS: u16 = 128;
/// `CMSG_SPACE(sizeof(int))`, the size of an aggregate's segments.
const CONTROL_BYTES: usize = 24;
/// `struct io_uring_recvmsg_out`.
const OUT_HEADER_BYTES: usize = 16;
/// Longer than any datagram that was sent over this machine is under way.
const PATIENCE: Duration = Duration::from_millis(100);
const GROUP: u16 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveMethod {
    Recvmmsg,
    UringMultishot,
}

/// Owns the socket and the memory that is received into.
pub enum Receiver {
    Recvmmsg(Recvmmsg),
    Uring(Box<Uring>),
}

impl Receiver {
    pub fn open(method: ReceiveMethod, socket: UdpSocket, gro: bool) -> io::Result<Self> {
        if gro {
            set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        }
        Ok(match method {
            ReceiveMethod::Recvmmsg => Self::Recvmmsg(Recvmmsg::open(socket, gro)),
            ReceiveMethod::UringMultishot => Self::Uring(Box::new(Uring::open(socket, gro)?)),
        })
    }

    /// Receives until `wanted` datagrams are there, or none comes any more; says how many came.
    pub fn drain(&mut self, wanted: usize) -> io::Result<usize> {
        let began = Instant::now();
        let mut received = 0;
        while received < wanted && began.elapsed() < PATIENCE {
            received += match self {
                Self::Recvmmsg(receiver) => receiver.receive()?,
                Self::Uring(receiver) => receiver.receive()?,
            };
        }
        Ok(received)
    }
}

/// How many datagrams are in a message with this control message.
fn segments(len: usize, control: &[u8]) -> usize {
    let header = size_of::<libc::cmsghdr>();
    let is_size = control.len() >= header + 4
        && control[8..12] == libc::SOL_UDP.to_ne_bytes()
        && control[12..16] == libc::UDP_GRO.to_ne_bytes();
    match (is_size, control.get(header..).and_then(|bytes| bytes.first_chunk())) {
        (true, Some(bytes)) => len.div_ceil((i32::from_ne_bytes(*bytes).max(1)) as usize),
        _ => 1,
    }
}

/// ppoll and recvmmsg.
pub struct Recvmmsg {
    socket: UdpSocket,
    buffer_bytes: usize,
    data: Vec<u8>,
    names: Vec<[u8; NAME_BYTES]>,
    controls: Vec<[u64; CONTROL_BYTES / 8]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    control_bytes: usize,
}

impl Recvmmsg {
    fn open(socket: UdpSocket, gro: bool) -> Self {
        let (buffer_bytes, control_bytes) = if gro { (AGGREGATE_BYTES, CONTROL_BYTES) } else { (DATAGRAM_BYTES, 0) };
        // SAFETY: C structs of integers and pointers, for which zeroes are valid.
        let (header, vector): (libc::mmsghdr, libc::iovec) = unsafe { (zeroed(), zeroed()) };
        Self {
            socket,
            buffer_bytes,
            data: vec![0; BATCH * buffer_bytes],
            names: vec![[0; NAME_BYTES]; BATCH],
            controls: vec![[0; CONTROL_BYTES / 8]; BATCH],
            vectors: vec![vector; BATCH],
            headers: vec![header; BATCH],
            control_bytes,
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let patience = libc::timespec { tv_sec: 0, tv_nsec: PATIENCE.as_nanos() as i64 };
        // SAFETY: one entry and one timespec, both alive until the call returns; no signal mask.
        unsafe { libc::ppoll(&raw mut polled, 1, &raw const patience, std::ptr::null()) };
        let slots = self.data.chunks_exact_mut(self.buffer_bytes).zip(&mut self.names).zip(&mut self.controls);
        for (((data, name), control), (vector, header)) in slots.zip(self.vectors.iter_mut().zip(&mut self.headers)) {
            *vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut *vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = if self.control_bytes > 0 { control.as_mut_ptr().cast() } else { null_mut() };
            header.msg_hdr.msg_controllen = self.control_bytes;
        }
        let headers = self.headers.as_mut_ptr();
        // SAFETY: every header points to a vector, name, control and buffer of its own, all owned by `self` and at
        // rest until the call returns.
        let count = unsafe { libc::recvmmsg(fd, headers, BATCH as u32, libc::MSG_DONTWAIT, null_mut()) };
        if count < 0 {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            };
        }
        let received = self.headers[..count as usize].iter().zip(&self.controls);
        Ok(received
            .map(|(header, control)| {
                let mut bytes = [0; CONTROL_BYTES];
                bytes.chunks_exact_mut(8).zip(control).for_each(|(to, from)| to.copy_from_slice(&from.to_ne_bytes()));
                let len = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
                segments(header.msg_len as usize, &bytes[..len])
            })
            .sum())
    }
}

/// Multishot recvmsg into a ring of provided buffers.
pub struct Uring {
    // Dropped first: no memory may go before the ring that writes to it.
    ring: IoUring,
    socket: UdpSocket,
    /// Page-aligned, as the kernel wants rings to be.
    entries: Box<[Page]>,
    data: Box<[u8]>,
    layout: Box<libc::msghdr>,
    buffers: u16,
    buffer_bytes: usize,
    tail: u16,
    armed: bool,
    /// Kept for its memory.
    completions: Vec<cqueue::Entry>,
}

#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl Uring {
    fn open(socket: UdpSocket, gro: bool) -> io::Result<Self> {
        let (payload, control, buffers) = match gro {
            true => (AGGREGATE_BYTES, CONTROL_BYTES, AGGREGATE_BUFFERS),
            false => (DATAGRAM_BYTES, 0, DATAGRAM_BUFFERS),
        };
        let buffer_bytes = (OUT_HEADER_BYTES + NAME_BYTES + control + payload).next_multiple_of(64);
        let pages = (usize::from(buffers) * size_of::<BufRingEntry>()).div_ceil(size_of::<Page>());
        let ring = uring::build()?;
        let entries: Box<[Page]> = (0..pages).map(|_| Page([0; 4096])).collect();
        // SAFETY: the memory is on the heap and lives as long as the ring, which is dropped before it.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, buffers, GROUP, 0)? };
        // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
        let mut layout: Box<libc::msghdr> = Box::new(unsafe { zeroed() });
        layout.msg_namelen = NAME_BYTES as libc::socklen_t;
        layout.msg_controllen = control;
        let data = vec![0; usize::from(buffers) * buffer_bytes].into_boxed_slice();
        let mut uring = Self {
            ring,
            socket,
            entries,
            data,
            layout,
            buffers,
            buffer_bytes,
            tail: 0,
            armed: false,
            completions: Vec::with_capacity(4096),
        };
        (0..buffers).for_each(|buffer| uring.provide(buffer));
        uring.publish();
        Ok(uring)
    }

    fn provide(&mut self, buffer: u16) {
        let address = self.data[usize::from(buffer) * self.buffer_bytes..].as_mut_ptr();
        let index = usize::from(self.tail & (self.buffers - 1));
        // SAFETY: the index is inside the ring by the mask, and the kernel does not look at entries behind the
        // published tail. The fields are written one by one, because the tail lies inside the first entry.
        let entry = unsafe { &mut *self.entries.as_mut_ptr().cast::<BufRingEntry>().add(index) };
        entry.set_addr(address as u64);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the pointer is to the first entry, whose reserved field is the tail; the kernel reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr().cast()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        if !self.armed {
            let receive =
                opcode::RecvMsgMulti::new(Fd(self.socket.as_raw_fd()), &raw const *self.layout, GROUP).build();
            // SAFETY: the layout and the buffers are on the heap and `drop` takes the request back before they go.
            unsafe { uring::push(&mut self.ring, &receive)? };
            self.armed = true;
        }
        let patience = Timespec::from(PATIENCE);
        uring::submitted(self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&patience)))?;
        let mut received = 0;
        // At most one lap of the queue.
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion());
        for completion in completions.drain(..) {
            self.armed = cqueue::more(completion.flags());
            let result = completion.result();
            if result < 0 && result != -libc::ENOBUFS {
                return Err(io::Error::from_raw_os_error(-result));
            }
            let Some(buffer) = cqueue::buffer_select(completion.flags()) else { continue };
            let start = usize::from(buffer) * self.buffer_bytes;
            let message = RecvMsgOut::parse(&self.data[start..start + result as usize], &self.layout)
                .map_err(|()| io::Error::from(io::ErrorKind::InvalidData))?;
            if message.is_payload_truncated() {
                return Err(io::Error::other("the kernel truncated an aggregate"));
            }
            received += segments(message.payload_data().len(), message.control_data());
            self.provide(buffer);
        }
        self.completions = completions;
        self.publish();
        Ok(received)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let cancelled = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        if cancelled.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            std::mem::forget(std::mem::take(&mut self.data));
            std::mem::forget(std::mem::take(&mut self.entries));
        }
    }
}
