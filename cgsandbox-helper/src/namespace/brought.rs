//! What other PAM modules have mounted in a login's own mount namespace, brought into the user's view.
//!
//! pam_namespace gives sshd's process a namespace with other directories over `/tmp` and the like. Where
//! that login makes the view, it has them. Where the user manager came first, as on systemd hosts, the
//! view is of the host, and the first login brings them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use super::pin::draw_from_host;
use super::{copy_mount, in_hosts, within};
use crate::cgroup::unescape;
use crate::error::{Error, Result};
use crate::kernel_file;

/// File systems that show processes or cgroups, or that work in one place only: the view has its own.
const NOT_BROUGHT: &[&str] = &["proc", "cgroup", "cgroup2", "autofs", "nsfs"];

#[derive(PartialEq, Eq)]
struct Mount {
    /// The device's numbers, and the directory on it.
    what: String,
    path: PathBuf,
}

/// Mounts in `namespace`, the user's view, what this process's own mount namespace has beside what is
/// mounted on the host.
pub fn bring(namespace: &OwnedFd) -> Result<()> {
    let mut wanted = mounts(&kernel_file::mountinfo()?);
    let on_host = mounts(&in_hosts(kernel_file::mountinfo)?);
    let in_view = mounts(&within(namespace, kernel_file::mountinfo)?);
    wanted.retain(|mount| !on_host.contains(mount) && !in_view.contains(mount));
    let mut copies = Vec::new();
    for mount in &wanted {
        let about = |e: Errno| Error::os("copy the mount of", mount.path.display())(e);
        match find(&mount.path).and_then(|root| copy_mount(&root, Path::new(""))) {
            Ok(copy) => copies.push((mount.path.as_path(), copy)),
            // It has just been unmounted.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(about(error)),
        }
    }
    within(namespace, || {
        for (path, copy) in &copies {
            let about = |e: Errno| Error::os("mount in the user's view", path.display())(e);
            let mut target = find(path).map_err(about)?;
            // An earlier first login's: the user manager has kept the view since.
            if in_view.iter().any(|it| it.path == *path && !on_host.contains(it)) {
                // By the fd, for the directories above may be the user's.
                let top = format!("/proc/self/fd/{}", target.as_raw_fd());
                unmount(top, UnmountFlags::DETACH).map_err(about)?;
                target = find(path).map_err(about)?;
            }
            let by_fds =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(copy, "", &target, "", by_fds).map_err(about)?;
        }
        match copies.is_empty() {
            true => Ok(()),
            // A copy is a peer of what it is of.
            false => draw_from_host(),
        }
    })
}

/// Never by a link: a directory on the way may be the user's.
fn find(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// What `mountinfo` has that may be brought; of mounts on the same directory, the one to be seen.
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        mounts.retain(|it| it.path != mount.path);
        mounts.push(mount);
    }
    mounts
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let (device, root, path) = (fields.next()?, fields.next()?, unescape(fields.next()?));
        let is_ours = NOT_BROUGHT.contains(&after.split(' ').next()?) || path == "/";
        (!is_ours).then(|| Mount { what: format!("{device} {root}"), path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_mounts_on_one_directory_the_upper_one_is_brought() {
        let mountinfo = "\
22 1 8:1 / / rw - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
24 22 8:1 /tmp-inst/alice /tmp rw - ext4 /dev/vda rw
25 22 0:60 / /var/tmp/a\\040b rw master:1 - tmpfs tmpfs rw
26 24 8:1 /tmp-inst/other /tmp rw - ext4 /dev/vda rw";
        let found: Vec<String> = mounts(mountinfo)
            .iter()
            .map(|mount| format!("{} {}", mount.path.display(), mount.what))
            .collect();
        assert_eq!(found, ["/var/tmp/a b 0:60 /", "/tmp 8:1 /tmp-inst/other"]);
    }
}
