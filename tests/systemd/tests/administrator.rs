//! An administrator's own settings for a user's slice, beside ours.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::Machine;

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";
const SILENT: &str = "[profile.default]\n";

fn machine(policy: &str) -> Machine {
    Machine::build().user("alice").policy(policy).start()
}

fn explain(machine: &Machine) -> String {
    machine.run(&["cgsandbox", "explain", "alice"]).ok().to_owned()
}

/// systemd ranks it above what is set at run time.
#[test]
fn a_persistent_setting_wins_and_is_said_to() {
    let machine = machine(LIMITED);
    let slice = machine.slice("alice");
    machine.sh(&format!("systemctl set-property {slice} MemoryMax=150M"));
    let _session = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    machine.wait_log(&["event=session_open", "service=sshd", "overridden=memory_max"]);
    let told = explain(&machine);
    let file = format!("/etc/systemd/system.control/{slice}.d/50-MemoryMax.conf");
    assert!(told.contains(&file), "{told}");
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
}

#[test]
fn a_runtime_setting_holds_until_the_next_login() {
    let machine = machine(LIMITED);
    let _held = machine.session("alice");
    let slice = machine.slice("alice");
    machine.sh(&format!("systemctl set-property --runtime {slice} MemoryMax=150M"));
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
    machine.ssh("alice").cmd("true").run().ok();
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
}

#[test]
fn a_setting_that_the_policy_is_silent_about_stays() {
    let machine = machine(SILENT);
    let slice = machine.slice("alice");
    machine.sh(&format!("systemctl set-property {slice} CPUWeight=40"));
    let held = machine.session("alice");
    machine.ssh("alice").cmd("true").run().ok();
    assert_eq!(machine.property(&slice, "CPUWeight"), "40");
    held.logout();
    machine.wait_until_gone("alice");
    assert_eq!(machine.property(&slice, "CPUWeight"), "40");
}

fn with_drop_in(machine: &Machine, name: &str, setting: &str) -> String {
    let path = format!("/etc/systemd/system/user-.slice.d/{name}");
    machine.write(&path, &format!("[Slice]\n{setting}\n"));
    machine.sh("systemctl daemon-reload");
    path
}

#[test]
fn a_drop_in_that_sorts_before_ours_gives_way() {
    let machine = machine(LIMITED);
    with_drop_in(&machine, "10-all-users.conf", "MemoryMax=150M");
    let _session = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
}

#[test]
fn a_drop_in_that_sorts_after_ours_wins_and_is_said_to() {
    let machine = machine(LIMITED);
    let path = with_drop_in(&machine, "90-all-users.conf", "MemoryMax=150M");
    let _session = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
    machine.wait_log(&["event=session_open", "service=sshd", "overridden=memory_max"]);
    let told = explain(&machine);
    assert!(told.contains(&path), "{told}");
    machine.sh("systemctl daemon-reload");
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
}

#[test]
fn a_limit_that_leaves_the_policy_gives_way_to_the_drop_in() {
    let machine = machine(LIMITED);
    with_drop_in(&machine, "10-all-users.conf", "MemoryMax=150M");
    let held = machine.session("alice");
    assert_eq!(machine.memory_max("alice"), Some(300 << 20));
    machine.set_policy(SILENT);
    machine.ssh("alice").cmd("true").run().ok();
    assert_eq!(machine.memory_max("alice"), Some(150 << 20));
    held.logout();
    machine.assert_nothing_left();
}

/// What is foreseen is what a login then gets.
#[test]
fn explain_shows_the_effective_value() {
    let machine = machine(LIMITED);
    let told = explain(&machine);
    assert!(told.contains("systemd"), "{told}");
    assert!(told.contains("MemoryMax") || told.contains("memory_max"), "{told}");
    let slice = machine.slice("alice");
    assert!(told.contains(&slice), "{told}");
}
