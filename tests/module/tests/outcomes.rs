//! What PAM returns, and what the user is told, for each answer of the helper's.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{Host, PAM_IGNORE, PAM_SESSION_ERR, PAM_SUCCESS, in_both_builds};

#[test]
fn entered_and_verified_is_success_and_so_is_its_close() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear\nexit 0").run(&["open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS, PAM_SUCCESS]);
        assert!(report.open_seen.contains("heard Entered"), "{}", report.open_seen);
        let (opened, closed) = report.tickets();
        assert_eq!((opened.len(), &opened), (1, &closed));
        assert!(report.log.is_empty(), "{:?}", report.log);
        assert!(report.steps.iter().all(|step| step.messages.is_empty()));
        report.assert_host_unchanged();
    });
}

#[test]
fn unconfined_is_ignored_and_so_is_its_close() {
    in_both_builds(|build| {
        let report = Host::new(build, "unconfined").run(&["open", "close"]);
        assert_eq!(report.codes()[0], PAM_IGNORE);
        assert_eq!(report.close_seen, "", "there is nothing to close");
        assert!(report.log.is_empty(), "{:?}", report.log);
        report.assert_host_unchanged();
    });
}

#[test]
fn a_refusal_says_what_becomes_of_the_login_and_is_shown_to_the_user() {
    in_both_builds(|build| {
        for (word, code) in [("refuse-deny", PAM_SESSION_ERR), ("refuse-allow", PAM_IGNORE)] {
            let script = format!("{word} Out of order, come back later.");
            let report = Host::new(build, &script).run(&["open"]);
            assert_eq!(report.codes(), [code], "{word}");
            // 3 is PAM_ERROR_MSG.
            assert_eq!(report.steps[0].messages, ["3 Out of order, come back later."]);
            assert!(report.log.is_empty(), "the helper has logged it: {:?}", report.log);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn fds_beside_an_answer_that_speaks_of_none_are_closed() {
    in_both_builds(|build| {
        let report = Host::new(build, "unconfined-with-fds 3").run(&["open"]);
        assert_eq!(report.codes(), [PAM_IGNORE]);
        report.assert_host_unchanged();
    });
}

#[test]
fn no_two_opens_have_the_same_ticket() {
    in_both_builds(|build| {
        let steps = ["open", "close", "open", "close", "again", "open", "close"];
        let report = Host::new(build, "enter\nhear").run(&steps);
        let (mut opened, closed) = report.tickets();
        assert_eq!(opened, closed);
        opened.sort_unstable();
        opened.dedup();
        assert_eq!(opened.len(), 3);
    });
}

/// The `cgroup.procs` files are plain files here; what is written to them shows.
fn read(host: &Host, file: &str) -> String {
    std::fs::read_to_string(host.directory().join(file)).unwrap()
}

#[test]
fn the_module_leaves_the_cgroups_before_it_starts_the_helper_that_closes() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter view/a view/b view/absent\nhear").on("close", "exit 3");
        for file in ["view/a", "view/b"] {
            host.writable_file(file);
        }
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS]);
        assert_eq!(
            [read(&host, "view/a"), read(&host, "view/b")],
            ["", ""],
            "not before the close"
        );
        let report = host.run(&["open", "close"]);
        assert_eq!(report.codes()[0], PAM_SUCCESS);
        assert_eq!([read(&host, "view/a"), read(&host, "view/b")], ["0", "0"]);
        assert!(!host.directory().join("view/absent").exists(), "nothing is created");
        report.assert_host_unchanged();
    });
}

#[test]
fn the_module_leaves_the_cgroups_when_an_open_fails_after_the_answer() {
    in_both_builds(|build| {
        for script in ["enter view/a\nhear\nexit 3", "enter view/a\nkill-self"] {
            let host = Host::new(build, script);
            host.writable_file("view/a");
            assert_eq!(host.run(&["open"]).codes(), [PAM_SESSION_ERR], "{script}");
            assert_eq!(read(&host, "view/a"), "0");
        }
    });
}

#[test]
fn a_refusal_without_a_message_shows_none() {
    in_both_builds(|build| {
        let report = Host::new(build, "refuse-deny").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert!(report.steps[0].messages.is_empty(), "{:?}", report.steps[0].messages);
    });
}

#[test]
fn a_refusal_stands_however_the_helper_exits() {
    in_both_builds(|build| {
        let report =
            Host::new(build, "refuse-deny Sorry.\nexit 1").on_error("allow").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert_eq!(report.close_seen, "", "the helper took back what it made");
    });
}

#[test]
fn nothing_is_shown_to_a_user_whose_program_asks_for_silence() {
    in_both_builds(|build| {
        for script in ["refuse-deny Sorry.", "exit 1"] {
            let report = Host::new(build, script).option("silent").run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{script}");
            assert!(report.steps[0].messages.is_empty(), "{:?}", report.steps[0].messages);
        }
    });
}

#[test]
fn a_failure_tells_the_user_one_line_without_internals() {
    in_both_builds(|build| {
        let report = Host::new(build, "exit 1").run(&["open"]);
        let messages = &report.steps[0].messages;
        assert_eq!(messages.len(), 1, "{messages:?}");
        let lower = messages[0].to_lowercase();
        for internal in ["helper", "errno", "os error", "/", "cgroup", "status"] {
            assert!(!lower.contains(internal), "{internal:?} in {lower:?}");
        }
    });
}

#[test]
fn close_without_an_open_is_not_ours() {
    in_both_builds(|build| {
        let report = Host::new(build, "").run(&["close"]);
        assert_eq!(report.codes(), [PAM_IGNORE]);
        assert_eq!(report.close_seen, "", "no helper may run");
    });
}

#[test]
fn every_other_hook_has_no_opinion() {
    in_both_builds(|build| {
        let report = Host::new(build, "").run(&["authenticate", "setcred", "account", "password"]);
        assert_eq!(report.codes(), [PAM_IGNORE; 4]);
        assert!(report.log.is_empty(), "{:?}", report.log);
        assert_eq!(report.open_seen, "", "no helper may run");
        report.assert_host_unchanged();
    });
}

#[test]
fn a_session_is_closed_once() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear").run(&["open", "close", "close"]);
        assert_eq!(report.codes()[..2], [PAM_SUCCESS, PAM_SUCCESS]);
        assert_ne!(report.codes()[2], PAM_SUCCESS);
        assert_eq!(report.close_seen.matches("run\n").count(), 1);
    });
}

#[test]
fn open_and_close_twice_on_one_handle_and_on_two() {
    in_both_builds(|build| {
        let twice = ["open", "close", "open", "close"];
        let report = Host::new(build, "enter\nhear").run(&twice);
        assert_eq!(report.codes(), [PAM_SUCCESS; 4]);
        report.assert_host_unchanged();
        let report =
            Host::new(build, "enter\nhear").run(&["open", "close", "again", "open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS; 5]);
        report.assert_host_unchanged();
    });
}

#[test]
fn a_second_open_on_a_handle_is_refused_and_leaves_the_first_alone() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear").run(&["open", "open", "close"]);
        // What libpam returns at last is frozen by the second open; that the session was closed
        // shows at the helper.
        assert_eq!(report.codes()[..2], [PAM_SUCCESS, PAM_SESSION_ERR]);
        assert_eq!(report.open_seen.matches("run\n").count(), 1, "no second helper");
        assert_eq!(report.tickets().0, report.tickets().1);
        report.assert_one_line(&["event=session_denied", "open already"]);
    });
}

#[test]
fn a_forked_process_neither_closes_nor_disturbs_its_parent_s_session() {
    in_both_builds(|build| {
        let steps = ["open", "close-in-child", "end-in-child", "close"];
        let report = Host::new(build, "enter\nhear").run(&steps);
        assert_ne!(report.codes()[1], PAM_SUCCESS, "not the child's session");
        assert_eq!([report.codes()[0], report.codes()[3]], [PAM_SUCCESS; 2]);
        assert_eq!(report.close_seen.matches("run\n").count(), 1);
        report.assert_host_unchanged();
    });
}

/// Some libraries end the handle after open and make another for close.
#[test]
fn a_session_is_closed_on_another_handle() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter-mount\nhear").as_root();
        let report = host.run(&["open", "again", "close", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS, 0, PAM_SUCCESS, PAM_IGNORE]);
        assert_eq!(report.steps[1].view, "user", "the end of a handle closes nothing");
        assert_eq!(report.steps[2].view, "host");
        assert_eq!(report.tickets().0, report.tickets().1);
        assert!(report.left.is_empty(), "{:?}", report.left);
    });
}

#[test]
fn a_close_that_fails_is_reported_and_logged() {
    in_both_builds(|build| {
        for script in ["exit 3", "refuse-deny", "closed\nexit 3", "kill-self", "bytes 20"] {
            let report =
                Host::new(build, "enter\nhear").on("close", script).run(&["open", "close"]);
            assert_eq!(report.codes(), [PAM_SUCCESS, PAM_SESSION_ERR], "{script}");
            let words = ["event=session_close", "user=alice", " uid=", " duration=", "cause="];
            report.assert_one_line(&words);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn a_panic_is_a_refusal_and_a_line_in_the_log() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear")
            .environment("RUST_BACKTRACE", "1")
            .run(&["close", "open-without-a-clock"]);
        assert_eq!(report.codes()[1], PAM_SESSION_ERR);
        report.assert_one_line(&["event=session_denied", "panic=", "Result::unwrap()"]);
        report.assert_host_unchanged();
    });
}
