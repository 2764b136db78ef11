//! A PAM session that is opened out of a sandbox stays in that sandbox, and only such a one does.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use cgsandbox_rig::{Host, Output};

/// A shell command that moves the shell into every session cgroup that there is.
fn into_the_leaf(host: &Host) -> String {
    let is_leaf = |path: &&std::path::PathBuf| path.to_string_lossy().contains("/session-");
    let cgroups = host.cgroups();
    let leaves: Vec<_> = cgroups.iter().filter(is_leaf).collect();
    assert!(!leaves.is_empty());
    leaves.iter().map(|leaf| format!("echo $$ >{}/cgroup.procs; ", leaf.display())).collect()
}

/// Runs `command` in the host's view and in the cgroup of the session that is open.
fn in_the_leaf(host: &Host, command: &str) -> Output {
    let script = format!("{} {command}", into_the_leaf(host));
    host.as_root(["sh", "-c", &script]).run()
}

const LOGIN: &str = "exec pamtester sshd alice open_session close_session";

/// As when systemd gives up a user manager that cannot end: the next one starts in the same cgroup,
/// and in the host's view.
#[test]
fn a_process_in_the_users_cgroup_with_the_hosts_view_gets_a_sandbox() {
    let host = Host::build().user("alice").start();
    let first = host.spawn_session("alice");
    in_the_leaf(&host, LOGIN).ok();
    let opened = |line: &&String| line.contains("event=session_open");
    assert_eq!(host.log().iter().filter(opened).count(), 2, "{:?}", host.log());
    first.logout();
    host.assert_nothing_left();
}

/// Where the policy gives no view of its own the cgroup alone tells.
#[test]
fn without_a_view_of_its_own_the_cgroup_tells_who_is_nested() {
    let policy = "[profile.default]\nhidepid = \"off\"\n";
    let host = Host::build().user("alice").policy(policy).start();
    let first = host.spawn_session("alice");
    in_the_leaf(&host, LOGIN).ok();
    let opened = |line: &&String| line.contains("event=session_open");
    assert_eq!(host.log().iter().filter(opened).count(), 1, "{:?}", host.log());
    first.logout();
    host.assert_nothing_left();
}

/// A session that began before the policy hid processes has no view, though the user has one by
/// now: su in it does not lead out of that session's limits.
#[test]
fn a_session_from_before_the_view_keeps_what_is_opened_in_it() {
    let host = Host::build().user("alice").policy("[profile.default]\nhidepid = \"off\"\n").start();
    let first = host.spawn_session("alice");
    let enter = into_the_leaf(&host);
    host.set_policy("[profile.default]\n");
    let second = host.spawn_session("alice");
    host.as_root(["sh", "-c", &format!("{enter} {LOGIN}")]).run().ok();
    let opened = |line: &&String| line.contains("event=session_open");
    assert_eq!(host.log().iter().filter(opened).count(), 2, "{:?}", host.log());
    second.logout();
    first.logout();
    host.assert_nothing_left();
}

/// systemd starts a user manager by itself, never out of a session.
#[test]
fn a_user_manager_is_never_nested() {
    let policy = "services = [\"sshd\", \"systemd-user\"]\n[profile.default]\nhidepid = \"off\"\n";
    let host = Host::build().user("alice").policy(policy).start();
    assert!(!Path::new("/run/systemd/system").exists(), "a host without systemd");
    host.sh("cp /etc/pam.d/sshd /etc/pam.d/systemd-user");
    let first = host.spawn_session("alice");
    in_the_leaf(&host, "exec pamtester systemd-user alice open_session close_session").ok();
    host.wait_log(&["event=session_open", "service=systemd-user"]);
    first.logout();
    host.assert_nothing_left();
}
