//! What a usable configuration hardly means on this host: it speaks of what is not here.

use super::super::diagnostic::{Origin, Problem, Sourced, did_you_mean};
use super::super::merge::note;
use super::super::value::{CpuSet, IoLimit, Limit, Memory};
use crate::policy::{Pattern, Policy, Profile, Who};

/// What the warnings depend on.
pub struct Facts<'a> {
    /// The uid of a user, if there is one of this name.
    pub uid_of: &'a dyn Fn(&str) -> Option<u32>,
    /// The PAM services with a file.
    pub services: Vec<String>,
    /// Whether something is at this path.
    pub exists: &'a dyn Fn(&str) -> bool,
    /// The processors; none where the kernel does not tell.
    pub cpus: Option<CpuSet>,
    /// All of the memory, in bytes.
    pub memory: u64,
    /// Whether there is swap.
    pub swap: bool,
}

/// Ships in the configuration for all hosts, and is not on those without systemd.
const USER_MANAGER: &str = "systemd-user";

/// What distributions call the same.
const OTHER_NAMES: [(&str, &str); 4] =
    [("ssh", "sshd"), ("crond", "cron"), ("cron", "crond"), ("at", "atd")];

/// Warnings about `policy` on a host of which `facts` are known.
pub fn lint_for_host(policy: &Policy, facts: &Facts<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    found.extend(unknown_services(policy, facts));
    let peers = policy.profiles.values().filter_map(|it| it.profile.loopback_peers.as_deref());
    let lists = [&policy.exempt].into_iter().chain(policy.rules.iter().map(|rule| &rule.matches));
    for pattern in lists.chain(peers).flat_map(|list| &list.0) {
        note(number_or_name(pattern, facts), &mut found);
    }
    for profile in policy.profiles.values().map(|resolved| &*resolved.profile) {
        for problem in session_above_user(profile, facts.memory) {
            note(Some(problem), &mut found);
        }
        note(high_above_max(profile, facts.memory), &mut found);
        note(high_without_swap(profile, facts), &mut found);
        note(absent_cpus(profile, facts), &mut found);
        for problem in absent_paths(profile, facts) {
            note(Some(problem), &mut found);
        }
    }
    found.into_iter().map(Problem::warning).collect()
}

fn unknown_services(policy: &Policy, facts: &Facts<'_>) -> Vec<Problem> {
    let known: Vec<&str> = facts.services.iter().map(String::as_str).collect();
    // Without any, this is no host with PAM: the configuration is checked for another one.
    let written = policy.service_origins.iter().filter(|_| !known.is_empty());
    let absent =
        written.filter(|(name, _)| **name != USER_MANAGER && !known.contains(&name.as_str()));
    let problem = |(name, origin): (&String, &Origin)| {
        let message = format!("no PAM service \"{name}\" is here: there is no /etc/pam.d/{name}");
        let other = OTHER_NAMES.iter().find(|(one, two)| one == name && known.contains(two));
        let meant = other.map(|(_, two)| *two).or_else(|| did_you_mean(name, &known));
        let help = match meant {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "the names are those of the files in /etc/pam.d".to_owned(),
        };
        Problem::at(origin.clone(), message).help(help)
    };
    absent.map(problem).collect()
}

/// A number that is both somebody's name and somebody else's uid.
fn number_or_name(pattern: &Sourced<Pattern>, facts: &Facts<'_>) -> Option<Problem> {
    let Who::User(text) = &pattern.who else { return None };
    let number: u32 = text.parse().ok()?;
    let uid = (facts.uid_of)(text).filter(|uid| *uid != number)?;
    let message = format!("\"{text}\" is the user with this name, whose uid is {uid}");
    Some(
        Problem::at(pattern.origin.clone(), message)
            .help(format!("for the uid {number} write \"{number}:{number}\"")),
    )
}

fn session_above_user(profile: &Profile, memory: u64) -> Vec<Problem> {
    let bytes = |value: Memory| value.bytes(memory);
    let number = |value: Limit| value.number();
    let p = profile;
    let above = [
        above("memory_max", &p.session_memory_max, &p.memory_max, bytes),
        above("memory_high", &p.session_memory_high, &p.memory_high, bytes),
        above("memory_swap_max", &p.session_memory_swap_max, &p.memory_swap_max, bytes),
        above("cpu_quota", &p.session_cpu_quota, &p.cpu_quota, |quota| quota.per_second()),
        above("tasks_max", &p.session_tasks_max, &p.tasks_max, number),
    ];
    above.into_iter().flatten().collect()
}

/// Of two that are numbers, the login's above the user's.
fn above<T: Copy + std::fmt::Display>(
    directive: &str,
    session: &Option<Sourced<T>>,
    user: &Option<Sourced<T>>,
    number: impl Fn(T) -> Option<u64>,
) -> Option<Problem> {
    let (session, user) = (session.as_ref()?, user.as_ref()?);
    let is_above = number(session.value)? > number(user.value)?;
    is_above.then(|| {
        let message = format!(
            "session_{directive} ({}) is above {directive} ({}): it would have no effect",
            session.value, user.value
        );
        Problem::at(session.origin.clone(), message)
            .see(user.origin.clone(), "is for all of the user's logins together")
            .help(format!("lower session_{directive}, or leave it out"))
    })
}

/// An amount against a share: which is larger depends on the machine.
fn high_above_max(profile: &Profile, memory: u64) -> Option<Problem> {
    let (high, max) = (profile.memory_high.as_ref()?, profile.memory_max.as_ref()?);
    let is_above = high.value.bytes(memory)? > max.value.bytes(memory)?;
    is_above.then(|| {
        let message = format!(
            "memory_high ({}) is above memory_max ({}) on this machine: it would have no effect",
            high.value, max.value
        );
        Problem::at(high.origin.clone(), message)
            .see(max.origin.clone(), "is the maximum")
            .help("lower memory_high, or leave it out")
    })
}

/// Beyond `memory_high` the kernel makes programs wait until it has freed memory. Without swap
/// there may be nothing to free: what leaks then crawls towards `memory_max` for minutes.
fn high_without_swap(profile: &Profile, facts: &Facts<'_>) -> Option<Problem> {
    let high = profile.memory_high.as_ref()?;
    let bytes = high.value.bytes(facts.memory)?;
    let max = profile.memory_max.as_ref().and_then(|max| max.value.bytes(facts.memory));
    let no_swap_for_user = profile
        .memory_swap_max
        .as_ref()
        .is_some_and(|max| max.value.bytes(facts.memory) == Some(0));
    let is_close = max.is_some_and(|max| bytes >= max / 100 * 95);
    if (facts.swap && !no_swap_for_user) || is_close {
        return None;
    }
    let then = match max {
        Some(_) => "for minutes before memory_max ends it",
        None => "and nothing ends it: there is no memory_max",
    };
    let message =
        format!("without swap a program over memory_high ({}) stands still {then}", high.value);
    Some(
        Problem::at(high.origin.clone(), message)
            .help("write memory_max, and memory_high not at all or at 95% of it or more"),
    )
}

fn absent_cpus(profile: &Profile, facts: &Facts<'_>) -> Option<Problem> {
    let (asked, here) = (profile.allowed_cpus.as_ref()?, facts.cpus.as_ref()?);
    let is_here =
        |cpu: u16| here.ranges().iter().any(|(first, last)| (*first..=*last).contains(&cpu));
    let absent = asked
        .ranges()
        .iter()
        .flat_map(|(first, last)| *first..=*last)
        .find(|cpu| !is_here(*cpu))?;
    let message = format!("this machine has no processor {absent}: it has {here}");
    Some(Problem::at(asked.origin.clone(), message).help(format!("write some of {here}")))
}

fn absent_paths(profile: &Profile, facts: &Facts<'_>) -> Vec<Problem> {
    let lists = [
        &profile.io_read_bandwidth_max,
        &profile.io_write_bandwidth_max,
        &profile.io_read_iops_max,
        &profile.io_write_iops_max,
    ];
    let limits = lists.into_iter().flatten();
    let limits = limits.flat_map(|list| list.value.iter().map(|limit| (limit, &list.origin)));
    let absent = limits.filter(|(limit, _)| !(facts.exists)(&limit.path));
    absent
        .map(|(IoLimit { path, .. }, origin)| {
            Problem::at(origin.clone(), format!("there is no {path} on this host"))
                .help("name a device, or anything on the disk that is meant")
        })
        .collect()
}
