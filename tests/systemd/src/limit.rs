//! Limits as the kernel has them, whichever hierarchy carries them.

use std::path::{Path, PathBuf};

use crate::machine::Machine;

impl Machine {
    /// Whether cgroups are of version 2 alone.
    pub fn is_unified(&self) -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    /// Whether programs can be attached to cgroups: with version 2, or the side of it that a
    /// hybrid host has.
    pub fn takes_programs(&self) -> bool {
        self.is_unified() || Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
    }

    /// The memory that all of `user`'s processes may have together, in bytes; `None`: no limit.
    #[track_caller]
    pub fn memory_max(&self, user: &str) -> Option<u64> {
        self.memory_max_of(&format!("user.slice/{}", self.slice(user)))
    }

    /// Likewise of any cgroup, named by its path without a leading slash.
    #[track_caller]
    pub fn memory_max_of(&self, cgroup: &str) -> Option<u64> {
        self.limit("memory", cgroup, "memory.max", "memory.limit_in_bytes")
    }

    /// The processes that `user` may have; `None`: no limit.
    #[track_caller]
    pub fn tasks_max(&self, user: &str) -> Option<u64> {
        self.tasks_max_of(&format!("user.slice/{}", self.slice(user)))
    }

    /// Likewise of any cgroup.
    #[track_caller]
    pub fn tasks_max_of(&self, cgroup: &str) -> Option<u64> {
        self.limit("pids", cgroup, "pids.max", "pids.max")
    }

    #[track_caller]
    fn limit(&self, controller: &str, cgroup: &str, unified: &str, legacy: &str) -> Option<u64> {
        let mut path = PathBuf::from("/sys/fs/cgroup");
        let file = if self.is_unified() {
            unified
        } else {
            path.push(controller);
            legacy
        };
        path = path.join(cgroup).join(file);
        let text = self.read(&path).unwrap_or_else(|| panic!("can't read {path:?}"));
        // Version 1 says so by the largest number of whole pages.
        text.trim().parse().ok().filter(|bytes| *bytes < i64::MAX as u64 - 65536)
    }

    /// The cgroup of the session that a process is in, for the calls above.
    #[track_caller]
    pub fn session_cgroup(&self, pid: i32) -> String {
        self.cgroup_of(pid).trim_start_matches('/').to_owned()
    }
}
