//! The module's own lines, and what happens when they do not get through.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{Build, Host, PAM_SESSION_ERR, in_both_builds, quickest};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

#[test]
fn a_line_names_who_what_and_why() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3").option("rhost=192.0.2.7").option("service=sshd");
        let report = host.run(&["open"]);
        // authpriv.err
        assert!(report.log[0].starts_with("<83>cgsandbox["), "{:?}", report.log);
        report.assert_one_line(&[
            "]: event=session_denied user=alice service=sshd rhost=192.0.2.7 operation=",
            " object=helper cause=\"",
        ]);
    });
}

#[test]
fn a_hostile_peer_name_stays_within_its_field() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3").option("rhost=x event=session_open\nuser=root");
        let report = host.run(&["open"]);
        report.assert_one_line(&["rhost=\"x event=session_open\\u{a}user=root\" operation="]);
        assert!(!report.log[0].contains('\n'));
    });
}

#[test]
fn a_stuck_daemon_delays_nothing_and_the_loss_is_counted() {
    in_both_builds(|build| {
        let report = quickest(|| {
            let host = Host::new(build, "exit 3");
            let flood = UnixDatagram::unbound().unwrap();
            flood.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while flood.send_to(b"x", host.directory().join("dev/log")).is_ok() {
                sent += 1;
            }
            assert!(sent > 0);
            host.writable_file("run/cgsandbox/lost");
            let report = host.run(&["open", "open"]);
            let lost = std::fs::read(host.directory().join("run/cgsandbox/lost")).unwrap();
            assert_eq!(lost.len(), 2);
            report
        });
        assert_eq!(report.codes(), [PAM_SESSION_ERR; 2]);
        assert!(report.steps.iter().all(|step| step.ms < 100), "{report:?}");
        report.assert_host_unchanged();
    });
}

/// Nobody listens on `/dev/log`, and what `make` leaves is where losses are counted.
fn without_a_daemon(build: Build, make: impl Fn(&Path)) {
    let report = quickest(|| {
        let host = Host::new(build, "exit 3").as_root();
        std::fs::remove_file(host.directory().join("dev/log")).unwrap();
        let lost = host.directory().join("run/cgsandbox/lost");
        make(&lost);
        let before = std::fs::symlink_metadata(&lost).map(|lost| lost.file_type()).ok();
        let report = host.run(&["open"]);
        let after = std::fs::symlink_metadata(&lost).map(|lost| lost.file_type()).ok();
        assert_eq!(before, after);
        report
    });
    assert_eq!(report.codes(), [PAM_SESSION_ERR]);
    assert!(report.steps[0].ms < 100, "{} ms", report.steps[0].ms);
    report.assert_host_unchanged();
}

#[test]
fn an_absent_daemon_and_absent_state_delay_nothing_and_create_nothing() {
    in_both_builds(|build| without_a_daemon(build, |_| {}));
}

#[test]
fn a_fifo_for_a_count_delays_nothing() {
    let make = |path: &Path| {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits(0o666).unwrap()).unwrap();
    };
    in_both_builds(|build| without_a_daemon(build, make));
}

#[test]
fn a_link_for_a_count_is_not_followed() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3").as_root();
        std::fs::remove_file(host.directory().join("dev/log")).unwrap();
        let state = host.directory().join("run/cgsandbox");
        std::fs::write(state.join("victim"), "").unwrap();
        symlink("victim", state.join("lost")).unwrap();
        assert_eq!(host.run(&["open"]).codes(), [PAM_SESSION_ERR]);
        assert_eq!(std::fs::read(state.join("victim")).unwrap(), b"");
    });
}
