//! What only a whole machine of ours can show: unified cgroups, swap, root with all its rights.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Processes, eventually};

#[test]
fn every_directive_is_carried_by_unified_cgroups() {
    let policy = "[profile.default]\nstrict = true\nmemory_max = \"512M\"\nmemory_high = \"256M\"\n\
                  memory_swap_max = \"16M\"\ncpu_quota = \"1.5\"\ncpu_weight = 50\nallowed_cpus = \"0-1\"\n\
                  tasks_max = 50\nio_read_bandwidth_max = [\"/ 50M\"]\nlimits = { nofile = \"512\" }\n\
                  max_logins = 2\n";
    let host = Host::build().user("alice").policy(policy).start();
    assert!(host.hierarchies().0.iter().all(|one| one.unified), "this is not the guest");
    let _session = host.spawn_session("alice");
    host.assert_inside("alice");
    host.wait_log(&["event=session_open", "enforced=full"]);
}

/// Fills more memory than alice may have; how much of it went to swap at most.
fn swap_used_by_a_bomb(swap_max: &str) -> u64 {
    let policy =
        format!("[profile.default]\nmemory_max = \"64M\"\nmemory_swap_max = {swap_max:?}\n");
    let host = Host::build().user("alice").policy(&policy).start();
    let _session = host.spawn_session("alice");
    let peak = host.users_cgroup("alice", "memory").join("memory.swap.peak");
    host.ssh("alice").cmd("head -c 400M /dev/zero | tail >/dev/null").within(60.0).run();
    host.read(peak).unwrap().trim().parse().unwrap()
}

#[test]
fn a_swap_limit_of_nothing_holds() {
    assert_eq!(swap_used_by_a_bomb("0"), 0);
}

#[test]
fn a_swap_limit_holds() {
    let used = swap_used_by_a_bomb("32M");
    assert!((1 << 20..=32 << 20).contains(&used), "{used} bytes");
}

#[test]
fn the_daemons_protection_from_the_oom_killer_ends_at_login() {
    let host = Host::build().user("alice").sshd_through(&["choom", "-n", "-500", "--"]).start();
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh("cat /proc/self/oom_score_adj"), "0");
    // sshd protects itself even more, and gives back to sessions what it had at its start.
    let listener = host.process(session.monitor()).unwrap().parent;
    let score = host.read(format!("/proc/{listener}/oom_score_adj")).unwrap();
    assert!(score.trim().parse::<i32>().unwrap() <= -500, "{score}");
}

const LIMITED: &str = "[profile.default]\ntasks_max = 50\nmemory_max = \"64M\"\n";

#[test]
fn a_controller_that_the_container_was_not_given_is_said_to_be_missing() {
    let given = ["cpu", "pids"];
    let host =
        Host::build().user("alice").policy(LIMITED).contained(Processes::InAChild, &given).start();
    let _session = host.spawn_session("alice");
    host.assert_inside("alice");
    host.wait_log(&["event=session_open", "enforced=partial missing=memory_max"]);
    let limit = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(limit).unwrap(), "50\n");
}

#[test]
fn a_controller_that_the_container_was_not_given_is_refused_if_strict() {
    let policy = format!("{LIMITED}strict = true\n");
    let host = Host::build()
        .user("alice")
        .policy(&policy)
        .contained(Processes::InAChild, &["pids"])
        .start();
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "memory_max"]);
    host.assert_nothing_left();
}

/// Version 2 hands nothing down from a cgroup that has processes, but for the machine's root.
#[test]
fn a_container_with_processes_in_its_root_cgroup_tracks_and_says_what_is_missing() {
    let all = ["cpu", "cpuset", "io", "memory", "pids"];
    let host =
        Host::build().user("alice").policy(LIMITED).contained(Processes::InTheRoot, &all).start();
    let session = host.spawn_session("alice");
    host.assert_inside("alice");
    let line = host.wait_log(&["event=session_open", "enforced=partial"]);
    assert!(line.contains("tasks_max") && line.contains("memory_max"), "{line}");
    session.logout();
    host.assert_nothing_left();
}

#[test]
fn removing_a_user_leaves_the_cgroups_of_others_alone() {
    let host = Host::build().user("alice").policy(LIMITED).start();
    let root = format!("/sys/fs/cgroup{}", host.cgroup_root());
    host.ssh("alice").cmd("true").run().ok();
    host.sh(&format!("mkdir {root}/administrators-own"));
    host.ssh("alice").cmd("true").run().ok();
    eventually("alice's cgroup is gone", 10.0, || {
        !host.cgroups().iter().any(|it| it.display().to_string().contains("/user-"))
    });
    assert!(host.exists(format!("{root}/administrators-own")));
}
