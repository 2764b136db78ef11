//! What the kernel and the host's cgroups offer.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::Finding;
use crate::cgroup::{Controller, Tree, Version};
use crate::host::Host;
use crate::plan;

const HOST: &str = "host";

/// A file of cgroupfs that tells whether the kernel has a feature.
struct Feature {
    file: &'static str,
    /// The controller that it belongs to; none for all cgroups of v2.
    controller: Option<Controller>,
    since: &'static str,
    /// What it takes to do without.
    without: &'static str,
}

const FEATURES: [Feature; 4] = [
    Feature {
        file: "cgroup.freeze",
        controller: None,
        since: "5.2",
        without: "processes left at logout are killed one by one",
    },
    Feature {
        file: "cgroup.kill",
        controller: None,
        since: "5.14",
        without: "processes left at logout are frozen and killed one by one",
    },
    Feature {
        file: "memory.peak",
        controller: Some(Controller::Memory),
        since: "5.19",
        without: "the log does not have memory_peak",
    },
    Feature {
        file: "pids.peak",
        controller: Some(Controller::Pids),
        since: "6.1",
        without: "the log does not have pids_peak",
    },
];

pub(super) fn look(cgroup_root: &str) -> Vec<Finding> {
    let mut host = match Host::look(cgroup_root) {
        Ok(host) => host,
        Err(error) => return vec![Finding::problem(HOST, error.to_string())],
    };
    host.foresee_cgroups();
    let mut findings = vec![back_end(&host)];
    findings.extend(controllers(&host));
    findings.push(procfs(&host));
    findings.extend(features(&host));
    findings.extend(capabilities());
    findings
}

fn back_end(host: &Host) -> Finding {
    match plan::back_end(host) {
        Err(error) => {
            let remedy = "none yet; on_error decides what becomes of logins meanwhile";
            Finding::problem(HOST, error.to_string()).remedy(remedy)
        }
        Ok(name) => match &host.no_cgroups {
            Some(why) => Finding::problem(HOST, format!("no cgroups: {why}"))
                .remedy("mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
            None => Finding::ok(HOST, format!("back end {name}, {}", layout(&host.tree))),
        },
    }
}

fn layout(tree: &Tree) -> String {
    let versions: Vec<Version> = tree.hierarchies().iter().map(|h| h.version).collect();
    let at = tree.hierarchies().first().map(|h| h.mount.display().to_string()).unwrap_or_default();
    match (versions.contains(&Version::Unified), versions.contains(&Version::Legacy)) {
        (true, false) => format!("cgroup v2 at {at}"),
        (true, true) => format!("cgroup v1 with v2 for tracking at {at}"),
        _ => "cgroup v1".to_owned(),
    }
}

/// One line for those that are there, one for each that is not.
fn controllers(host: &Host) -> Vec<Finding> {
    let mut there = Vec::new();
    let mut findings = Vec::new();
    for controller in Controller::ALL {
        let name = controller.name(Version::Unified);
        match (host.carries(controller), host.tree.carrier(controller)) {
            (Ok(_), Some(hierarchy)) => there.push((name, hierarchy.mount.as_path())),
            (Err(why), Some(_)) => {
                let what = format!("controller {name} is refused: {why}");
                let remedy = "its directives are missing from every sandbox till then";
                findings.push(Finding::note(HOST, what).remedy(remedy));
            }
            (_, None) if host.no_cgroups.is_some() => {}
            (_, None) => {
                let what = format!("controller {name} is not there; its directives are missing");
                findings.push(Finding::note(HOST, what).remedy(remedy_for(controller)));
            }
        }
    }
    if !there.is_empty() {
        findings.insert(0, Finding::ok(HOST, format!("controllers: {}", places(&there))));
    }
    findings
}

fn remedy_for(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "boot with cgroup_enable=memory; in a container, have it delegated",
        _ => "mount its hierarchy; in a container, have it delegated",
    }
}

/// `cpu, memory (/sys/fs/cgroup)`, or each with its own place.
fn places(there: &[(&str, &Path)]) -> String {
    let same = there.iter().all(|(_, mount)| *mount == there[0].1);
    match same {
        true => {
            let names: Vec<&str> = there.iter().map(|(name, _)| *name).collect();
            format!("{} at {}", names.join(", "), there[0].1.display())
        }
        false => {
            let each = there.iter().map(|(name, mount)| format!("{name} at {}", mount.display()));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

fn procfs(host: &Host) -> Finding {
    match &host.no_procfs {
        None => Finding::ok(HOST, "the mount API and own procfs instances (Linux 5.8) are there"),
        Some(error) => {
            Finding::problem(HOST, format!("no user can have a /proc of its own: {error}"))
                .remedy("a newer kernel; or hidepid = \"off\" to say that it is not wanted")
        }
    }
}

fn features(host: &Host) -> Vec<Finding> {
    let tree = &host.tree;
    let mut there = Vec::new();
    let mut findings = Vec::new();
    for feature in FEATURES {
        let hierarchy = match feature.controller {
            None => tree.hierarchies().iter().find(|h| h.version == Version::Unified),
            Some(controller) => tree.carrier(controller),
        };
        // v1 has another file for it, which was always there.
        let v1_memory = feature.file == "memory.peak"
            && hierarchy.is_some_and(|h| h.version == Version::Legacy);
        let Some(hierarchy) = hierarchy.filter(|_| !v1_memory) else { continue };
        match host.sample_cgroup(hierarchy).map(|cgroup| cgroup.join(feature.file).exists()) {
            Some(true) => there.push(format!("{} ({})", feature.file, feature.since)),
            Some(false) => {
                let what = format!("no {}: {}", feature.file, feature.without);
                let remedy = format!("nothing to do; Linux {} has it", feature.since);
                findings.push(Finding::note(HOST, what).remedy(remedy));
            }
            // No cgroup to look into: nobody has logged in, and nothing else has made one.
            None => {}
        }
    }
    if !there.is_empty() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        findings.insert(0, Finding::ok(HOST, format!("Linux {release} has {}", there.join(", "))));
    }
    findings
}

fn capabilities() -> Option<Finding> {
    let held = rustix::thread::capabilities(None).ok()?.effective;
    if held.contains(CapabilitySet::SYS_RESOURCE) {
        return None;
    }
    let what = "root here has no CAP_SYS_RESOURCE: no rlimit can be raised over sshd's hard limit";
    Some(Finding::note(HOST, what).remedy("grant it to this container, or raise sshd's own limits"))
}
