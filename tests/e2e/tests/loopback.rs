//! Everybody's localhost is their own: what addresses mean to programs, and what stays shared.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{TcpListener, TcpStream};

use cgsandbox_rig::loopback::{interface_address, machine_asks, machine_serves};
use cgsandbox_rig::{Host, Session, eventually, loopback};

mod localhost;

use localhost::{PRIVATE, build, probe, session};

fn unused_port() -> u16 {
    localhost::unused_port_from(18_000)
}

#[test]
fn two_users_serve_the_same_port_at_the_same_time() {
    let port = unused_port();
    let host = build().start();
    let mut sessions = ["alice", "bob"].map(|name| (name, session(&host, name)));
    for (name, session) in &mut sessions {
        for address in ["127.0.0.1", "::1"] {
            let at = probe(session, &format!("serve {name} tcp {address} {port}"));
            assert_eq!(at, format!("at {address} {port}"));
        }
        let web = format!(
            "mkdir www; echo the page of {name} > www/index.html
            (cd www; exec /usr/bin/python3 -m http.server --bind 127.0.0.1 {0} >/dev/null 2>&1) &
            (cd www; exec /usr/bin/python3 -m http.server --bind ::1 {0} >/dev/null 2>&1) &",
            port + 1
        );
        session.sh(&web);
    }
    for (name, session) in &mut sessions {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.1.1", "0.0.0.0", "::"] {
            let v6 = ["::1", "::"].contains(&address);
            let shown = if v6 { "::1" } else { "127.0.0.1" };
            let clothes = if address.starts_with("::ffff") { "::ffff:" } else { "" };
            let wanted = format!(
                "{name} sees {shown} at {shown} shown {clothes}{shown} from {clothes}{shown}"
            );
            assert_eq!(probe(session, &format!("ask tcp {address} {port}")), wanted, "{address}");
        }
        for address in ["127.0.0.1", "localhost", "[::1]"] {
            let url = format!("http://{address}:{}/", port + 1);
            let page = session.sh(&format!(
                "curl -sS --max-time 5 --retry 8 --retry-connrefused --retry-delay 1 {url} 2>/dev/null"
            ));
            assert_eq!(page, format!("the page of {name}"), "{address}");
        }
        let asked = format!("nc -w 3 127.0.0.1 {port} </dev/null");
        assert_eq!(session.sh(&asked), format!("{name} sees 127.0.0.1 at 127.0.0.1"));
    }
}

/// Pages and WebSockets, by a runtime that looks localhost up itself and tries its addresses.
#[test]
fn notebooks_at_one_port_are_each_users_own() {
    let port = unused_port();
    let host = build().start();
    host.write("/usr/local/lib/notebook.js", include_str!("localhost/notebook.js"));
    let node = |words: &str| format!("/usr/bin/node /usr/local/lib/notebook.js {words} 2>&1");
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    for (name, session) in [("alice", &mut alice), ("bob", &mut bob)] {
        session.sh(&(node(&format!("serve {name} 127.0.0.1 {port}")) + " >/dev/null &"));
        session.sh(&(node(&format!("serve {name} ::1 {port}")) + " >/dev/null &"));
    }
    for (name, session) in [("alice", &mut alice), ("bob", &mut bob)] {
        for (address, from) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "")] {
            let ask = node(&format!("ask {address} {port} hello"));
            let said = session.sh(&format!("until {ask} | grep notebook; do sleep 0.2; done"));
            let wanted = format!("the notebook of {name}; {name} heard hello from {from}");
            assert!(said.starts_with(&wanted), "{address}: {said}");
        }
    }
    let of_bob = loopback::v4(host.uid("bob"));
    assert_eq!(alice.sh(&node(&format!("ask {of_bob} {port} hello"))), "EPERM");
}

#[test]
fn anothers_address_is_refused() {
    let port = unused_port();
    let host = build().start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    let (v4, v6) = (loopback::v4(host.uid("bob")), loopback::v6(host.uid("bob")));
    for address in ["127.0.0.1", "::1"] {
        for kind in ["tcp", "udp"] {
            probe(&mut bob, &format!("serve bob {kind} {address} {port}"));
        }
    }
    for address in [v4.clone(), v6.clone(), format!("::ffff:{v4}")] {
        for kind in ["tcp", "udp", "udp-connected", "fastopen", "mptcp"] {
            let said = probe(&mut alice, &format!("ask {kind} {address} {port}"));
            assert_eq!(said, "EPERM", "{kind} to {address}");
        }
        for kind in ["tcp", "udp", "mptcp"] {
            for port in [0, port] {
                let said = probe(&mut alice, &format!("bind {kind} {address} {port}"));
                assert_eq!(said, "EPERM", "{kind} at {address}");
            }
        }
    }
    // Nor one that nobody has.
    assert_eq!(probe(&mut alice, &format!("bind tcp 127.64.0.0 {port}")), "EPERM");
    // The machine itself is none of the users, and reaches them.
    assert!(machine_asks(&v4, port).starts_with("bob sees 127.0.0.1"));
}

#[test]
fn the_own_address_is_localhost_by_another_name() {
    let port = unused_port();
    let host = build().start();
    let mut alice = session(&host, "alice");
    let (v4, v6) = (loopback::v4(host.uid("alice")), loopback::v6(host.uid("alice")));
    for (address, shown) in [(v4, "127.0.0.1"), (v6, "::1")] {
        probe(&mut alice, &format!("serve alice tcp {address} {port}"));
        for asked in [&address, shown] {
            let said = probe(&mut alice, &format!("ask tcp {asked} {port}"));
            assert_eq!(said, format!("alice sees {shown} at {shown} shown {shown} from {shown}"));
        }
    }
}

#[test]
fn the_machines_own_localhost_is_out_of_reach() {
    let host = build().start();
    let mut alice = session(&host, "alice");
    for address in ["127.0.0.1", "::1"] {
        let port = machine_serves(address);
        for kind in ["tcp", "fastopen", "mptcp"] {
            let said = probe(&mut alice, &format!("ask {kind} {address} {port}"));
            assert_eq!(said, "ECONNREFUSED", "{kind} {address}: nobody of alice's is there");
        }
        for kind in ["udp", "udp-connected"] {
            let said = probe(&mut alice, &format!("ask {kind} {address} {port}"));
            assert!(["timeout", "ECONNREFUSED"].contains(&&*said), "{kind} {address}: {said}");
        }
        assert!(machine_asks(address, port).starts_with("machine"), "it is there");
    }
}

#[test]
fn services_of_the_system_stay_reachable() {
    let ports = [machine_serves("127.0.0.1"), machine_serves("::1"), machine_serves("127.0.0.53")];
    let [v4, v6, resolver] = ports;
    let policy = format!("{PRIVATE}loopback_services = [{v4}, {v6}, {resolver}]\n");
    let host = build().policy(&policy).start();
    let mut alice = session(&host, "alice");
    for kind in ["tcp", "udp", "udp-connected", "fastopen", "mptcp"] {
        for (address, port, shown) in [
            ("127.0.0.1", v4, "127.0.0.1"),
            ("::1", v6, "::1"),
            ("127.0.0.53", resolver, "127.0.0.53"),
        ] {
            let said = probe(&mut alice, &format!("ask {kind} {address} {port}"));
            let seen = if address == "::1" { "::1" } else { "127.0.0.1" };
            let wanted = format!("machine sees {seen} at its own shown {shown}");
            assert!(said.starts_with(&wanted), "{kind} {address}: {said}");
        }
    }
}

#[test]
fn nobody_takes_a_service_of_the_system() {
    let port = unused_port();
    let policy = format!("{PRIVATE}loopback_services = [{port}]\n");
    let host = build().policy(&policy).start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    // It is down just now.
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "127.0.0.53"] {
        for kind in ["tcp", "udp", "mptcp"] {
            let said = probe(&mut bob, &format!("bind {kind} {address} {port}"));
            assert_eq!(said, "EPERM", "{kind} at {address}");
        }
    }
    // At an own address it is in nobody's way.
    let own = loopback::v4(host.uid("bob"));
    probe(&mut bob, &format!("serve bob tcp {own} {port}"));
    assert_eq!(probe(&mut alice, &format!("ask tcp 127.0.0.1 {port}")), "ECONNREFUSED");
    let listener = TcpListener::bind(("127.0.0.1", port));
    assert!(listener.is_ok(), "the service starts: {listener:?}");
}

#[test]
fn datagrams_stay_with_their_user() {
    let port = unused_port();
    let host = build().start();
    let mut sessions = ["alice", "bob"].map(|name| (name, session(&host, name)));
    for (name, session) in &mut sessions {
        for address in ["127.0.0.1", "::1"] {
            let at = probe(session, &format!("serve {name} udp {address} {port}"));
            assert_eq!(at, format!("at {address} {port}"));
        }
        // All addresses: what answers comes from where it was asked.
        probe(session, &format!("serve {name} udp 0.0.0.0 {}", port + host_number(name)));
    }
    for (name, session) in &mut sessions {
        for address in ["127.0.0.1", "::1"] {
            let said = probe(session, &format!("ask udp {address} {port}"));
            assert_eq!(said, format!("{name} sees {address} at {address} shown {address}"));
            let said = probe(session, &format!("ask udp-connected {address} {port}"));
            let shown = format!("shown {address} from {address}");
            assert_eq!(said, format!("{name} sees {address} at {address} {shown}"));
        }
        let all = port + host_number(name);
        for kind in ["udp", "udp-connected"] {
            let said = probe(session, &format!("ask {kind} 127.0.0.1 {all}"));
            assert!(said.starts_with(&format!("{name} sees 127.0.0.1")), "{kind}: {said}");
        }
    }
}

/// So that two servers on all addresses do not meet.
fn host_number(name: &str) -> u16 {
    if name == "alice" { 1 } else { 2 }
}

#[test]
fn a_wildcard_server_does_not_answer_for_others() {
    let port = unused_port();
    let host = build().start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    let (v4, v6) = (loopback::v4(host.uid("bob")), loopback::v6(host.uid("bob")));
    let network = interface_address();
    probe(&mut bob, &format!("serve bob tcp 0.0.0.0 {port}"));
    probe(&mut bob, &format!("serve bob udp 0.0.0.0 {port}"));
    probe(&mut bob, &format!("serve bob tcp :: {}", port + 1));
    // listen(2) without bind(2) takes all addresses and any port.
    let listening = "import socket,os\ns=socket.socket(); s.listen(); print(s.getsockname()[1], flush=True)\nif os.fork(): os._exit(0)\nwhile True:\n c,_=s.accept(); c.sendall(b'bob'); c.close()";
    let unbound: u16 = bob.sh(&format!("/usr/bin/python3 -c \"{listening}\"")).parse().unwrap();

    for port in [port, port + 1, unbound] {
        for address in ["127.0.0.1", "::1", &network] {
            let said = probe(&mut alice, &format!("ask tcp {address} {port}"));
            assert!(["timeout", "ECONNREFUSED"].contains(&&*said), "{address} {port}: {said}");
        }
    }
    assert_eq!(probe(&mut alice, &format!("ask udp {network} {port}")), "timeout");
    // Nor for the machine: a daemon's clients do not end up at bob's.
    let timeout = std::time::Duration::from_secs(1);
    let at = format!("127.0.0.1:{port}").parse().unwrap();
    assert!(TcpStream::connect_timeout(&at, timeout).is_err());
    // To bob himself, to the machine by his address, and on the network, it is there.
    for (address, port) in [("127.0.0.1", port), (&*network, port), ("::1", port + 1)] {
        let said = probe(&mut bob, &format!("ask tcp {address} {port}"));
        assert!(said.starts_with("bob sees"), "{address} {port}: {said}");
    }
    for (address, port) in [(&*v4, port), (&*network, port), (&*v6, port + 1)] {
        assert!(machine_asks(address, port).starts_with("bob"), "{address} {port}");
    }
}

#[test]
fn a_wildcard_server_takes_the_port_unless_it_is_the_users_own() {
    let port = unused_port();
    let host = build().start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    probe(&mut bob, &format!("serve bob tcp 0.0.0.0 {port}"));
    assert_eq!(probe(&mut alice, &format!("bind tcp 127.0.0.1 {port}")), "EADDRINUSE");

    host.set_policy(&format!("{PRIVATE}loopback_wildcard = \"localhost\"\n"));
    let (mut carol, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    for (name, session) in [("alice", &mut carol), ("bob", &mut bob)] {
        for (address, shown) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
            let port = port + 1;
            let at = probe(session, &format!("serve {name} tcp {address} {port}"));
            assert_eq!(at, format!("at {shown} {port}"));
            let said = probe(session, &format!("ask tcp {shown} {port}"));
            assert!(said.starts_with(&format!("{name} sees {shown}")), "{said}");
        }
    }
    let timeout = std::time::Duration::from_secs(1);
    let at = format!("{}:{}", interface_address(), port + 1).parse().unwrap();
    assert!(TcpStream::connect_timeout(&at, timeout).is_err(), "not on the network");
}

#[test]
fn a_daemon_outside_reaches_every_user() {
    let port = unused_port();
    let host = build().start();
    for name in ["alice", "bob"] {
        let mut session = session(&host, name);
        for address in ["127.0.0.1", "::1"] {
            probe(&mut session, &format!("serve {name} tcp {address} {port}"));
        }
        let addresses = host.sh(&format!("cgsandbox address {name}"));
        for address in addresses.split_whitespace() {
            assert!(machine_asks(address, port).starts_with(&format!("{name} sees")), "{address}");
        }
    }
}

#[test]
fn peers_reach_what_they_may() {
    let port = unused_port();
    let host = Host::build()
        .user("alice")
        .member("bob", &["friends"])
        .member("carol", &["friends"])
        .policy(
            "[profile.open]\nloopback = \"private\"\nloopback_peers = [\"@friends\", \"!carol\"]\n\
             [profile.default]\nloopback = \"private\"\n\
             [[rule]]\nmatch = \"alice\"\nprofile = \"open\"\n\
             [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n",
        )
        .start();
    let address = |name: &str| loopback::v4(host.uid(name));
    // One before and one after: both ways the programs must learn of it.
    let mut carol = session(&host, "carol");
    let mut alice = session(&host, "alice");
    let mut bob = session(&host, "bob");
    for (name, session) in [("alice", &mut alice), ("bob", &mut bob)] {
        for kind in ["tcp", "udp"] {
            probe(session, &format!("serve {name} {kind} 127.0.0.1 {port}"));
        }
    }
    let to_alice = |session: &mut Session<'_>, kind: &str| {
        probe(session, &format!("ask {kind} {} {port}", address("alice")))
    };
    let from_bob = format!("alice sees {} at 127.0.0.1", address("bob"));
    for kind in ["tcp", "udp", "udp-connected"] {
        let said = to_alice(&mut bob, kind);
        assert!(said.starts_with(&from_bob), "{kind}: {said}");
        assert_eq!(to_alice(&mut carol, kind), "EPERM", "{kind}");
    }
    // The other direction was not granted: datagrams have none, connections do.
    assert_eq!(probe(&mut alice, &format!("ask tcp {} {port}", address("bob"))), "EPERM");
    let said = probe(&mut alice, &format!("ask udp {} {port}", address("bob")));
    assert!(said.starts_with("bob sees"), "{said}");

    host.set_policy(PRIVATE);
    drop(session(&host, "alice"));
    assert_eq!(to_alice(&mut bob, "tcp"), "EPERM", "taken back");
    assert_eq!(to_alice(&mut bob, "udp"), "EPERM", "taken back");
}

#[test]
fn a_database_of_the_system_is_everybodys_and_one_of_a_users_is_not() {
    let (port, system) = (unused_port(), unused_port());
    let policy = format!("{PRIVATE}loopback_services = [{system}]\n");
    let host = build().policy(&policy).start();
    let options = "--save '' --bind 127.0.0.1 ::1 --daemonize yes --logfile /dev/null";
    let server = host.as_root(["sh", "-c", &format!("redis-server --port {system} {options}")]);
    server.run().ok();
    let cli = |port: u16, words: &str| format!("redis-cli -p {port} {words} 2>&1");
    eventually("the system's database answers", 20.0, || {
        host.as_root(["redis-cli", "-p", &system.to_string(), "ping"]).run().stdout == "PONG\n"
    });
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    assert_eq!(alice.sh(&cli(system, "set from alice")), "OK");
    assert_eq!(bob.sh(&cli(system, "get from")), "alice");

    alice.sh(&format!("redis-server --port {port} {options}"));
    alice.sh(&format!("until redis-cli -p {port} ping; do sleep 0.1; done"));
    assert_eq!(alice.sh(&cli(port, "set whose alices")), "OK");
    let refused = bob.sh(&cli(port, "get whose"));
    assert!(refused.contains("Could not connect"), "{refused}");
    bob.sh(&format!("redis-server --port {port} {options}"));
    bob.sh(&format!("until redis-cli -p {port} ping; do sleep 0.1; done"));
    assert_eq!(bob.sh(&cli(port, "get whose")), "");
    assert_eq!(alice.sh(&cli(port, "get whose")), "alices");
    host.sh("pkill redis-server");
}

#[test]
fn a_hundred_users_serve_the_same_port() {
    let port = unused_port();
    let names: Vec<String> = (0..100).map(|number| format!("user{number}")).collect();
    let builder = names.iter().fold(Host::build(), |builder, name| builder.user(name));
    let host = builder.policy(PRIVATE).start();
    let mut sessions: Vec<_> = names.iter().map(|name| session(&host, name)).collect();
    for (name, session) in names.iter().zip(&mut sessions) {
        let at = probe(session, &format!("serve {name} tcp 127.0.0.1 {port}"));
        assert_eq!(at, format!("at 127.0.0.1 {port}"));
    }
    for (name, session) in names.iter().zip(&mut sessions) {
        let said = probe(session, &format!("ask tcp 127.0.0.1 {port}"));
        assert!(said.starts_with(&format!("{name} sees")), "{said}");
    }
    let claims = host.sh("ls /run/cgsandbox/loopback/address | wc -l");
    assert_eq!(claims.trim(), "100");
}

#[test]
fn a_passed_socket_keeps_its_makers_localhost() {
    let host = build().start();
    let port = machine_serves("127.0.0.1");
    host.write("/usr/local/bin/pass", include_str!("localhost/pass.py"));
    let giver = host.as_root(["/usr/bin/python3", "/usr/local/bin/pass", "give"]).start();
    eventually("the socket is offered", 20.0, || giver.stdout().contains("offered"));
    let mut alice = session(&host, "alice");
    let said = alice.sh(&format!("/usr/bin/python3 /usr/local/bin/pass take 127.0.0.1 {port}"));
    assert!(said.starts_with("machine sees"), "root's socket is root's: {said}");
}

#[test]
fn abstract_sockets_are_shared() {
    let host = build().start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    let name = format!("cgsandbox-{}", std::process::id());
    let script = format!(
        "/usr/bin/python3 -c \"import socket; s=socket.socket(socket.AF_UNIX); \
         s.connect('\\0{name}'); print(s.recv(100).decode())\""
    );
    let listening = format!(
        "/usr/bin/python3 -c \"import socket,os; s=socket.socket(socket.AF_UNIX); \
         s.bind('\\0{name}'); s.listen(); os.fork() and os._exit(0); \
         c,_=s.accept(); c.sendall(b'of bob')\""
    );
    bob.sh(&listening);
    assert_eq!(alice.sh(&script), "of bob");
}

#[test]
fn an_own_network_namespace_is_left_alone() {
    let port = unused_port();
    let host = build().start();
    let mut alice = session(&host, "alice");
    if alice.sh("unshare -Urn true && echo can") != "can" {
        panic!("this machine keeps user namespaces from its users: cannot be tested");
    }
    let script = format!(
        "unshare -Urn sh -c 'ip link set lo up; P=\"/usr/bin/python3 /usr/local/bin/probe\"; \
         for a in 127.0.0.1 ::1; do $P serve own tcp $a {port} >/dev/null; \
         $P ask tcp $a {port}; done; ss -Hltn; pkill -f probe' 2>&1"
    );
    let said = alice.sh(&script);
    assert!(said.contains("own sees 127.0.0.1 at 127.0.0.1"), "{said}");
    assert!(said.contains("own sees ::1 at ::1"), "{said}");
    assert!(!said.contains(&loopback::v4(host.uid("alice"))), "{said}");
}

#[test]
fn protocols_without_a_hook_are_refused() {
    let port = unused_port();
    let host = build().start();
    let mut alice = session(&host, "alice");
    let said = probe(&mut alice, &format!("ask sctp 127.0.0.1 {port}"));
    let refused = ["timeout", "ECONNREFUSED", "EPERM", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"];
    assert!(refused.contains(&&*said), "{said}");
}
