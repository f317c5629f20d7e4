//! What the standard library does not offer: many datagrams by one call with the kernel's time of their arrival, and
//! datagrams from a chosen source address.

use super::now_ns;
use crate::arrival::{address, arrival_ns, set_option};
use socket2::SockAddr;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;

/// Datagrams of one call.
pub const BATCH: usize = 32;
/// Longer ones are cut, and counted as unreadable by who looks into them.
const DATAGRAM_BYTES: usize = 2048;
/// Room for one `timespec` with its header.
const CONTROL_BYTES: usize = 64;
/// A receive buffer that holds what comes while the thread does something else.
const SOCKET_BUFFER_BYTES: libc::c_int = 4 << 20;

/// Room for the datagrams of one call.
pub struct Datagrams {
    bytes: Box<[u8]>,
    names: Box<[libc::sockaddr_in6]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

/// One datagram of the last call.
pub struct Received<'a> {
    pub bytes: &'a [u8],
    pub from: Option<SocketAddr>,
    /// Unix time in nanoseconds at which the kernel saw it; `None` without [`stamp_arrivals`].
    pub at_ns: Option<u64>,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagrams {
    pub fn new() -> Self {
        // SAFETY: C structs of integers and pointers, for which zeroes are valid.
        let (name, header) = unsafe { (zeroed::<libc::sockaddr_in6>(), zeroed::<libc::mmsghdr>()) };
        Self {
            bytes: vec![0; BATCH * DATAGRAM_BYTES].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into(),
            vectors: vec![libc::iovec { iov_base: null_mut(), iov_len: 0 }; BATCH].into(),
            headers: vec![header; BATCH].into(),
        }
    }

    /// Takes what waits in the socket, at most [`BATCH`] datagrams, and answers how many.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits, and what the kernel reports for the socket.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let chunks = self.bytes.chunks_exact_mut(DATAGRAM_BYTES);
        for (index, chunk) in chunks.enumerate() {
            self.vectors[index] = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
            header.msg_flags = 0;
        }
        // SAFETY: every pointer was just set to memory of `self`, of the length that stands beside it, and nothing
        // is kept by the kernel when the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    /// Gives every datagram that waits to `each`, with its sender and the time of its arrival.
    ///
    /// # Errors
    /// What the kernel reports for the socket.
    pub fn drain(
        &mut self,
        socket: &UdpSocket,
        mut each: impl FnMut(&[u8], Option<SocketAddr>, u64),
    ) -> io::Result<()> {
        loop {
            let count = match self.receive(socket) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for index in 0..count {
                let received = self.get(index);
                each(received.bytes, received.from, received.at_ns.unwrap_or_else(now_ns));
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }

    /// One of those that the last call answered.
    pub fn get(&self, index: usize) -> Received<'_> {
        let header = &self.headers[index];
        let len = (header.msg_len as usize).min(DATAGRAM_BYTES);
        Received {
            bytes: &self.bytes[index * DATAGRAM_BYTES..][..len],
            from: address(&self.names[index]),
            at_ns: arrival_ns(&header.msg_hdr),
        }
    }
}

/// Larger buffers: with CAP_NET_ADMIN beyond net.core.rmem_max, else up to it.
pub fn enlarge_buffers(socket: &UdpSocket) {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        // Smaller buffers than wished only lose packets sooner, and the report tells.
        let _ = set_option(socket, libc::SOL_SOCKET, force, SOCKET_BUFFER_BYTES)
            .or_else(|_| set_option(socket, libc::SOL_SOCKET, plain, SOCKET_BUFFER_BYTES));
    }
}

/// Waits until something can be read, or the time is over; whether something can.
pub fn wait_readable(fd: RawFd, within: Duration) -> io::Result<bool> {
    let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let ms = within.as_millis().clamp(1, 60_000) as libc::c_int;
    // SAFETY: one pollfd, which lives until the call returns.
    let result = unsafe { libc::poll(&raw mut wanted, 1, ms) };
    match result {
        0 => Ok(false),
        result if result > 0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A control message with the length of the packets of a run, as `CMSG_SPACE(sizeof(u16))` lays it out.
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    bytes: u16,
    padding: [u8; 6],
}

/// Sends a run of datagrams of `segment` bytes each by one call (UDP_SEGMENT), to where the socket is connected or `to`.
///
/// # Errors
/// What the kernel says; `EINVAL` for a run of more than 64 datagrams or longer than a datagram may be.
pub fn send_run(socket: &UdpSocket, to: Option<SocketAddr>, bytes: &[u8], segment: usize) -> io::Result<()> {
    let name = to.map(SockAddr::from);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = SegmentControl {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        },
        bytes: u16::try_from(segment).map_err(|_| io::ErrorKind::InvalidInput)?,
        padding: [0; 6],
    };
    // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
    let mut header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    if let Some(name) = &name {
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
    }
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<SegmentControl>();
    // SAFETY: all pointers are to locals and to `bytes`, which the kernel only reads, until the call returns.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A control message with the source address, as `CMSG_SPACE(sizeof(in_pktinfo))` lays it out.
#[repr(C, align(8))]
struct SourceControl {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
    padding: [u8; 4],
}

/// Sends one datagram from another address than the socket is bound to. It must be one of this machine's.
pub fn send_from(socket: &UdpSocket, source: Ipv4Addr, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
    let mut name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = SourceControl {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>(),
            cmsg_level: libc::IPPROTO_IP,
            cmsg_type: libc::IP_PKTINFO,
        },
        info: libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        },
        padding: [0; 4],
    };
    // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
    let mut header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<SourceControl>();
    // SAFETY: all pointers are to locals and to `bytes`, which the kernel only reads, until the call returns.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::stamp_arrivals;
    use std::net::IpAddr;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn datagrams_come_with_source_and_time() {
        for ip in ["127.0.0.1", "::1"] {
            // A machine without IPv6 has nothing to show there.
            let Ok(inbound) = UdpSocket::bind((ip, 0)) else { continue };
            stamp_arrivals(&inbound).unwrap();
            let outbound = UdpSocket::bind((ip, 0)).unwrap();
            let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            outbound.send_to(b"one", inbound.local_addr().unwrap()).unwrap();
            outbound.send_to(b"and two", inbound.local_addr().unwrap()).unwrap();
            assert!(wait_readable(inbound.as_raw_fd(), Duration::from_secs(5)).unwrap());
            let mut datagrams = Datagrams::new();
            assert_eq!(datagrams.receive(&inbound).unwrap(), 2);
            let (one, two) = (datagrams.get(0), datagrams.get(1));
            assert_eq!((one.bytes, two.bytes), (b"one".as_slice(), b"and two".as_slice()));
            assert_eq!(one.from, Some(outbound.local_addr().unwrap()));
            let (first, second) = (one.at_ns.unwrap(), two.at_ns.unwrap());
            assert!(before <= first && first <= second, "{before} {first} {second}");
            assert_eq!(datagrams.receive(&inbound).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn runs_arrive_as_datagrams() {
        let inbound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outbound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = inbound.local_addr().unwrap();
        send_run(&outbound, Some(to), b"onetwosix", 3).unwrap();
        outbound.connect(to).unwrap();
        send_run(&outbound, None, b"ten", 3).unwrap();
        let mut bytes = [0; 16];
        for wanted in [b"one", b"two", b"six", b"ten"] {
            let len = inbound.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], wanted);
        }
    }

    #[test]
    fn the_source_address_can_be_chosen() {
        let inbound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outbound = UdpSocket::bind("0.0.0.0:0").unwrap();
        let SocketAddr::V4(to) = inbound.local_addr().unwrap() else { panic!("IPv4") };
        send_from(&outbound, Ipv4Addr::new(127, 77, 3, 9), to, b"hello").unwrap();
        let mut bytes = [0; 16];
        let (len, from) = inbound.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..len], from.ip()), (b"hello".as_slice(), IpAddr::from([127, 77, 3, 9])));
        // What the server answers comes back.
        inbound.send_to(b"back", from).unwrap();
        assert_eq!(outbound.recv_from(&mut bytes).unwrap().0, 4);
    }
}
