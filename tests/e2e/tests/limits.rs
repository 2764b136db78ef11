//! Each directive reaches the kernel, and what runs wild is contained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carried;

use std::time::{Duration, Instant};

use carried::Expected;
use cgsandbox_rig::{Host, eventually};

fn host(profile: &str) -> Host {
    Host::build()
        .user("alice")
        .user("bob")
        .policy(&format!("[profile.default]\n{profile}\n"))
        .start()
}

#[test]
fn memory_max_is_set() {
    Expected {
        directive: "memory_max",
        controllers: ["memory"; 2],
        unified: &[("memory.max", "67108864")],
        legacy: &[("memory.limit_in_bytes", "67108864")],
    }
    .check(&host("memory_max = \"64M\""));
}

#[test]
fn memory_high_is_set_or_said_to_be_missing() {
    Expected {
        directive: "memory_high",
        controllers: ["memory"; 2],
        unified: &[("memory.high", "67108864")],
        legacy: &[],
    }
    .check(&host("memory_high = \"64M\""));
}

#[test]
fn memory_swap_max_is_set_or_said_to_be_missing() {
    Expected {
        directive: "memory_swap_max",
        controllers: ["memory"; 2],
        unified: &[("memory.swap.max", "1048576")],
        legacy: &[("memory.memsw.limit_in_bytes", "68157440")],
    }
    .check(&host("memory_max = \"64M\"\nmemory_swap_max = \"1M\""));
}

#[test]
fn cpu_quota_is_set() {
    Expected {
        directive: "cpu_quota",
        controllers: ["cpu"; 2],
        unified: &[("cpu.max", "150000 100000")],
        legacy: &[("cpu.cfs_quota_us", "150000")],
    }
    .check(&host("cpu_quota = \"150%\""));
}

#[test]
fn cpu_weight_is_set() {
    Expected {
        directive: "cpu_weight",
        controllers: ["cpu"; 2],
        unified: &[("cpu.weight", "200")],
        legacy: &[("cpu.shares", "2048")],
    }
    .check(&host("cpu_weight = 200"));
}

#[test]
fn allowed_cpus_are_set() {
    Expected {
        directive: "allowed_cpus",
        controllers: ["cpuset"; 2],
        unified: &[("cpuset.cpus", "0")],
        legacy: &[("cpuset.cpus", "0")],
    }
    .check(&host("allowed_cpus = \"0\""));
}

#[test]
fn allowed_cpus_hold() {
    let host = host("allowed_cpus = \"0\"");
    let allowed = host.ssh("alice").cmd("grep Cpus_allowed_list /proc/self/status").run();
    assert_eq!(allowed.ok().split_whitespace().last(), Some("0"));
}

#[test]
fn tasks_max_is_set() {
    Expected {
        directive: "tasks_max",
        controllers: ["pids"; 2],
        unified: &[("pids.max", "77")],
        legacy: &[("pids.max", "77")],
    }
    .check(&host("tasks_max = 77"));
}

#[test]
fn io_weight_is_set_or_said_to_be_missing() {
    Expected {
        directive: "io_weight",
        controllers: ["io", "blkio"],
        unified: &[("io.weight", "default 200"), ("io.bfq.weight", "default 200")],
        legacy: &[("blkio.weight", "1000"), ("blkio.bfq.weight", "1000")],
    }
    .check(&host("io_weight = 200"));
}

/// The kernel's words for 50, of 100 that are everybody's.
#[test]
fn session_cpu_weight_is_set() {
    Expected {
        directive: "session_cpu_weight",
        controllers: ["cpu"; 2],
        unified: &[("cpu.weight", "50")],
        legacy: &[("cpu.shares", "512")],
    }
    .check_of_session(&host("cpu_weight = 200\nsession_cpu_weight = 50"));
}

#[test]
fn session_io_weight_is_set_or_said_to_be_missing() {
    Expected {
        directive: "session_io_weight",
        controllers: ["io", "blkio"],
        unified: &[("io.weight", "default 50"), ("io.bfq.weight", "default 50")],
        legacy: &[("blkio.weight", "250"), ("blkio.bfq.weight", "250")],
    }
    .check_of_session(&host("session_io_weight = 50"));
}

/// The disk of `/`, as the kernel's limits want it: the whole one.
fn root_disk() -> String {
    let device = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = device.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let numbers = line.split(' ').nth(2).unwrap().to_owned();
    let partition = format!("/sys/dev/block/{numbers}/partition");
    match std::path::Path::new(&partition).exists() {
        true => std::fs::read_to_string(format!("/sys/dev/block/{numbers}/../dev"))
            .unwrap()
            .trim()
            .to_owned(),
        false => numbers,
    }
}

#[test]
fn io_limits_by_path_are_set() {
    let host = host(
        "io_read_bandwidth_max = [\"/ 50M\"]\nio_write_bandwidth_max = [\"/ 40M\"]\n\
         io_read_iops_max = [\"/ 3000\"]\nio_write_iops_max = [\"/ 2000\"]",
    );
    let _session = host.spawn_session("alice");
    let disk = root_disk();
    if let Some(true) = host.hierarchies().carrying("io").map(|one| one.unified) {
        let limits = host.read(host.users_cgroup("alice", "io").join("io.max")).unwrap();
        assert_eq!(limits, format!("{disk} rbps=52428800 wbps=41943040 riops=3000 wiops=2000\n"));
        return;
    }
    for (file, value) in [
        ("read_bps", 52_428_800),
        ("write_bps", 41_943_040),
        ("read_iops", 3000),
        ("write_iops", 2000),
    ] {
        let file =
            host.users_cgroup("alice", "blkio").join(format!("blkio.throttle.{file}_device"));
        assert_eq!(host.read(&file).unwrap(), format!("{disk} {value}\n"), "{}", file.display());
    }
}

#[test]
fn a_path_without_a_disk_is_said_to_be_missing() {
    let host = host("io_read_bandwidth_max = [\"/proc 50M\"]");
    let _session = host.spawn_session("alice");
    let line = host.wait_log(&["event=session_open"]);
    assert!(line.contains("enforced=partial missing=io_read_bandwidth_max"), "{line}");
}

#[test]
fn rlimits_are_set() {
    let host = host("limits = { nofile = \"512\", core = \"0\" }");
    let limits = host.ssh("alice").cmd("ulimit -Hn; ulimit -Sn; ulimit -c").run();
    assert_eq!(limits.ok(), "512\n512\n0");
}

#[test]
fn a_login_above_max_logins_is_refused_until_another_ends() {
    let host = host("max_logins = 2");
    let (first, _second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    let third = host.ssh("alice").cmd("true").run();
    assert!(third.refused().to_lowercase().contains("login"), "{third:?}");
    host.wait_log(&["event=session_denied", "user=alice"]);
    host.ssh("bob").cmd("true").run().ok();
    first.logout();
    host.ssh("alice").cmd("true").run().ok();
}

#[test]
fn strict_refuses_what_the_host_lacks() {
    let host = host("strict = true\nio_read_bandwidth_max = [\"/proc 50M\"]");
    host.ssh("alice").cmd("true").run().refused();
    host.wait_log(&["event=session_denied", "io_read_bandwidth_max"]);
    host.assert_nothing_left();
}

#[test]
fn a_directive_that_is_gone_from_the_policy_is_gone_with_the_next_login() {
    let host = host("tasks_max = 77");
    let _first = host.spawn_session("alice");
    let file = host.users_cgroup("alice", "pids").join("pids.max");
    assert_eq!(host.read(&file).unwrap(), "77\n");
    host.set_policy("[profile.default]\n");
    let _second = host.spawn_session("alice");
    assert_eq!(host.read(&file).unwrap(), "max\n");
}

#[test]
fn a_fork_bomb_is_contained() {
    let host = host("tasks_max = 40");
    let mut alice = host.spawn_session("alice");
    alice.send("bomb() { bomb | bomb & }; bomb");
    let tasks = host.users_cgroup("alice", "pids").join("pids.current");
    let running = || host.read(&tasks).unwrap().trim().parse::<u32>().unwrap();
    eventually("the bomb has reached its limit", 20.0, || running() >= 28);
    host.ssh("bob").cmd("for i in 1 2 3 4 5; do sh -c true; done").run().ok();
    assert!(running() <= 40);
}

#[test]
fn who_has_filled_one_login_gets_in_by_another_and_ends_what_runs() {
    let host = host("tasks_max = 40");
    let mut alice = host.spawn_session("alice");
    // With sshd's two processes and the shell that makes 30, all that one login may use.
    alice.send("for i in $(seq 27); do sleep 1000 & done");
    let tasks = host.users_cgroup("alice", "pids").join("pids.current");
    let running = || host.read(&tasks).unwrap().trim().parse::<u32>().unwrap();
    eventually("the login is full", 20.0, || running() == 30);
    host.ssh("alice").cmd("pkill -KILL sleep").run().ok();
    eventually("they have ended", 10.0, || running() < 10);
}

#[test]
fn who_has_no_task_left_is_told_what_uses_them() {
    // Even then: else a user could get rid of the sandbox by using up the tasks.
    let profile = "[profile.default]\ntasks_max = 20\nsession_tasks_max = \"infinity\"\n";
    let policy = format!("on_error = \"allow\"\n{profile}");
    let host = Host::build().user("alice").user("bob").policy(&policy).start();
    let mut alice = host.spawn_session("alice");
    alice.send("for i in $(seq 17); do sleep 1000 & done");
    let tasks = host.users_cgroup("alice", "pids").join("pids.current");
    let running = || host.read(&tasks).unwrap().trim().parse::<u32>().unwrap();
    eventually("no task is left", 20.0, || running() == 20);
    let explained = host.as_root(["cgsandbox", "explain", "alice"]).run();
    assert_eq!(explained.status, 1, "{explained:?}");
    assert!(explained.stdout.contains("the login is refused"), "{explained:?}");
    assert!(explained.stdout.contains("20 tasks are running, and tasks_max is 20"));
    let refused = host.ssh("alice").cmd("true").run();
    assert_ne!(refused.status, 0);
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(told.contains("of your 20 processes are running; end some: "), "{told}");
    assert!(told.contains(" sleep"), "{told}");
    host.wait_log(&["event=session_denied", "user=alice", "reason=tasks_max", "tasks_max=20"]);
    host.ssh("bob").cmd("true").run().ok();
    host.sh("pkill -KILL -u alice sleep");
    eventually("they have ended", 10.0, || running() < 10);
    drop(alice);
    host.ssh("alice").cmd("true").run().ok();
    host.assert_nothing_left();
}

#[test]
fn a_memory_bomb_is_contained() {
    for profile in ["memory_max = \"64M\"\nmemory_swap_max = \"0\"", "memory_max = \"64M\""] {
        let host = host(profile);
        let bomb = host.ssh("alice").cmd("head -c 1G /dev/zero | tail >/dev/null; echo $?").start();
        host.ssh("bob").cmd("true").run().ok();
        let output = bomb.finish(cgsandbox_rig::patience(60.0));
        assert_ne!(output.stdout.trim(), "0", "{profile}: the bomb lived");
        host.ssh("bob").cmd("true").run().ok();
        host.ssh("alice").cmd("true").run().ok();
    }
}

#[test]
fn a_cpu_hog_is_contained() {
    let host = host("cpu_quota = \"20%\"");
    let mut alice = host.spawn_session("alice");
    for _ in 0..4 {
        alice.send("while :; do :; done &");
    }
    std::thread::sleep(Duration::from_millis(500));
    let (before, start) = (cpu_time(&host), Instant::now());
    host.ssh("bob").cmd("true").run().ok();
    std::thread::sleep(Duration::from_secs(3).saturating_sub(start.elapsed()));
    let used = cpu_time(&host) - before;
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    assert!((0.05..0.30).contains(&share), "used {share} of a processor");
}

#[test]
fn logins_of_one_user_share_a_processor_by_their_weights() {
    let profile = |weight: u32| format!("allowed_cpus = \"0\"\nsession_cpu_weight = {weight}\n");
    let host = host(&profile(10));
    let mut light = host.spawn_session("alice");
    host.set_policy(&format!("[profile.default]\n{}", profile(1000)));
    let mut heavy = host.spawn_session("alice");
    let loops = [&mut light, &mut heavy].map(|it| it.sh("while :; do :; done & echo $!"));
    let used = || {
        loops.each_ref().map(|pid| {
            let stat = host.read(format!("/proc/{pid}/stat")).unwrap();
            // utime of proc(5), in ticks: the eleventh field behind the name.
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(11).unwrap().parse::<u64>().unwrap()
        })
    };
    let before = used();
    eventually("both have run", 60.0, || {
        let now = used();
        now[0] > before[0] && now[1] >= before[1] + 100
    });
    let now = used();
    let (light, heavy) = (now[0] - before[0], now[1] - before[1]);
    assert!(heavy > 10 * light, "{heavy} ticks to {light}");
}

/// What alice's sandbox has used: any hierarchy of version 2 tells, and v1's cpuacct.
fn cpu_time(host: &Host) -> Duration {
    let sandbox =
        host.cgroups().into_iter().filter(|it| it.ends_with(format!("user-{}", host.uid("alice"))));
    let used = |cgroup: std::path::PathBuf| {
        let stat = host.read(cgroup.join("cpu.stat")).unwrap_or_default();
        let usec = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        let nanoseconds = || host.read(cgroup.join("cpuacct.usage"))?.trim().parse().ok();
        usec.map(Duration::from_micros).or_else(|| nanoseconds().map(Duration::from_nanos))
    };
    sandbox.filter_map(used).next().expect("no cgroup tells the time used")
}

#[test]
fn files_in_tmpfs_count_after_logout() {
    let host = host("memory_max = \"64M\"\nmemory_swap_max = \"0\"");
    host.sh("mount -t tmpfs -o mode=1777 x /srv");
    for number in 0..4 {
        host.ssh("alice").cmd(&format!("head -c 24M /dev/zero >/srv/{number}")).run();
    }
    let used = host.sh("du -sm /srv | cut -f1").parse::<u64>().unwrap();
    assert!(used <= 64, "{used} MB are held with a limit of 64");
    host.sh("umount /srv");
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}
