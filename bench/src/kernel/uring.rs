//! The ring that all variants over io_uring use: set up as the relay's is.

use io_uring::{IoUring, squeue};
use std::io;

/// Submissions of one call, and completions: two for each zero-copy send, and every receive buffer.
const SUBMISSIONS: u32 = 512;
const COMPLETIONS: u32 = 4096;

/// Single issuer, deferred task run. The error of a kernel or sandbox that has none is for the table.
pub(super) fn build() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(SUBMISSIONS)
}

/// Puts one entry into the submission queue; submits first when that is full.
///
/// # Safety
/// What the entry points to must be valid and at rest until its last completion.
pub(super) unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: the caller's promise.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        submitted(ring.submit())?;
    }
}

/// A wait that ended for its time or a signal is no failure.
pub(super) fn submitted(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(()),
        Err(error) => Err(error),
    }
}
