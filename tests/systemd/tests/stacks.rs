//! The line among the others of a distribution's stack, and in one without logind.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Place};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n\
                       session_tasks_max = 33\n";

#[test]
fn before_pam_systemd() {
    let machine = Machine::build().user("alice").policy(LIMITED).place(Place::BeforeLogind).start();
    let session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert!(!machine.is_outside(session.shell()));
    let scope = machine.cgroup_of(session.shell());
    assert!(scope.starts_with(&format!("/user.slice/{}/", machine.slice("alice"))), "{scope}");
    assert_eq!(machine.logind_sessions("alice").len(), 1);
    session.logout();
    machine.assert_nothing_left();
}

#[test]
fn among_pam_limits_pam_namespace_and_pam_selinux() {
    let machine = Machine::build()
        .user("alice")
        .policy(LIMITED)
        .pam_line("sshd", "session required pam_namespace.so unmnt_remnt")
        .pam_line("sshd", "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_selinux.so open")
        .pam_line("sshd", "session required pam_limits.so")
        .start();
    machine.write(
        "/etc/security/limits.d/tests.conf",
        "alice hard nofile 777\nalice soft nofile 777\n",
    );
    machine.write("/etc/security/namespace.d/tests.conf", "/tmp /tmp-inst/ user root\n");
    machine.sh("mkdir -p /tmp-inst && chmod 000 /tmp-inst");
    let mut session = machine.session("alice");
    assert_eq!(session.sh("ulimit -n"), "777");
    session.sh("touch /tmp/of-alice");
    assert!(!machine.sh("ls /tmp").contains("of-alice"), "pam_namespace has done nothing");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(session.sh("ls -d /proc/1 2>/dev/null"), "");
    session.logout();
    machine.assert_nothing_left();
    machine.sh("rm /etc/security/namespace.d/tests.conf");
}

#[test]
fn without_logind_a_login_gets_a_scope_of_ours() {
    let machine = Machine::build().user("alice").policy(LIMITED).without_logind().start();
    let mut session = machine.session("alice");
    assert_eq!(machine.logind_sessions("alice"), [""; 0]);
    let place = session.sh(Machine::WHERE);
    machine.assert_inside("alice", &place);
    let scope = machine.cgroup_of(session.shell());
    let ours = format!("/user.slice/{}/cgsandbox-", machine.slice("alice"));
    assert!(scope.starts_with(&ours) && scope.ends_with(".scope"), "{scope}");
    assert_eq!(machine.cgroup_of(session.monitor()), scope);
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.tasks_max_of(&machine.session_cgroup(session.shell())), Some(33));
    let unit = scope.rsplit('/').next().unwrap().to_owned();
    assert_eq!(machine.property(&unit, "Delegate"), "yes");
    machine.wait_log(&["event=session_open", "user=alice", "backend=systemd"]);
    session.logout();
    machine.assert_nothing_left();
}

#[test]
fn without_logind_sessions_share_the_users_limits_and_end_one_by_one() {
    let machine = Machine::build().user("alice").policy(LIMITED).without_logind().start();
    let (one, mut two) = (machine.session("alice"), machine.session("alice"));
    assert_ne!(machine.cgroup_of(one.shell()), machine.cgroup_of(two.shell()));
    one.logout();
    assert_eq!(machine.tasks_max("alice"), Some(99));
    machine.assert_inside("alice", &two.sh(Machine::WHERE));
    two.kill_monitor();
    // Nobody tells of such an end; the timer finds it, or the next login.
    machine.gc();
    machine.assert_nothing_left();
}

#[test]
fn without_logind_what_a_session_leaves_stays_limited() {
    let machine = Machine::build().user("alice").policy(LIMITED).without_logind().start();
    let mut session = machine.session("alice");
    let left = session.sh("setsid nohup sleep 1000 >/dev/null 2>&1 & echo $!");
    let left: i32 = left.lines().last().unwrap().parse().unwrap();
    let scope = machine.cgroup_of(left);
    session.logout();
    assert_eq!(machine.cgroup_of(left), scope);
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert!(!machine.is_outside(left));
    machine.sh(&format!("kill {left}"));
    machine.gc();
    machine.assert_nothing_left();
}
