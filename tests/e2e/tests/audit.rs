//! The log says what happened, whatever the names are, and a stuck log holds nobody up.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use cgsandbox_rig::{Host, patience};

fn host() -> Host {
    Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start()
}

/// The value of `key` in a log line.
fn value<'line>(line: &'line str, key: &str) -> Option<&'line str> {
    line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn opening_is_logged_with_who_where_and_what() {
    let host = host();
    let session = host.spawn_session("alice");
    let line = host.wait_log(&["event=session_open"]);
    let uid = host.uid("alice").to_string();
    for (key, expected) in [
        ("user", "alice"),
        ("uid", &uid),
        ("service", "sshd"),
        ("rhost", "127.0.0.1"),
        ("profile", "default"),
    ] {
        assert_eq!(value(&line, key), Some(expected), "{line}");
    }
    assert_eq!(value(&line, "enforced"), Some("full"), "{line}");
    assert!(value(&line, "backend").is_some(), "{line}");
    let leaf = value(&line, "session").unwrap().to_owned();
    assert!(host.cgroup_of(session.shell()).contains(&format!("session-{leaf}")), "{line}");
}

#[test]
fn closing_is_logged_with_what_was_used() {
    let host = host();
    host.ssh("alice").cmd("head -c 20M /dev/zero | tail -c 10M | sha256sum; sleep 1").run().ok();
    let line = host.wait_log(&["event=session_close", "user=alice"]);
    let open = host.wait_log(&["event=session_open"]);
    assert_eq!(value(&line, "session"), value(&open, "session"));
    let number = |key| value(&line, key).and_then(|value| value.parse::<f64>().ok());
    let duration = number("duration").unwrap_or_else(|| panic!("{line}"));
    assert!((1.0..60.0).contains(&duration), "{line}");
    assert!(number("cpu_usec").unwrap() > 1000.0, "{line}");
    assert!(number("memory_peak").unwrap() > 10e6, "{line}");
}

#[test]
fn limits_that_were_hit_are_counted() {
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 12\n").start();
    host.ssh("alice").cmd("for i in $(seq 20); do sleep 2 & done; wait").run();
    let line = host.wait_log(&["event=session_close"]);
    let hits = value(&line, "tasks_max_hits").unwrap_or_else(|| panic!("{line}"));
    assert_ne!(hits, "0", "{line}");
}

#[test]
fn oom_kills_are_counted() {
    let policy = "[profile.default]\nmemory_max = \"48M\"\nmemory_swap_max = \"0\"\n";
    let host = Host::build().user("alice").policy(policy).start();
    host.ssh("alice").cmd("head -c 1G /dev/zero | tail >/dev/null; true").run();
    let line = host.wait_log(&["event=session_close"]);
    let kills = value(&line, "oom_kills").unwrap_or_else(|| panic!("{line}"));
    assert_ne!(kills, "0", "{line}");
}

#[test]
fn no_user_name_forges_a_line() {
    let host = host();
    for name in [
        "x\nevent=forged user=root",
        "../../x",
        "x event=forged",
        "\u{1b}[31mred",
        &"x".repeat(255),
    ] {
        let output = host.as_root(["pamtester", "sshd", name, "open_session"]).run();
        output.refused();
    }
    host.wait_log(&["event=session_denied", "../../x"]);
    for line in host.log() {
        assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line:?}");
        assert_ne!(value(&line, "event"), Some("forged"), "{line}");
        assert_eq!(
            line.matches(" event=").count() - usize::from(line.contains("\"x event=forged")),
            1,
            "{line}"
        );
    }
    host.assert_nothing_left();
}

#[test]
fn no_terminal_or_host_name_forges_a_line() {
    let host = host();
    let hostile = "x\nevent=forged uid=0";
    let (tty, rhost) = (format!("tty={hostile}"), format!("rhost={hostile}"));
    let argv =
        ["pamtester", "-I", &tty, "-I", &rhost, "sshd", "alice", "open_session", "close_session"];
    host.as_root(argv).run().ok();
    host.wait_log(&["event=session_close"]);
    assert!(host.log().iter().all(|line| !line.contains('\n')), "{:?}", host.log());
}

/// The shortest of five: what the log costs, every one of them has to pay.
fn time_of_login(host: &Host) -> Duration {
    let login = || {
        let start = Instant::now();
        host.as_root(["pamtester", "sshd", "alice", "open_session"]).run().ok();
        start.elapsed()
    };
    (0..5).map(|_| login()).min().unwrap()
}

#[test]
fn a_blocked_log_delays_no_login_and_the_loss_is_told() {
    let mut host = host();
    let usual = time_of_login(&host);
    let blocked = host.block_syslog();
    let delayed = time_of_login(&host);
    assert!(delayed < usual + patience(0.15), "{usual:?} became {delayed:?}");
    drop(blocked);
    host.restart_syslog();
    host.as_root(["pamtester", "sshd", "alice", "open_session", "close_session"]).run().ok();
    let lost = host.wait_log(&["lost="]);
    assert!(value(&lost, "lost").unwrap().parse::<u32>().unwrap() >= 1, "{lost}");
}

#[test]
fn an_absent_log_delays_no_login() {
    let mut host = host();
    let usual = time_of_login(&host);
    host.sh("rm /dev/log");
    let delayed = time_of_login(&host);
    assert!(delayed < usual + patience(0.15), "{usual:?} became {delayed:?}");
    host.restart_syslog();
    host.as_root(["pamtester", "sshd", "alice", "open_session", "close_session"]).run().ok();
    host.wait_log(&["lost="]);
}
