//! `cgsandbox doctor` as far as it needs no host of its own; the findings have their tests
//! beside them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod asking;

use asking::{ask, ask_as_nobody};

#[test]
fn an_ordinary_user_is_told_that_it_takes_root() {
    for arguments in [["doctor"].as_slice(), &["doctor", "root"], &["doctor", "--json"]] {
        let (status, stdout, stderr) = ask_as_nobody(arguments);
        assert_eq!((status, stdout.as_str()), (Some(2), ""));
        assert!(stderr.contains("only root may"), "{stderr}");
    }
}

#[test]
fn only_one_user_can_be_named() {
    assert_eq!(ask(&["doctor", "alice", "bob"]).0, Some(2));
}
