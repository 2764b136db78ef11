//! The administrator's command, on a real host.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_rig::Host;

fn host() -> Host {
    Host::build().user("alice").user("bob").policy("[profile.default]\ntasks_max = 50\n").start()
}

#[track_caller]
fn assert_json(text: &str) {
    serde_json::from_str::<serde_json::Value>(text)
        .unwrap_or_else(|error| panic!("{error}: {text}"));
}

#[test]
fn check_finds_nothing_wrong_with_a_good_file() {
    let host = host();
    host.as_root(["cgsandbox", "check"]).run().ok();
    assert_json(host.as_root(["cgsandbox", "check", "--json"]).run().ok());
}

#[test]
fn explain_shows_what_a_login_then_gets() {
    let host = host();
    let plan = host.as_root(["cgsandbox", "explain", "alice"]).run();
    assert!(
        plan.ok().contains("tasks_max") && plan.stdout.contains("cgsandbox.toml:4"),
        "{}",
        plan.stdout
    );
    assert_eq!(host.cgroups(), Vec::<std::path::PathBuf>::new(), "explain has built something");
    assert_json(host.as_root(["cgsandbox", "explain", "alice", "--json"]).run().ok());
}

#[test]
fn explain_of_root_says_that_it_stays_outside() {
    let host = host();
    let plan = host.as_root(["cgsandbox", "explain", "root"]).run();
    assert!(plan.ok().contains("root"), "{}", plan.stdout);
}

#[test]
fn explain_of_nobody_known_fails() {
    let host = host();
    host.as_root(["cgsandbox", "explain", "no-such-user"]).run().refused();
}

#[test]
fn status_shows_sessions_limits_and_use_in_eighty_columns() {
    let host = host();
    let _alice = host.spawn_session("alice");
    let _bob = host.spawn_session("bob");
    let status = host.as_root(["cgsandbox", "status"]).run();
    let text = status.ok();
    assert!(text.contains("alice") && text.contains("bob") && text.contains("50"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_json(host.as_root(["cgsandbox", "status", "--json"]).run().ok());
    let one = host.as_root(["cgsandbox", "status", "alice"]).run();
    assert!(one.ok().contains("alice") && !one.stdout.contains("bob"), "{}", one.stdout);
    assert!(one.stdout.contains("127.0.0.1"), "{}", one.stdout);
}

#[test]
fn a_user_asks_for_its_own_status_inside() {
    let host = host();
    let _bob = host.spawn_session("bob");
    let own = host.ssh("alice").cmd("cgsandbox status").run();
    assert!(own.ok().contains("50") && !own.stdout.contains("bob"), "{own:?}");
}

#[test]
fn doctor_has_nothing_to_say_on_a_good_host() {
    let host = host();
    let doctor = host.as_root(["cgsandbox", "doctor"]).run();
    assert_eq!(doctor.status, 0, "{}", doctor.stdout);
    assert_json(&host.as_root(["cgsandbox", "doctor", "--json"]).run().stdout);
}

#[track_caller]
fn assert_doctor_finds(script: &str, complaint: &str) {
    let host = host();
    host.sh(script);
    let said = host.as_root(["cgsandbox", "doctor"]).run().refused();
    assert!(said.contains(complaint), "{said}");
}

#[test]
fn doctor_finds_a_missing_pam_line() {
    assert_doctor_finds("sed -i /cgsandbox/d /etc/pam.d/sshd", "pam.d/sshd");
}

#[test]
fn doctor_finds_that_sshd_does_without_pam() {
    assert_doctor_finds("sed -i 's/^UsePAM.*/UsePAM no/' /etc/ssh/sshd_config", "UsePAM");
}

#[test]
fn doctor_finds_a_helper_that_others_may_write() {
    let helper = "/usr/libexec/cgsandbox/cgsandbox-helper";
    assert_doctor_finds(&format!("chmod 777 {helper}"), helper);
}

#[test]
fn doctor_finds_a_mistake_in_the_configuration() {
    assert_doctor_finds("echo wrong >>/etc/cgsandbox/cgsandbox.toml", "cgsandbox.toml:");
}

#[test]
fn gc_on_a_clean_host_has_nothing_to_do() {
    let host = host();
    host.as_root(["cgsandbox", "gc"]).run().ok();
    assert_json(host.as_root(["cgsandbox", "gc", "--json"]).run().ok());
    host.assert_nothing_left();
}

#[test]
fn check_and_doctor_warn_of_a_memory_high_that_stalls() {
    let policy = "[profile.default]\nmemory_max = \"64M\"\nmemory_high = \"40M\"\n\
                  memory_swap_max = \"0\"\n";
    let host = Host::build().user("alice").policy(policy).start();
    let warning = "without swap a program over memory_high (40M) stands still";
    let check = host.as_root(["cgsandbox", "check"]).run();
    assert!(check.stderr.contains(warning), "{check:?}");
    let doctor = host.as_root(["cgsandbox", "doctor"]).run();
    let told: Vec<&str> = doctor.stdout.split_whitespace().collect();
    assert!(told.join(" ").contains(warning), "{}", doctor.stdout);
    host.set_policy(&policy.replace("40M", "62M"));
    let check = host.as_root(["cgsandbox", "check"]).run();
    assert!(!check.stderr.contains("stands still"), "{check:?}");
}
