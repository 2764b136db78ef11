//! What `cgsandbox doctor` and `status` say of a host with systemd.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::Machine;

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

fn doctor(machine: &Machine) -> String {
    let output = machine.run(&["cgsandbox", "doctor"]);
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn doctor_names_the_back_end() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let told = doctor(&machine);
    assert!(told.lines().any(|line| line.contains("systemd")), "{told}");
}

#[test]
fn doctor_lists_the_services_that_lead_past_the_sandbox() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let told = doctor(&machine);
    for service in ["cron", "atd", "su", "login"] {
        assert!(told.contains(service), "nothing about {service}: {told}");
    }
}

#[test]
fn doctor_says_when_the_users_managers_are_outside() {
    let machine =
        Machine::build().user("alice").policy(LIMITED).without_service("systemd-user").start();
    let told = doctor(&machine);
    assert!(told.contains("systemd-user"), "{told}");
}

#[test]
fn status_shows_a_session() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let _session = machine.session("alice");
    let told = machine.run(&["cgsandbox", "status"]).ok().to_owned();
    assert!(told.contains("alice"), "{told}");
}

#[test]
fn gc_takes_nothing_that_is_in_use() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let mut session = machine.session("alice");
    machine.run(&["cgsandbox", "gc"]).ok();
    assert_eq!(machine.tasks_max("alice"), Some(99));
    assert!(!machine.is_outside(session.shell()));
    assert!(!machine.runtime_drop_ins("alice").is_empty());
    assert_eq!(session.sh("ls -d /proc/1 2>/dev/null"), "");
    let second = machine.session("alice");
    assert!(!machine.is_outside(second.shell()));
}

#[test]
fn doctor_misses_the_timer() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    // As every test has it: nothing is to clear up behind its back.
    let disabled = doctor(&machine);
    machine.sh("systemctl enable cgsandbox-gc.timer");
    let enabled = doctor(&machine);
    machine.sh("systemctl disable cgsandbox-gc.timer");
    assert!(disabled.contains("systemctl enable --now cgsandbox-gc.timer"), "{disabled}");
    assert!(!enabled.contains("cgsandbox-gc.timer"), "{enabled}");
}
