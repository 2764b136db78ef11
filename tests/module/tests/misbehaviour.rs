//! A helper that is absent, broken, hung or lying: refused within the deadline, logged with the
//! cause, taken back, and nothing of it left in the host.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{
    Build, Host, PAM_IGNORE, PAM_SESSION_ERR, PAM_SUCCESS, Report, in_both_builds, quickest,
};

/// The second helper was asked for what the first may have left.
#[track_caller]
fn assert_taken_back(report: &Report) {
    let (opened, closed) = report.tickets();
    assert_eq!((opened.len(), &opened), (1, &closed), "{report:#?}");
}

fn refused_and_taken_back(build: Build, script: &str, cause: &str) {
    let report = Host::new(build, script).run(&["open"]);
    assert_eq!(report.codes(), [PAM_SESSION_ERR], "{script}");
    assert_taken_back(&report);
    report.assert_one_line(&["event=session_denied", "user=alice", "service=svc", cause]);
    assert_eq!(report.steps[0].messages.len(), 1);
    report.assert_host_unchanged();
}

#[test]
fn a_helper_that_ends_without_an_answer() {
    in_both_builds(|build| {
        for script in ["exit 0", "exit 3", "kill-self", "close-socket\nexit 0"] {
            refused_and_taken_back(build, script, "ended without a reply");
        }
    });
}

#[test]
fn a_helper_that_answers_nonsense() {
    in_both_builds(|build| {
        refused_and_taken_back(build, "bytes 1", "malformed message");
        refused_and_taken_back(build, "bytes 100", "malformed message");
        refused_and_taken_back(build, "bytes 17000", "too long");
        refused_and_taken_back(build, "text cgsandbox/2\\0unconfined\\0", "version");
        refused_and_taken_back(build, "text cgsandbox/1\\0enter\\0namespaces=\\0", "field missing");
        refused_and_taken_back(build, "closed", "does not fit");
    });
}

#[test]
fn a_helper_that_sends_other_fds_than_it_names() {
    in_both_builds(|build| {
        for script in ["enter-without-fds", "enter-with-fds 1 2", "enter-with-fds 0 1"] {
            refused_and_taken_back(build, &format!("{script}\nhear"), "other fds than it names");
        }
        refused_and_taken_back(build, "enter-with-fds 2 2\nhear", "other fds than it names");
        for script in ["enter-with-fds 1 60", "enter-with-fds 1 253"] {
            refused_and_taken_back(build, script, "too many fds");
        }
    });
}

#[test]
fn a_helper_that_fails_after_its_answer() {
    in_both_builds(|build| {
        for script in ["enter\nhear\nexit 3", "enter\nexit 3"] {
            refused_and_taken_back(build, script, "exit status: 3");
        }
        refused_and_taken_back(build, "enter\nhear\nkill-self", "SIGKILL");
    });
}

#[test]
fn a_helper_that_hangs_is_killed_at_the_deadline() {
    in_both_builds(|build| {
        for script in ["hang", "stubborn\nhang", "enter\nhear\nhang", "close-socket\nhang"] {
            let report =
                quickest(|| Host::new(build, script).argument("timeout=300ms").run(&["open"]));
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{script}");
            let ms = report.steps[0].ms;
            let least = if script.starts_with("close") { 0 } else { 300 };
            assert!((least..700).contains(&ms), "{script}: {ms} ms");
            assert_taken_back(&report);
            let cause = if least == 0 { "without a reply" } else { "timed out" };
            report.assert_one_line(&["event=session_denied", cause]);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn a_helper_that_hangs_on_taking_back_too_is_bounded_by_a_second_deadline() {
    in_both_builds(|build| {
        let report = quickest(|| {
            Host::new(build, "hang").on("close", "hang").argument("timeout=300ms").run(&["open"])
        });
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert!((600..1000).contains(&report.steps[0].ms), "{} ms", report.steps[0].ms);
        assert_eq!(report.log.len(), 2, "{:?}", report.log);
        assert!(report.log[0].contains("event=degraded"), "{}", report.log[0]);
        assert!(report.log[1].contains("event=session_denied"), "{}", report.log[1]);
        report.assert_host_unchanged();
    });
}

#[test]
fn a_slow_helper_within_the_deadline_is_waited_for() {
    in_both_builds(|build| {
        let script = "sleep-ms 200\nenter\nhear\nsleep-ms 200";
        let report = Host::new(build, script).argument("timeout=2s").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS]);
        assert!(report.open_seen.contains("deadline_ms: 2000"), "{}", report.open_seen);
    });
}

#[test]
fn a_helper_that_cannot_be_started() {
    in_both_builds(|build| {
        for (name, cause) in [("absent", "No such file"), ("plain", "Permission denied")] {
            let host = Host::new(build, "");
            let path = host.directory().join(name);
            if name == "plain" {
                std::fs::write(&path, "").unwrap();
            }
            let report = host.argument(&format!("helper={}", path.display())).run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{name}");
            report.assert_one_line(&["operation=start", cause, "object=/"]);
            assert_eq!(report.close_seen, "", "there is nothing to take back");
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn on_error_allow_lets_the_login_go_on_without_a_sandbox_and_says_so() {
    in_both_builds(|build| {
        for script in ["exit 3", "kill-self", "bytes 100", "enter-wrong-fd\nhear"] {
            let report = Host::new(build, script).as_root().on_error("allow").run(&["open"]);
            assert_eq!(report.codes(), [PAM_IGNORE], "{script}");
            report.assert_one_line(&["event=degraded", "enforced=none", "user=alice"]);
            assert_eq!(report.steps[0].messages, ["3 This session runs without its sandbox."]);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn on_error_is_deny_when_absent_unknown_or_not_root_s() {
    in_both_builds(|build| {
        let deny = Host::new(build, "exit 3").as_root().on_error("deny").run(&["open"]);
        let other = Host::new(build, "exit 3").as_root().on_error("allow\n").run(&["open"]);
        // A file of root's that says allow, but is no symlink.
        let host = Host::new(build, "exit 3").as_root();
        std::fs::write(host.directory().join("run/cgsandbox/on_error"), "allow").unwrap();
        let file = host.run(&["open"]);
        for report in [deny, other, file] {
            assert_eq!(report.codes(), [PAM_SESSION_ERR]);
            report.assert_one_line(&["event=session_denied"]);
        }
        let host = Host::new(build, "exit 3").as_root().on_error("allow");
        let link = host.directory().join("run/cgsandbox/on_error");
        if std::os::unix::fs::lchown(&link, Some(1001), None).is_err() {
            // Not root: the one uid there is counts as nobody's in the host's user namespace.
            let report = Host::new(build, "exit 3").on_error("allow").run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR]);
            return;
        }
        assert_eq!(host.run(&["open"]).codes(), [PAM_SESSION_ERR]);
    });
}
