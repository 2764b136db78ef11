//! Each system call of an open and of a close fails: the whole sandbox stands and the log says so,
//! or `on_error` decides and nothing of the sandbox is left.
//!
//! `CGSANDBOX_FAULTS=all` injects every error into every call. Without it every second or third call
//! gets one error, the next one another. `target/injections.tsv` has what came of each.
#![allow(clippy::unwrap_used)]

mod injection;

use injection::table::{run, run_everywhere};
use injection::{Call, Injection, Whose};

const ERRORS: [&str; 6] =
    ["error=EPERM", "error=ENOMEM", "error=EINTR", "error=EBUSY", "error=ENOSPC", "error=EMFILE"];

#[test]
fn the_first_open_since_boot_bears_every_error() {
    run_everywhere("first open", false, Whose::Open, &ERRORS, 3);
}

#[test]
fn an_open_beside_another_session_bears_every_error() {
    run_everywhere("joining open", true, Whose::Open, &ERRORS, 3);
}

#[test]
fn the_last_close_bears_every_error() {
    run_everywhere("last close", false, Whose::Close, &ERRORS, 2);
}

#[test]
fn a_close_beside_another_session_bears_every_error() {
    run_everywhere("leaving close", true, Whose::Close, &ERRORS, 2);
}

#[test]
fn the_module_bears_every_error() {
    run_everywhere("module", true, Whose::Module, &ERRORS, 1);
}

/// Before it is the helper: a copy of the host's process that shares its memory.
#[test]
fn the_child_that_becomes_the_helper_bears_every_error() {
    let host = injection::host();
    let injection = Injection::on(&host, true);
    // Not close_range: without it 65,000 calls close one file each, which strace makes seconds of.
    let names = ["setgid", "setgroups", "setuid", "setpgid", "chdir"];
    let thrice = ["dup2", "fcntl"].into_iter().flat_map(|name| (1..=3).map(move |nth| (name, nth)));
    let calls = names.into_iter().map(|name| (name, 1)).chain(thrice);
    let call = |(name, nth): (&str, usize)| Call { name: name.to_owned(), nth, is_loaders: false };
    run("child", injection, Whose::Child, &calls.map(call).collect::<Vec<_>>(), &ERRORS);
}

/// Entering the store or a user's view, the helper could be stuck there: it would log, read and
/// write in the wrong place.
#[test]
fn a_helper_that_cannot_leave_a_view_ends() {
    let host = injection::host();
    let mut injection = Injection::on(&host, true);
    for on_error in ["deny", "allow"] {
        // The second is the first that leads back.
        let outcome = injection.with(Whose::Open, "setns", "error=ENOMEM:when=2+", on_error);
        assert!(outcome.faults.is_empty(), "{outcome:#?}");
        let expected = if on_error == "deny" { "refused" } else { "allowed" };
        assert!(outcome.what.starts_with(expected), "{outcome:#?}");
    }
    injection.end();
}

/// One of the first files that the helper opens is `/`, from where it finds the configuration.
#[test]
fn where_no_configuration_can_be_read_what_it_last_said_decides() {
    let host = injection::host();
    let mut injection = Injection::on(&host, true);
    let mut allowed = 0;
    for nth in 1..9 {
        let what = format!("error=EMFILE:when={nth}");
        let outcome = injection.with(Whose::Open, "openat", &what, "allow");
        assert!(outcome.faults.is_empty(), "{outcome:#?}");
        allowed += usize::from(outcome.what.starts_with("allowed"));
    }
    injection.end();
    assert!(allowed > 0);
}
