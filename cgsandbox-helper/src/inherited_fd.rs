//! Taking over an fd that this process was started with.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Owns `fd` from now on, closed at the next exec. To be called once for an fd, before
/// anything else could have opened one.
#[allow(unsafe_code)]
pub fn take(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the number is open (fcntl below fails otherwise, and the caller has looked it
    // up in /proc) and nothing in this process owns it: it was there before main.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    Ok(owned)
}
