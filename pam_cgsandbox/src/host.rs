//! Into the user's sandbox, and back to the host.
#![forbid(unsafe_code)]

use crate::log::{Failure, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use std::{fs::OpenOptions, io::Write};

/// Where this process was before it entered.
pub struct Host {
    /// None where the sandbox has no mount namespace.
    view: Option<View>,
    /// The `cgroup.procs` files that lead out of the user's cgroup.
    ways_back: Vec<String>,
}

/// The host's mounts, by fds: the return depends on no path.
struct View {
    mount: OwnedFd,
    /// setns(2) moves root and working directory to the top of what it enters.
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Host {
    /// Enters the user's view and keeps the way back. On error this process is where it was.
    pub fn leave_for(namespace: Option<&OwnedFd>, ways_back: Vec<String>) -> Result<Self> {
        Ok(Host { view: namespace.map(View::leave_for).transpose()?, ways_back })
    }

    /// Returns. First to the host's view, for nothing may be opened in the user's.
    pub fn back(&self) -> Result<()> {
        self.view.as_ref().map_or(Ok(()), View::back)?;
        for path in &self.ways_back {
            // The helper finds what this has not moved; but under the user's limits, which may
            // be used up, there might be no helper.
            let file = OpenOptions::new().write(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(b"0"));
        }
        Ok(())
    }
}

impl View {
    fn leave_for(namespace: &OwnedFd) -> Result<Self> {
        let keep = |path: &str, kind| {
            open(path, kind | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Failure::of("open", path, error))
        };
        let mount = keep("/proc/thread-self/ns/mnt", OFlags::RDONLY)?;
        let view = View { mount, root: keep("/", OFlags::PATH)?, cwd: keep(".", OFlags::PATH)? };
        let path = std::env::current_dir();
        setns(namespace).map_err(|error| Failure::of("setns", "user's namespace", error))?;
        // A view without that path leaves this process at its top.
        let _ = path.map(chdir);
        Ok(view)
    }

    fn back(&self) -> Result<()> {
        let back = setns(&self.mount).and_then(|()| fchdir(&self.root));
        let back = back.and_then(|()| chroot(".")).and_then(|()| fchdir(&self.cwd));
        let stranded = |e| Failure { stranded: true, ..Failure::of("setns", "host namespace", e) };
        back.map_err(stranded)
    }
}

fn setns(namespace: &OwnedFd) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}
