//! The user's mount namespace: its own /proc, and nothing of ours or of other users' cgroups.
//!
//! The first session of a user builds it and pins it as an nsfs file below
//! `/run/cgsandbox`; later ones join the same, so that tmux and everything else of the
//! user's sees the same mounts. No process has to live on for it, and the last session
//! out unpins it.
//!
//! Everything needs the mount API of Linux 5.8. Older kernels have one set of options
//! for all procfs mounts of a pid namespace: mounting one with `hidepid=` there would
//! change the host's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_string,
    fsmount, fsopen, fspick, mount_bind, mount_change, move_mount, open_tree, unmount,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cgroup::Tree;
use crate::config::value::HidePid;
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::state::{State, make_directory};

/// In a sandbox's empty `/run/cgsandbox`: tells the `cgsandbox` command where it runs.
const INSIDE: &str = "inside-a-sandbox";

/// `f_type` of nsfs (statfs(2)).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Why this kernel cannot give a mount namespace its own procfs; nothing when it can.
pub fn lack() -> Option<Error> {
    procfs_context(HidePid::Invisible).err().map(|mut error| {
        error.cause = format!("{}; it takes Linux 5.8", error.cause);
        error
    })
}

/// The user's namespace, joined when it is there and else built.
pub fn obtain(state: &State, tree: &Tree, uid: u32, hidepid: HidePid) -> Result<OwnedFd> {
    match pinned(state, uid)? {
        Some(namespace) if note(state, uid).exists() => {
            adjust(state, uid, &namespace, hidepid)?;
            Ok(namespace)
        }
        // Pinned, and its builder died before it was furnished: nobody is in it.
        Some(_) => {
            release(state, uid)?;
            build(state, tree, uid, hidepid)
        }
        None => build(state, tree, uid, hidepid),
    }
}

/// The user's namespace where one is pinned.
pub fn pinned(state: &State, uid: u32) -> Result<Option<OwnedFd>> {
    let path = pin(state, uid);
    let file = match OpenOptions::new().read(true).custom_flags(libc_o_nofollow()).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::os("open", path.display())(error)),
    };
    let about = rustix::fs::fstatfs(&file).map_err(Error::os("look at", path.display()))?;
    // Without the mount over it, it is a plain empty file: a build that did not come to its end.
    #[allow(clippy::unnecessary_cast)] // f_type's width differs between architectures.
    Ok((about.f_type as i64 == NSFS_MAGIC).then(|| OwnedFd::from(file)))
}

/// Lets go of the user's namespace: the kernel ends it with the last process in it.
pub fn release(state: &State, uid: u32) -> Result<()> {
    let path = pin(state, uid);
    // Once for each mount: two builds may have followed upon each other after a crash.
    while unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
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

/// Whether process `pid` is in `namespace`, as the kernel tells it.
pub fn holds(namespace: &OwnedFd, pid: u32) -> Result<bool> {
    let path = format!("/proc/{pid}/ns/mnt");
    let of_process = std::fs::metadata(&path).map_err(Error::os("look at", &path))?;
    let of_namespace =
        rustix::fs::fstat(namespace).map_err(Error::os("look at", "the pinned namespace"))?;
    Ok((of_process.dev(), of_process.ino()) == (of_namespace.st_dev, of_namespace.st_ino))
}

/// Makes the state directory a mount of its own that passes nothing on: the kernel
/// refuses to pin a namespace on a mount that would be copied into that namespace.
pub fn make_state_private(state: &State, mountinfo: &str, patience: Duration) -> Result<()> {
    let directory = state.directory();
    if is_private_mount(directory, mountinfo) {
        return Ok(());
    }
    let _host = state.lock_host(patience)?;
    // Another login may have been first.
    let mountinfo = kernel_file::mountinfo()?;
    if is_private_mount(directory, &mountinfo) {
        return Ok(());
    }
    let name = directory.display();
    mount_bind(directory, directory).map_err(Error::os("bind", format!("{name} onto itself")))?;
    mount_change(directory, MountPropagationFlags::PRIVATE).map_err(Error::os("make private", name))
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

/// Whether this process is inside a sandbox, where the state is not to be seen.
pub fn is_inside(state: &State) -> bool {
    state.directory().join(INSIDE).exists()
}

fn pin(state: &State, uid: u32) -> PathBuf {
    state.user(uid).join("ns").join("mnt")
}

fn note(state: &State, uid: u32) -> PathBuf {
    state.user(uid).join("hidepid")
}

fn build(state: &State, tree: &Tree, uid: u32, hidepid: HidePid) -> Result<OwnedFd> {
    let path = pin(state, uid);
    make_directory(&state.user(uid))?;
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(Error::os("create", path.display()))?;

    let namespace = make_pinned(&path)?;
    within(&namespace, || {
        hide_processes(hidepid)?;
        hide_cgroups(tree, uid)?;
        hide_state(state)
    })?;
    // Last: it says that the namespace is furnished.
    state.write(&note(state, uid), hidepid.to_string().as_bytes())?;
    Ok(namespace)
}

/// A new namespace, a slave of the host's, pinned on `path`.
///
/// The kernel pins only namespaces that are younger than the one that the pin is in, and
/// goes by their ids (`mnt_ns_loop`). Linux 6.18 hands out ids per CPU, so a new namespace
/// may count as older. One made on the CPU that made the host's never does.
fn make_pinned(path: &Path) -> Result<OwnedFd> {
    let cpus = sched_getaffinity(None).map_err(Error::os("ask for", "the CPUs of this process"))?;
    let mut result = make_and_pin(path);
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)) {
        if !result.as_ref().is_err_and(|error| error.errno == Some(Errno::INVAL.raw_os_error())) {
            break;
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).map_err(Error::os("move to", format!("CPU {cpu}")))?;
        result = make_and_pin(path);
    }
    sched_setaffinity(None, &cpus).map_err(Error::os("return to", "the CPUs of before"))?;
    result
}

fn make_and_pin(path: &Path) -> Result<OwnedFd> {
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
    mount_bind(open.as_str(), path).map_err(Error::os("pin the namespace on", path.display()))?;
    Ok(namespace)
}

/// Does `work` in `namespace` and comes back.
fn within<T>(namespace: &OwnedFd, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let host = own_namespace()?;
    enter(namespace)?;
    let done = work();
    enter(&host)?;
    done
}

fn enter(namespace: &OwnedFd) -> Result<()> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)
        .map_err(Error::os("enter", "a mount namespace"))
}

/// Brings the /proc of a namespace that is in use to what the policy says now.
fn adjust(state: &State, uid: u32, namespace: &OwnedFd, hidepid: HidePid) -> Result<()> {
    let note = note(state, uid);
    if std::fs::read_to_string(&note).is_ok_and(|mounted| mounted == hidepid.to_string()) {
        return Ok(());
    }
    within(namespace, || {
        let about =
            |e: Errno| Error::os(format!("set hidepid={hidepid} on"), "the sandbox's /proc")(e);
        let procfs = fspick(CWD, "/proc", FsPickFlags::FSPICK_CLOEXEC).map_err(about)?;
        fsconfig_set_string(&procfs, "hidepid", hidepid.to_string()).map_err(about)?;
        fsconfig_reconfigure(&procfs).map_err(about)
    })?;
    state.write(&note, hidepid.to_string().as_bytes())
}

fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/mnt";
    File::open(path).map(OwnedFd::from).map_err(Error::os("open", path))
}

/// A procfs instance of its own, not mounted anywhere yet.
fn new_procfs(hidepid: HidePid) -> Result<OwnedFd> {
    let about = |e: Errno| Error::os("make", format!("a procfs with hidepid={hidepid}"))(e);
    let context = procfs_context(hidepid)?;
    fsconfig_create(&context).map_err(about)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, hardened()).map_err(about)
}

/// A procfs instance as far as it is only asked for: this shows whether the kernel can.
fn procfs_context(hidepid: HidePid) -> Result<OwnedFd> {
    let about = |e: Errno| Error::os("ask for", format!("a procfs with hidepid={hidepid}"))(e);
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).map_err(about)?;
    // By name, not by number: names came with the options that belong to one instance,
    // so a kernel whose options are the whole pid namespace's refuses here.
    fsconfig_set_string(&context, "hidepid", hidepid.to_string()).map_err(about)?;
    Ok(context)
}

/// Puts an own procfs over /proc, and over every other procfs that is mounted somewhere.
fn hide_processes(hidepid: HidePid) -> Result<()> {
    let procfs = new_procfs(hidepid)?;
    let others = other_procfs(&kernel_file::mountinfo()?);
    // First of all, for before Linux 6.15 only a mount that is somewhere can be copied.
    attach(&procfs, Path::new("/proc"))
        .map_err(Error::os("mount the sandbox's procfs over", "/proc"))?;
    for other in others {
        let about = |e: Errno| Error::os("mount the sandbox's procfs over", &other)(e);
        let copy = copy_mount(&procfs, Path::new("")).map_err(about)?;
        attach(&copy, Path::new(&other)).map_err(about)?;
    }
    Ok(())
}

/// Where `mountinfo` has a procfs other than at /proc and below it.
fn other_procfs(mountinfo: &str) -> Vec<String> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, mount) = (fields.next()?, fields.next()?);
            let other = root == "/" && mount != "/proc" && !mount.starts_with("/proc/");
            (after.starts_with("proc ") && other).then(|| crate::cgroup::unescape(mount))
        })
        .collect()
}

/// Shows, of all users' cgroups, this one's: names, members and numbers of the others
/// would tell who is logged in and what they run.
fn hide_cgroups(tree: &Tree, uid: u32) -> Result<()> {
    // The same empty directory serves all hierarchies.
    let cover = new_tmpfs()?;
    for (at, hierarchy) in tree.hierarchies().iter().enumerate() {
        let (root, own) = (tree.root_in(hierarchy), tree.user_in(hierarchy, uid));
        let about = |e: Errno| Error::os("hide other users' cgroups at", root.display())(e);
        let view = copy_mount(CWD, &own).map_err(about)?;
        match at {
            0 => attach(&cover, &root).map_err(about)?,
            // Of the one that is attached: before Linux 6.15 others cannot be copied.
            _ => {
                attach(&copy_mount(&cover, Path::new("")).map_err(about)?, &root).map_err(about)?
            }
        }
        match DirBuilder::new().mode(0o755).create(&own) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::os("create", own.display())(error));
            }
            _ => {}
        }
        attach(&view, &own).map_err(about)?;
    }
    Ok(())
}

/// A copy of the mount at `path`, or of `from` itself where that is empty, mounted nowhere.
fn copy_mount(from: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(from, path, flags)
}

/// Puts an empty directory over our state.
fn hide_state(state: &State) -> Result<()> {
    let directory = state.directory();
    let about = |e: Errno| Error::os("hide", directory.display())(e);
    attach(&new_tmpfs()?, directory).map_err(about)?;
    let marker = directory.join(INSIDE);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&marker)
        .map(drop)
        .map_err(Error::os("create", marker.display()))
}

fn new_tmpfs() -> Result<OwnedFd> {
    let about = |e: Errno| Error::os("make", "a tmpfs")(e);
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(about)?;
    fsconfig_set_string(&context, "source", "cgsandbox").map_err(about)?;
    fsconfig_set_string(&context, "mode", "0755").map_err(about)?;
    fsconfig_create(&context).map_err(about)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, hardened()).map_err(about)
}

fn attach(mount: &OwnedFd, target: &Path) -> rustix::io::Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn hardened() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn libc_o_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}
