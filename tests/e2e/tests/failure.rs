//! When the sandbox can't be built, `on_error` decides, in time, and nothing half-made stays.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Instant;

use cgsandbox_rig::{Host, patience};

const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";
const STAND_IN: &str = "/usr/libexec/cgsandbox/stand-in";
const TRACE: &str = "/run/trace";

/// A host whose module runs `script` in place of the helper, once [`arm`] has put it there;
/// until then the real one.
fn host(on_error: &str) -> Host {
    let policy = format!("on_error = {on_error:?}\n[profile.default]\ntasks_max = 50\n");
    let arguments = format!("helper={STAND_IN} timeout={}s", patience(2.0).as_secs().min(6));
    let host = Host::build().user("alice").policy(&policy).module_arguments(&arguments).start();
    host.sh(&format!("cp {HELPER} {STAND_IN}"));
    host
}

fn arm(host: &Host, script: &str) {
    host.write(STAND_IN, format!("#!/bin/sh\n{script}\n"));
    host.sh(&format!("chmod 755 {STAND_IN}"));
}

#[track_caller]
fn assert_denied(host: &Host) {
    let start = Instant::now();
    let told = host.ssh("alice").cmd("echo in").run().refused();
    assert!(start.elapsed() < patience(6.0), "took {:?}", start.elapsed());
    assert!(!told.contains("in\n"), "{told}");
    assert_eq!(told.trim().lines().count(), 1, "one line for the user: {told:?}");
    assert!(!told.contains("/usr") && !told.contains("/run"), "internals: {told}");
    assert_eq!(host.ssh("root").cmd("echo in").run().ok(), "in");
    host.wait_log(&["event=session_denied", "user=alice"]);
    host.assert_nothing_left();
}

/// Alice gets in without a sandbox, and the log says so.
#[track_caller]
fn assert_allowed(host: &Host) {
    let start = Instant::now();
    let cgroups = host.ssh("alice").cmd("cat /proc/self/cgroup").run();
    assert!(start.elapsed() < patience(6.0), "took {:?}", start.elapsed());
    assert!(!cgroups.ok().contains(host.cgroup_root()), "{cgroups:?}");
    host.wait_log(&["event=degraded", "user=alice"]);
    host.assert_nothing_left();
}

/// A host that has once published `on_error = "allow"`.
fn allowing_host() -> Host {
    let host = host("allow");
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
    host
}

#[test]
fn without_a_helper_the_login_is_denied() {
    let host = host("deny");
    host.sh(&format!("rm {STAND_IN}"));
    assert_denied(&host);
}

#[test]
fn without_a_helper_the_login_is_allowed_if_so_configured() {
    let host = allowing_host();
    host.sh(&format!("rm {STAND_IN}"));
    assert_allowed(&host);
}

#[test]
fn without_a_helper_that_ever_ran_the_login_is_denied() {
    let host = host("allow");
    host.sh(&format!("rm {STAND_IN}"));
    assert_denied(&host);
}

#[test]
fn a_helper_that_cannot_be_executed_denies_the_login() {
    let host = host("deny");
    host.sh(&format!("chmod 644 {STAND_IN}"));
    assert_denied(&host);
}

#[test]
fn a_helper_that_cannot_be_executed_allows_the_login_if_so_configured() {
    let host = allowing_host();
    host.sh(&format!("chmod 644 {STAND_IN}"));
    assert_allowed(&host);
}

#[test]
fn a_helper_that_crashes_denies_the_login() {
    let host = host("deny");
    arm(&host, "kill -SEGV $$");
    assert_denied(&host);
}

#[test]
fn a_helper_that_hangs_denies_the_login_within_the_deadline() {
    let host = host("deny");
    arm(&host, "exec sleep 1000");
    assert_denied(&host);
    assert!(!host.sh("ps -e -o args=").contains("sleep 1000"), "the helper still runs");
}

#[test]
fn a_helper_that_hangs_allows_the_login_if_so_configured() {
    let host = allowing_host();
    arm(&host, "exec sleep 1000");
    assert_allowed(&host);
}

#[test]
fn a_helper_that_answers_nonsense_denies_the_login() {
    let host = host("deny");
    arm(&host, "printf 'cgsandbox/1\\0enter\\0' >&3; exec sleep 1000");
    assert_denied(&host);
}

#[test]
fn a_helper_that_hangs_at_logout_does_not_hold_the_connection() {
    let host = host("deny");
    arm(&host, &format!("[ $1 = open ] && exec {HELPER} \"$@\"; exec sleep 1000"));
    let start = Instant::now();
    host.ssh("alice").cmd("true").run().ok();
    assert!(start.elapsed() < patience(8.0), "took {:?}", start.elapsed());
    cgsandbox_rig::eventually("the connection ends", 10.0, || host.connections().is_empty());
    // The helper that was killed may be in the session's cgroup for a moment.
    cgsandbox_rig::eventually("gc removes what is left", 10.0, || {
        host.as_root(["cgsandbox", "gc"]).run().ok();
        host.leftovers().is_empty()
    });
}

/// Runs the helper under strace when it is asked to `open` or `close`. `-D` makes the tracer a
/// grandchild: the helper stays the child of the process that runs the module.
fn traced(operation: &str, options: &str) -> String {
    format!(
        "[ $1 = {operation} ] || exec {HELPER} \"$@\"\n\
         exec /usr/bin/strace -D -qq -o {TRACE} {options} {HELPER} \"$@\""
    )
}

fn open_and_close(host: &Host) -> cgsandbox_rig::Output {
    open_and_close_through(host, "sshd")
}

fn open_and_close_through(host: &Host, service: &str) -> cgsandbox_rig::Output {
    let limit = 20.0;
    host.as_root(["pamtester", service, "alice", "open_session", "close_session"])
        .within(limit)
        .run()
}

/// Every system call that the helper makes after its start, as name and how many.
fn calls_of(host: &Host, operation: &str) -> BTreeMap<String, usize> {
    arm(host, &traced(operation, ""));
    open_and_close(host).ok();
    let trace = host.read(TRACE).unwrap();
    let mut calls = BTreeMap::new();
    for name in trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name) {
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    // Before these there is no helper, and after them none any more.
    calls.retain(|name, _| name != "execve" && name != "exit_group");
    assert!(calls.len() > 10, "strace shows too little: {trace}");
    calls
}

/// The calls that change something outside the process: each of them is a step.
const EFFECTS: &[&str] = &[
    "mkdir",
    "mkdirat",
    "write",
    "mount",
    "umount2",
    "pivot_root",
    "move_mount",
    "fsmount",
    "open_tree",
    "mount_setattr",
    "rename",
    "renameat",
    "renameat2",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "prlimit64",
    "unshare",
    "setns",
    "sendmsg",
    "sendto",
    "recvmsg",
    "recvfrom",
    "flock",
    "bpf",
    "kill",
];

/// Kills the helper at each of its effects, and at the first and last of its other calls; on an
/// emulated machine at the first and last of its effects.
fn kill_everywhere(host: &Host, operation: &str, mut after_each: impl FnMut(&str)) {
    let calls = calls_of(host, operation);
    for (name, count) in calls {
        let (effect, emulated) = (EFFECTS.contains(&name.as_str()), patience(1.0).as_secs() > 1);
        let ends = |when: usize| when == 1 || when == count;
        let wanted =
            |when: &usize| if emulated { effect && ends(*when) } else { effect || ends(*when) };
        for when in (1..=count).filter(wanted) {
            let inject = format!("-e trace={name} -e inject={name}:signal=KILL:when={when}");
            arm(host, &traced(operation, &inject));
            after_each(&format!("{operation} killed at {name} {when} of {count}"));
        }
    }
}

#[test]
fn a_helper_killed_at_any_step_of_open_leaves_nothing() {
    let host = host("deny");
    kill_everywhere(&host, "open", |at| {
        let output = open_and_close(&host);
        let left = host.leftovers();
        // At its last steps the sandbox stands already, and the module knows.
        assert!(left.is_empty(), "{at}: {left:#?}\n{output:?}");
    });
    host.sh(&format!("install -m 755 {HELPER} {STAND_IN}"));
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
}

#[test]
fn a_helper_killed_at_any_step_of_a_private_localhost_leaves_nothing() {
    let host = host("deny");
    host.set_policy("on_error = \"deny\"\n[profile.default]\nloopback = \"private\"\n");
    kill_everywhere(&host, "open", |at| {
        let output = open_and_close(&host);
        let left = host.leftovers();
        assert!(left.is_empty(), "{at}: {left:#?}\n{output:?}");
    });
    host.sh(&format!("install -m 755 {HELPER} {STAND_IN}"));
    let mut session = host.spawn_session("alice");
    host.wait_log(&["event=session_open", "enforced=full", "address=127."]);
    session.sh("true");
    session.logout();
    host.assert_nothing_left();
}

#[test]
fn a_helper_killed_at_any_step_of_close_is_made_good_by_the_next() {
    let host = host("deny");
    kill_everywhere(&host, "close", |at| {
        open_and_close(&host);
        arm(&host, &format!("exec {HELPER} \"$@\""));
        let output = open_and_close(&host);
        assert_eq!(output.status, 0, "{at}: {output:?}");
        let left = host.leftovers();
        assert!(left.is_empty(), "{at}: {left:#?}");
    });
}

/// A user may have a crontab under another configuration, and be able to make sshd's opens fail.
#[test]
fn on_error_of_one_configuration_is_none_of_anothers() {
    let host = host("deny");
    let root = host.cgroup_root();
    let other = format!(
        "version = 1\non_error = \"allow\"\nservices = [\"cron\"]\ncgroup_root = {root:?}\n\
         [profile.default]\n[[rule]]\nmatch = \"*\"\nprofile = \"default\"\n"
    );
    host.write("/etc/other.toml", other);
    let line =
        format!("session required pam_cgsandbox.so config=/etc/other.toml helper={STAND_IN}");
    host.write("/etc/pam.d/cron", format!("session required pam_permit.so\n{line}\n"));
    let open = |service| open_and_close_through(&host, service);
    open("sshd").ok();
    open("cron").ok();
    host.wait_log(&["event=session_close", "service=cron"]);
    host.sh(&format!("chmod 644 {STAND_IN}"));
    assert_ne!(open("sshd").status, 0);
    open("cron").ok();
    host.wait_log(&["event=degraded", "service=cron", "enforced=none"]);
    host.wait_log(&["event=session_denied", "service=sshd"]);
}

/// As on a machine that runs from the root that its kernel has booted with.
#[test]
fn where_the_root_cannot_be_exchanged_logins_have_their_view_all_the_same() {
    let host = host("deny");
    let options = "-e trace=pivot_root -e inject=pivot_root:error=EINVAL";
    arm(&host, &traced("open", options));
    open_and_close(&host).ok();
    let trace = host.read(TRACE).unwrap();
    assert!(trace.contains("INJECTED"), "{trace}");
    host.sh(&format!("cp {HELPER} {STAND_IN}"));
    let mut first = host.spawn_session("alice");
    let mut second = host.spawn_session("alice");
    let view = "test -e /proc/1 || readlink /proc/self/ns/mnt";
    assert_eq!(first.sh(view), second.sh(view));
    assert!(first.sh(view).starts_with("mnt:"));
    first.logout();
    second.logout();
    host.assert_nothing_left();
}
