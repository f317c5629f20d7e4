//! Socket addresses and messages as the kernel reads them.

use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::ptr::null_mut;

/// Room for a `sockaddr_in` or a `sockaddr_in6`.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Bytes of a `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

impl Name {
    pub(super) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; NAME_BYTES];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, len }
    }
}

/// `CMSG_SPACE(sizeof(uint16_t))` with the size of the segments.
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    size: u16,
    padding: [u8; 6],
}

/// One message to send and everything it points to. Must stay where it is while the kernel reads it.
pub(super) struct Outgoing {
    header: libc::msghdr,
    data: libc::iovec,
    control: SegmentControl,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
            header: unsafe { zeroed() },
            data: libc::iovec { iov_base: null_mut(), iov_len: 0 },
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

    /// Makes this the message `data` to `name`. The header points to `self`, `name` and `data`; it may be used while all
    /// three are at rest.
    pub(super) fn prepare(&mut self, name: &Name, data: &[u8], segment: usize) -> *const libc::msghdr {
        self.data = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        // The kernel only reads names and data; msghdr has no const form.
        self.header.msg_name = name.bytes.as_ptr().cast_mut().cast();
        self.header.msg_namelen = name.len as libc::socklen_t;
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
