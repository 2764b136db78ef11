//! The calling process is as it was after open and after close, whatever it was like before and
//! whatever the helper did.
#![allow(missing_docs)]

use module_tests::{Build, Host, PAM_SESSION_ERR, PAM_SUCCESS, in_both_builds};

/// Opens and closes well, then fails to open in three ways.
fn unchanged(build: Build, options: &[&str]) {
    let host = |script: &str| {
        options.iter().fold(Host::new(build, script), |host, option| host.option(option))
    };
    let report = host("enter\nhear").run(&["open", "close", "again", "open", "close"]);
    assert_eq!(report.codes(), [PAM_SUCCESS; 5], "{options:?}: {:?}", report.log);
    report.assert_host_unchanged();
    // Only one that never answers is to be given up soon: a busy machine needs its time for the others.
    for (script, timeout) in [("kill-self", "5s"), ("hang", "400ms"), ("enter-with-fds 1 60", "5s")]
    {
        let report = host(script).argument(&format!("timeout={timeout}")).run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR], "{options:?} {script}");
        report.assert_host_unchanged();
    }
}

#[test]
fn that_ignores_sigchld() {
    in_both_builds(|build| unchanged(build, &["sigchld=ignore"]));
}

#[test]
fn that_has_its_children_reaped_by_the_kernel() {
    in_both_builds(|build| unchanged(build, &["sigchld=no-zombies"]));
}

#[test]
fn that_reaps_every_child_in_a_handler() {
    in_both_builds(|build| unchanged(build, &["sigchld=handler"]));
}

#[test]
fn with_odd_dispositions_and_a_blocked_signal() {
    in_both_builds(|build| unchanged(build, &["signals=odd"]));
}

#[test]
fn with_its_standard_fds_closed() {
    in_both_builds(|build| unchanged(build, &["stdio=closed"]));
}

#[test]
fn with_fds_that_exec_would_keep() {
    in_both_builds(|build| unchanged(build, &["fds=20", "fd=700"]));
}

#[test]
fn with_a_umask_and_a_working_directory() {
    in_both_builds(|build| unchanged(build, &["umask=0123", "cwd=/usr"]));
}

#[test]
fn with_threads() {
    in_both_builds(|build| unchanged(build, &["thread"]));
}

#[test]
fn on_a_kernel_without_close_range() {
    in_both_builds(|build| unchanged(build, &["no-close-range", "fds=20"]));
}

#[test]
fn with_a_hostile_environment() {
    in_both_builds(|build| {
        let hostile = |script: &str| {
            Host::new(build, script)
                .environment("LD_PRELOAD", "/nonexistent.so.$LIB")
                .environment("LD_LIBRARY_PATH", "/nonexistent")
                .environment("XDG_RUNTIME_DIR", "/nonexistent")
                .environment("TMPDIR", "/nonexistent")
                .environment("RUST_BACKTRACE", "full")
                .environment("RUST_MIN_STACK", "1")
                .environment("PATH", "/nonexistent")
        };
        // The dynamic linker of the host itself complains of LD_PRELOAD.
        let report = hostile("enter\nhear").allow_stderr().run(&["open", "close"]);
        assert_eq!(report.codes(), [PAM_SUCCESS; 2]);
        assert!(report.open_seen.contains("environment []\n"), "{}", report.open_seen);
        report.assert_host_unchanged();
        let report = hostile("exit 1").allow_stderr().run(&["open"]);
        assert_eq!(report.codes(), [PAM_SESSION_ERR]);
        report.assert_host_unchanged();
    });
}

#[test]
fn that_has_no_fd_left() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear").run(&["open", "close", "last-fds", "open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS, PAM_SUCCESS, 0, PAM_SESSION_ERR]);
        assert_eq!(report.open_seen.matches("run\n").count(), 1);
        report.assert_host_unchanged();
    });
}
