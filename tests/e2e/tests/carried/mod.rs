//! What a directive comes to in the kernel's files.

use std::path::PathBuf;

use cgsandbox_rig::{Host, Session, lacks};

/// Where a directive is found, and what must be there.
pub struct Expected {
    pub directive: &'static str,
    /// The controller, as version 2 and version 1 call it.
    pub controllers: [&'static str; 2],
    /// Files of version 2 and what is in them; the first that the kernel has counts.
    pub unified: &'static [(&'static str, &'static str)],
    /// The same of version 1; empty where that has no such thing.
    pub legacy: &'static [(&'static str, &'static str)],
}

impl Expected {
    /// Alice's cgroup has the value; or, on a machine that is declared to lack the file, her login
    /// says that the directive is missing.
    #[track_caller]
    pub fn check(&self, host: &Host) {
        self.check_in(host, |_, controller| host.users_cgroup("alice", controller));
    }

    /// The same of the cgroup of her session.
    #[track_caller]
    pub fn check_of_session(&self, host: &Host) {
        self.check_in(host, |session, controller| session.cgroup(controller));
    }

    #[track_caller]
    fn check_in(&self, host: &Host, cgroup: impl Fn(&Session<'_>, &str) -> PathBuf) {
        let session = host.spawn_session("alice");
        let line = host.wait_log(&["event=session_open", "user=alice"]);
        if lacks(self.directive) {
            return self.check_missing(&line);
        }
        let carrying = self.controllers.iter().find(|it| host.hierarchies().carrying(it).is_some());
        let controller = carrying.unwrap_or_else(|| self.undeclared("no hierarchy carries it"));
        let files = match host.hierarchies().carrying(controller).unwrap().unified {
            true => self.unified,
            // Nobody's version 1 has it.
            false if self.legacy.is_empty() => return self.check_missing(&line),
            false => self.legacy,
        };
        let cgroup = cgroup(&session, controller);
        let there = files.iter().find(|(file, _)| host.exists(cgroup.join(file)));
        let (file, value) = there.unwrap_or_else(|| {
            self.undeclared(&format!("{} has none of {files:?}", cgroup.display()))
        });
        let content = host.read(cgroup.join(file)).unwrap();
        let lines: Vec<&str> = content.lines().map(str::trim).collect();
        assert!(lines.contains(value), "{file}: {lines:?}, not {value:?}");
        assert!(line.contains("enforced=full"), "{line}");
    }

    #[track_caller]
    fn check_missing(&self, line: &str) {
        assert!(line.contains("enforced=partial"), "{line}");
        let missing = format!("missing={}", self.directive);
        assert!(line.split(' ').any(|word| word == missing), "{line}");
    }

    #[track_caller]
    fn undeclared(&self, why: &str) -> ! {
        panic!(
            "{}: {why}; a machine whose kernel lacks it says so in CGSANDBOX_RIG_LACKS",
            self.directive
        )
    }
}
