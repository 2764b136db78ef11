//! Many logins: at once, and one after the other.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use cgsandbox_systemd_tests::{Machine, Running, patience};

const POLICY: &str = "[profile.default]\nmemory_max = \"900M\"\ntasks_max = 3000\n";

/// They wait for each other, longer than one login may take.
const UNHURRIED: &str = "timeout=600s";

#[test]
fn two_hundred_logins_at_once_all_get_their_limits() {
    let machine =
        Machine::build().user("alice").user("bob").policy(POLICY).module_arguments(UNHURRIED);
    let machine = machine.start();
    let start = Instant::now();
    let command = |user: &str| {
        let slice = format!("user.slice/{}", machine.slice(user));
        format!(
            "cat /sys/fs/cgroup/{slice}/pids.max /sys/fs/cgroup/pids/{slice}/pids.max 2>/dev/null; {}",
            Machine::WHERE
        )
    };
    let users: Vec<&str> = ["alice", "bob"].into_iter().cycle().take(200).collect();
    let logins: Vec<Running> =
        users.iter().map(|user| machine.ssh(user).cmd(&command(user)).start()).collect();
    for (user, login) in users.iter().zip(logins) {
        let output = login.finish(patience(120.0));
        machine.assert_inside(user, output.ok());
        assert!(output.stdout.starts_with("3000\n"), "no limit: {}", output.stdout);
    }
    println!("200 logins at once: {:?}", start.elapsed());
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
    println!("300 sessions: {:?}", start.elapsed());
    machine.assert_nothing_left();
    assert_eq!(machine.sh(state), before);
    let opened = machine.log().iter().filter(|it| it.contains("session_open")).count();
    assert!(opened >= 300, "{opened} sessions were opened");
}
