//! What ssh forwards leads to the user's own localhost.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use cgsandbox_rig::loopback::{machine_asks, machine_serves};
use cgsandbox_rig::{Session, eventually};

mod localhost;

use localhost::{build, probe, session};

fn unused_port() -> u16 {
    localhost::unused_port_from(24_000)
}

#[test]
fn forwardings_lead_to_the_users_own_localhost() {
    let port = unused_port();
    let host = build().start();
    let [local, remote, socks] = [0, 1, 2].map(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    });
    let target = machine_serves("127.0.0.1");
    for name in ["alice", "bob"] {
        let mut inside = session(&host, name);
        probe(&mut inside, &format!("serve {name} tcp 127.0.0.1 {port}"));
        // The client's end is on this machine, too, and the machine's to bind.
        let forwarding = host
            .ssh(name)
            .option(&format!("-L127.0.0.1:{local}:localhost:{port}"))
            .option(&format!("-R{remote}:127.0.0.1:{target}"))
            .option(&format!("-D127.0.0.1:{socks}"))
            .option("-oExitOnForwardFailure=yes")
            .cmd("echo ready; sleep 1000")
            .start();
        eventually("the forwardings are there", 20.0, || forwarding.stdout().contains("ready"));
        assert!(machine_asks("127.0.0.1", local).starts_with(&format!("{name} sees")), "-L");
        let said = probe(&mut inside, &format!("ask tcp 127.0.0.1 {remote}"));
        assert!(said.starts_with("machine sees"), "-R: {said}");
        let through = host.sh(&format!(
            "curl -sS --max-time 5 --http0.9 --socks5 127.0.0.1:{socks} http://127.0.0.1:{port}/"
        ));
        assert!(through.starts_with(&format!("{name} sees")), "-D: {through}");
        forwarding.kill();
        inside.logout();
    }
}

/// Both get the first display there is.
#[test]
fn forwarded_displays_are_the_users_own() {
    let host = build().sshd("X11Forwarding yes").start();
    let x11 = |name: &str| {
        let ssh = ["ssh", "-Y", "-l", name, "sandbox", "echo $DISPLAY; sleep 1000"];
        host.as_root(ssh).env("DISPLAY", "127.0.0.1:42").start()
    };
    let mut outsider = session(&host, "bob");
    let open = |session: &mut Session<'_>| {
        session.sh("(exec 3<>/dev/tcp/127.0.0.1/6010) 2>/dev/null && echo open || echo refused")
    };
    let alice = x11("alice");
    eventually("alice has a display", 20.0, || alice.stdout().trim() == "localhost:10.0");
    assert_eq!(open(&mut session(&host, "alice")), "open");
    assert_eq!(open(&mut outsider), "refused", "no display of alice's for bob");
    let bob = x11("bob");
    eventually("bob has the same", 20.0, || bob.stdout().trim() == "localhost:10.0");
    assert_eq!(open(&mut outsider), "open");
    drop((alice, bob));
}
