//! Network namespaces that belong to a thread. They have no name and end with the last thread or socket in them, so
//! nothing of them is left behind, however the program ends.

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{FromRawFd, OwnedFd};

/// Puts the calling thread into a network namespace of its own; threads and processes that it starts come with it.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn enter_new_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// By which others name the namespace of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::gettid() }
}

/// <linux/bpf.h>: commands, and the beginnings of the structs that belong to them.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

#[repr(C)]
struct ProgLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 4],
}

/// `r0 = XDP_DROP; exit`.
const DROP: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// Lets the driver of this interface throw away everything it receives, before the network stack sees it, until the
/// returned descriptor is closed.
///
/// # Errors
/// Without CAP_NET_ADMIN and CAP_BPF, or when the driver has no XDP.
pub fn drop_all_at(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: a C string that lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: C structs of integers, for which zeroes are valid.
    let (mut load, mut link): (ProgLoad, LinkCreate) = unsafe { (zeroed(), zeroed()) };
    load.program_type = BPF_PROG_TYPE_XDP;
    load.instruction_count = DROP.len() as u32;
    load.instructions = DROP.as_ptr() as u64;
    load.license = c"Apache-2.0".as_ptr() as u64;
    // SAFETY: the struct is as large as said, and what it points to is static.
    let program = unsafe { bpf(BPF_PROG_LOAD, (&raw mut load).cast(), size_of::<ProgLoad>())? };
    link.program = std::os::fd::AsRawFd::as_raw_fd(&program) as u32;
    link.interface = index;
    link.attach_type = BPF_XDP;
    link.flags = XDP_FLAGS_DRV_MODE;
    // SAFETY: the struct is as large as said and has no pointers.
    unsafe { bpf(BPF_LINK_CREATE, (&raw mut link).cast(), size_of::<LinkCreate>()) }
}

/// # Safety
/// `attributes` must be the struct of the command and `len` bytes long, zero behind the fields that are meant. The
/// command must be one that answers with a new descriptor.
unsafe fn bpf(command: libc::c_long, attributes: *mut libc::c_void, len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, len) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
