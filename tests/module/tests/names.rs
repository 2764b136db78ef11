//! Hostile and unusual user names.
#![allow(missing_docs)]

use module_tests::{Host, PAM_IGNORE, PAM_SESSION_ERR, PAM_SUCCESS, in_both_builds};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn root_is_ignored_before_anything_is_read_whatever_it_is_called() {
    in_both_builds(|build| {
        for user in ["root", "toor"] {
            // Neither the helper nor the arguments would do.
            let report = Host::new(build, "exit 1")
                .user(user)
                .argument("helper=/nonexistent")
                .argument("nonsense")
                .run(&["open", "close"]);
            assert_eq!(report.codes()[0], PAM_IGNORE, "{user}");
            assert_eq!(report.open_seen, "");
            assert!(report.log.is_empty(), "{:?}", report.log);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn a_name_that_nss_does_not_know_is_refused_and_escaped_in_the_log() {
    let long = "x".repeat(255);
    let names: [(&[u8], &str); 6] = [
        (b"../../x", "user=../../x "),
        (b"a\nevent=session_open user=b", "user=\"a\\u{a}event=session_open user=b\""),
        (long.as_bytes(), &long),
        (b"nosuch", "user=nosuch "),
        (b"alice\xff", "user=\"alice"),
        (b"a\" uid=0", "user=\"a\\\" uid=0\""),
    ];
    in_both_builds(|build| {
        for (name, logged) in names {
            let report = Host::new(build, "enter").user(OsStr::from_bytes(name)).run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{name:?}");
            assert_eq!(report.open_seen, "", "no helper may run for {name:?}");
            report.assert_one_line(&["event=session_denied", "unknown to NSS", logged]);
            assert!(report.log[0].bytes().all(|byte| byte != b'\n'), "{:?}", report.log[0]);
            assert_eq!(report.steps[0].messages.len(), 1);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn an_unknown_user_is_let_in_where_the_configuration_says_so() {
    in_both_builds(|build| {
        let host = Host::new(build, "").as_root().user("nosuch").on_error("allow");
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_IGNORE]);
        report.assert_one_line(&["event=degraded", "enforced=none", "user=nosuch"]);
    });
}

#[test]
fn no_user_at_all_is_refused() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter").user("").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert_eq!(report.open_seen, "");
    });
}

#[test]
fn either_name_of_a_uid_goes_to_the_helper_as_it_came() {
    in_both_builds(|build| {
        for user in ["alice", "alice2"] {
            let report = Host::new(build, "enter\nhear").user(user).run(&["open"]);
            assert_eq!(report.codes(), [PAM_SUCCESS]);
            let asked = format!("Open {{ user: \"{user}\"");
            assert!(report.open_seen.contains(&asked), "{}", report.open_seen);
        }
    });
}

#[test]
fn tty_host_and_service_reach_the_helper_and_cannot_break_out() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear")
            .option("service=sshd")
            .option("tty=a\nuser=root")
            .option(OsStr::from_bytes(b"rhost=\xff=x"))
            .run(&["open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS]);
        let asked =
            "user: \"alice\", service: \"sshd\", tty: \"a\\nuser=root\", rhost: \"\u{fffd}=x\"";
        assert!(report.open_seen.contains(asked), "{}", report.open_seen);
    });
}

#[test]
fn an_item_longer_than_the_contract_allows_is_refused() {
    in_both_builds(|build| {
        let long = format!("rhost={}", "h".repeat(5000));
        let report = Host::new(build, "enter").option(long).run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        report.assert_one_line(&["event=session_denied", "too long"]);
        report.assert_host_unchanged();
    });
}
