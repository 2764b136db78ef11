//! System services whose cgroup systemd has given to a user (`User=` with `Delegate=`): it moves the
//! user's own processes there whenever the user asks (`AttachProcessesToUnit`), out of the slice
//! and its limits. The system bus has no rule that could tell such a call from those that
//! `systemd-run --user --scope` needs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use crate::cgroup::{mounted, unescape};
use crate::systemd;

const PROCESSES: &str = "processes";

/// The slice of all users: what is delegated in there has the limits.
const USER_SLICE: &str = "user.slice";

/// Deeper there are no units that are not some unit's own doing.
const DEPTH: usize = 6;

/// Uids of people (login.defs(5), `UID_MIN` and what systemd takes for containers).
const PEOPLE: std::ops::Range<u32> = 1000..61184;

pub(super) fn look() -> Vec<Finding> {
    let mut units = Vec::new();
    let Ok(hierarchies) = mounted() else { return Vec::new() };
    if !systemd::is_manager() {
        return Vec::new();
    }
    for hierarchy in &hierarchies {
        find(&hierarchy.mount, DEPTH, &mut units);
    }
    units.sort();
    units.dedup();
    units.into_iter().filter_map(|(uid, unit)| finding(uid, &unit)).collect()
}

fn find(directory: &Path, depth: usize, units: &mut Vec<(u32, String)>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(about) = entry.metadata() else { continue };
        if !about.is_dir() || name == USER_SLICE {
            continue;
        }
        match about.uid() {
            0 if depth > 0 => find(&entry.path(), depth - 1, units),
            uid if PEOPLE.contains(&uid) => units.push((uid, unescape(&name))),
            _ => {}
        }
    }
}

/// None for a uid that is no user's of this host.
fn finding(uid: u32, unit: &str) -> Option<Finding> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?.name;
    let what = format!(
        "{unit} is delegated to {user}: systemd moves {user}'s processes into it when {user} asks, \
         out of the sandbox's limits"
    );
    let remedy = format!(
        "remove Delegate= from the unit, or run it in {user}'s own manager (systemctl --user)"
    );
    Some(Finding::note(PROCESSES, what).remedy(remedy))
}
