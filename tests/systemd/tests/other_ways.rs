//! Every other way into the machine: with the line in its stack it leads into the sandbox.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Session, eventually};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

fn machine(service: &str) -> Machine {
    Machine::build().user("alice").user("bob").policy(LIMITED).service(service).start()
}

/// Waits for what [`Machine::WHERE`] printed into alice's home directory.
#[track_caller]
fn assert_noted_inside(machine: &Machine) {
    let noted = || machine.read("/home/alice/where").filter(|text| text.contains("mnt:["));
    eventually("the job has run", 12.0, || noted().is_some());
    machine.assert_inside("alice", &noted().unwrap());
    assert_eq!(machine.tasks_max("alice"), Some(99));
}

fn note() -> String {
    format!("{{ {}; }} >/home/alice/where", Machine::WHERE)
}

#[test]
fn cron() {
    let machine = machine("cron");
    machine.write("/etc/cron.d/tests", &format!("@reboot alice {}; sleep 3\n", note()));
    // A job for the boot: it runs when cron starts for what it takes for the first time.
    machine.sh("systemctl stop cron; rm -f /run/crond.reboot; systemctl start cron");
    assert_noted_inside(&machine);
    machine.wait_log(&["event=session_open", "user=alice", "service=cron"]);
    machine.assert_nothing_left();
}

#[test]
fn at() {
    let machine = machine("atd");
    let mut job = machine.spawn(&[
        "setpriv",
        "--reuid",
        "alice",
        "--regid",
        "alice",
        "--init-groups",
        "--reset-env",
        "at",
        "now",
    ]);
    job.send(format!("{}; sleep 3\n", note()).as_bytes());
    job.finish(cgsandbox_systemd_tests::patience(10.0)).ok();
    assert_noted_inside(&machine);
    machine.wait_log(&["event=session_open", "user=alice", "service=atd"]);
    machine.assert_nothing_left();
}

#[test]
fn su_from_root() {
    let machine = machine("su-l");
    let output = machine.run(&["su", "-", "alice", "-c", Machine::WHERE]);
    machine.assert_inside("alice", output.ok());
    machine.wait_log(&["event=session_open", "user=alice", "service=su-l"]);
    machine.assert_nothing_left();
}

#[test]
fn sudo_from_root() {
    let machine = machine("sudo-i");
    let output = machine.run(&["sudo", "-i", "-u", "alice", "sh", "-c", Machine::WHERE]);
    machine.assert_inside("alice", output.ok());
    machine.wait_log(&["event=session_open", "user=alice", "service=sudo-i"]);
    machine.assert_nothing_left();
}

/// At a console: nobody types, so the shell's own start-up file does what is wanted.
#[test]
fn login() {
    let machine = machine("login");
    machine.write_at_home("alice", ".profile", &format!("{}\nsleep 3\nexit\n", note()));
    machine.sh("systemd-run -q -p StandardInput=tty -p StandardOutput=tty -p TTYPath=/dev/tty5 \
        login -f alice");
    assert_noted_inside(&machine);
    machine.wait_log(&["event=session_open", "user=alice", "service=login"]);
    machine.assert_nothing_left();
}

#[test]
fn machinectl_shell() {
    let machine = machine("login");
    machine.sh(&format!("machinectl shell -q alice@ /bin/sh -c '{}; sleep 2' </dev/null", note()));
    assert_noted_inside(&machine);
    machine.assert_nothing_left();
}

#[test]
fn run0() {
    let machine = machine("systemd-run0");
    if machine.run(&["sh", "-c", "command -v run0"]).status != 0 {
        // Debian 12 has no run0, so nothing leads through it.
        assert!(machine.sh("systemctl --version").starts_with("systemd 252"));
        return;
    }
    let output = machine.run(&["run0", "--user=alice", "--pipe", "sh", "-c", Machine::WHERE]);
    machine.assert_inside("alice", output.ok());
    machine.assert_nothing_left();
}

/// sudo inside a sandbox: root's process opens bob's session, and stays where alice was put.
#[test]
fn a_nested_session_stays_in_the_outer_ones_sandbox() {
    let machine = machine("sudo");
    machine.write("/etc/sudoers.d/tests", "alice ALL=(ALL) NOPASSWD: ALL\n");
    let mut session = machine.session("alice");
    let before = machine.cgroup_of(session.shell());
    let place = session.sh(&format!("sudo -n -u bob sh -c '{}'", Machine::WHERE));
    machine.assert_inside("alice", &place);
    assert_eq!(machine.cgroup_of(session.shell()), before, "the outer leader was moved");
    assert!(!machine.is_outside(session.shell()));
    let opened = |line: &String| line.contains("session_open") && line.contains("user=bob");
    assert!(!machine.log().iter().any(opened), "{:?}", machine.log());
    session.logout();
    machine.assert_nothing_left();
}

#[test]
fn a_nested_su_to_oneself_stays_too_and_its_end_ends_nothing() {
    let machine = machine("sudo");
    machine.write("/etc/sudoers.d/tests", "alice ALL=(ALL) NOPASSWD: ALL\n");
    let mut session = machine.session("alice");
    let before = machine.cgroup_of(session.shell());
    let place = session.sh(&format!("sudo -n -u alice sh -c '{}'", Machine::WHERE));
    machine.assert_inside("alice", &place);
    assert_eq!(machine.cgroup_of(session.shell()), before);
    assert_eq!(machine.tasks_max("alice"), Some(99));
    session.sh("ls /proc/self/");
    assert!(!machine.is_outside(session.shell()));
    session.logout();
    machine.assert_nothing_left();
}

/// sudo -i for root inside a sandbox: root passes the line untouched, and is where it was.
#[test]
fn root_inside_a_sandbox_is_not_moved_either() {
    let machine = machine("sudo-i");
    machine.write("/etc/sudoers.d/tests", "alice ALL=(ALL) NOPASSWD: ALL\n");
    let mut session = machine.session("alice");
    let place = session.sh(&format!("sudo -n -i sh -c '{}'", Machine::WHERE));
    machine.assert_inside("alice", &place);
}

/// A service that the policy does not name is left alone, even with the line in its stack.
#[test]
fn an_unnamed_service_is_left_alone() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    machine.sh("echo 'session required pam_cgsandbox.so' >>/etc/pam.d/su-l");
    let output = machine.run(&["su", "-", "alice", "-c", "readlink /proc/self/ns/mnt"]);
    assert_eq!(output.ok(), machine.sh("readlink /proc/1/ns/mnt"));
    let opened = |line: &String| line.contains("session_open") && line.contains("service=su-l");
    assert!(!machine.log().iter().any(opened));
}

/// tmux of an earlier login, as users have it.
#[test]
fn a_second_login_finds_the_first_ones_tmux() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let mut one: Session = machine.session("alice");
    one.sh("tmux -f /dev/null new-session -d -s kept");
    one.logout();
    let mut two = machine.session("alice");
    assert!(two.sh("tmux list-sessions").starts_with("kept:"));
    two.sh("tmux kill-server");
    two.logout();
    machine.assert_nothing_left();
}
