//! What a user tries against everybody else's localhost, and what a neighbour on the network does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::UdpSocket;
use std::time::Duration;

use cgsandbox_rig::loopback::machine_serves;
use cgsandbox_rig::{Host, Session, eventually, loopback, patience};

mod localhost;
#[path = "localhost/network.rs"]
mod network;

use localhost::{PRIVATE, build, probe};
use network::in_own_network;

fn unused_port() -> u16 {
    localhost::unused_port_from(20_000)
}

/// A session that can run the probe and the attacks.
fn session<'host>(host: &'host Host, user: &str) -> Session<'host> {
    host.write("/usr/local/bin/attack", include_str!("localhost/attack.py"));
    localhost::session(host, user)
}

/// What came of one way around; `attack.py` knows them.
fn attack(session: &mut Session<'_>, way: &str) -> String {
    session.sh(&format!("/usr/bin/python3 /usr/local/bin/attack '{way}'"))
}

/// What came of many, taken at the same time, each with its way.
fn attack_by(session: &mut Session<'_>, ways: &[String]) -> Vec<(String, String)> {
    let words = ways.join("' '");
    let said = session.sh(&format!("/usr/bin/python3 /usr/local/bin/attack '{words}'"));
    let outcomes: Vec<&str> = said.lines().collect();
    assert_eq!(outcomes.len(), ways.len(), "{said}");
    ways.iter().map(String::to_owned).zip(outcomes.into_iter().map(str::to_owned)).collect()
}

/// A login that ends at once.
fn log_in_and_out(host: &Host, user: &str) {
    host.as_root(["pamtester", "sshd", user, "open_session", "close_session"]).run().ok();
}

/// The addresses that users have of the default pool.
fn addresses(host: &Host, user: &str) -> [String; 2] {
    [loopback::v4(host.uid(user)), loopback::v6(host.uid(user))]
}

/// The host's addresses on the network that [`connect`] makes, at the interface `near`.
const NETWORK: [&str; 2] = ["192.0.2.1", "fd11::1"];

/// Makes a network with one neighbour, who is in a network namespace that only the host's mount
/// namespace knows. There is no link-local address: whether one is ready to be a source would
/// depend on how fast the test is.
fn connect(host: &Host) {
    host.sh("ip netns add neighbour
        ip link add near type veth peer name far netns neighbour
        ip link set near addrgenmode none
        ip address add 192.0.2.1/24 broadcast + dev near
        ip address add fd11::1/64 dev near nodad
        ip link set near up
        ip -n neighbour link set lo up
        ip -n neighbour address add 192.0.2.2/24 dev far
        ip -n neighbour address add fd11::2/64 dev far nodad
        ip -n neighbour link set far up");
}

#[test]
fn a_neighbour_on_the_network_reaches_nobodys_localhost() {
    in_own_network("a_neighbour_on_the_network_reaches_nobodys_localhost", || {
        let host = build().start();
        connect(&host);
        let mut bob = session(&host, "bob");
        let port = unused_port();
        let [v4, v6] = addresses(&host, "bob");
        for kind in ["tcp", "udp"] {
            for address in ["127.0.0.1", "::1"] {
                probe(&mut bob, &format!("serve bob {kind} {address} {port}"));
            }
        }
        probe(&mut bob, &format!("serve bob tcp :: {}", port + 1));
        attack(&mut bob, &format!("listen :: {} got", port + 2));
        let near = |script: &str| {
            host.sh(&format!("nsenter --net=/run/netns/neighbour sh -ec '{script}' 2>&1"))
        };
        let ask = |kind: &str, address: &str, port: u16| {
            format!("/usr/bin/python3 /usr/local/bin/probe ask {kind} {address} {port} & ")
        };
        let said = near(&(ask("tcp", NETWORK[1], port + 1) + "wait"));
        assert!(said.starts_with("bob sees fd11::2"), "what is on the network is: {said}");

        // Both ends let localhost leave and enter, which neither does by itself.
        host.sh("echo 1 > /proc/sys/net/ipv4/conf/near/route_localnet");
        near(
            "echo 1 > /proc/sys/net/ipv4/conf/far/route_localnet
            ip route add fd63:6773:6278::/64 via fd11::1
            ip route add 127.64.0.0/10 via 192.0.2.1 table local
            ip route delete local 127.0.0.0/8 table local",
        );
        let nobodys = "127.127.255.254";
        let said = near(&(ask("tcp", nobodys, machine_serves(nobodys)) + "wait"));
        assert!(said.starts_with("machine sees 192.0.2.2"), "the way is open: {said}");
        let asked = [("tcp", &v4), ("udp", &v4), ("tcp", &v6), ("udp", &v6)];
        let all: String = asked.iter().map(|(kind, to)| ask(kind, to, port)).collect();
        let said = near(&(all + "wait"));
        assert!(said.lines().count() == asked.len() && !said.contains("bob sees"), "{said}");
        // With bob's own address for the source.
        near(&format!("ip address add {v6}/128 dev lo nodad"));
        for source in ["fd11::2", &v6] {
            let way = format!("spoof {} {} {source}", NETWORK[1], port + 2);
            near(&format!("/usr/bin/python3 /usr/local/bin/attack \"{way}\""));
        }
        assert_eq!(bob.sh("cat got"), "spoofed from fd11::2");
    });
}

#[test]
fn connected_datagrams_with_control_data_reach_the_network() {
    in_own_network("connected_datagrams_with_control_data_reach_the_network", || {
        let host = build().start();
        connect(&host);
        let mut alice = session(&host, "alice");
        for network in NETWORK {
            let said = attack(&mut alice, &format!("marked {network} {}", machine_serves(network)));
            assert_eq!(said, format!("machine sees {network} at its own from {network}"));
        }
    });
}

#[test]
fn a_spoofed_source_does_not_make_a_service_write_to_others() {
    let service = machine_serves("127.0.0.1");
    let host = build().policy(&format!("{PRIVATE}loopback_services = [{service}]\n")).start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    let port = unused_port();
    let [[own, _], [victim, _]] = ["alice", "bob"].map(|name| addresses(&host, name));
    attack(&mut bob, &format!("listen 127.0.0.1 {port} got"));
    let machine = UdpSocket::bind(("127.0.0.1", port + 1)).unwrap();
    machine.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let ways = [(&*victim, port), ("127.0.0.1", port + 1)]
        .map(|(source, port)| format!("spoof 127.0.0.1 {service} {source} {own} {port}"));
    attack_by(&mut alice, &ways);
    let said = probe(&mut alice, &format!("ask udp 127.0.0.1 {service}"));
    assert!(said.starts_with("machine sees"), "the service answers: {said}");
    assert!(machine.recv_from(&mut [0; 100]).is_err(), "the machine's localhost got something");
    attack(&mut bob, &format!("spoof 127.0.0.1 {port} {victim}"));
    assert_eq!(bob.sh("cat got"), "spoofed from 127.0.0.1", "of bob's own alone");
}

#[test]
fn a_spoofed_source_is_not_believed_by_the_machine() {
    in_own_network("a_spoofed_source_is_not_believed_by_the_machine", || {
        let host = build().start();
        connect(&host);
        let mut alice = session(&host, "alice");
        let _bob = session(&host, "bob");
        let [v4, v6] = addresses(&host, "bob");
        for (network, localhost, bobs) in [(NETWORK[0], "127.0.0.1", v4), (NETWORK[1], "::1", v6)] {
            let port = machine_serves(network);
            for (source, believed) in [(network, true), (localhost, false), (&*bobs, false)] {
                for how in ["spoof", "spoof_connected"] {
                    let said = attack(&mut alice, &format!("{how} {network} {port} {source}"));
                    let answered = said.contains(&format!("machine sees {source} "));
                    assert_eq!(answered, believed, "{how} {network} {source}: {said}");
                }
            }
        }
    });
}

#[test]
fn a_peer_is_not_taken_for_the_user_or_for_a_third() {
    in_own_network("a_peer_is_not_taken_for_the_user_or_for_a_third", || {
        let host = build()
            .user("carol")
            .policy(
                "[profile.open]\nloopback = \"private\"\nloopback_peers = [\"bob\"]\n\
                 [profile.default]\nloopback = \"private\"\n\
                 [[rule]]\nmatch = \"alice\"\nprofile = \"open\"\n\
                 [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n",
            )
            .start();
        connect(&host);
        let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
        let _carol = session(&host, "carol");
        let port = unused_port();
        attack(&mut alice, &format!("listen :: {port} got"));
        let [alices, bobs, carols] = ["alice", "bob", "carol"].map(|name| addresses(&host, name));
        let mut ways = Vec::new();
        for (family, network) in NETWORK.iter().enumerate() {
            for source in [&alices[family], &carols[family]] {
                for to in [network, &*alices[family]] {
                    ways.push(format!("spoof {to} {port} {source}"));
                    ways.push(format!("spoof_connected {to} {port} {source}"));
                }
            }
        }
        let outcomes = attack_by(&mut bob, &ways);
        // What comes through has bob's own for its source.
        attack(&mut bob, &format!("spoof {} {port} {}", alices[1], bobs[1]));
        let got = alice.sh("cat got");
        for line in got.lines() {
            let (_, source) = line.rsplit_once(' ').unwrap();
            assert!(bobs.iter().any(|own| source.ends_with(own)), "{got}\n{outcomes:#?}");
        }
        assert!(got.contains(&bobs[1]), "bob may: {got}");
    });
}

#[test]
fn multicast_of_another_is_not_taken_for_ones_own() {
    in_own_network("multicast_of_another_is_not_taken_for_ones_own", || {
        let host = build().start();
        connect(&host);
        let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
        let port = unused_port();
        attack(&mut bob, &format!("listen :: {port} got"));
        attack(&mut bob, &format!("listen 0.0.0.0 {} got", port + 1));
        let [v4, v6] = addresses(&host, "bob");
        let mut ways = vec![format!("spoof_sticky ff02::1 {port} {v6} near")];
        for interface in ["near", "lo"] {
            for group in ["ff02::1", "ff01::1"] {
                ways.push(format!("multicast {group} {port} {interface} {v6}"));
                ways.push(format!("multicast {group} {port} {interface}"));
            }
            for group in ["224.0.0.1", "255.255.255.255", "192.0.2.255"] {
                ways.push(format!("multicast {group} {} {interface} {v4}", port + 1));
                ways.push(format!("multicast {group} {} {interface}", port + 1));
            }
        }
        let outcomes = attack_by(&mut alice, &ways);
        // By the interface, and from its addresses, it is there as for any other host.
        let got = bob.sh("cat got");
        for line in got.lines() {
            let (_, source) = line.rsplit_once(' ').unwrap();
            assert!(NETWORK.contains(&source), "{got}\n{outcomes:#?}");
        }
        for source in NETWORK {
            assert!(got.contains(&format!("honest from {source}")), "{got}\n{outcomes:#?}");
        }
    });
}

#[test]
fn multicast_in_anothers_name_is_refused() {
    in_own_network("multicast_in_anothers_name_is_refused", || {
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
        let host = build().start();
        connect(&host);
        let (mut alice, _bob) = (session(&host, "alice"), session(&host, "bob"));
        let group = "239.1.2.3";
        let machine = UdpSocket::bind("0.0.0.0:0").unwrap();
        machine.join_multicast_v4(&group.parse().unwrap(), &"127.0.0.1".parse().unwrap()).unwrap();
        machine.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let port = machine.local_addr().unwrap().port();
        let [[own, _], [bobs, _]] = ["alice", "bob"].map(|name| addresses(&host, name));
        let seen = || machine.recv_from(&mut [0; 100]).map(|(_, from)| from.ip().to_string()).ok();
        let to_network = format!("{group} {port} {} {port}", NETWORK[0]);
        for to in [&format!("{group} {port}"), &to_network] {
            let said = attack(&mut alice, &format!("multicast_from {bobs} {to}"));
            assert_eq!((seen(), &*said), (None, "EPERM"), "{to}");
            let said = attack(&mut alice, &format!("multicast_from {own} {to}"));
            assert_eq!((seen(), &*said), (Some(own.clone()), "sent"), "{to}");
        }
        let said = attack(&mut alice, &format!("multicast_from 127.0.0.1 {to_network}"));
        assert_eq!((seen(), &*said), (None, "EPERM"), "in the machine's name");
        // Programs find each other so, on one machine.
        let said = attack(&mut alice, &format!("multicast_from 127.0.0.1 {group} {port}"));
        assert_eq!((seen().as_deref(), &*said), (Some("127.0.0.1"), "sent"));
        assert_eq!(attack(&mut alice, &format!("multicast_ping {bobs} {group}")), "EPERM");
        assert_eq!(attack(&mut alice, &format!("multicast_ping {own} {group}")), "sent");
    });
}

#[test]
fn every_odd_way_to_anothers_or_the_machines_localhost_fails() {
    in_own_network("every_odd_way_to_anothers_or_the_machines_localhost_fails", || {
        let service = machine_serves("127.0.0.1");
        let host = build().policy(&format!("{PRIVATE}loopback_services = [{service}]\n")).start();
        connect(&host);
        let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
        let port = unused_port();
        let wide = port + 1;
        for kind in ["tcp", "udp"] {
            for (address, port) in [("127.0.0.1", port), ("::1", port), ("::", wide)] {
                probe(&mut bob, &format!("serve bob {kind} {address} {port}"));
            }
        }
        let [v4, v6] = addresses(&host, "bob");
        let [own4, own6] = addresses(&host, "alice");
        let [n4, n6] = NETWORK;
        let (machine, machine6) = (machine_serves("127.0.0.1"), machine_serves("::1"));
        let mut ways = format!(
            "source_route tcp {own4} {v4} {port}; routing_header {v6} {own6} {port} 2 1; \
             bind freebind tcp {v4} {wide}; bind freebind tcp {v6} {wide}; \
             bind transparent tcp {v4} {wide}; bind no-port tcp {v4} 0; \
             bind share tcp {v4} {port}; bind share udp {v4} {port}; \
             udplite bind {v4} {port}; udplite connect {v6} {port}; \
             unspecified bind 0.0.0.0 {service}; again 127.0.0.1 {machine} {service}; \
             spoof {v4} {port} {v4}; spoof {v6} {port} {v6}; spoof {n4} {wide} {v4}; \
             spoof {n6} {wide} {v6}; spoof_connected {n6} {wide} {v6}"
        );
        for (address, port) in [("127.0.0.1", machine), (&*v4, port)] {
            ways += &format!(
                "; v4_of_v6 connect {address} {port}; v4_of_v6 sendto {address} {port}; \
                 unspecified sendto {address} {port}; corked {address} {port}; \
                 source_route udp {address} {own4} {port}; \
                 source_route tcp {address} {own4} {port}; \
                 udplite connect {address} {port}; udplite send {address} {port}; \
                 by_device tcp lo {address} {port}; by_device udp lo {address} {port}; \
                 bound tcp {address} {port} 0.0.0.0; bound udp {address} {port} {n4}"
            );
        }
        for (address, port) in [("::1", machine6), (&*v6, port)] {
            for left in 0..=1 {
                ways += &format!("; routing_header {address} {own6} {port} 4 {left}");
            }
        }
        for way in ["tcp near", "udp near", "tcp lo", "udp lo"] {
            for address in NETWORK {
                ways += &format!("; by_device {way} {address} {wide}");
            }
        }
        let ways: Vec<String> = ways.split("; ").map(str::to_owned).collect();
        for (way, said) in attack_by(&mut alice, &ways) {
            let through = ["bob", "machine", "bound"].iter().any(|word| said.contains(word));
            assert!(!through, "{way}: {said}");
        }
        let said = probe(&mut bob, &format!("ask udp 127.0.0.1 {port}"));
        assert!(said.starts_with("bob sees"), "bob's servers answer: {said}");
    });
}

/// While anybody has an address of the old pool, nobody gets one of another.
#[test]
fn a_pool_that_changes_gives_nobody_anothers_number() {
    in_own_network("a_pool_that_changes_gives_nobody_anothers_number", || {
        // One number in the pool that is to come.
        let (first, second) = (3_000_000_001, 3_000_000_001 + (1 << 16));
        let host = Host::build()
            .user_with_uid("bob", first)
            .user_with_uid("alice", second)
            .policy(PRIVATE)
            .start();
        connect(&host);
        let port = unused_port();
        let mut bob = session(&host, "bob");
        probe(&mut bob, &format!("serve bob tcp ::1 {port}"));
        probe(&mut bob, &format!("serve bob tcp 0.0.0.0 {}", port + 1));
        host.set_policy(&format!(
            "loopback_pool = \"127.200.0.0/16\"\n\
             [loopback_addresses]\nbob = \"127.200.7.7\"\n{PRIVATE}"
        ));
        let mut alice = session(&host, "alice");
        let given = host.sh("cgsandbox status alice");
        for address in addresses(&host, "alice") {
            assert!(given.contains(&address), "{given}");
        }
        for (address, port) in [("::1", port), (NETWORK[0], port + 1)] {
            let said = probe(&mut alice, &format!("ask tcp {address} {port}"));
            assert!(["ECONNREFUSED", "timeout"].contains(&&*said), "{address}: {said}");
        }
        assert!(probe(&mut bob, &format!("ask tcp ::1 {port}")).starts_with("bob sees"));
    });
}

#[test]
fn a_prefix_that_changes_does_not_let_others_squat() {
    in_own_network("a_prefix_that_changes_does_not_let_others_squat", || {
        let host = build().start();
        let mut bob = session(&host, "bob");
        let port = unused_port();
        let [_, v6] = addresses(&host, "bob");
        probe(&mut bob, &format!("serve bob tcp ::1 {port}"));
        host.set_policy(&format!("loopback_prefix = \"fd99:1:2:3::/64\"\n{PRIVATE}"));
        let mut alice = session(&host, "alice");
        for port in [0, port, port + 1] {
            assert_eq!(probe(&mut alice, &format!("bind tcp {v6} {port}")), "EPERM");
        }
        let mut again = session(&host, "bob");
        let said = probe(&mut again, &format!("ask tcp ::1 {port}"));
        assert!(said.starts_with("bob sees"), "{said}");
        bob.sh("pkill -f probe");
        for session in [alice, again, bob] {
            session.logout();
        }
        host.assert_nothing_left();
        let _first = session(&host, "alice");
        assert!(
            host.sh("cgsandbox status alice").contains("fd99:1:2:3:"),
            "then it is the new one"
        );
    });
}

#[test]
fn addresses_on_lo_change_nothing_for_the_rest_of_the_machine() {
    in_own_network("addresses_on_lo_change_nothing_for_the_rest_of_the_machine", || {
        let host = build().start();
        // Where IPv6 goes out there is no address but a link-local one: any other is fit for it.
        host.sh("ip link add near type veth peer name far
            echo 0 > /proc/sys/net/ipv6/conf/near/dad_transmits
            ip link set far up
            ip address add 2001:db8:5::1/64 dev far nodad
            ip address add 192.0.2.1/24 dev near
            ip link set near up");
        eventually("the link is there", 20.0, || {
            host.sh("ip -6 address show dev near scope link -tentative").contains("fe80:")
        });
        host.sh("ip -6 route add default via fe80::1 dev near; ip route add default via 192.0.2.2");
        host.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
        host.write("/etc/hosts", "127.0.0.1 localhost\nfd12::7 both\n198.51.100.7 both\n");
        let show = || host.sh("ip -6 route get fd12::7 | grep -o 'src [^ ]*'; getent ahosts both");
        let before = show();
        assert!(before.starts_with("src 2001:db8:5::1\n198.51.100.7"), "{before}");
        let _bob = session(&host, "bob");
        assert!(host.sh("ip -6 address show dev lo").contains(&addresses(&host, "bob")[1]));
        assert_eq!(show(), before);
    });
}

#[test]
fn a_closed_port_refuses_a_bound_socket_at_once() {
    let host = build().start();
    let mut alice = session(&host, "alice");
    let way = format!("connect_bound 127.0.0.1 {}", unused_port());
    assert_eq!(attack(&mut alice, &way), "ECONNREFUSED");
}

#[test]
fn a_race_of_connect_and_login_gains_nothing() {
    let host = build().start();
    let machine = machine_serves("127.0.0.1");
    let port = unused_port();
    let mut sessions = ["alice", "bob"].map(|name| (name, session(&host, name)));
    for (name, session) in &mut sessions {
        probe(session, &format!("serve {name} tcp 127.0.0.1 {port}"));
        let other = if *name == "alice" { "bob" } else { "alice" };
        let way = format!("hammer 3 {} {port} {machine}", addresses(&host, other)[0]);
        session.sh(&format!("/usr/bin/python3 /usr/local/bin/attack '{way}' > came &"));
    }
    for round in 0..12 {
        host.set_policy(&format!("{PRIVATE}loopback_services = [{}]\n", 7_000 + round % 2));
        std::thread::scope(|scope| {
            for name in ["alice", "bob"] {
                let host = &host;
                scope.spawn(move || log_in_and_out(host, name));
            }
        });
    }
    for (name, session) in &mut sessions {
        assert_eq!(session.sh("wait $!; cat came"), "reached [] of 2", "{name}");
    }
}

#[test]
fn a_hundred_first_logins_at_once_succeed() {
    let names: Vec<String> = (0..100).map(|number| format!("user{number}")).collect();
    let builder = names.iter().fold(Host::build(), |builder, name| builder.user(name));
    let timeout = format!("timeout={}s", patience(5.0).as_secs());
    let host = builder.policy(PRIVATE).module_arguments(&timeout).start();
    let login = |name| host.as_root(["pamtester", "sshd", name, "open_session", "close_session"]);
    let all: Vec<_> = names.iter().map(|name| login(name).start()).collect();
    for one in all {
        one.finish(patience(60.0)).ok();
    }
    host.assert_nothing_left();
}

#[test]
fn notes_of_other_maps_lock_nobody_out() {
    const NOTE: &str = "/run/cgsandbox/loopback/programs";
    let host = build().start();
    let port = unused_port();
    let mut bob = session(&host, "bob");
    probe(&mut bob, &format!("serve bob tcp 127.0.0.1 {port}"));
    let note = host.read(NOTE).unwrap();
    let maps = note.lines().nth(1).unwrap();
    let (one, other) = maps.split_once(' ').unwrap();
    for wrong in [format!("{other} {one}"), "1 1".to_owned(), "none".to_owned()] {
        host.write(NOTE, note.replacen(maps, &wrong, 1));
        log_in_and_out(&host, "alice");
        let said = probe(&mut bob, &format!("ask tcp 127.0.0.1 {port}"));
        assert!(said.starts_with("bob sees"), "{wrong}: {said}");
    }
}
