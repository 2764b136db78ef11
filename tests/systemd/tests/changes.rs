//! A policy that changes between logins, and a uid that changes hands.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::Machine;

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";
const SILENT: &str = "[profile.default]\n";

#[test]
fn a_login_raises_lowers_and_removes_limits() {
    let machine = Machine::build().user("alice").policy(SILENT).start();
    // What the user has without us: Debian's own share of the machine's processes.
    let held = machine.session("alice");
    let tasks = machine.tasks_max("alice");
    assert_eq!(machine.memory_max("alice"), None);
    for (policy, memory, max) in [
        (LIMITED, Some(300 << 20), Some(99)),
        ("[profile.default]\nmemory_max = \"400M\"\ntasks_max = 120\n", Some(400 << 20), Some(120)),
        ("[profile.default]\nmemory_max = \"200M\"\ntasks_max = 80\n", Some(200 << 20), Some(80)),
        ("[profile.default]\nmemory_max = \"200M\"\n", Some(200 << 20), tasks),
        (SILENT, None, tasks),
    ] {
        machine.set_policy(policy);
        machine.ssh("alice").cmd("true").run().ok();
        assert_eq!(machine.memory_max("alice"), memory, "{policy}");
        assert_eq!(machine.tasks_max("alice"), max, "{policy}");
    }
    held.logout();
    machine.assert_nothing_left();
}

#[test]
fn a_removed_limit_stays_removed_when_units_are_read_anew() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let _held = machine.session("alice");
    let tasks = machine.sh("systemctl show --value -p TasksMax user-12345.slice");
    machine.set_policy(SILENT);
    machine.ssh("alice").cmd("true").run().ok();
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.memory_max("alice"), None);
    assert_eq!(machine.property(&machine.slice("alice"), "TasksMax"), tasks);
}

/// systemd adds to a list of limits by device what it is told.
#[test]
fn limits_by_device_are_replaced_not_added_to() {
    let policy =
        |rate: &str| format!("[profile.default]\nio_write_bandwidth_max = [\"/ {rate}\"]\n");
    let machine = Machine::build().user("alice").policy(&policy("50M")).start();
    let held = machine.session("alice");
    machine.ssh("alice").cmd("true").run().ok();
    let slice = machine.slice("alice");
    let written = || machine.property(&slice, "IOWriteBandwidthMax");
    let first = written();
    assert_eq!(first.split_whitespace().count(), 2, "one device and its rate: {first}");
    assert!(first.ends_with(" 52428800"), "{first}");
    machine.set_policy(&policy("20M"));
    machine.ssh("alice").cmd("true").run().ok();
    assert_eq!(written(), first.replace("52428800", "20971520"));
    machine.set_policy(SILENT);
    machine.ssh("alice").cmd("true").run().ok();
    assert_eq!(written(), "");
    held.logout();
    machine.assert_nothing_left();
}

#[test]
fn a_uid_that_changes_hands_brings_no_limits_along() {
    let rules = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n\
                 [profile.other]\nmemory_max = \"200M\"\n\
                 [[rule]]\nmatch = \"alice\"\nprofile = \"default\"\n\
                 [[rule]]\nmatch = \"bob\"\nprofile = \"other\"\n";
    let mut machine = Machine::build().user("alice").policy(rules).start();
    let uid = machine.uid("alice");
    let session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    session.logout();
    machine.sh("loginctl terminate-user alice || true");
    machine.wait_until_gone("alice");
    machine.remove_user("alice");
    machine.add_user("bob", uid);
    let tasks = machine.sh("systemctl show --value -p TasksMax user-12345.slice");
    let _session = machine.session("bob");
    assert_eq!(machine.memory_max("bob"), Some(200 << 20));
    assert_eq!(machine.property(&machine.slice("bob"), "TasksMax"), tasks);
}

/// The old user's manager still runs, ten seconds long, when the new one comes.
#[test]
fn a_uid_that_changes_hands_at_once_brings_no_limits_along() {
    let rules = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n\
                 [profile.other]\nmemory_max = \"200M\"\n\
                 [[rule]]\nmatch = \"alice\"\nprofile = \"default\"\n\
                 [[rule]]\nmatch = \"bob\"\nprofile = \"other\"\n";
    let machine = Machine::build().user("alice").policy(rules);
    let mut machine = machine.logind("UserStopDelaySec=10").start();
    let uid = machine.uid("alice");
    machine.session("alice").logout();
    machine.remove_user("alice");
    machine.add_user("bob", uid);
    let tasks = machine.sh("systemctl show --value -p TasksMax user-12345.slice");
    let _session = machine.session("bob");
    assert_eq!(machine.memory_max("bob"), Some(200 << 20));
    assert_eq!(machine.property(&machine.slice("bob"), "TasksMax"), tasks);
}

/// Without a login: the slice, and the scope of each session.
#[test]
fn apply_brings_slice_and_scope_to_the_policy() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let held = machine.session("alice");
    let default = machine.sh("systemctl show --value -p TasksMax user-54321.slice");
    let scope = machine.session_cgroup(held.shell());
    let scope = scope.rsplit('/').next().unwrap();
    for (policy, memory, of_session) in [
        ("memory_max = \"400M\"\nsession_tasks_max = 50\n", Some(400 << 20), "50"),
        ("session_tasks_max = 40\n", None, "40"),
        ("memory_max = \"250M\"\n", Some(250 << 20), "infinity"),
    ] {
        machine.set_policy(&format!("[profile.default]\n{policy}"));
        let said = machine.sh("cgsandbox apply");
        assert!(said.contains("alice") && said.contains("full"), "{said}");
        assert_eq!(machine.memory_max("alice"), memory, "{policy}");
        assert_eq!(machine.property(scope, "TasksMax"), of_session, "{policy}");
        assert_eq!(machine.property(&machine.slice("alice"), "TasksMax"), default, "{policy}");
    }
    machine.wait_log(&["event=policy_applied", "user=alice", "enforced=full"]);
    held.logout();
    machine.assert_nothing_left();
}

/// The kernel takes no empty list for a cgroup with processes, and the neighbour keeps systemd from
/// taking the controller away.
#[test]
fn cpus_are_lifted_while_processes_run() {
    let policy = |of_alice: &str| {
        format!(
            "[profile.default]\nallowed_cpus = \"0\"\n[profile.alice]\n{of_alice}\
             [[rule]]\nmatch = \"alice\"\nprofile = \"alice\"\n"
        )
    };
    let machine = Machine::build().user("alice").user("bob").policy(&policy("")).start();
    let all = machine.sh("sed -n 's/^Cpus_allowed_list:\t//p' /proc/1/status");
    let _bob = machine.session("bob");
    let mut held = machine.session("alice");
    let mut cpus = || held.sh("sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status");
    assert_eq!(cpus(), all);
    for (of_alice, expected) in
        [("allowed_cpus = \"1\"\n", "1"), ("", &all), ("allowed_cpus = \"0\"\n", "0"), ("", &all)]
    {
        machine.set_policy(&policy(of_alice));
        machine.sh("cgsandbox apply alice");
        assert_eq!(cpus(), expected, "{of_alice}");
    }
    machine.sh("systemctl daemon-reload");
    assert_eq!(cpus(), all);
    held.logout();
    machine.wait_until_gone("alice");
    let mut again = machine.session("alice");
    assert_eq!(again.sh("sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status"), all);
}
