//! Taking down what is no longer in use: after a logout, a failure or a crash.
//!
//! Every step here can be repeated, and does nothing to a session whose leader lives or
//! whose cgroup has a process in it. Whoever removes holds the user's lock.

use std::time::{Duration, Instant};

use crate::account::Counters;
use crate::audit::{Event, Level};
use crate::cgroup::{Membership, Owner, Tree, mounted};
use crate::error::{Error, Result};
use crate::session::{Leader, Session, Stage, USER_MANAGER, command_of};
use crate::state::State;
use crate::{account, limits, loopback, namespace, systemd};

/// How long a process that is past its end may keep its cgroup busy.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long the clean-up after a logout may take; the next login or `gc` goes on with it.
const SWEEP_BUDGET: Duration = Duration::from_millis(500);

/// So little memory in tmpfs files, in bytes, is not worth keeping a user's cgroup for: of all of a
/// user's logins since boot together.
const SHARED_MEMORY_TO_FORGET: u64 = 256 << 10;

/// How long to wait for a user's lock when there is no deadline to keep.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// What was left of a session whose end nobody saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Residue {
    /// Whose.
    pub uid: u32,
    /// Which.
    pub session: String,
    /// Why nobody saw its end.
    pub reason: &'static str,
}

/// The hierarchies below which a session's cgroups are, wherever the configuration has
/// them now.
pub fn tree_of(session: &Session) -> Result<Tree> {
    Ok(Tree::of(&mounted()?, session.owner, &session.cgroup_root))
}

/// The sessions of a user that somebody is logged in by.
pub fn live_sessions(state: &State, uid: u32) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for id in Session::list(state, uid)? {
        if Leader::of_session(&id).is_some_and(|leader| leader.is_alive()) {
            sessions.extend(Session::load(state, uid, &id)?);
        }
    }
    sessions.retain(|session| session.stage != Stage::Closed);
    Ok(sessions)
}

/// How many logins a user has. The user's manager is none, though PAM has a session for it.
pub fn logins(state: &State, uid: u32) -> Result<u64> {
    let mut count = 0;
    for id in Session::list(state, uid)? {
        let session = Session::load(state, uid, &id)?;
        let is_login = |it: &Session| it.service != USER_MANAGER && goes_on(it);
        count += u64::from(session.is_some_and(|session| is_login(&session)));
    }
    Ok(count)
}

/// Whether somebody is logged in by a session: its leader lives, or a fork of its leader does.
///
/// The kernel may end a leader that is inside when the user's memory is full. The connection then
/// goes on in sshd's other process, and nobody closes the session.
fn goes_on(session: &Session) -> bool {
    let has_fork = || {
        let members = tree_of(session).map(|tree| tree.members(session.uid, &session.leaf));
        members.is_ok_and(|pids| pids.iter().any(|pid| command_of(*pid) == session.command))
    };
    session.stage != Stage::Closed && (session.leader.is_alive() || has_fork())
}

/// What a session used, and which of its user's limits it met.
pub fn usage(tree: &Tree, session: &Session) -> Counters {
    let used = account::of_session(tree, session.uid, &session.leaf);
    let hits = account::limit_hits(tree, session.uid);
    account::sum(used, account::since(&session.counters, &hits))
}

/// Undoes an open, as far as it came.
pub fn take_back(state: &State, session: &Session) {
    let undone = (|| {
        let tree = tree_of(session)?;
        let (leader, origin) = (session.leader, Membership::parse(&session.origin));
        // This process too: the leader may have been inside when it spawned it.
        tree.leave(session.uid, &session.leaf, std::process::id(), &origin)?;
        if leader.is_alive() {
            tree.leave(session.uid, &session.leaf, leader.pid, &origin)?;
            restore_limits(state, session);
        }
        let _lock = state.lock(session.uid, LOCK_PATIENCE)?;
        let closed = Session { stage: Stage::Closed, ..session.clone() };
        closed.keep(state)?;
        sweep_quietly(state, &tree, session.uid)
    })();
    if let Err(error) = undone {
        complain(state, session.uid, &error);
    }
}

/// Gives the leader back the rlimits and the OOM score that it had before.
pub fn restore_limits(state: &State, session: &Session) {
    for error in limits::restore(session.leader.pid, &session.previous) {
        complain(state, session.uid, &error);
    }
}

/// Removes what the user's ended sessions left behind, and says so in the log.
///
/// Takes no longer than `budget` and leaves the rest to the next: what a user leaves behind
/// must not make that user's logins overrun their deadline.
pub fn sweep(state: &State, tree: &Tree, uid: u32, budget: Duration) -> Vec<Residue> {
    let removed = remove_ended(state, tree, uid, budget).unwrap_or_else(|error| {
        complain(state, uid, &error);
        Vec::new()
    });
    for residue in &removed {
        Event::new(Level::Info, "residue_removed")
            .with("uid", residue.uid)
            .with("session", &residue.session)
            .with("reason", residue.reason)
            .send(state);
    }
    removed
}

/// As [`sweep`], for the end of a session that the log has already.
pub fn sweep_quietly(state: &State, tree: &Tree, uid: u32) -> Result<()> {
    remove_ended(state, tree, uid, SWEEP_BUDGET).map(drop)
}

fn remove_ended(state: &State, tree: &Tree, uid: u32, budget: Duration) -> Result<Vec<Residue>> {
    let end = Instant::now() + budget;
    Session::forget_unfinished(state, uid);
    let mut ids = [Session::list(state, uid)?, tree.sessions(uid)].concat();
    ids.sort_unstable();
    ids.dedup();
    let mut removed = Vec::new();
    let (mut in_use, mut in_use_elsewhere) = (false, false);
    let mut spared = vec![std::process::id()];
    for id in ids {
        if Instant::now() >= end {
            in_use = true;
            break;
        }
        let record = Session::load(state, uid, &id)?;
        let reason = match &record {
            // Its cgroups are elsewhere: a gc that looks there removes them.
            Some(session) if !tree.is_of(session.owner, &session.cgroup_root) => {
                in_use_elsewhere = true;
                continue;
            }
            Some(session) if session.stage == Stage::Closed => "ended after its logout",
            Some(session) if session.leader.is_alive() => {
                in_use = true;
                continue;
            }
            None if Leader::of_session(&id).is_some_and(|leader| leader.is_alive()) => {
                in_use = true;
                continue;
            }
            _ => "its leader is gone",
        };
        // In a cgroup of systemd's sshd's own process stays till its end, and does not count.
        spared.extend(record.as_ref().filter(|it| it.leader.is_alive()).map(|it| it.leader.pid));
        let leaf = record.as_ref().map_or_else(|| Tree::leaf_for(&id), |it| it.leaf.clone());
        // A user manager that was started again has the cgroup of the one before, and is not what
        // that one left behind.
        let is_manager = record.as_ref().is_some_and(|session| session.service == USER_MANAGER);
        if !is_manager && record.as_ref().is_some_and(|session| session.kill_at_logout) {
            kill(tree, uid, &leaf, &spared, end);
        }
        let is_empty = is_manager || !tree.has_members(uid, &leaf, &spared);
        // Where nobody saw its end, this is it. systemd closes a user manager's as the user, who may
        // not end anything here.
        let unseen = record.as_ref().filter(|session| session.stage == Stage::Open);
        let used = unseen.filter(|_| is_empty && !is_manager).map(|it| usage(tree, it));
        if is_empty && tree.remove_session(uid, &leaf, PATIENCE)? {
            Session::forget(state, uid, &id)?;
            if let Some(session) = unseen {
                let event = session.closed(used.unwrap_or_default());
                event.with_some("reason", (!is_manager).then_some(reason)).send(state);
            }
            if !is_manager || unseen.is_none() {
                removed.push(Residue { uid, session: id, reason });
            }
        } else {
            in_use = true;
        }
    }
    match (in_use, in_use_elsewhere) {
        (true, _) => {}
        (false, false) => remove_user(state, tree, uid, &spared)?,
        // The configuration has another root since: without a record nothing leads to this one.
        (false, true) => {
            remove_cgroups(state, tree, uid)?;
            remove_root(state, tree)?;
        }
    }
    Ok(removed)
}

/// Ends what a session left behind. What outruns one kill(2) after another systemd ends by its
/// cgroup, once nobody who is to be spared is in there.
fn kill(tree: &Tree, uid: u32, leaf: &str, spared: &[u32], end: Instant) {
    tree.kill_session(uid, leaf, spared);
    let left = match tree.owner() {
        Owner::Systemd => tree.members(uid, leaf),
        Owner::Cgsandbox => Vec::new(),
    };
    if left.is_empty() || left.iter().any(|pid| spared.contains(pid)) {
        return;
    }
    if systemd::kill(leaf, end.saturating_duration_since(Instant::now())).is_ok() {
        tree.wait_for_end(uid, leaf, &[], PATIENCE);
    }
}

/// Removes what all sessions of a user share.
fn remove_user(state: &State, tree: &Tree, uid: u32, ending: &[u32]) -> Result<()> {
    // The namespace first: it shows the user's cgroup, and its pin must not outlive it.
    namespace::release(state, uid)?;
    if !keeps_slice(tree, uid, ending) {
        loopback::release(state, uid)?;
        systemd::forget(state, uid);
    }
    remove_cgroups(state, tree, uid)?;
    Session::forget_user(state, uid).map(drop)
}

/// Whether systemd keeps the user's slice, with the limits and the programs that are on it: it does
/// for as long as anything but those `ending` is in there.
fn keeps_slice(tree: &Tree, uid: u32, ending: &[u32]) -> bool {
    tree.owner() == Owner::Systemd && tree.has_user_processes(uid, ending)
}

/// Files in tmpfs and shared memory outlive their makers. As long as the user's cgroup is there
/// they count in it; with a new one for each login they would count nowhere.
fn remove_cgroups(state: &State, tree: &Tree, uid: u32) -> Result<()> {
    let left = account::shared_memory(tree, uid).unwrap_or(0);
    let forgotten = state.forgotten_memory(uid) + left;
    if left == 0 || forgotten < SHARED_MEMORY_TO_FORGET {
        // Noted first: a crash in between counts it twice and not never.
        if left > 0 {
            state.note_forgotten_memory(uid, forgotten)?;
        }
        tree.remove_user(uid)?;
    }
    Ok(())
}

/// Removes the cgroup above all users', unless somebody uses it or a login that is just beginning
/// may be about to.
pub fn remove_root(state: &State, tree: &Tree) -> Result<()> {
    let Ok(_host) = state.lock_host(Duration::ZERO) else { return Ok(()) };
    tree.remove_root(&state.made_roots())?;
    state.forget_roots()
}

/// Removes what state there is of a user without a session: a helper that died before it wrote
/// the first record.
pub fn forget_unused(state: &State, uid: u32, leader: Leader) {
    let own = [std::process::id(), leader.pid];
    let forgotten = state.lock(uid, LOCK_PATIENCE).and_then(|_lock| {
        match Session::list(state, uid)?.is_empty() && namespace::pinned(state, uid)?.is_none() {
            true => {
                if !keeps_slice(&Tree::of_host(&mounted()?, ""), uid, &own) {
                    loopback::release(state, uid)?;
                }
                Session::forget_user(state, uid).map(drop)
            }
            false => Ok(()),
        }
    });
    if let Err(error) = forgotten {
        complain(state, uid, &error);
    }
}

fn complain(state: &State, uid: u32, error: &Error) {
    Event::new(Level::Error, "degraded").with("uid", uid).with_error(error).send(state);
}
