//! What is read back from `/run/cgsandbox`: a full disk or a crash may have left any part of it.

use cgsandbox_fuzz::Fuzz;

use super::kind_of;
use crate::cgroup::Membership;
use crate::loopback::address::{Network4, Pool, parse_prefix};
use crate::loopback::tests::claims;
use crate::session::{Leader, Session};
use crate::state::State;

/// A state directory, removed in the end.
struct Directory(State);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("cgsandbox-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(path.join("user/1000/session")).unwrap();
        std::fs::create_dir_all(path.join("loopback/address")).unwrap();
        Directory(State::at(path))
    }

    /// The notes of it, with `text` in each.
    fn notes(&self, text: &str) {
        let root = self.0.directory();
        std::fs::write(root.join("roots"), text).unwrap();
        self.0.made_roots();
        for name in ["1-2", "1-2.new.7"] {
            std::fs::write(root.join("user/1000/session").join(name), text).unwrap();
        }
        if let Some(session) = Session::load(&self.0, 1000, "1-2").unwrap() {
            assert_eq!(session.id, "1-2", "a record of another session");
        }
        assert_eq!(Session::list(&self.0, 1000).unwrap(), ["1-2"]);
        // What can be the target of a symlink.
        if !text.is_empty() && text.len() < 4000 && !text.contains('\0') {
            let claim = root.join("loopback/address/127.64.3.232");
            let own = root.join("user/1000/loopback");
            for link in [&claim, &own] {
                let _ = std::fs::remove_file(link);
                std::os::unix::fs::symlink(text, link).unwrap();
            }
            claims(&self.0);
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.directory());
    }
}

#[test]
fn a_record_is_read_whole_or_not_at_all() {
    let directory = Directory::new();
    Fuzz::target("records").words(&WORDS).run(|input| {
        let text = String::from_utf8_lossy(input);
        directory.notes(&text);
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

const WORDS: [&str; 25] = [
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
    "1000 fd63:6773:6278::3e8",
    "127.64.3.232",
    "/cgsandbox\n",
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
