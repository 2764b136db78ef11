//! Logging out takes away what logging in made, however the session ends.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, eventually};

const LIMITED: &str = "[profile.default]\ntasks_max = 50\n";

fn host(policy: &str) -> Host {
    Host::build().user("alice").policy(policy).start()
}

#[test]
fn the_last_logout_leaves_nothing() {
    let host = host(LIMITED);
    let session = host.spawn_session("alice");
    assert!(!host.cgroups().is_empty());
    session.logout();
    host.assert_nothing_left();
    host.wait_log(&["event=session_close", "user=alice"]);
}

#[test]
fn a_logout_leaves_the_other_session_as_it_was() {
    let host = host(LIMITED);
    let (first, mut second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    first.logout();
    host.wait_log(&["event=session_close"]);
    host.assert_inside("alice");
    assert_eq!(second.sh("test -e /proc/1 || echo hidden"), "hidden");
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
    second.logout();
    host.assert_nothing_left();
}

/// A process of alice's that outlives its session, after which the session is closed.
fn leave_behind(host: &Host, command: &str) {
    host.ssh("alice")
        .cmd(&format!("setsid nohup {command} >/dev/null 2>&1 </dev/null &"))
        .run()
        .ok();
    host.wait_log(&["event=session_close"]);
}

#[test]
fn a_process_that_stays_keeps_its_cgroup_and_its_limits() {
    let host = host(LIMITED);
    leave_behind(&host, "sleep 1000");
    let left = host.processes_of("alice");
    assert_eq!(left.len(), 1, "{left:?}");
    host.assert_in_leaf_of("alice", &left[0]);
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
}

#[test]
fn a_later_login_joins_the_process_that_stayed() {
    let host = host(LIMITED);
    leave_behind(&host, "sleep 1000");
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh("ps -C sleep -o args="), "sleep 1000");
    let left =
        host.processes_of("alice").into_iter().find(|one| one.command == "sleep 1000").unwrap();
    assert_eq!(left.mounts, host.process(session.shell()).unwrap().mounts);
}

/// On a busy machine it may not have become sleep yet when the login is over.
fn end_sleep(host: &Host) {
    let kill = ["pkill", "-x", "sleep"];
    eventually("sleep is there to be ended", 10.0, || host.as_root(kill).run().status == 0);
    eventually("sleep has ended", 10.0, || host.processes_of("alice").is_empty());
}

#[test]
fn what_stayed_is_cleared_once_it_ends() {
    let host = host(LIMITED);
    leave_behind(&host, "sleep 1000");
    end_sleep(&host);
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}

#[test]
fn the_next_login_clears_what_stayed_once_it_ended() {
    let host = host(LIMITED);
    leave_behind(&host, "sleep 1000");
    end_sleep(&host);
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
}

#[test]
fn tmux_outlives_the_login_and_is_found_again() {
    let host = host(LIMITED);
    host.ssh("alice").cmd("tmux new-session -d -s work 'sleep 1000'").run().ok();
    host.wait_log(&["event=session_close"]);
    let list = host.ssh("alice").cmd("tmux list-sessions").run();
    assert!(list.ok().starts_with("work:"), "{list:?}");
    for process in host.processes_of("alice") {
        host.assert_in_leaf_of("alice", &process);
    }
}

#[test]
fn on_logout_kill_ends_what_would_stay() {
    let host = host("[profile.default]\non_logout = \"kill\"\n");
    host.ssh("alice").cmd("setsid nohup sleep 1000 >/dev/null 2>&1 </dev/null &").run().ok();
    host.assert_nothing_left();
}

#[test]
fn on_logout_kill_spares_the_other_session() {
    let host = host("[profile.default]\non_logout = \"kill\"\n");
    let (mut first, mut second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    first.sh("setsid sleep 1001 >/dev/null 2>&1 &");
    second.sh("setsid sleep 1002 >/dev/null 2>&1 &");
    first.logout();
    eventually("the first session's process is gone", 10.0, || {
        !host.processes_of("alice").iter().any(|one| one.command == "sleep 1001")
    });
    // Its parent may not have taken note yet.
    eventually("only the other session's is left", 10.0, || {
        second.sh("ps -C sleep -o args=") == "sleep 1002"
    });
}

#[test]
fn on_logout_kill_ends_what_forks_without_end() {
    let host = host("[profile.default]\non_logout = \"kill\"\ntasks_max = 40\n");
    let command =
        "setsid bash -c 'while :; do sleep 0.05 & done' >/dev/null 2>&1 </dev/null & sleep 0.5";
    host.ssh("alice").cmd(command).run();
    host.assert_nothing_left();
}

#[test]
fn a_killed_monitor_does_not_lock_the_user_out() {
    let host = host(LIMITED);
    let session = host.spawn_session("alice");
    session.kill_monitor();
    eventually("its processes have ended", 10.0, || host.processes_of("alice").is_empty());
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
    host.wait_log(&["event=residue_removed"]);
}

/// As the kernel's OOM killer may do, where the user's memory is full of files in a tmpfs.
#[test]
fn a_connection_that_outlives_its_monitor_counts_and_its_end_is_logged() {
    let host = host("[profile.default]\nmax_logins = 1\n");
    let mut alice = host.spawn_session("alice");
    host.sh(&format!("kill -9 {}", alice.monitor()));
    assert_eq!(alice.sh("echo goes on"), "goes on");
    let second = host.ssh("alice").cmd("true").run();
    assert_ne!(second.status, 0, "one more login than max_logins");
    host.wait_log(&["event=session_denied", "user=alice", "reason=max_logins"]);
    drop(alice);
    eventually("its processes have ended", 10.0, || host.processes_of("alice").is_empty());
    host.ssh("alice").cmd("true").run().ok();
    let line =
        host.wait_log(&["event=session_close", "user=alice", "reason=\"its leader is gone\""]);
    assert!(line.contains(" cpu_usec=") && line.contains(" session="), "{line}");
    host.assert_nothing_left();
}

#[test]
fn gc_removes_what_a_killed_monitor_left() {
    let host = host(LIMITED);
    let session = host.spawn_session("alice");
    session.kill_monitor();
    eventually("its processes have ended", 10.0, || host.processes_of("alice").is_empty());
    assert!(!host.leftovers().is_empty(), "close has come all the same");
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}

#[test]
fn gc_leaves_alone_what_is_in_use() {
    let host = host(LIMITED);
    let mut session = host.spawn_session("alice");
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_inside("alice");
    assert_eq!(session.sh("echo here"), "here");
}

#[test]
fn a_monitor_killed_by_the_users_memory_bomb_leaves_nothing() {
    let host = host("[profile.default]\nmemory_max = \"48M\"\nmemory_swap_max = \"0\"\n");
    let mut session = host.spawn_session("alice");
    let monitor = session.monitor();
    // The kernel then takes the monitor first, as it might by itself.
    host.sh(&format!("echo 1000 >/proc/{monitor}/oom_score_adj"));
    session.send("tail /dev/zero");
    eventually("the monitor is gone", 60.0, || host.process(monitor).is_none());
    drop(session);
    eventually("the rest has ended", 60.0, || host.processes_of("alice").is_empty());
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
}

/// Has the next logins below another cgroup_root, which is returned.
fn move_root(host: &Host) -> String {
    let (old, new) = (host.cgroup_root(), format!("{}/elsewhere", host.cgroup_root()));
    let policy = host.read("/etc/cgsandbox/cgsandbox.toml").unwrap();
    host.write("/etc/cgsandbox/cgsandbox.toml", policy.replace(old, &new));
    new
}

#[test]
fn a_cgroup_root_that_is_moved_leaves_no_cgroup_of_the_user_at_the_old_one() {
    let host = host(LIMITED);
    let before = host.spawn_session("alice");
    let new = move_root(&host);
    let mut after = host.spawn_session("alice");
    let at = |root: &str| format!("{root}/user-{}", host.uid("alice"));
    let is_there =
        |place: &str| host.cgroups().iter().any(|it| it.to_string_lossy().contains(place));
    let old = host.cgroup_root();
    assert!(is_there(&at(old)) && is_there(&at(&new)));
    before.logout();
    eventually("the old cgroup is gone", 5.0, || !is_there(&at(old)));
    after.sh("true");
    assert!(host.cgroup_of(after.shell()).contains(&at(&new)));
    after.logout();
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}

/// Files in tmpfs count in the cgroup that their maker was in: it stays as long as they do.
#[test]
fn a_cgroup_root_that_is_moved_is_no_way_around_the_memory_limit() {
    let host = host("[profile.default]\nmemory_max = \"64M\"\nmemory_swap_max = \"0\"\n");
    host.sh("mount -t tmpfs -o mode=1777 x /srv");
    let before = host.spawn_session("alice");
    move_root(&host);
    for number in 0..3 {
        host.ssh("alice").cmd(&format!("head -c 40M /dev/zero >/srv/{number}")).run();
    }
    let used = host.sh("du -sm /srv | cut -f1").parse::<u64>().unwrap();
    assert!(used <= 64, "{used} MB are held with a limit of 64");
    before.logout();
    host.sh("umount /srv");
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}

/// It has settings of the administrator's, which would not come back with it.
#[test]
fn a_cgroup_above_all_users_that_was_there_before_stays() {
    let host = host(LIMITED);
    let pids = host.users_cgroup("alice", "pids");
    let root = pids.parent().unwrap().to_owned();
    // On v2 the cgroup above has to hand the controller down first.
    host.sh(&format!(
        "mkdir -p {0}; [ -e {0}/pids.max ] || echo +pids >{0}/../cgroup.subtree_control; \
         echo 500 >{0}/pids.max",
        root.display()
    ));
    host.spawn_session("alice").logout();
    host.wait_log(&["event=session_close", "user=alice"]);
    eventually("the user's cgroup is gone", 10.0, || {
        host.sh("cgsandbox gc");
        !host.exists(&pids)
    });
    assert_eq!(host.read(root.join("pids.max")).unwrap(), "500\n");
    // The ones that the login made are gone, where it is not the same.
    let stay: Vec<_> = host.cgroups().into_iter().filter(|it| !root.starts_with(it)).collect();
    assert!(stay.is_empty(), "{stay:?}");
    assert!(!host.exists("/run/cgsandbox/roots"));
}
