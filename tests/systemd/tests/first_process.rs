//! No process of a user's ever runs without limits, not even those that its manager starts
//! before the login is through.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, eventually};

const POLICY: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

/// A unit that starts with the user's manager and notes what limits it finds.
const EARLY: &str = "[Service]\nType=oneshot\n\
    ExecStart=sh -c 'cat /sys/fs/cgroup/user.slice/user-%U.slice/memory.max \
    /sys/fs/cgroup/user.slice/user-%U.slice/pids.max \
    /sys/fs/cgroup/memory/user.slice/user-%U.slice/memory.limit_in_bytes \
    /sys/fs/cgroup/pids/user.slice/user-%U.slice/pids.max >%h/early 2>/dev/null; \
    cat /proc/self/cgroup >%h/where; readlink /proc/self/ns/mnt >>%h/where; touch %h/noted'\n";

fn note_at_start(machine: &Machine) {
    let units = ".config/systemd/user";
    machine.write_at_home("alice", &format!("{units}/early.service"), EARLY);
    machine.write_at_home("alice", &format!("{units}/default.target.wants/made"), "");
    machine.sh(&format!("ln -s ../early.service ~alice/{units}/default.target.wants/"));
}

#[track_caller]
fn assert_noted(machine: &Machine) {
    let noted = || machine.read("/home/alice/noted").is_some();
    eventually("the user's own unit has run", 30.0, noted);
    let limits = machine.read("/home/alice/early").unwrap_or_default();
    assert_eq!(limits, "314572800\n99\n");
    let place = machine.read("/home/alice/where").unwrap_or_default();
    machine.assert_inside("alice", &place);
    assert!(place.contains(&format!("user@{}.service", machine.uid("alice"))), "{place}");
}

#[test]
fn a_users_own_units_start_inside_and_limited() {
    let machine = Machine::build().user("alice").policy(POLICY).start();
    note_at_start(&machine);
    let _session = machine.session("alice");
    assert_noted(&machine);
}

/// As at boot: nobody logs in.
#[test]
fn a_lingering_users_units_start_inside_and_limited() {
    let machine = Machine::build().user("alice").policy(POLICY).start();
    note_at_start(&machine);
    machine.sh("loginctl enable-linger alice");
    assert_noted(&machine);
    machine.wait_log(&["event=session_open", "user=alice", "service=systemd-user"]);
    machine.sh("loginctl disable-linger alice");
    machine.assert_nothing_left();
}

#[test]
fn the_first_command_of_a_login_is_limited() {
    let machine = Machine::build().user("alice").policy(POLICY).start();
    let slice = format!("user.slice/{}", machine.slice("alice"));
    let command = format!(
        "cat /sys/fs/cgroup/{slice}/pids.max /sys/fs/cgroup/pids/{slice}/pids.max 2>/dev/null; {}",
        Machine::WHERE
    );
    let output = machine.ssh("alice").cmd(&command).run();
    machine.assert_inside("alice", output.ok());
    assert!(output.stdout.starts_with("99\n"), "{}", output.stdout);
}
