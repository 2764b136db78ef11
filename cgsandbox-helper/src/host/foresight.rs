//! What making the cgroups would show, for commands that may change nothing.

use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::{Host, OPTIONAL_FILES};
use crate::cgroup::{Controller, Hierarchy, Membership, Version, read_file};
use crate::error::Error;
use crate::namespace;

impl Host {
    /// Finds out by looking what [`Host::prepare_cgroups`] finds out by trying, as far as
    /// that can be told.
    pub fn foresee_cgroups(&mut self) {
        self.refused =
            self.tree.hierarchies().iter().flat_map(|h| refused_in(&self.levels(h))).collect();
        if let Some(mount) = self.read_only_mount() {
            let cause = std::io::Error::from(rustix::io::Errno::ROFS);
            return self.give_up_cgroups(&Error::os("create cgroup", mount.display())(cause));
        }
        self.absent_files = OPTIONAL_FILES
            .into_iter()
            .filter(|(controller, version, file)| {
                let carrier = self.tree.carrier(*controller).filter(|h| h.version == *version);
                carrier.is_some_and(|hierarchy| match self.sample_of(hierarchy, *controller) {
                    Some(cgroup) => !cgroup.join(file).exists(),
                    None if *version == Version::Legacy => {
                        !hierarchy.mount.join(sibling_at_root(file)).exists()
                    }
                    None => false,
                })
            })
            .map(|(_, _, file)| file)
            .collect();
    }

    /// Finds out by trying whether users can have mount namespaces with a /proc of their own.
    pub fn foresee_namespaces(&mut self) {
        if self.no_procfs.is_none() {
            self.no_procfs = namespace::try_out().err();
        }
    }

    /// A cgroup below the root of `hierarchy`, ours where that is there: the root itself
    /// lacks many files. None where nobody has made one.
    pub fn sample(&self, hierarchy: &Hierarchy) -> Option<PathBuf> {
        self.samples(hierarchy).into_iter().next()
    }

    /// The same, with the files of `controller`.
    pub fn sample_of(&self, hierarchy: &Hierarchy, controller: Controller) -> Option<PathBuf> {
        let name = controller.name(hierarchy.version);
        self.samples(hierarchy).into_iter().find(|cgroup| {
            hierarchy.version == Version::Legacy
                || has_word(&cgroup.join("cgroup.controllers"), name)
        })
    }

    fn samples(&self, hierarchy: &Hierarchy) -> Vec<PathBuf> {
        let own = Membership::of(std::process::id()).ok();
        let own = own.as_ref().and_then(|own| hierarchy.directory(own.path_in(hierarchy)?));
        let children = std::fs::read_dir(&hierarchy.mount).into_iter().flatten().flatten();
        let mut samples = vec![self.tree.root_in(hierarchy)];
        samples.extend(own);
        samples.extend(children.map(|entry| entry.path()));
        // Inside a sandbox, what is above the user's cgroup is an empty directory.
        samples.retain(|path| *path != hierarchy.mount && path.join("cgroup.procs").exists());
        samples
    }

    /// The cgroups from the mount point down to the one above all users', as far as they
    /// are there.
    fn levels(&self, hierarchy: &Hierarchy) -> Vec<PathBuf> {
        if hierarchy.version == Version::Legacy {
            return Vec::new();
        }
        let mut directory = hierarchy.mount.clone();
        let mut levels = vec![directory.clone()];
        for component in Path::new(self.tree.root()).components() {
            directory.push(component);
            levels.push(directory.clone());
        }
        levels.retain(|level| level.is_dir());
        levels
    }

    /// A hierarchy in which our cgroup is not there and cannot be made.
    fn read_only_mount(&self) -> Option<&Path> {
        let hierarchies = self.tree.hierarchies().iter();
        let barred = |h: &&Hierarchy| {
            let flags = rustix::fs::statvfs(&h.mount).map(|about| about.f_flag);
            flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY))
                && !self.tree.root_in(h).is_dir()
        };
        hierarchies.filter(barred).map(|h| h.mount.as_path()).next()
    }
}

/// The file that v1's root cgroup has wherever its children have `file`: the root has no
/// weights, but the statistics of what weighs.
fn sibling_at_root(file: &str) -> &str {
    match file {
        "blkio.weight" => "blkio.time",
        "blkio.bfq.weight" => "blkio.bfq.io_serviced",
        file => file,
    }
}

/// The controllers that the kernel would not hand down: not from a cgroup with processes of
/// its own, but for the root of all, which has no `cgroup.type`.
fn refused_in(levels: &[PathBuf]) -> Vec<(Controller, String)> {
    let mut refused = Vec::new();
    for level in levels {
        let processes = read_file(&level.join("cgroup.procs")).unwrap_or_default();
        if processes.is_empty() || !level.join("cgroup.type").exists() {
            continue;
        }
        let has = |file: &str, name| has_word(&level.join(file), name);
        for controller in Controller::ALL {
            let name = controller.name(Version::Unified);
            if has("cgroup.controllers", name) && !has("cgroup.subtree_control", name) {
                let place = level.display();
                let why =
                    format!("cgroup {place} has processes of its own; move them to a child of it");
                refused.push((controller, why));
            }
        }
    }
    refused
}

fn has_word(file: &Path, word: &str) -> bool {
    read_file(file).unwrap_or_default().split_whitespace().any(|one| one == word)
}
