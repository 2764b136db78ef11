//! Processes that are in another place than their user's sandbox: `status` and `doctor` name them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use cgsandbox_rig::{Host, eventually};
use serde_json::Value;

fn host() -> Host {
    Host::build().user("alice").user("bob").policy("[profile.default]\ntasks_max = 50\n").start()
}

/// Of alice, what `status --json` has under `key`.
fn status_of_alice(host: &Host, key: &str) -> Value {
    let said = host.as_root(["cgsandbox", "status", "alice", "--json"]).run();
    let report: Value = serde_json::from_str(said.ok()).unwrap();
    report["users"][0][key].clone()
}

/// The notes of doctor, each with its remedy.
fn notes(host: &Host) -> Vec<String> {
    let said = host.as_root(["cgsandbox", "doctor", "--json"]).run();
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    let notes = report["findings"].as_array().unwrap().iter().filter(|it| it["level"] == "note");
    notes.map(|one| format!("{} -> {}", one["what"], one["remedy"])).collect()
}

#[track_caller]
fn assert_noted(host: &Host, words: &[&str]) {
    let notes = notes(host);
    let found = notes.iter().find(|note| words.iter().all(|word| note.contains(word)));
    assert!(found.is_some_and(|note| !note.ends_with("null")), "{words:?} in {notes:#?}");
}

/// Moves a process as cgrulesengd does: into a cgroup of its own choice, in these hierarchies.
fn move_out(host: &Host, pid: &str, mounts: &[&Path]) {
    for mount in mounts {
        host.sh(&format!("echo {pid} >{}/cgroup.procs", mount.display()));
    }
}

#[test]
fn who_was_taken_out_of_the_sandbox_is_named() {
    let host = host();
    let mut session = host.spawn_session("alice");
    let pid = session.sh("sleep 1000 >/dev/null & echo $!");
    assert_eq!(status_of_alice(&host, "outside"), Value::Array(Vec::new()));
    let mounts: Vec<&Path> = host.hierarchies().0.iter().map(|one| one.mount.as_path()).collect();
    move_out(&host, &pid, &mounts);
    let outside = status_of_alice(&host, "outside");
    assert_eq!(outside[0]["pid"].to_string(), pid, "{outside}");
    assert_eq!(outside[0]["command"], "sleep");
    for arguments in [&["cgsandbox", "status"][..], &["cgsandbox", "status", "alice"]] {
        let said = host.as_root(arguments.iter().copied()).run();
        assert!(said.ok().contains(&format!("outside {pid} (sleep)")), "{}", said.stdout);
        assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{}", said.stdout);
    }
    assert_noted(
        &host,
        &["alice is in a sandbox, but has processes outside it", &format!("{pid} (sleep)")],
    );
    session.sh(&format!("kill {pid}"));
}

/// On v1 a process may leave the cgroup of one controller and stay in all others.
#[test]
fn who_was_taken_out_of_a_single_hierarchy_is_named() {
    let host = host();
    let mut session = host.spawn_session("alice");
    let pid = session.sh("sleep 1000 >/dev/null & echo $!");
    let pids = host.hierarchies().carrying("pids").unwrap();
    move_out(&host, &pid, &[&pids.mount]);
    assert_eq!(status_of_alice(&host, "outside")[0]["pid"].to_string(), pid);
    session.sh(&format!("kill {pid}"));
}

#[test]
fn a_user_is_not_told_of_processes_outside() {
    let host = host();
    let mut session = host.spawn_session("alice");
    let said = session.sh("cgsandbox --json status");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["users"][0]["outside"], Value::Array(Vec::new()));
}

#[test]
fn a_daemon_that_moves_processes_is_named() {
    let host = host();
    assert!(!notes(&host).iter().any(|note| note.contains("cgrulesengd")));
    host.write("/etc/cgrules.conf", "# user  controllers  cgroup\n");
    assert!(!notes(&host).iter().any(|note| note.contains("cgrulesengd")));
    host.write("/etc/cgrules.conf", "# user  controllers  cgroup\nalice  *  batch/\n");
    assert_noted(&host, &["/etc/cgrules.conf has rules", "cgrulesengd"]);
    let daemon =
        host.sh("cp /bin/sleep /run/cgrulesengd; /run/cgrulesengd 1000 >/dev/null 2>&1 & echo $!");
    eventually("the daemon has its name", 10.0, || {
        host.process(daemon.parse().unwrap()).is_some_and(|it| it.command.contains("cgrulesengd"))
    });
    assert_noted(&host, &[&format!("cgrulesengd (pid {daemon}) moves processes")]);
    host.sh(&format!("kill {daemon}"));
}

/// What root starts from inside of a sandbox, as `sudo service cron restart` does without systemd,
/// has the user's limits for good.
#[test]
fn a_daemon_of_roots_inside_of_a_sandbox_is_named() {
    let host = host();
    let session = host.spawn_session("alice");
    // The first process of the session that root has is sshd's own: no stranger.
    assert!(!notes(&host).iter().any(|note| note.contains("not alice's")));
    let cgroups = host.cgroup_of(session.shell());
    let mut entered = String::new();
    for one in &host.hierarchies().0 {
        let is_its = |line: &&str| match one.unified {
            true => line.starts_with("0::"),
            false => line.split(':').nth(1).is_some_and(|names| names == one.controllers.join(",")),
        };
        let path = cgroups.lines().find(is_its).and_then(|line| line.splitn(3, ':').nth(2));
        if let Some(path) = path.filter(|path| path.contains(host.cgroup_root())) {
            entered += &format!("echo $BASHPID >{}{path}/cgroup.procs; ", one.mount.display());
        }
    }
    // As a daemon: its parent is gone.
    let daemon =
        host.sh(&format!("bash -c '{entered} setsid sleep 1000 >/dev/null 2>&1 & echo $!'"));
    let words = ["in alice's sandbox that are not alice's", &format!("{daemon} (sleep)")];
    assert_noted(&host, &words);
    session.logout();
    assert_noted(&host, &words);
    host.sh(&format!("kill {daemon}"));
    host.as_root(["cgsandbox", "gc"]).run().ok();
}
