//! One user keeps systemd or the journal busy: others log in, and what the log loses is told.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use cgsandbox_systemd_tests::{Machine, Session, eventually, patience};

const LIMITED: &str = "[profile.default]\ntasks_max = 99\n";

/// Calls systemd over the system bus in many connections at once, and has several calls under way in
/// each: systemd always has one more to answer, and it is over soon after the last of them. Perl's core is
/// on every Debian.
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
my $call = message(0, 2, path => '/org/freedesktop/systemd1',
    interface => 'org.freedesktop.systemd1.Manager', member => 'ListUnits',
    destination => 'org.freedesktop.systemd1');
$SIG{PIPE} = 'IGNORE';
for (1 .. 30) {
    next if fork;
    my $bus = IO::Socket::UNIX->new('/run/dbus/system_bus_socket') or exit 1;
    print $bus "\0AUTH EXTERNAL " . unpack('H*', $<) . "\r\nBEGIN\r\n" . $hello;
    $bus->flush;
    <$bus>;
    print $bus $call x 8;
    $bus->flush;
    my $buffer = '';
    while (sysread $bus, $buffer, 65536, length $buffer) {
        while (length $buffer >= 16) {
            my ($body, $fields) = unpack('x4V x4V', $buffer);
            my $length = 16 + $fields + (-$fields % 8) + $body;
            last if length $buffer < $length;
            my $is_answer = ord(substr $buffer, 1, 1) == 2;
            substr($buffer, 0, $length) = '';
            print $bus $call if $is_answer;
            $bus->flush;
        }
    }
    exit;
}
print "started\n";
"#;

/// Alice floods systemd until the value goes.
struct Flood<'a> {
    machine: &'a Machine,
    alice: Option<Session>,
}

impl<'a> Flood<'a> {
    fn of(machine: &'a Machine) -> Self {
        machine.write("/run/flood.pl", FLOOD);
        let mut flood = Flood { machine, alice: Some(machine.session("alice")) };
        let alice = flood.alice.as_mut().unwrap();
        assert_eq!(alice.sh("perl /run/flood.pl 2>/dev/null"), "started");
        // It answers root over its own socket, and does not come to start a unit.
        machine.write("/run/systemd/system/flood.target", "[Unit]\n");
        eventually("systemd is busy", 60.0, || {
            let start = Instant::now();
            machine.run(&["timeout", "60", "systemctl", "restart", "flood.target"]);
            println!("host: a unit's start takes {:?}", start.elapsed());
            start.elapsed() > patience(0.5)
        });
        flood
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.machine.run(&["pkill", "-KILL", "-u", "alice", "-x", "perl"]);
        self.alice.take().unwrap().logout();
    }
}

#[test]
fn a_flood_of_calls_over_the_bus_refuses_nobody() {
    let builder = Machine::build().user("alice").user("bob").policy(LIMITED).without_logind();
    // A quarter of that is what the helper waits for systemd before it goes ahead.
    let arguments = format!("timeout={}s", patience(5.0).as_secs());
    let machine = builder.module_arguments(&arguments).start();
    let flood = Flood::of(&machine);
    let start = Instant::now();
    machine.sh("systemctl show -p Version");
    println!("host: a question over its own socket takes {:?}", start.elapsed());
    for _ in 0..2 {
        let start = Instant::now();
        let login = machine.pamtester("sshd", "bob", &["open_session", "close_session"]);
        let output = login.finish(patience(10.0));
        println!("host: a login while systemd is flooded: {:?}", start.elapsed());
        assert_eq!(output.status, 0, "{}{}\n{:#?}", output.stdout, output.stderr, machine.log());
    }
    let log = machine.log();
    let opened: Vec<&String> =
        log.iter().filter(|it| it.contains("event=session_open user=bob")).collect();
    assert!(opened.iter().all(|line| line.contains(" enforced=full")), "{opened:#?}");
    drop(flood);
    // What it was asked for meanwhile waits for it.
    eventually("systemd has come to the end of its work", 60.0, || {
        machine.sh("systemctl list-jobs --no-legend").is_empty()
    });
    machine.assert_nothing_left();
}
