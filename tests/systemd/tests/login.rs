//! A login gets its user's limits and its hidden `/proc`, and logind has it as ever.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::Machine;

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

#[test]
fn a_login_gets_its_users_limits_and_logind_its_session() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let mut session = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.property(&machine.slice("alice"), "TasksMax"), "99");
    let scope = machine.cgroup_of(session.shell());
    let slice = format!("/user.slice/{}/session-", machine.slice("alice"));
    assert!(scope.starts_with(&slice), "{scope}");
    assert_eq!(machine.cgroup_of(session.monitor()), scope, "sshd's monitor was moved");
    machine.wait_log(&[
        "event=session_open",
        "user=alice",
        "service=sshd",
        "backend=systemd",
        "enforced=full",
    ]);

    let sessions = machine.logind_sessions("alice");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(session.sh("echo $XDG_SESSION_ID"), sessions[0]);
    let state = machine.sh(&format!("loginctl show-session --value -p State {}", sessions[0]));
    assert_eq!(state, "active");

    session.logout();
    machine.wait_log(&["event=session_close", "user=alice"]);
    machine.assert_nothing_left();
}

#[test]
fn session_limits_are_on_the_scope_of_each_session() {
    let policy = "[profile.default]\ntasks_max = 99\nsession_tasks_max = 33\n\
                  session_memory_max = \"100M\"\n";
    let machine = Machine::build().user("alice").policy(policy).start();
    let (one, two) = (machine.session("alice"), machine.session("alice"));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let scopes = [one.shell(), two.shell()].map(|shell| machine.session_cgroup(shell));
    assert_ne!(scopes[0], scopes[1]);
    for scope in scopes {
        assert_eq!(machine.tasks_max_of(&scope), Some(33), "{scope}");
        assert_eq!(machine.memory_max_of(&scope), Some(100 << 20), "{scope}");
    }
}

#[test]
fn every_directive_becomes_a_property_and_is_in_the_kernel() {
    let policy = "[profile.default]\nstrict = true\nmemory_max = \"512M\"\nmemory_high = \"256M\"\n\
                  memory_swap_max = \"16M\"\ncpu_quota = \"1.5\"\ncpu_weight = 50\n\
                  allowed_cpus = \"0\"\ntasks_max = 50\nio_weight = 200\n\
                  io_read_bandwidth_max = [\"/ 50M\"]\nlimits = { nofile = \"512\" }\n";
    let machine = Machine::build().user("alice").policy(policy).start();
    if !machine.is_unified() {
        // Version 1 has neither of them all; then a strict policy has to refuse.
        machine.ssh("alice").cmd("true").run().refused();
        machine.wait_log(&["event=session_denied", "user=alice"]);
        return;
    }
    let mut session = machine.session("alice");
    let slice = format!("/sys/fs/cgroup/user.slice/{}", machine.slice("alice"));
    for (file, content) in [
        ("memory.max", "536870912"),
        ("memory.high", "268435456"),
        ("memory.swap.max", "16777216"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "50"),
        ("cpuset.cpus", "0"),
        ("pids.max", "50"),
        ("io.weight", "default 200"),
    ] {
        assert_eq!(machine.read(format!("{slice}/{file}")).unwrap().trim(), content, "{file}");
    }
    let io = machine.read(format!("{slice}/io.max")).unwrap();
    assert!(io.contains("rbps=52428800"), "{io}");
    assert_eq!(session.sh("ulimit -n"), "512");
    machine.wait_log(&["event=session_open", "service=sshd", "enforced=full"]);
}

#[test]
fn a_user_sees_no_others_processes_and_the_machine_sees_all() {
    let machine = Machine::build().user("alice").user("bob").policy(LIMITED).start();
    let bob = machine.session("bob");
    let mut alice = machine.session("alice");
    assert_eq!(alice.sh(&format!("ls -d /proc/{} 2>/dev/null", bob.shell())), "");
    assert_eq!(alice.sh("ls -d /proc/1 2>/dev/null"), "");
    assert_eq!(alice.sh("ls -d /proc/$$"), format!("/proc/{}", alice.shell()));
    // In whatever hierarchies there are.
    let find = |slice: String| format!("find /sys/fs/cgroup -name {slice} 2>/dev/null");
    assert_eq!(alice.sh(&find(machine.slice("bob"))), "");
    assert_ne!(alice.sh(&find(machine.slice("alice"))), "");
    assert_ne!(machine.sh(&find(machine.slice("bob"))), "");
    assert!(machine.sh("cat /proc/1/mountinfo").lines().all(|it| !it.contains("hidepid")));
}

#[test]
fn root_is_left_alone() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let root = machine.session("root");
    assert!(machine.is_outside(root.shell()));
    let scope = machine.cgroup_of(root.shell());
    assert!(scope.starts_with("/user.slice/user-0.slice/session-"), "{scope}");
    assert_eq!(machine.memory_max_of("user.slice/user-0.slice"), None);
    assert!(machine.log().iter().all(|line| !line.contains("user=root")));
}

#[test]
fn the_exempt_are_left_alone() {
    let policy = format!("exempt = [\"alice\"]\n{LIMITED}");
    let machine = Machine::build().user("alice").user("bob").policy(&policy).start();
    let exempt = machine.session("alice");
    assert!(machine.is_outside(exempt.shell()));
    assert_eq!(machine.memory_max("alice"), None);
    let _limited = machine.session("bob");
    assert_eq!(machine.memory_max("bob"), Some(300 << 20));
}

#[test]
fn a_missing_helper_refuses_and_leaves_nothing() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    machine.sh("mv /usr/libexec/cgsandbox/cgsandbox-helper /root");
    machine.ssh("alice").cmd("true").run().refused();
    machine.sh("mv /root/cgsandbox-helper /usr/libexec/cgsandbox");
    machine.ssh("alice").cmd("true").run().ok();
    machine.assert_nothing_left();
}

/// `module_unknown=ignore`: the package is removed and its line still there.
#[test]
fn without_the_module_logins_go_on() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    machine.remove_programs();
    let session = machine.session("alice");
    assert!(machine.is_outside(session.shell()));
}
