//! What a user tries against its own sandbox and against others.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::Host;

fn host() -> Host {
    Host::build().user("alice").user("bob").policy("[profile.default]\ntasks_max = 50\n").start()
}

#[test]
fn no_cgroup_file_is_writable() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    assert_eq!(alice.sh("find /sys/fs/cgroup -writable 2>/dev/null | head"), "");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    let said = alice.sh(&format!("echo max >{}", limit.display()));
    assert!(said.contains("denied") || said.contains("No such file"), "{said}");
    assert_eq!(host.read(limit).unwrap(), "50\n");
}

#[test]
fn no_process_can_be_moved_out() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    alice.sh("find /sys/fs/cgroup -name cgroup.procs -o -name tasks | while read f; do echo $$ >$f; done");
    host.assert_inside("alice");
}

#[test]
fn no_process_can_be_moved_out_from_a_user_namespace() {
    let host = host();
    let mut alice = host.spawn_session("alice");
    alice.sh(
        "unshare -UrmC sh -c 'find /sys/fs/cgroup -name cgroup.procs | while read f; do echo $$ >$f; done'",
    );
    alice.send("unshare -UrmC sleep 1000");
    cgsandbox_rig::eventually("sleep runs", 10.0, || {
        host.processes_of("alice").iter().any(|one| one.command == "sleep 1000")
    });
    let processes = host.processes_of("alice");
    let asleep = processes.iter().find(|one| one.command == "sleep 1000").unwrap();
    host.assert_in_leaf_of("alice", asleep);
}

#[test]
fn another_users_process_cannot_be_signalled() {
    let host = host();
    let (mut bob, mut alice) = (host.spawn_session("bob"), host.spawn_session("alice"));
    let pid = bob.sh("sleep 1000 & echo $!");
    let said = alice.sh(&format!("kill -9 {pid}"));
    assert!(said.contains("not permitted"), "{said}");
    assert_eq!(bob.sh(&format!("ps -o args= -p {pid}")), "sleep 1000");
}

/// SECURITY.md lists it as visible: hidepid is no pid namespace.
#[test]
fn that_a_pid_exists_stays_visible() {
    let host = host();
    let (mut bob, mut alice) = (host.spawn_session("bob"), host.spawn_session("alice"));
    let pid = bob.sh("sleep 1000 & echo $!");
    let (there, absent) = (alice.sh(&format!("kill -0 {pid}")), alice.sh("kill -0 4000000"));
    assert!(
        there.contains("not permitted") && absent.contains("No such process"),
        "{there} {absent}"
    );
}

/// What system calls tell of a process that /proc does not show. The kernel asks for no right of the
/// caller's: Linux 6.13 and later for the first (pidfd_open(2), `PIDFD_GET_INFO`), all for the rest.
const ASK_THE_KERNEL: &str = "
import fcntl, os, struct, sys, time
pid = int(sys.argv[1])
info = bytearray(64)
struct.pack_into('Q', info, 0, 3)
try:
    fcntl.ioctl(os.pidfd_open(pid), 0xC040FF0B, info)
    print('uid', struct.unpack_from('QQ4I', info)[5])
except OSError as error:
    print('no uid', error.errno)
print('session', os.getsid(pid))
print('time', time.clock_gettime(~pid << 3 | 2))
";

/// SECURITY.md lists it as visible.
#[test]
fn what_system_calls_tell_of_a_pid_stays_visible() {
    let host = host();
    let (mut bob, mut alice) = (host.spawn_session("bob"), host.spawn_session("alice"));
    host.write("/tmp/ask.py", ASK_THE_KERNEL);
    let pid = bob.sh("echo $$");
    let told = alice.sh(&format!("python3 /tmp/ask.py {pid}"));
    let release = host.sh("uname -r");
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let uid = match version >= (6, 13) {
        true => format!("uid {}", host.uid("bob")),
        // There is no such request.
        false => "no uid ".to_owned(),
    };
    assert!(told.contains(&uid), "{told}");
    assert!(told.contains("session ") && told.contains("time "), "{told}");
    let absent = alice.sh("python3 /tmp/ask.py 4000000");
    assert!(absent.contains("ProcessLookupError"), "{absent}");
}

#[test]
fn two_names_of_one_uid_share_one_sandbox() {
    let uid = 1_999_999;
    let host = Host::build().user_with_uid("alice", uid).user_with_uid("alias", uid).start();
    let (first, second) = (host.spawn_session("alice"), host.spawn_session("alias"));
    let processes = host.assert_inside("alice");
    assert!(processes.iter().any(|one| one.pid == second.shell()));
    host.wait_log(&["event=session_open", "user=alice", &format!("uid={uid}")]);
    second.logout();
    first.logout();
    host.assert_nothing_left();
}

#[test]
fn a_name_of_the_longest_kind_logs_in() {
    // useradd(8) allows 32 characters; NSS has no such limit, sshd's is well above.
    let name = "a".repeat(200);
    let host = Host::build().user(&name).start();
    let _session = host.spawn_session(&name);
    host.assert_inside(&name);
    host.wait_log(&["event=session_open", &format!("user={name}")]);
}
