//! What the ablation and the floor need of the kernel and the standard library does not give: raw sends and receives,
//! CPU clocks of a thread, times of arrival, and network namespaces. With `turn/datagrams.rs`, the only place in the bench with `unsafe`;
//! everything that it gives out is safe to use, because senders and receivers own the memory that the kernel reads or writes.
//!
//! The relay has drivers of its own; these here are apart on purpose, so that variants can be compared which the
//! relay has not, and so that the floor does not move when the relay's drivers do.

mod arrival;
mod clock;
mod message;
mod namespace;
mod receive;
mod send;
mod uring;

pub(crate) use arrival::{address, arrival_ns};
pub use arrival::{receive_stamped, stamp_arrivals, throw_media_away, thrown_away};
pub use clock::{ThreadUse, cpus, pin, thread_cpu_ns};
pub use namespace::{drop_all_at, enter_new_namespace, thread_id};
pub use receive::{ReceiveMethod, Receiver};
pub use send::{Message, SendMethod, Sender, Sockets};

use std::io;
use std::mem::size_of_val;
use std::os::fd::AsRawFd;

/// Sets an option whose value is a C int.
pub fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option's value is an int, which lives until the call returns.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
