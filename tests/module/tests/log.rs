//! The module's own lines, and what happens when they do not get through.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{Host, PAM_SESSION_ERR, in_both_builds};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;

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
        report.assert_one_line(&["rhost=\"x event=session_open\\nuser=root\" operation="]);
        assert!(!report.log[0].contains('\n'));
    });
}

#[test]
fn a_stuck_daemon_delays_nothing_and_the_loss_is_counted() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3");
        let path = host.directory().join("dev/log");
        let flood = UnixDatagram::unbound().unwrap();
        flood.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while flood.send_to(b"x", &path).is_ok() {
            sent += 1;
        }
        assert!(sent > 0);
        let lost = host.directory().join("run/cgsandbox/lost");
        host.writable_file("run/cgsandbox/lost");
        let report = host.run(&["open", "open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR; 2]);
        assert!(report.steps.iter().all(|step| step.ms < 100), "{report:?}");
        assert_eq!(std::fs::read(&lost).unwrap().len(), 2);
        report.assert_host_unchanged();
    });
}

#[test]
fn an_absent_daemon_and_absent_state_delay_nothing_and_create_nothing() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3").as_root();
        std::fs::remove_file(host.directory().join("dev/log")).unwrap();
        let lost = host.directory().join("run/cgsandbox/lost");
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert!(report.steps[0].ms < 100, "{} ms", report.steps[0].ms);
        assert!(!lost.exists());
        report.assert_host_unchanged();
    });
}

#[test]
fn the_count_of_losses_is_never_a_link_or_a_fifo() {
    in_both_builds(|build| {
        let host = Host::new(build, "exit 3").as_root();
        std::fs::remove_file(host.directory().join("dev/log")).unwrap();
        let victim = host.directory().join("victim");
        std::fs::write(&victim, "").unwrap();
        symlink(&victim, host.directory().join("run/cgsandbox/lost")).unwrap();
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert_eq!(std::fs::read(&victim).unwrap(), b"");

        let host = Host::new(build, "exit 3").as_root();
        std::fs::remove_file(host.directory().join("dev/log")).unwrap();
        let fifo = host.directory().join("run/cgsandbox/lost");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits(0o666).unwrap()).unwrap();
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert!(report.steps[0].ms < 100, "{} ms", report.steps[0].ms);
        report.assert_host_unchanged();
    });
}
