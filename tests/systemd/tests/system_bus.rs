//! What one user learns about another from systemd over the system bus, and what still works there.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Session, eventually};

const LIMITED: &str = "[profile.default]\ntasks_max = 99\n";
const SECRET: &str = "--password=s3cret";

const CALL: &str = "busctl --system call org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";

fn machine() -> Machine {
    Machine::build().user("alice").user("bob").policy(LIMITED).start()
}

/// Alice's session with a process whose command line has [`SECRET`]; the process's pid.
fn with_secret(machine: &Machine) -> (Session, String) {
    let mut session = machine.session("alice");
    let pid = session.sh(&format!("bash -c 'sleep 1000; :' x {SECRET} >/dev/null & echo $!"));
    eventually("the secret is in /proc", 10.0, || {
        machine.sh(&format!("cat /proc/{pid}/cmdline")).contains(SECRET)
    });
    (session, pid)
}

/// What a program of anybody's can try to see alice's processes. Each is answered by systemd
/// where the bus lets it through.
fn attempts(machine: &Machine, pid: &str) -> Vec<String> {
    let slice = machine.slice("alice");
    let cgroup = machine.cgroup_of(pid.parse().unwrap());
    let scope = cgroup.rsplit('/').next().unwrap();
    let path = |unit: &str| {
        machine.sh(&format!("busctl --system call org.freedesktop.systemd1 {MANAGER} GetUnit s {unit} | cut -d'\"' -f2"))
    };
    vec![
        format!("{CALL} {MANAGER} GetUnitProcesses s {slice}"),
        format!("{CALL} {MANAGER} GetUnitProcesses s {scope}"),
        format!("{CALL} {} org.freedesktop.systemd1.Slice GetProcesses", path(&slice)),
        format!("{CALL} {} org.freedesktop.systemd1.Scope GetProcesses", path(scope)),
        format!("{CALL} {MANAGER} Dump"),
        format!("{CALL} {MANAGER} DumpUnitsMatchingPatterns as 1 '{slice}'"),
        format!("{CALL} {MANAGER} GetUnitByPID u {pid}"),
    ]
}

/// Whether the bus itself has refused the call, in the words of dbus-daemon or dbus-broker.
fn is_denied(told: &str) -> bool {
    told.contains("Rejected send message") || told.contains("Access denied")
}

#[test]
fn other_users_processes_are_not_told() {
    let machine = machine();
    let (_alice, pid) = with_secret(&machine);
    let mut bob = machine.session("bob");
    let slice = machine.slice("alice");
    let status = bob.sh(&format!("systemctl status --no-pager --full {slice}; echo is $?"));
    assert!(!status.contains(SECRET), "{status}");
    // The unit itself is told of, as to everybody.
    assert!(status.contains(&slice) && status.contains("is 0"), "{status}");
    for attempt in attempts(&machine, &pid) {
        let told = bob.sh(&format!("{attempt}; echo is $?"));
        assert!(is_denied(&told) && told.ends_with("is 1"), "{attempt}: {told}");
        // Root is told.
        machine.sh(&format!("{attempt} >/dev/null"));
    }
    let told = machine.sh(&format!("systemctl status --no-pager --full {slice}"));
    assert!(told.contains(SECRET), "{told}");
}

/// Those whom the policy that ships exempts.
#[test]
fn administrators_see_processes_as_before() {
    let machine = machine();
    let (_alice, pid) = with_secret(&machine);
    machine.sh("usermod -a -G sudo bob");
    let mut bob = machine.session("bob");
    let told: Vec<String> =
        attempts(&machine, &pid).iter().map(|it| bob.sh(&format!("{it}; echo is $?"))).collect();
    machine.sh("gpasswd -d bob sudo");
    for told in told {
        assert!(told.ends_with("is 0"), "{told}");
    }
}

/// systemd moves a process for its owner into any unit that is the owner's and delegated: into a
/// cgroup of the system's, without the limits of the user. `systemd-run --user --scope` needs the
/// same call, so it cannot be denied: the doctor names the unit.
#[test]
fn a_delegated_unit_that_takes_its_user_out_is_named() {
    let machine = machine();
    let mut alice = machine.session("alice");
    let doctor = || machine.run(&["cgsandbox", "doctor"]).stdout.replace("\n           ", " ");
    assert!(!doctor().contains("delegated"), "{}", doctor());
    machine.sh("systemd-run --quiet --unit=delegated --property=User=alice --property=Delegate=yes sleep 1000");
    let told = doctor();
    let shell = alice.shell();
    alice
        .sh(&format!("{CALL} {MANAGER} AttachProcessesToUnit ssau delegated.service '' 1 {shell}"));
    let status = machine.run(&["cgsandbox", "status", "alice"]);
    let cgroup = machine.cgroup_of(shell);
    machine.sh("systemctl stop delegated.service");
    assert!(cgroup.ends_with("delegated.service"), "{cgroup}");
    assert!(told.contains("delegated.service is delegated to alice"), "{told}");
    assert!(status.stdout.contains(&format!("outside {shell} (bash)")), "{}", status.stdout);
}

#[test]
fn what_users_ask_the_system_bus_for_works() {
    let machine = machine();
    let mut session = machine.session("alice");
    for command in [
        "loginctl list-sessions",
        "loginctl session-status",
        "loginctl user-status",
        "loginctl show-user $(id -u)",
        "systemctl is-active ssh.service",
        "systemctl status --no-pager ssh.service",
        "systemctl show -p ActiveState ssh.service",
        "systemctl list-units",
        "systemctl list-timers",
        "systemctl status --no-pager user@$(id -u).service",
        "systemctl --user status --no-pager",
        "systemd-run --user --quiet --wait --pipe true",
        "systemd-run --user --quiet --scope true",
        "busctl --system list",
    ] {
        let told = session.sh(&format!("{command} </dev/null; echo is $?"));
        assert!(told.ends_with("is 0"), "{command}: {told}");
    }
    // The own user manager is asked over a bus of its own.
    let scope = session.sh(
        "systemd-run --user --quiet --unit=own sleep 1000; systemctl --user status --no-pager own",
    );
    assert!(scope.contains("sleep 1000"), "{scope}");
    session.sh("systemctl --user stop own");
}
