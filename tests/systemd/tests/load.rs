//! Many logins: at once, and one after the other.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use cgsandbox_systemd_tests::{LINE, Machine, Running, patience};

const POLICY: &str = "[profile.default]\nmemory_max = \"900M\"\ntasks_max = 3000\n";

/// They wait for each other, longer than one login may take.
const UNHURRIED: &str = "timeout=600s";

/// What a session has to be like, asked inside it by pam_exec(8).
const CHECK: &str = r#"
[ "$PAM_TYPE" = open_session ] || exit 0
slice=user.slice/user-$(id -u "$PAM_USER").slice
grep -Eq "^(0:|[0-9]+:name=systemd):/$slice/session-[^/]+\.scope$" /proc/self/cgroup
cat "/sys/fs/cgroup/$slice/pids.max" "/sys/fs/cgroup/pids/$slice/pids.max" 2>/dev/null |
    grep -qx 3000
[ ! -e /run/cgsandbox/user ]
"#;

/// The log's reasons.
fn refusals(machine: &Machine) -> Vec<String> {
    machine.log().into_iter().filter(|line| !line.contains("event=session_open")).collect()
}

/// Through PAM alone: what sshd computes for a connection would take an emulated machine most of
/// an hour.
#[test]
fn two_hundred_logins_at_once_all_get_their_limits() {
    let machine =
        Machine::build().user("alice").user("bob").policy(POLICY).module_arguments(UNHURRIED);
    let machine = machine.start();
    machine.write("/run/check", CHECK);
    machine.write(
        "/etc/pam.d/crowd",
        &format!(
            "session required pam_permit.so\nsession required pam_systemd.so\n\
             {LINE} {UNHURRIED}\nsession required pam_exec.so /bin/sh -eu /run/check\n"
        ),
    );
    machine.set_policy_of(&["sshd", "crowd"], POLICY);
    let start = Instant::now();
    let users: Vec<&str> = ["alice", "bob"].into_iter().cycle().take(200).collect();
    let login = |user: &&str| machine.pamtester("crowd", user, &["open_session", "close_session"]);
    let logins: Vec<Running> = users.iter().map(login).collect();
    for login in logins {
        let output = login.finish(patience(120.0));
        assert_eq!(
            output.status,
            0,
            "{}{}\n{:#?}",
            output.stdout,
            output.stderr,
            refusals(&machine)
        );
    }
    println!("host: 200 logins at once: {:?}", start.elapsed());
    let opened = machine.log();
    let full = |line: &&String| {
        ["event=session_open", "service=crowd", "enforced=full"].iter().all(|it| line.contains(it))
    };
    assert_eq!(opened.iter().filter(full).count(), 200);
    machine.assert_nothing_left();
}

#[test]
fn three_hundred_sessions_one_after_the_other_leave_nothing() {
    let machine = Machine::build().user("alice").policy(POLICY).start();
    let state = "find /run/systemd/system.control /run/cgsandbox /run/systemd/transient | wc -l";
    // What the first one makes for all.
    machine.ssh("alice").cmd("true").run().ok();
    machine.assert_nothing_left();
    let before = machine.sh(state);
    let start = Instant::now();
    for cycle in 0..300 {
        let session = machine.pamtester("sshd", "alice", &["open_session", "close_session"]);
        let output = session.finish(patience(10.0));
        assert_eq!(output.status, 0, "cycle {cycle}: {}{}", output.stdout, output.stderr);
    }
    println!("host: 300 sessions: {:?}", start.elapsed());
    machine.assert_nothing_left();
    assert_eq!(machine.sh(state), before);
    let opened = machine.log().iter().filter(|it| it.contains("session_open")).count();
    assert!(opened >= 300, "{opened} sessions were opened");
}
