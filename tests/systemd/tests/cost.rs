//! What the line adds to a login that has pam_systemd, as a share of what that takes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use cgsandbox_systemd_tests::{LINE, Machine, patience};

const POLICY: &str = "[profile.default]\nmemory_max = \"900M\"\ntasks_max = 3000\n";

/// Logins through each stack.
const LOGINS: usize = 40;

/// The median time of a login through each of `services`, which take turns.
fn medians<const N: usize>(
    machine: &Machine,
    services: [&str; N],
    pause: Duration,
) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..LOGINS {
        for (service, times) in services.iter().zip(&mut times) {
            std::thread::sleep(pause);
            let start = Instant::now();
            let login = machine.pamtester(service, "alice", &["open_session", "close_session"]);
            let output = login.finish(patience(10.0));
            times.push(start.elapsed());
            assert_eq!(output.status, 0, "{service}: {}{}", output.stdout, output.stderr);
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

fn added(regime: &str, pause: Duration) {
    let machine = Machine::build().user("alice").policy(POLICY).service("systemd-user");
    let machine = machine.start();
    // The shortest stacks that can be told apart; whoever starts pamtester costs all the same.
    let base = "auth required pam_permit.so\naccount required pam_permit.so\n\
                session required pam_permit.so\n";
    let logind = "session required pam_systemd.so\n";
    let ours = format!("{LINE} timeout={}s\n", patience(1.0).as_secs());
    machine.write("/etc/pam.d/without", base);
    machine.write("/etc/pam.d/logind", &format!("{base}{logind}"));
    machine.write("/etc/pam.d/both", &format!("{base}{logind}{ours}"));
    machine.set_policy_of(&["sshd", "systemd-user", "both"], POLICY);
    // The manager runs all the while, as for whoever is logged in already.
    let _held = machine.session("alice");
    let [without, logind, both] = medians(&machine, ["without", "logind", "both"], pause);
    let (its, ours) = (logind.saturating_sub(without), both.saturating_sub(logind));
    let share = ours.as_secs_f64() / its.as_secs_f64() * 100.0;
    println!(
        "host: what our line adds to pam_systemd's login, {regime}: {share:.0} % \
         (p50: pam_systemd {its:?}, ours {ours:?}, an empty stack {without:?})"
    );
    let opened = machine.log().iter().filter(|line| line.contains("service=both")).count();
    assert!(opened >= LOGINS, "{opened} of {LOGINS} logins were ours");
    assert!(share < LARGEST_SHARE, "{share:.0} %");
}

/// Percent. The figure that is promised is of hardware; an emulated processor takes its time
/// for what we compute, and none less for what logind waits for.
const LARGEST_SHARE: f64 = 100.0;

#[test]
fn back_to_back() {
    added("back to back", Duration::ZERO);
}

#[test]
fn after_a_pause() {
    added("50 ms idle before", Duration::from_millis(50));
}
