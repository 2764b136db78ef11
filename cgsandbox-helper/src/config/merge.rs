//! From the files' layers to one policy: overriding, inheritance, and what only shows
//! once everything is together.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cgsandbox_protocol::Login;

use super::diagnostic::{Origin, Problem, Sourced, did_you_mean};
use super::schema::{Draft, Layer, MOST_PROBLEMS};
use super::value::Memory;
use crate::loopback::address::{Address, Pool};
use crate::policy::{Match, Policy, Profile, Resolved, Rule};

/// Deeper than anybody can follow; keeps the work linear in the size of the files.
const DEEPEST_INHERITANCE: usize = 16;

/// Among how many profiles the one that was meant is looked for.
const MOST_NAMES: usize = 1000;

/// Puts later layers over earlier ones: keys override, profiles merge, rules add up.
pub(super) fn merge(layers: Vec<Layer>, problems: &mut Vec<Problem>) -> Policy {
    let mut on_error = Login::Deny;
    let mut exempt = Match::default();
    let mut services = super::DEFAULT_SERVICES.map(str::to_owned).to_vec();
    let mut service_origins = BTreeMap::new();
    let mut cgroup_root = super::DEFAULT_CGROUP_ROOT.to_owned();
    let mut pool = Pool::default();
    let mut given: BTreeMap<String, Sourced<Ipv4Addr>> = BTreeMap::new();
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for layer in layers {
        on_error = layer.on_error.map_or(on_error, |login| login.value);
        exempt = layer.exempt.unwrap_or(exempt);
        if let Some(named) = layer.services {
            services = named.iter().map(|service| service.value.clone()).collect();
            service_origins = named.into_iter().map(|it| (it.value, it.origin)).collect();
        }
        cgroup_root = layer.cgroup_root.unwrap_or(cgroup_root);
        pool.v4 = layer.loopback_pool.unwrap_or(pool.v4);
        pool.v6 = layer.loopback_prefix.unwrap_or(pool.v6);
        given.extend(layer.loopback_addresses);
        for (name, later) in layer.profiles {
            let draft = match drafts.remove(&name) {
                None => later,
                Some(earlier) => {
                    let mut values = later.values;
                    Arc::make_mut(&mut values).inherit(&earlier.values);
                    let inherits = later.inherits.or(earlier.inherits);
                    Draft { named: earlier.named, inherits, values }
                }
            };
            drafts.insert(name, draft);
        }
        rules.extend(layer.rules);
    }
    let profiles = resolve(&drafts, problems);
    for rule in &rules {
        if problems.len() < MOST_PROBLEMS && !drafts.contains_key(&rule.profile.value) {
            problems.push(unknown_profile(&rule.profile, &drafts));
        }
    }
    let addresses = addresses(&pool, given, problems);
    Policy {
        on_error,
        exempt,
        services,
        service_origins,
        cgroup_root,
        pool,
        addresses,
        profiles,
        rules,
    }
}

/// What users were given explicitly, in the pool and each to one user only.
fn addresses(
    pool: &Pool,
    given: BTreeMap<String, Sourced<Ipv4Addr>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Sourced<Address>> {
    let mut addresses: BTreeMap<String, Sourced<Address>> = BTreeMap::new();
    let mut owners: HashMap<Ipv4Addr, (String, Origin)> = HashMap::new();
    for (name, v4) in given {
        let problem = |message: String| Problem::at(v4.origin.clone(), message);
        match (pool.of_v4(v4.value), owners.get(&v4.value)) {
            (None, _) => {
                let first = pool.v4;
                let help =
                    format!("write an address after the first of {first}, the loopback_pool");
                note(Some(problem(format!("{} cannot be given", v4.value)).help(help)), problems);
            }
            (Some(_), Some((other, first))) => {
                let twice = problem(format!("{} is {other}'s already", v4.value));
                let twice = twice.see(first.clone(), "is given here");
                note(Some(twice.help("give each user another")), problems);
            }
            (Some(address), None) => {
                owners.insert(v4.value, (name.clone(), v4.origin.clone()));
                addresses.insert(name, Sourced { value: address, origin: v4.origin });
            }
        }
    }
    addresses
}

fn resolve(
    drafts: &BTreeMap<String, Draft>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Resolved> {
    let mut profiles = BTreeMap::new();
    for (name, draft) in drafts {
        if problems.len() >= MOST_PROBLEMS {
            break;
        }
        match inherit(name, draft, drafts) {
            Ok(resolved) => {
                note(contradiction(&resolved.profile), problems);
                profiles.insert(name.clone(), resolved);
            }
            Err(problem) => note(Some(problem), problems),
        }
    }
    profiles
}

/// What several profiles inherit is reported once.
pub(super) fn note(problem: Option<Problem>, problems: &mut Vec<Problem>) {
    problems.extend(problem.filter(|problem| !problems.contains(problem)));
}

fn inherit(
    name: &str,
    draft: &Draft,
    drafts: &BTreeMap<String, Draft>,
) -> Result<Resolved, Problem> {
    let mut profile = Arc::clone(&draft.values);
    let mut chain = vec![name.to_owned()];
    let mut last = draft;
    while let Some(parent) = &last.inherits {
        let Some(next) = drafts.get(&parent.value) else {
            return Err(unknown_profile(parent, drafts));
        };
        if let Some(start) = chain.iter().position(|name| *name == parent.value) {
            return Err(cycle(&chain[start..], drafts));
        }
        if chain.len() == DEEPEST_INHERITANCE {
            let message = format!("profiles inherit more than {DEEPEST_INHERITANCE} deep");
            return Err(Problem::at(parent.origin.clone(), message)
                .help("let this profile inherit from one nearer to the last"));
        }
        Arc::make_mut(&mut profile).inherit(&next.values);
        chain.push(parent.value.clone());
        last = next;
    }
    // "all" has done its work once it has kept an inherited list out.
    if profile.allowed_cpus.as_ref().is_some_and(|cpus| cpus.ranges().is_empty()) {
        Arc::make_mut(&mut profile).allowed_cpus = None;
    }
    Ok(Resolved { profile, chain, origin: draft.named.clone() })
}

/// Told from its alphabetically first member, so that all members tell the same.
fn cycle(members: &[String], drafts: &BTreeMap<String, Draft>) -> Problem {
    let first = members.iter().enumerate().min_by_key(|(_, name)| *name).map_or(0, |(at, _)| at);
    let mut names: Vec<&str> = members.iter().map(String::as_str).collect();
    names.rotate_left(first);
    let origin = |name: &str| drafts.get(name).and_then(|draft| draft.inherits.as_ref());
    let places: Vec<&Origin> =
        names.iter().filter_map(|name| origin(name)).map(|inherits| &inherits.origin).collect();
    names.extend(names.first().copied());
    let message = format!("profiles inherit in a circle: {}", names.join(" -> "));
    let problem = match places.first() {
        Some(at) => Problem::at((*at).clone(), message),
        None => Problem::of("", message),
    };
    problem.help("remove one of these inherits lines")
}

fn unknown_profile(named: &Sourced<String>, drafts: &BTreeMap<String, Draft>) -> Problem {
    // A login with such a mistake waits for this: among many names the search would take seconds.
    let names: Vec<&str> = drafts.keys().take(MOST_NAMES).map(String::as_str).collect();
    let problem = Problem::at(named.origin.clone(), format!("no profile \"{}\"", named.value));
    match did_you_mean(&named.value, &names) {
        Some(meant) => problem.help(format!("did you mean \"{meant}\"?")),
        None if names.is_empty() => problem.help(format!("write a [profile.{}]", named.value)),
        None if names.len() == MOST_NAMES => {
            problem.help(format!("write a [profile.{}]", named.value))
        }
        None => problem.help(format!("there are: {}", names.join(", "))),
    }
}

/// Values that are right one by one, but not together.
fn contradiction(profile: &Profile) -> Option<Problem> {
    let (high, max) = (profile.memory_high.as_ref()?, profile.memory_max.as_ref()?);
    let above = match (high.value, max.value) {
        (Memory::Bytes(high), Memory::Bytes(max)) => high > max,
        (Memory::Percent(high), Memory::Percent(max)) => high > max,
        // Which one is larger depends on the machine; applied as they are.
        _ => false,
    };
    above.then(|| {
        let message = format!(
            "memory_high ({}) is above memory_max ({}): it would have no effect",
            high.value, max.value
        );
        Problem::at(high.origin.clone(), message)
            .see(max.origin.clone(), "is the maximum")
            .help("lower memory_high, or leave it out")
    })
}
