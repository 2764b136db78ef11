//! Keeping a user's mount namespace while no process holds it: an nsfs file is mounted over a
//! plain one, `/run/cgsandbox/user/UID/ns/mnt`.
//!
//! Those mounts are in a namespace of their own, the store, which is pinned itself on
//! `/run/cgsandbox/store`. In the host's they would be read with every `/proc/self/mountinfo`
//! of every program, a thousand for a thousand users.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{enter, own_namespace, within};
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::state::{State, make_directory};

/// `f_type` of nsfs (statfs(2)).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Makes the namespace that the pins are in, where it is not there yet.
pub fn make_store(state: &State, patience: Duration) -> Result<()> {
    if store(state)?.is_some() {
        return Ok(());
    }
    let _host = state.lock_host(patience)?;
    // Another login may have been first.
    if store(state)?.is_some() {
        return Ok(());
    }
    make_state_private(state)?;
    let path = path_of_store(state);
    create(&path)?;
    make_pinned(&path, &own_namespace()?).map(drop)
}

/// Makes the state directory a mount of its own that passes nothing on: the kernel
/// refuses to pin a namespace on a mount that would be copied into that namespace.
fn make_state_private(state: &State) -> Result<()> {
    let directory = state.directory();
    if is_private_mount(directory, &kernel_file::mountinfo()?) {
        return Ok(());
    }
    let name = directory.display();
    mount_bind(directory, directory).map_err(Error::os("bind", format!("{name} onto itself")))?;
    mount_change(directory, MountPropagationFlags::PRIVATE).map_err(Error::os("make private", name))
}

/// The user's namespace where one is pinned.
pub fn pinned(state: &State, uid: u32) -> Result<Option<OwnedFd>> {
    match store(state)? {
        Some(store) => within(&store, || open_pin(&path_of(state, uid))),
        None => Ok(None),
    }
}

/// Lets go of the user's namespace: the kernel ends it with the last process in it.
pub fn release(state: &State, uid: u32) -> Result<()> {
    let path = path_of(state, uid);
    if let Some(store) = store(state)? {
        // Once for each mount: two builds may have followed upon each other after a crash.
        let unmount_all = || {
            while unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
            Ok(())
        };
        within(&store, unmount_all)?;
    }
    for leftover in [Some(path.as_path()), path.parent()].into_iter().flatten() {
        let removed = match leftover == path {
            true => std::fs::remove_file(leftover),
            false => std::fs::remove_dir(leftover),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::os("remove", leftover.display())(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A new namespace for a user, pinned and not furnished.
pub fn make(state: &State, uid: u32) -> Result<OwnedFd> {
    let path = path_of(state, uid);
    make_directory(&state.user(uid))?;
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    create(&path)?;
    let none = || Error::new("find", path_of_store(state).display(), "it was there just before");
    make_pinned(&path, &store(state)?.ok_or_else(none)?)
}

fn create(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map(drop).map_err(Error::os("create", path.display()))
}

fn store(state: &State) -> Result<Option<OwnedFd>> {
    open_pin(&path_of_store(state))
}

/// The namespace that is pinned on `path` in the namespace of this process.
fn open_pin(path: &Path) -> Result<Option<OwnedFd>> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(no_link).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::os("open", path.display())(error)),
    };
    let about = rustix::fs::fstatfs(&file).map_err(Error::os("look at", path.display()))?;
    // Without the mount over it, it is a plain empty file: a build that did not come to its end.
    #[allow(clippy::unnecessary_cast)] // f_type's width differs between architectures.
    Ok((about.f_type as i64 == NSFS_MAGIC).then(|| OwnedFd::from(file)))
}

fn path_of_store(state: &State) -> PathBuf {
    state.directory().join("store")
}

fn path_of(state: &State, uid: u32) -> PathBuf {
    state.user(uid).join("ns").join("mnt")
}

/// A new namespace, a slave of the host's, pinned on `path` in `holder`.
///
/// The kernel pins only namespaces that are younger than the one that the pin is in, and
/// goes by their ids (`mnt_ns_loop`). Linux 6.18 hands out ids per CPU, so a new namespace
/// may count as older. One made on the CPU that made
/// the holder never does.
fn make_pinned(path: &Path, holder: &OwnedFd) -> Result<OwnedFd> {
    let cpus = sched_getaffinity(None).map_err(Error::os("ask for", "the CPUs of this process"))?;
    let mut result = make_and_pin(path, holder);
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)) {
        if !result.as_ref().is_err_and(|error| error.errno == Some(Errno::INVAL.raw_os_error())) {
            break;
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).map_err(Error::os("move to", format!("CPU {cpu}")))?;
        result = make_and_pin(path, holder);
    }
    sched_setaffinity(None, &cpus).map_err(Error::os("return to", "the CPUs of before"))?;
    result
}

fn make_and_pin(path: &Path, holder: &OwnedFd) -> Result<OwnedFd> {
    let host = own_namespace()?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::os("make", "a mount namespace"))?;
    // Before the first mount: from here on nothing made inside reaches the host, whatever
    // the host's own mounts share, and what the host mounts still arrives.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let made = mount_change("/", downstream)
        .map_err(Error::os("make slaves of", "all mounts"))
        .and_then(|()| own_namespace());
    enter(&host)?;
    let namespace = made?;
    let open = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    let pin = || {
        mount_bind(open.as_str(), path).map_err(Error::os("pin the namespace on", path.display()))
    };
    within(holder, pin)?;
    Ok(namespace)
}

/// Whether `directory` is a mount point without a peer and without a master: the fields
/// before " - " that name those are absent (proc_pid_mountinfo(5)).
fn is_private_mount(directory: &Path, mountinfo: &str) -> bool {
    let path = directory.to_string_lossy();
    mountinfo.lines().any(|line| {
        let mut fields = line.split(' ').skip(4);
        fields.next() == Some(&path) && fields.nth(1) == Some("-")
    })
}
