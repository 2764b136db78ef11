//! What a user's mount namespace shows: an own /proc, of all users' cgroups the own one, and
//! nothing of our state.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, UnmountFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_string, fsmount, fsopen, fspick, unmount,
};

use super::below_proc::Copies;
use super::{Shown, attach, copy_mount};
use crate::cgroup::{self, Hierarchy, Tree, Version};
use crate::config::value::HidePid;
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::state::{State, make_directory_of_mode};

/// In a sandbox's empty `/run/cgsandbox`: tells the `cgsandbox` command where it runs.
const INSIDE: &str = "inside-a-sandbox";

/// Mounts it all in the mount namespace that this process is in.
pub fn furnish(state: &State, tree: &Tree, uid: u32, shown: Shown) -> Result<()> {
    let mounts = kernel_file::mountinfo()?;
    hide_processes(&mounts, shown.hidepid)?;
    let covers = Covers::over(state)?;
    if !shown.cgroups {
        hide_cgroups(&covers, &mounts, tree, uid)?;
    }
    covers.hide_themselves()
}

/// Changes how much the /proc of the mount namespace that this process is in shows.
pub fn adjust_procfs(hidepid: HidePid) -> Result<()> {
    let about = |e: Errno| Error::os(format!("set hidepid={hidepid} on"), "the sandbox's /proc")(e);
    let procfs = fspick(CWD, "/proc", FsPickFlags::FSPICK_CLOEXEC).map_err(about)?;
    fsconfig_set_string(&procfs, "hidepid", hidepid.to_string()).map_err(about)?;
    fsconfig_reconfigure(&procfs).map_err(about)
}

/// Hides the cgroups of other users, or shows them, in the mount namespace that this process is in.
pub fn adjust_cgroups(state: &State, tree: &Tree, uid: u32, shown: bool) -> Result<()> {
    let mounts = kernel_file::mountinfo()?;
    let covered = covered(&mounts, tree);
    if shown {
        for root in covered {
            unmount(&root, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                .map_err(Error::os("show other users' cgroups at", root.display()))?;
        }
        return Ok(());
    }
    if !covered.is_empty() {
        return Ok(());
    }
    let covers = Covers::over(state)?;
    hide_cgroups(&covers, &mounts, tree, uid)?;
    covers.hide_themselves()
}

/// Where [`hide_cgroups`] has put its covers, by the `mountinfo` of a user's view.
fn covered(mountinfo: &str, tree: &Tree) -> Vec<PathBuf> {
    let hierarchies = tree.everywhere(cgroup::find(mountinfo));
    let mut roots: Vec<PathBuf> = hierarchies.iter().map(|it| tree.root_in(it)).collect();
    let is_mount = |root: &PathBuf| {
        mountinfo
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .any(|at| Path::new(&crate::cgroup::unescape(at)) == root)
    };
    roots.retain(is_mount);
    roots
}

/// Mounts what [`furnish`] mounts everywhere, to see whether the host allows it.
pub fn try_out() -> Result<()> {
    let about = |e: Errno| Error::os("mount", "a procfs and a tmpfs of a sandbox's own")(e);
    // In this order: SELinux allows a procfs to be mounted on, and a tmpfs not.
    attach(&new_procfs(HidePid::Invisible)?, Path::new("/proc")).map_err(about)?;
    attach(&new_tmpfs()?, Path::new("/proc")).map_err(about)
}

/// Why this kernel cannot give a mount namespace its own procfs; nothing when it can. An error where
/// that cannot be told just now.
pub fn lack() -> Result<Option<Error>> {
    match procfs_context(HidePid::Invisible) {
        Ok(_) => Ok(None),
        Err(error) if error.is_shortage() => Err(error),
        Err(mut error) => {
            let why = match error.errno == Some(Errno::PERM.raw_os_error()) {
                true => "root has no CAP_SYS_ADMIN here, or this container denies it",
                false => "it needs Linux 5.8",
            };
            error.cause = format!("{}; {why}", error.cause);
            Ok(Some(error))
        }
    }
}

/// Whether this process is inside a sandbox, where the state is not to be seen.
pub fn is_inside(state: &State) -> bool {
    state.directory().join(INSIDE).exists()
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

/// Puts an own procfs over /proc, and over every other procfs that is mounted somewhere. What else
/// the host has mounted below /proc is there as before.
fn hide_processes(mounts: &str, hidepid: HidePid) -> Result<()> {
    let below = Copies::of(mounts)?;
    let procfs = new_procfs(hidepid)?;
    let others = other_procfs(mounts);
    // First of all, for before Linux 6.15 only a mount that is somewhere can be copied.
    attach(&procfs, Path::new("/proc"))
        .map_err(Error::os("mount the sandbox's procfs over", "/proc"))?;
    for other in others {
        let about = |e: Errno| Error::os("mount the sandbox's procfs over", &other)(e);
        let copy = copy_mount(&procfs, Path::new("")).map_err(about)?;
        attach(&copy, Path::new(&other)).map_err(about)?;
    }
    below.attach()
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
/// would tell who is logged in and what they run. In every hierarchy, for others may have cgroups
/// where this one has none, and systemd has all of them in its own.
fn hide_cgroups(covers: &Covers, mounts: &str, tree: &Tree, uid: u32) -> Result<()> {
    for hierarchy in &tree.everywhere(cgroup::find(mounts)) {
        let (root, own) = (tree.root_in(hierarchy), tree.user_in(hierarchy, uid));
        let about = |e: Errno| Error::os("hide other users' cgroups at", root.display())(e);
        let view = match copy_mount(CWD, &own) {
            Err(Errno::NOENT) => None,
            view => Some(view.map_err(about)?),
        };
        let files = files_of_root(hierarchy, &root).map_err(about)?;
        // The same directory serves all hierarchies of v1.
        let cover = covers.cover(match hierarchy.version {
            Version::Unified => "v2",
            Version::Legacy => "v1",
        })?;
        attach(&cover, &root).map_err(about)?;
        if let Some(view) = view {
            make_directory_of_mode(&own, 0o755)?;
            attach(&view, &own).map_err(about)?;
        }
        for (name, file) in files {
            let path = root.join(name);
            let missing = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            missing.map_err(Error::os("create", path.display()))?;
            attach(&file, &path).map_err(about)?;
        }
    }
    Ok(())
}

/// What of v2's cgroup above all users' stays to be seen: container runtimes ask each level on their
/// way down for its controllers. v1 has no such files.
fn files_of_root(
    hierarchy: &Hierarchy,
    root: &Path,
) -> rustix::io::Result<Vec<(&'static str, OwnedFd)>> {
    let names: &[_] = match hierarchy.version {
        Version::Unified => &["cgroup.controllers", "cgroup.subtree_control"],
        Version::Legacy => &[],
    };
    names.iter().map(|name| Ok((*name, copy_mount(CWD, &root.join(name))?))).collect()
}

/// The directories that are put over what is not to be seen, all of one tmpfs: the kernel walks
/// the file systems of all users with every cgroup that it removes.
struct Covers<'s> {
    /// Of our state; the tmpfs is over it.
    directory: &'s Path,
}

impl<'s> Covers<'s> {
    /// Makes them, over our state to begin with: before Linux 6.15 only a mount that is somewhere
    /// can be copied.
    fn over(state: &'s State) -> Result<Self> {
        let directory = state.directory();
        let about = |e: Errno| Error::os("hide", directory.display())(e);
        attach(&new_tmpfs()?, directory).map_err(about)?;
        Ok(Self { directory })
    }

    /// The one of that name, mounted nowhere yet.
    fn cover(&self, name: &str) -> Result<OwnedFd> {
        let path = self.directory.join(name);
        make_directory_of_mode(&path, 0o755)?;
        copy_mount(CWD, &path).map_err(Error::os("copy the mount of", path.display()))
    }

    /// Puts one over all of them: nothing of them is to be seen where our state would be, but the
    /// word that this is a sandbox.
    fn hide_themselves(self) -> Result<()> {
        let about = |e: Errno| Error::os("hide", self.directory.display())(e);
        attach(&self.cover("state")?, self.directory).map_err(about)?;
        let marker = self.directory.join(INSIDE);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&marker)
            .map(drop)
            .map_err(Error::os("create", marker.display()))
    }
}

fn new_tmpfs() -> Result<OwnedFd> {
    let about = |e: Errno| Error::os("make", "a tmpfs")(e);
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(about)?;
    fsconfig_set_string(&context, "source", "cgsandbox").map_err(about)?;
    fsconfig_set_string(&context, "mode", "0755").map_err(about)?;
    fsconfig_create(&context).map_err(about)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, hardened()).map_err(about)
}

fn hardened() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}
