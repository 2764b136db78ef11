//! Into a real mount namespace and back.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{Host, PAM_IGNORE, PAM_SESSION_ERR, PAM_SUCCESS, Report, in_both_builds};

/// What may differ while inside: the namespace, and the fds that lead back.
fn assert_only_inside(report: &Report, step: usize) {
    for line in &report.steps[step].changed {
        if line.contains("ns/mnt mnt:") {
            continue;
        }
        let flags = line.rsplit('\t').next().unwrap();
        let flags = i32::from_str_radix(flags, 8).unwrap_or(0);
        assert!(line.starts_with("+ fd ") && flags & libc::O_CLOEXEC != 0, "{line}");
    }
}

#[test]
fn open_enters_and_close_returns() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter-mount\nhear").as_root().run(&["open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS; 2], "{:?}", report.log);
        assert_eq!(report.steps[0].view, "user");
        assert_only_inside(&report, 0);
        assert_eq!(report.steps[1].view, "host");
        assert!(report.steps[1].changed.is_empty(), "{:?}", report.steps[1].changed);
        assert!(report.left.is_empty(), "{:?}", report.left);
    });
}

#[test]
fn the_helper_that_closes_runs_in_the_host_s_view() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter-mount\nhear").as_root().run(&["open", "close"]);
        let view =
            |seen: &str| seen.lines().find(|line| line.starts_with("mnt ")).map(str::to_owned);
        assert!(view(&report.open_seen).is_some());
        assert_eq!(view(&report.open_seen), view(&report.close_seen));
    });
}

#[test]
fn twice_in_one_process() {
    in_both_builds(|build| {
        let steps = ["open", "close", "open", "close", "again", "open", "close"];
        let report = Host::new(build, "enter-mount\nhear").as_root().run(&steps);
        assert_eq!(report.codes(), [PAM_SUCCESS; 7], "{:?}", report.log);
        for (step, view) in
            report.steps.iter().zip(["user", "host", "user", "host", "host", "user"])
        {
            assert_eq!(step.view, view);
        }
        assert!(report.left.is_empty(), "{:?}", report.left);
    });
}

#[test]
fn the_working_directory_is_kept_in_both_directions() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter-mount\nhear").as_root().option("cwd=/usr/lib");
        let report = host.run(&["open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS; 2]);
        assert_only_inside(&report, 0);
        assert!(report.left.is_empty(), "{:?}", report.left);
    });
}

#[test]
fn a_helper_that_fails_after_entry_finds_the_host_outside_again() {
    in_both_builds(|build| {
        for (script, timeout) in [("exit 3", "5s"), ("kill-self", "5s"), ("hang", "1s")] {
            let script = format!("enter-mount\nhear\n{script}");
            let timeout = format!("timeout={timeout}");
            let host = Host::new(build, &script).as_root().argument(&timeout);
            let report = host.run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{script}");
            assert_eq!(report.steps[0].view, "host");
            assert!(report.open_seen.contains("heard Entered"), "{}", report.open_seen);
            assert_eq!(report.tickets().0, report.tickets().1);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn an_fd_that_is_no_mount_namespace_is_not_entered_and_the_helper_hears_so() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter-wrong-fd\nhear").as_root().run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        assert!(report.open_seen.contains("heard Failed"), "{}", report.open_seen);
        report.assert_one_line(&["operation=setns", "Invalid argument"]);
        report.assert_host_unchanged();
    });
}

#[test]
fn without_the_right_to_enter_the_login_is_refused() {
    in_both_builds(|build| {
        // Alice's program is nobody's here; the helper, which cannot unshare, sends its own.
        let report = Host::new(build, "enter-own\nhear").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        report.assert_one_line(&["operation=setns", "not permitted"]);
        report.assert_host_unchanged();
    });
}

#[test]
fn a_threaded_program_cannot_enter_and_on_error_decides() {
    in_both_builds(|build| {
        let script = "enter-mount\nhear";
        let denied = Host::new(build, script).as_root().option("thread").run(&["open"]);
        assert_eq!(denied.codes(), [PAM_SESSION_ERR]);
        denied.assert_one_line(&["event=session_denied", "operation=setns"]);
        denied.assert_host_unchanged();
        let host = Host::new(build, script).as_root().option("thread").on_error("allow");
        let allowed = host.run(&["open"]);
        assert_eq!(allowed.codes(), [PAM_IGNORE]);
        allowed.assert_one_line(&["event=degraded", "enforced=none"]);
    });
}

#[test]
fn a_chrooted_program_is_in_its_root_again() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter-mount\nhear").as_root().option("chroot");
        let report = host.run(&["open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS; 2], "{:?}", report.log);
        assert!(report.steps[0].changed.iter().any(|line| line == "- chroot true"));
        assert!(report.left.is_empty(), "{:?}", report.left);
    });
}

#[test]
fn a_process_that_cannot_return_runs_nothing() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter-mount\nhear").as_root();
        let report = host.run(&["open", "break-return", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS, 0, PAM_SESSION_ERR]);
        assert_eq!(report.steps[2].view, "user");
        assert_eq!(report.close_seen, "", "no helper may run in the user's view");
        report.assert_one_line(&["event=session_close", "operation=setns"]);
    });
}

/// It is still in the sandbox of its user, which is none for another, and not a new one for the same.
#[test]
fn a_process_that_could_not_return_opens_nothing_more() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter-mount\nhear").as_root().on_error("allow");
        let report = host.run(&["open", "break-return", "close", "again", "open"]);
        assert_eq!(report.codes()[4], PAM_SESSION_ERR, "{:?}", report.log);
        assert_eq!(report.open_seen.matches("run\n").count(), 1, "no second helper");
        let told = |line: &&String| line.contains("session of alice open");
        assert_eq!(report.log.iter().filter(told).count(), 1, "{:?}", report.log);
    });
}
