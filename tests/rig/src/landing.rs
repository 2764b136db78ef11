//! Where the processes of a connection are.

use std::path::Path;

use crate::host::Host;
use crate::process::Process;

impl Host {
    /// Panics unless every process of every connection, sshd's included, is in a session
    /// leaf of `user`, in each hierarchy that has a sandbox of `user`, and in one mount
    /// namespace that is not the host's. Returns the processes.
    #[track_caller]
    pub fn assert_inside(&self, user: &str) -> Vec<Process> {
        let processes = self.connections();
        assert!(!processes.is_empty(), "there is no connection");
        for process in &processes {
            self.assert_in_leaf_of(user, process);
        }
        let init = self.process(1).expect("init is gone");
        let outside = processes.iter().find(|one| one.mounts == init.mounts);
        assert_eq!(outside, None, "in the host's mount namespace");
        let elsewhere = processes.iter().find(|one| one.mounts != processes[0].mounts);
        assert_eq!(elsewhere, None, "in another mount namespace than {:?}", processes[0]);
        processes
    }

    /// Panics unless `process` is in a session leaf of `user` in each hierarchy that has a
    /// sandbox of `user`, and unless there is one.
    #[track_caller]
    pub fn assert_in_leaf_of(&self, user: &str, process: &Process) {
        let cgroup = format!("{}/user-{}", self.cgroup_root(), self.uid(user));
        let mut hierarchies = 0;
        for hierarchy in &self.hierarchies().0 {
            if !self.exists(hierarchy.mount.join(cgroup.trim_start_matches('/'))) {
                continue;
            }
            hierarchies += 1;
            let at = process.cgroup_in(&hierarchy.controllers, hierarchy.unified);
            let at = at.unwrap_or_else(|| panic!("{process:?} is in no cgroup of {hierarchy:?}"));
            let leaf = Path::new(&at).strip_prefix(&cgroup).ok().and_then(Path::to_str);
            let inside =
                leaf.is_some_and(|leaf| leaf.starts_with("session-") && !leaf.contains('/'));
            assert!(inside, "{process:?} is in {at}, not in a leaf of {cgroup}");
        }
        assert_ne!(hierarchies, 0, "no hierarchy has {cgroup}");
    }

    /// Panics if `process` is below the host's cgroup root or in a mount namespace of its own.
    #[track_caller]
    pub fn assert_outside(&self, process: &Process) {
        assert!(!process.cgroups.contains(self.cgroup_root()), "inside: {process:?}");
        let init = self.process(1).expect("init is gone");
        assert_eq!(process.mounts, init.mounts, "{process:?}");
    }
}

impl Process {
    /// Its cgroup in the hierarchy with these controllers, as `/proc/PID/cgroup` has it.
    pub fn cgroup_in(&self, controllers: &[String], unified: bool) -> Option<String> {
        self.cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (named, path) = (fields.next()?, fields.next()?);
            let here = if unified {
                named.is_empty()
            } else {
                named.split(',').all(|name| controllers.iter().any(|known| known == name))
            };
            here.then(|| path.to_owned())
        })
    }
}
