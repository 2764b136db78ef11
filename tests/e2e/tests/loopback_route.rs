//! Where `net.ipv6.ip_nonlocal_bind` is 1, one route stands for the IPv6 addresses of all users.
//!
//! It is a setting of the network namespace, so each test has one of its own.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, loopback, patience};

mod localhost;
#[path = "localhost/network.rs"]
mod network;

use localhost::{PRIVATE, build, probe, session};
use network::in_own_network;

const PREFIX: &str = "fd63:6773:6278:";
const SETTING: &str = "/proc/sys/net/ipv6/ip_nonlocal_bind";

fn unused_port() -> u16 {
    localhost::unused_port_from(26_000)
}

/// How many addresses of users are on `lo`, and how many routes lead there from the pool.
fn on_lo(host: &Host) -> (usize, usize) {
    let addresses = host.sh("ip -6 address show dev lo");
    let routes = host.sh("ip -6 route show table local");
    let of_pool = |line: &&str| line.starts_with(&format!("local {PREFIX}:/64 dev lo"));
    (addresses.matches(PREFIX).count(), routes.lines().filter(of_pool).count())
}

#[test]
fn nobody_who_has_a_localhost_of_the_own_is_seen_on_lo() {
    in_own_network("nobody_who_has_a_localhost_of_the_own_is_seen_on_lo", || {
        std::fs::write(SETTING, "1").unwrap();
        let host = build().start();
        let (alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
        assert_eq!(on_lo(&host), (0, 1));
        assert!(!bob.sh("cat /proc/net/if_inet6").contains("fd6367736278"));
        alice.logout();
        assert_eq!(on_lo(&host), (0, 1), "bob is there");
        bob.logout();
        host.assert_nothing_left();
        assert_eq!(on_lo(&host), (0, 0));
    });
}

#[test]
fn a_users_own_localhost_is_the_same_with_one_route_for_all() {
    in_own_network("a_users_own_localhost_is_the_same_with_one_route_for_all", || {
        std::fs::write(SETTING, "1").unwrap();
        let port = unused_port();
        let host = build().start();
        let mut sessions = ["alice", "bob"].map(|name| (name, session(&host, name)));
        for (name, session) in &mut sessions {
            for kind in ["tcp", "udp"] {
                let at = probe(session, &format!("serve {name} {kind} ::1 {port}"));
                assert_eq!(at, format!("at ::1 {port}"), "{kind}");
            }
            assert_eq!(probe(session, "bind tcp ::1 0"), "at ::1", "any port");
            let again = probe(session, &format!("bind udp ::1 {port}"));
            assert_eq!(again, "EADDRINUSE", "one's own port is taken");
            let only_v6 = session.sh(
                "/usr/bin/python3 -c \"import socket; s = socket.socket(socket.AF_INET6); \
                 s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); s.bind(('::1', 0)); \
                 print(s.getsockname()[0])\"",
            );
            assert_eq!(only_v6, "::1");
        }
        let of_bob = loopback::v6(host.uid("bob"));
        let [(_, alice), (_, bob)] = &mut sessions;
        for kind in ["tcp", "udp", "udp-connected"] {
            let said = probe(bob, &format!("ask {kind} ::1 {port}"));
            assert!(said.starts_with("bob sees ::1 at ::1 shown ::1"), "{kind}: {said}");
            assert_eq!(probe(alice, &format!("ask {kind} {of_bob} {port}")), "EPERM", "{kind}");
        }
        let closed = probe(alice, &format!("ask tcp ::1 {}", port + 1));
        assert_eq!(closed, "ECONNREFUSED");
        assert!(loopback::machine_asks(&of_bob, port).starts_with("bob sees"));
    });
}

#[test]
fn addresses_on_lo_go_once_a_route_will_do() {
    in_own_network("addresses_on_lo_go_once_a_route_will_do", || {
        let port = unused_port();
        let host = build().start();
        let mut bob = session(&host, "bob");
        probe(&mut bob, &format!("serve bob tcp ::1 {port}"));
        assert_eq!(on_lo(&host), (1, 0), "what the kernel needs without the setting");
        host.sh(&format!("ip -6 address add {PREFIX}:77/128 dev lo"));
        std::fs::write(SETTING, "1").unwrap();
        let alice = session(&host, "alice");
        assert_eq!(on_lo(&host), (0, 1));
        let said = probe(&mut bob, &format!("ask tcp ::1 {port}"));
        assert!(said.starts_with("bob sees"), "a server that was there goes on: {said}");
        alice.logout();
        // Nobody logs in, but gc runs.
        host.sh(&format!("ip -6 address add {PREFIX}:78/128 dev lo"));
        host.sh("cgsandbox gc");
        assert_eq!(on_lo(&host), (0, 1));
        bob.sh("pkill -f probe");
        bob.logout();
        host.assert_nothing_left();
        assert_eq!(on_lo(&host), (0, 0));
    });
}

#[test]
fn resolving_a_name_takes_no_longer_beside_many_users() {
    in_own_network("resolving_a_name_takes_no_longer_beside_many_users", || {
        std::fs::write(SETTING, "1").unwrap();
        let names: Vec<String> = (0..150).map(|number| format!("user{number}")).collect();
        let builder = names.iter().fold(Host::build(), |builder, name| builder.user(name));
        let timeout = format!("timeout={}s", patience(10.0).as_secs());
        let host = builder.policy(PRIVATE).module_arguments(&timeout).start();
        // The shortest of many, so that the machine's other work does not count.
        let resolve = || -> f64 {
            let script = "import socket, time\n\
                          def once():\n    \
                              start = time.perf_counter()\n    \
                              socket.getaddrinfo('127.0.0.1', 1)\n    \
                              return time.perf_counter() - start\n\
                          print(min(once() for _ in range(3000)) * 1e6)";
            host.as_root(["/usr/bin/python3", "-c", script]).run().ok().trim().parse().unwrap()
        };
        let before = resolve();
        for name in &names {
            host.as_root(["pamtester", "sshd", name, "open_session"]).run().ok();
        }
        assert_eq!(host.sh("ls /run/cgsandbox/loopback/address | wc -l").trim(), "150");
        let beside = resolve();
        assert!(beside < before * 1.5, "{before} us alone, {beside} us beside 150 users");
        assert_eq!(on_lo(&host), (0, 1));
    });
}
