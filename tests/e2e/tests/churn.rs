//! Logins come and go while helpers and leaders are killed at random: every login that is left alone
//! works, and afterwards nothing is left.
//!
//! `CGSANDBOX_FAULTS=all` makes 10,000 of them in a row and 200 at once; without it there are a few
//! hundred in a row, and 60 at once.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use cgsandbox_rig::{Host, Running, eventually, patience};

/// Side by side: a login waits for the kernel most of the time.
const SIDE_BY_SIDE: usize = 20;

/// With fewer, a run says little.
const ENOUGH_KILLED: usize = 5;

/// What kills: now and then one in eight helpers, or one in eight of those that are logged in.
const KILLER: &str = r#"
kills=0
rm -f /run/stop
while [ ! -e /run/stop ]; do
    sleep 0.0$((RANDOM % 10))$((RANDOM % 10))
    case $((RANDOM % 4)) in 0) name=pamtester;; *) name=cgsandbox-helpe;; esac
    pids=($(pgrep -x $name)) || continue
    for pid in ${pids[@]}; do
        [ $((RANDOM % 8)) = 0 ] && kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    done
done
echo $kills"#;

fn all() -> bool {
    std::env::var("CGSANDBOX_FAULTS").is_ok_and(|which| which == "all")
}

/// `full`, or `bounded` where not all is asked for; on an emulated machine fewer.
fn count(full: usize, bounded: usize) -> usize {
    let slowness = patience(1.0).as_secs().max(1) as usize;
    (if all() { full } else { bounded } / slowness).max(5)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}")).collect()
}

fn host(users: &[String]) -> Host {
    let host = users.iter().fold(Host::build(), |host, name| host.user(name));
    let unified = std::env::var_os("CGSANDBOX_RIG_CGROUPS").is_none_or(|version| version != "v1");
    let localhost = if unified { "loopback = \"private\"\n" } else { "" };
    // So many at once are more than a small machine can serve in the usual time.
    let arguments = format!("timeout={}s", patience(60.0).as_secs());
    let policy = format!("[profile.default]\ntasks_max = 2000\nmemory_max = \"2G\"\n{localhost}");
    host.module_arguments(&arguments).policy(&policy).start()
}

/// Sessions of `user` one after another, each in a process of its own; how many could be opened
/// and closed.
fn sessions(host: &Host, user: &str, count: usize) -> Running {
    let script = format!(
        "done=0; for ((i = 0; i < {count}; i++)); do\n\
         pamtester sshd {user} open_session close_session >/dev/null 2>&1 && done=$((done + 1))\n\
         done; echo $done"
    );
    host.as_root(["bash", "-c", &script]).start()
}

/// Starts sessions in many places under fire, until enough was killed for the test to mean anything: a
/// fast machine is through with them before many are met. Then nothing is left, and everybody can log
/// in again.
fn survive(host: &Host, users: &[String], start: impl Fn() -> Vec<Running>, limit: f64) {
    let (mut done, mut killed) = (0, 0);
    let deadline = Instant::now() + patience(limit);
    while killed < ENOUGH_KILLED || done == 0 {
        assert!(Instant::now() < deadline, "{killed} killed, {done} done");
        let killer = host.as_root(["bash", "-c", KILLER]).start();
        let running = start();
        let total = running.len();
        for one in running {
            let output = one.finish(deadline.saturating_duration_since(Instant::now()));
            done += output.ok().parse::<usize>().unwrap();
        }
        host.write("/run/stop", "");
        killed += killer.finish(patience(10.0)).ok().parse::<usize>().unwrap();
        println!("churn: {done} sessions in {total} places, {killed} processes killed");
    }
    // Helpers of leaders that were killed may still be at work, or wait for a lock.
    eventually("gc leaves nothing", 60.0, || {
        host.as_root(["cgsandbox", "gc"]).run();
        host.leftovers().is_empty()
    });
    for user in users.iter().take(10) {
        host.as_root(["pamtester", "sshd", user, "open_session", "close_session"]).run().ok();
    }
    host.assert_nothing_left();
}

#[test]
fn sessions_in_a_row_with_random_kills_leave_nothing() {
    let users = names(SIDE_BY_SIDE);
    let host = host(&users);
    let each = count(10_000, 300) / SIDE_BY_SIDE;
    let start = || users.iter().map(|user| sessions(&host, user, each.max(1))).collect();
    survive(&host, &users, start, if all() { 3000.0 } else { 120.0 });
}

#[test]
fn first_and_last_logins_of_one_user_at_once_with_random_kills_leave_nothing() {
    let users = names(1);
    let host = host(&users);
    for _ in 0..if all() { 5 } else { 1 } {
        let start = || (0..count(200, 60)).map(|_| sessions(&host, &users[0], 1)).collect();
        survive(&host, &users, start, 300.0);
    }
}

#[test]
fn first_and_last_logins_of_many_users_at_once_with_random_kills_leave_nothing() {
    let users = names(count(200, 60));
    let host = host(&users);
    let start = || users.iter().map(|user| sessions(&host, user, 2)).collect();
    survive(&host, &users, start, 300.0);
    // Nobody has waited for a lock of one who was killed.
    let start = Instant::now();
    host.as_root(["pamtester", "sshd", &users[0], "open_session", "close_session"]).run().ok();
    assert!(start.elapsed() < patience(5.0) + Duration::from_secs(1), "{:?}", start.elapsed());
}
