//! One user keeps systemd or the journal busy: others log in, and what the log loses is told.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use cgsandbox_systemd_tests::{Machine, Session, eventually, patience};

const LIMITED: &str = "[profile.default]\ntasks_max = 99\n";

/// Calls systemd over the system bus in many connections at once, and wants no answer: each call has
/// it read all unit files. Perl's core is on every Debian.
const FLOOD: &str = r#"
use IO::Socket::UNIX;
sub message {
    my ($flags, $serial, %of) = @_;
    my %kinds = (path => [1, 'o'], interface => [2, 's'], member => [3, 's'], destination => [6, 's']);
    my $fields = '';
    for my $name (qw(path interface member destination)) {
        $fields .= "\0" x (-length($fields) % 8);
        my ($code, $kind) = @{$kinds{$name}};
        $fields .= pack('CCaC', $code, 1, $kind, 0) . pack('V', length $of{$name}) . $of{$name} . "\0";
    }
    my $message = pack('aCCCVVV', 'l', 1, $flags, 1, 0, $serial, length $fields) . $fields;
    return $message . "\0" x (-length($message) % 8);
}
my $hello = message(0, 1, path => '/org/freedesktop/DBus', interface => 'org.freedesktop.DBus',
    member => 'Hello', destination => 'org.freedesktop.DBus');
my $call = message(1, 2, path => '/org/freedesktop/systemd1',
    interface => 'org.freedesktop.systemd1.Manager', member => 'ListUnitFiles',
    destination => 'org.freedesktop.systemd1');
$SIG{PIPE} = 'IGNORE';
for (1 .. 30) {
    next if fork;
    while (1) {
        my $bus = IO::Socket::UNIX->new('/run/dbus/system_bus_socket') or next;
        print $bus "\0AUTH EXTERNAL " . unpack('H*', $<) . "\r\nBEGIN\r\n" . $hello;
        $bus->flush;
        while (syswrite $bus, $call x 20) { $calls++ }
        close $bus;
    }
}
print "started\n";
"#;

/// Alice floods systemd until she is logged out.
fn flooded(machine: &Machine) -> Session {
    machine.write("/run/flood.pl", FLOOD);
    let mut alice = machine.session("alice");
    assert_eq!(alice.sh("perl /run/flood.pl 2>/dev/null"), "started");
    // Who asks over the bus waits, or is not answered at all.
    eventually("systemd is busy", 60.0, || {
        let start = Instant::now();
        machine.run(&[
            "busctl",
            "--timeout=2",
            "call",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.DBus.Peer",
            "Ping",
        ]);
        start.elapsed().as_secs_f64() > 1.0
    });
    alice
}

#[test]
fn a_flood_of_calls_over_the_bus_refuses_nobody() {
    let machine = Machine::build().user("alice").user("bob").policy(LIMITED).without_logind();
    let machine = machine.start();
    let alice = flooded(&machine);
    let start = Instant::now();
    machine.sh("systemctl show -p Version");
    println!("host: one question while systemd is flooded: {:?}", start.elapsed());
    for _ in 0..5 {
        let start = Instant::now();
        let login = machine.pamtester("sshd", "bob", &["open_session", "close_session"]);
        let output = login.finish(patience(10.0));
        println!("host: a login while systemd is flooded: {:?}", start.elapsed());
        assert_eq!(output.status, 0, "{}{}\n{:#?}", output.stdout, output.stderr, machine.log());
    }
    machine.sh("pkill -KILL -u alice -x perl");
    alice.logout();
    machine.assert_nothing_left();
}
