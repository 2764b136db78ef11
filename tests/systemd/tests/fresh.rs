//! A machine that has never had the packages: the first ten minutes, and the way back.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use cgsandbox_systemd_tests::{Machine, PACKAGES, eventually};

/// All of the machine that packages could change. Files of the distribution's own books, what
/// changes with time, and directories that systemd makes for itself are left out.
fn state(machine: &Machine) -> BTreeSet<String> {
    let text = machine.sh(r"find /etc /root -xdev -type f -exec sha256sum {} +
        find /etc /usr /var/lib -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt \
            -o -path /var/lib/guest -o -path /var/lib/systemd/timers -o -name '*.db*' \) -prune \
            -o -printf '%p %y %m %u %g %l\n'
        find /run \( -path /run/systemd/journal -o -path /run/log -o -path /run/udev \
            -o -path /run/systemd/units -o -path /run/systemd/propagate \
            -o -path '/run/systemd/ask-password*' -o -path /run/systemd/system.control \) -prune \
            -o -printf '%p %y %m %u %g\n'
        findmnt -rn -o TARGET,FSTYPE,OPTIONS
        find /sys/fs/cgroup -type d
        systemctl list-unit-files --no-legend
        systemctl list-timers --all --no-legend | sed 's/.* //'
        getent passwd; getent group");
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn installed_enabled_disabled_and_purged_it_leaves_the_machine_as_it_was() {
    let machine = Machine::build().user("alice").without_packages().start();
    let known = machine.run(&["dpkg-query", "-W", "cgsandbox"]);
    assert_ne!(known.status, 0, "this machine has had the package: {}", known.stdout);
    let place = || machine.ssh("alice").cmd(Machine::WHERE).run().ok().to_owned();
    let outside = place();
    machine.wait_until_gone("alice");
    let before = state(&machine);

    println!("{}", machine.sh(&format!("apt-get install -y {PACKAGES}/*.deb 2>&1")));
    let mounts = |place: &str| place.lines().last().unwrap_or_default().to_owned();
    assert_eq!(mounts(&place()), mounts(&outside), "what is installed is not yet switched on");
    println!("{}", machine.sh("cgsandbox enable"));
    machine.assert_inside("alice", &place());
    println!("{}", machine.sh("cgsandbox doctor alice"));
    println!("{}", machine.sh("cgsandbox disable"));
    assert_eq!(mounts(&place()), mounts(&outside));
    machine.wait_until_gone("alice");
    println!("{}", machine.sh("apt-get purge -y libpam-cgsandbox cgsandbox 2>&1"));

    let difference = || {
        let after = state(&machine);
        let gone = before.difference(&after).map(|line| format!("- {line}"));
        let come = after.difference(&before).map(|line| format!("+ {line}"));
        gone.chain(come).collect::<Vec<_>>().join("\n")
    };
    eventually(&format!("all is as before, but for:\n{}", difference()), 5.0, || {
        difference().is_empty()
    });
}
