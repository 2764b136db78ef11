//! What the kernel offers, and what it takes to do without.

use rustix::thread::CapabilitySet;

use super::Finding;
use crate::cgroup::{Controller, Version};
use crate::host::Host;
use crate::loopback;
use crate::state::State;

const KERNEL: &str = "kernel";

/// Something that a file of cgroupfs tells.
struct Feature {
    file: &'static str,
    /// The controller that it belongs to; none for all cgroups of v2.
    controller: Option<Controller>,
    /// The first Linux that has it, as (major, minor).
    since: (u32, u32),
    without: &'static str,
}

const FEATURES: [Feature; 4] = [
    Feature {
        file: "cgroup.freeze",
        controller: None,
        since: (5, 2),
        without: "processes left at logout are killed one by one",
    },
    Feature {
        file: "cgroup.kill",
        controller: None,
        since: (5, 14),
        without: "processes left at logout are frozen, and killed one by one",
    },
    Feature {
        file: "memory.peak",
        controller: Some(Controller::Memory),
        since: (5, 19),
        without: "the log has no memory_peak",
    },
    Feature {
        file: "pids.peak",
        controller: Some(Controller::Pids),
        since: (6, 1),
        without: "the log has no pids_peak",
    },
];

/// `localhost`: whether anybody is to have one of its own.
pub(super) fn look(state: &State, host: &Host, localhost: bool) -> Vec<Finding> {
    let mut findings = vec![procfs(host)];
    findings.extend(localhost.then(|| loopback(host)));
    findings.extend(addresses(loopback::addresses_on_lo(state)));
    findings.extend(features(host));
    findings.extend(capabilities());
    findings
}

fn procfs(host: &Host) -> Finding {
    match &host.no_procfs {
        None => Finding::ok(KERNEL, "the mount API and own procfs instances (5.8) are there"),
        Some(error) => {
            let what = format!("no user can have a private /proc: {error}");
            let needed = match error.is_denied() {
                true => {
                    "allow this container, or the program that a security module restricts, to \
                         make mount namespaces and to mount procfs"
                }
                false => "boot a newer kernel",
            };
            let remedy = format!("{needed}; or set hidepid = \"off\" to do without");
            Finding::problem(KERNEL, what).remedy(remedy)
        }
    }
}

fn loopback(host: &Host) -> Finding {
    let lack = host.no_loopback.clone();
    let why = || loopback::try_out().unwrap_or_else(Some).map(|error| error.to_string());
    match lack.or_else(why) {
        None => {
            Finding::ok(KERNEL, "the BPF programs of loopback = \"private\" are accepted (5.11)")
        }
        Some(why) => {
            let what = format!("no user can have a private localhost: {why}");
            let remedy = "boot a newer kernel with cgroup v2; or set loopback = \"shared\" to do \
                          without";
            Finding::problem(KERNEL, what).remedy(remedy)
        }
    }
}

/// From how many addresses on `lo` on their cost is worth a word: resolving a name takes twice
/// as long.
const MANY_ADDRESSES: usize = 100;

fn addresses(on_lo: usize) -> Option<Finding> {
    let what = format!(
        "{on_lo} users have an IPv6 address on lo: every program that resolves a name reads them all"
    );
    let remedy = "set net.ipv6.ip_nonlocal_bind = 1 in /etc/sysctl.d, so that one route serves \
                  all; see \"What many users cost\" in cgsandbox.toml(5)";
    (on_lo >= MANY_ADDRESSES).then(|| Finding::note(KERNEL, what).remedy(remedy))
}

fn features(host: &Host) -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut there = Vec::new();
    let mut findings = Vec::new();
    for feature in FEATURES {
        let Some(has) = has(host, &feature, &release) else { continue };
        let (major, minor) = feature.since;
        if has {
            there.push(format!("{} ({major}.{minor})", feature.file));
        } else {
            let what = format!("no {}: {}", feature.file, feature.without);
            let remedy = format!("nothing needs to be done; Linux {major}.{minor} has it");
            findings.push(Finding::note(KERNEL, what).remedy(remedy));
        }
    }
    if !there.is_empty() {
        let what = format!("Linux {release} has {}", there.join(", "));
        findings.insert(0, Finding::ok(KERNEL, what));
    }
    findings
}

/// By the file, for distributions bring features to older kernels; by the version where there
/// is no cgroup to look into. None where the host's cgroups have no use for it.
fn has(host: &Host, feature: &Feature, release: &str) -> Option<bool> {
    let sample = match feature.controller {
        None => {
            let mut hierarchies = host.tree.hierarchies().iter();
            host.sample(hierarchies.find(|h| h.version == Version::Unified)?)
        }
        Some(controller) => {
            let hierarchy = host.tree.carrier(controller)?;
            // v1 has another file for it, which was always there.
            if controller == Controller::Memory && hierarchy.version == Version::Legacy {
                return None;
            }
            host.sample_of(hierarchy, controller)
        }
    };
    match sample {
        Some(cgroup) => Some(cgroup.join(feature.file).exists()),
        None => version(release).map(|version| version >= feature.since),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn capabilities() -> Option<Finding> {
    let held = rustix::thread::capabilities(None).ok()?.effective;
    if held.contains(CapabilitySet::SYS_RESOURCE) {
        return None;
    }
    let what = "root here has no CAP_SYS_RESOURCE: no rlimit can be raised over sshd's hard limit";
    Some(
        Finding::note(KERNEL, what)
            .remedy("grant it to this container, or raise sshd's own limits"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn few_addresses_on_lo_are_not_worth_a_word() {
        assert_eq!(addresses(MANY_ADDRESSES - 1), None);
        assert!(addresses(MANY_ADDRESSES).unwrap().what.starts_with("100 users"));
    }

    #[test]
    fn the_version_is_the_first_two_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.14.0-427.el9.x86_64"), Some((5, 14)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("none"), None);
        assert!((5, 14) >= (5, 2), "minor numbers are numbers");
    }
}
