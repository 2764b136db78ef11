//! Datagrams between module and helper, and the words of the PAM line.

use std::time::Duration;

use cgsandbox_fuzz::Fuzz;
use cgsandbox_protocol::{Arguments, Entry, MAX_DATAGRAM, Malformed, Reply, Request};

/// The longest value (the protocol's own bound, which it does not export).
const MAX_VALUE: usize = 4096;

#[test]
fn a_datagram_is_refused_or_encodes_to_the_same_again() {
    let open = |user: &str| Request::Open {
        user: user.to_owned(),
        service: "sshd".to_owned(),
        tty: "ssh".to_owned(),
        rhost: "192.0.2.7".to_owned(),
        config: String::new(),
        ticket: 1,
        deadline_ms: 10_000,
    };
    let enter = Reply::Enter { namespaces: vec![], ways_back: vec!["/sys/fs/cgroup/x".into()] };
    Fuzz::target("protocol")
        .words(&[
            "cgsandbox/1\0",
            "open\0",
            "close\0",
            "user=",
            "ticket=",
            "\0uid=1",
            "mnt",
            "/a\n",
        ])
        .seed(open("alice").encode().unwrap())
        .seed(open(&"x".repeat(1000)).encode().unwrap())
        .seed(Request::Close { uid: 1000, ticket: 2, deadline_ms: 3 }.encode().unwrap())
        .seed(enter.encode().unwrap())
        .seed(Entry::Entered.encode().unwrap())
        .longest(MAX_DATAGRAM + 100)
        .run(|input| {
            let request = Request::decode(input).map(|request| {
                let encoded = request.encode().unwrap();
                assert_eq!(Request::decode(&encoded), Ok(request));
            });
            let reply = Reply::decode(input).map(|reply| {
                let encoded = reply.encode().unwrap();
                assert_eq!(Reply::decode(&encoded), Ok(reply));
            });
            let entry = Entry::decode(input).map(|entry| {
                let encoded = entry.encode().unwrap();
                assert_eq!(Entry::decode(&encoded), Ok(entry));
            });
            let accepted = [&request, &reply, &entry].iter().filter(|it| it.is_ok()).count();
            assert!(accepted <= 1, "one datagram, two meanings");
            // Any value goes through, or is refused where it is made.
            let text = String::from_utf8_lossy(input);
            let any = open(&text);
            match any.encode() {
                Ok(datagram) => {
                    assert!(datagram.len() <= MAX_DATAGRAM);
                    assert_eq!(Request::decode(&datagram), Ok(any));
                }
                Err(why) => assert!(text.len() > MAX_VALUE || text.contains('\0'), "{why}"),
            }
            words(&text);
            let why = |result: Result<(), Malformed>| result.err().map(|Malformed(why)| why);
            (why(request), why(reply), why(entry))
        });
}

/// The words of the PAM line: understood within their bounds, or the wrong one is told.
fn words(text: &str) {
    let words: Vec<&str> = text.split([' ', '\0']).collect();
    match Arguments::parse(words.iter().copied()) {
        Ok(given) => {
            assert!((Duration::from_millis(1)..=Duration::from_secs(600)).contains(&given.timeout));
            assert!(given.helper.starts_with('/'));
            assert!(given.config.is_empty() || given.config.starts_with('/'));
        }
        Err(wrong) => assert!(words.contains(&wrong)),
    }
}
