//! What users who are gone have left.

use std::time::{Duration, Instant};

use cgsandbox_rig::{Process, eventually, patience};

use crate::command;
use crate::machine::Machine;

impl Machine {
    /// `cgsandbox gc`, once none of the test's users has a process.
    #[track_caller]
    pub fn gc(&self) {
        eventually("no process is left", 10.0, || self.users_processes().is_empty());
        self.sh("cgsandbox gc");
    }

    /// Waits until the test's users are gone, which takes logind a while after the last logout,
    /// and panics with what is left after that: a process, a unit, a drop-in, a cgroup, a mount,
    /// an address or a record of ours.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let deadline = Instant::now() + patience(4.0);
        let mut left = self.leftovers();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(300));
            left = self.leftovers();
        }
        assert!(left.is_empty(), "left:\n{}\nlog:\n{}", left.join("\n"), self.log().join("\n"));
    }

    fn users_processes(&self) -> Vec<Process> {
        let mut processes = Process::all();
        processes.retain(|one| self.users.iter().any(|user| user.uid == one.uid));
        processes
    }

    /// What there is of the test's users.
    pub fn leftovers(&self) -> Vec<String> {
        let processes = self.users_processes().into_iter();
        let mut left: Vec<String> =
            processes.map(|one| format!("process {} {}", one.pid, one.command)).collect();
        for user in &self.users {
            let uid = user.uid;
            left.extend(units(&format!(
                "user-{uid}.slice user@{uid}.service user-runtime-dir@{uid}.service"
            )));
            let drop_ins = self.runtime_drop_ins(&user.name);
            left.extend(drop_ins.into_iter().map(|name| format!("drop-in {name} of {uid}")));
            left.extend(found(&format!("find /sys/fs/cgroup -depth -name 'user-{uid}.slice'")));
        }
        // The timer belongs to the installation.
        left.extend(units("'cgsandbox-*.scope' 'cgsandbox-*.service'"));
        left.extend(found("find /run/cgsandbox/user -mindepth 1"));
        left.extend(found("find /run/cgsandbox/loopback/address -mindepth 1"));
        // The slice for helpers is there from the boot on.
        let ours = "-name 'cgsandbox*' ! -name cgsandbox.slice";
        left.extend(found(&format!("find /sys/fs/cgroup -depth {ours}")));
        // The namespace that holds the users' is made once, and stays.
        left.extend(found(
            "grep -F ' /run/cgsandbox/' /proc/1/mountinfo | grep -v '/cgsandbox/store '",
        ));
        left
    }
}

/// Units that match and are loaded, failed ones with them.
fn units(patterns: &str) -> Vec<String> {
    found(&format!(
        "systemctl list-units --all --plain --no-legend {patterns} | grep -v ' inactive '"
    ))
}

/// The lines that a command prints; its failure is that there are none.
fn found(command: &str) -> Vec<String> {
    let text = command::sh(&format!("{command} 2>/dev/null || true"));
    text.lines().map(str::to_owned).collect()
}
