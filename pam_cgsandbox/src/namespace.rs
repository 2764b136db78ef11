//! Into the user's mount namespace, and back to the host's.
#![forbid(unsafe_code)]

use crate::failure::{Failure, Leaves};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};

/// Where this process was before it entered. Dropped while away, it returns.
pub struct Host {
    mount: OwnedFd,
    /// setns(2) moves root and working directory to the top of what it enters.
    root: OwnedFd,
    cwd: OwnedFd,
    away: bool,
}

impl Host {
    /// Keeps fds of where this process is, so that its return depends on no path.
    pub fn remember() -> Result<Self, Failure> {
        let keep = |path: &str, kind| {
            open(path, kind | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Failure::of("keep", path, error))
        };
        Ok(Host {
            mount: keep("/proc/thread-self/ns/mnt", OFlags::RDONLY)?,
            root: keep("/", OFlags::PATH)?,
            cwd: keep(".", OFlags::PATH)?,
            away: false,
        })
    }

    /// Enters the mount namespaces, in their order. The working directory keeps its path where
    /// the user's view has it; else it is the top, as setns left it.
    pub fn enter(&mut self, namespaces: &[OwnedFd]) -> Result<(), Failure> {
        let path = std::env::current_dir();
        for namespace in namespaces {
            enter(namespace).map_err(|error| Failure::of("setns", "mount namespace", error))?;
            self.away = true;
        }
        if let (true, Ok(path)) = (self.away, path) {
            let _ = chdir(path);
        }
        Ok(())
    }

    /// The way back, if this process went away. From now on, dropping it only closes fds.
    pub fn settle(mut self) -> Option<Self> {
        std::mem::take(&mut self.away).then_some(self)
    }

    /// Undoes [`Host::enter`].
    pub fn leave(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.away) { self.back() } else { Ok(()) }
    }

    /// Returns to where this process was.
    pub fn back(&self) -> Result<(), Failure> {
        enter(&self.mount)
            .and_then(|()| fchdir(&self.root))
            .and_then(|()| chroot("."))
            .and_then(|()| fchdir(&self.cwd))
            .map_err(|e| Failure::of("setns", "host's namespace", e).leaving(Leaves::Stranded))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Away only if a panic came in between; that is refused in any case.
        let _ = self.leave();
    }
}

fn enter(namespace: impl AsFd) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}
