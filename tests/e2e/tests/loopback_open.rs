//! Localhosts that anybody may reach, or anybody but some.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use cgsandbox_rig::{Host, Session, eventually, loopback, patience};

mod localhost;

use localhost::{PRIVATE, build, probe, session};

fn unused_port() -> u16 {
    localhost::unused_port_from(28_000)
}

fn ask(host: &Host, session: &mut Session<'_>, kind: &str, whom: &str, port: u16) -> String {
    probe(session, &format!("ask {kind} {} {port}", loopback::v4(host.uid(whom))))
}

fn serve(session: &mut Session<'_>, name: &str, port: u16) {
    for kind in ["tcp", "udp"] {
        probe(session, &format!("serve {name} {kind} 127.0.0.1 {port}"));
    }
}

/// More than 256 users, who had more pairs than the programs can know of.
#[test]
fn any_number_of_users_may_reach_each_other() {
    const MANY: usize = 300;
    let port = unused_port();
    let names: Vec<String> = (0..MANY).map(|number| format!("user{number}")).collect();
    let builder = names.iter().fold(Host::build(), |builder, name| builder.user(name));
    let timeout = format!("timeout={}s", patience(10.0).as_secs());
    let policy = format!("{PRIVATE}loopback_peers = [\"*\"]\n");
    let host = builder.policy(&policy).module_arguments(&timeout).start();
    for four in names.chunks(4) {
        let login =
            |name: &String| host.as_root(["pamtester", "sshd", name, "open_session"]).start();
        let all: Vec<_> = four.iter().map(login).collect();
        for one in all {
            one.finish(patience(60.0)).ok();
        }
    }
    let [first, last] = [&*names[0], &*names[MANY - 1]];
    let (mut one, mut other) = (session(&host, first), session(&host, last));
    serve(&mut one, first, port);
    for kind in ["tcp", "udp", "udp-connected"] {
        let said = ask(&host, &mut other, kind, first, port);
        assert!(
            said.starts_with(&format!("{first} sees {}", loopback::v4(host.uid(last)))),
            "{said}"
        );
    }
    assert!(!host.exists("/run/cgsandbox/loopback/pairs"), "no pairs where everybody may");
}

/// The kernel verifies the programs for the first of all logins, which can take long where its user
/// has used up the own limits.
#[test]
fn a_login_that_is_slow_to_load_the_programs_keeps_nobody_waiting() {
    const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";
    let stand_in = "/usr/libexec/cgsandbox/stand-in";
    let arguments = format!("helper={stand_in} timeout={}s", patience(60.0).as_secs());
    let host = build().policy(PRIVATE).module_arguments(&arguments).start();
    // The first helper waits before each bpf(2): more than 15 seconds until all is loaded.
    let script = format!(
        "#!/bin/sh\nrm /run/slow 2>/dev/null || exec {HELPER} \"$@\"\n\
         exec /usr/bin/strace -D -qq -o /dev/null -e inject=bpf:delay_enter=500000 {HELPER} \"$@\"\n"
    );
    host.write(stand_in, script);
    host.write("/run/slow", "");
    host.sh(&format!("chmod 755 {stand_in}"));
    let login = |name| host.as_root(["pamtester", "sshd", name, "open_session", "close_session"]);
    let mut slow = login("alice").start();
    eventually("alice's helper loads", 20.0, || {
        !host.exists("/run/slow") && host.exists("/run/cgsandbox/loopback")
    });
    let start = Instant::now();
    login("bob").run().ok();
    let took = start.elapsed();
    assert!(took < patience(5.0), "bob waited for {took:?}");
    assert!(slow.is_running(), "alice's login is under way: {}", slow.stderr());
    slow.finish(patience(120.0)).ok();
    host.assert_nothing_left();
}

/// By the number of system calls: time would tell more of the machine's other work.
#[test]
fn a_login_looks_at_none_of_ten_thousand_others() {
    let policy = format!("{PRIVATE}loopback_peers = [\"*\"]\n");
    let host = build().policy(&policy).start();
    let _bob = session(&host, "bob");
    let calls = || {
        let login = "pamtester sshd alice open_session close_session";
        host.sh(&format!("strace -f -qq -o /run/trace -e trace=all {login}"));
        let counted = "grep -cE 'readlink|getdents|bpf\\(|openat\\(|connect\\(' /run/trace";
        host.sh(counted).trim().parse::<usize>().unwrap()
    };
    let before = calls();
    // As they are on record.
    let record = "import os\nos.chdir('/run/cgsandbox/loopback/address')\n\
                  for number in range(10000):\n    \
                      os.symlink(f'{4000000000 + number} fd63:6773:6278::{number:x}',\n        \
                                 f'127.90.{number // 256}.{number % 256}')";
    host.as_root(["/usr/bin/python3", "-c", record]).run().ok();
    let beside = calls();
    host.sh("rm /run/cgsandbox/loopback/address/127.90.*");
    assert!(beside < before + 50, "{before} system calls alone, {beside} beside 10,000");
}

#[test]
fn whom_an_owner_leaves_out_reaches_nothing() {
    let port = unused_port();
    let host = Host::build()
        .user("alice")
        .user("bob")
        .user("carol")
        .policy(
            "[profile.open]\nloopback = \"private\"\nloopback_peers = [\"*\", \"!carol\"]\n\
             [profile.default]\nloopback = \"private\"\n\
             [[rule]]\nmatch = \"alice\"\nprofile = \"open\"\n\
             [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n",
        )
        .start();
    // One of each before her, and one after.
    let mut carol = session(&host, "carol");
    let mut alice = session(&host, "alice");
    let mut bob = session(&host, "bob");
    for (name, session) in [("alice", &mut alice), ("bob", &mut bob), ("carol", &mut carol)] {
        serve(session, name, port);
    }
    for kind in ["tcp", "udp", "udp-connected"] {
        let said = ask(&host, &mut bob, kind, "alice", port);
        assert!(said.starts_with("alice sees"), "{kind}: {said}");
        assert_eq!(ask(&host, &mut carol, kind, "alice", port), "EPERM", "{kind}");
        assert_eq!(ask(&host, &mut alice, kind, "carol", port), "EPERM", "{kind}");
        assert_eq!(ask(&host, &mut carol, kind, "bob", port), "EPERM", "{kind}");
    }
    assert_eq!(ask(&host, &mut alice, "tcp", "bob", port), "EPERM", "not the other way");
    let said = ask(&host, &mut alice, "udp", "bob", port);
    assert!(said.starts_with("bob sees"), "datagrams have no direction: {said}");

    host.set_policy(PRIVATE);
    host.sh("cgsandbox apply");
    for kind in ["tcp", "udp"] {
        assert_eq!(ask(&host, &mut bob, kind, "alice", port), "EPERM", "taken back");
        assert_eq!(ask(&host, &mut alice, kind, "bob", port), "EPERM", "taken back");
    }
}

/// Who is gone and comes again has what the policy says then, and nothing of before.
#[test]
fn nothing_that_was_let_in_outlasts_its_owner() {
    let port = unused_port();
    let open = format!("{PRIVATE}loopback_peers = [\"*\"]\n");
    let host = build().policy(&open).start();
    let mut bob = session(&host, "bob");
    let alice = session(&host, "alice");
    host.set_policy(PRIVATE);
    alice.logout();
    let mut alice = session(&host, "alice");
    serve(&mut alice, "alice", port);
    // Bob is still open to her, so his datagrams may answer hers, but bob begins none by TCP.
    assert_eq!(ask(&host, &mut bob, "tcp", "alice", port), "EPERM");
    drop(session(&host, "bob"));
    host.wait_log(&["event=session_close", "user=bob"]);
    assert_eq!(ask(&host, &mut bob, "udp", "alice", port), "EPERM");
}
