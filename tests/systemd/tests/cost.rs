//! What the line adds to a login that has pam_systemd, as a share of what that takes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use cgsandbox_systemd_tests::{LINE, Machine, eventually, patience};

const POLICY: &str = "[profile.default]\nmemory_max = \"900M\"\ntasks_max = 3000\n";

/// Logins through each stack.
const LOGINS: usize = 40;

/// What each of `services` takes for a login beyond the one before it: the median of the differences
/// of neighbours in time, which whatever else the machine does meets alike. The first, an empty
/// stack, is compared with nothing; and untimed it goes before each, for systemd takes down one
/// session while the next login begins.
fn medians<const N: usize>(
    machine: &Machine,
    services: [&str; N],
    pause: Duration,
) -> [Duration; N] {
    let mut beyond = [const { Vec::new() }; N];
    for _ in 0..LOGINS {
        let mut before = 0.0;
        for (service, beyond) in services.iter().zip(&mut beyond) {
            let login = |service: &str| {
                let start = Instant::now();
                let login = machine.pamtester(service, "alice", &["open_session", "close_session"]);
                let output = login.finish(patience(10.0));
                assert_eq!(output.status, 0, "{service}: {}{}", output.stdout, output.stderr);
                start.elapsed().as_secs_f64()
            };
            login(services[0]);
            std::thread::sleep(pause);
            let took = login(service);
            beyond.push(took - before);
            before = took;
        }
    }
    beyond.map(|mut beyond| {
        beyond.sort_by(f64::total_cmp);
        Duration::from_secs_f64(beyond[beyond.len() / 2].max(0.0))
    })
}

/// A machine with a stack that does nothing, one with pam_systemd, and two with more after that:
/// a program that does nothing, and ours.
fn machine(users: &[String]) -> Machine {
    let machine = Machine::build().user("alice").policy(POLICY);
    let machine = users.iter().fold(machine, |machine, user| machine.user(user)).start();
    // The shortest stacks that can be told apart; whoever starts pamtester costs all the same.
    let base = "auth required pam_permit.so\naccount required pam_permit.so\n\
                session required pam_permit.so\n";
    let logind = "session required pam_systemd.so\n";
    let ours = format!("{LINE} timeout={}s\n", patience(10.0).as_secs());
    machine.write("/etc/pam.d/without", base);
    machine.write("/etc/pam.d/logind", &format!("{base}{logind}"));
    let exec = "session required pam_exec.so quiet /bin/true\n";
    machine.write("/etc/pam.d/exec", &format!("{base}{logind}{exec}"));
    machine.write("/etc/pam.d/both", &format!("{base}{logind}{ours}"));
    // To authenticate takes for ever: who has opened a session before holds it.
    let held = format!("auth required pam_exec.so /bin/sleep infinity\n{base}{logind}{ours}");
    machine.write("/etc/pam.d/held", &held);
    machine.set_policy_of(&["sshd", "systemd-user", "both", "held"], POLICY);
    machine
}

/// What `service` takes for a login beyond pam_systemd, which `regime` says more of.
fn beyond_logind(machine: &Machine, service: &str, regime: &str, pause: Duration) -> Duration {
    let [without, its, more] = medians(machine, ["without", "logind", service], pause);
    println!(
        "host: {service} adds {:.0} % to pam_systemd's login, {regime} \
         (p50: pam_systemd {its:?}, {service} {more:?}, an empty stack {without:?})",
        more.as_secs_f64() / its.as_secs_f64() * 100.0
    );
    more
}

fn added(regime: &str, pause: Duration) {
    let machine = machine(&[]);
    // The manager runs all the while, as for whoever is logged in already.
    let _held = machine.session("alice");
    let ours = beyond_logind(&machine, "both", regime, pause);
    let opened = machine.log().iter().filter(|line| line.contains("service=both")).count();
    assert!(opened >= LOGINS, "{opened} of {LOGINS} logins were ours");
    let exec = beyond_logind(&machine, "exec", regime, pause);
    let times = ours.as_secs_f64() / exec.as_secs_f64();
    println!("host: ours is x {times:.1} of pam_exec with /bin/true, {regime}");
    assert!(times < MOST_TIMES_EXEC, "x {times:.1}");
}

/// What ours may take of pam_exec with /bin/true. The figure that is promised is a share of
/// pam_systemd's, of hardware: an emulated processor takes its time for every program that starts,
/// and none for what logind waits for.
const MOST_TIMES_EXEC: f64 = 12.0;

#[test]
fn back_to_back() {
    added("back to back", Duration::ZERO);
}

#[test]
fn after_a_pause() {
    added("50 ms idle before", Duration::from_millis(50));
}

/// How many sessions others hold.
const HELD: usize = 1000;

/// Over this many users.
const HOLDERS: usize = 10;

#[test]
fn beside_a_thousand_sessions() {
    let users: Vec<String> = (0..HOLDERS).map(|number| format!("holder{number}")).collect();
    let machine = machine(&users);
    let _held = machine.session("alice");
    let alone = beyond_logind(&machine, "both", "alone", Duration::ZERO);
    let mut sessions = Vec::new();
    let opened = || machine.log().iter().filter(|line| line.contains("service=held")).count();
    for user in users.iter().cycle().take(HELD) {
        sessions.push(machine.pamtester("held", user, &["open_session", "authenticate"]));
        // As many at a time as a busy host has.
        if sessions.len().is_multiple_of(20) {
            eventually("the sessions are open", 120.0, || opened() >= sessions.len());
        }
    }
    let crowded = beyond_logind(&machine, "both", "beside 1,000 sessions", Duration::ZERO);
    let growth = crowded.as_secs_f64() / alone.as_secs_f64();
    println!("host: our share of a login grows with 1,000 held sessions by x {growth:.2}");
    drop(sessions);
    // 1.2 is promised of hardware.
    assert!(growth < 2.0, "x {growth:.2}");
}
