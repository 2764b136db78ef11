//! One cgroup's directory: made, given controllers, entered, emptied and removed.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::file;
use super::hierarchy::{Controller, Hierarchy, Version};
use crate::error::{Error, Result};

pub(super) fn is_cpuset_alone(hierarchy: &Hierarchy) -> bool {
    hierarchy.version == Version::Legacy
        && Controller::ALL.iter().all(|c| hierarchy.carries(*c) == (*c == Controller::Cpuset))
}

/// Whether it had to be made.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::os("create cgroup", path.display())(error)),
    }
}

/// Whether it is gone; not when it is in use.
pub(super) fn remove_directory(path: &Path) -> Result<bool> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // Asked of a read-only cgroupfs first, whether there is anything to remove or not.
        Err(Errno::ROFS) if !path.exists() => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(Error::os("remove cgroup", path.display())(error)),
    }
}

/// Gives v1's cpuset its parent's CPUs and memory nodes: without them it takes no process.
pub(super) fn inherit_cpuset(hierarchy: &Hierarchy, directory: &Path) -> Result<()> {
    if hierarchy.version == Version::Unified || !hierarchy.carries(Controller::Cpuset) {
        return Ok(());
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(name);
        if file::read(&own).is_some_and(|value| value.is_empty()) {
            let above = file::read(&parent.join(name)).unwrap_or_default();
            file::write(&own, &above)?;
        }
    }
    Ok(())
}

/// Enables for the children of a v2 cgroup what it has and they lack, one by one: what
/// others enabled there stays, and one refusal does not cost the rest.
pub(super) fn hand_down(hierarchy: &Hierarchy, directory: &Path) -> Vec<(Controller, Error)> {
    if hierarchy.version == Version::Legacy {
        return Vec::new();
    }
    // Without controllers on v2, as on most hybrid hosts, there is nothing to look up.
    if !Controller::ALL.iter().any(|controller| hierarchy.carries(*controller)) {
        return Vec::new();
    }
    let has = file::read(&directory.join("cgroup.controllers")).unwrap_or_default();
    let control = directory.join("cgroup.subtree_control");
    let enabled = file::read(&control).unwrap_or_default();
    let within = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    let lacking: Vec<(Controller, &str)> = Controller::ALL
        .into_iter()
        .map(|controller| (controller, controller.name(Version::Unified)))
        .filter(|(_, name)| within(&has, name) && !within(&enabled, name))
        .collect();
    let barred = !lacking.is_empty() && is_inner_with_processes(directory);
    let enable = |name: &str| match barred {
        true => Err(Error::os(format!("write \"+{name}\" to"), control.display())(Errno::BUSY)),
        false => file::write(&control, &format!("+{name}")),
    };
    lacking.into_iter().filter_map(|(c, name)| enable(name).err().map(|error| (c, error))).collect()
}

/// Whether controllers must not be handed down from here, because the cgroup has processes
/// and is not the root of all, which alone has no `cgroup.type`.
///
/// The kernel would refuse memory and io, but hand down cpu, cpuset and pids for threads:
/// the cgroups below could then take no process at all (`cgroup-v2.rst`, "domain invalid").
fn is_inner_with_processes(directory: &Path) -> bool {
    directory.join("cgroup.type").exists() && !processes(directory).is_empty()
}

pub(super) fn move_process(pid: u32, directory: &Path) -> Result<()> {
    file::write(&directory.join("cgroup.procs"), &pid.to_string())
}

pub(super) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Of a cgroup and all below it.
pub(super) fn processes_below(directory: &Path) -> Vec<u32> {
    let mut pids = processes(directory);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(processes_below(&entry.path()));
        }
    }
    pids
}

pub(super) fn processes(directory: &Path) -> Vec<u32> {
    let text = file::read(&directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
