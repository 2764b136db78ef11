//! The line in services that the configuration is not for, and services without it.

use std::collections::BTreeMap;

use super::{PAM, Surroundings};
use crate::config::did_you_mean;
use crate::doctor::Finding;
use crate::pam_stack::{Directories, Line};

/// Services whose stacks are asked to check or change something, and run nothing for a user.
const RUN_NOTHING: [&str; 9] =
    ["other", "passwd", "chpasswd", "chfn", "chsh", "newusers", "polkit-1", "vlock", "groupmems"];

/// What pam-auth-update(8) puts its profiles' session lines into.
const COMMON: &str = "common-session";

/// Looks at all but `services`.
pub(super) fn look(
    directories: &Directories,
    services: &[String],
    around: &Surroundings,
) -> Vec<Finding> {
    let others = directories.services().into_iter().filter(|name| !services.contains(name));
    // By the line, for many services may include the same one.
    let mut with: BTreeMap<String, (Line, Vec<String>)> = BTreeMap::new();
    let mut without = Vec::new();
    for name in others {
        let Some(stack) = directories.stack(&name) else { continue };
        match stack.line() {
            // A line for all is no mistake in a service that runs nothing.
            Some(line) if RUN_NOTHING.contains(&name.as_str()) && line.is_common() => {}
            Some(line) => {
                let entry = with.entry(line.to_string()).or_insert((line.clone(), Vec::new()));
                entry.1.push(name);
            }
            None if !stack.session.is_empty() => without.push(name),
            None => {}
        }
    }
    let mut findings: Vec<Finding> =
        with.values().map(|(line, names)| idle(line, names, services)).collect();
    let runs_programs = |name: &String| {
        !name.starts_with("common-")
            && !RUN_NOTHING.contains(&name.as_str())
            && around.has_use_for(name)
    };
    without.retain(runs_programs);
    findings.extend(outside(&without));
    findings
}

/// A line where the helper leaves everybody alone, because the configuration says so.
fn idle(line: &Line, names: &[String], services: &[String]) -> Finding {
    let known: Vec<&str> = services.iter().map(String::as_str).collect();
    let list = names.join(", ");
    let (what, remedy) = match names {
        [name] if name.chars().any(char::is_uppercase) => (
            format!("{line}: PAM looks up services in lower case, and never uses {name}"),
            format!("rename that file to {}, or remove it", name.to_lowercase()),
        ),
        [name] if line.file.ends_with(name) => {
            let what = format!(
                "{line}: the line does nothing for {name}: services in the configuration does not \
                 name it"
            );
            let remedy = match did_you_mean(name, &known) {
                Some(meant) => format!(
                    "if {meant} is meant, run cgsandbox disable --service {name} and enable \
                     --service {meant}; else add \"{name}\" to services in cgsandbox.toml"
                ),
                None => format!(
                    "add \"{name}\" to services in cgsandbox.toml, or run cgsandbox disable \
                     --service {name}"
                ),
            };
            (what, remedy)
        }
        _ => (
            format!(
                "{line}: the line does nothing for {list}: services in the configuration does \
                 not name them"
            ),
            "where a sandbox is wanted, add the name to services in cgsandbox.toml".to_owned(),
        ),
    };
    Finding::note(PAM, what).remedy(remedy)
}

fn outside(names: &[String]) -> Option<Finding> {
    if names.is_empty() {
        return None;
    }
    let what = format!(
        "programs that a user runs through {} are in no sandbox, and let the same user's \
         sandbox see all of /proc",
        names.join(", ")
    );
    let remedy = "run: cgsandbox enable --service NAME, and add the name to services in \
                  cgsandbox.toml";
    Some(Finding::note(PAM, what).remedy(remedy))
}

/// Whether pam-auth-update has put the line into what all services include.
pub(super) fn profile(directories: &Directories, around: &Surroundings) -> Option<Finding> {
    let common = directories.stack(COMMON).filter(|_| directories.has(COMMON))?;
    match (common.line(), around.profile) {
        (Some(line), true) => {
            Some(Finding::ok(PAM, format!("pam-auth-update's profile has the line in {line}")))
        }
        (Some(line), false) => {
            let what = format!("{line} has the line, but no profile of pam-auth-update's does");
            let remedy = "if this is not intended: pam-auth-update --force, or remove the line";
            Some(Finding::note(PAM, what).remedy(remedy))
        }
        (None, true) => {
            Some(Finding::ok(PAM, "pam-auth-update's profile \"cgsandbox\" is not switched on"))
        }
        (None, false) => None,
    }
}
