//! From the host's view into the user's, and back to the host's view and cgroups.
#![forbid(unsafe_code)]

use crate::log::{Failure, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{chdir, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use std::{fs::OpenOptions, io::Write};

/// Where this process was before it entered.
pub struct Host {
    /// Mount namespace, root and working directory: the return depends on no path.
    pub view: Option<[OwnedFd; 3]>,
    /// As in [`cgsandbox_protocol::Reply::Enter`].
    pub ways_back: Vec<String>,
}

impl Host {
    /// Enters the user's view. On error this process is where it was.
    pub fn leave_for(&mut self, namespace: &OwnedFd) -> Result<()> {
        let keep = |path: &str, kind| {
            open(path, kind | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Failure::of("open", path, e))
        };
        let mount = keep("/proc/thread-self/ns/mnt", OFlags::RDONLY)?;
        let view = [mount, keep("/", OFlags::PATH)?, keep(".", OFlags::PATH)?];
        let path = std::env::current_dir();
        setns(namespace).map_err(|error| Failure::of("setns", "user's namespace", error))?;
        self.view = Some(view);
        // A view without that path leaves this process at its top.
        let _ = path.map(chdir);
        Ok(())
    }

    /// Returns.
    pub fn back(&self) -> Result<()> {
        if let Some([mount, root, cwd]) = &self.view {
            // setns(2) moves root and working directory to the top of what it enters.
            let back = setns(mount).and_then(|()| fchdir(root)).and_then(|()| chroot("."));
            let stranded = |e| Failure { stranded: true, ..Failure::of("setns", "host's view", e) };
            back.and_then(|()| fchdir(cwd)).map_err(stranded)?;
        }
        for procs in &self.ways_back {
            // Spares the helper limits that may be used up. Where it fails, the helper does it.
            let file = OpenOptions::new().write(true).open(procs);
            let _ = file.and_then(|mut file| file.write_all(b"0"));
        }
        Ok(())
    }
}

fn setns(namespace: &OwnedFd) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
}
