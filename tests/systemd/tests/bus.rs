//! systemd does not answer: on_error decides, within the deadline.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use cgsandbox_systemd_tests::{Machine, patience};

const LIMITED: &str = "[profile.default]\ntasks_max = 99\n";

/// PID 1's own socket, and the bus.
const SOCKETS: [&str; 2] = ["/run/systemd/private", "/run/dbus/system_bus_socket"];

/// Nobody answers at the sockets, until the value goes.
struct Unanswered(Vec<UnixListener>);

impl Unanswered {
    /// There is nothing to connect to.
    fn gone() -> Self {
        SOCKETS.iter().for_each(|path| std::fs::rename(path, kept(path)).unwrap());
        Unanswered(Vec::new())
    }

    /// Whoever connects waits for ever.
    fn hung() -> Self {
        let mut unanswered = Unanswered::gone();
        unanswered.0.extend(SOCKETS.map(|path| UnixListener::bind(path).unwrap()));
        unanswered
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.clear();
        SOCKETS.iter().for_each(|path| std::fs::rename(kept(path), path).unwrap());
    }
}

fn kept(path: &str) -> String {
    format!("{path}.kept")
}

/// Without logind in the stack: pam_systemd has a deadline of its own, two minutes.
fn machine(on_error: &str) -> Machine {
    let policy = format!("on_error = {on_error:?}\n{LIMITED}");
    // Less than by default: each test waits for it.
    let arguments = format!("timeout={}s", patience(1.0).as_secs());
    let builder = Machine::build().user("alice").policy(&policy).without_logind();
    let machine = builder.module_arguments(&arguments).start();
    // The first open writes down what on_error is.
    machine.ssh("alice").cmd("true").run().ok();
    machine
}

/// Opens and closes, as sshd would; whether it succeeded. Panics when that takes much longer
/// than the time-out that the machine's line has.
#[track_caller]
fn opens(machine: &Machine) -> bool {
    let start = Instant::now();
    let open = machine.pamtester("sshd", "alice", &["open_session", "close_session"]);
    let output = open.finish(patience(6.0));
    // The module's time-out, another of the close, and what starting programs takes.
    assert!(start.elapsed() < patience(3.0), "{:?}", start.elapsed());
    output.status == 0
}

#[test]
fn no_bus_refuses() {
    let machine = machine("deny");
    let unanswered = Unanswered::gone();
    assert!(!opens(&machine));
    drop(unanswered);
    machine.wait_log(&["event=session_denied", "user=alice"]);
    machine.assert_nothing_left();
}

#[test]
fn a_hung_bus_refuses_in_time() {
    let machine = machine("deny");
    let unanswered = Unanswered::hung();
    assert!(!opens(&machine));
    drop(unanswered);
    machine.wait_log(&["event=session_denied", "user=alice"]);
    machine.assert_nothing_left();
}

#[test]
fn no_bus_lets_in_where_the_policy_says_so() {
    let machine = machine("allow");
    let unanswered = Unanswered::gone();
    assert!(opens(&machine));
    drop(unanswered);
    machine.wait_log(&["event=degraded", "user=alice"]);
    machine.assert_nothing_left();
}

#[test]
fn a_hung_bus_lets_in_where_the_policy_says_so() {
    let machine = machine("allow");
    let unanswered = Unanswered::hung();
    assert!(opens(&machine));
    drop(unanswered);
    machine.wait_log(&["event=degraded", "user=alice"]);
    machine.assert_nothing_left();
}

/// The daemon of the bus has hung, and still has its socket: systemd is asked by its own.
#[test]
fn a_stopped_dbus_daemon_is_not_asked() {
    let machine = machine("deny");
    machine.sh("systemctl kill -s STOP dbus.service");
    let opened = opens(&machine);
    machine.sh("systemctl kill -s CONT dbus.service");
    assert!(opened, "{}", machine.log().join("\n"));
    machine.assert_nothing_left();
}

#[test]
fn a_logout_while_nobody_answers_is_made_good_later() {
    let machine = machine("deny");
    let session = machine.session("alice");
    let unanswered = Unanswered::hung();
    session.logout();
    drop(unanswered);
    assert!(Path::new(SOCKETS[0]).exists());
    machine.ssh("alice").cmd("true").run().ok();
    machine.assert_nothing_left();
}

/// There is an earlier policy's limit to be lifted, and nobody to lift it.
#[test]
fn the_exempt_get_in_while_nobody_answers() {
    let machine = machine("deny");
    let session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    machine.set_policy(&format!("exempt = [\"alice\"]\n{LIMITED}"));
    let unanswered = Unanswered::hung();
    assert!(opens(&machine), "{}", machine.log().join("\n"));
    drop(unanswered);
    machine.wait_log(&["event=degraded", "user=alice", "operation="]);
    assert!(opens(&machine));
    assert_ne!(machine.tasks_max("alice"), Some(99), "it is lifted when somebody answers");
    session.logout();
    machine.assert_nothing_left();
}
