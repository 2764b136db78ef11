//! A host that is a container to the cgroup hierarchies: what it takes for their root is a
//! cgroup of the machine's.

use std::path::{Path, PathBuf};

use crate::cgroup::{Hierarchies, Hierarchy};
use crate::program::output_of;

/// Where the processes of the host are, seen from its cgroup root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// In the root, as a container's first process is. Version 2 then enables nothing below.
    InTheRoot,
    /// In a child of it, as a container's init puts them when it manages cgroups itself.
    InAChild,
}

/// Where the host's cgroup namespace is pinned, in its own mount namespace.
const PIN: &str = "/run/cgroup-namespace";

/// What a test asks for.
#[derive(Debug, Clone)]
pub struct Container {
    /// Where its processes are.
    pub processes: Processes,
    /// What version 2 hands down to it; version 1 has no such thing.
    pub controllers: Vec<String>,
}

impl Container {
    /// Makes the cgroups, and a cgroup namespace whose root they are; mounts the hierarchies
    /// anew, so that the calling thread's mount namespace shows no more than that.
    pub fn make(&self, name: &str, hierarchies: &Hierarchies) {
        let roots: Vec<PathBuf> = hierarchies.0.iter().map(|one| one.mount.join(name)).collect();
        for (root, hierarchy) in roots.iter().zip(&hierarchies.0) {
            let above = root.parent().expect("the name has two parts");
            for directory in [above, root, &root.join("init")] {
                std::fs::create_dir(directory).expect("can't make a cgroup of the container");
                give_cpuset(hierarchy, directory);
            }
            let offered = |it: &&String| hierarchy.unified && hierarchy.controllers.contains(it);
            for controller in self.controllers.iter().filter(offered) {
                for level in [&hierarchy.mount, above] {
                    let control = level.join("cgroup.subtree_control");
                    std::fs::write(control, format!("+{controller}")).expect("can't enable");
                }
            }
        }
        std::fs::write(PIN, "").expect("can't make the pin");
        let procs: String =
            roots.iter().map(|root| format!("{}/cgroup.procs ", root.display())).collect();
        let script = format!(
            "for f in {procs}; do echo $$ >$f || exit 1; done
             exec unshare -C mount --bind /proc/self/ns/cgroup {PIN}"
        );
        run(&["sh", "-c", &script]);
        for hierarchy in &hierarchies.0 {
            let (kind, options) = match hierarchy.unified {
                true => ("cgroup2", String::new()),
                false => ("cgroup", hierarchy.controllers.join(",")),
            };
            let target = hierarchy.mount.to_string_lossy();
            // The kernel mounts no filesystem over itself, whatever part of it shows.
            run(&["umount", "-l", &target]);
            let options = if options.is_empty() { "rw".to_owned() } else { options };
            run(&[
                "nsenter",
                &format!("--cgroup={PIN}"),
                "mount",
                "-t",
                kind,
                "-o",
                &options,
                "cgroup",
                &target,
            ]);
        }
    }

    /// What a program has to be started through to run in the container: the machine's view
    /// of the cgroups is covered, so it enters them by way of the container's own.
    pub fn launcher(&self, hierarchies: &Hierarchies) -> Vec<String> {
        let child = if self.processes == Processes::InAChild { "init/" } else { "" };
        let procs: String = hierarchies
            .0
            .iter()
            .map(|one| format!("{}/{child}cgroup.procs ", one.mount.display()))
            .collect();
        let script = format!(
            "for f in {procs}; do echo $$ >$f || exit 1; done; exec nsenter --cgroup={PIN} \"$@\""
        );
        ["sh", "-c", &script, "sh"].map(str::to_owned).into()
    }
}

/// The container's cgroup in the machine's hierarchies. The one above it hands down no more
/// than it should, whatever is handed down to that.
pub fn cgroup_name(cgroup_root: &str) -> String {
    format!("{}-container/root", cgroup_root.trim_start_matches('/'))
}

/// Version 1's cpuset takes no process before it has processors and memory.
fn give_cpuset(hierarchy: &Hierarchy, directory: &Path) {
    if hierarchy.unified || !hierarchy.controllers.iter().any(|name| name == "cpuset") {
        return;
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let all = std::fs::read(hierarchy.mount.join(file)).expect("no cpuset in the root");
        std::fs::write(directory.join(file), &all).expect("can't give a cpuset");
    }
}

fn run(argv: &[&str]) {
    let output = output_of(argv);
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
}
