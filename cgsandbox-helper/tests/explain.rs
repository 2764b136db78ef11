//! `cgsandbox explain` as far as it depends on no configuration and no sandbox.
#![allow(clippy::unwrap_used, clippy::panic)]

mod asking;

use asking::{ask, ask_as_nobody};

#[test]
fn nobody_known_is_an_error_of_its_own() {
    let (status, stdout, stderr) = ask(&["explain", "no-such-user"]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("no-such-user") && stderr.contains("no such user"), "{stderr}");
    let (status, _, stderr) = ask(&["explain", "../../x\n\x1b[31m"]);
    assert_eq!(status, Some(2));
    assert!(!stderr.trim_end().contains(['\n', '\x1b']), "{stderr:?}");
}

#[test]
fn somebody_has_to_be_named() {
    assert_eq!(ask(&["explain"]).0, Some(2));
}

#[test]
fn an_ordinary_user_may_not_ask_for_others() {
    let (status, stdout, stderr) = ask_as_nobody(&["explain", "root"]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("only root may"), "{stderr}");
}
