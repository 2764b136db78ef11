//! What users can fill with files in memory, and whom that hurts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cgsandbox_rig::Host;

const FREE: &str = "df --output=avail -B1 /run | tail -n 1";

/// Debian's screen makes /run/screen for everybody to write to.
#[test]
fn a_full_run_refuses_nobody() {
    let policy = "[profile.default]\ntasks_max = 50\nhidepid = \"invisible\"\n";
    let host = Host::build().user("alice").user("bob").policy(policy).start();
    host.sh("mkdir -m 1777 /run/screen");
    host.sh(
        "mount -o remount,size=$(( $(df --output=used -B1 /run | tail -n 1) + (4 << 20) )) /run",
    );
    let mut alice = host.spawn_session("alice");
    // With one file to the last block, with others to the last byte of it.
    alice.sh("cat /dev/zero >/run/screen/all; for i in $(seq 50); do echo >/run/screen/$i; done");
    assert_eq!(host.sh(FREE).trim(), "0");
    for user in ["bob", "alice", "bob"] {
        let place = host.ssh(user).cmd("cat /proc/self/cgroup").run();
        let log = host.log().join("\n");
        assert_eq!(place.status, 0, "{}{log}", place.stderr);
        assert!(place.stdout.contains(&format!("user-{}", host.uid(user))), "{}", place.stdout);
    }
    host.wait_log(&["event=session_open", "user=bob", "enforced=full"]);
    alice.sh("rm /run/screen/*");
    alice.logout();
    // The size of /run is the test's own doing.
    let left = host.leftovers().into_iter().filter(|one| !one.starts_with("mount / /run "));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The state has a file system of its own, which nobody else writes to.
#[test]
fn the_state_is_on_a_tmpfs_of_its_own() {
    let policy = "[profile.default]\ntasks_max = 50\n";
    let host = Host::build().user("alice").policy(policy).start();
    host.ssh("alice").cmd("true").run().ok();
    let mounts = host.mount_table();
    // One that the machine itself has is below the host's own /run, and before this one.
    let own = mounts.iter().rfind(|line| line.contains(" /run/cgsandbox ")).expect("it is a mount");
    for word in ["nosuid", "nodev", "noexec", "tmpfs cgsandbox"] {
        assert!(own.contains(word), "{own:?}");
    }
    assert!(!own.contains("shared:") && !own.contains("master:"), "{own:?}");
    assert_eq!(host.sh("stat -c '%U %a' /run/cgsandbox").trim(), "root 700");
}

/// State that an older version has left in the directory itself is not covered.
#[test]
fn what_is_there_already_stays_in_sight() {
    let policy = "[profile.default]\ntasks_max = 50\n";
    let host = Host::build().user("alice").policy(policy).start();
    host.sh("mkdir -m 700 /run/cgsandbox && echo 7 >/run/cgsandbox/lost");
    host.ssh("alice").cmd("true").run().ok();
    assert!(host.log().iter().any(|line| line.contains("lost=2")), "{:#?}", host.log());
}

/// Each login may leave a little behind that nobody counts, and all of them together no more.
#[test]
fn small_files_left_in_tmpfs_count_in_the_end() {
    let policy = "[profile.default]\nmemory_max = \"64M\"\nmemory_swap_max = \"0\"\n";
    let host = Host::build().user("alice").policy(policy).start();
    host.sh("mount -t tmpfs -o mode=1777 x /srv");
    let each = 200 << 10;
    for number in 0..8 {
        host.ssh("alice").cmd(&format!("head -c {each} /dev/zero >/srv/{number}")).run().ok();
    }
    let cgroup = host.users_cgroup("alice", "memory");
    let stat = host.read(cgroup.join("memory.stat")).unwrap();
    let field = |key: &str| -> Option<u64> {
        stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    };
    let counted = field("total_shmem ").or_else(|| field("shmem ")).unwrap();
    // One that is not worth keeping a cgroup for, and the kernel's own delay in counting.
    assert!(counted >= 6 * each, "{counted} of {} bytes are counted", 8 * each);
    host.sh("umount /srv");
    host.as_root(["cgsandbox", "gc"]).run().ok();
    host.assert_nothing_left();
}
