//! The ways to send many datagrams.

use super::message::{Name, Outgoing};
use super::{set_option, uring};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null;

/// Messages of one sendmmsg, and of one submission to io_uring: as many as the relay submits.
pub(super) const BATCH: usize = 256;
/// As the relay sends: what does not fit is refused, nothing waits.
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// <linux/io_uring.h>: take the registered buffer, and say whether the kernel copied after all.
const FIXED_BUFFER: u16 = 1 << 2;
const REPORT_USAGE: u16 = 1 << 3;
const USAGE_COPIED: u32 = 1 << 31;

/// A system call, or an operation of io_uring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendMethod {
    Sendmsg,
    Sendmmsg,
    UringSendmsg,
    /// The same with a registered file.
    UringSendmsgFixedFile,
    /// IORING_OP_SEND with an address; runs by the socket's option.
    UringSend,
    /// Zero copy from memory that is pinned for each message.
    UringSendmsgZc,
    /// Zero copy from registered memory (Linux 6.15).
    UringSendmsgZcFixed,
    /// IORING_OP_SEND_ZC from registered memory; runs by the socket's option.
    UringSendZcFixed,
}

/// One socket for all, or one for each destination.
pub enum Sockets {
    Shared(UdpSocket),
    Connected(Vec<UdpSocket>),
}

/// One datagram, or a run of datagrams of `segment` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Index into the destinations.
    pub to: usize,
    /// Where in the sender's arena.
    pub start: usize,
    pub len: usize,
    pub segment: usize,
}

/// Owns the sockets and the bytes that are sent.
pub struct Sender {
    // Dropped first: the kernel lets go of the memory then.
    ring: Option<IoUring>,
    method: SendMethod,
    sockets: Sockets,
    names: Vec<Name>,
    arena: Box<[u8]>,
    outgoing: Box<[Outgoing]>,
    headers: Vec<libc::mmsghdr>,
    under_way: usize,
    /// Zero-copy sends that the kernel reported as copied, of all.
    pub copied: u64,
    failed: Option<io::Error>,
}

impl Sender {
    /// `segment`: length of the datagrams in runs, where the method wants it on the socket.
    pub fn open(
        method: SendMethod,
        sockets: Sockets,
        destinations: &[SocketAddr],
        arena_bytes: usize,
        segment: Option<usize>,
    ) -> io::Result<Self> {
        use SendMethod::{Sendmmsg, Sendmsg, UringSend, UringSendZcFixed, UringSendmsgFixedFile, UringSendmsgZcFixed};
        let arena = vec![0x5a; arena_bytes].into_boxed_slice();
        let ring = match method {
            Sendmsg | Sendmmsg => None,
            _ => Some(uring::build()?),
        };
        if let (Some(ring), UringSendmsgZcFixed | UringSendZcFixed) = (&ring, method) {
            let vector = libc::iovec { iov_base: arena.as_ptr().cast_mut().cast(), iov_len: arena.len() };
            // SAFETY: the arena is on the heap and lives as long as the ring, which is dropped before it.
            unsafe { ring.submitter().register_buffers(&[vector])? };
        }
        if let (Some(ring), UringSendmsgFixedFile) = (&ring, method) {
            let fds: Vec<i32> = match &sockets {
                Sockets::Shared(socket) => vec![socket.as_raw_fd()],
                Sockets::Connected(sockets) => sockets.iter().map(AsRawFd::as_raw_fd).collect(),
            };
            ring.submitter().register_files(&fds)?;
        }
        if let (UringSend | UringSendZcFixed, Some(segment), Sockets::Shared(socket)) = (method, segment, &sockets) {
            set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, segment as i32)?;
        }
        Ok(Self {
            ring,
            method,
            sockets,
            names: destinations.iter().map(|address| Name::new(*address)).collect(),
            arena,
            outgoing: (0..BATCH).map(|_| Outgoing::new()).collect(),
            headers: Vec::with_capacity(BATCH),
            under_way: 0,
            copied: 0,
            failed: None,
        })
    }

    /// The bytes that messages are cut from. Nothing is under way while they are borrowed.
    pub fn arena(&mut self) -> &mut [u8] {
        &mut self.arena
    }

    /// Sends all. When it returns, the kernel has done with every one of them and with the arena.
    ///
    /// # Errors
    /// The first refusal; the others were tried nevertheless.
    pub fn send(&mut self, messages: &[Message]) -> io::Result<()> {
        for batch in messages.chunks(BATCH) {
            match self.method {
                SendMethod::Sendmsg => batch.iter().for_each(|message| self.sendmsg(message)),
                SendMethod::Sendmmsg => self.sendmmsg(batch),
                _ => self.submit(batch)?,
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn fd(&self, to: usize) -> i32 {
        match &self.sockets {
            Sockets::Shared(socket) => socket.as_raw_fd(),
            Sockets::Connected(sockets) => sockets[to].as_raw_fd(),
        }
    }

    /// Fills one slot with a message.
    fn prepare(&mut self, slot: usize, message: &Message) -> libc::msghdr {
        let name = match self.sockets {
            Sockets::Shared(_) => Some(&self.names[message.to]),
            Sockets::Connected(_) => None,
        };
        let data = &self.arena[message.start..message.start + message.len];
        self.outgoing[slot].prepare(name, data, message.segment)
    }

    fn sendmsg(&mut self, message: &Message) {
        let fd = self.fd(message.to);
        self.prepare(0, message);
        // SAFETY: the header points to memory of `self`, which is borrowed until the call returns.
        if unsafe { libc::sendmsg(fd, self.outgoing[0].header(), FLAGS) } < 0 {
            self.fail(io::Error::last_os_error());
        }
    }

    fn sendmmsg(&mut self, batch: &[Message]) {
        self.headers.clear();
        for (slot, message) in batch.iter().enumerate() {
            let msg_hdr = self.prepare(slot, message);
            self.headers.push(libc::mmsghdr { msg_hdr, msg_len: 0 });
        }
        let fd = self.fd(batch[0].to);
        let mut sent = 0;
        while sent < self.headers.len() {
            let left = &mut self.headers[sent..];
            // SAFETY: the headers point to memory of `self`, which is borrowed until the call returns.
            match unsafe { libc::sendmmsg(fd, left.as_mut_ptr(), left.len() as u32, FLAGS) } {
                count if count > 0 => sent += count as usize,
                // The error is the first message's.
                _ => {
                    self.fail(io::Error::last_os_error());
                    sent += 1;
                }
            }
        }
    }

    fn submit(&mut self, batch: &[Message]) -> io::Result<()> {
        for (slot, message) in batch.iter().enumerate() {
            let entry = self.entry(slot, message);
            let Some(ring) = &mut self.ring else { continue };
            // SAFETY: the entry points to memory of `self`, which is borrowed until everything under way is over.
            unsafe { uring::push(ring, &entry)? };
            self.under_way += 1;
        }
        while self.under_way > 0 {
            if let Some(ring) = &mut self.ring {
                uring::submitted(ring.submit_and_wait(self.under_way))?;
            }
            self.reap();
        }
        Ok(())
    }

    fn entry(&mut self, slot: usize, message: &Message) -> squeue::Entry {
        self.prepare(slot, message);
        let fd = self.fd(message.to);
        let header = self.outgoing[slot].header();
        let data = self.arena[message.start..].as_ptr();
        let (len, flags) = (message.len as u32, FLAGS as u32);
        let (name, name_len) = match self.sockets {
            Sockets::Shared(_) => {
                let name = &self.names[message.to];
                (name.bytes.as_ptr().cast(), name.len as libc::socklen_t)
            }
            Sockets::Connected(_) => (null(), 0),
        };
        match self.method {
            SendMethod::UringSendmsgFixedFile => {
                let index = if matches!(self.sockets, Sockets::Shared(_)) { 0 } else { message.to as u32 };
                opcode::SendMsg::new(Fixed(index), header).flags(flags).build()
            }
            SendMethod::UringSend => {
                opcode::Send::new(Fd(fd), data, len).flags(FLAGS).dest_addr(name).dest_addr_len(name_len).build()
            }
            SendMethod::UringSendmsgZc => {
                opcode::SendMsgZc::new(Fd(fd), header).flags(flags).ioprio(REPORT_USAGE).build()
            }
            // The buffer's index is 0, as the entry has it by default.
            SendMethod::UringSendmsgZcFixed => {
                opcode::SendMsgZc::new(Fd(fd), header).flags(flags).ioprio(REPORT_USAGE | FIXED_BUFFER).build()
            }
            SendMethod::UringSendZcFixed => opcode::SendZc::new(Fd(fd), data, len)
                .flags(FLAGS)
                .buf_index(Some(0))
                .zc_flags(REPORT_USAGE)
                .dest_addr(name)
                .dest_addr_len(name_len)
                .build(),
            SendMethod::UringSendmsg | SendMethod::Sendmsg | SendMethod::Sendmmsg => {
                opcode::SendMsg::new(Fd(fd), header).flags(flags).build()
            }
        }
    }

    fn reap(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        for completion in ring.completion() {
            let (result, flags) = (completion.result(), completion.flags());
            if cqueue::notif(flags) {
                self.copied += u64::from(result as u32 & USAGE_COPIED != 0);
                self.under_way -= 1;
                continue;
            }
            if result < 0 && self.failed.is_none() {
                self.failed = Some(io::Error::from_raw_os_error(-result));
            }
            // A zero-copy send that says "more" is over with its notification only.
            if !cqueue::more(flags) {
                self.under_way -= 1;
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.failed.get_or_insert(error);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Only after an error of the ring itself can anything be under way here.
        if self.under_way > 0 {
            std::mem::forget(std::mem::take(&mut self.arena));
            std::mem::forget(std::mem::take(&mut self.outgoing));
            std::mem::forget(std::mem::take(&mut self.names));
        }
    }
}
