//! Processes that are not where they belong: a user's outside of the user's sandbox, and others'
//! inside of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cgroup::{Membership, Owner, Tree};
use crate::kernel_file;
use crate::state::names_in;

/// A process and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// The start of its name.
    pub command: String,
    /// Whose it is, by the real uid: known where it stands.
    #[serde(skip)]
    uid: u32,
    #[serde(skip)]
    parent: u32,
}

impl Process {
    /// None when it has ended meanwhile.
    pub fn read(pid: u32) -> Option<Self> {
        // Not the owner of /proc/PID: that is root's for who may not be traced.
        let status = kernel_file::read(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        Some(Process {
            pid,
            command: field("Name:")?.trim().to_owned(),
            uid: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
            parent: field("PPid:")?.trim().parse().ok()?,
        })
    }

    /// All there are.
    pub fn all() -> Vec<Self> {
        let pids = names_in("/proc".as_ref());
        pids.iter().filter_map(|name| Process::read(name.parse().ok()?)).collect()
    }

    /// Whether it is in the cgroups of its own user, in every hierarchy where we have made one: a
    /// daemon such as cgrulesengd may take it out of a single one.
    fn is_in_own(&self, trees: &[Tree]) -> bool {
        let Ok(cgroups) = Membership::of(self.pid) else { return true };
        let is_own = |tree: &Tree| {
            let own = |(uid, _): (u32, String)| uid == self.uid;
            tree.locate(&cgroups).is_some_and(own)
        };
        trees.iter().any(|tree| {
            is_own(tree)
                && (tree.owner() == Owner::Systemd
                    || tree.of_user(self.uid).hierarchies().iter().all(|hierarchy| {
                        let user = tree.user_in(hierarchy, self.uid);
                        let directory =
                            cgroups.path_in(hierarchy).and_then(|path| hierarchy.directory(path));
                        directory.is_none_or(|directory| directory.starts_with(user))
                    }))
        })
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pid, self.command)
    }
}

/// Processes of these users that are in none of their cgroups.
pub fn outside(trees: &[Tree], uids: &[u32]) -> BTreeMap<u32, Vec<Process>> {
    let mut outside: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in Process::all() {
        if uids.contains(&process.uid) && !process.is_in_own(trees) {
            outside.entry(process.uid).or_default().push(process);
        }
    }
    outside
}

/// Processes in a user's cgroup that are neither the user's nor of a login: daemons that somebody
/// started from inside, by sudo(8). `leaders` are the processes of sshd's that opened the sessions.
///
/// What a process of the user's has started and is still the parent of (sudo, su) belongs there,
/// and so does what sshd's own process has.
pub fn strangers(tree: &Tree, uid: u32, leaders: &[u32]) -> Vec<Process> {
    let leaves = match tree.owner() {
        Owner::Cgsandbox => tree.leaves(uid),
        // Services in the slice are systemd's, which started them there.
        Owner::Systemd => tree.scopes(uid),
    };
    let members: BTreeSet<u32> = leaves.iter().flat_map(|leaf| tree.members(uid, leaf)).collect();
    let members: BTreeMap<u32, Process> =
        members.into_iter().filter_map(|pid| Some((pid, Process::read(pid)?))).collect();
    let belongs = |process: &Process| {
        let mut next = Some(process);
        // No chain of parents is longer than there are processes.
        for _ in 0..=members.len() {
            let Some(one) = next else { return false };
            if one.uid == uid || leaders.contains(&one.pid) {
                return true;
            }
            next = members.get(&one.parent);
        }
        false
    };
    members.values().filter(|process| !belongs(process)).cloned().collect()
}
