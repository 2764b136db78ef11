//! A slow machine or a slow directory keeps nobody out: the login waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::thread;

use cgsandbox_rig::{Host, Running, eventually};

/// See slow-directory.c.
const SLOW_DIRECTORY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/slow-directory.so"));

/// Puts the slow directory into the place of one that nobody has.
fn ask_slow_directory(host: &Host, ms: u32) {
    let directories = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    let name = "libnss_hesiod.so.2";
    let hesiod = directories.iter().map(|directory| format!("{directory}/{name}"));
    let hesiod = hesiod.into_iter().find(|path| Path::new(path).exists()).expect("glibc has it");
    host.write("/etc/slow-directory.so", SLOW_DIRECTORY);
    host.sh(&format!("mount --bind /etc/slow-directory.so {hesiod}"));
    host.write("/etc/slow-directory", ms.to_string());
    host.write("/etc/nsswitch.conf", "passwd: files\ngroup: files hesiod\n");
}

/// As the module's line is by default: nothing here gives it more time.
fn host(policy: &str) -> Host {
    Host::build().user("alice").user("bob").module_arguments("").policy(policy).start()
}

#[test]
fn a_slow_directory_is_waited_for_and_the_log_says_how_long() {
    let host = host("exempt = [\"@admins\"]\n[profile.default]\ntasks_max = 50\n");
    ask_slow_directory(&host, 1500);
    host.as_root(["pamtester", "sshd", "alice", "open_session", "close_session"])
        .within(60.0)
        .run()
        .ok();
    let line = host.wait_log(&["event=session_open", "user=alice", "enforced=full"]);
    let waited = line.split(" waited=").nth(1).unwrap_or_else(|| panic!("{line}"));
    assert!(waited.split(' ').next().unwrap().parse::<f64>().unwrap() >= 1.5, "{line}");
}

#[test]
fn a_quick_login_is_not_said_to_have_waited() {
    let host = host("[profile.default]\n");
    // One of several is quick on any machine.
    for _ in 0..10 {
        host.as_root(["pamtester", "sshd", "alice", "open_session", "close_session"]).run().ok();
    }
    let log = host.log();
    assert!(log.iter().any(|line| line.contains("session_open") && !line.contains("waited=")));
}

/// Programs that run all the time, outside of every sandbox.
struct Crowd(Vec<Running>);

impl Crowd {
    fn of(host: &Host, on_each: usize) -> Self {
        let all = thread::available_parallelism().unwrap().get() * on_each;
        let spin = || host.as_root(["sh", "-c", "while :; do :; done"]).start();
        let crowd = Crowd((0..all).map(|_| spin()).collect());
        let load = || host.read("/proc/loadavg").unwrap();
        let runnable = || load().split([' ', '/']).nth(3).unwrap().parse::<usize>().unwrap();
        eventually("they run", 30.0, || runnable() >= all);
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|program| drop(program.kill()));
    }
}

/// Logins of two users, four at a time, with 20 programs that run on each CPU: 200 where all of the
/// faults are tested, which takes minutes, and 40 otherwise.
#[test]
fn a_crowded_machine_refuses_nobody() {
    let host = host("[profile.default]\ntasks_max = 500\nmemory_max = \"1G\"\n");
    let crowd = Crowd::of(&host, 20);
    let each = if std::env::var_os("CGSANDBOX_FAULTS").is_some() { 50 } else { 10 };
    let login = |user| {
        let pam = ["pamtester", "sshd", user, "open_session", "close_session"];
        for _ in 0..each {
            host.as_root(pam).within(60.0).run().ok();
        }
    };
    thread::scope(|scope| {
        for user in ["alice", "bob", "alice", "bob"] {
            scope.spawn(move || login(user));
        }
        host.ssh("alice").cmd("true").within(120.0).run().ok();
    });
    drop(crowd);
    let log = host.log();
    let opened = log.iter().filter(|line| line.contains("event=session_open")).count();
    assert_eq!(opened, 4 * each + 1);
    assert!(!log.iter().any(|line| line.contains("event=session_denied")));
    host.assert_nothing_left();
}

/// In a user namespace: mounts that double with each step, then loops that copy and drop them all. All
/// mounts of the machine wait in between.
const MOUNTS: &str = r#"
set -e
mkdir -p ~/mounts
mount -t tmpfs tmpfs ~/mounts
cd ~/mounts
for step in $(seq STEPS); do
    mkdir $step
    mount --rbind . $step
done
echo "$(wc -l </proc/self/mountinfo) mounts"
for loop in $(seq LOOPS); do
    while :; do unshare -m true; done &
done
wait
"#;

/// 65,536 mounts and 30 loops where all of the faults are tested, and a quarter of them otherwise.
#[test]
fn one_who_makes_all_mounts_of_the_machine_wait_refuses_nobody() {
    let (steps, loops) = match std::env::var_os("CGSANDBOX_FAULTS") {
        Some(_) => ("16", "30"),
        None => ("14", "8"),
    };
    let host = host("[profile.default]\ntasks_max = 500\nmemory_max = \"2G\"\n");
    let mut alice = host.spawn_session("alice");
    host.write("/etc/mounts.sh", MOUNTS.replace("STEPS", steps).replace("LOOPS", loops));
    alice.sh("unshare -U -r -m sh /etc/mounts.sh >~/said 2>&1 & true");
    eventually("the loops run", 60.0, || alice.sh("cat ~/said").contains(" mounts"));
    println!("{}", alice.sh("cat ~/said"));
    for _ in 0..6 {
        let login = ["pamtester", "sshd", "bob", "open_session", "close_session"];
        host.as_root(login).within(60.0).run().ok();
    }
    let log = host.log();
    let slow = log.iter().filter(|line| line.contains("user=bob") && line.contains(" waited="));
    println!("{} of 6 logins waited for more than a second", slow.count());
    assert!(!log.iter().any(|line| line.contains("event=session_denied")), "{log:#?}");
    alice.sh("kill $(jobs -p)");
    host.sh("while pkill -KILL -u alice -x 'sh|unshare'; do sleep 0.2; done");
    alice.logout();
    host.as_root(["cgsandbox", "gc"]).run();
    host.assert_nothing_left();
}
