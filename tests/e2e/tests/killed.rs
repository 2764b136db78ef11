//! `kill -9` between any two system calls of the helper, for the first login since boot and for one
//! beside another session, with a private localhost and all else that a policy can ask for: the
//! next login works, and `gc` leaves nothing.
//!
//! `CGSANDBOX_FAULTS=all` kills at every call, else at every fourth. `target/injections.tsv` has
//! what came of each.
#![allow(clippy::unwrap_used)]

mod injection;

use injection::Whose;
use injection::table::run_everywhere;

const KILL: [&str; 1] = ["signal=KILL"];

#[test]
fn a_helper_killed_in_the_first_open_since_boot_leaves_nothing() {
    run_everywhere("first open, killed", false, Whose::Open, &KILL, 4);
}

#[test]
fn a_helper_killed_in_an_open_beside_another_session_leaves_nothing() {
    run_everywhere("joining open, killed", true, Whose::Open, &KILL, 4);
}

#[test]
fn a_helper_killed_in_the_last_close_leaves_nothing() {
    run_everywhere("last close, killed", false, Whose::Close, &KILL, 4);
}

#[test]
fn a_helper_killed_in_a_close_beside_another_session_leaves_nothing() {
    run_everywhere("leaving close, killed", true, Whose::Close, &KILL, 4);
}
