//! The rig itself, with no pam_cgsandbox on the host.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, eventually};

#[test]
fn a_user_logs_in_through_a_real_sshd() {
    let host = Host::build().user("alice").without_module().start();
    assert_eq!(host.ssh("alice").cmd("id -un").run().ok(), "alice");
    assert_eq!(host.ssh("root").cmd("id -un").run().ok(), "root");
}

#[test]
fn a_held_session_shows_the_processes_of_its_connection() {
    let host = Host::build().user("alice").without_module().start();
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh("echo one; echo two >&2"), "one\ntwo");
    let processes = session.processes();
    assert!(processes.iter().any(|one| one.pid == session.shell()));
    assert!(processes.iter().any(|one| one.uid == 0 && one.pid == session.monitor()));
    session.logout();
    assert!(host.connections().is_empty());
}

#[test]
fn what_is_logged_on_the_host_is_kept() {
    let host = Host::build().without_module().start();
    host.sh("logger -it cgsandbox -- event=test; logger -it other -- event=other");
    host.wait_log(&["cgsandbox", "event=test"]);
    assert_eq!(host.log().len(), 1);
    assert_eq!(host.syslog().len(), 2);
}

#[test]
fn nothing_on_the_host_changes_the_machine() {
    let host = Host::build().user("alice").without_module().start();
    for path in ["/etc/cgsandbox/x", "/usr/bin/x-rig", "/run/x-rig", "/dev/x-rig", "/root/x-rig"] {
        host.write(path, "x");
        assert!(host.exists(path));
        assert!(!std::path::Path::new(path).exists(), "{path} reached the machine");
    }
}

#[test]
fn leftovers_are_found() {
    let host = Host::build().user("alice").without_module().start();
    host.assert_nothing_left();
    host.ssh("alice").cmd("nohup sleep 1000 >/dev/null 2>&1 &").run().ok();
    host.sh("mkdir /tmp/m; mount -t tmpfs x /tmp/m");
    let left = host.leftovers().join("\n");
    assert!(left.contains("sleep 1000") && left.contains("/tmp/m"), "{left}");
}

#[test]
fn processes_end_with_the_host() {
    let host = Host::build().user("alice").without_module().start();
    let uid = host.uid("alice");
    host.ssh("alice").cmd("setsid nohup sleep 1000 >/dev/null 2>&1 &").run().ok();
    eventually("sleep runs", 5.0, || host.processes_of("alice").len() == 1);
    drop(host);
    let left = cgsandbox_rig::Process::all();
    assert!(left.iter().all(|one| one.uid != uid));
}
