//! `cgsandbox enable` and `disable` where things go wrong in the middle: PAM's file is the old
//! one or the new one, whole, and the next run puts everything in order.
#![allow(clippy::unwrap_used, clippy::panic)]

mod switching;

use std::collections::BTreeMap;

use cgsandbox_rig::{Host, eventually};

use switching::{SSHD, assert_refused, cgsandbox, host, look, one_line, replace_module};

const TRACE: &str = "/tmp/trace";

/// The host as it is without the line and with it.
struct States {
    old: String,
    new: String,
    file: [String; 2],
}

impl States {
    fn of(host: &Host) -> Self {
        let (old, old_file) = (look(host), host.read(SSHD).unwrap());
        cgsandbox(host, "enable").ok();
        let (new, new_file) = (look(host), host.read(SSHD).unwrap());
        cgsandbox(host, "disable").ok();
        assert_eq!(look(host), old);
        States { old, new, file: [old_file, new_file] }
    }

    /// Whatever has happened: the file is whole, and both ways from here lead where they are to.
    #[track_caller]
    fn assert_recovers(&self, host: &Host, after: &str) {
        let file = host.read(SSHD).unwrap();
        assert!(self.file.contains(&file), "{after}: {file}");
        cgsandbox(host, "enable").ok();
        assert_eq!(host.read(SSHD).unwrap(), self.file[1], "{after}");
        cgsandbox(host, "disable").ok();
        assert_eq!(look(host), self.old, "{after}");
    }
}

/// The system calls by which `enable` and `disable` change something, or make sure of it.
const EFFECTS: [&str; 15] = [
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "linkat",
    "write",
    "fchown",
    "fchmod",
    "fsetxattr",
    "fsync",
    "flock",
    "openat",
];

/// How often the command itself makes each of them.
fn calls_of(host: &Host, command: &str) -> BTreeMap<String, usize> {
    host.sh(&format!("strace -qq -o {TRACE} cgsandbox {command} >/dev/null"));
    let trace = host.read(TRACE).unwrap();
    // What it opens only to read changes nothing.
    let is_effect = |line: &&str| !line.starts_with("openat") || line.contains("O_CREAT");
    let names = trace.lines().filter(is_effect).filter_map(|line| line.split_once('('));
    let mut calls = BTreeMap::new();
    for (name, _) in names.filter(|(name, _)| EFFECTS.contains(name)) {
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    // strace counts all of them, so this one is left to the calls around it.
    calls.remove("openat");
    assert!(calls.len() >= 6 && calls.contains_key("fsync"), "{calls:?} in {trace}");
    calls
}

/// Runs `command` with `fault` in each of its calls in turn, and judges what then is.
fn with_each_call_failing(command: &str, fault: &str, judge: impl Fn(&Host, &States, i32, &str)) {
    let host = host();
    let states = States::of(&host);
    let prepare = |host: &Host| {
        if command == "disable" {
            cgsandbox(host, "enable").ok();
        }
    };
    prepare(&host);
    let calls = calls_of(&host, command);
    cgsandbox(&host, "disable");
    for (call, times) in calls {
        for time in 1..=times {
            prepare(&host);
            let inject = format!("inject={call}:{fault}:when={time}");
            let run = host.as_root(["strace", "-qq", "-o", TRACE, "-e", &inject, "cgsandbox"]);
            let status = run.arg(command).run().status;
            let after = format!("{command} with {inject}");
            judge(&host, &states, status, &after);
            states.assert_recovers(&host, &after);
        }
    }
}

#[test]
fn killed_at_any_step_of_enable_the_file_is_whole() {
    with_each_call_failing("enable", "signal=KILL", |_, _, status, after| {
        assert_ne!(status, 0, "{after}");
    });
}

#[test]
fn killed_at_any_step_of_disable_the_file_is_whole() {
    with_each_call_failing("disable", "signal=KILL", |_, _, status, after| {
        assert_ne!(status, 0, "{after}");
    });
}

#[test]
fn whatever_call_of_enable_fails_it_is_done_or_undone() {
    for fault in ["error=EIO", "error=ENOSPC"] {
        with_each_call_failing("enable", fault, |host, states, status, after| {
            let file = host.read(SSHD).unwrap();
            match status {
                0 => assert_eq!(file, states.file[1], "{after}"),
                // Where it cannot be put back either, there is no more to do than to say so.
                _ => assert_eq!(file, states.file[0], "{after}"),
            }
            let is_removal = after.contains("unlink") || after.contains("rmdir");
            if status != 0 && !is_removal {
                assert_eq!(look(host), states.old, "{after}");
            } else if status == 0 && !is_removal {
                assert_eq!(look(host), states.new, "{after}");
            }
        });
    }
}

#[test]
fn whatever_call_of_disable_fails_it_is_done_or_undone() {
    with_each_call_failing("disable", "error=EIO", |host, states, status, after| {
        let file = host.read(SSHD).unwrap();
        match status {
            0 => assert_eq!(file, states.file[0], "{after}"),
            _ => assert!(states.file.contains(&file), "{after}"),
        }
    });
}

#[test]
fn many_at_once_write_one_line() {
    let host = host();
    let states = States::of(&host);
    host.sh("for i in 1 2 3 4 5 6 7 8; do cgsandbox enable >/tmp/$i & done; wait");
    assert_eq!(look(&host), states.new);
    let changed = host.sh("grep -L already /tmp/[1-8] | wc -l");
    assert_eq!(changed, "1", "one has done it, and the others say so");
    host.sh(
        "for i in 1 2 3 4 5 6; do cgsandbox enable & cgsandbox disable & done >/dev/null; wait",
    );
    states.assert_recovers(&host, "enable and disable at once");
}

#[test]
fn a_login_meanwhile_reads_the_old_file_or_the_new_one() {
    let host = host();
    let states = States::of(&host);
    let reader = host.as_root(["sh", "-c", "while cat /etc/pam.d/sshd; do echo ===; done"]);
    let reader = reader.start();
    for _ in 0..10 {
        cgsandbox(&host, "enable").ok();
        cgsandbox(&host, "disable").ok();
    }
    let read = reader.kill().stdout;
    let mut seen: Vec<&str> = read.split("===\n").collect();
    // The last one was cut by the kill.
    seen.pop();
    let count = |state: &String| seen.iter().filter(|text| *text == state).count();
    let [old, new] = [count(&states.file[0]), count(&states.file[1])];
    assert_eq!(old + new, seen.len(), "{read}");
    assert!(old > 5 && new > 5, "{old} old, {new} new");
}

#[test]
fn where_nothing_can_be_written_nothing_is() {
    let host = host();
    host.sh("mount -o remount,ro /etc");
    assert_refused(&host, "enable", &["/etc/pam.d", "Read-only file system"]);
    host.sh("mount -o remount,rw /etc && mount -o remount,ro /var/lib");
    assert_refused(&host, "enable", &["/var/lib/cgsandbox", "Read-only file system"]);
    host.sh("mount -o remount,rw /var/lib && mount -o remount,ro /run");
    assert_refused(&host, "enable", &["/run/cgsandbox-trial", "Read-only file system"]);
    host.sh("mount -o remount,rw /run");
    let states = States::of(&host);
    cgsandbox(&host, "enable").ok();
    host.sh("mount -o remount,ro /etc");
    let said = cgsandbox(&host, "disable");
    assert_eq!((said.status, look(&host)), (2, states.new), "{said:?}");
}

#[test]
fn on_a_full_disk_the_file_stays() {
    let host = host();
    // A page for each file, and none is left.
    let fill = |path: &str| format!("dd if=/dev/zero of={path}/fill bs=4k 2>/dev/null || true");
    host.sh(&format!(
        "cp -a /etc/pam.d /tmp; mount -t tmpfs -o size=200k tmpfs /etc/pam.d
         cp -a /tmp/pam.d/. /etc/pam.d; {}",
        fill("/etc/pam.d")
    ));
    assert_refused(&host, "enable", &["/etc/pam.d", "No space left on device"]);
    host.sh("rm /etc/pam.d/fill");
    host.sh(&format!("mount -t tmpfs -o size=16k tmpfs /var/lib; {}", fill("/var/lib")));
    assert_refused(&host, "enable", &["/var/lib/cgsandbox", "No space left on device"]);
    host.sh("rm /var/lib/fill");
    States::of(&host);
}

#[test]
fn links_laid_in_the_way_are_not_followed() {
    let host = host();
    let shadow = host.sh("md5sum /etc/shadow");
    host.sh("mkdir /root/precious && touch /root/precious/file
        mkdir -p /var/lib/cgsandbox/pam.d
        ln -s /etc/shadow /etc/pam.d/.sshd.cgsandbox
        ln -s /etc/shadow /var/lib/cgsandbox/pam.d/sshd
        ln -s /etc/shadow /var/lib/cgsandbox/pam.d/.sshd
        ln -s /root/precious /run/cgsandbox-trial");
    cgsandbox(&host, "enable").ok();
    assert_eq!(host.sh("md5sum /etc/shadow"), shadow);
    assert!(host.exists("/root/precious/file"));
    assert_eq!(host.sh("find /etc/pam.d /var/lib/cgsandbox -type l -lname /etc/shadow"), "");
    cgsandbox(&host, "disable").ok();
}

/// Has `script` run when the session on trial is opened: between the reading of the file and its
/// replacement.
fn in_the_middle(host: &Host, script: &str) {
    replace_module(host);
    host.write("/tmp/hostile", "script");
    host.write("/tmp/script", script);
}

#[test]
fn what_another_writes_in_the_middle_is_not_lost() {
    let host = host();
    let old = host.read(SSHD).unwrap();
    let told = ["somebody else changed it meanwhile"];
    for script in [
        "grep -q other /etc/pam.d/sshd || echo '# other' >>/etc/pam.d/sshd",
        "cp /etc/pam.d/sshd /etc/pam.d/n && echo '# other' >>/etc/pam.d/n && mv /etc/pam.d/n /etc/pam.d/sshd",
        "rm -f /etc/pam.d/sshd",
        "ln -sf /etc/shadow /etc/pam.d/sshd",
    ] {
        host.write(SSHD, &old);
        in_the_middle(&host, script);
        let said = cgsandbox(&host, "enable");
        assert_eq!(said.status, 2, "{script}: {said:?}");
        let text = one_line(&said.stderr);
        let is_link = script.starts_with("ln") && text.contains("symlink to /etc/shadow");
        assert!(is_link || text.contains(told[0]), "{script}: {said:?}");
        let now = host.sh("cat /etc/pam.d/sshd 2>/dev/null || true");
        assert!(!now.contains("cgsandbox"), "{script}: {now}");
        assert!(script.starts_with("rm") || now != old.trim(), "{script}: {now}");
        assert!(!host.exists("/var/lib/cgsandbox") && !host.exists("/etc/pam.d/.sshd.cgsandbox"));
        host.sh("rm -f /etc/pam.d/sshd");
    }
}

#[test]
fn one_that_never_ends_is_not_waited_for_without_end() {
    let host = host();
    let holder =
        host.as_root(["flock", "-o", "/etc/pam.d", "sh", "-c", "echo held; exec sleep 1000"]);
    let holder = holder.start();
    eventually("it is locked", 5.0, || holder.stdout().contains("held"));
    assert_refused(&host, "enable", &["another cgsandbox enable or disable is running"]);
    holder.kill();
    cgsandbox(&host, "enable").ok();
}
