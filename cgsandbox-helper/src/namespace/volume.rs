//! Volumes that other PAM modules mount for a user at login: a home directory, or something in it.
//!
//! A module whose line is before ours is closed before ours, when the leader is still in the user's
//! view. What it unmounts then is unmounted in the view, and stays mounted on the host. So what of these
//! volumes has gone from the view while a session lasted is unmounted on the host, too: nobody but
//! root can unmount it in the view.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::{pinned, within};
use crate::cgroup::unescape;
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::policy::Subject;
use crate::state::State;

/// A mount of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The mount's id, as long as it is mounted.
    id: u64,
    /// What is mounted: the device's numbers, and the directory on it.
    what: String,
    path: String,
}

/// The user's volumes that are mounted on the host, by its `mountinfo`, and in `namespace`.
pub fn volumes(mountinfo: &str, namespace: &OwnedFd, subject: &Subject) -> Result<Vec<Volume>> {
    let mut volumes: Vec<Volume> =
        mountinfo.lines().filter_map(Volume::parse).filter(|it| it.is_of(subject)).collect();
    if !volumes.is_empty() {
        let inside = within(namespace, kernel_file::mountinfo)?;
        volumes.retain(|volume| volume.is_in_view(&inside));
    }
    Ok(volumes)
}

/// Unmounts those of `volumes` that somebody has unmounted in the user's view.
pub fn unmount_gone(state: &State, uid: u32, volumes: &[Volume]) -> Result<()> {
    if volumes.is_empty() {
        return Ok(());
    }
    let Some(namespace) = pinned(state, uid)? else { return Ok(()) };
    let inside = within(&namespace, kernel_file::mountinfo)?;
    let on_host: Vec<Volume> =
        kernel_file::mountinfo()?.lines().filter_map(Volume::parse).collect();
    // One that is mounted on another comes after that in the list.
    for volume in volumes.iter().rev() {
        // Where it is now: the user may have renamed a directory above it.
        let now = on_host.iter().find(|it| it.id == volume.id && it.what == volume.what);
        match now {
            Some(now) if !now.is_in_view(&inside) => now.unmount()?,
            _ => {}
        }
    }
    Ok(())
}

impl Volume {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let id = fields.next()?.parse().ok()?;
        let (device, root) = (fields.nth(1)?, fields.next()?);
        Some(Volume { id, what: format!("{device} {root}"), path: unescape(fields.next()?) })
    }

    /// Whether it is at or below the user's home directory, or has the user's name in its path, as
    /// /media/alice.
    fn is_of(&self, subject: &Subject) -> bool {
        let (path, home) = (Path::new(&self.path), &subject.home);
        let is_home = home.components().count() > 1 && path.starts_with(home);
        is_home || path.iter().any(|name| name == subject.name.as_str())
    }

    fn is_in_view(&self, mountinfo: &str) -> bool {
        let is_it = |it: Volume| it.what == self.what && it.path == self.path;
        mountinfo.lines().filter_map(Volume::parse).any(is_it)
    }

    /// By its id: the directories above it may be the user's, who could put another in its place.
    fn unmount(&self) -> Result<()> {
        let about = |e: Errno| Error::os("unmount", &self.path)(e);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, &self.path, flags, Mode::empty()).map_err(about)?;
        let no_wait = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let found = statx(&root, "", no_wait, StatxFlags::MNT_ID).map_err(about)?;
        if found.stx_mnt_id != self.id {
            let cause = "another file system is in its place";
            return Err(Error::new("unmount", &self.path, cause));
        }
        // What still uses it, this very fd for one, goes on till it closes it.
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        unmount(path, UnmountFlags::DETACH).map_err(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_volumes_are_told_by_their_path() {
        let subject =
            Subject { name: "alice".into(), home: "/home/a".into(), ..Subject::default() };
        let is_users = |path: &str, subject: &Subject| {
            let line = format!("45 22 0:60 / {path} rw,relatime - tmpfs volume rw");
            Volume::parse(&line).is_some_and(|volume| volume.is_of(subject))
        };
        for path in ["/home/a", "/home/a/in\\040it", "/media/alice", "/srv/alice/deeper"] {
            assert!(is_users(path, &subject), "{path}");
        }
        for path in ["/", "/home", "/home/ab", "/media/alicex", "/home/b/a"] {
            assert!(!is_users(path, &subject), "{path}");
        }
        let service = Subject { name: "daemon".into(), home: "/".into(), ..Subject::default() };
        assert!(!is_users("/boot", &service), "a home directory of / is nobody's own");
    }
}
