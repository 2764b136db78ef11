//! What the host has mounted below its `/proc`, for the user's own `/proc`: lxcfs over `meminfo` and
//! `cpuinfo`, binfmt_misc, and what a container runtime masks or makes read-only there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::attach;
use crate::cgroup::unescape;
use crate::error::{Error, Result};

/// Copies of mounts, each with the place that it is for.
pub struct Copies(Vec<(PathBuf, OwnedFd)>);

/// What a security module denies is left out: the login matters more than the machine's numbers in
/// the place of a container's.
impl Copies {
    /// Of all mounts below `/proc` that `mountinfo` has and that a user may see. To be called before
    /// anything is mounted over `/proc`.
    pub fn of(mountinfo: &str) -> Result<Self> {
        let mut copies = Vec::new();
        for path in places(mountinfo) {
            // An automount point that nobody has used yet stays one: nothing waits for it here.
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_NO_AUTOMOUNT;
            match open_tree(CWD, &path, flags) {
                Ok(copy) => copies.push((path, copy)),
                // It has just been unmounted, or is marked as not to be copied (MS_UNBINDABLE).
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(Errno::ACCESS | Errno::PERM) => {}
                Err(error) => {
                    return Err(Error::os("copy the mount of", path.display())(error));
                }
            }
        }
        Ok(Copies(copies))
    }

    /// Mounts them in the `/proc` that is there now.
    pub fn attach(self) -> Result<()> {
        for (path, copy) in self.0 {
            match attach(&copy, &path) {
                Ok(()) => {}
                // It was on another mount that could not be copied.
                Err(Errno::NOENT) => {}
                Err(Errno::ACCESS | Errno::PERM) => {}
                Err(error) => return Err(Error::os("mount again", path.display())(error)),
            }
        }
        Ok(())
    }
}

/// The mount points below `/proc`, those on others after them, each once.
fn places(mountinfo: &str) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = mountinfo.lines().filter_map(place).collect();
    places.sort();
    places.dedup();
    places
}

fn place(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (fields.next()?, unescape(fields.next()?));
    let below = mount.strip_prefix("/proc/")?;
    let kind = after.split(' ').next()?;
    // The automount daemon answers for its own mount alone: a copy elsewhere is a dead end.
    let is_usable = kind != "autofs";
    // A process's directory may be bound to a place that is nobody's.
    let shows_processes = kind == "proc" && (root == "/" || is_of_a_process(&root[1..]));
    (is_usable && !shows_processes && !is_of_a_process(below)).then(|| PathBuf::from(mount))
}

/// Whether a path from a procfs's root leads into the directory of a process.
fn is_of_a_process(path: &str) -> bool {
    let first = Path::new(path).iter().next().and_then(|name| name.to_str()).unwrap_or_default();
    first.starts_with(|c: char| c.is_ascii_digit()) || ["self", "thread-self"].contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
40 22 0:50 /proc/meminfo /proc/meminfo rw,nosuid - fuse.lxcfs lxcfs rw
41 22 0:36 / /proc/sys/fs/binfmt_misc rw shared:14 - autofs systemd-1 rw,fd=29
42 41 0:51 / /proc/sys/fs/binfmt_misc rw shared:15 - binfmt_misc binfmt_misc rw
43 22 0:21 /sys /proc/sys ro - proc proc rw
44 22 0:21 /1 /proc/fs rw - proc proc rw
45 22 0:60 / /proc/bus rw - proc proc rw
46 22 0:21 /self/net /proc/driver rw - proc proc rw
47 22 0:61 / /proc/4711/root/x rw - tmpfs tmpfs rw
48 22 0:62 / /proc/irq - autofs other rw
49 27 0:63 / /procession rw - tmpfs tmpfs rw
50 22 0:64 /null /proc/kcore rw - devtmpfs dev rw";

    #[test]
    fn what_shows_processes_and_what_is_a_dead_end_stays_behind() {
        let expected = ["/proc/kcore", "/proc/meminfo", "/proc/sys", "/proc/sys/fs/binfmt_misc"];
        assert_eq!(places(MOUNTINFO), expected.map(PathBuf::from));
    }
}
