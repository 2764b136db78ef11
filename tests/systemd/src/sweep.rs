//! Takes back what an earlier test has done to the machine.

use std::path::Path;

use cgsandbox_rig::{Process, eventually};

use crate::account::{self, UIDS};
use crate::command::{self, sh};

/// As distributed; kept when the first test begins.
const PAM_STACKS: &str = "/var/lib/guest/pam.d";

/// What changes the slices of users. Debian's own for all users is in /usr/lib.
const UNIT_FILES: [&str; 6] = [
    "/etc/systemd/system/user-.slice.d",
    "/run/systemd/system/user-.slice.d",
    "/etc/systemd/system/user-2????.slice.d",
    "/run/systemd/system/user-2????.slice.d",
    "/etc/systemd/system.control/user-2????.slice.d",
    "/run/systemd/system.control/user-2????.slice.d",
];

/// Ends every user of earlier tests and restores what tests change.
pub fn everything() {
    // Whatever a test has stopped.
    sh("for unit in dbus.socket dbus.service systemd-logind.service ssh.service; do
            systemctl is-active -q $unit || systemctl start $unit
        done");
    end_users();
    restore_pam_stacks();
    sh("rm -rf /etc/cgsandbox /var/lib/systemd/linger/* /etc/security/limits.d/tests.conf \
            /etc/cron.d/tests /etc/sudoers.d/tests");
    remove_then(&["/etc/systemd/logind.conf.d/tests.conf"], "systemctl restart systemd-logind");
    remove_then(&UNIT_FILES, "systemctl daemon-reload");
    // A user's manager that was killed is no failure of the next test.
    sh("systemctl reset-failed");
    let left =
        Path::new("/usr/bin/cgsandbox").exists().then(|| command::run(&["cgsandbox", "gc"], 30.0));
    if let Some(left) = left.filter(|it| it.status != 0) {
        println!("cgsandbox gc before the test: {}{}", left.stdout, left.stderr);
    }
}

/// Removes what matches `patterns`; if there was anything, what it has changed is read anew.
fn remove_then(patterns: &[&str], reread: &str) {
    let patterns = patterns.join(" ");
    let found = sh(&format!("ls -d {patterns} 2>/dev/null || true"));
    if !found.is_empty() {
        sh(&format!("rm -rf {patterns} && {reread}"));
    }
}

fn end_users() {
    let users = account::all();
    for user in &users {
        let name = &user.name;
        sh(&format!(
            "rm -f /var/lib/systemd/linger/{name}; loginctl terminate-user {name} 2>&1 || true"
        ));
    }
    let of_tests = |one: &Process| UIDS.contains(&one.uid);
    eventually("nobody of an earlier test is there", 8.0, || {
        let left: Vec<Process> = Process::all().into_iter().filter(of_tests).collect();
        for process in &left {
            sh(&format!("kill -9 {} 2>/dev/null || true", process.pid));
        }
        left.is_empty()
    });
    let slices = "systemctl list-units --plain --no-legend 'user-2????.slice'";
    eventually("no slice of an earlier test is there", 8.0, || sh(slices).is_empty());
    users.iter().for_each(|user| account::remove(&user.name));
}

fn restore_pam_stacks() {
    if Path::new(PAM_STACKS).exists() {
        sh(&format!("rm -rf /etc/pam.d && cp -a {PAM_STACKS} /etc/pam.d"));
    } else {
        sh(&format!("mkdir -p /var/lib/guest && cp -a /etc/pam.d {PAM_STACKS}"));
    }
}
