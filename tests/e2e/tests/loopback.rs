//! Everybody's localhost is their own.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::Host;

const PRIVATE: &str = "[profile.default]\nloopback = \"private\"\n";

#[test]
fn two_users_serve_the_same_port() {
    let host = Host::build().user("alice").user("bob").policy(PRIVATE).start();
    let mut sessions = ["alice", "bob"].map(|name| (name, host.spawn_session(name)));
    for (name, session) in &mut sessions {
        println!("{name}: {}", session.sh("cat /proc/self/cgroup | tail -1; mkdir -p w; cd w; echo mine is $LOGNAME > index.html; (/usr/bin/python3 -m http.server --bind 127.0.0.1 8642 >log 2>&1 &) ; sleep 1; cat log"));
    }
    for (name, session) in &mut sessions {
        println!("{name}: {}", session.sh("curl -sS --max-time 5 http://127.0.0.1:8642/ 2>&1; curl -sS --max-time 5 http://localhost:8642/ 2>&1"));
    }
    println!("{}", host.sh("cat /proc/net/tcp | head -20; cat /run/cgsandbox/loopback/programs; ls -l /run/cgsandbox/loopback/address; cat /proc/net/if_inet6"));
    println!("{:#?}", host.log());
}
