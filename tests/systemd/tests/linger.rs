//! A manager that started before the line was there.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{LINE, Machine, Place, eventually};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

/// Its processes are limited by the slice, but see all of `/proc`: that is said.
#[test]
fn a_manager_from_before_the_line_is_limited_at_the_next_login_and_told_of() {
    let machine =
        Machine::build().user("alice").policy(LIMITED).without_service("systemd-user").start();
    let manager = format!("user@{}.service", machine.uid("alice"));
    machine.sh("loginctl enable-linger alice");
    machine.wait_until(&manager, true);
    let pid = machine.main_pid(&manager);
    assert!(machine.is_outside(pid));
    machine.insert_line("systemd-user", &format!("{LINE} timeout=10s"), Place::Last);
    machine.set_policy_of(&["sshd", "systemd-user"], LIMITED);
    let session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let line = machine.wait_log(&["event=session_open", "service=sshd", "user=alice"]);
    assert!(line.contains("manager"), "nothing about the manager: {line}");
    let doctor = machine.run(&["cgsandbox", "doctor"]);
    let told = format!("{}{}", doctor.stdout, doctor.stderr);
    assert!(told.contains(&manager), "{told}");

    // As the remedy has it.
    machine.sh(&format!("systemctl restart {manager}"));
    let pid = machine.main_pid(&manager);
    assert!(!machine.is_outside(pid));
    session.logout();
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

#[test]
fn a_lingering_user_is_limited_with_no_login_and_a_login_joins() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    machine.sh("loginctl enable-linger alice");
    let manager = format!("user@{}.service", machine.uid("alice"));
    machine.wait_until(&manager, true);
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    let pid = machine.main_pid(&manager);
    assert!(!machine.is_outside(pid));
    let session = machine.session("alice");
    let mounts = |pid: i32| machine.sh(&format!("readlink /proc/{pid}/ns/mnt"));
    assert_eq!(mounts(session.shell()), mounts(pid), "two sandboxes");
    session.logout();
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

/// An upgrade or a crash of a user's manager.
#[test]
fn a_manager_that_restarts_is_back_inside() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let session = machine.session("alice");
    let manager = format!("user@{}.service", machine.uid("alice"));
    machine.sh(&format!("systemctl kill -s KILL --kill-whom=main {manager}"));
    eventually("it is noticed", 8.0, || !machine.is_active(&manager));
    machine.sh(&format!("systemctl restart {manager}"));
    let pid = machine.main_pid(&manager);
    assert!(!machine.is_outside(pid));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    session.logout();
    machine.assert_nothing_left();
}

/// PAM has a session for it; it is nobody's login.
#[test]
fn the_manager_of_a_lingering_user_does_not_count_against_max_logins() {
    let policy = "[profile.default]\nmax_logins = 1\n";
    let machine = Machine::build().user("alice").policy(policy).start();
    machine.sh("loginctl enable-linger alice");
    machine.wait_until(&format!("user@{}.service", machine.uid("alice")), true);
    machine.wait_log(&["event=session_open", "user=alice", "service=systemd-user"]);
    let plan = machine.run(&["cgsandbox", "explain", "alice"]);
    assert_eq!(plan.status, 0, "{}", plan.stdout);
    let session = machine.session("alice");
    let plan = machine.run(&["cgsandbox", "explain", "alice"]);
    assert!(plan.refused().contains("logged in 1 times already"));
    session.logout();
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

/// It has the cgroup of the one before, and is not what that one left behind.
#[test]
fn a_manager_that_restarts_lives_where_what_is_left_is_killed() {
    let policy = format!("{LIMITED}on_logout = \"kill\"\n");
    let machine = Machine::build().user("alice").policy(&policy).start();
    machine.sh("loginctl enable-linger alice");
    let manager = format!("user@{}.service", machine.uid("alice"));
    machine.wait_until(&manager, true);
    for _ in 0..2 {
        machine.sh(&format!("systemctl restart {manager}"));
        machine.sh("cgsandbox gc");
        machine.ssh("alice").cmd("true").run().ok();
        assert!(machine.is_active(&manager));
        let pid = machine.main_pid(&manager);
        assert!(pid > 1 && !machine.is_outside(pid));
    }
    assert_eq!(machine.property(&manager, "NRestarts"), "0");
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

/// systemd gives up a manager that waits for a file system without an answer, and starts another one
/// in the same cgroup.
#[test]
fn a_manager_beside_one_that_cannot_end_is_inside() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let manager = format!("user@{}.service", machine.uid("alice"));
    machine.write(
        &format!("/run/systemd/system/{manager}.d/tests.conf"),
        "[Service]\nTimeoutStopSec=1s\n",
    );
    machine.write("/root/hang.pl", include_str!("linger/hang.pl"));
    machine.write_at_home(
        "alice",
        ".config/systemd/user/waits.service",
        "[Unit]\nConditionPathExists=/run/hang/file\n[Service]\nExecStart=true\n",
    );
    machine.sh("systemctl daemon-reload; modprobe -q fuse || true; mkdir -p /run/hang");
    let server = machine.spawn(&["perl", "/root/hang.pl", "/run/hang"]);
    eventually("it is mounted", 8.0, || machine.read("/run/hang-ready").is_some());
    machine.sh("loginctl enable-linger alice");
    machine.wait_until(&manager, true);
    let stuck = machine.main_pid(&manager);
    machine.sh("systemctl --user -M alice@ start --no-block waits.service");
    eventually("it waits", 8.0, || machine.read("/run/hang-asked").is_some());
    let state = |pid: i32| machine.sh(&format!("ps -o state= -p {pid} || true"));

    machine.sh(&format!("systemctl stop {manager} || true"));
    machine.sh(&format!("systemctl reset-failed {manager} || true; systemctl start {manager}"));
    assert!(state(stuck).starts_with('D'), "it has ended; mend this test");
    let pid = machine.main_pid(&manager);
    assert!(pid != stuck && !machine.is_outside(pid));
    let opened = |line: &&String| line.contains("service=systemd-user");
    assert!(machine.log().iter().filter(opened).count() >= 2, "{:?}", machine.log());

    server.kill();
    machine.sh("umount -l /run/hang; rmdir /run/hang; rm /run/hang-* /root/hang.pl");
    machine.sh(&format!("rm -r /run/systemd/system/{manager}.d; systemctl daemon-reload"));
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}
