//! A process that opens sessions of several users: none of them gets another's sandbox, and after the
//! last close the process is where it was.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::Host;

/// See there.
const HUB: &str = include_str!("hub.py");

const VIEWS: [&str; 2] = ["invisible", "off"];

/// What the hub says of `steps`, with the users' own views and without.
fn in_both_views(test: impl Fn(&Host, &dyn Fn(&str) -> String)) {
    for hidepid in VIEWS {
        let policy = format!("[profile.default]\nhidepid = \"{hidepid}\"\n");
        let host = Host::build().user("alice").user("bob").policy(&policy).start();
        host.write("/tmp/hub.py", HUB);
        test(&host, &|steps| host.sh(&format!("python3 /tmp/hub.py {steps}")));
        host.assert_nothing_left();
    }
}

/// As with libraries that end the handle after each call.
#[test]
fn a_close_on_another_handle_leads_back_out() {
    in_both_views(|_, hub| {
        let said = hub("open:alice close:alice open:bob close:bob");
        let expected = "open:alice done inside\nclose:alice done where it was\n\
                        open:bob done inside\nclose:bob done where it was";
        assert_eq!(said, expected);
    });
}

#[test]
fn a_second_users_session_is_refused_while_the_first_is_open() {
    in_both_views(|host, hub| {
        for (open, close) in [("open", "close"), ("start", "stop")] {
            let said = hub(&format!("{open}:alice open:bob close:bob {close}:alice"));
            assert!(said.contains("open:bob refused inside"), "{said}");
            assert!(said.ends_with(&format!("{close}:alice done where it was")), "{said}");
        }
        let line = host.wait_log(&["event=session_denied", "user=bob"]);
        assert!(line.contains("session of alice open"), "{line}");
        let opened = |line: &&String| line.contains("session_open") && line.contains("user=bob");
        assert_eq!(host.log().iter().filter(opened).count(), 0);
    });
}

#[test]
fn one_users_sessions_share_the_sandbox_until_the_last_is_closed() {
    in_both_views(|_, hub| {
        let said = hub("open:alice start:alice stop:alice close:alice open:bob close:bob");
        let expected = "open:alice done inside\nstart:alice done inside\nstop:alice done inside\n\
                        close:alice done where it was\nopen:bob done inside\n\
                        close:bob done where it was";
        assert_eq!(said, expected);
    });
}

/// A refusal leaves nothing that refuses the next.
#[test]
fn a_refused_session_is_none_that_is_open() {
    let host = Host::build().user("alice").user("bob").start();
    host.write("/tmp/hub.py", HUB);
    host.sh("mv /usr/libexec/cgsandbox/cgsandbox-helper /tmp/helper");
    let script = "python3 /tmp/hub.py open:alice open:bob";
    let said = host.sh(script);
    assert_eq!(said, "open:alice refused where it was\nopen:bob refused where it was");
    let told = |line: &&String| line.contains("is to close") || line.contains("open: close");
    assert_eq!(host.log().iter().filter(told).count(), 0, "{:?}", host.log());
}
