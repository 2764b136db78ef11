//! What crashes left behind, and what the module goes by when it has no helper to ask.

use cgsandbox_protocol::{Login, on_error_of};

use super::Finding;
use crate::cgroup::Tree;
use crate::config::Sources;
use crate::session::{Leader, Session, Stage};
use crate::state::State;
use crate::{gc, namespace, systemd};

const STATE: &str = "state";

/// How many leftovers are named; more of them are only counted.
const SHOWN: usize = 5;

pub(super) fn look(
    state: &State,
    sources: &Sources,
    cgroup_root: &str,
    on_error: Login,
) -> Vec<Finding> {
    let mut findings = leftovers(state, cgroup_root);
    findings.extend(published(sources, on_error));
    findings.extend(timer());
    findings
}

/// Whether anything clears up where nobody logs in any more. What does so without systemd, as a job
/// of cron, cannot be known.
fn timer() -> Option<Finding> {
    if systemd::is_wanted("cgsandbox-gc.timer", "timers.target") || !systemd::is_manager() {
        return None;
    }
    let what = "cgsandbox-gc.timer is not enabled: leftovers of a crash stay until the user's next login, \
                and after a boot on_error is deny until somebody has logged in";
    let remedy = "systemctl enable --now cgsandbox-gc.timer";
    Some(Finding::note(STATE, what).remedy(remedy))
}

fn leftovers(state: &State, cgroup_root: &str) -> Vec<Finding> {
    let trees = match gc::trees(state, cgroup_root) {
        Ok(trees) => trees,
        Err(error) => return vec![Finding::problem(STATE, error.to_string())],
    };
    let mut left = Vec::new();
    let mut sessions = 0;
    for tree in trees {
        let mut uids = [state.users(), tree.users()].concat();
        uids.sort_unstable();
        uids.dedup();
        for uid in uids {
            let (of_user, live) = of_user(state, &tree, uid);
            left.extend(of_user);
            sessions += live;
        }
    }
    left.sort();
    left.dedup();
    if left.is_empty() {
        let sessions = match sessions {
            1 => "1 session".to_owned(),
            number => format!("{number} sessions"),
        };
        return vec![Finding::ok(STATE, format!("{sessions}, and nothing left over"))];
    }
    let more = left.len().saturating_sub(SHOWN);
    let mut findings: Vec<Finding> =
        left.into_iter().take(SHOWN).map(|what| Finding::note(STATE, what)).collect();
    if more > 0 {
        findings.push(Finding::note(STATE, format!("and {more} more leftovers")));
    }
    let last = findings
        .pop()
        .map(|last| last.remedy("run: cgsandbox gc (the user's next login does so too)"));
    findings.extend(last);
    findings
}

/// What is left of a user's sessions, and how many are under way.
fn of_user(state: &State, tree: &Tree, uid: u32) -> (Vec<String>, usize) {
    let mut ids = [Session::ids(state, uid), tree.sessions(uid)].concat();
    ids.sort_unstable();
    ids.dedup();
    let mut left = Vec::new();
    let mut live = 0;
    let mut in_use = false;
    for id in &ids {
        let record = Session::read(state, uid, id);
        if record.as_ref().is_some_and(|it| !tree.is_of(it.owner, &it.cgroup_root)) {
            // Looked at with the tree that it is in.
            in_use = true;
            continue;
        }
        let leader =
            record.as_ref().map(|session| session.leader).or_else(|| Leader::of_session(id));
        let has_leader = leader.is_some_and(|leader| leader.is_alive());
        let leaf = record.as_ref().map_or_else(|| Tree::leaf_for(id), |it| it.leaf.clone());
        let has_members = !tree.members(uid, &leaf).is_empty();
        match &record {
            Some(session) if session.stage != Stage::Closed && has_leader => {
                live += 1;
                in_use = true;
            }
            Some(session) if has_members && !session.kill_at_logout => in_use = true,
            Some(session) if session.stage == Stage::Closed => {
                left.push(format!("uid {uid}, session {id}: it ended after its logout"));
            }
            Some(_) => left.push(format!("uid {uid}, session {id}: its leader is gone")),
            // One that is just being made has no record yet.
            None if has_leader => in_use = true,
            None => {
                in_use |= has_members;
                left.push(format!("uid {uid}, session {id}: a cgroup without a readable record"));
            }
        }
    }
    if !in_use && ids.is_empty() {
        if matches!(namespace::pinned(state, uid), Ok(Some(_))) {
            left.push(format!("uid {uid}: a pinned namespace without a session"));
        }
        if tree.users().contains(&uid) {
            left.push(format!("uid {uid}: a cgroup without a session"));
        }
    }
    (left, live)
}

/// The module denies where it is told nothing.
fn published(sources: &Sources, on_error: Login) -> Option<Finding> {
    let config = sources.argument();
    let goes_by = Login::published(&config);
    if goes_by == on_error {
        return None;
    }
    let what = format!(
        "without its helper the module would {} logins, on_error is \"{}\"",
        goes_by.name(),
        on_error.name()
    );
    let state = on_error_of(&config);
    Some(
        Finding::note(STATE, what)
            .remedy(format!("the next login sets {state}; cgsandbox gc does it now")),
    )
}
