//! A login gets its user's limits, and logind has it as ever.
#![allow(clippy::unwrap_used)]

use cgsandbox_systemd_tests::Machine;

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

#[test]
fn a_login_gets_its_users_limits() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let session = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let scope = machine.cgroup_of(session.shell());
    let slice = format!("/user.slice/{}/session-", machine.slice("alice"));
    assert!(scope.starts_with(&slice), "{scope}");
    machine.wait_log(&["event=session_open", "user=alice", "backend=systemd", "enforced=full"]);
}

#[test]
fn logind_has_the_session() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let mut session = machine.session("alice");
    let sessions = machine.logind_sessions("alice");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(session.sh("echo $XDG_SESSION_ID"), sessions[0]);
    let state = machine.sh(&format!("loginctl show-session -P State {}", sessions[0]));
    assert_eq!(state, "active");
}

#[test]
fn a_logout_leaves_nothing() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    machine.session("alice").logout();
    machine.assert_nothing_left();
}
