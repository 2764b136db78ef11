//! What limits the leader itself rather than its cgroup: rlimits and the OOM score.
//!
//! Both are inherited by everything that the leader starts, which is how they reach the
//! user's processes.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

use crate::config::value::Rlimit as Name;
use crate::error::{Error, Result};
use crate::kernel_file;

/// What a process had before its session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Rlimits that the session changed, as (soft, hard); none means no limit.
    pub rlimits: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// `oom_score_adj` where the session raised it.
    pub oom_score_adj: Option<i32>,
}

/// An rlimit to set: its name, soft and hard limit; none means no limit.
pub type Wanted = (Name, Option<u64>, Option<u64>);

/// What `pid` has now of what a session is going to change.
pub fn remember(pid: u32, wanted: &[Wanted]) -> Result<Previous> {
    // A policy without rlimits, which most are, costs no look at them.
    let limits = match wanted {
        [] => String::new(),
        _ => kernel_file::read(format!("/proc/{pid}/limits"))?,
    };
    let rlimits = wanted
        .iter()
        .filter_map(|(name, ..)| Some((name.name().to_owned(), in_limits(&limits, *name)?)))
        .collect();
    let oom_score_adj = oom_score_adj(pid).filter(|score| *score < 0);
    Ok(Previous { rlimits, oom_score_adj })
}

/// Sets the rlimits of `pid`; the names of those that it could not, with the reason.
///
/// Raising a hard limit takes CAP_SYS_RESOURCE, which a container's root may lack.
pub fn limit(pid: u32, wanted: &[Wanted]) -> Vec<(Name, Error)> {
    wanted
        .iter()
        .filter_map(|(name, soft, hard)| {
            set(pid, *name, (*soft, *hard)).err().map(|error| (*name, error))
        })
        .collect()
}

/// Brings `oom_score_adj` to 0 where it was lower: a daemon's protection from the OOM
/// killer must not pass to its users' processes.
pub fn end_oom_protection(pid: u32, previous: &Previous) -> Result<()> {
    match previous.oom_score_adj {
        Some(_) => set_oom_score_adj(pid, 0),
        None => Ok(()),
    }
}

/// Gives `pid` back what it had; what went wrong.
pub fn restore(pid: u32, previous: &Previous) -> Vec<Error> {
    let limits = previous.rlimits.iter().filter_map(|(name, limits)| {
        let name = Name::named(name)?;
        set(pid, name, *limits).or_else(|error| restore_below(pid, name, *limits, error)).err()
    });
    let mut errors: Vec<Error> = limits.collect();
    let score = previous.oom_score_adj.map(|score| set_oom_score_adj(pid, score));
    errors.extend(score.and_then(Result::err));
    errors.retain(|error| !error.is_no_process());
    errors
}

/// A container's root may not raise a hard limit again, and can do nothing about it: the soft one
/// goes back as far as the hard one lets it.
fn restore_below(
    pid: u32,
    name: Name,
    (soft, _): (Option<u64>, Option<u64>),
    error: Error,
) -> Result<()> {
    if error.errno != Some(Errno::PERM.raw_os_error()) {
        return Err(error);
    }
    let limits = kernel_file::read(format!("/proc/{pid}/limits"))?;
    let Some((_, hard)) = in_limits(&limits, name) else { return Err(error) };
    let soft = [soft, hard].into_iter().flatten().min();
    set(pid, name, (soft, hard))
}

fn set(pid: u32, name: Name, (soft, hard): (Option<u64>, Option<u64>)) -> Result<()> {
    let object = format!("rlimit {} of process {pid}", name.name());
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(Error::new("set", object, "no such process"));
    };
    let limit = Rlimit { current: soft, maximum: hard };
    prlimit(Some(id), resource(name), limit).map(drop).map_err(Error::os("set", object))
}

fn oom_score_adj(pid: u32) -> Option<i32> {
    kernel_file::read(format!("/proc/{pid}/oom_score_adj")).ok()?.trim().parse().ok()
}

fn set_oom_score_adj(pid: u32, score: i32) -> Result<()> {
    let path = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&path, score.to_string()).map_err(Error::os("write", path))
}

/// Soft and hard limit in the text of `/proc/PID/limits`.
fn in_limits(text: &str, name: Name) -> Option<(Option<u64>, Option<u64>)> {
    let (_, title) = kernel_words(name);
    let line = text.lines().find(|line| line.starts_with(title))?;
    let mut fields = line.get(title.len()..)?.split_whitespace();
    let mut number = || match fields.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some((number()?, number()?))
}

fn resource(name: Name) -> Resource {
    kernel_words(name).0
}

/// The resource for prlimit(2), and the first column of `/proc/PID/limits`.
fn kernel_words(name: Name) -> (Resource, &'static str) {
    match name {
        Name::As => (Resource::As, "Max address space"),
        Name::Core => (Resource::Core, "Max core file size"),
        Name::Cpu => (Resource::Cpu, "Max cpu time"),
        Name::Data => (Resource::Data, "Max data size"),
        Name::Fsize => (Resource::Fsize, "Max file size"),
        Name::Locks => (Resource::Locks, "Max file locks"),
        Name::Memlock => (Resource::Memlock, "Max locked memory"),
        Name::Msgqueue => (Resource::Msgqueue, "Max msgqueue size"),
        Name::Nice => (Resource::Nice, "Max nice priority"),
        Name::Nofile => (Resource::Nofile, "Max open files"),
        Name::Nproc => (Resource::Nproc, "Max processes"),
        Name::Rss => (Resource::Rss, "Max resident set"),
        Name::Rtprio => (Resource::Rtprio, "Max realtime priority"),
        Name::Rttime => (Resource::Rttime, "Max realtime timeout"),
        Name::Sigpending => (Resource::Sigpending, "Max pending signals"),
        Name::Stack => (Resource::Stack, "Max stack size"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_this_process_is_read() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        for name in Name::ALL {
            assert!(in_limits(&text, name).is_some(), "{}", name.name());
        }
    }

    #[test]
    fn what_was_changed_is_given_back() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let before = remember(pid, &[(Name::Core, None, None)]).unwrap();
        let hard = before.rlimits["core"].1;
        assert!(limit(pid, &[(Name::Core, Some(0), hard)]).is_empty());
        let during = remember(pid, &[(Name::Core, None, None)]).unwrap();
        assert_eq!(during.rlimits["core"].0, Some(0));
        assert_eq!(restore(pid, &before), []);
        assert_eq!(remember(pid, &[(Name::Core, None, None)]).unwrap(), before);
        // As to a container's root, which may lower a hard limit and not raise it again.
        let error = Error::os("set", "core")(Errno::PERM);
        assert!(limit(pid, &[(Name::Core, Some(0), Some(4096))]).is_empty());
        restore_below(pid, Name::Core, (Some(8192), None), error).unwrap();
        let after = remember(pid, &[(Name::Core, None, None)]).unwrap();
        assert_eq!(after.rlimits["core"], (Some(4096), Some(4096)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
