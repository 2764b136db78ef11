//! Writing a user's limits, so that a cgroup in use is never left without one.

use std::path::{Path, PathBuf};

use super::attribute::{Attribute, Unfit};
use super::file;
use super::hierarchy::{Controller, Hierarchy, Version};
use super::tree::Tree;

/// Brings the user's cgroup to what `attributes` say; the directives that it could not, and why.
///
/// Those of its directories that are in `made` are new.
pub fn apply(tree: &Tree, uid: u32, attributes: &[Attribute], made: &[PathBuf]) -> Vec<Unfit> {
    let of_user = |hierarchy: &Hierarchy| {
        let directory = tree.user_in(hierarchy, uid);
        let is_new = made.contains(&directory);
        (directory, is_new)
    };
    bring(tree, attributes, of_user)
}

/// Brings a session's cgroup, a new one or one in use, to what `attributes` say; the directives
/// that it could not, and why.
pub fn apply_to_session(
    tree: &Tree,
    uid: u32,
    leaf: &str,
    attributes: &[Attribute],
    is_new: bool,
) -> Vec<Unfit> {
    bring(tree, attributes, |hierarchy| (tree.session_in(hierarchy, uid, leaf), is_new))
}

/// In a cgroup that is new the kernel's defaults stand already. In one that is in use, only what
/// differs is written.
fn bring(
    tree: &Tree,
    attributes: &[Attribute],
    cgroup: impl Fn(&Hierarchy) -> (PathBuf, bool),
) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    for controller in Controller::ALL {
        let Some(hierarchy) = tree.carrier(controller) else { continue };
        let (directory, is_new) = cgroup(hierarchy);
        let wanted: Vec<&Attribute> = attributes
            .iter()
            .filter(|a| a.controller == controller && !(is_new && a.origin.is_none()))
            .collect();
        if controller == Controller::Cpuset {
            let bring = |cpus| move_to_cpus(&directory, hierarchy.version, cpus);
            unfit.extend(wanted.into_iter().filter_map(bring));
            continue;
        }
        if !is_new && controller == Controller::Io {
            lift_stale_disk_limits(&directory, hierarchy.version, &wanted);
        }
        if is_new || wanted.iter().any(|attribute| !stands(&directory, attribute)) {
            if !is_new && controller == Controller::Memory {
                ease(&directory, hierarchy.version, &wanted);
            }
            unfit.extend(wanted.into_iter().filter_map(|attribute| write(&directory, attribute)));
        }
    }
    unfit
}

fn write(directory: &Path, attribute: &Attribute) -> Option<Unfit> {
    let Attribute { directive, file: name, disk, value, .. } = attribute;
    let line = match disk {
        Some(disk) => format!("{disk} {value}"),
        None => value.clone(),
    };
    let error = file::write(&directory.join(name), &line).err()?;
    // What the policy does not ask for is missed by nobody.
    attribute.origin.as_ref()?;
    Some(Unfit { directive, why: error.to_string() })
}

/// Whether the cgroup shows what `attribute` says.
pub fn stands(directory: &Path, attribute: &Attribute) -> bool {
    let Some(content) = file::read(&directory.join(attribute.file)) else { return false };
    match attribute.disk {
        // v1 shows "no limit", written as -1, as the largest multiple of a page.
        None if attribute.value == "-1" => {
            content == "-1" || content.parse::<u64>().is_ok_and(|limit| limit >= 1 << 62)
        }
        None if attribute.file.starts_with("memory.") => {
            in_pages(&content) == in_pages(&attribute.value)
        }
        None => content == attribute.value.trim_end(),
        Some(disk) => content.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&disk.to_string()) && words.any(|word| word == attribute.value)
        }),
    }
}

/// The kernel counts memory in pages.
fn in_pages(value: &str) -> Option<u64> {
    Some(value.trim().parse::<u64>().ok()? / rustix::param::page_size() as u64)
}

/// Makes room for the writes that follow where the kernel would refuse them, or kill.
fn ease(directory: &Path, version: Version, wanted: &[&Attribute]) {
    match version {
        // Below memory.max in use the kernel reclaims, then kills, at once; memory.high
        // reclaims only. So that goes first, and gets its own value afterwards.
        Version::Unified => {
            if let Some(max) = wanted.iter().find(|a| a.file == "memory.max") {
                let _ = file::write(&directory.join("memory.high"), &max.value);
            }
        }
        // Memory with swap may never be limited below memory alone, at no moment.
        Version::Legacy => {
            let _ = file::write(&directory.join("memory.memsw.limit_in_bytes"), "-1");
        }
    }
}

/// Where the policy is silent a cgroup has its parent's CPUs. v1 has no word for that, and v2 does
/// not take it for a cgroup with processes (`validate_change` in cpuset.c): then they are named.
///
/// In v1 the children of a cgroup keep within its CPUs, and keep them when it gets others: so the
/// user's sessions change to those before it leaves the old ones.
fn move_to_cpus(directory: &Path, version: Version, attribute: &Attribute) -> Option<Unfit> {
    let path = directory.join(attribute.file);
    let Some(now) = file::read(&path) else { return write(directory, attribute) };
    let above = |name| file::read(&directory.parent()?.join(name));
    let cpus = match (attribute.origin.is_some(), version) {
        (true, _) => attribute.value.clone(),
        (false, Version::Legacy) => above("cpuset.cpus")?,
        (false, Version::Unified) if now.is_empty() => return None,
        (false, Version::Unified) => above("cpuset.cpus.effective")?,
    };
    if now == cpus {
        return None;
    }
    if version == Version::Legacy {
        let _ = file::write(&path, &format!("{now},{cpus}"));
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let _ = file::write(&entry.path().join(attribute.file), &cpus);
        }
    }
    write(directory, &Attribute { value: cpus, ..attribute.clone() })
}

/// Lifts limits on disks that the policy no longer names.
fn lift_stale_disk_limits(directory: &Path, version: Version, wanted: &[&Attribute]) {
    let (files, none): (&[&str], &str) = match version {
        Version::Unified => (&["io.max"], "rbps=max wbps=max riops=max wiops=max"),
        Version::Legacy => (
            &[
                "blkio.throttle.read_bps_device",
                "blkio.throttle.write_bps_device",
                "blkio.throttle.read_iops_device",
                "blkio.throttle.write_iops_device",
            ],
            "0",
        ),
    };
    for name in files {
        let path = directory.join(name);
        for line in file::read(&path).unwrap_or_default().lines() {
            let Some(disk) = line.split_whitespace().next() else { continue };
            let named = |a: &&&Attribute| {
                a.file == *name && a.disk.is_some_and(|wanted| wanted.to_string() == disk)
            };
            let still = wanted.iter().filter(named).count();
            // On v2 one line holds all four limits of a disk: what is still wanted of them
            // is written right after this.
            let stale = match version {
                Version::Unified => !line.split_whitespace().skip(1).all(|word| {
                    word.ends_with("=max") || wanted.iter().filter(named).any(|a| a.value == word)
                }),
                Version::Legacy => still == 0,
            };
            if stale {
                let _ = file::write(&path, &format!("{disk} {none}"));
            }
        }
    }
}
