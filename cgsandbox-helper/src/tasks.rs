//! Whether a user's tasks limit leaves room for one more login, and what uses it up.
//!
//! The kernel moves a process into a full cgroup, and refuses the next fork there: sshd would end
//! the connection without a word. So the login is refused while sshd can still tell the user why.

use std::collections::BTreeMap;

use crate::cgroup::{Controller, Tree, read_number};
use crate::session::command_of;

/// sshd's own process for the connection, and the one that becomes the user's shell.
const OF_A_LOGIN: u64 = 2;

/// How many processes are looked at for [`Full::by`].
const LOOKED_AT: usize = 2000;

/// How many names are told.
const TOLD: usize = 3;

/// A user who has used up the tasks limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// How many tasks there are.
    pub used: u64,
    /// How many there may be.
    pub max: u64,
    /// The names of most of them, with their numbers: `36 sleep, 3 bash`.
    pub by: String,
}

/// Whether `uid` has used up the tasks limit that is in force, so that `leader`, which is in
/// the user's cgroup already or not, could start nothing there.
pub fn full(tree: &Tree, uid: u32, is_inside: bool) -> Option<Full> {
    let directory = tree.user_in(tree.carrier(Controller::Pids)?, uid);
    // "max" is no number.
    let max = read_number(&directory.join("pids.max"))?;
    let used = read_number(&directory.join("pids.current"))?;
    of(tree, uid, used, max, OF_A_LOGIN - u64::from(is_inside))
}

/// Whether `uid` would have, with a limit of `max`. Before the first login nothing is used.
pub fn full_by(tree: &Tree, uid: u32, max: u64) -> Option<Full> {
    let directory = tree.user_in(tree.carrier(Controller::Pids)?, uid);
    let used = read_number(&directory.join("pids.current")).unwrap_or(0);
    of(tree, uid, used, max, OF_A_LOGIN)
}

fn of(tree: &Tree, uid: u32, used: u64, max: u64, needed: u64) -> Option<Full> {
    (used + needed > max).then(|| Full { used, max, by: names(&tree.user_members(uid)) })
}

/// What most of `pids` run.
fn names(pids: &[u32]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for pid in pids.iter().take(LOOKED_AT) {
        let name = printable(&command_of(*pid));
        if !name.is_empty() {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = counts.iter().take(TOLD).map(|(name, count)| format!("{count} {name}"));
    told.collect::<Vec<_>>().join(", ")
}

/// Processes choose their names: nothing in one may move the cursor of a terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_nothing_to_a_terminal() {
        assert_eq!(printable("sleep"), "sleep");
        assert_eq!(printable("a b\x1b[2J\n\u{202e}"), "a?b?[2J??");
    }

    #[test]
    fn what_runs_most_often_comes_first() {
        let own = std::process::id();
        let told = names(&[own, own, 1]);
        assert!(told.starts_with("2 "), "{told}");
    }
}
