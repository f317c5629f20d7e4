//! Sends many datagrams, by a system call each or through io_uring.

use super::message::{Name, Outgoing};
use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Messages of one submission to io_uring: as many as the relay submits.
const BATCH: usize = 256;
/// Submissions of one call, and their completions.
const SUBMISSIONS: u32 = 512;
const COMPLETIONS: u32 = 4096;
/// As the relay sends: what does not fit is refused, nothing waits.
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A system call, or an operation of io_uring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendMethod {
    Sendmsg,
    UringSendmsg,
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

/// Owns the socket and the bytes that are sent.
pub struct Sender {
    // Dropped first: the kernel lets go of the memory then.
    ring: Option<IoUring>,
    socket: UdpSocket,
    names: Vec<Name>,
    arena: Box<[u8]>,
    outgoing: Box<[Outgoing]>,
    under_way: usize,
    failed: Option<io::Error>,
}

impl Sender {
    /// # Errors
    /// Where the kernel or a sandbox has no io_uring, if that is asked for.
    pub fn open(
        method: SendMethod,
        socket: UdpSocket,
        destinations: &[SocketAddr],
        arena_bytes: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            ring: match method {
                SendMethod::Sendmsg => None,
                SendMethod::UringSendmsg => Some(ring()?),
            },
            socket,
            names: destinations.iter().map(|address| Name::new(*address)).collect(),
            arena: vec![0x5a; arena_bytes].into_boxed_slice(),
            outgoing: (0..BATCH).map(|_| Outgoing::new()).collect(),
            under_way: 0,
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
            match self.ring {
                None => batch.iter().for_each(|message| self.sendmsg(message)),
                Some(_) => self.submit(batch)?,
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Fills one slot with a message.
    fn prepare(&mut self, slot: usize, message: &Message) -> *const libc::msghdr {
        let data = &self.arena[message.start..message.start + message.len];
        self.outgoing[slot].prepare(&self.names[message.to], data, message.segment)
    }

    fn sendmsg(&mut self, message: &Message) {
        let header = self.prepare(0, message);
        // SAFETY: the header points to memory of `self`, which is borrowed until the call returns.
        if unsafe { libc::sendmsg(self.socket.as_raw_fd(), header, FLAGS) } < 0 {
            self.failed.get_or_insert(io::Error::last_os_error());
        }
    }

    fn submit(&mut self, batch: &[Message]) -> io::Result<()> {
        for (slot, message) in batch.iter().enumerate() {
            let header = self.prepare(slot, message);
            let entry = opcode::SendMsg::new(Fd(self.socket.as_raw_fd()), header).flags(FLAGS as u32).build();
            let Some(ring) = &mut self.ring else { continue };
            // SAFETY: the entry points to memory of `self`, which is borrowed until everything under way is over.
            unsafe { push(ring, &entry)? };
            self.under_way += 1;
        }
        while self.under_way > 0 {
            let Some(ring) = &mut self.ring else { break };
            submitted(ring.submit_and_wait(self.under_way))?;
            for completion in ring.completion() {
                if completion.result() < 0 {
                    self.failed.get_or_insert(io::Error::from_raw_os_error(-completion.result()));
                }
                self.under_way -= 1;
            }
        }
        Ok(())
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

/// Single issuer, deferred task run, as the relay sets up its own.
fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(SUBMISSIONS)
}

/// Puts one entry into the submission queue; submits first when that is full.
///
/// # Safety
/// What the entry points to must be valid and at rest until its completion.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: the caller's promise.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        submitted(ring.submit())?;
    }
}

/// A wait that ended for its time or a signal is no failure.
fn submitted(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(()),
        Err(error) => Err(error),
    }
}
