//! What the helper finds: nothing of the host's.
#![allow(missing_docs, clippy::expect_used)]

use module_tests::{Build, Host, PAM_SUCCESS, in_both_builds};

fn line<'a>(seen: &'a str, key: &str) -> &'a str {
    let line = seen.lines().find_map(|line| line.strip_prefix(key));
    line.expect("fake-helper tells this").trim_start_matches(':').trim()
}

fn clean(build: Build, options: &[&str]) {
    let host =
        options.iter().fold(Host::new(build, "enter\nhear"), |host, option| host.option(option));
    let report = host.environment("LANG", "C").run(&["open", "close"]);
    assert_eq!(report.codes(), [PAM_SUCCESS; 2], "{:?}", report.log);
    for (seen, verb) in [(&report.open_seen, "open"), (&report.close_seen, "close")] {
        assert_eq!(line(seen, "args"), format!("[\"cgsandbox-helper\", \"{verb}\"]"));
        assert_eq!(line(seen, "environment"), "[]");
        let fds: Vec<&str> = seen.lines().filter(|line| line.starts_with("fd ")).collect();
        let wanted = ["fd 0 socket", "fd 1 /dev/null", "fd 2 /dev/null"];
        assert_eq!(fds, wanted, "{options:?}");
        assert_eq!(line(seen, "cwd"), "/");
        assert_eq!(line(seen, "Umask"), "0077");
        for signals in ["SigBlk", "SigIgn", "SigCgt"] {
            assert_eq!(line(seen, signals), "0000000000000000", "{options:?} {signals}");
        }
        assert_eq!(line(seen, "own process group"), "true");
    }
}

#[test]
fn only_three_fds_no_environment_and_default_signals() {
    in_both_builds(|build| clean(build, &[]));
}

#[test]
fn whatever_the_host_does_with_signals() {
    in_both_builds(|build| {
        for option in ["signals=odd", "sigchld=ignore", "sigchld=handler"] {
            clean(build, &[option]);
        }
    });
}

#[test]
fn whatever_fds_the_host_has() {
    in_both_builds(|build| {
        clean(build, &["fds=30", "fd=900"]);
        clean(build, &["stdio=closed"]);
        clean(build, &["stdio=closed", "fds=1"]);
        clean(build, &["stdio=closed", "fds=2"]);
        clean(build, &["no-close-range", "fds=30", "fd=900"]);
    });
}

#[test]
fn whatever_umask_and_directory_the_host_has() {
    in_both_builds(|build| clean(build, &["umask=0123", "cwd=/usr"]));
}

/// Needs root: no other process may have two uids.
#[test]
fn all_ids_are_root_s_under_a_set_uid_program() {
    in_both_builds(|build| {
        let host = Host::new(build, "enter\nhear").as_root().option("real-uid=65534");
        let report = host.run(&["open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS]);
        assert_eq!(line(&report.open_seen, "Uid"), "0 0 0 0");
        assert_eq!(line(&report.open_seen, "Gid"), "0 0 0 0");
        report.assert_host_unchanged();
    });
}

/// The cgroup that systemd makes for helpers, while the value lives. It is the machine's: helpers of
/// other tests may be in it for a moment.
struct Slice(std::path::PathBuf);

impl Slice {
    fn make() -> Self {
        let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .map(std::path::Path::new)
            .find(|mount| mount.join("cgroup.controllers").exists())
            .expect("cgroup v2 is mounted");
        let slice = Slice(unified.join("cgsandbox.slice"));
        std::fs::create_dir(&slice.0).expect("nobody else has made it");
        slice
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        for _ in 0..500 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("{} stays: something is in it", self.0.display());
    }
}

/// Needs root, as only root may start a process in another cgroup.
#[test]
fn it_is_in_the_cgroup_for_helpers_where_the_host_has_one() {
    in_both_builds(|build| {
        let host_in = || {
            let host = Host::new(build, "enter\nhear").as_root();
            let report = host.run(&["open", "close"]);
            assert_eq!(report.codes(), [PAM_SUCCESS; 2], "{:?}", report.log);
            report.assert_host_unchanged();
            [&report.open_seen, &report.close_seen].map(|seen| line(seen, "cgroup").to_owned())
        };
        let without = host_in();
        assert!(!without[0].contains("cgsandbox"), "{without:?}");
        let _slice = Slice::make();
        assert_eq!(host_in(), ["/cgsandbox.slice", "/cgsandbox.slice"]);
    });
}
