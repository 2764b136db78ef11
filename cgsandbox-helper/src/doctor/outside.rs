//! Processes that are in another place than their user's sandbox. Through `/proc/PID/root` of one
//! outside, the user's processes inside see all of `/proc` again; a daemon inside has the user's
//! limits, and whatever it starts for others has them too.

use std::path::Path;

use super::Finding;
use crate::cgroup::Tree;
use crate::misplaced::{self, Process};
use crate::session::{Session, Stage, USER_MANAGER};
use crate::state::{State, names_in};
use crate::{gc, namespace, systemd, teardown};

const PROCESSES: &str = "processes";

/// How many of a user's are named.
const SHOWN: usize = 5;

/// The daemon of libcgroup that moves processes into cgroups, and its rules (cgrules.conf(5)).
const CGRULESENGD: &str = "cgrulesengd";
const CGRULES: &str = "/etc/cgrules.conf";
const MORE_CGRULES: &str = "/etc/cgrules.d";

pub(super) fn look(state: &State, cgroup_root: &str) -> Vec<Finding> {
    let uids = state.users();
    let mut findings: Vec<Finding> = cgrulesengd().into_iter().collect();
    let Ok(trees) = gc::trees(state, cgroup_root) else { return findings };
    findings.extend(uids.iter().filter_map(|uid| manager(state, &trees, *uid)));
    findings.extend(uids.iter().filter_map(|uid| sessions(state, *uid)));
    let outside = misplaced::outside(&trees, &uids);
    findings.extend(outside.into_iter().map(|(uid, processes)| finding(uid, &processes)));
    for uid in uids {
        let Ok(sessions) = teardown::live_sessions(state, uid) else { continue };
        let leaders: Vec<u32> = sessions.iter().map(|session| session.leader.pid).collect();
        for tree in &trees {
            let strangers = misplaced::strangers(tree, uid, &leaders);
            findings.extend((!strangers.is_empty()).then(|| inside(uid, &strangers)));
        }
    }
    findings
}

/// It moves processes by uid, group or name, whatever cgroup they are in by then.
fn cgrulesengd() -> Option<Finding> {
    let runs = Process::all().into_iter().find(|process| process.command == CGRULESENGD);
    let more = names_in(MORE_CGRULES.as_ref()).into_iter();
    let mut files = more.map(|name| Path::new(MORE_CGRULES).join(name));
    let rules = has_rules(Path::new(CGRULES)) || files.any(|file| has_rules(&file));
    let what = match (runs, rules) {
        (Some(process), _) => format!(
            "{CGRULESENGD} (pid {}) moves processes by {CGRULES}: users that a rule matches leave \
             their sandbox's cgroup and its limits",
            process.pid
        ),
        (None, true) => format!(
            "{CGRULES} has rules: if {CGRULESENGD} is started, it moves users that they match \
             out of their sandbox's cgroup"
        ),
        (None, false) => return None,
    };
    let remedy = format!(
        "stop and disable {CGRULESENGD}, or remove sandboxed users from {CGRULES}; moved processes \
         stay out until they end"
    );
    Some(Finding::note(PROCESSES, what).remedy(remedy))
}

fn has_rules(file: &Path) -> bool {
    let is_rule = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    std::fs::read_to_string(file).is_ok_and(|text| text.lines().any(is_rule))
}

fn inside(uid: u32, processes: &[Process]) -> Finding {
    let user = name(uid);
    let what = format!(
        "processes in {user}'s sandbox that are not {user}'s: {}; they and all that they start have {user}'s \
         limits, even after the logout",
        listed(processes)
    );
    let remedy = "restart them from a login of root or of an exempt user";
    Finding::note(PROCESSES, what).remedy(remedy)
}

/// Sessions that began before the policy gave the user a view.
fn sessions(state: &State, uid: u32) -> Option<Finding> {
    let namespace = namespace::pinned(state, uid).ok()??;
    let is_outside = |session: &Session| {
        let is_login = session.stage == Stage::Open && session.service != USER_MANAGER;
        is_login && !namespace::holds(&namespace, session.leader.pid).unwrap_or(true)
    };
    let live = teardown::live_sessions(state, uid).ok()?;
    let ids: Vec<&str> = live.iter().filter(|it| is_outside(it)).map(|it| it.id.as_str()).collect();
    if ids.is_empty() {
        return None;
    }
    let what = format!(
        "uid {uid} has sessions with the host's /proc beside others with a private one, and sees \
         all of /proc through them: {}",
        ids.join(", ")
    );
    let remedy = "they began before the policy hid processes; ask the user to log out of them";
    Some(Finding::note(PROCESSES, what).remedy(remedy))
}

/// A user manager that runs since before its PAM stack had our line.
fn manager(state: &State, trees: &[Tree], uid: u32) -> Option<Finding> {
    let namespace = namespace::pinned(state, uid).ok()??;
    let outside = |tree| systemd::manager_outside(tree, uid, &namespace);
    let pid = trees.iter().find_map(outside)?;
    let what = format!(
        "user@{uid}.service (pid {pid}) and the user's units are outside the sandbox, and let \
         it see all of /proc: it was started without the PAM line"
    );
    let remedy = format!("with the line in systemd-user: systemctl restart user@{uid}.service");
    Some(Finding::note(PROCESSES, what).remedy(remedy))
}

fn finding(uid: u32, processes: &[Process]) -> Finding {
    let what = format!(
        "{} is in a sandbox, but has processes outside it: {}",
        name(uid),
        listed(processes)
    );
    let remedy = "end them; if they come back, add the PAM line to the service that starts them";
    Finding::note(PROCESSES, what).remedy(remedy)
}

fn name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn listed(processes: &[Process]) -> String {
    let more = match processes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown: Vec<String> = processes.iter().take(SHOWN).map(Process::to_string).collect();
    format!("{}{more}", shown.join(", "))
}
