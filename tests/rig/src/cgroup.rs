//! The machine's cgroup hierarchies, and the one root in each that is the host's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::time::eventually;

/// Marks the cgroups of this rig; then come the pid of the test and a number.
const PREFIX: &str = "cgsbx-rig-";

/// A mounted hierarchy.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Whether it is the unified one (v2).
    pub unified: bool,
    /// The controllers it carries, or `name=...`.
    pub controllers: Vec<String>,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Hierarchies(pub Vec<Hierarchy>);

impl Hierarchies {
    /// As mounted for the calling thread.
    pub fn mounted() -> Self {
        let table = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("no mountinfo");
        let mut all = Vec::new();
        for line in table.lines() {
            let (before, after) = line.split_once(" - ").expect("malformed mountinfo");
            let mount = PathBuf::from(before.split(' ').nth(4).expect("malformed mountinfo"));
            let mut after = after.split(' ');
            let kind = after.next().unwrap_or_default();
            let options = after.nth(1).unwrap_or_default();
            match kind {
                "cgroup2" => all.push(Hierarchy {
                    controllers: words(&mount.join("cgroup.controllers")),
                    mount,
                    unified: true,
                }),
                "cgroup" => all.push(Hierarchy {
                    controllers: options.split(',').map(str::to_owned).collect(),
                    mount,
                    unified: false,
                }),
                _ => {}
            }
        }
        assert!(!all.is_empty(), "no cgroup hierarchy is mounted");
        Hierarchies(all)
    }

    /// The one that carries `controller`, if any does.
    pub fn carrying(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|one| one.controllers.iter().any(|name| name == controller))
    }

    /// Parts with those of version 2; where they are mounted.
    pub fn take_unified(&mut self) -> Vec<PathBuf> {
        let (unified, legacy): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|one| one.unified);
        assert!(!legacy.is_empty(), "no hierarchy of version 1 is mounted");
        self.0 = legacy;
        unified.into_iter().map(|one| one.mount).collect()
    }

    /// Leaves the unified hierarchy only these controllers.
    pub fn keep_of_unified(&mut self, controllers: &[String]) {
        for hierarchy in self.0.iter_mut().filter(|one| one.unified) {
            hierarchy.controllers.retain(|name| controllers.contains(name));
        }
    }

    /// Every directory below `root` in any hierarchy, deepest first, and `root` itself.
    pub fn below(&self, root: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for hierarchy in &self.0 {
            collect(&hierarchy.mount.join(root.trim_start_matches('/')), &mut found);
        }
        found
    }

    /// Removes `root` in every hierarchy once its processes are gone.
    pub fn remove(&self, root: &str) {
        eventually(&format!("cgroup {root} can be removed"), 10.0, || {
            self.below(root).iter().all(|cgroup| std::fs::remove_dir(cgroup).is_ok())
        });
    }

    /// Removes what tests left that were killed.
    pub fn sweep(&self) {
        for hierarchy in &self.0 {
            let Ok(entries) = std::fs::read_dir(&hierarchy.mount) else { continue };
            for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
                if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                    let mut left = Vec::new();
                    collect(&hierarchy.mount.join(&name), &mut left);
                    // A process that still dies there is the next sweep's.
                    left.iter().for_each(|cgroup| drop(std::fs::remove_dir(cgroup)));
                }
            }
        }
    }
}

/// Whether the environment asks for hosts that have hierarchies of version 1 alone.
pub fn legacy_alone() -> bool {
    std::env::var_os("CGSANDBOX_RIG_CGROUPS").is_some_and(|version| version == "v1")
}

/// A cgroup root that no other host has, as the configuration's `cgroup_root` wants it.
pub fn unused_root() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn collect(cgroup: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(cgroup) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        collect(&entry.path(), found);
    }
    found.push(cgroup.to_owned());
}

fn words(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}
