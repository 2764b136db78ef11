//! What the package's scripts do for users who are logged in when it is removed.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::Host;

const SCRIPTS: [(&str, &str); 2] = [
    ("prerm", include_str!("../../../packaging/deb/cgsandbox.prerm")),
    ("postrm", include_str!("../../../packaging/deb/cgsandbox.postrm")),
];

/// Runs a script of the package's as dpkg does; what it says to the administrator.
fn run(host: &Host, script: &str, argument: &str) -> String {
    let (name, text) = SCRIPTS.iter().find(|(name, _)| *name == script).unwrap();
    host.write(&format!("/run/{name}"), text);
    host.sh(&format!("sh /run/{name} {argument} 2>&1"))
}

#[test]
fn limits_of_open_sessions_are_lifted_and_nothing_is_left() {
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start();
    let mut session = host.spawn_session("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(&limit).unwrap().trim(), "50");
    assert_eq!(run(&host, "prerm", "remove").trim(), "");
    assert_eq!(host.read(&limit).unwrap().trim(), "max");
    let told = run(&host, "postrm", "remove");
    assert!(
        told.contains(&format!("these uids have open sessions: {}", host.uid("alice"))),
        "{told}"
    );
    run(&host, "postrm", "purge");
    assert!(!host.exists("/run/cgsandbox"));
    assert_eq!(session.sh("echo works"), "works");
    session.logout();
}

#[test]
fn a_removal_with_nobody_logged_in_leaves_nothing() {
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start();
    host.ssh("alice").cmd("true").run().ok();
    assert!(host.exists("/run/cgsandbox/last-good"));
    assert_eq!(run(&host, "prerm", "remove").trim(), "");
    assert_eq!(run(&host, "postrm", "remove").trim(), "");
    assert!(!host.exists("/run/cgsandbox"));
    host.assert_nothing_left();
}
