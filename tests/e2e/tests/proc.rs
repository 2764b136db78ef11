//! A user sees no other user's process, and what it does to its mounts stays with it.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Propagation, Session, eventually};

/// Bob's process; nothing else on the host has this number.
const SECRET: &str = "987654321";

fn host() -> Host {
    Host::build().user("alice").user("bob").start()
}

/// Bob with a process of a telling name, and alice.
fn both(host: &Host) -> (Session<'_>, Session<'_>, i32) {
    let mut bob = host.spawn_session("bob");
    let pid = bob.sh(&format!("sleep {SECRET} & echo $!"));
    (bob, host.spawn_session("alice"), pid.parse().unwrap())
}

/// What `command` shows of any process that carries the secret, each argument list on a line.
/// The search itself does not carry it: `grep` gets it from a file.
fn search_for_secret(host: &Host, alice: &mut Session<'_>, command: &str) -> String {
    host.write("/tmp/secret", SECRET);
    alice.sh(&format!("{{ {command}\n}} 2>/dev/null | tr '\\0' ' ' | grep -a -F -f /tmp/secret"))
}

#[test]
fn other_users_processes_are_not_listed() {
    let host = host();
    let (_bob, mut alice, pid) = both(&host);
    let owners = alice.sh("ps -e -o user= | sort -u");
    assert_eq!(owners, "alice");
    assert_eq!(alice.sh(&format!("test -e /proc/{pid} || echo hidden")), "hidden");
    assert_eq!(alice.sh("test -e /proc/1 || echo hidden"), "hidden");
    assert_eq!(search_for_secret(&host, &mut alice, "cat /proc/[0-9]*/cmdline"), "");
}

#[test]
fn the_search_for_the_secret_finds_it_where_it_is_not_hidden() {
    let policy = "[profile.default]\nhidepid = \"off\"\n";
    let host = Host::build().user("alice").user("bob").policy(policy).start();
    let (_bob, mut alice, _) = both(&host);
    let found = search_for_secret(&host, &mut alice, "cat /proc/[0-9]*/cmdline");
    assert!(found.contains(SECRET), "{found}");
}

#[test]
fn own_processes_are_listed_those_of_other_sessions_too() {
    let host = host();
    let (mut first, mut second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    let pid = first.sh("sleep 1000 & echo $!");
    assert_eq!(second.sh(&format!("ps -o args= -p {pid}")), "sleep 1000");
}

/// cgsandbox.toml(5) says so at hidepid: the kernel has no way around it.
#[test]
fn a_process_of_ones_own_that_may_not_be_traced_is_hidden() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    let pid = alice.sh("eval $(ssh-agent) >/dev/null; echo $SSH_AGENT_PID");
    assert_eq!(alice.sh(&format!("ps -o comm= -p {pid}; ps -o comm= -p $PPID")), "");
    // Reachable all the same.
    let said = alice.sh(&format!("ssh-add -l; kill {pid} && echo ended"));
    assert!(said.contains("no identities") && said.ends_with("ended"), "{said}");
}

#[test]
fn noaccess_shows_that_a_process_exists_and_nothing_of_it() {
    let policy = "[profile.default]\nhidepid = \"noaccess\"\n";
    let host = Host::build().user("alice").user("bob").policy(policy).start();
    let (_bob, mut alice, pid) = both(&host);
    assert_eq!(alice.sh(&format!("test -d /proc/{pid} && echo there")), "there");
    let refused = alice.sh(&format!("cat /proc/{pid}/cmdline"));
    assert!(refused.contains("Operation not permitted"), "{refused}");
}

#[test]
fn root_on_the_host_sees_everything_as_before() {
    let host = host();
    let before = host.read("/proc/1/mountinfo").unwrap();
    let (_bob, _alice, _) = both(&host);
    assert!(host.sh("ps -e -o args=").contains(SECRET));
    let procfs = |table: &str| {
        table
            .lines()
            .filter(|line| line.contains(" - proc "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(procfs(&host.read("/proc/1/mountinfo").unwrap()), procfs(&before));
}

#[test]
fn the_user_cannot_unmount_proc() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    assert_eq!(
        alice
            .sh("umount /proc >/dev/null || umount -l /proc >/dev/null || echo refused")
            .lines()
            .last(),
        Some("refused")
    );
    assert_eq!(search_for_secret(&host, &mut alice, "cat /proc/[0-9]*/cmdline"), "");
}

#[test]
fn the_user_cannot_mount_over_proc() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    for command in [
        "mount -t proc proc /proc",
        "mount --bind / /proc",
        "mount -t tmpfs none /proc",
        "mount -o remount,hidepid=0 /proc",
    ] {
        let said = alice.sh(&format!("{command} >/dev/null 2>&1 || echo refused"));
        assert_eq!(said, "refused", "{command}");
    }
}

#[test]
fn a_user_namespace_shows_no_more() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    let show = "cat /proc/[0-9]*/cmdline";
    for inside in [
        show.to_owned(),
        format!("umount /proc; {show}"),
        format!("umount -l /proc; {show}"),
        format!("umount -R -l /proc; umount -l /proc; {show}"),
        format!("mount -o remount,hidepid=0 /proc; {show}"),
        format!("mount -t proc proc /proc; {show}"),
        "mkdir -p /tmp/p; mount -t proc proc /tmp/p; cat /tmp/p/[0-9]*/cmdline".to_owned(),
        "mkdir -p /tmp/r; mount --bind / /tmp/r; cat /tmp/r/proc/[0-9]*/cmdline".to_owned(),
        "mkdir -p /tmp/r; mount --rbind / /tmp/r; umount -l /tmp/r/proc; cat /tmp/r/proc/[0-9]*/cmdline".to_owned(),
    ] {
        for flags in ["-Urm", "-Urmp --fork", "-Urmpi --fork --mount-proc"] {
            let command = format!("unshare {flags} sh -c '{inside}'");
            assert_eq!(search_for_secret(&host, &mut alice, &command), "", "{command}");
        }
    }
}

#[test]
fn proc_of_the_host_is_not_to_be_found_through_another_process() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    let command =
        "for root in /proc/[0-9]*/root /proc/[0-9]*/cwd; do cat $root/proc/[0-9]*/cmdline; done";
    assert_eq!(search_for_secret(&host, &mut alice, command), "");
}

#[test]
fn the_state_directory_shows_nothing_inside() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    for path in ["user", "lock", "last-good", "on_error"] {
        assert!(host.exists(format!("/run/cgsandbox/{path}")), "{path} has moved; mend this test");
        assert_eq!(alice.sh(&format!("test -e /run/cgsandbox/{path} || echo hidden")), "hidden");
    }
    // Root has the right to look, and there is nothing: it is not a matter of mode bits.
    let shell = alice.shell().to_string();
    let listing = host.sh(&format!("nsenter -t {shell} -m ls /run/cgsandbox"));
    assert!(!listing.contains("user") && !listing.contains("lock"), "{listing}");
}

#[test]
fn other_users_cgroups_are_not_shown_inside() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    let seen = alice.sh("find /sys/fs/cgroup -name 'user-*'");
    assert!(seen.contains(&format!("user-{}", host.uid("alice"))), "{seen}");
    assert!(!seen.contains(&format!("user-{}", host.uid("bob"))), "{seen}");
}

/// A container runtime asks for them at each level, on its way from the top to the user's own.
/// As for rootless runc, which allows no mount on the path to its cgroup.
#[test]
fn other_users_cgroups_are_shown_where_the_profile_says_so() {
    let shows = "[profile.default]\nhide_cgroups = false\n";
    let host = Host::build().user("alice").user("bob").policy(shows).start();
    let bob = host.spawn_session("bob");
    let mut alice = host.spawn_session("alice");
    let others = host.users_cgroup("bob", "memory");
    let others = format!("test -d {} && echo shown || echo hidden", others.display());
    assert_eq!(alice.sh(&others), "shown");
    assert_eq!(alice.sh("test -e /proc/1 || echo hidden"), "hidden");
    // Both ways while the user is logged in.
    for (policy, seen) in
        [("[profile.default]\n", "hidden"), (shows, "shown"), ("[profile.default]\n", "hidden")]
    {
        host.set_policy(policy);
        let said = host.sh("cgsandbox apply");
        assert!(said.contains("full"), "{said}");
        assert_eq!(alice.sh(&others), seen, "{policy}");
        let own = host.users_cgroup("alice", "memory");
        assert!(alice.sh(&format!("ls {}", own.display())).contains("session-"));
        assert_eq!(alice.sh("ls /run/cgsandbox"), "inside-a-sandbox");
    }
    let mut later = host.spawn_session("alice");
    assert_eq!(later.sh(&others), "hidden");
    later.logout();
    alice.logout();
    bob.logout();
    host.assert_nothing_left();
}

#[test]
fn the_controllers_above_the_own_cgroup_are_shown_inside() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    let own = format!("user-{}", host.uid("alice"));
    for hierarchy in &host.hierarchies().0 {
        let root = hierarchy.mount.join(host.cgroup_root().trim_start_matches('/'));
        if !host.cgroups().contains(&root) {
            continue;
        }
        let shown = alice.sh(&format!("echo $(ls {})", root.display()));
        if !hierarchy.unified {
            assert_eq!(shown, own);
            continue;
        }
        assert_eq!(shown, format!("cgroup.controllers cgroup.subtree_control {own}"));
        for file in ["cgroup.controllers", "cgroup.subtree_control"] {
            let path = root.join(file);
            let there = host.read(&path).unwrap();
            assert_eq!(alice.sh(&format!("cat {}", path.display())), there.trim());
            let refused = alice.sh(&format!("test -w {} || echo refused", path.display()));
            assert_eq!(refused, "refused");
        }
    }
}

#[test]
fn what_the_host_mounts_arrives_in_open_sessions() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    host.sh("mkdir /home/disk && mount -t tmpfs disk /home/disk && echo hello >/home/disk/file");
    assert_eq!(alice.sh("cat /home/disk/file"), "hello");
    host.sh("umount /home/disk");
    assert_eq!(alice.sh("test -e /home/disk/file || echo gone"), "gone");
}

fn assert_mounts_inside_stay_inside(propagation: Propagation) {
    let host = Host::build().user("alice").propagation(propagation).start();
    let alice = host.spawn_session("alice");
    let before = host.mount_table();
    let enter = format!("nsenter -t {} -m", alice.shell());
    host.sh(&format!("{enter} mount -t tmpfs inside /home && {enter} mount -t tmpfs inside /mnt"));
    host.sh(&format!("{enter} umount -l /tmp"));
    assert_eq!(host.mount_table(), before);
    host.sh(&format!("{enter} umount /home && {enter} umount /mnt"));
    alice.logout();
    host.assert_nothing_left();
}

#[test]
fn what_is_mounted_inside_does_not_reach_a_shared_host() {
    assert_mounts_inside_stay_inside(Propagation::Shared);
}

#[test]
fn what_is_mounted_inside_does_not_reach_a_private_host() {
    assert_mounts_inside_stay_inside(Propagation::Private);
}

#[test]
fn processes_are_hidden_on_a_private_host_too() {
    let host = Host::build().user("alice").user("bob").propagation(Propagation::Private).start();
    let (_bob, mut alice, _) = both(&host);
    assert_eq!(alice.sh("ps -e -o user= | sort -u"), "alice");
}

#[test]
fn another_procfs_of_the_host_is_covered_too() {
    let host = host();
    host.sh("mkdir /home/jail && mount -t proc proc /home/jail");
    let (_bob, mut alice, _) = both(&host);
    assert_eq!(search_for_secret(&host, &mut alice, "cat /home/jail/[0-9]*/cmdline"), "");
}

/// As lxcfs does it for a container's own numbers, and as binfmt_misc is mounted.
#[test]
fn what_the_host_has_mounted_below_proc_is_there_inside() {
    for propagation in [Propagation::Shared, Propagation::Private] {
        let host = Host::build().user("alice").user("bob").propagation(propagation).start();
        host.sh(
            "echo 'MemTotal: 4711 kB' >/tmp/meminfo && mount --bind /tmp/meminfo /proc/meminfo",
        );
        host.sh("mount -t tmpfs below /proc/fs && mkdir /proc/fs/deeper && touch /proc/fs/first");
        host.sh("mount -t tmpfs deeper /proc/fs/deeper && touch /proc/fs/deeper/second");
        host.sh("mount --bind /dev/null /proc/cpuinfo");
        let (_bob, mut alice, _) = both(&host);
        assert_eq!(alice.sh("cat /proc/meminfo"), "MemTotal: 4711 kB");
        assert_eq!(alice.sh("find /proc/fs | sort | tail -n 1"), "/proc/fs/first");
        assert_eq!(alice.sh("ls /proc/fs/deeper"), "second");
        assert_eq!(alice.sh("wc -c </proc/cpuinfo"), "0");
        assert_eq!(alice.sh("ps -e -o user= | sort -u"), "alice");
        assert_eq!(alice.sh("umount /proc/meminfo 2>/dev/null || echo refused"), "refused");
        host.sh("umount /proc/meminfo /proc/fs/deeper /proc/fs /proc/cpuinfo");
    }
}

#[test]
fn what_of_a_process_is_mounted_below_proc_is_not_carried_inside() {
    let host = host();
    // One of bob's, under the name of something harmless; and all of them.
    let (_bob, pid) = {
        let mut bob = host.spawn_session("bob");
        let pid = bob.sh(&format!("sleep {SECRET} & echo $!"));
        (bob, pid)
    };
    host.sh(&format!("mount --bind /proc/{pid} /proc/fs && mount -t proc proc /proc/bus"));
    assert!(host.sh("tr '\\0' ' ' </proc/fs/cmdline").contains(SECRET));
    let mut alice = host.spawn_session("alice");
    let search = "cat /proc/fs/cmdline /proc/bus/[0-9]*/cmdline";
    assert_eq!(search_for_secret(&host, &mut alice, search), "");
    assert_eq!(alice.sh("ls /proc/bus/1 2>/dev/null || echo hidden"), "hidden");
}

#[test]
fn a_changed_policy_reaches_proc_with_the_next_login() {
    let host = host();
    let (_bob, mut alice, _) = both(&host);
    host.set_policy("[profile.default]\nhidepid = \"off\"\n");
    let _second = host.spawn_session("alice");
    eventually("proc is open", 5.0, || alice.sh("test -e /proc/1 && echo open") == "open");
}

/// What is mounted where no process is would stay in use when the host has unmounted it.
#[test]
fn the_namespace_that_keeps_the_others_holds_nothing_of_the_hosts() {
    let host = Host::build().user("alice").propagation(Propagation::Private).start();
    let _session = host.spawn_session("alice");
    let uid = host.uid("alice").to_string();
    let names = host.inside(move || {
        let store = std::fs::File::open("/run/cgsandbox/store").unwrap();
        // A thread that shares its working directory could not.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
        nix::sched::setns(store, nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let mut names: Vec<String> = std::fs::read_dir("/")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert!(std::path::Path::new("/user").join(uid).join("ns/mnt").exists());
        names
    });
    for foreign in ["proc", "sys", "home", "etc", "run"] {
        assert!(!names.iter().any(|name| name == foreign), "{names:?}");
    }
    assert!(names.iter().any(|name| name == "lock"), "{names:?}");
}
