//! What is in force and in use now: of one user, or of all.

use std::net::IpAddr;

use serde::Serialize;

use crate::account::{self, Counters};
use crate::cgroup::{Membership, Tree, mounted};
use crate::error::{Error, Result};
use crate::misplaced::Process;
use crate::session::{Leader, Session, Stage, USER_MANAGER};
use crate::state::State;
use crate::{gc, loopback, misplaced, systemd};

/// One user's sandbox.
#[derive(Debug, Serialize)]
pub struct UserStatus {
    /// The name that NSS has for the uid, or the uid.
    pub user: String,
    /// Whose.
    pub uid: u32,
    /// The user's own localhost, IPv4 and IPv6; none where it is the machine's, or where only root
    /// may know.
    pub addresses: Option<[IpAddr; 2]>,
    /// What is used, by the keys of the audit line.
    pub used: Counters,
    /// The limits in force; a key is absent where there is none.
    pub limits: Counters,
    /// The sessions that still have a cgroup or somebody logged in.
    pub sessions: Vec<SessionStatus>,
    /// The user's processes that are in no sandbox; none where only root may know.
    pub outside: Vec<Process>,
}

/// One session.
#[derive(Debug, Serialize)]
pub struct SessionStatus {
    /// Its name.
    pub id: String,
    /// The leader's pid.
    pub pid: u32,
    /// Whether somebody is logged in by it, or only processes are left.
    pub logged_in: bool,
    /// Since when, in seconds since the epoch.
    pub since: u64,
    /// From which host; none where only root may know, or PAM did not say.
    pub from: Option<String>,
    /// Through which PAM service; none where only root may know.
    pub service: Option<String>,
    /// Which profile applied; none where only root may know.
    pub profile: Option<String>,
    /// Its processes.
    pub processes: Vec<u32>,
}

/// Of every user who has a sandbox.
pub fn of_all(state: &State, cgroup_root: &str) -> Result<Vec<UserStatus>> {
    let tree = tree(cgroup_root)?;
    let mut uids = [state.users(), tree.users()].concat();
    uids.sort_unstable();
    uids.dedup();
    let mut outside = misplaced::outside(&gc::trees(state, cgroup_root)?, &uids);
    let with_outside = |uid| UserStatus {
        outside: outside.remove(&uid).unwrap_or_default(),
        ..of_user(state, &tree, uid)
    };
    Ok(uids.into_iter().map(with_outside).collect())
}

/// Of one user, for root.
pub fn of_one(state: &State, cgroup_root: &str, uid: u32) -> Result<UserStatus> {
    let mut status = of_user(state, &tree(cgroup_root)?, uid);
    if !status.sessions.is_empty() {
        let mut outside = misplaced::outside(&gc::trees(state, cgroup_root)?, &[uid]);
        status.outside = outside.remove(&uid).unwrap_or_default();
    }
    Ok(status)
}

/// Of the user who asks, from inside the sandbox: cgroups only, for records are root's.
pub fn of_oneself(state: &State) -> Result<UserStatus> {
    let uid = nix::unistd::geteuid().as_raw();
    let own = Membership::of(std::process::id())?;
    let slice = Tree::of_systemd(&mounted()?);
    if slice.locate(&own).is_some_and(|(whose, _)| whose == uid) && systemd::is_manager() {
        let scopes = slice.scopes(uid).into_iter();
        let mut status = of_user(state, &slice, uid);
        status.sessions = scopes.filter_map(|scope| of_scope(&slice, uid, scope)).collect();
        return Ok(status);
    }
    let root = own.root_above(&format!("user-{uid}")).ok_or_else(|| {
        let cause = "this process is in no sandbox; log in again, or ask the administrator";
        Error::new("find", "your sandbox", cause)
    })?;
    Ok(of_user(state, &Tree::new(&mounted()?, &root), uid))
}

fn tree(cgroup_root: &str) -> Result<Tree> {
    Ok(Tree::of_host(&mounted()?, cgroup_root))
}

fn of_user(state: &State, tree: &Tree, uid: u32) -> UserStatus {
    let mut ids = [Session::ids(state, uid), tree.sessions(uid)].concat();
    ids.sort_unstable();
    ids.dedup();
    let mut sessions: Vec<SessionStatus> =
        ids.into_iter().filter_map(|id| of_session(state, tree, uid, id)).collect();
    sessions.sort_by_key(|session| (session.since, session.pid));
    let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
    UserStatus {
        user: name.unwrap_or_else(|| uid.to_string()),
        uid,
        addresses: loopback::address_of(state, uid).map(|it| [it.v4.into(), it.v6.into()]),
        used: account::of_user(tree, uid),
        limits: account::limits_in_force(tree, uid),
        sessions,
        outside: Vec::new(),
    }
}

/// A session as its cgroup shows it.
fn of_scope(tree: &Tree, uid: u32, scope: String) -> Option<SessionStatus> {
    let processes = tree.members(uid, &scope);
    // sshd's own process for the connection comes first, and is not shown inside.
    let leader = processes.iter().find_map(|pid| Leader::of(*pid).ok())?;
    Some(SessionStatus {
        id: scope.trim_end_matches(".scope").to_owned(),
        pid: leader.pid,
        logged_in: true,
        since: leader.since(),
        from: None,
        service: None,
        profile: None,
        processes,
    })
}

fn of_session(state: &State, tree: &Tree, uid: u32, id: String) -> Option<SessionStatus> {
    let record = Session::read(state, uid, &id);
    let leader =
        record.as_ref().map(|session| session.leader).or_else(|| Leader::of_session(&id))?;
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let leaf = record.as_ref().map_or_else(|| Tree::leaf_for(&id), |it| it.leaf.clone());
    let processes = tree.members(uid, &leaf);
    Some(SessionStatus {
        pid: leader.pid,
        // A leader that its own user may not see is still among the members.
        logged_in: match &record {
            // systemd's user manager is a session of PAM's, and nobody's login.
            Some(session) => {
                let is_login = session.service != USER_MANAGER;
                is_login && session.stage != Stage::Closed && leader.is_alive()
            }
            None => processes.contains(&leader.pid),
        },
        since: record.as_ref().map_or_else(|| leader.since(), |session| session.since),
        from: record.as_ref().and_then(|session| known(&session.rhost)),
        service: record.as_ref().and_then(|session| known(&session.service)),
        profile: record.as_ref().and_then(|session| known(&session.profile)),
        processes,
        id,
    })
}
