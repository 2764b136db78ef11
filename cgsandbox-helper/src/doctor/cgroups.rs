//! Which back end makes the users' cgroups, and with which controllers.

use std::path::Path;

use super::Finding;
use crate::cgroup::{Controller, Owner, Tree, Version};
use crate::host::Host;
use crate::systemd::{self, SLICE};

const CGROUPS: &str = "cgroups";

pub(super) fn look(host: &Host) -> Vec<Finding> {
    let mut findings = vec![back_end(host)];
    findings.extend(controllers(host));
    findings.extend(slice_of_helpers(host));
    findings
}

/// Whether helpers have a cgroup of their own. Where systemd does not make the cgroups, sshd is in
/// none of the user's when it starts them.
fn slice_of_helpers(host: &Host) -> Option<Finding> {
    if host.tree.owner() != Owner::Systemd {
        return None;
    }
    let limits = host.tree.carrier(Controller::Pids).map(|hierarchy| hierarchy.version);
    if limits == Some(Version::Legacy) {
        let what = "limits are cgroup v1's: helpers run under the limits of the users that they \
                    serve; users who use up their limits can slow down their own logins and logouts";
        let remedy = "boot with systemd.unified_cgroup_hierarchy=1 if all software supports it";
        return Some(Finding::note(CGROUPS, what).remedy(remedy));
    }
    if systemd::has_slice() {
        return Some(Finding::ok(CGROUPS, format!("helpers run in {SLICE}, out of users' reach")));
    }
    let what = format!(
        "{SLICE} is not active: helpers run under the limits of the users that they serve; \
         users who use up their limits cannot log in or out cleanly"
    );
    let remedy = format!("systemctl start {SLICE}; cgsandbox-gc.timer starts it at boot");
    Some(Finding::problem(CGROUPS, what).remedy(remedy))
}

fn back_end(host: &Host) -> Finding {
    let name = host.tree.back_end();
    match &host.no_cgroups {
        Some(why) => Finding::problem(CGROUPS, format!("no cgroups can be used: {why}"))
            .remedy("mount them so that root can write: mount -t cgroup2 none /sys/fs/cgroup"),
        None if host.tree.owner() == Owner::Systemd => match systemd::version() {
            Ok(version) => {
                Finding::ok(CGROUPS, format!("back end {name} {version}, {}", layout(&host.tree)))
            }
            Err(error) => Finding::problem(CGROUPS, format!("back end {name}: {error}"))
                .remedy("until it answers, on_error decides what happens to logins"),
        },
        None => Finding::ok(CGROUPS, format!("back end {name}, {}", layout(&host.tree))),
    }
}

fn layout(tree: &Tree) -> String {
    let tracking = tree.hierarchies().first();
    let at = tracking.map(|h| h.mount.display().to_string()).unwrap_or_default();
    let has = |version| tree.hierarchies().iter().any(|h| h.version == version);
    match (has(Version::Unified), has(Version::Legacy)) {
        (true, false) => format!("cgroup v2 at {at}"),
        (true, true) => format!("cgroup v1, and v2 for tracking at {at}"),
        _ => "cgroup v1".to_owned(),
    }
}

/// One finding for those that are there, one for each that is not.
fn controllers(host: &Host) -> Vec<Finding> {
    let mut there = Vec::new();
    let mut findings = Vec::new();
    for controller in Controller::ALL {
        let name = controller.name(Version::Unified);
        match (host.carries(controller), host.tree.carrier(controller)) {
            (Ok(_), Some(hierarchy)) => there.push((name, hierarchy.mount.as_path())),
            (Err(why), Some(_)) => {
                let what = format!("controller {name} exists, but not for users: {why}");
                let remedy = "until this is fixed, its directives are missing from every sandbox";
                findings.push(Finding::note(CGROUPS, what).remedy(remedy));
            }
            (_, None) if host.no_cgroups.is_some() => {}
            (_, None) => {
                let what = format!("there is no controller {name}; its directives are missing");
                findings.push(Finding::note(CGROUPS, what).remedy(remedy_for(controller)));
            }
        }
    }
    if !there.is_empty() {
        let what = format!("controllers {}", places(&there));
        findings.insert(0, Finding::ok(CGROUPS, what));
    }
    findings
}

fn remedy_for(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "boot with cgroup_enable=memory; in a container, have it delegated",
        _ => "mount its hierarchy; in a container, have it delegated",
    }
}

/// `cpu, memory at /sys/fs/cgroup`, or each with a place of its own.
fn places(there: &[(&str, &Path)]) -> String {
    let mut by_place: Vec<(&Path, Vec<&str>)> = Vec::new();
    for (name, mount) in there {
        match by_place.iter_mut().find(|(known, _)| known == mount) {
            Some((_, names)) => names.push(name),
            None => by_place.push((mount, vec![name])),
        }
    }
    let each =
        by_place.iter().map(|(at, names)| format!("{} at {}", names.join(", "), at.display()));
    each.collect::<Vec<_>>().join(", ")
}
