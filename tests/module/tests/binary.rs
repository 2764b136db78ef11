//! The shared object as it ships.
#![allow(missing_docs, clippy::unwrap_used)]

use module_tests::{Build, in_both_builds, module};
use std::path::Path;
use std::process::Command;

fn output(program: &str, arguments: &[&str], object: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(object).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn exports_the_six_hooks_and_nothing_else() {
    in_both_builds(|build| {
        let listing = output("nm", &["-D", "--defined-only"], module(build));
        let names: Vec<&str> =
            listing.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        let hooks = ["acct_mgmt", "authenticate", "chauthtok", "close_session", "open_session"];
        let mut wanted: Vec<String> = hooks.iter().map(|hook| format!("pam_sm_{hook}")).collect();
        wanted.push("pam_sm_setcred".to_owned());
        assert_eq!(names, wanted);
    });
}

#[test]
fn is_at_most_400_kilobytes() {
    let size = std::fs::metadata(module(Build::Release)).unwrap().len();
    assert!(size <= 400 * 1000, "{size} bytes");
}

#[test]
fn stays_mapped_and_is_read_only_after_relocation() {
    in_both_builds(|build| {
        let headers =
            output("readelf", &["--dynamic", "--program-headers", "--wide"], module(build));
        for wanted in ["NODELETE", "BIND_NOW", "GNU_RELRO", "libpam.so.0"] {
            assert!(headers.contains(wanted), "no {wanted} in {headers}");
        }
        let stack = headers.lines().find(|line| line.contains("GNU_STACK")).unwrap();
        assert!(stack.contains("RW ") && !stack.contains("RWE"), "{stack}");
    });
}

#[test]
fn takes_nothing_from_the_host_that_it_must_not_touch() {
    let listing = output("nm", &["-D", "--undefined-only"], module(Build::Release));
    for forbidden in ["openlog", " syslog", "setenv", "putenv", "atexit@", "pthread_create"] {
        assert!(!listing.contains(forbidden), "{forbidden} in {listing}");
    }
}
