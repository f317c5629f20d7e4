//! Socket addresses and messages as the kernel reads them.

use super::{DriverCounters, is_full, segmentation_refused};
use plausch_engine::{TxBatch, TxRun};
use plausch_relay_api::limits::DATAGRAM_BYTES;
use std::io;
use std::mem::{offset_of, size_of, zeroed};
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

/// Room for the control message by which UDP_GRO tells the size of joined datagrams: `CMSG_SPACE(sizeof(int))`.
pub(super) const CONTROL_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<u64>();

/// What UDP_GRO says in received control messages: the bytes of each datagram but the last. `None`: the datagram came
/// alone. Only the first message is looked at, for no other kind is asked for.
pub(super) fn joined_size(control: &[u8]) -> Option<usize> {
    let int = |at: usize| Some(i32::from_ne_bytes(*control.get(at..)?.first_chunk()?));
    let is_size = int(offset_of!(libc::cmsghdr, cmsg_level)) == Some(libc::SOL_UDP)
        && int(offset_of!(libc::cmsghdr, cmsg_type)) == Some(libc::UDP_GRO);
    usize::try_from(int(size_of::<libc::cmsghdr>()).filter(|_| is_size)?).ok().filter(|size| *size > 0)
}

/// What the kernel handed over at once: datagrams of one sender, joined if there are several, all of `size` bytes but the
/// last, which may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Joined {
    pub(super) remote: SocketAddr,
    pub(super) len: usize,
    pub(super) size: usize,
}

/// Why received bytes hold no datagram for the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unusable {
    /// So many datagrams are larger than `limits::DATAGRAM_BYTES`, or cut off.
    Oversized(u64),
    Malformed,
}

impl Joined {
    /// From the parts of a received message; `len` counts what was cut off, too.
    pub(super) fn new(name: &[u8], control: &[u8], len: usize, truncated: bool) -> Result<Self, Unusable> {
        let size = joined_size(control).unwrap_or(len);
        if size > DATAGRAM_BYTES || truncated {
            return Err(Unusable::Oversized(len.div_ceil(size.max(1)) as u64));
        }
        Ok(Self { remote: Name::parse(name).ok_or(Unusable::Malformed)?, len, size })
    }
}

impl DriverCounters {
    pub(super) fn count_unusable(&mut self, reason: Unusable) {
        match reason {
            Unusable::Oversized(datagrams) => self.drop_receive_oversized += datagrams,
            Unusable::Malformed => self.receive_errors += 1,
        }
    }
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

    /// Where a datagram goes, for calls that need no more than that. The pointer is to `self`, as those of
    /// [`Self::prepare`] are.
    pub(super) fn address(&mut self, remote: SocketAddr) -> (*const libc::sockaddr, libc::socklen_t) {
        self.name = Name::new(remote);
        (self.name.bytes.as_ptr().cast(), self.name.len as libc::socklen_t)
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

/// Sends runs of a batch from one socket with `sendmsg`.
pub(super) struct Sending<'a> {
    pub fd: RawFd,
    pub outgoing: &'a mut Outgoing,
    pub tx: &'a TxBatch,
    pub counters: &'a mut DriverCounters,
    /// The time that is left for sound to wait.
    pub patience: &'a mut Duration,
}

impl Sending<'_> {
    /// Sends one run. Answers `true` when segmentation was refused; the run then went out in pieces.
    pub(super) fn run(&mut self, run: &TxRun) -> bool {
        match self.now(run, self.tx.bytes(run)) {
            Ok(()) => {
                self.counters.count_sent(run.datagrams() as u64);
                false
            }
            Err(error) => self.refused(&error, run),
        }
    }

    /// Does what can be done about a run that was refused: in pieces, or, with sound in it, a little later; else it is a
    /// counted drop. Answers `true` when it was segmentation that was refused.
    pub(super) fn refused(&mut self, error: &io::Error, run: &TxRun) -> bool {
        if run.datagrams() > 1 && segmentation_refused(error) {
            return self.in_pieces(run);
        }
        match run.sound && is_full(error) {
            true => self.later(run),
            false => self.counters.count_refused(error, run.datagrams() as u64),
        }
        false
    }

    /// Sends a part of a run, or all of it, as one message now or not at all.
    fn now(&mut self, run: &TxRun, data: &[u8]) -> io::Result<()> {
        let header = self.outgoing.prepare(run.path.remote, data, run.segment);
        // SAFETY: `outgoing` and `data` are borrowed until the call returns, and nothing is kept by the kernel.
        let result = unsafe { libc::sendmsg(self.fd, header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends a run with sound that the socket's buffer had no room for, when it has. Takes the time for it from `patience`;
    /// without any left the run is a counted drop.
    fn later(&mut self, run: &TxRun) {
        self.counters.sound_waits += 1;
        let began = Instant::now();
        let mut result = Err(io::Error::from_raw_os_error(libc::EAGAIN));
        while result.as_ref().is_err_and(is_full) && began.elapsed() < *self.patience {
            // POLLOUT would come when half of the buffer is empty, and sound needs little room.
            thread::sleep(SOUND_PAUSE);
            result = self.now(run, self.tx.bytes(run));
        }
        *self.patience = self.patience.saturating_sub(began.elapsed());
        match result {
            Ok(()) => self.counters.count_sent(run.datagrams() as u64),
            Err(error) => self.counters.count_refused(&error, run.datagrams() as u64),
        }
    }

    /// Sends each datagram of a run alone. `true`: the kernel took all of them, so it was segmentation that it refused
    /// and not this destination, which a single hostile browser may have chosen.
    fn in_pieces(&mut self, run: &TxRun) -> bool {
        let mut all = true;
        for datagram in self.tx.bytes(run).chunks(run.segment) {
            match self.now(run, datagram) {
                Ok(()) => self.counters.count_sent(1),
                Err(error) => {
                    self.counters.count_refused(&error, 1);
                    all = false;
                }
            }
        }
        all
    }
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

    /// As the kernel writes it.
    fn control(level: i32, kind: i32, value: i32) -> Vec<u8> {
        let mut bytes = (size_of::<libc::cmsghdr>() + 4).to_ne_bytes().to_vec();
        for word in [level, kind, value, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        assert_eq!(bytes.len(), CONTROL_BYTES);
        bytes
    }

    #[test]
    fn joined_datagrams_are_told_apart_by_their_size() {
        let name = Name::new("192.0.2.7:443".parse().unwrap());
        let name = &name.bytes[..name.len];
        let of = |control: &[u8], len, truncated| {
            Joined::new(name, control, len, truncated).map(|joined| (joined.len, joined.size))
        };
        let size = |value| control(libc::SOL_UDP, libc::UDP_GRO, value);
        assert_eq!(of(&[], 1200, false), Ok((1200, 1200)));
        assert_eq!(of(&[], 0, false), Ok((0, 0)));
        assert_eq!(of(&size(500), 1200, false), Ok((1200, 500)));
        assert_eq!(of(&size(0), 1200, false), Ok((1200, 1200)), "nonsense is no size");
        assert_eq!(of(&size(-1), 1200, false), Ok((1200, 1200)));
        assert_eq!(of(&control(libc::SOL_SOCKET, libc::UDP_GRO, 500), 1200, false), Ok((1200, 1200)));
        let whole = size(500);
        for len in 0..size_of::<libc::cmsghdr>() + 4 {
            assert_eq!(joined_size(&whole[..len]), None);
        }
        let larger = DATAGRAM_BYTES + 1;
        assert_eq!(of(&[], larger, false), Err(Unusable::Oversized(1)));
        assert_eq!(of(&size(larger as i32), 3 * larger, false), Err(Unusable::Oversized(3)));
        assert_eq!(of(&size(1000), 65_000, true), Err(Unusable::Oversized(65)), "no part of it");
        assert_eq!(Joined::new(&[], &[], 1, false), Err(Unusable::Malformed));
    }
}
