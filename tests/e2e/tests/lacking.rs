//! What the host lacks is said, and refused where the policy is strict.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use cgsandbox_rig::{Host, Processes, patience};

const LIMITED: &str = "[profile.default]\ntasks_max = 50\nmemory_max = \"64M\"\n";
const STRICT: &str = "[profile.default]\nstrict = true\ntasks_max = 50\nmemory_max = \"64M\"\n";

const HELPER: &str = "/usr/libexec/cgsandbox/cgsandbox-helper";

/// A host whose helper, when it opens, fails in each of the system calls `injected`, as strace
/// words it.
fn host_with_failing(policy: &str, injected: &str) -> Host {
    let stand_in = "/usr/libexec/cgsandbox/stand-in";
    let arguments = format!("helper={stand_in} timeout={}s", patience(3.0).as_secs());
    let host = Host::build().user("alice").policy(policy).module_arguments(&arguments).start();
    let script = format!(
        "#!/bin/sh\n[ $1 = open ] || exec {HELPER} \"$@\"\n\
         exec /usr/bin/strace -D -qq -o /dev/null -e inject={injected} {HELPER} \"$@\"\n"
    );
    host.write(stand_in, script);
    host.sh(&format!("chmod 755 {stand_in}"));
    host
}

/// As a kernel before 5.8 answers.
const NO_OWN_PROCFS: &str = "fsconfig:error=EINVAL";

#[test]
fn a_kernel_without_own_procfs_options_is_told_apart() {
    let host = host_with_failing(LIMITED, NO_OWN_PROCFS);
    host.ssh("alice").cmd("true").run().ok();
    let line = host.wait_log(&["event=session_open"]);
    assert!(line.contains("enforced=partial") && line.contains("hidepid"), "{line}");
    host.assert_nothing_left();
}

#[test]
fn a_kernel_without_own_procfs_options_is_refused_if_strict() {
    let host = host_with_failing(STRICT, NO_OWN_PROCFS);
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "hidepid"]);
    host.assert_nothing_left();
}

/// As containers and security modules answer: no mount namespace, no procfs, no mount in that place,
/// no way back out of a namespace.
const NO_NAMESPACES: [&str; 4] =
    ["unshare:error=EPERM", "fsmount:error=EPERM", "move_mount:error=EACCES", "setns:error=EPERM"];

#[test]
fn a_container_that_denies_mount_namespaces_is_told() {
    for injected in NO_NAMESPACES {
        let host = host_with_failing(LIMITED, injected);
        let mut session = host.spawn_session("alice");
        let line = host.wait_log(&["event=session_open"]);
        assert!(line.contains("enforced=partial missing=hidepid"), "{injected}: {line}");
        host.wait_log(&["event=degraded", "denies it"]);
        assert_eq!(session.sh("test -e /proc/1 && echo seen"), "seen");
        session.logout();
        host.assert_nothing_left();
    }
}

#[test]
fn a_container_that_denies_mount_namespaces_is_refused_if_strict() {
    for injected in NO_NAMESPACES {
        let host = host_with_failing(STRICT, injected);
        host.ssh("alice").cmd("true").run().refused();
        host.wait_log(&["event=session_denied", "reason=strict", "hidepid"]);
        host.assert_nothing_left();
    }
}

#[test]
fn doctor_and_explain_find_out_what_a_container_denies() {
    let host = Host::build().user("alice").policy(LIMITED).start();
    for injected in NO_NAMESPACES {
        let ask = |words: &[&str]| {
            let inject = format!("inject={injected}");
            let traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject, "cgsandbox"];
            let said = host.as_root([&traced, words].concat()).within(60.0).run();
            said.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let said = ask(&["doctor"]);
        assert!(said.contains("no user can have a private /proc"), "{injected}: {said}");
        assert!(said.contains("alice through sshd: a sandbox, but without hidepid"), "{said}");
        let said = ask(&["explain", "alice"]);
        assert!(said.contains("denies it to root"), "{injected}: {said}");
    }
    let said = host.as_root(["cgsandbox", "doctor"]).run();
    assert!(said.stdout.contains("no problems"), "{said:?}");
}

/// What is in short supply is no lack: another user may have used it up.
#[test]
fn mount_namespaces_that_are_used_up_are_an_error() {
    let host = host_with_failing(LIMITED, "unshare:error=ENOSPC:when=2+");
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "No space left"]);
    host.assert_nothing_left();
}

const PRIVATE: &str = "[profile.default]\nloopback = \"private\"\n";

/// As a kernel answers that has no bpf(2), or keeps it from root in this container.
const NO_PROGRAMS: [&str; 2] = ["bpf:error=ENOSYS", "bpf:error=EPERM"];

#[test]
fn a_kernel_without_programs_for_cgroups_is_told() {
    for injected in NO_PROGRAMS {
        let host = host_with_failing(PRIVATE, injected);
        let mut session = host.spawn_session("alice");
        let line = host.wait_log(&["event=session_open", "enforced=partial", "missing=loopback"]);
        assert!(!line.contains("address="), "{line}");
        assert!(host.sh("cgsandbox status alice").contains("alice"));
        assert_eq!(session.sh("test -e /proc/1 || echo hidden"), "hidden");
        session.logout();
        host.assert_nothing_left();
    }
}

#[test]
fn a_kernel_without_programs_for_cgroups_is_refused_if_strict() {
    for injected in NO_PROGRAMS {
        let host = host_with_failing(&format!("{PRIVATE}strict = true\n"), injected);
        host.ssh("alice").cmd("true").run().refused();
        host.wait_log(&["event=session_denied", "loopback"]);
        host.assert_nothing_left();
    }
}

/// The programs are in the kernel by then, or their maps: what fails is no feature that it lacks.
#[test]
fn a_localhost_that_fails_half_way_is_not_taken_for_missing() {
    // The first map is there, some programs are on the cgroup.
    for (error, when) in [("EPERM", 2), ("EINVAL", 2), ("EPERM", 50), ("EINVAL", 50)] {
        let host = host_with_failing(PRIVATE, &format!("bpf:error={error}:when={when}"));
        host.ssh("alice").cmd("true").run().refused();
        host.wait_log(&["event=session_denied", "user=alice"]);
        host.assert_nothing_left();
    }
}

#[test]
fn memory_that_the_kernel_lacks_for_programs_is_no_missing_feature() {
    for when in [1, 5] {
        let host = host_with_failing(PRIVATE, &format!("bpf:error=ENOMEM:when={when}"));
        host.ssh("alice").cmd("true").run().refused();
        host.wait_log(&["event=session_denied", "user=alice", "BPF programs"]);
        host.assert_nothing_left();
    }
}

/// Others have their localhost, so the kernel has what it takes.
#[test]
fn an_address_that_cannot_be_added_is_not_taken_for_missing() {
    let stand_in = "/usr/libexec/cgsandbox/stand-in";
    let arguments = format!("helper={stand_in} timeout={}s", patience(3.0).as_secs());
    let host = Host::build()
        .user("alice")
        .user("bob")
        .policy(PRIVATE)
        .module_arguments(&arguments)
        .start();
    let install = |with: &str| {
        host.write(stand_in, format!("#!/bin/sh\nexec {with} {HELPER} \"$@\"\n"));
        host.sh(&format!("chmod 755 {stand_in}"));
    };
    install("");
    let bob = host.spawn_session("bob");
    // rtnetlink wants CAP_NET_ADMIN.
    install("/usr/bin/setpriv --bounding-set -net_admin");
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "user=alice", "add to lo"]);
    install("");
    bob.logout();
    // What could not be added could not be removed either.
    host.sh("cgsandbox gc");
    host.assert_nothing_left();
}

/// A session of before has the machine's localhost all the while.
#[test]
fn a_localhost_that_is_half_made_is_taken_back() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let ask = format!("exec 3<>/dev/tcp/127.0.0.1/{} && echo reached", {
        service.local_addr().unwrap().port()
    });
    // The maps, some programs in the kernel, some of them on the cgroup.
    for failing in [2, 20, 35, 50, 60] {
        let host = host_with_failing(LIMITED, &format!("bpf:error=EBUSY:when={failing}"));
        let mut before = host.spawn_session("alice");
        assert_eq!(before.sh(&ask), "reached");
        host.set_policy(PRIVATE);
        host.ssh("alice").cmd("true").run().refused();
        host.wait_log(&["event=session_denied", "Device or resource busy"]);
        assert_eq!(before.sh(&ask), "reached", "failing at {failing}");
        before.logout();
        host.assert_nothing_left();
    }
}

fn make_cgroups_read_only(host: &Host) {
    for hierarchy in &host.hierarchies().0 {
        host.sh(&format!("mount -o remount,bind,ro {}", hierarchy.mount.display()));
    }
}

#[test]
fn read_only_cgroups_are_told_and_leave_nothing() {
    let host = Host::build().user("alice").policy(LIMITED).start();
    make_cgroups_read_only(&host);
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh("test -e /proc/1 || echo hidden"), "hidden");
    let line = host.wait_log(&["event=session_open", "enforced=partial"]);
    for directive in ["tasks_max", "memory_max", "cgroup"] {
        assert!(line.contains(directive), "{line}");
    }
    session.logout();
    host.assert_nothing_left();
}

#[test]
fn read_only_cgroups_are_refused_if_strict() {
    let host = Host::build().user("alice").policy(STRICT).start();
    make_cgroups_read_only(&host);
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "user=alice"]);
    assert_eq!(host.ssh("root").cmd("echo in").run().ok(), "in");
    host.assert_nothing_left();
}

#[test]
fn in_a_container_that_manages_its_cgroups_logins_are_sandboxed_as_anywhere() {
    let all = ["cpu", "cpuset", "io", "memory", "pids"];
    let host =
        Host::build().user("alice").policy(STRICT).contained(Processes::InAChild, &all).start();
    let session = host.spawn_session("alice");
    host.assert_inside("alice");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
    host.wait_log(&["event=session_open", "enforced=full"]);
    session.logout();
    host.assert_nothing_left();
}
