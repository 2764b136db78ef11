//! What a usable configuration hardly means.

mod host;

pub use host::{Facts, lint_for_host};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::diagnostic::{Problem, SourceText, Sourced};
use super::merge::note;
use crate::loopback::ports::Free;
use crate::policy::{Match, Pattern, Policy, Rule, Subject, Who};

/// Warnings about `policy`, made from `texts`; `exists` asks NSS whether there is such a
/// user or group.
pub fn lint(policy: &Policy, texts: &[SourceText], exists: impl Fn(&Who) -> bool) -> Vec<Problem> {
    let mut warnings = Vec::new();
    warnings.extend(nobody_is_sandboxed(policy, texts));
    warnings.extend(unused_profiles(policy));
    warnings.extend(rules_that_never_win(policy));
    let lists = [&policy.exempt].into_iter().chain(policy.rules.iter().map(|rule| &rule.matches));
    let mut seen: HashSet<&Who> = HashSet::new();
    for pattern in lists.flat_map(|matches| &matches.0) {
        if seen.insert(&pattern.who) {
            warnings.extend(names_nobody(pattern, &exists));
        }
    }
    warnings.into_iter().map(Problem::warning).collect()
}

/// Users among `users` whose private localhosts would be the same, or who can have none.
pub fn collisions(policy: &Policy, texts: &[SourceText], users: &[Subject]) -> Vec<Problem> {
    let file = texts.first().map(|source| &*source.path).unwrap_or_default();
    let mut taken: BTreeMap<Ipv4Addr, &Subject> = BTreeMap::new();
    let mut problems = Vec::new();
    for user in users.iter().filter(|user| policy.is_private(user)) {
        let problem = |message: String| match policy.given_address(user) {
            Some(given) => Problem::at(given.origin.clone(), message),
            None => Problem::of(file, message),
        };
        let (name, uid) = (&user.name, user.uid);
        let Some(address) = policy.address_of(user) else {
            let message = format!("{name} (uid {uid}) has no address in {}", policy.pool.v4);
            problems.push(problem(message).help("give it one in [loopback_addresses]"));
            continue;
        };
        if let Some(other) = taken.insert(address.v4, user)
            && other.uid != uid
        {
            let (v4, first) = (address.v4, &other.name);
            let message = format!("{v4} would be the localhost of {first} and of {name}");
            problems
                .push(problem(message).help("give one of them another in [loopback_addresses]"));
        }
    }
    problems
}

/// Services of the machine's whose ports a user can take while they are down.
pub fn squattable(policy: &Policy, free: &Free) -> Vec<Problem> {
    let lists = policy.profiles.values().filter_map(|one| one.profile.loopback_services.as_ref());
    let problems = lists.flat_map(|list| {
        list.value.iter().filter(|port| free.has(port.number())).map(|port| {
            let number = port.number();
            let message = format!(
                "port {number} can be given by the kernel to programs that ask for any port"
            );
            Problem::at(list.origin.clone(), message).warning().help(format!(
                "reserve it: sysctl net.ipv4.ip_local_reserved_ports={number}, in /etc/sysctl.d too"
            ))
        })
    });
    let mut told = Vec::new();
    problems.for_each(|problem| note(Some(problem), &mut told));
    told
}

fn nobody_is_sandboxed(policy: &Policy, texts: &[SourceText]) -> Option<Problem> {
    let file = texts.first().map(|source| &*source.path).unwrap_or_default();
    if policy.services.is_empty() {
        return Some(
            Problem::of(file, "services is empty, so nobody is sandboxed")
                .help("write services = [\"sshd\"]"),
        );
    }
    let everyone = |matches: &Match| {
        let fits_all = |pattern: &Sourced<Pattern>| pattern.who == Who::Everyone;
        matches.0.iter().find(|pattern| fits_all(pattern)).cloned()
    };
    if let Some(pattern) = everyone(&policy.exempt)
        && policy.exempt.0.iter().all(|pattern| !pattern.negated)
    {
        return Some(
            Problem::at(pattern.origin, "everyone is exempt, so nobody is sandboxed")
                .help("exempt administrators only: [\"@wheel\"]"),
        );
    }
    if policy.rules.iter().all(|rule| everyone(&rule.matches).is_none()) {
        return Some(
            Problem::of(file, "no rule is for everyone, so other users are not sandboxed")
                .help("if this is not intended, add a [[rule]] with match = \"*\""),
        );
    }
    None
}

fn unused_profiles(policy: &Policy) -> impl Iterator<Item = Problem> {
    let chains = policy.rules.iter().filter_map(|rule| policy.profiles.get(&rule.profile.value));
    let used: BTreeSet<&str> =
        chains.flat_map(|profile| &profile.chain).map(String::as_str).collect();
    policy.profiles.iter().filter(move |(name, _)| !used.contains(name.as_str())).map(
        |(name, profile)| {
            Problem::at(profile.origin.clone(), format!("no rule leads to profile \"{name}\""))
                .help("name it in a [[rule]], or remove it")
        },
    )
}

fn rules_that_never_win(policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, rule) in policy.rules.iter().enumerate() {
        let later = policy.rules.get(at + 1..).unwrap_or_default();
        if let Some(winner) = beaten_everywhere(rule, later) {
            let problem = Problem::at(rule.origin.clone(), "this rule never wins");
            problems.push(
                problem
                    .see(winner.origin.clone(), "wins instead: among equals the later one wins")
                    .help("remove it, or move it below the other"),
            );
        } else if rule.matches.0.iter().all(|own| own.negated || covers(&policy.exempt, own, rule))
        {
            problems.push(
                Problem::at(rule.origin.clone(), "everyone this rule is for is exempt")
                    .help("remove the rule, or take them out of exempt"),
            );
        }
    }
    problems
}

/// The last of the later rules that take every user from `rule`, if they do. Rules in
/// later files are there to do so.
fn beaten_everywhere<'a>(rule: &Rule, later: &'a [Arc<Rule>]) -> Option<&'a Rule> {
    let same_file = later.iter().take_while(|other| other.origin.file == rule.origin.file);
    let later = &later[..same_file.count()];
    let mut last = None;
    for own in rule.matches.0.iter().filter(|own| !own.negated) {
        last = last.max(Some(later.iter().rposition(|other| covers(&other.matches, own, rule))?));
    }
    later.get(last?).map(|rule| &**rule)
}

/// Whether `matches` has whomever `rule` has by its pattern `own`: the same pattern, and
/// nobody left out who is not left out of `rule` as well.
fn covers(matches: &Match, own: &Pattern, rule: &Rule) -> bool {
    let in_rule =
        |pattern: &Sourced<Pattern>| rule.matches.0.iter().any(|own| own.value == pattern.value);
    matches.0.iter().any(|pattern| pattern.value == *own)
        && matches.0.iter().all(|pattern| !pattern.negated || in_rule(pattern))
}

/// The administrators' groups of one distribution or the other: the configuration that
/// ships names both, and no host has both.
const CUSTOMARY: [&str; 2] = ["sudo", "wheel"];

fn names_nobody(pattern: &Sourced<Pattern>, exists: impl Fn(&Who) -> bool) -> Option<Problem> {
    let problem = |message: String| Problem::at(pattern.origin.clone(), message);
    match &pattern.who {
        Who::User(name) if name == "root" || name == "0" => Some(
            problem("root is never sandboxed, whatever is written here".to_owned())
                .help("remove it"),
        ),
        Who::User(name) if !exists(&pattern.who) => Some(
            problem(format!("no user \"{name}\" is known here"))
                .help("a group is written \"@name\"; is a directory server unreachable?"),
        ),
        Who::Group(name) if !CUSTOMARY.contains(&name.as_str()) && !exists(&pattern.who) => Some(
            problem(format!("no group \"{name}\" is known here"))
                .help("create it or remove it; is a directory server unreachable?"),
        ),
        _ => None,
    }
}
