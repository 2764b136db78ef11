//! Finishing what a crash or a `kill -9` left of anybody's sessions.

use std::time::Duration;

use crate::cgroup::{Membership, Tree, mounted};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::state::State;
use crate::teardown::{self, Residue};
use crate::{loopback, systemd};

/// How long to wait for a login or logout of the user that is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one user's leftovers may take.
const BUDGET: Duration = Duration::from_secs(60);

/// What a collection came to.
#[derive(Debug, Default)]
pub struct Collected {
    /// What it removed.
    pub removed: Vec<Residue>,
    /// Whose leftovers it could not look after, and why.
    pub failed: Vec<Error>,
}

/// Sweeps after every user who has a cgroup or a record, below `cgroup_root` and wherever
/// else the records say that cgroups are.
pub fn collect(state: &State, cgroup_root: &str) -> Result<Collected> {
    leave_users_limits()?;
    state.prepare()?;
    state.forget_unfinished();
    let mut collected = Collected::default();
    for tree in trees(state, cgroup_root)? {
        let mut uids = [state.users(), tree.users()].concat();
        uids.sort_unstable();
        uids.dedup();
        for uid in uids {
            match state.lock(uid, PATIENCE) {
                Ok(_lock) => collected.removed.extend(teardown::sweep(state, &tree, uid, BUDGET)),
                Err(error) => collected.failed.push(error),
            }
        }
        if let Err(error) = teardown::remove_root(state, &tree) {
            collected.failed.push(error);
        }
    }
    for uid in systemd::users(state).into_iter().filter(|uid| !state.user(*uid).exists()) {
        // This process may be in the slice itself, as the last unit's last command.
        if !Tree::of_systemd(&mounted()?).has_user_processes(uid, &[std::process::id()]) {
            systemd::forget(state, uid);
        }
    }
    loopback::forget_unused(state).unwrap_or_else(|error| collected.failed.push(error));
    Ok(collected)
}

/// The last unit of a user calls `gc` in a cgroup of the user's: with their limits it could take long,
/// and others' logins wait for the locks that it holds.
fn leave_users_limits() -> Result<()> {
    if Tree::of_systemd(&mounted()?).locate(&Membership::of(std::process::id())?).is_some() {
        systemd::join_slice();
    }
    Ok(())
}

/// Where logins are put today, and where those of before were that sessions are left of.
pub(crate) fn trees(state: &State, cgroup_root: &str) -> Result<Vec<Tree>> {
    let hierarchies = mounted()?;
    let mut trees = vec![Tree::of_host(&hierarchies, cgroup_root)];
    let records = state.users().into_iter().flat_map(|uid| {
        Session::ids(state, uid).into_iter().filter_map(move |id| Session::read(state, uid, &id))
    });
    for session in records {
        if !trees.iter().any(|tree| tree.is_of(session.owner, &session.cgroup_root)) {
            trees.push(Tree::of(&hierarchies, session.owner, &session.cgroup_root));
        }
    }
    Ok(trees)
}
