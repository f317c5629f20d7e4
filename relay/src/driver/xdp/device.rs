//! A network device as its driver describes it (netdevice(7)). Asked by system calls: /sys shows the devices of the
//! namespace in which it was mounted, which in a container need not be ours.

use std::ffi::{CString, c_char};
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

/// <linux/ethtool.h>: which queues a device has, and which it can have.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

#[repr(C)]
struct Channels {
    command: u32,
    max_receive: u32,
    max_transmit: u32,
    max_other: u32,
    max_combined: u32,
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// What frames need to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Description {
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    /// Bytes of the largest IP packet.
    pub(super) mtu: usize,
}

/// Asks for a device of this thread's network namespace. Fails where there is none, and where it is no Ethernet.
pub(super) fn describe(name: &str) -> io::Result<Description> {
    let c_name = CString::new(name)?;
    // SAFETY: a C string that lives until the call returns.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut request = named(name)?;
    ask(libc::SIOCGIFMTU, &mut request)?;
    // SAFETY: the kernel has answered with this member of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    ask(libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: the same.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    if address.sa_family != libc::ARPHRD_ETHER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is no Ethernet device")));
    }
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from as u8;
    }
    Ok(Description { index, mac, mtu: usize::try_from(mtu).unwrap_or(0) })
}

/// How many receive queues are in use.
pub(super) fn receive_queues(name: &str) -> io::Result<usize> {
    // SAFETY: a C structure of integers, for which zeroes are valid.
    let mut channels: Channels = unsafe { zeroed() };
    channels.command = ETHTOOL_GCHANNELS;
    let mut request = named(name)?;
    request.ifr_ifru.ifru_data = (&raw mut channels).cast::<c_char>();
    match ask(libc::SIOCETHTOOL, &mut request) {
        Ok(()) => Ok((channels.receive + channels.combined) as usize),
        // A driver that says nothing of queues has one.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(1),
        Err(error) => Err(error),
    }
}

fn named(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: a C structure of integers and a union of such and pointers, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // With a zero behind it.
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of a device")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    Ok(request)
}

/// `code` must be one of the requests of this module: their structures lie behind `request` as they should.
fn ask(code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: the structure of these requests, whose pointer, where the request has one, is to the caller's own.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), code as libc::Ioctl, std::ptr::from_mut(request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
