//! A localhost of one's own as its administrator has it: told, changed, warned of and cleared.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::loopback::machine_serves;
use cgsandbox_rig::{Host, eventually, loopback};

mod localhost;

use localhost::{PRIVATE, build, probe, session};

fn unused_port() -> u16 {
    localhost::unused_port_from(22_000)
}

#[test]
fn the_log_the_status_and_the_command_tell_the_address() {
    let host = build().start();
    let (v4, v6) = (loopback::v4(host.uid("alice")), loopback::v6(host.uid("alice")));
    let both = format!("{v4}\n{v6}");
    assert_eq!(host.sh("cgsandbox address alice").trim(), both, "before the login");
    let plan = host.sh("cgsandbox explain alice");
    assert!(plan.contains(&format!("{v4} and {v6}; the machine's for port 25, 53")), "{plan}");
    let mut alice = session(&host, "alice");
    host.wait_log(&["event=session_open", "user=alice", "enforced=full", &format!("address={v4}")]);
    assert_eq!(alice.sh("cgsandbox address alice"), both, "asked by the user");
    let status = host.sh("cgsandbox status alice");
    assert!(status.contains(&format!("address {v4}, {v6}")), "{status}");
    let refused = alice.sh("cgsandbox address bob");
    assert!(refused.contains("only root may"), "{refused}");
    host.set_policy("[profile.default]\n");
    let none = host.as_root(["cgsandbox", "address", "bob"]).run();
    assert_eq!(none.status, 1);
    assert!(none.stderr.contains("bob has the machine's localhost"), "{}", none.stderr);
    let none = host.as_root(["cgsandbox", "address", "bob", "--json"]).run();
    assert_eq!(none.status, 1);
    let told: serde_json::Value = serde_json::from_str(&none.stdout).unwrap();
    assert!(told["ipv4"].is_null() && told["ipv6"].is_null(), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("no loopback = \"private\""), "{told}");
}

fn a_changed_policy_reaches_running_sessions(anew: impl Fn(&Host)) {
    let port = unused_port();
    let service = machine_serves("127.0.0.1");
    let host = build().start();
    let mut alice = session(&host, "alice");
    probe(&mut alice, &format!("serve alice tcp 127.0.0.1 {port}"));
    let ask = format!("ask tcp 127.0.0.1 {service}");
    assert_eq!(probe(&mut alice, &ask), "ECONNREFUSED");
    host.set_policy(&format!("{PRIVATE}loopback_services = [{service}]\n"));
    anew(&host);
    assert!(probe(&mut alice, &ask).starts_with("machine sees"), "a service more");
    let own = format!("ask tcp 127.0.0.1 {port}");
    assert!(probe(&mut alice, &own).starts_with("alice sees"));

    host.set_policy("[profile.default]\n");
    anew(&host);
    let port = machine_serves("127.0.0.1");
    assert!(probe(&mut alice, &format!("ask tcp 127.0.0.1 {port}")).starts_with("machine sees"));
    assert_eq!(host.sh("cgsandbox status alice").matches("address").count(), 0);

    host.set_policy(PRIVATE);
    anew(&host);
    let ask = format!("ask tcp 127.0.0.1 {port}");
    assert_eq!(probe(&mut alice, &ask), "ECONNREFUSED", "private again");
}

#[test]
fn a_policy_that_changes_reaches_running_sessions_at_the_next_login() {
    a_changed_policy_reaches_running_sessions(|host| {
        drop(session(host, "alice"));
        host.wait_log(&["event=session_open", "user=alice", "enforced=full"]);
    });
}

#[test]
fn a_policy_that_changes_reaches_running_sessions_when_it_is_applied() {
    a_changed_policy_reaches_running_sessions(|host| {
        let said = host.sh("cgsandbox apply");
        assert!(said.contains("full"), "{said}");
    });
}

/// Who may reach whom is in maps that both users' programs read.
#[test]
fn peers_that_are_named_while_both_are_logged_in_are_let_in() {
    let port = unused_port();
    let host = build().start();
    let (mut alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    probe(&mut alice, &format!("serve alice tcp 127.0.0.1 {port}"));
    let ask = format!("ask tcp {} {port}", loopback::v4(host.uid("alice")));
    let refused = probe(&mut bob, &ask);
    assert!(!refused.starts_with("alice sees"), "{refused}");
    host.set_policy(&format!("{PRIVATE}loopback_peers = [\"bob\"]\n"));
    host.sh("cgsandbox apply");
    assert!(probe(&mut bob, &ask).starts_with("alice sees"));
    host.set_policy(PRIVATE);
    host.sh("cgsandbox apply");
    assert_eq!(probe(&mut bob, &ask), refused);
}

/// A promise that is not made.
#[test]
fn who_has_a_localhost_of_the_own_is_seen_on_lo() {
    let host = build().start();
    let (_alice, mut bob) = (session(&host, "alice"), session(&host, "bob"));
    let v6: std::net::Ipv6Addr = loopback::v6(host.uid("alice")).parse().unwrap();
    let told = v6.octets().map(|byte| format!("{byte:02x}")).concat();
    assert!(bob.sh("cat /proc/net/if_inet6").contains(&told));
}

/// So many logins need not ask a directory for everybody who is logged in already.
#[test]
fn a_peer_is_who_it_was_at_its_login() {
    let port = unused_port();
    let policy = format!("{PRIVATE}loopback_peers = [\"alice\", \"bob\"]\n");
    let host = build().policy(&policy).start();
    let mut alice = session(&host, "alice");
    probe(&mut alice, &format!("serve alice tcp 127.0.0.1 {port}"));
    let v4 = loopback::v4(host.uid("alice"));
    host.sh("sed -i /^alice:/d /etc/passwd");
    let mut bob = session(&host, "bob");
    assert!(probe(&mut bob, &format!("ask tcp {v4} {port}")).starts_with("alice sees"));
}

#[test]
fn check_warns_of_a_service_whose_port_anybody_can_be_given() {
    let policy = format!("{PRIVATE}loopback_services = [53, 45123]\n");
    let host = build().policy(&policy).start();
    let checked = host.as_root(["cgsandbox", "check"]).run();
    assert_eq!(checked.status, 0, "a warning is no error");
    let wanted = "port 45123 can be given by the kernel to programs that ask for any port";
    assert!(checked.stderr.contains(wanted), "{}", checked.stderr);
    assert!(checked.stderr.contains("ip_local_reserved_ports=45123"), "{}", checked.stderr);
    assert!(!checked.stderr.contains("port 53"), "{}", checked.stderr);
}

#[test]
fn doctor_tells_whether_the_kernel_takes_the_programs() {
    let host = build().start();
    let said = host.as_root(["cgsandbox", "doctor"]).run().stdout;
    assert!(said.contains("the BPF programs of loopback = \"private\" are accepted"), "{said}");
    host.set_policy("[profile.default]\n");
    let said = host.as_root(["cgsandbox", "doctor"]).run().stdout;
    assert!(!said.contains("loopback"), "{said}");
}

#[test]
fn nothing_of_localhost_is_left_after_logout() {
    let port = unused_port();
    let host = build().start();
    let mut alice = session(&host, "alice");
    probe(&mut alice, &format!("serve alice tcp 127.0.0.1 {port}"));
    let v6 = loopback::v6(host.uid("alice"));
    assert!(host.sh("ip -6 address show dev lo").contains(&v6));
    assert!(!host.sh("ls /run/cgsandbox/loopback/address").is_empty());
    alice.sh("kill %1 2>/dev/null; pkill -f probe");
    alice.logout();
    host.assert_nothing_left();
    let ids = host.read("/run/cgsandbox/loopback/programs").unwrap();
    for line in ids.lines().skip(2) {
        let id = line.split(' ').next().unwrap();
        let gone = format!("python3 - <<'E'\n{BY_ID}\nE").replace("ID", id);
        eventually("the programs are gone", 20.0, || host.sh(&gone).trim() == "gone");
    }
}

/// bpf(2), BPF_PROG_GET_FD_BY_ID.
const BY_ID: &str = "import ctypes, struct
attr = ctypes.create_string_buffer(struct.pack('I', ID) + bytes(124), 128)
libc = ctypes.CDLL(None, use_errno=True)
print('there' if libc.syscall(321, 13, attr, 128) >= 0 else 'gone')";

#[test]
fn gc_removes_the_addresses_of_who_is_gone() {
    let host = build().start();
    let alice = session(&host, "alice");
    let v6 = loopback::v6(host.uid("alice"));
    alice.kill_monitor();
    eventually("her processes are gone", 20.0, || host.processes_of("alice").is_empty());
    assert!(host.sh("ip -6 address show dev lo").contains(&v6));
    host.sh("cgsandbox gc");
    assert!(!host.sh("ip -6 address show dev lo").contains(&v6));
    host.assert_nothing_left();
}

#[test]
fn two_uids_with_one_address_are_refused() {
    let first = 3_000_000_001;
    let host = Host::build()
        .user_with_uid("alice", first)
        .user_with_uid("bob", first + (1 << 22))
        .policy(PRIVATE)
        .start();
    let v4 = loopback::v4(first);
    let checked = host.as_root(["cgsandbox", "check"]).run();
    assert_eq!(checked.status, 1);
    let wanted = format!("{v4} would be the localhost of alice and of bob");
    assert!(checked.stderr.contains(&wanted), "{}", checked.stderr);
    let alice = session(&host, "alice");
    host.ssh("bob").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "user=bob", &v4]);

    let root = host.cgroup_root().to_owned();
    let policy = format!(
        "version = 1\ncgroup_root = \"{root}\"\n[loopback_addresses]\nbob = \"127.65.4.3\"\n{PRIVATE}\
         [[rule]]\nmatch = \"*\"\nprofile = \"default\"\n"
    );
    host.write("/etc/cgsandbox/cgsandbox.toml", policy);
    host.as_root(["cgsandbox", "check"]).run().ok();
    let bob = session(&host, "bob");
    host.wait_log(&["event=session_open", "user=bob", "address=127.65.4.3"]);
    bob.logout();
    alice.logout();
    host.assert_nothing_left();
}
