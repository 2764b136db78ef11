//! The helper runs in a slice of its own: whatever users do to their cgroups, it works on.
#![allow(clippy::unwrap_used)]

use cgsandbox_systemd_tests::{Machine, eventually};

const SLICE: &str = "cgsandbox.slice";

/// The cgroups in which journald saw the senders of alice's lines of `event`, in their order. Of a
/// sender that has ended before journald looks at it, it knows none: that one is left out.
fn senders(machine: &Machine, event: &str) -> Vec<String> {
    let uid = machine.uid("alice");
    let journal = "journalctl --quiet --sync; journalctl --quiet --boot -t cgsandbox -o json";
    let lines =
        machine.sh(&format!("{journal} | grep 'event={event} ' | grep -F ' uid={uid} ' || true"));
    let cgroup = |line: &str| {
        let value = line.split("\"_SYSTEMD_CGROUP\":\"").nth(1).unwrap_or_default();
        value.split('"').next().unwrap_or_default().to_owned()
    };
    lines.lines().map(cgroup).filter(|cgroup| !cgroup.is_empty()).collect()
}

/// The cgroup of the helper of a login of alice's.
fn sender_of_a_login(machine: &Machine) -> String {
    let before = senders(machine, "session_open").len();
    eventually("journald sees a helper before it ends", 60.0, || {
        machine.ssh("alice").cmd("true").run().ok();
        machine.wait_until_gone("alice");
        senders(machine, "session_open").len() > before
    });
    senders(machine, "session_open").pop().unwrap()
}

/// With limits of cgroup v1 there is no such slice: that is said.
#[track_caller]
fn assert_told_of_v1(machine: &Machine) {
    let doctor = machine.run(&["cgsandbox", "doctor"]).stdout;
    assert!(doctor.contains("limits are cgroup v1's: helpers run under"), "{doctor}");
}

#[test]
fn it_is_never_in_the_cgroup_of_whom_it_serves() {
    let machine = Machine::build().user("alice").start();
    if !machine.is_unified() {
        return assert_told_of_v1(&machine);
    }
    // Of the login and of the user manager, whose opener is in a cgroup that is the user's own.
    for service in ["sshd", "systemd-user"] {
        eventually("journald has seen helpers of both", 60.0, || {
            machine.session("alice").logout();
            machine.wait_until_gone("alice");
            !senders(&machine, &format!("session_open .*service={service}")).is_empty()
        });
    }
    let seen = senders(&machine, "session_\\(open\\|close\\)");
    assert!(seen.iter().all(|cgroup| cgroup == "/cgsandbox.slice"), "{seen:?}");
    machine.assert_nothing_left();
}

/// A user without a task left: the logout is in order all the same.
#[test]
fn who_has_used_up_the_tasks_is_closed_in_order() {
    let policy = "[profile.default]\ntasks_max = 30\nsession_tasks_max = \"infinity\"\n";
    let machine = Machine::build().user("alice").policy(policy).start();
    if !machine.is_unified() {
        return assert_told_of_v1(&machine);
    }
    let mut alice = machine.session("alice");
    let slice = format!("/sys/fs/cgroup/user.slice/{}", machine.slice("alice"));
    let used = || machine.sh(&format!("cat {slice}/pids.current")).parse::<u32>().unwrap();
    alice.send("for i in $(seq 60); do sleep 1000 & done 2>/dev/null");
    eventually("no task is left", 20.0, || used() == 30);
    let monitor = alice.monitor();
    drop(alice);
    let line = machine.wait_log(&["event=session_close", "user=alice"]);
    assert!(line.contains(" cpu_usec=") && line.contains(" tasks_max_hits="), "{line}");
    assert!(!line.contains("reason="), "nobody saw its end: {line}");
    eventually("sshd is gone", 20.0, || {
        !std::path::Path::new(&format!("/proc/{monitor}")).exists()
    });
    // The shell that starts them goes on where one ends.
    machine.sh("while pkill -KILL -u alice -x 'sleep|bash'; do sleep 0.2; done");
    machine.assert_nothing_left();
}

#[test]
fn doctor_misses_the_slice_and_enable_starts_it() {
    let machine = Machine::build().user("alice").start();
    if !machine.is_unified() {
        return assert_told_of_v1(&machine);
    }
    let doctor = || machine.run(&["cgsandbox", "doctor"]).stdout;
    assert!(doctor().contains("helpers run in cgsandbox.slice"), "{}", doctor());
    machine.sh(&format!("systemctl stop {SLICE}"));
    assert!(doctor().contains(&format!("systemctl start {SLICE}")), "{}", doctor());
    // As before there was one: in the cgroup of the login.
    let scope = sender_of_a_login(&machine);
    assert!(scope.starts_with("/user.slice/"), "{scope}");
    machine.sh("cgsandbox disable --service sshd && cgsandbox enable --service sshd");
    assert!(machine.is_active(SLICE));
    assert_eq!(sender_of_a_login(&machine), "/cgsandbox.slice");
    machine.sh("systemctl daemon-reload && systemctl daemon-reexec");
    assert_eq!(sender_of_a_login(&machine), "/cgsandbox.slice");
    machine.assert_nothing_left();
}
