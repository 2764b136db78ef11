//! Which cgroup hierarchies this host has mounted, and where.

use std::path::{Path, PathBuf};

use super::file;
use crate::error::Result;
use crate::kernel_file;

/// What a directive needs from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Weight and quota of CPU time.
    Cpu,
    /// Which CPUs.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices; v1 calls it blkio.
    Io,
}

impl Controller {
    /// All that this program has directives for.
    pub const ALL: [Controller; 5] =
        [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids, Controller::Io];

    /// The kernel's name for it.
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Controller::Cpu, _) => "cpu",
            (Controller::Cpuset, _) => "cpuset",
            (Controller::Memory, _) => "memory",
            (Controller::Pids, _) => "pids",
            (Controller::Io, Version::Unified) => "io",
            (Controller::Io, Version::Legacy) => "blkio",
        }
    }
}

/// cgroup v2 or v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// v2: one hierarchy, its controllers enabled level by level.
    Unified,
    /// v1: a hierarchy for one or more controllers.
    Legacy,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The cgroup that is at `mount`, as `/proc/PID/cgroup` writes it: not `/` in a
    /// container without a cgroup namespace of its own.
    pub root: String,
    /// v2 or v1.
    pub version: Version,
    /// v2: what the cgroup at `mount` may hand down. v1: the hierarchy's mount options,
    /// its controllers (and `name=`) among them.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether it has this controller.
    pub fn carries(&self, controller: Controller) -> bool {
        let name = controller.name(self.version);
        self.controllers.iter().any(|carried| carried == name)
    }

    /// Whether `other` is the same, mounted here or elsewhere.
    pub fn is_twin_of(&self, other: &Hierarchy) -> bool {
        let is_unified = self.version == Version::Unified;
        self.version == other.version && (is_unified || self.controllers == other.controllers)
    }

    /// Whether it is v1's that counts CPU time (cgroup-v1/cpuacct.rst). v2 does so in any cgroup.
    pub fn counts_cpu_time(&self) -> bool {
        self.controllers.iter().any(|carried| carried == "cpuacct")
    }

    /// Whether it is the one that systemd tracks processes in where v2 is not mounted.
    pub fn is_systemds(&self) -> bool {
        self.controllers.iter().any(|carried| carried == "name=systemd")
    }

    /// Whether `/proc/PID/cgroup` means this hierarchy by its second field.
    pub fn is_named(&self, field: &str) -> bool {
        match self.version {
            Version::Unified => field.is_empty(),
            Version::Legacy => {
                !field.is_empty()
                    && field.split(',').all(|part| self.controllers.iter().any(|c| c == part))
            }
        }
    }

    /// The directory of the cgroup that `/proc/PID/cgroup` writes as `path`; none when
    /// it lies outside of what is mounted here.
    pub fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(self.mount.join(below.trim_start_matches('/')))
    }

    /// The inverse of [`Hierarchy::directory`], for a path relative to the mount.
    pub fn path(&self, relative: &str) -> String {
        format!("{}/{}", self.root.trim_end_matches('/'), relative.trim_matches('/'))
    }
}

/// The hierarchies that are mounted now.
pub fn mounted() -> Result<Vec<Hierarchy>> {
    Ok(find(&kernel_file::mountinfo()?))
}

/// The hierarchies in `mountinfo`, the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
///
/// Of several mounts of one hierarchy the one nearest to its root counts: the others
/// are a container's or somebody's bind mount.
pub fn find(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for hierarchy in mountinfo.lines().filter_map(parse_line) {
        match found.iter_mut().find(|other| other.is_twin_of(&hierarchy)) {
            Some(twin) if hierarchy.root.len() < twin.root.len() => *twin = hierarchy,
            Some(_) => {}
            None => found.push(hierarchy),
        }
    }
    for hierarchy in &mut found {
        if hierarchy.version == Version::Unified {
            hierarchy.controllers = handed_down(&hierarchy.mount);
        }
    }
    found
}

/// What the v2 cgroup at `directory` may hand down to its children.
fn handed_down(directory: &Path) -> Vec<String> {
    let text = file::read(&directory.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn parse_line(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup2" => Version::Unified,
        "cgroup" => Version::Legacy,
        _ => return None,
    };
    // A mount from outside this process's cgroup namespace: nothing here can be addressed.
    if root.starts_with("/..") {
        return None;
    }
    let controllers = match version {
        Version::Unified => Vec::new(),
        Version::Legacy => after
            .nth(1)?
            .split(',')
            .filter(|o| !matches!(*o, "rw" | "ro"))
            .map(str::to_owned)
            .collect(),
    };
    Some(Hierarchy {
        mount: PathBuf::from(unescape(mount)),
        root: unescape(root),
        version,
        controllers,
    })
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
pub fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:32 / /mnt/a\\040b rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /nowhere rw - cgroup2 cgroup2 rw
42 31 0:38 /../x /elsewhere rw - cgroup2 cgroup2 rw";

    #[test]
    fn each_hierarchy_is_found_once_nearest_to_its_root() {
        let found = find(HYBRID);
        let mounts: Vec<_> = found.iter().map(|h| h.mount.to_str().unwrap()).collect();
        assert_eq!(
            mounts,
            ["/sys/fs/cgroup/cpu,cpuacct", "/mnt/a b", "/sys/fs/cgroup/systemd", "/nowhere"]
        );
        assert!(found[0].carries(Controller::Cpu));
        assert!(!found[0].carries(Controller::Memory));
        assert!(found[1].carries(Controller::Memory));
    }

    #[test]
    fn the_fields_of_proc_pid_cgroup_name_their_hierarchy() {
        let found = find(HYBRID);
        assert!(found[0].is_named("cpu,cpuacct"));
        assert!(!found[0].is_named(""));
        assert!(found[2].is_named("name=systemd"));
        assert!(found[3].is_named(""));
        assert!(!found[3].is_named("cpu,cpuacct"));
    }

    #[test]
    fn paths_are_seen_through_the_mounted_root() {
        let hierarchy = Hierarchy {
            mount: "/cg".into(),
            root: "/docker/7".into(),
            version: Version::Legacy,
            controllers: vec!["memory".into()],
        };
        assert_eq!(hierarchy.directory("/docker/7/a").unwrap(), Path::new("/cg/a"));
        assert_eq!(hierarchy.directory("/docker/7").unwrap(), Path::new("/cg"));
        assert_eq!(hierarchy.directory("/docker/77"), None);
        assert_eq!(hierarchy.directory("/"), None);
        assert_eq!(hierarchy.path("/cgsandbox/user-1"), "/docker/7/cgsandbox/user-1");
    }
}
