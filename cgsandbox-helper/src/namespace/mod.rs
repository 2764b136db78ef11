//! The user's mount namespace: its own /proc, and nothing of ours or of other users' cgroups.
//!
//! The first session of a user builds it and pins it; later ones join the same, so that tmux and everything else of the
//! user's sees the same mounts. No process has to live on for it, and the last session
//! out unpins it.
//!
//! Everything needs the mount API of Linux 5.8. Older kernels have one set of options
//! for all procfs mounts of a pid namespace: mounting one with `hidepid=` there would
//! change the host's.

mod below_proc;
mod brought;
mod pin;
mod view;
mod volume;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::audit::{Event, Level};
use crate::cgroup::Tree;
use crate::config::value::HidePid;
use crate::error::{Error, Result};
use crate::state::State;

pub use brought::bring;
pub use pin::{make_store, pinned, release};
pub use view::{is_inside, lack};
pub use volume::{Volume, unmount_gone, volumes};

/// What a user's view shows of other users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// How much of their processes.
    pub hidepid: HidePid,
    /// Whether their cgroups.
    pub cgroups: bool,
}

impl Shown {
    /// What the note of a user's namespace says.
    fn note(self) -> String {
        let cgroups = if self.cgroups { " cgroups" } else { "" };
        format!("{}{cgroups}", self.hidepid)
    }
}

/// The user's namespace, joined when it is there and else built.
pub fn obtain(state: &State, tree: &Tree, uid: u32, shown: Shown) -> Result<OwnedFd> {
    match pinned(state, uid)? {
        Some(namespace) if note(state, uid).exists() => {
            adjust(state, tree, uid, &namespace, shown)?;
            Ok(namespace)
        }
        // Pinned, and its builder died before it was furnished: nobody is in it.
        Some(_) => {
            release(state, uid)?;
            build(state, tree, uid, shown)
        }
        None => build(state, tree, uid, shown),
    }
}

/// Makes what a user's namespace is made of, and lets go of it again. Containers and security modules
/// deny some of that, and only a try tells.
pub fn try_out() -> Result<()> {
    let prepare = || pin::draw_from_host().and_then(|()| view::try_out());
    // The way back first: without it this process would be left in the new one.
    let way_back = own_namespace().and_then(|own| enter(&own));
    let made = way_back.and_then(|()| pin::new_namespace(&prepare));
    made.map(drop).map_err(|mut error| {
        if error.is_denied() {
            error.cause.push_str("; this container or a security module denies it to root");
        }
        error
    })
}

/// Whether process `pid` is in `namespace`, as the kernel tells it.
pub fn holds(namespace: &OwnedFd, pid: u32) -> Result<bool> {
    let path = format!("/proc/{pid}/ns/mnt");
    let of_process = std::fs::metadata(&path).map_err(Error::os("look at", &path))?;
    let of_namespace =
        rustix::fs::fstat(namespace).map_err(Error::os("look at", "the pinned namespace"))?;
    Ok((of_process.dev(), of_process.ino()) == (of_namespace.st_dev, of_namespace.st_ino))
}

fn note(state: &State, uid: u32) -> PathBuf {
    state.user(uid).join("hidepid")
}

fn build(state: &State, tree: &Tree, uid: u32, shown: Shown) -> Result<OwnedFd> {
    let namespace = pin::make(state, uid)?;
    within(&namespace, || view::furnish(state, tree, uid, shown))?;
    // Last: it says that the namespace is furnished.
    state.write(&note(state, uid), shown.note().as_bytes())?;
    Ok(namespace)
}

/// Does `work` in the mount namespace of the host, which its first process is in, and comes back.
pub fn in_hosts<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let path = "/proc/1/ns/mnt";
    let host = File::open(path).map(OwnedFd::from).map_err(Error::os("open", path))?;
    within(&host, work)
}

/// Whether this process is in another mount namespace than process 1.
pub fn is_elsewhere() -> bool {
    own_namespace().and_then(|own| holds(&own, 1)).is_ok_and(|in_hosts| !in_hosts)
}

/// Does `work` in `namespace` and comes back.
fn within<T>(namespace: &OwnedFd, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let host = own_namespace()?;
    enter(namespace)?;
    let done = work();
    come_back(&host);
    done
}

/// Returns to the host's namespace. A process that cannot ends at once: whatever it read, wrote or
/// logged from here on would be in the wrong place. The module logs that its helper has ended, and
/// has another one take back what this one built.
fn come_back(host: &OwnedFd) {
    // What failed for want of memory may do so no more.
    if let Err(error) = enter(host).or_else(|_| enter(host)) {
        Event::new(Level::Error, "degraded").with_error(&error).send(&State::of_host());
        std::process::exit(1);
    }
}

fn enter(namespace: &OwnedFd) -> Result<()> {
    // Threads, as those of a connection to systemd, share the working directory: the kernel
    // would refuse another mount namespace (setns(2), EINVAL).
    unshare(CloneFlags::CLONE_FS).map_err(Error::os("unshare", "the working directory"))?;
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)
        .map_err(Error::os("enter", "a mount namespace"))
}

/// Brings a namespace that is in use to what the policy says now.
fn adjust(state: &State, tree: &Tree, uid: u32, namespace: &OwnedFd, shown: Shown) -> Result<()> {
    let note = note(state, uid);
    let before = std::fs::read_to_string(&note).unwrap_or_default();
    if before == shown.note() {
        return Ok(());
    }
    within(namespace, || {
        view::adjust_procfs(shown.hidepid)?;
        view::adjust_cgroups(state, tree, uid, shown.cgroups)
    })?;
    state.write(&note, shown.note().as_bytes())
}

/// A copy of the mount at `path`, or of `from` itself where that is empty, mounted nowhere.
pub(crate) fn copy_mount(from: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(from, path, flags)
}

/// Mounts at `target` what [`copy_mount`] has returned.
pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> rustix::io::Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/mnt";
    File::open(path).map(OwnedFd::from).map_err(Error::os("open", path))
}
