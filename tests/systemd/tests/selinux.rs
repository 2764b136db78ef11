//! Where SELinux enforces: the helper has a domain of its own, and all that it and the module do is
//! allowed there. This program comes last on such a machine, as it looks at what those before it
//! have done, too.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Process, eventually};

const LIMITED: &str = "[profile.default]\nmemory_max = \"300M\"\ntasks_max = 99\n";

/// Who logs users in: nothing but what the module does there is denied to any of them.
const LOGIN_DOMAINS: [&str; 4] = [":sshd_t:", ":crond_t:", ":local_login_t:", ":init_t:"];

const UNCONFINED: &str = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023";

/// What `log` says was denied to the helper, to the command, to the module, or to others in what
/// is ours.
fn denials(log: &str) -> Vec<String> {
    let ours = |line: &&str| {
        let source = line.split_once("scontext=").map_or("", |(_, it)| it);
        let source = source.split_whitespace().next().unwrap_or_default();
        line.contains("cgsandbox") || LOGIN_DOMAINS.iter().any(|it| source.contains(it))
    };
    log.lines().filter(|it| it.contains("avc:  denied")).filter(ours).map(str::to_owned).collect()
}

/// Those since the test began.
fn new_denials(machine: &Machine) -> Vec<String> {
    machine.sh("journalctl --sync");
    denials(&machine.journal("-k").join("\n"))
}

#[track_caller]
fn assert_allowed(machine: &Machine) {
    let denials = new_denials(machine);
    assert!(denials.is_empty(), "denied:\n{}", denials.join("\n"));
    // What is not denied because nothing is enforced shows nothing.
    assert_eq!(machine.read("/sys/fs/selinux/enforce").unwrap(), "1");
}

/// The SELinux user of a Linux user, until it is dropped.
struct Mapped(String);

const USERS: &str = "/etc/selinux/default/seusers";

impl Mapped {
    fn new(machine: &Machine, user: &str, to: &str) -> Self {
        let before = machine.read(USERS).unwrap();
        let others = before.lines().filter(|line| !line.starts_with(&format!("{user}:")));
        let all: Vec<&str> = others.collect();
        std::fs::write(USERS, format!("{user}:{to}:s0\n{}\n", all.join("\n"))).unwrap();
        Mapped(before)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        std::fs::write(USERS, &self.0).unwrap();
    }
}

#[test]
fn a_boot_of_logins_was_allowed_all_of_it() {
    let machine = Machine::build().start();
    let denials = denials(&machine.sh("journalctl --sync; journalctl -k -b -q -o short-monotonic"));
    assert!(denials.is_empty(), "denied:\n{}", denials.join("\n"));
    assert_allowed(&machine);
}

#[test]
fn the_helper_is_in_a_domain_of_its_own_and_the_user_in_the_users() {
    let policy = format!("{LIMITED}max_logins = 1\n");
    let machine = Machine::build().user("alice").policy(&policy).start();
    // While its user's lock is another's, it waits.
    let lock = format!("/run/cgsandbox/lock/{}", machine.uid("alice"));
    let lock = machine.spawn(&["flock", "--no-fork", &lock, "sleep", "1000"]);
    let mut login = machine.ssh("alice").cmd("id -Z; cat; id -Z").start();
    let helper =
        || Process::all().into_iter().find(|it| it.command.starts_with("cgsandbox-helper"));
    eventually("the helper waits", 10.0, || helper().is_some());
    let context = machine.read(format!("/proc/{}/attr/current", helper().unwrap().pid)).unwrap();
    assert_eq!(context.trim_end_matches(['\0', '\n']), "system_u:system_r:cgsandbox_t:s0");
    drop(lock);

    let opened = ["event=session_open", "user=alice", "service=sshd", "enforced=full"];
    machine.wait_log(&opened);
    let manager = machine.property(&format!("user@{}.service", machine.uid("alice")), "MainPID");
    let context = machine.read(format!("/proc/{manager}/attr/current")).unwrap();
    assert_eq!(context.trim_end_matches(['\0', '\n']), UNCONFINED);
    assert!(!machine.is_outside(manager.parse().unwrap()));
    assert_eq!(machine.tasks_max("alice"), Some(99));
    // One login is what the policy allows.
    machine.ssh("alice").cmd("true").run().refused();
    machine.wait_log(&["event=session_denied", "user=alice", "max_logins"]);
    login.send(b"");
    let output = login.finish(cgsandbox_systemd_tests::patience(10.0));
    assert_eq!(output.ok(), format!("{UNCONFINED}\n{UNCONFINED}"));
    machine.wait_log(&["event=session_close", "user=alice", "service=sshd"]);
    machine.assert_nothing_left();
    assert_allowed(&machine);
}

#[test]
fn a_confined_user_comes_by_the_covers() {
    // Without logind there is no user manager: who logs in by SELinux as another than the file
    // contexts of home directories say has none, with our line or without it.
    let machine =
        Machine::build().user("alice").user("bob").policy(LIMITED).without_logind().start();
    machine.sh("chcon -R -u user_u /home/alice");
    let _mapped = Mapped::new(&machine, "alice", "user_u");
    let bob = machine.session("bob");
    let mut alice = machine.session("alice");
    assert_eq!(alice.sh("id -Z"), "user_u:user_r:user_t:s0");
    assert_eq!(alice.sh(&format!("ls -d /proc/1 /proc/{} 2>/dev/null", bob.shell())), "");
    assert_eq!(alice.sh("ls /run/cgsandbox"), "inside-a-sandbox");
    let others = format!("/sys/fs/cgroup/user.slice/{}", machine.slice("bob"));
    assert_eq!(alice.sh(&format!("ls {others} 2>/dev/null")), "");
    assert_eq!(alice.sh("cat /sys/fs/cgroup/user.slice/cgroup.controllers | wc -l"), "1");
    let status = alice.sh("cgsandbox status alice");
    assert!(status.contains("300M"), "{status}");
    alice.logout();
    machine.wait_log(&["event=session_close", "user=alice", "service=sshd"]);
    bob.logout();
    machine.assert_nothing_left();
    assert_allowed(&machine);
}

/// Debian's policy has a job of `/etc/cron.d` in a domain that may not write where users may.
#[test]
fn a_job_of_crons_is_inside() {
    let machine = Machine::build().user("alice").policy(LIMITED).service("cron").start();
    let job = format!("@reboot alice {{ {}; }} | logger -t job; sleep 3\n", Machine::WHERE);
    machine.write("/etc/cron.d/tests", &job);
    machine.sh("systemctl stop cron; rm -f /run/crond.reboot; systemctl start cron");
    let said = || machine.journal("-t job").join("\n");
    eventually("the job has run", 12.0, || said().contains("mnt:["));
    machine.assert_inside("alice", &said());
    machine.wait_log(&["event=session_open", "user=alice", "service=cron", "enforced=full"]);
    machine.assert_nothing_left();
    assert_allowed(&machine);
}

#[test]
fn gc_finishes_what_a_crash_left_in_the_helpers_domain() {
    let machine = Machine::build().user("alice").policy(LIMITED).without_logind().start();
    machine.session("alice").kill_monitor();
    machine.sh("systemctl start cgsandbox-gc.service");
    assert_eq!(machine.property("cgsandbox-gc.service", "Result"), "success");
    machine.assert_nothing_left();
    // The state as a boot makes it.
    machine.sh("umount -l /run/cgsandbox/store /run/cgsandbox; rm -rf /run/cgsandbox");
    machine.sh("systemd-run -q --wait systemd-tmpfiles --create cgsandbox.conf");
    machine.ssh("alice").cmd("true").run().ok();
    machine.assert_nothing_left();
    let types = machine.sh("find /run/cgsandbox -xdev ! -name store -printf '%Z\\n' | cut -d: -f3");
    assert!(
        types.lines().count() > 4 && types.lines().all(|it| it == "cgsandbox_run_t"),
        "{types}"
    );
    assert_allowed(&machine);
}

#[test]
fn the_administrators_command_works_in_the_administrators_domains() {
    let policy = format!("{LIMITED}loopback = \"private\"\n");
    let machine = Machine::build().user("alice").policy(&policy).start();
    machine.sh("setsebool ssh_sysadm_login on");
    let _alice = machine.session("alice");
    for (user, context) in
        [("unconfined_u", UNCONFINED), ("sysadm_u", "sysadm_u:sysadm_r:sysadm_t:s0")]
    {
        let _mapped = Mapped::new(&machine, "root", user);
        let mut root = machine.session("root");
        assert_eq!(root.sh("id -Z").split("-s0:").next(), context.split("-s0:").next());
        for command in
            ["status", "status alice", "doctor alice", "explain alice", "apply", "gc", "check"]
        {
            let said = root.sh(&format!("cgsandbox {command}; echo \"exit $?\""));
            assert!(said.ends_with("exit 0"), "{user}: {command}: {said}");
        }
        root.logout();
    }
    assert_allowed(&machine);
}

/// That these tests can fail: as a program like any other the helper is denied what it does.
#[test]
fn without_its_label_the_helper_builds_no_sandbox() {
    let machine = Machine::build().user("alice").policy(LIMITED).start();
    let helper = "/usr/libexec/cgsandbox/cgsandbox-helper";
    machine.sh(&format!("chcon -t bin_t {helper}"));
    machine.ssh("alice").cmd("true").run().refused();
    let denials = new_denials(&machine);
    assert!(denials.iter().any(|it| it.contains("comm=\"cgsandbox-helpe\"")), "{denials:?}");
    machine.sh(&format!("restorecon {helper}"));
    machine.ssh("alice").cmd("true").run().ok();
}
