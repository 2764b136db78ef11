//! First logins and last logouts of one user at once: all get in, nothing is left.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Running, patience};

/// A hundred; on an emulated machine as many as it can serve in a minute or two.
fn at_once() -> usize {
    if patience(1.0).as_secs() > 1 { 20 } else { 100 }
}

/// They wait for each other: on a small or busy machine longer than one login may take.
fn unhurried() -> String {
    format!("timeout={}s", patience(60.0).as_secs())
}

fn host() -> Host {
    let host = Host::build().user("alice").user("bob").module_arguments(&unhurried());
    host.policy("[profile.default]\ntasks_max = 2000\n").start()
}

fn open_and_close(host: &Host, user: &str) -> Running {
    host.as_root(["pamtester", "sshd", user, "open_session", "close_session"]).start()
}

fn assert_all_succeed(running: Vec<Running>) {
    for one in running {
        one.finish(patience(60.0)).ok();
    }
}

#[test]
fn a_hundred_sessions_of_one_user_come_and_go_at_once() {
    let host = host();
    for _ in 0..3 {
        assert_all_succeed((0..at_once()).map(|_| open_and_close(&host, "alice")).collect());
        host.assert_nothing_left();
    }
}

#[test]
fn sessions_of_two_users_do_not_disturb_each_other() {
    let host = host();
    let users = ["alice", "bob"].into_iter().cycle().take(at_once());
    assert_all_succeed(users.map(|user| open_and_close(&host, user)).collect());
    host.assert_nothing_left();
}

#[test]
fn gc_does_not_disturb_logins() {
    let host = host();
    for _ in 0..5 {
        let logins = (0..20).map(|_| open_and_close(&host, "alice")).collect();
        // It may find the user's lock taken for too long, and says so then: no matter here.
        let collectors = [(); 5].map(|()| host.as_root(["cgsandbox", "gc"]).start());
        assert_all_succeed(logins);
        for collector in collectors {
            collector.finish(patience(60.0));
        }
    }
    host.assert_nothing_left();
}

#[test]
fn twenty_ssh_logins_at_once_all_land_inside_and_leave_nothing() {
    let host = host();
    let login = |_| host.ssh("alice").cmd("cat /proc/self/cgroup").start();
    let logins: Vec<Running> = (0..20).map(login).collect();
    let sandbox = format!("{}/user-{}/session-", host.cgroup_root(), host.uid("alice"));
    for login in logins {
        let output = login.finish(patience(60.0));
        assert!(output.ok().contains(&sandbox), "{output:?}");
    }
    host.assert_nothing_left();
}
