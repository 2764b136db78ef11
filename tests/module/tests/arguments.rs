//! The words after the module's name on the PAM line.
#![allow(missing_docs)]

use module_tests::{Host, PAM_SESSION_ERR, PAM_SUCCESS, in_both_builds};

#[test]
fn a_wrong_one_is_refused_and_named_in_the_log() {
    let wrong = [
        "nonsense",
        "helper=",
        "helper=relative/path",
        "config=cgsandbox.toml",
        "config",
        "debug=yes",
        "timeout=",
        "timeout=0ms",
        "timeout=0s",
        "timeout=1",
        "timeout=1m",
        "timeout=-1s",
        "timeout=1.5s",
        "timeout=601s",
        "timeout=99999999999999999999s",
        "timeout=ms",
        "HELPER=/x",
        "=",
        "",
    ];
    in_both_builds(|build| {
        for word in wrong.into_iter().filter(|word| !word.is_empty()) {
            let report = Host::new(build, "enter").argument(word).run(&["open"]);
            assert_eq!(report.codes(), [PAM_SESSION_ERR], "{word}");
            assert_eq!(report.open_seen, "", "{word}");
            report.assert_one_line(&["event=session_denied", "operation=parse", "timeout="]);
            report.assert_host_unchanged();
        }
    });
}

#[test]
fn the_right_ones_reach_the_helper() {
    in_both_builds(|build| {
        for (word, ms) in
            [("timeout=1500ms", 1500), ("timeout=2s", 2000), ("timeout=600s", 600_000)]
        {
            let host = Host::new(build, "enter\nhear").argument("config=/etc/other.toml");
            let report = host.argument(word).run(&["open"]);
            assert_eq!(report.codes(), [PAM_SUCCESS], "{word}");
            for asked in ["config: \"/etc/other.toml\"", &format!("deadline_ms: {ms} }}")] {
                assert!(report.open_seen.contains(asked), "{}", report.open_seen);
            }
        }
    });
}

#[test]
fn debug_adds_a_line_at_the_debug_level() {
    in_both_builds(|build| {
        let report = Host::new(build, "enter\nhear").argument("debug").run(&["open"]);
        assert_eq!(report.codes(), [PAM_SUCCESS]);
        // authpriv.debug
        assert!(report.log[0].starts_with("<87>cgsandbox["), "{:?}", report.log);
        report.assert_one_line(&["event=debug"]);
    });
}
