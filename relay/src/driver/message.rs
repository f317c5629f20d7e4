//! Socket addresses and messages as the kernel reads them.

use super::{DriverCounters, is_full, segmentation_refused};
use plausch_engine::{TxBatch, TxRun};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::thread;
use std::time::{Duration, Instant};

/// What a send buffer empties meanwhile, at 100 Mbit/s, has room for some packets of sound.
const SOUND_PAUSE: Duration = Duration::from_micros(100);

/// Room for a `sockaddr_in` or a `sockaddr_in6`.
pub(super) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Bytes of a `sockaddr_in` or `sockaddr_in6`. Both begin with the family in host order and the port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) bytes: [u8; NAME_BYTES],
    pub(super) len: usize,
}

impl Name {
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; NAME_BYTES];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let len = match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self { bytes, len }
    }

    /// The address in the bytes that the kernel wrote. The flow label is left out: it is no part of an address,
    /// and one that varies would make one browser look like many.
    pub(super) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
        let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match family {
            libc::AF_INET => {
                let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), port))
            }
            libc::AF_INET6 => {
                let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope)))
            }
            _ => None,
        }
    }
}

/// A control message with the size of the segments, as `CMSG_SPACE(sizeof(uint16_t))` lays it out.
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    size: u16,
    padding: [u8; 6],
}

/// One outgoing message and everything it points to. Stays where it is while the kernel reads it.
pub(super) struct Outgoing {
    header: libc::msghdr,
    data: libc::iovec,
    name: Name,
    control: SegmentControl,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
            header: unsafe { zeroed() },
            data: libc::iovec { iov_base: null_mut(), iov_len: 0 },
            name: Name { bytes: [0; NAME_BYTES], len: 0 },
            control: SegmentControl {
                header: libc::cmsghdr {
                    cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
                    cmsg_level: libc::SOL_UDP,
                    cmsg_type: libc::UDP_SEGMENT,
                },
                size: 0,
                padding: [0; 6],
            },
        }
    }

    /// Makes this the message of one run (or of one datagram of it). The pointers are to `self` and to `data`: both
    /// must outlive the use of the returned header, which only unsafe code can do.
    pub(super) fn prepare(&mut self, remote: SocketAddr, data: &[u8], segment: usize) -> *const libc::msghdr {
        self.name = Name::new(remote);
        // The kernel only reads it; msghdr has no const form.
        self.data = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        self.header.msg_name = self.name.bytes.as_mut_ptr().cast();
        self.header.msg_namelen = self.name.len as libc::socklen_t;
        self.header.msg_iov = &raw mut self.data;
        self.header.msg_iovlen = 1;
        if data.len() > segment {
            self.control.size = segment as u16;
            self.header.msg_control = (&raw mut self.control).cast();
            self.header.msg_controllen = size_of::<SegmentControl>();
        } else {
            self.header.msg_control = null_mut();
            self.header.msg_controllen = 0;
        }
        &raw const self.header
    }
}

/// Sends one message now or not at all.
fn send_now(fd: RawFd, outgoing: &mut Outgoing, remote: SocketAddr, data: &[u8], segment: usize) -> io::Result<()> {
    let header = outgoing.prepare(remote, data, segment);
    // SAFETY: `outgoing` and `data` are borrowed until the call returns, and nothing is kept by the kernel.
    let result = unsafe { libc::sendmsg(fd, header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends one run with `sendmsg`. Answers `true` when segmentation was refused; the run then went out in pieces.
pub(super) fn send_run(
    fd: RawFd,
    outgoing: &mut Outgoing,
    tx: &TxBatch,
    run: &TxRun,
    counters: &mut DriverCounters,
    patience: &mut Duration,
) -> bool {
    match send_now(fd, outgoing, run.path.remote, tx.bytes(run), run.segment) {
        Ok(()) => {
            counters.sent_messages += 1;
            counters.sent_packets += run.datagrams() as u64;
            false
        }
        Err(error) if run.datagrams() > 1 && segmentation_refused(&error) => {
            send_in_pieces(fd, outgoing, tx, run, counters)
        }
        Err(error) if run.sound && is_full(&error) => {
            send_sound(fd, outgoing, tx, run, counters, patience);
            false
        }
        Err(error) => {
            counters.count_refused(&error, run.datagrams() as u64);
            false
        }
    }
}

/// Sends a run with sound that the socket's buffer had no room for, when it has. Takes the time for it from `patience`;
/// without any left the run is a counted drop.
pub(super) fn send_sound(
    fd: RawFd,
    outgoing: &mut Outgoing,
    tx: &TxBatch,
    run: &TxRun,
    counters: &mut DriverCounters,
    patience: &mut Duration,
) {
    counters.sound_waits += 1;
    let began = Instant::now();
    let mut result = Err(io::Error::from_raw_os_error(libc::EAGAIN));
    while result.as_ref().is_err_and(is_full) && began.elapsed() < *patience {
        // POLLOUT would come when half of the buffer is empty, and sound needs little room.
        thread::sleep(SOUND_PAUSE);
        result = send_now(fd, outgoing, run.path.remote, tx.bytes(run), run.segment);
    }
    *patience = patience.saturating_sub(began.elapsed());
    match result {
        Ok(()) => {
            counters.sent_messages += 1;
            counters.sent_packets += run.datagrams() as u64;
        }
        Err(error) => counters.count_refused(&error, run.datagrams() as u64),
    }
}

/// Sends each datagram of a run alone. `true`: the kernel took all of them, so it was segmentation that it refused
/// and not this destination, which a single hostile browser may have chosen.
pub(super) fn send_in_pieces(
    fd: RawFd,
    outgoing: &mut Outgoing,
    tx: &TxBatch,
    run: &TxRun,
    counters: &mut DriverCounters,
) -> bool {
    let mut all = true;
    for datagram in tx.bytes(run).chunks(run.segment) {
        match send_now(fd, outgoing, run.path.remote, datagram, run.segment) {
            Ok(()) => {
                counters.sent_messages += 1;
                counters.sent_packets += 1;
            }
            Err(error) => {
                counters.count_refused(&error, 1);
                all = false;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for address in ["192.0.2.7:443", "[2001:db8::7]:65535", "127.0.0.1:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let name = Name::new(address);
            assert_eq!(Name::parse(&name.bytes[..name.len]), Some(address));
        }
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 3));
        assert_eq!(Name::parse(&Name::new(scoped).bytes), Some(scoped));
    }

    #[test]
    fn short_or_foreign_names_are_no_address() {
        let name = Name::new("[2001:db8::7]:1".parse().unwrap());
        for len in 0..NAME_BYTES {
            assert_eq!(Name::parse(&name.bytes[..len]), None);
        }
        assert_eq!(Name::parse(&[0; NAME_BYTES]), None);
    }
}
