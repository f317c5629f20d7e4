//! The memory that an AF_XDP socket shares with the kernel, and its four rings (Documentation/networking/af_xdp.rst).
//!
//! Memory: frames of one size; a frame belongs to the kernel from the moment it is put into the fill or the transmit ring
//! until it comes back by the receive or the completion ring, and to us otherwise.

use crate::driver::socket::set_option as set_socket_option;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

/// A frame: XDP's head room of 256 bytes, and an Ethernet frame of 1500.
pub(super) const FRAME_BYTES: usize = 2048;
/// <linux/if_xdp.h>, which `libc` has no name for: frames that one system call sends.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// Pages that are unmapped when this is dropped.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize, flags: i32, fd: RawFd, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(null_mut(), len, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at null"))?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and whoever owns `self` has no pointers into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One side of a ring: we produce (fill, transmit) or consume (receive, completion).
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
    /// Our own position, and the other side's when it was last read.
    ours: u32,
    theirs: u32,
    _mapping: Mapping,
}

impl<T: Copy> Ring<T> {
    fn map(fd: RawFd, size: u32, offsets: &libc::xdp_ring_offset, page: libc::off_t) -> io::Result<Self> {
        debug_assert!(size.is_power_of_two());
        let len = offsets.desc as usize + size as usize * size_of::<T>();
        let mapping = Mapping::new(len, libc::MAP_SHARED | libc::MAP_POPULATE, fd, page)?;
        // SAFETY: the kernel says where in the mapping these are, aligned for their types; the mapping lives in `self`.
        unsafe {
            Ok(Self {
                producer: mapping.start.add(offsets.producer as usize).cast(),
                consumer: mapping.start.add(offsets.consumer as usize).cast(),
                entries: mapping.start.add(offsets.desc as usize).cast(),
                mask: size - 1,
                ours: 0,
                theirs: 0,
                _mapping: mapping,
            })
        }
    }

    /// Appends as a producer what is not published yet; `false` when the ring is full.
    fn push(&mut self, entry: T) -> bool {
        if self.ours.wrapping_sub(self.theirs) > self.mask {
            self.theirs = self.taken();
            if self.ours.wrapping_sub(self.theirs) > self.mask {
                return false;
            }
        }
        // SAFETY: inside of the ring by the mask, and not the kernel's until it is published.
        unsafe { self.entries.add((self.ours & self.mask) as usize).write(entry) };
        self.ours = self.ours.wrapping_add(1);
        true
    }

    /// Gives the kernel what was pushed.
    fn publish(&mut self) {
        // SAFETY: points into the mapping. Release: the entries are written before the kernel may read them.
        unsafe { self.producer.as_ref() }.store(self.ours, Ordering::Release);
    }

    /// How far the kernel has come as the consumer.
    fn taken(&self) -> u32 {
        // SAFETY: points into the mapping. Acquire: the kernel has read the entries before it says so.
        unsafe { self.consumer.as_ref() }.load(Ordering::Acquire)
    }

    /// Takes the next entry as a consumer.
    fn pop(&mut self) -> Option<T> {
        if self.ours == self.theirs {
            // SAFETY: points into the mapping. Acquire: the entries were written before the kernel said so.
            self.theirs = unsafe { self.producer.as_ref() }.load(Ordering::Acquire);
            if self.ours == self.theirs {
                return None;
            }
        }
        // SAFETY: inside of the ring by the mask, and ours until it is released.
        let entry = unsafe { self.entries.add((self.ours & self.mask) as usize).read() };
        self.ours = self.ours.wrapping_add(1);
        Some(entry)
    }

    /// Gives the kernel back the places of what was popped.
    fn release(&mut self) {
        // SAFETY: points into the mapping. Release: the entries are read before the kernel may write new ones.
        unsafe { self.consumer.as_ref() }.store(self.ours, Ordering::Release);
    }
}

/// An AF_XDP socket with its memory, bound to one receive queue of one device.
pub(super) struct XdpSocket {
    // In this order: the rings and the socket go before the memory they speak of.
    fill: Ring<u64>,
    receive: Ring<libc::xdp_desc>,
    transmit: Ring<libc::xdp_desc>,
    completion: Ring<u64>,
    fd: OwnedFd,
    memory: Mapping,
    /// Frames for sending that are not on their way.
    free: Vec<u64>,
    /// Frames that were received and not given back.
    lent: Vec<u64>,
}

impl XdpSocket {
    /// `receive` and `transmit` frames, powers of two, and rings of those sizes. Fails where there is no such
    /// queue, where another socket has it, and without CAP_NET_RAW.
    pub(super) fn open(interface: u32, queue: u32, receive: u32, transmit: u32) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let raw = fd.as_raw_fd();
        let len = (receive + transmit) as usize * FRAME_BYTES;
        let memory = Mapping::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, -1, 0)?;
        // The first version of the structure: later ones only add what is not used here.
        let registration = libc::xdp_umem_reg_v1 {
            addr: memory.start.as_ptr() as u64,
            len: len as u64,
            chunk_size: FRAME_BYTES as u32,
            headroom: 0,
        };
        set_option(raw, libc::XDP_UMEM_REG, &registration)?;
        set_option(raw, libc::XDP_UMEM_FILL_RING, &receive)?;
        set_option(raw, libc::XDP_UMEM_COMPLETION_RING, &transmit)?;
        set_option(raw, libc::XDP_RX_RING, &receive)?;
        set_option(raw, libc::XDP_TX_RING, &transmit)?;
        // All of a batch in one system call: older kernels than 6.17 stay with 32 frames in one.
        let _ = set_option(raw, XDP_MAX_TX_SKB_BUDGET, &transmit);
        // Where the kernel copies, a frame counts here until its receiver has it. The limit shall be the number of frames:
        // of small ones the usual 212 KB are 277, less than one packet of sound for a large room.
        let bytes = transmit as i32 * FRAME_BYTES as i32;
        set_socket_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
            .or_else(|_| set_socket_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes))?;
        let offsets = offsets(raw)?;
        let mut socket = Self {
            fill: Ring::map(raw, receive, &offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t)?,
            receive: Ring::map(raw, receive, &offsets.rx, libc::XDP_PGOFF_RX_RING)?,
            transmit: Ring::map(raw, transmit, &offsets.tx, libc::XDP_PGOFF_TX_RING)?,
            completion: Ring::map(raw, transmit, &offsets.cr, libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t)?,
            fd,
            memory,
            free: (receive..receive + transmit).map(|frame| u64::from(frame) * FRAME_BYTES as u64).collect(),
            lent: Vec::with_capacity(receive as usize),
        };
        socket.lent.extend((0..receive).map(|frame| u64::from(frame) * FRAME_BYTES as u64));
        socket.give_back();
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            // Zero copy where the device has it; the kernel copies otherwise.
            sxdp_flags: libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: an address of the family's type that lives until the call returns.
        let bound = unsafe { libc::bind(raw, (&raw const address).cast(), len) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether the device reads and writes our memory itself.
    pub(super) fn is_zero_copy(&self) -> bool {
        let mut options = libc::xdp_options { flags: 0 };
        let mut len = size_of::<libc::xdp_options>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into the structure of that size.
        let result = unsafe {
            libc::getsockopt(self.fd(), libc::SOL_XDP, libc::XDP_OPTIONS, (&raw mut options).cast(), &raw mut len)
        };
        result == 0 && options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0
    }

    /// Gives the frames of the last [`Self::receive`] back to the kernel.
    pub(super) fn give_back(&mut self) {
        while let Some(&frame) = self.lent.last() {
            if !self.fill.push(frame) {
                break;
            }
            self.lent.pop();
        }
        self.fill.publish();
    }

    /// Up to `max` received frames. They are ours until the next [`Self::give_back`], which the borrow forbids meanwhile.
    pub(super) fn receive(&mut self, max: usize) -> impl Iterator<Item = &mut [u8]> {
        let Self { receive, memory, lent, .. } = self;
        let start = memory.start;
        let size = memory.len as u64;
        let mut left = max;
        std::iter::from_fn(move || {
            if left == 0 {
                receive.release();
                return None;
            }
            let Some(entry) = receive.pop() else {
                left = 0;
                receive.release();
                return None;
            };
            left -= 1;
            let (offset, len) = (entry.addr, u64::from(entry.len));
            lent.push(offset - offset % FRAME_BYTES as u64);
            let inside = offset + len <= size && offset % FRAME_BYTES as u64 + len <= FRAME_BYTES as u64;
            let len = if inside { len as usize } else { 0 };
            // SAFETY: inside of the memory, which lives as long as `self`; every entry speaks of another frame, and the
            // kernel has no part in a frame between the receive and the fill ring.
            Some(unsafe { std::slice::from_raw_parts_mut(start.add(offset as usize).as_ptr(), len) })
        })
    }

    /// Has `write` fill a frame (it answers the length), to be sent by the next [`Self::flush`]. `false`: all frames but
    /// `kept_free` are on their way.
    pub(super) fn transmit(&mut self, kept_free: usize, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.free.len() <= kept_free {
            self.flush();
            if self.free.len() <= kept_free {
                return false;
            }
        }
        let Some(frame) = self.free.pop() else { return false };
        // SAFETY: a whole frame inside of the memory; it is in `free`, so neither the kernel nor anybody else has it.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.memory.start.add(frame as usize).as_ptr(), FRAME_BYTES) };
        let len = write(bytes) as u32;
        // There are as many places in the ring as frames.
        let pushed = self.transmit.push(libc::xdp_desc { addr: frame, len, options: 0 });
        debug_assert!(pushed);
        pushed
    }

    /// Hands the kernel what was written, and takes back what it has sent. `false`: the device did not take all of it.
    pub(super) fn flush(&mut self) -> bool {
        self.transmit.publish();
        self.reap();
        loop {
            let before = self.transmit.taken();
            if before == self.transmit.ours {
                return true;
            }
            // One call sends as many frames as `open` has asked for where the kernel copies, and only wakes the device
            // where it does not.
            // SAFETY: sends nothing but what is in the ring; there is no buffer and no address.
            unsafe { libc::sendto(self.fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
            self.reap();
            if self.transmit.taken() == before {
                return false;
            }
        }
    }

    fn reap(&mut self) {
        while let Some(frame) = self.completion.pop() {
            self.free.push(frame - frame % FRAME_BYTES as u64);
        }
        self.completion.release();
    }
}

fn set_option<T>(fd: RawFd, name: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is a C structure or integer of `len` bytes that lives until the call returns.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_XDP, name, std::ptr::from_ref(value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn offsets(fd: RawFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: a C structure of integers, for which zeroes are valid.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into the structure of that size.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, (&raw mut offsets).cast(), &raw mut len) };
    if result == 0 { Ok(offsets) } else { Err(io::Error::last_os_error()) }
}
