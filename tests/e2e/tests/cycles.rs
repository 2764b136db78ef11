//! Ten thousand sessions leave no trace, neither on the host nor in the process that opens them.

use cgsandbox_rig::{Host, eventually, patience};

/// On an emulated machine fewer, in the measure in which it is slower.
fn cycles() -> usize {
    (10_000.0 / patience(1.0).as_secs_f64()) as usize
}

#[test]
fn ten_thousand_sessions_leave_nothing() {
    let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 50\n").start();
    let mut argv = vec!["pamtester", "sshd", "alice"];
    argv.extend(["open_session", "close_session"].into_iter().cycle().take(cycles() * 2));
    let mut driver = host.as_root(argv).start();
    let process = || host.processes().into_iter().find(|one| one.command.starts_with("pamtester"));
    let closed = |count: usize| move |output: String| output.matches("closed").count() >= count;

    eventually("the first session is closed", 20.0, || closed(1)(driver.stdout()));
    let pid = process().map(|one| one.pid).unwrap_or_default();
    let open_files =
        || host.sh(&format!("ls /proc/{pid}/fd | wc -l")).parse::<usize>().unwrap_or_default();
    let at_first = open_files();
    eventually("half of the sessions are closed", 300.0, || {
        assert!(driver.is_running(), "{}", driver.stderr());
        closed(cycles() / 2)(driver.stdout())
    });
    // One more may be the pair of the session that is being opened, and its namespaces.
    assert!(open_files() <= at_first + 4, "{at_first} files open at first, {} now", open_files());
    let output = driver.finish(patience(300.0));
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(output.stdout.matches("closed").count(), cycles());
    host.assert_nothing_left();
}
