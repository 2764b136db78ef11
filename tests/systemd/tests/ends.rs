//! However a session ends: nothing of ours is left when the user is gone, and nothing is
//! taken away while in use.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Session, eventually, patience};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

fn machine(logind: &str) -> Machine {
    Machine::build().user("alice").policy(LIMITED).logind(logind).start()
}

/// A process of the user's that a hang-up does not end; its pid.
fn leave_process(session: &mut Session) -> i32 {
    let started = session.sh("setsid nohup sleep 1000 >/dev/null 2>&1 & echo $!");
    started.lines().last().and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{started}"))
}

#[test]
fn a_killed_monitor() {
    let machine = machine("");
    machine.session("alice").kill_monitor();
    machine.assert_nothing_left();
}

#[test]
fn loginctl_terminate_user() {
    let machine = machine("");
    let mut session = machine.session("alice");
    leave_process(&mut session);
    machine.sh("loginctl terminate-user alice");
    eventually("the session is over", 8.0, || !session.is_open());
    machine.assert_nothing_left();
}

#[test]
fn loginctl_kill_session() {
    let machine = machine("");
    let mut session = machine.session("alice");
    let id = session.sh("echo $XDG_SESSION_ID");
    machine.sh(&format!("loginctl kill-session -s KILL {id}"));
    eventually("the session is over", 8.0, || !session.is_open());
    machine.assert_nothing_left();
}

#[test]
fn killed_user_processes() {
    let machine = machine("KillUserProcesses=yes");
    let mut session = machine.session("alice");
    let left = leave_process(&mut session);
    session.logout();
    eventually("logind has killed what was left", 8.0, || {
        !std::path::Path::new(&format!("/proc/{left}")).exists()
    });
    machine.assert_nothing_left();
}

#[test]
fn kept_user_processes_keep_their_limits_and_their_view() {
    let machine = machine("KillUserProcesses=no");
    let mut session = machine.session("alice");
    let left = leave_process(&mut session);
    session.logout();
    // Longer than logind waits with what it thinks is over.
    std::thread::sleep(std::time::Duration::from_secs(13));
    assert!(!machine.is_outside(left));
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    // The next login finds the same sandbox.
    let again = machine.session("alice");
    let mounts = |pid: i32| machine.sh(&format!("readlink /proc/{pid}/ns/mnt"));
    assert_eq!(mounts(again.shell()), mounts(left));
    again.logout();
    machine.sh(&format!("kill {left}"));
    machine.assert_nothing_left();
}

#[test]
fn a_lingering_user_keeps_its_limits_until_it_lingers_no_more() {
    let machine = machine("");
    let session = machine.session("alice");
    machine.sh("loginctl enable-linger alice");
    session.logout();
    std::thread::sleep(std::time::Duration::from_secs(13));
    let manager = format!("user@{}.service", machine.uid("alice"));
    assert!(machine.is_active(&manager));
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let pid = machine.main_pid(&manager);
    assert!(!machine.is_outside(pid), "the manager is outside");
    machine.sh("cgsandbox gc");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert!(!machine.runtime_drop_ins("alice").is_empty());
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

/// systemd runs "gc" as the last command for a user who is gone.
#[test]
fn the_audit_has_no_other_lines() {
    let machine = machine("");
    machine.session("alice").logout();
    let directory = format!("user-runtime-dir@{}.service", machine.uid("alice"));
    eventually("the last unit of the user's ends", 30.0, || !machine.is_active(&directory));
    machine.assert_nothing_left();
    let audit = machine.log();
    assert!(!audit.is_empty());
    assert!(audit.iter().all(|line| line.contains("event=")), "{}", audit.join("\n"));
}

#[test]
fn what_a_logout_leaves_is_killed_where_the_policy_says_so() {
    let machine = machine("");
    machine.set_policy(&format!("{LIMITED}on_logout = \"kill\"\n"));
    let mut session = machine.session("alice");
    let left = leave_process(&mut session);
    session.logout();
    eventually("what was left is killed", 8.0, || {
        !std::path::Path::new(&format!("/proc/{left}")).exists()
    });
    machine.assert_nothing_left();
}

/// Between a logout and the end of the manager, and long after it.
#[test]
fn a_user_who_comes_back_is_limited_again() {
    let machine = machine("");
    for pause in [0.0, 1.2] {
        let session = machine.session("alice");
        assert_eq!(machine.tasks_max("alice"), Some(99));
        assert!(!machine.is_outside(session.shell()));
        session.logout();
        std::thread::sleep(patience(pause));
    }
    machine.assert_nothing_left();
    let session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    session.logout();
    machine.assert_nothing_left();
}

/// With all its tasks in use a session cannot start what would end it, and what forks faster than
/// it is killed outlives one kill(2) after another.
#[test]
fn what_forks_without_end_is_killed_by_gc_where_the_logout_could_not() {
    let machine = machine("");
    machine.set_policy(&format!("{LIMITED}on_logout = \"kill\"\n"));
    let mut session = machine.session("alice");
    // Each of its processes starts the next and ends, as many at once as may be.
    machine.write_at_home("alice", "bomb", "#!/bin/sh\n./bomb & ./bomb & ./bomb &\n");
    session.sh("chmod 755 bomb; (setsid nohup ./bomb >/dev/null 2>&1 &)");
    eventually("the tasks are in use", 30.0, || machine.processes_of("alice").len() > 60);
    session.kill_monitor();
    eventually("gc ends it", 60.0, || {
        machine.sh("cgsandbox gc");
        machine.processes_of("alice").iter().all(|one| !one.command.contains("bomb"))
    });
    machine.assert_nothing_left();
}
