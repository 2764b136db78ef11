//! systemd, logind and the bus come and go: limits hold, sessions stay, logouts are clean.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, eventually};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

fn survives(disturbance: &str) {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let mut session = machine.session("alice");
    let scope = machine.cgroup_of(session.shell());
    let sessions = machine.logind_sessions("alice");
    machine.sh(disturbance);
    eventually("logind answers", 8.0, || machine.run(&["loginctl", "list-sessions"]).status == 0);

    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.property(&machine.slice("alice"), "TasksMax"), "99");
    assert_eq!(machine.cgroup_of(session.shell()), scope);
    assert_eq!(machine.logind_sessions("alice"), sessions);
    assert!(!machine.is_outside(session.shell()));
    session.sh("true");

    // The next login joins, and the sandbox is one.
    let second = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let mounts = |pid: i32| machine.sh(&format!("readlink /proc/{pid}/ns/mnt"));
    assert_eq!(mounts(second.shell()), mounts(session.shell()));
    second.logout();
    session.logout();
    machine.assert_nothing_left();
}

#[test]
fn daemon_reload() {
    survives("systemctl daemon-reload");
}

#[test]
fn daemon_reexec() {
    survives("systemctl daemon-reexec");
}

#[test]
fn a_restart_of_logind() {
    survives("systemctl restart systemd-logind");
}

#[test]
fn a_restart_of_dbus() {
    survives("systemctl restart dbus; systemctl restart systemd-logind");
}

#[test]
fn a_crash_of_logind() {
    survives("systemctl kill -s KILL systemd-logind; sleep 2");
}

/// A login that comes while logind is away.
#[test]
fn a_login_while_logind_restarts_is_limited_or_refused() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let _held = machine.session("alice");
    let slice = format!("user.slice/{}", machine.slice("alice"));
    let command = format!(
        "cat /sys/fs/cgroup/{slice}/pids.max /sys/fs/cgroup/pids/{slice}/pids.max 2>/dev/null; {}",
        Machine::WHERE
    );
    let mut inside = 0;
    for _ in 0..5 {
        let mut restart = machine.spawn(&["systemctl", "restart", "systemd-logind"]);
        let output = machine.ssh("alice").cmd(&command).run();
        eventually("logind is back", 8.0, || !restart.is_running());
        if output.status == 0 {
            assert!(output.stdout.starts_with("99\n"), "{}", output.stdout);
            machine.assert_inside("alice", &output.stdout);
            inside += 1;
        }
    }
    assert!(inside > 0, "no login succeeded:\n{}", machine.log().join("\n"));
}
