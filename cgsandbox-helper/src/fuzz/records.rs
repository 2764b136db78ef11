//! What is read back from `/run/cgsandbox`: a full disk or a crash may have left any part of it.

use cgsandbox_fuzz::Fuzz;

use super::kind_of;
use crate::cgroup::Membership;
use crate::loopback::address::{Network4, Pool, parse_prefix};
use crate::session::{Leader, Session};

#[test]
fn a_record_is_read_whole_or_not_at_all() {
    Fuzz::target("records").words(&WORDS).run(|input| {
        let text = String::from_utf8_lossy(input);
        pool(&text);
        if let Some(leader) = Leader::of_session(&text) {
            assert!(text.starts_with(|c: char| c.is_ascii_digit() || c == '+'), "{leader:?}");
        }
        let record: Result<Session, _> = serde_json::from_slice(input);
        match record {
            Err(error) => kind_of(error.to_string().split(['`', ':']).next().unwrap_or_default()),
            Ok(session) => {
                let written = serde_json::to_vec(&session).unwrap();
                let again: Session = serde_json::from_slice(&written).unwrap();
                assert_eq!(format!("{session:?}"), format!("{again:?}"));
                // Every beginning of it is none: no crash leaves a record of something else.
                for end in 0..written.len() {
                    assert!(serde_json::from_slice::<Session>(&written[..end]).is_err());
                }
                Membership::parse(&session.origin);
                session.duration();
                format!("{:?} {:?}", session.stage, session.owner)
            }
        }
    });
}

/// The note on the pool of addresses, and the same words in the configuration.
fn pool(text: &str) {
    if let Some(pool) = Pool::parse(text) {
        assert_eq!(Pool::parse(&pool.to_string()), Some(pool));
        for uid in [1, 1000, u32::MAX] {
            if let Some(address) = pool.of_uid(uid) {
                assert_eq!(pool.of_v4(address.v4), Some(address));
            }
        }
    }
    if let Some(network) = Network4::parse(text) {
        assert!(network.first().octets()[0] == 127 && network.first().octets()[1] >= 64);
        assert!(u32::from(network.first()) & !network.mask() == 0);
    }
    if let Some(prefix) = parse_prefix(text) {
        assert_eq!(prefix.octets()[8..], [0; 8]);
    }
}

const WORDS: [&str; 22] = [
    "\"stage\":\"Open\"",
    "\"stage\":\"Opening\"",
    "\"stage\":\"Closed\"",
    "\"owner\":\"Systemd\"",
    "\"uid\":1000",
    "\"leader\":{\"pid\":1,\"start\":2}",
    "\"previous\":{\"rlimits\":{\"core\":[0,null]},\"oom_score_adj\":-500}",
    "\"counters\":{\"a\":1}",
    "127.64.0.0/10 fd63:6773:6278::/64",
    "fd63:6773:6278::/64",
    "127.128.0.0/9",
    "/32",
    "1-2",
    "1-2-3",
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
];
