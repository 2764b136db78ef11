//! Names that directories give to users, in rules, at logins and in commands.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use cgsandbox_rig::Host;

/// winbind's, sssd's, and others that useradd(8) would not make.
const NAMES: [&str; 6] =
    ["DOM\\alice", "DOM/bob", "carol@dom.example", "first last", "žofie", "1999998"];

#[test]
fn names_of_all_kinds_have_rules_of_their_own() {
    let mut policy = String::from(
        "[profile.default]\ntasks_max = 50\n[[rule]]\nmatch = \"*\"\nprofile = \"default\"\n",
    );
    let mut build = Host::build();
    for (at, name) in NAMES.into_iter().enumerate() {
        let _ = write!(
            policy,
            "[profile.p{at}]\ntasks_max = {}\n[[rule]]\nmatch = '{name}'\nprofile = \"p{at}\"\n",
            60 + at
        );
        build = build.user(name);
    }
    let host = build.policy(&policy).start();
    for (at, name) in NAMES.into_iter().enumerate() {
        let told = host.as_root(["cgsandbox", "explain", name]).run();
        assert!(told.ok().contains(&format!("p{at}")), "{name}: {told:?}");
        if name.contains('/') {
            // sshd takes what follows a slash for a kind of authentication.
            continue;
        }
        let session = host.spawn_session(name);
        let limit = host.users_cgroup(name, "pids").join("pids.max");
        assert_eq!(host.read(limit).unwrap(), format!("{}\n", 60 + at), "{name}");
        assert!(host.as_root(["cgsandbox", "status", name]).run().ok().contains(name));
        session.logout();
    }
    let told = host.as_root(["cgsandbox", "check"]).run();
    assert!(!told.stderr.contains("is known here"), "{told:?}");
    host.assert_nothing_left();
}

#[test]
fn a_number_in_a_rule_is_the_user_of_that_name() {
    // What chown(1) does, and all programs that take a name or a number.
    let policy = "[profile.default]\ntasks_max = 50\n[profile.named]\ntasks_max = 60\n\
                  [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n\
                  [[rule]]\nmatch = \"1999998\"\nprofile = \"named\"\n";
    let build = Host::build().user("1999998").user_with_uid("dave", 1_999_998);
    let host = build.policy(policy).start();
    for (name, tasks) in [("1999998", "60\n"), ("dave", "50\n")] {
        let _session = host.spawn_session(name);
        let limit = host.users_cgroup(name, "pids").join("pids.max");
        assert_eq!(host.read(limit).unwrap(), tasks, "{name}");
    }
    let told = host.as_root(["cgsandbox", "check"]).run();
    assert!(told.stderr.contains("for the uid 1999998 write \"1999998:1999998\""), "{told:?}");
    // Without such a user the number is a uid.
    host.sh("sed -i /^1999998:/d /etc/passwd");
    let _session = host.spawn_session("dave");
    assert_eq!(host.read(host.users_cgroup("dave", "pids").join("pids.max")).unwrap(), "60\n");
}
