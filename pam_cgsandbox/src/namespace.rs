//! Into the user's mount namespace, and back to the host's.
#![forbid(unsafe_code)]

use crate::log::{Failure, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};

/// Where this process was before it entered, by fds: its return depends on no path.
pub struct Host {
    mount: OwnedFd,
    /// setns(2) moves root and working directory to the top of what it enters.
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Host {
    /// Enters the user's view and keeps the way back. On error this process is where it was.
    pub fn leave_for(namespace: &OwnedFd) -> Result<Self> {
        let keep = |path: &str, kind| {
            open(path, kind | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Failure::of("open", path, error))
        };
        let mount = keep("/proc/thread-self/ns/mnt", OFlags::RDONLY)?;
        let host = Host { mount, root: keep("/", OFlags::PATH)?, cwd: keep(".", OFlags::PATH)? };
        let path = std::env::current_dir();
        setns(namespace).map_err(|error| Failure::of("setns", "user's namespace", error))?;
        // A view without that path leaves this process at its top.
        let _ = path.map(chdir);
        Ok(host)
    }

    /// Returns.
    pub fn back(&self) -> Result<()> {
        let back = setns(&self.mount).and_then(|()| fchdir(&self.root));
        let back = back.and_then(|()| chroot(".")).and_then(|()| fchdir(&self.cwd));
        let stranded = |e| Failure { stranded: true, ..Failure::of("setns", "host namespace", e) };
        back.map_err(stranded)
    }
}

fn setns(namespace: &OwnedFd) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}
