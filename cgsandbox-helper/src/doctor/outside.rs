//! Processes of sandboxed users that are in no sandbox: through `/proc/PID/root` of one of
//! them, the user's processes inside see all of `/proc` again.

use std::collections::BTreeMap;

use super::Finding;
use crate::cgroup::{Membership, Tree};
use crate::state::{State, names_in};
use crate::{gc, kernel_file, namespace, systemd};

const PROCESSES: &str = "processes";

/// How many of a user's are named.
const SHOWN: usize = 5;

pub(super) fn look(state: &State, cgroup_root: &str) -> Vec<Finding> {
    let uids = state.users();
    let Ok(trees) = gc::trees(state, cgroup_root) else { return Vec::new() };
    let mut outside: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for pid in names_in("/proc".as_ref()).iter().filter_map(|name| name.parse().ok()) {
        let Some(process) = Process::read(pid) else { continue };
        if uids.contains(&process.uid) && !process.is_in_own(&trees) {
            outside.entry(process.uid).or_default().push(format!("{pid} ({})", process.command));
        }
    }
    let managers = uids.iter().filter_map(|uid| manager(state, &trees, *uid));
    let processes = outside.into_iter().map(|(uid, processes)| finding(uid, &processes));
    managers.chain(processes).collect()
}

/// A user manager that runs since before its PAM stack had our line.
fn manager(state: &State, trees: &[Tree], uid: u32) -> Option<Finding> {
    let namespace = namespace::pinned(state, uid).ok()??;
    let outside = |tree| systemd::manager_outside(tree, uid, &namespace);
    let pid = trees.iter().find_map(outside)?;
    let what = format!(
        "user@{uid}.service (pid {pid}) and the user's units are outside of the sandbox, and let \
         it see all of /proc: it was started without the PAM line"
    );
    let remedy = format!("with the line in systemd-user: systemctl restart user@{uid}.service");
    Some(Finding::note(PROCESSES, what).remedy(remedy))
}

fn finding(uid: u32, processes: &[String]) -> Finding {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let user = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
    let more = match processes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = processes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let what = format!("{user} is in a sandbox, but runs outside of it: {shown}{more}");
    let remedy = "end them; if they come back, give what starts them the PAM line";
    Finding::note(PROCESSES, what).remedy(remedy)
}

/// A process and whose it is.
struct Process {
    uid: u32,
    command: String,
    cgroups: Membership,
}

impl Process {
    /// None when it has ended meanwhile.
    fn read(pid: u32) -> Option<Self> {
        // Not the owner of /proc/PID: that is root's for who may not be traced.
        let status = kernel_file::read(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        Some(Process {
            uid: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
            command: field("Name:")?.trim().to_owned(),
            cgroups: Membership::of(pid).ok()?,
        })
    }

    fn is_in_own(&self, trees: &[Tree]) -> bool {
        let own = |(uid, _): &(u32, String)| *uid == self.uid;
        trees.iter().any(|tree| tree.locate(&self.cgroups).as_ref().is_some_and(own))
    }
}
