//! What this host offers: looked up once, before a plan is made.

mod foresight;
#[cfg(test)]
mod made_up;
#[cfg(test)]
pub(crate) use made_up::{Made, Offer};

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cgroup::{self, Controller, Owner, Tree, Version};
use crate::config::value::HidePid;
use crate::error::{Error, Result};
use crate::policy::Profile;
use crate::state::State;
use crate::{kernel_file, loopback, namespace};

/// Files that a controller may come without.
const OPTIONAL_FILES: [(Controller, Version, &str); 12] = [
    (Controller::Memory, Version::Unified, "memory.swap.max"),
    (Controller::Memory, Version::Legacy, "memory.memsw.limit_in_bytes"),
    (Controller::Cpu, Version::Unified, "cpu.max"),
    (Controller::Cpu, Version::Legacy, "cpu.cfs_quota_us"),
    (Controller::Io, Version::Unified, "io.max"),
    (Controller::Io, Version::Unified, "io.weight"),
    (Controller::Io, Version::Unified, "io.bfq.weight"),
    (Controller::Io, Version::Legacy, "blkio.throttle.read_bps_device"),
    (Controller::Io, Version::Legacy, "blkio.throttle.read_iops_device"),
    (Controller::Io, Version::Legacy, "blkio.throttle.write_bps_device"),
    (Controller::Io, Version::Legacy, "blkio.bfq.weight"),
    (Controller::Io, Version::Legacy, "blkio.weight"),
];

/// A whole disk, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disk {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The facts that a plan depends on.
#[derive(Debug)]
pub struct Host {
    /// The cgroup hierarchies in use.
    pub tree: Tree,
    /// All mounts, in the words of proc_pid_mountinfo(5).
    pub mountinfo: String,
    /// All of the memory, in bytes.
    pub memory_bytes: u64,
    /// Why there can be no own procfs for a user, if that is so.
    pub no_procfs: Option<Error>,
    /// Why there are no cgroups, where the host has none that can be written.
    pub no_cgroups: Option<String>,
    /// Why no user can have a private localhost, if that is so.
    pub no_loopback: Option<String>,
    absent_files: Vec<&'static str>,
    refused: BTreeMap<Controller, String>,
    disks: BTreeMap<PathBuf, std::result::Result<Disk, String>>,
}

impl Host {
    /// Looks without changing anything. `cgroup_root` is the configured one.
    pub fn look(cgroup_root: &str) -> Result<Self> {
        let mountinfo = kernel_file::mountinfo()?;
        let tree = Tree::of_host(&cgroup::find(&mountinfo), cgroup_root);
        let none = tree.hierarchies().is_empty();
        let no_loopback = loopback::lack(&tree);
        Ok(Host {
            tree,
            mountinfo,
            memory_bytes: memory_bytes(),
            no_procfs: namespace::lack()?,
            no_loopback,
            no_cgroups: none.then(|| "no cgroup hierarchy is mounted".to_owned()),
            absent_files: Vec::new(),
            refused: BTreeMap::new(),
            disks: BTreeMap::new(),
        })
    }

    /// How much `/proc` can show of others by `profile`.
    pub fn hidepid(&self, profile: &Profile) -> HidePid {
        match self.no_procfs {
            Some(_) => HidePid::Off,
            None => profile.hidepid(),
        }
    }

    /// Makes the cgroup above all users', so that it is known rather than guessed which
    /// controllers and files there are. Goes on without cgroups where the host has them for show.
    pub fn prepare_cgroups(&mut self, state: &State) -> Result<()> {
        match self.make_cgroup_root(state) {
            Err(error) if error.is_lack() => {
                self.give_up_cgroups(&error);
                Ok(())
            }
            made => made,
        }
    }

    fn make_cgroup_root(&mut self, state: &State) -> Result<()> {
        if self.tree.owner() == Owner::Systemd {
            return Ok(());
        }
        for (controller, error) in self.tree.prepare(|cgroup| state.note_root(cgroup))? {
            let remedy = "the cgroup has processes of its own; move them to a child of it";
            let why = match error.errno == Some(rustix::io::Errno::BUSY.raw_os_error()) {
                true => format!("{error}: {remedy}"),
                false => error.to_string(),
            };
            self.refused.insert(controller, why);
        }
        self.look_for_files();
        Ok(())
    }

    /// Goes on without cgroups, where the host turned out to have them for show.
    pub fn give_up_cgroups(&mut self, why: &Error) {
        self.tree = Tree::of(&[], self.tree.owner(), self.tree.root());
        self.no_cgroups = Some(why.to_string());
        self.no_loopback = loopback::lack(&self.tree);
    }

    /// Finds the disks that `profile` limits by path.
    pub fn look_for_disks(&mut self, profile: &Profile) {
        let lists = [
            &profile.io_read_bandwidth_max,
            &profile.io_write_bandwidth_max,
            &profile.io_read_iops_max,
            &profile.io_write_iops_max,
        ];
        for limit in lists.into_iter().flatten().flat_map(|list| list.value.iter()) {
            self.disks.entry(PathBuf::from(&limit.path)).or_insert_with_key(|path| disk_of(path));
        }
    }

    /// The disk that [`Host::look_for_disks`] found below `path`.
    pub fn disk(&self, path: &Path) -> std::result::Result<Disk, String> {
        match self.disks.get(path) {
            Some(found) => found.clone(),
            None => Err(format!("{} was not checked", path.display())),
        }
    }

    /// Which version of cgroups carries `controller` here, or why none does.
    pub fn carries(&self, controller: Controller) -> std::result::Result<Version, String> {
        let Some(hierarchy) = self.tree.carrier(controller) else {
            return Err(format!(
                "no mounted cgroup hierarchy has the {} controller",
                controller.name(Version::Unified)
            ));
        };
        match self.refused.get(&controller) {
            Some(why) => Err(why.clone()),
            None => Ok(hierarchy.version),
        }
    }

    /// Whether the kernel is known to have no such file in our cgroups.
    pub fn lacks_file(&self, file: &str) -> bool {
        self.absent_files.contains(&file)
    }

    /// Can only tell once the cgroup above all users' is there.
    fn look_for_files(&mut self) {
        // systemd gives its slices the controllers, and so the files, that are asked for.
        if self.tree.owner() == Owner::Systemd {
            return;
        }
        let tree = &self.tree;
        let here = |(controller, version, file): (Controller, Version, &'static str)| {
            let hierarchy = tree.carrier(controller).filter(|h| h.version == version)?;
            let root = tree.root_in(hierarchy);
            // The other file tells a cgroup without this one from no cgroup at all.
            let is_absent = !root.join(file).exists() && root.join("cgroup.procs").exists();
            is_absent.then_some(file)
        };
        self.absent_files = OPTIONAL_FILES.into_iter().filter_map(here).collect();
    }
}

/// All of the memory (sysinfo(2)).
fn memory_bytes() -> u64 {
    let about = rustix::system::sysinfo();
    about.totalram as u64 * u64::from(about.mem_unit)
}

/// The whole disk that `path`, a device or a file, is on: `io.max` takes no partition.
fn disk_of(path: &Path) -> std::result::Result<Disk, String> {
    let about = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_device = about.mode() & 0o170_000 == 0o060_000;
    let device = if is_device { about.rdev() } else { about.dev() };
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    if major == 0 {
        return Err(format!(
            "{} is on a file system without a disk of its own (overlay, btrfs, tmpfs, network); name the device",
            path.display()
        ));
    }
    let sysfs = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !sysfs.join("partition").exists() {
        return Ok(Disk { major, minor });
    }
    let number = std::fs::canonicalize(&sysfs)
        .ok()
        .and_then(|partition| std::fs::read_to_string(partition.parent()?.join("dev")).ok())
        .ok_or_else(|| format!("the disk of partition {major}:{minor} is not in /sys"))?;
    let parse = |text: &str| {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()? })
    };
    parse(&number).ok_or_else(|| format!("{number} is not a device number"))
}
