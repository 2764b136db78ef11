//! Everybody's localhost is their own where systemd has the cgroups.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Session};

const PRIVATE: &str = "[profile.default]\nloopback = \"private\"\nstrict = true\n";

const PORT: u16 = 18_642;

/// A server that says who it is, and goes on without the shell that starts it.
fn serve(name: &str, family: &str, address: &str) -> String {
    format!(
        "perl -MIO::Socket::{family} -e 'my $s = IO::Socket::{family}->new(Listen => 9, \
         LocalAddr => \"{address}\", LocalPort => {PORT}, ReuseAddr => 1) or die \"no socket: $!\"; \
         print \"serving at \", $s->sockhost, \"\\n\"; close STDOUT; close STDERR; close STDIN; \
         exit if fork; while (my $c = $s->accept) {{ print $c \"{name}\\n\"; close $c }}' 2>&1"
    )
}

fn ask(session: &mut Session, address: &str) -> String {
    session.sh(&format!("(exec 3<>/dev/tcp/{address}/{PORT} && cat <&3) 2>&1 | tail -n 1"))
}

/// What a strict policy has to do on a machine whose cgroups take no programs.
fn assert_refused(machine: &Machine) {
    machine.ssh("alice").cmd("true").run().refused();
    machine.wait_log(&["event=session_denied", "user=alice", "loopback"]);
}

#[test]
fn two_users_serve_the_same_port_and_systemd_keeps_it_so() {
    let machine = Machine::build().user("alice").user("bob").policy(PRIVATE).start();
    if !machine.takes_programs() {
        return assert_refused(&machine);
    }
    let mut sessions = ["alice", "bob"].map(|name| (name, machine.session(name)));
    for (name, session) in &mut sessions {
        machine.wait_log(&["event=session_open", &format!("user={name}"), "address=127."]);
        let said = session.sh(&serve(name, "INET", "127.0.0.1"));
        assert_eq!(said, "serving at 127.0.0.1");
        let said = session.sh(&serve(name, "IP", "::1"));
        assert_eq!(said, "serving at ::1");
    }
    let mut all_well = || {
        for (name, session) in &mut sessions {
            for address in ["127.0.0.1", "127.0.1.1", "::1"] {
                assert_eq!(ask(session, address), *name, "{address}");
            }
        }
    };
    all_well();
    // What systemd does with its cgroups leaves the programs there.
    machine.sh("systemctl daemon-reload");
    machine
        .sh(&format!("systemctl set-property --runtime {} TasksMax=500", machine.slice("alice")));
    all_well();
    machine.sh("systemctl daemon-reexec");
    all_well();

    let address = machine.sh("cgsandbox address alice");
    let alice = address.lines().next().unwrap().to_owned();
    let refused = ask(&mut sessions[1].1, &alice);
    assert!(refused.contains("Operation not permitted"), "{refused}");
}

#[test]
fn what_the_users_manager_starts_has_the_same_localhost() {
    let machine = Machine::build().user("alice").policy(PRIVATE).start();
    if !machine.takes_programs() {
        return assert_refused(&machine);
    }
    let mut session = machine.session("alice");
    let server = serve("alice", "INET", "127.0.0.1").replace("exit if fork; ", "");
    session.sh(&format!("cat >serve <<'E'\n{server}\nE"));
    session.sh("systemd-run --user --unit=server sh serve; sleep 2");
    assert_eq!(
        ask(&mut session, "127.0.0.1"),
        "alice",
        "{}",
        session.sh("systemctl --user status server")
    );
}

#[test]
fn nothing_of_localhost_is_left_after_logout() {
    let machine = Machine::build().user("alice").policy(PRIVATE).start();
    if !machine.takes_programs() {
        return assert_refused(&machine);
    }
    let session = machine.session("alice");
    let address = machine.sh("cgsandbox address alice");
    let v6 = address.lines().last().unwrap().to_owned();
    assert!(machine.sh("ip -6 address show dev lo").contains(&v6));
    session.logout();
    machine.wait_log(&["event=session_close", "user=alice"]);
    machine.assert_nothing_left();
    assert!(!machine.sh("ip -6 address show dev lo").contains(&v6));
    assert_eq!(machine.sh("ls /run/cgsandbox/loopback/address"), "");
}

/// SCTP has no hook at connect(2): its packets are met on their way to `lo`.
#[test]
fn a_protocol_without_a_hook_reaches_nobody() {
    let machine = Machine::build().user("alice").user("bob").policy(PRIVATE).start();
    if !machine.takes_programs() {
        return assert_refused(&machine);
    }
    machine.sh("modprobe sctp");
    let script = "/usr/local/bin/sctp.pl";
    machine.write(script, include_str!("localhost/sctp.pl"));
    let bobs = machine.sh("cgsandbox address bob").lines().next().unwrap().to_owned();
    for (address, port) in [("127.0.0.1", PORT), (&bobs, PORT + 1)] {
        machine.sh(&format!("perl {script} serve {address} {port}"));
        let ask = format!("perl {script} ask {address} {port} 2>&1");
        assert_eq!(machine.sh(&ask), "of the server", "there is something to be reached");
        let mut alice = machine.session("alice");
        assert_eq!(alice.sh(&ask), "timeout", "{address}");
    }
    machine.sh("pkill -f '[s]ctp.pl serve'");
}

/// Only the kernel answers, for everybody alike.
#[test]
fn an_echo_request_is_answered() {
    let machine = Machine::build().user("alice").policy(PRIVATE).start();
    if !machine.takes_programs() {
        return assert_refused(&machine);
    }
    let range = "/proc/sys/net/ipv4/ping_group_range";
    let before = machine.read(range).unwrap();
    machine.sh(&format!("echo 0 2147483647 >{range}"));
    let mut alice = machine.session("alice");
    let own = alice.sh("cgsandbox address alice").lines().next().unwrap().to_owned();
    for address in ["127.0.0.1", &own] {
        let said = alice.sh(&format!(
            "perl -MSocket -e 'socket(my $s, AF_INET, SOCK_DGRAM, 1) or die \"socket: $!\"; \
             $SIG{{ALRM}} = sub {{ die \"timeout\" }}; alarm 5; \
             send($s, pack(\"CCnnn\", 8, 0, 0, 0, 1), 0, pack_sockaddr_in(0, inet_aton(\"{address}\"))) \
             or die \"send: $!\"; recv($s, my $back, 99, 0); print unpack(\"C\", $back) == 0 ? \
             \"answered\" : \"odd\"' 2>&1"
        ));
        assert_eq!(said, "answered", "{address}");
    }
    machine.sh(&format!("echo '{}' >{range}", before.trim()));
}
