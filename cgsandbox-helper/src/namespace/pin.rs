//! Keeping a user's mount namespace while no process holds it: an nsfs file is mounted over a
//! plain one, `/run/cgsandbox/user/UID/ns/mnt`.
//!
//! Those mounts are in a namespace of their own, the store, which is pinned itself on
//! `/run/cgsandbox/store`. In the host's they would be read with every `/proc/self/mountinfo`
//! of every program, a thousand for a thousand users. The state directory is the store's root, and
//! nothing else is in it: what the host had mounted when it was made would stay in use for ever
//! where mounts are private, as they are without systemd.
//!
//! The store's own pin is in the host's namespace, that of process 1. sshd's process may have left that
//! before: by pam_namespace, or because its service has a namespace of its own. The kernel copies such
//! pins into no other namespace, so without that each login would have a store, and a view, of its own.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_move, unmount,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{attach, come_back, copy_mount, own_namespace, try_out, within};
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::state::{State, make_directory};

/// `f_type` of nsfs (statfs(2)).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Makes the namespace that the pins are in, where it is not there yet. Returns why there can be
/// none, where the host denies what it takes.
pub fn make_store(state: &State, patience: Duration) -> Result<Option<Error>> {
    if store(state)?.is_some() {
        return Ok(None);
    }
    match try_out() {
        Err(error) if error.is_denied() => return Ok(Some(error)),
        tried => tried?,
    }
    let _host = state.lock_host(patience)?;
    // Another login may have been first.
    if store(state)?.is_some() {
        return Ok(None);
    }
    on_host(|| {
        make_state_private(state)?;
        let path = path_of_store(state);
        create(&path)?;
        let prepare = || draw_from_host().and_then(|()| keep_alone(state.directory()));
        make_pinned(&path, &path, &own_namespace()?, &prepare).map(|_| None)
    })
}

/// Does `work` in the mount namespace of process 1. Where that cannot be entered, as root without
/// CAP_SYS_PTRACE cannot, in the one that this process is in.
fn on_host<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static ELSEWHERE: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let elsewhere = ELSEWHERE.get_or_init(|| match super::holds(&own_namespace().ok()?, 1) {
        Ok(false) => File::open("/proc/1/ns/mnt").ok().map(OwnedFd::from),
        _ => None,
    });
    match elsewhere {
        Some(host) => within(host, work),
        None => work(),
    }
}

/// Makes `directory`, which is a mount, all that is in the namespace of this process.
fn keep_alone(directory: &Path) -> Result<()> {
    let about = |e: Errno| Error::os("make a namespace of", directory.display())(e);
    rustix::process::chdir(directory).map_err(about)?;
    match rustix::process::pivot_root(".", ".") {
        // The root of before is over the new one (pivot_root(2), "pivot_root(".", ".")").
        Ok(()) => unmount(".", UnmountFlags::DETACH).map_err(about),
        // The root that a kernel boots with cannot be exchanged, and containers filter the call: over
        // it the directory is the root for who enters, too. What the host had mounted stays below.
        Err(_) => mount_move(".", "/").map_err(about),
    }
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
        Some(store) => within(&store, || open_pin(&path_in_store(uid))),
        None => Ok(None),
    }
}

/// Lets go of the user's namespace: the kernel ends it with the last process in it.
pub fn release(state: &State, uid: u32) -> Result<()> {
    let path = path_of(state, uid);
    if let Some(store) = store(state)? {
        // Once for each mount: two builds may have followed upon each other after a crash.
        let pin = path_in_store(uid);
        let unmount_all = || {
            while unmount(&pin, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
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
    let none = || Error::new("find", path_of_store(state).display(), "it existed a moment ago");
    let store = store(state)?.ok_or_else(none)?;
    make_pinned(&path, &path_in_store(uid), &store, &draw_from_host)
}

fn create(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map(drop).map_err(Error::os("create", path.display()))
}

fn store(state: &State) -> Result<Option<OwnedFd>> {
    on_host(|| open_pin(&path_of_store(state)))
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

/// [`path_of`] from the store's root.
fn path_in_store(uid: u32) -> PathBuf {
    Path::new("/user").join(uid.to_string()).join("ns").join("mnt")
}

/// Before the first mount in a new namespace: from here on nothing made inside reaches the host,
/// whatever the host's own mounts share, and what the host mounts still arrives.
pub fn draw_from_host() -> Result<()> {
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).map_err(Error::os("make slaves of", "all mounts"))
}

/// A new namespace that `prepare` was done in, pinned on `path` in `holder`. `name` is that path as
/// the host has it.
///
/// The kernel pins only namespaces that are younger than the one that the pin is in, and
/// goes by their ids (`mnt_ns_loop`). Linux 6.18 hands out ids per CPU, so a new namespace
/// may count as older. One made on the CPU that made
/// the holder never does.
fn make_pinned(
    name: &Path,
    path: &Path,
    holder: &OwnedFd,
    prepare: &dyn Fn() -> Result<()>,
) -> Result<OwnedFd> {
    let cpus = sched_getaffinity(None).map_err(Error::os("ask for", "the CPUs of this process"))?;
    let make_and_pin = || {
        let namespace = new_namespace(prepare)?;
        pin(&namespace, name, path, holder).map(|()| namespace)
    };
    let mut result = make_and_pin();
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)) {
        if !result.as_ref().is_err_and(|error| error.errno == Some(Errno::LOOP.raw_os_error())) {
            break;
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).map_err(Error::os("move to", format!("CPU {cpu}")))?;
        result = make_and_pin();
    }
    sched_setaffinity(None, &cpus).map_err(Error::os("return to", "the CPUs of before"))?;
    result
}

/// A new namespace that `prepare` was done in, pinned nowhere.
pub fn new_namespace(prepare: &dyn Fn() -> Result<()>) -> Result<OwnedFd> {
    let host = own_namespace()?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::os("make", "a mount namespace"))?;
    // First: there may be no /proc any more afterwards.
    let made = own_namespace().and_then(|namespace| prepare().map(|()| namespace));
    come_back(&host);
    made
}

fn pin(namespace: &OwnedFd, name: &Path, path: &Path, holder: &OwnedFd) -> Result<()> {
    let about = |e: Errno| Error::os("pin the namespace on", name.display())(e);
    within(holder, || {
        let file = copy_mount(namespace, Path::new("")).map_err(about)?;
        attach(&file, path).map_err(about)
    })
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
