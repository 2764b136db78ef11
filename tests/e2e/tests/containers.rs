//! Rootless containers in a sandbox: what runs, and what cgsandbox.toml(5) says of the rest.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Session};

/// Makes a bundle for a container that runs `command`: the machine's programs, a user namespace.
const BUNDLE: &str = r#"
import json, os, sys
runtime, command = sys.argv[1:]
os.makedirs("bundle/rootfs", exist_ok=True)
os.chdir("bundle")
if os.path.exists("config.json"):
    os.remove("config.json")
assert os.system(runtime + " spec --rootless") == 0
config = json.load(open("config.json"))
config["process"].update(terminal=False, args=["sh", "-c", command])
config["root"]["readonly"] = False
for path in ["/usr", "/bin", "/lib", "/lib64"]:
    if os.path.isdir(path):
        config["mounts"].append(
            {"destination": path, "type": "bind", "source": os.path.realpath(path),
             "options": ["rbind", "ro"]})
json.dump(config, open("config.json", "w"))
"#;

fn run(session: &mut Session<'_>, runtime: &str, command: &str) -> String {
    let make = format!("cd && python3 /tmp/bundle.py {runtime} '{command}'");
    let start = format!("{runtime} --root $HOME/containers run --bundle $HOME/bundle one");
    session.sh_within(&format!("{make} && {start}"), 60.0)
}

fn host(policy: &str) -> Host {
    let host = Host::build().user("alice").policy(policy).start();
    host.write("/tmp/bundle.py", BUNDLE);
    // As on a host that has version 2 alone.
    host.sh("umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    host
}

#[test]
fn rootless_containers_run_in_a_sandbox() {
    let host = host("[profile.default]\n");
    let mut alice = host.spawn_session("alice");
    let said = run(&mut alice, "crun", "echo in a container of uid $(id -u)");
    assert_eq!(said, "in a container of uid 0");
    alice.logout();
    host.assert_nothing_left();
}

/// It goes down to its cgroup by openat2(2) with RESOLVE_NO_XDEV, which allows no mount on the way. What
/// hides other users' cgroups, those that come later too, is such a mount.
#[test]
fn runc_meets_the_mount_that_hides_the_cgroups_of_others() {
    let host = host("[profile.default]\n");
    let mut alice = host.spawn_session("alice");
    let said = run(&mut alice, "runc", "echo in a container");
    assert!(said.contains("openat2") && said.contains("invalid cross-device link"), "{said}");
    alice.logout();
    host.assert_nothing_left();
}

#[test]
fn runc_runs_where_the_profile_shows_the_cgroups_of_others() {
    let host = host("[profile.default]\nhide_cgroups = false\n");
    let mut alice = host.spawn_session("alice");
    let said = run(&mut alice, "runc", "echo in a container of uid $(id -u)");
    assert_eq!(said, "in a container of uid 0");
    assert_eq!(alice.sh("test -e /proc/1 || echo hidden"), "hidden");
    alice.logout();
    host.assert_nothing_left();
}
