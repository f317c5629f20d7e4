//! Datagrams with the time at which they came out of the network, and sockets that throw media away unseen.

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

/// Room for one `timespec` with its header.
const CONTROL_BYTES: usize = 64;

#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Sets an option whose value is a C int.
///
/// # Errors
/// What the kernel says of the socket.
pub fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is an int, which lives until the call returns.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel note when each datagram came: at the device, before any CPU has worked on it.
///
/// # Errors
/// What the kernel says of the socket.
pub fn stamp_arrivals(socket: &impl AsRawFd) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Takes one datagram: its length, its sender, and when it came in Unix time in nanoseconds; `None` without
/// [`stamp_arrivals`].
///
/// # Errors
/// `WouldBlock` when nothing waits, and what the kernel reports for the socket.
pub fn receive_stamped(socket: &impl AsRawFd, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<u64>)> {
    // SAFETY: C structs of integers and pointers, for which zeroes are valid.
    let (mut name, mut header) = unsafe {
        (MaybeUninit::<libc::sockaddr_in6>::zeroed().assume_init(), MaybeUninit::<libc::msghdr>::zeroed().assume_init())
    };
    let mut control = Control([0; CONTROL_BYTES]);
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES;
    // SAFETY: all pointers are to locals and to `bytes`, of the lengths beside them, and live until the call returns.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let from = address(&name).ok_or(io::ErrorKind::InvalidData)?;
    Ok((len as usize, from, arrival_ns(&header)))
}

/// The address that the kernel wrote; a `sockaddr_in` lies at the beginning of the longer struct.
pub fn address(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
    let port = u16::from_be(name.sin6_port);
    match i32::from(name.sin6_family) {
        // IPv4: family, port, address; the address lies where IPv6 has its flow label.
        libc::AF_INET => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(u32::from_be(name.sin6_flowinfo))), port)),
        libc::AF_INET6 => Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)), port)),
        _ => None,
    }
}

/// Of a header that the kernel has filled, whose control buffer is still there.
pub fn arrival_ns(header: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel filled the control buffer of this header up to msg_controllen; the macros stay within it.
    let control = unsafe { libc::CMSG_FIRSTHDR(header) };
    if control.is_null() {
        return None;
    }
    // SAFETY: not null, so it points to a whole header in the aligned buffer.
    let (level, kind) = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
    if (level, kind) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    // SAFETY: this kind of message holds one timespec, which may not be aligned.
    let time = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
    Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Classic BPF (<linux/filter.h>) on a UDP datagram: RTP, as RFC 7983 and RFC 5761 (section 4) tell it from all else that
/// shares its port, is thrown away.
const FILTER: [libc::sock_filter; 8] = {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_FROM: u16 = 0x35;
    const RETURN: u16 = 0x06;
    /// Behind the UDP header.
    const FIRST: u32 = 8;
    const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code, jt, jf, k }
    }
    [
        op(LOAD_BYTE, 0, 0, FIRST),
        op(JUMP_FROM, 0, 4, 128),
        op(JUMP_FROM, 3, 0, 192),
        op(LOAD_BYTE, 0, 0, FIRST + 1),
        op(JUMP_FROM, 0, 2, 192),
        op(JUMP_FROM, 1, 0, 224),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ]
};

/// Lets the kernel throw away all RTP that comes to this UDP socket; [`thrown_away`] counts it.
///
/// # Errors
/// What the kernel says of the socket.
pub fn throw_media_away(socket: &impl AsRawFd) -> io::Result<()> {
    let mut filter = FILTER;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let len = size_of_val(&program) as libc::socklen_t;
    // SAFETY: the option's value is a program whose operations live until the call returns; the kernel copies them.
    let result = unsafe {
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that the kernel has thrown away at this socket, for whatever reason.
pub fn thrown_away(socket: &impl AsRawFd) -> u64 {
    /// SK_MEMINFO_DROPS, <linux/sock_diag.h>, and how many there are.
    const DROPS: usize = 8;
    let mut figures = [0u32; DROPS + 1];
    let mut len = size_of_val(&figures) as libc::socklen_t;
    // SAFETY: the option's value is an array of that many integers, which lives until the call returns.
    let result = unsafe {
        let value = figures.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, value, &raw mut len)
    };
    if result == 0 { figures[DROPS].into() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::thread::sleep;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    #[test]
    fn media_is_thrown_away_and_counted_and_all_else_comes_with_its_time() {
        let inbound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outbound = UdpSocket::bind("127.0.0.1:0").unwrap();
        stamp_arrivals(&inbound).unwrap();
        throw_media_away(&inbound).unwrap();
        let to = inbound.local_addr().unwrap();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        // RTP twice; RTCP, STUN and DTLS once each.
        for datagram in [[128, 96], [144, 255], [128, 200], [0, 1], [22, 254]] {
            outbound.send_to(&datagram, to).unwrap();
        }
        sleep(Duration::from_millis(5));
        let mut bytes = [0; 16];
        for wanted in [[128, 200], [0, 1], [22, 254]] {
            let (len, from, at) = receive_stamped(&inbound, &mut bytes).unwrap();
            assert_eq!((&bytes[..len], from), (wanted.as_slice(), outbound.local_addr().unwrap()));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            assert!((before..now).contains(&at.unwrap()), "{before} {at:?} {now}");
        }
        assert_eq!(receive_stamped(&inbound, &mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(thrown_away(&inbound), 2);
    }
}
