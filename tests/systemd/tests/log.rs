//! What the journal tells of lines that look like ours.
#![allow(clippy::unwrap_used)]

use cgsandbox_systemd_tests::Machine;

const TRUSTED: &str = "_UID=0 SYSLOG_IDENTIFIER=cgsandbox";

#[test]
fn a_forged_line_does_not_have_roots_uid() {
    let machine = Machine::build().user("alice").policy("[profile.default]\n").start();
    let mut session = machine.session("alice");
    session.sh("logger -p authpriv.info -t 'cgsandbox[4711]' 'event=session_open user=forged'");
    session.logout();
    machine.wait_log(&["event=session_open", "user=forged"]);
    machine.wait_log(&["event=session_close", "user=alice"]);
    let trusted = machine.journal(TRUSTED);
    let has =
        |words: [&str; 2]| trusted.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(["event=session_open", "user=alice"]), "{trusted:#?}");
    assert!(has(["event=session_close", "user=alice"]), "{trusted:#?}");
    assert!(!has(["event=", "user=forged"]), "{trusted:#?}");
}

/// journald counts what a unit says, and drops what is over its rate. The helper is in no unit.
#[test]
fn a_user_who_floods_the_journal_drops_no_line_of_the_audit() {
    let machine = Machine::build().user("alice").policy("[profile.default]\n").start();
    if !machine.is_unified() {
        return;
    }
    let limits = "/run/systemd/journald.conf.d/tests.conf";
    machine.sh("mkdir -p /run/systemd/journald.conf.d");
    machine.write(limits, "[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=20\n");
    machine.sh("systemctl restart systemd-journald");
    let mut session = machine.session("alice");
    let scope = machine.cgroup_of(session.shell());
    let scope = scope.rsplit('/').next().unwrap();
    session.sh("seq 2000 | logger -t flood");
    session.logout();
    let line = machine.wait_log(&["event=session_close", "user=alice", "service=sshd"]);
    assert!(line.contains(" cpu_usec="), "it is not the helper's: {line}");
    let arrived = machine.journal("SYSLOG_IDENTIFIER=flood").len();
    machine.sh(&format!("rm {limits} && systemctl restart systemd-journald"));
    assert!(arrived < 1000, "journald has dropped nothing of {scope}: {arrived} lines");
    machine.assert_nothing_left();
}
