//! Groups of a size that universities have, and what NSS makes of their names.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::time::Instant;

use cgsandbox_rig::{Host, patience};
use serde_json::Value;

const BY_GROUP: &str = "exempt = [\"@wheel\", \"@sudo\"]\n[profile.default]\ntasks_max = 50\n\
                        [profile.staff]\ntasks_max = 60\n\
                        [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n\
                        [[rule]]\nmatch = \"@staff\"\nprofile = \"staff\"\n";

/// Adds `number` groups of `size` members each, alice one of them.
fn add_groups(host: &Host, number: usize, size: usize) {
    let mut text = host.read("/etc/group").unwrap();
    let others: String = (1..size).map(|at| format!(",student{at:04}")).collect();
    for at in 0..number {
        let _ = writeln!(text, "course{at}:x:{}:alice{others}", 700_000 + at);
    }
    host.write("/etc/group", text);
}

fn tasks_max(host: &Host) -> String {
    host.read(host.users_cgroup("alice", "pids").join("pids.max")).unwrap()
}

#[test]
fn a_user_in_many_large_groups_logs_in() {
    let arguments = format!("timeout={}s", patience(3.0).as_secs());
    let build = Host::build().member("alice", &["staff"]).module_arguments(&arguments);
    let host = build.policy(BY_GROUP).start();
    let login = || {
        let started = Instant::now();
        let session = host.spawn_session("alice");
        let took = started.elapsed();
        assert_eq!(tasks_max(&host), "60\n");
        session.logout();
        took
    };
    login();
    let before = login();
    add_groups(&host, 500, 2000);
    let after = login();
    // sshd and the user's shell read the groups as well.
    assert!(after < before + patience(2.0), "{before:?}, with the groups {after:?}");
    let told = host.as_root(["cgsandbox", "explain", "alice"]).within(30.0).run();
    assert!(told.stdout.contains("staff ("), "{told:?}");
}

#[test]
fn a_group_with_more_members_than_nss_hands_over_counts() {
    let host = Host::build().member("alice", &["staff"]).policy(BY_GROUP).start();
    let members: String = (0..100_000).map(|at| format!(",student{at:06}")).collect();
    host.sh("sed -i 's/^staff:.*:alice$/&@/' /etc/group");
    let text = host.read("/etc/group").unwrap().replace('@', &members);
    assert!(text.len() > 1 << 20);
    host.write("/etc/group", text);
    let _session = host.spawn_session("alice");
    assert_eq!(tasks_max(&host), "60\n");
}

#[test]
fn a_group_counts_under_each_of_its_names() {
    let host = Host::build().member("alice", &["crew"]).policy(BY_GROUP).start();
    host.sh("sed -n 's/^crew:\\(.*\\):.*/staff:\\1:/p' /etc/group >>/etc/group");
    let _session = host.spawn_session("alice");
    assert_eq!(tasks_max(&host), "60\n");
}

/// NSS then has no answer for what the local files do not have.
fn break_directory(host: &Host) {
    host.write("/etc/nsswitch.conf", "passwd: files\ngroup: files hesiod\nshadow: files\n");
    host.sh("ln -sfn hesiod.conf /etc/hesiod.conf");
    let asked = host.as_root(["python3", "-c", ASK_FOR_WHEEL]).run();
    assert!(asked.stderr.contains("OSError"), "a look-up is to fail: {asked:?}");
}

/// Python tells a failure from "no such group".
const ASK_FOR_WHEEL: &str = "import ctypes, os\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    if libc.getgrnam(b'wheel') == 0 and ctypes.get_errno() not in (0, 2):\n\
    \traise OSError(ctypes.get_errno())";

#[test]
fn a_directory_that_fails_refuses_nobody_whose_groups_are_local() {
    let host = Host::build().member("alice", &["staff"]).policy(BY_GROUP).start();
    break_directory(&host);
    let _session = host.spawn_session("alice");
    assert_eq!(tasks_max(&host), "60\n");
}

#[test]
fn without_groups_only_who_is_exempt_by_name_gets_in() {
    let policy = BY_GROUP.replace("\"@sudo\"", "\"bob\"");
    let host = Host::build().user("alice").user("bob").policy(&policy).start();
    host.sh("ln -sfn group /etc/group");
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "look up", "group "]);
    host.ssh("bob").cmd("true").run().ok();
    assert_eq!(host.ssh("root").cmd("echo in").run().ok(), "in");
}

#[test]
fn explain_says_what_a_login_comes_to_while_groups_cannot_be_looked_up() {
    let policy = BY_GROUP.replace("\"@sudo\"", "\"bob\"");
    let host = Host::build().user("alice").user("bob").policy(&policy).start();
    host.sh("ln -sfn group /etc/group");
    let explain = |user| {
        let said = host.as_root(["cgsandbox", "explain", user, "--json"]).run();
        let told: Option<Value> = serde_json::from_str(&said.stdout).ok();
        told.unwrap_or_else(|| panic!("{said:?}"))
    };
    let bob = explain("bob");
    assert_eq!((&bob["login"], &bob["ok"]), (&"unconfined".into(), &true.into()), "{bob}");
    assert!(bob["why"].as_str().unwrap().starts_with("exempt by \"bob\""), "{bob}");
    host.ssh("bob").cmd("true").run().ok();
    let alice = explain("alice");
    assert_eq!((&alice["login"], &alice["ok"]), (&"refused".into(), &false.into()), "{alice}");
    host.ssh("alice").cmd("true").run().refused();
    let line = host.wait_log(&["event=session_denied", "user=alice"]);
    let (_, cause) = alice["why"].as_str().unwrap().rsplit_once(": ").unwrap();
    assert!(line.contains(&format!("cause={cause:?}")), "{cause}: {line}");
}

#[test]
fn apply_lets_go_of_who_is_exempt_by_name_while_groups_cannot_be_looked_up() {
    let host = Host::build().user("alice").user("bob").policy(BY_GROUP).start();
    let (alice, bob) = (host.spawn_session("alice"), host.spawn_session("bob"));
    let group = host.read("/etc/group").unwrap();
    host.set_policy(&BY_GROUP.replace("\"@sudo\"", "\"bob\"").replace("= 50", "= 70"));
    host.sh("ln -sfn group /etc/group");
    let said = host.as_root(["cgsandbox", "apply"]).run();
    assert!(said.status == 1 && said.stderr.contains("look up"), "{said:?}");
    let of_bob = host.read(host.users_cgroup("bob", "pids").join("pids.max")).unwrap();
    assert_eq!((tasks_max(&host), of_bob), ("50\n".to_owned(), "max\n".to_owned()));
    host.wait_log(&["event=policy_applied", "user=bob", "enforced=none"]);
    host.sh("rm /etc/group");
    host.write("/etc/group", group);
    alice.logout();
    bob.logout();
    host.assert_nothing_left();
}
