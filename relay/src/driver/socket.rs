//! UDP sockets as a shard wants them.

use plausch_relay_api::limits::{RECEIVE_BUFFER_BYTES, RELAY_PORT_BUFFER_BYTES, SEND_BUFFER_BYTES};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SIOCGSTAMPNS_OLD in asm-generic/sockios.h: a timespec as 64-bit programs have it.
const SIOCGSTAMPNS: libc::c_ulong = 0x8907;

/// Bytes that the kernel holds for a socket.
#[derive(Clone, Copy)]
struct Buffers {
    receive: usize,
    send: usize,
}

const MEDIA_BUFFERS: Buffers = Buffers { receive: RECEIVE_BUFFER_BYTES, send: SEND_BUFFER_BYTES };
const RELAY_PORT_BUFFERS: Buffers = Buffers { receive: RELAY_PORT_BUFFER_BYTES, send: RELAY_PORT_BUFFER_BYTES };

/// Binds one local address. The socket blocks: drivers say MSG_DONTWAIT where they mean it, and io_uring waits on
/// blocking sockets only.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_with(address, MEDIA_BUFFERS, false)
}

/// The same for an address that another shard has and [`share`]s: the kernel keeps each client with one of them.
pub fn bind_shared(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_with(address, MEDIA_BUFFERS, true)
}

/// Lets other shards bind the same address. Whoever was first had it alone until now: no other process does.
pub fn share(socket: &UdpSocket) -> io::Result<()> {
    socket2::SockRef::from(socket).set_reuse_port(true)
}

/// Has the kernel hand over datagrams of one sender that came together in one piece (udp(7), UDP_GRO): a network card
/// gives the packets of a video frame so. Kernels before 5.0 do not know it and hand over each by itself.
pub(super) fn receive_joined(socket: &UdpSocket) {
    let _ = set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Binds a port of a TURN allocation, with smaller buffers.
pub(super) fn bind_relay_port(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_with(address, RELAY_PORT_BUFFERS, false)
}

fn bind_with(address: SocketAddr, buffers: Buffers, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    } else {
        // Fragments would be lost as a whole on many paths; RTP is small enough to do without. And no ICMP message is
        // believed that says how small: a forged one would have the kernel refuse all pictures to somebody.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    }
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, buffers.receive)?;
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, buffers.send)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The receive buffer that the kernel granted, as it counts: twice what was asked for.
pub fn received_buffer(socket: &UdpSocket) -> usize {
    socket2::SockRef::from(socket).recv_buffer_size().unwrap_or(0)
}

/// How long the datagram that was taken from the socket last had been in its buffer. The first call makes the kernel
/// stamp what comes, so it answers zero.
pub fn latest_wait(socket: &UdpSocket) -> Option<Duration> {
    // SAFETY: a C struct of integers, for which zeroes are valid.
    let mut stamp: libc::timespec = unsafe { zeroed() };
    // SAFETY: the request writes a timespec, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut stamp) };
    if result != 0 {
        return None;
    }
    let stamp = Duration::new(stamp.tv_sec.try_into().ok()?, stamp.tv_nsec.try_into().ok()?);
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.saturating_sub(stamp))
}

/// With CAP_NET_ADMIN beyond net.core.rmem_max, else up to it.
fn set_buffer(socket: &Socket, force: i32, plain: i32, bytes: usize) -> io::Result<()> {
    let bytes = bytes as i32;
    set_option(socket, libc::SOL_SOCKET, force, bytes).or_else(|_| set_option(socket, libc::SOL_SOCKET, plain, bytes))
}

/// Sets an option whose value is an int.
pub(crate) fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option's value is an int, which lives until the call returns.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
