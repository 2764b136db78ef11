//! Ten thousand sessions leave no trace, neither on the host nor in the processes that open them.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, eventually, patience};

/// Users side by side: moving a process between cgroups waits for the kernel most of the time.
const USERS: usize = 20;

/// Sessions of each user. On an emulated machine only a few: the number is shown natively.
fn cycles() -> usize {
    (10_000.0 / patience(1.0).as_secs_f64().powi(2)) as usize / USERS
}

#[test]
fn ten_thousand_sessions_leave_nothing() {
    let names: Vec<String> = (0..USERS).map(|number| format!("user{number}")).collect();
    let host = names.iter().fold(Host::build(), |host, name| host.user(name));
    // Twenty at once are more than a small machine can serve in the usual second.
    let arguments = format!("timeout={}s", patience(60.0).as_secs());
    let policy = "[profile.default]\ntasks_max = 50\n";
    let host = host.module_arguments(&arguments).policy(policy).start();
    let mut drivers: Vec<_> = names
        .iter()
        .map(|name| {
            let cycles = ["open_session", "close_session"].into_iter().cycle().take(cycles() * 2);
            host.as_root(["pamtester", "sshd", name].into_iter().chain(cycles)).start()
        })
        .collect();

    let driver = &mut drivers[0];
    let is_driver = |command: &str| command.starts_with("pamtester sshd user0 ");
    let pid = host.processes().into_iter().find(|one| is_driver(&one.command)).unwrap().pid;
    let open_files =
        || host.sh(&format!("ls /proc/{pid}/fd | wc -l")).parse::<usize>().unwrap_or_default();
    let closed = |output: String| output.matches("closed").count();
    eventually("some sessions are closed", 60.0, || closed(driver.stdout()) > 0);
    let at_first = open_files();
    eventually("half of the sessions are closed", 300.0, || {
        let runs = driver.is_running();
        let done = closed(driver.stdout()) >= cycles() / 2;
        assert!(runs || done, "{}", driver.stderr());
        done
    });
    // What differs may be the open session's: its socket, its namespaces. The least of several
    // looks is between two sessions.
    let now = (0..20).map(|_| open_files()).min().unwrap();
    assert!(now <= at_first + 6, "{at_first} files open at first, {now} now");
    for driver in drivers {
        let output = driver.finish(patience(300.0));
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert_eq!(closed(output.stdout), cycles());
    }
    host.assert_nothing_left();
}
