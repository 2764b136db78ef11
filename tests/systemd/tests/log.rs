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
