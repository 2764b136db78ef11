//! `cgsandbox enable` and `disable`: PAM's files as an administrator has them, root's login
//! safe, and nothing ever half done.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_rig::{Host, Output};
use serde_json::Value;

const POLICY: &str = "[profile.default]\ntasks_max = 50\n";
const LINE: &str =
    "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_cgsandbox.so";
const SSHD: &str = "/etc/pam.d/sshd";
const BACKUP: &str = "/var/lib/cgsandbox/pam.d/sshd";

/// A host that has pam_cgsandbox installed, and no line yet.
fn host() -> Host {
    let host = Host::build().user("alice").policy(POLICY).start();
    host.sh("mount -t tmpfs tmpfs /var/lib && sed -i /cgsandbox/d /etc/pam.d/sshd");
    host
}

fn cgsandbox(host: &Host, words: &str) -> Output {
    host.as_root(["cgsandbox"].into_iter().chain(words.split(' '))).run()
}

/// Everything that a change could touch, with contents, owners, modes, times of change.
fn look(host: &Host) -> String {
    host.sh(
        "find /etc/pam.d /var/lib/cgsandbox /run/cgsandbox-trial -printf '%p %y %m %U:%G %l\\n' \
         2>/dev/null | sort; cd /etc/pam.d; for f in * .*; do [ ! -f $f ] || md5sum $f; done",
    )
}

/// Whether alice's login gets a sandbox now.
fn is_sandboxed(host: &Host) -> bool {
    host.ssh("alice").cmd("grep -c user- /proc/self/cgroup || true").run().ok() != "0"
}

#[test]
fn a_login_is_sandboxed_after_enable_and_not_after_disable() {
    let host = host();
    let before = look(&host);
    assert!(!is_sandboxed(&host));
    let said = cgsandbox(&host, "enable");
    assert!(said.ok().starts_with("sshd: enabled, by /etc/pam.d/sshd:4"), "{said:?}");
    assert!(said.stdout.contains("doctor"), "what comes next: {said:?}");
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{said:?}");
    assert!(host.read(SSHD).unwrap().ends_with(&format!("\n{LINE}\n")));
    assert!(is_sandboxed(&host));
    assert_eq!(host.ssh("root").cmd("id -u").run().ok(), "0");
    let said = cgsandbox(&host, "disable");
    assert!(said.ok().starts_with("sshd: disabled"), "{said:?}");
    assert!(!is_sandboxed(&host));
    assert_eq!(look(&host), before);
}

#[test]
fn the_second_time_nothing_is_changed() {
    let host = host();
    cgsandbox(&host, "enable").ok();
    let (before, inode) = (look(&host), host.sh("stat -c '%i %Y %Z' /etc/pam.d/sshd"));
    let said = cgsandbox(&host, "enable --service sshd --service sshd");
    assert_eq!(said.ok().matches("sshd: enabled already").count(), 1, "{said:?}");
    assert_eq!((look(&host), host.sh("stat -c '%i %Y %Z' /etc/pam.d/sshd")), (before, inode));
    cgsandbox(&host, "disable").ok();
    let before = look(&host);
    let said = cgsandbox(&host, "disable --service sshd");
    assert!(said.ok().contains("disabled already"), "{said:?}");
    assert!(cgsandbox(&host, "disable").ok().contains("no service"), "{said:?}");
    assert_eq!(look(&host), before);
}

#[test]
fn json_tells_the_same() {
    let host = host();
    let told = |words: &str| -> (i32, Value) {
        let said = cgsandbox(&host, words);
        (said.status, serde_json::from_str(&said.stdout).unwrap())
    };
    let (status, report) = told("enable --json");
    assert_eq!((status, &report["ok"]), (0, &true.into()), "{report}");
    let sshd = &report["services"][0];
    assert_eq!((&sshd["service"], &sshd["enabled"]), (&"sshd".into(), &true.into()), "{report}");
    assert_eq!((&sshd["changed"], &sshd["backup"]), (&true.into(), &BACKUP.into()), "{report}");
    assert_eq!(sshd["line"], "/etc/pam.d/sshd:4", "{report}");
    let (status, report) = told("disable --json --service sshd --service nonsense");
    assert_eq!((status, &report["ok"]), (2, &false.into()), "{report}");
    assert_eq!(report["services"][0]["enabled"], false, "{report}");
    assert_eq!(report["failed"][0]["service"], "nonsense", "{report}");
}
