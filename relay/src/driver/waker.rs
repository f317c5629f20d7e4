//! Wakes a shard from its wait.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// An eventfd: anybody may wake, the shard's driver waits for it together with its sockets.
#[derive(Clone, Debug)]
pub struct Waker(Arc<File>);

impl Waker {
    /// Opens one.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(File::from(fd))))
    }

    /// Ends the current or the next wait.
    pub fn wake(&self) {
        // Fails only when the sum reaches u64::MAX.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Takes the wake-ups back; waits when there are none.
    pub(super) fn drain(&self) {
        let _ = (&*self.0).read(&mut [0; 8]);
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
