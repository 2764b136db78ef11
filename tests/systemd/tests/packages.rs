//! The packages, installed, upgraded and removed while users are logged in.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, Ordering};

use cgsandbox_systemd_tests::{LINE, Machine, PACKAGES};

const LIMITED: &str = "[profile.default]\ntasks_max = 99\n";
const REMOVE: &str = "dpkg --remove libpam-cgsandbox cgsandbox 2>&1";

fn machine() -> Machine {
    Machine::build().user("alice").user("bob").policy(LIMITED).start()
}

/// The same packages under an older version, from a directory that is printed.
fn older(machine: &Machine) -> String {
    machine.sh(&format!(
        "rm -rf /tmp/older && mkdir /tmp/older && cd /tmp/older
        for package in {PACKAGES}/*.deb; do
            dpkg-deb --raw-extract $package tree
            sed -i 's/^Version: .*/Version: 0.0.9-1/; s/(= [^)]*)/(= 0.0.9-1)/' tree/DEBIAN/control
            dpkg-deb -Znone --build tree $(basename $package) >/dev/null && rm -rf tree
        done; pwd"
    ))
}

/// Installs what is in `directory` while `bob` logs in again and again; every login must be
/// inside.
fn install_under_logins(machine: &Machine, directory: &str) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let logins = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let output = machine.ssh("bob").cmd(Machine::WHERE).run();
                machine.assert_inside("bob", output.ok());
                count += 1;
            }
            count
        });
        let output = machine.run(&["sh", "-c", &format!("dpkg --install {directory}/*.deb 2>&1")]);
        is_over.store(true, Ordering::Relaxed);
        assert!(logins.join().unwrap() > 0);
        println!("{}", output.ok());
    });
}

#[test]
fn an_upgrade_and_a_new_installation_of_the_same_while_users_are_logged_in() {
    let machine = machine();
    let older = older(&machine);
    machine.sh(&format!("dpkg --install {older}/*.deb 2>&1"));
    assert_eq!(machine.sh("dpkg-query -W -f '${Version}' cgsandbox"), "0.0.9-1");
    let session = machine.session("alice");
    install_under_logins(&machine, PACKAGES);
    assert_ne!(machine.sh("dpkg-query -W -f '${Version}' cgsandbox"), "0.0.9-1");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let later = machine.session("alice");
    install_under_logins(&machine, PACKAGES);
    // Opened by the old helper, closed by the new one.
    for session in [session, later] {
        session.logout();
    }
    machine.wait_log(&["event=session_close", "user=alice"]);
    machine.assert_nothing_left();
}

#[test]
fn a_configuration_of_ones_own_survives_an_upgrade_and_a_removal() {
    let machine = machine();
    let older = older(&machine);
    machine.sh(&format!("dpkg --install {older}/*.deb 2>&1"));
    let own = machine.read("/etc/cgsandbox/cgsandbox.toml").unwrap();
    machine.write("/etc/cgsandbox/cgsandbox.toml.d/50-own.toml", "# mine\n");
    machine.sh(&format!("dpkg --install {PACKAGES}/*.deb 2>&1"));
    assert_eq!(machine.read("/etc/cgsandbox/cgsandbox.toml").unwrap(), own);
    machine.sh(REMOVE);
    assert_eq!(machine.read("/etc/cgsandbox/cgsandbox.toml").unwrap(), own);
    machine.sh("dpkg --purge cgsandbox libpam-cgsandbox 2>&1");
    // dpkg takes what it has brought; what is left is nobody's but the administrator's.
    assert_eq!(
        machine.sh("find /etc/cgsandbox -type f"),
        "/etc/cgsandbox/cgsandbox.toml.d/50-own.toml"
    );
}

#[test]
fn a_broken_configuration_is_told_of_and_locks_nobody_out() {
    let machine = machine();
    machine.ssh("alice").cmd("true").run().ok();
    machine.write("/etc/cgsandbox/cgsandbox.toml", "version = 1\n[profile.default\n");
    let output = machine.run(&["sh", "-c", &format!("dpkg --install {PACKAGES}/*.deb 2>&1")]);
    let said = output.ok();
    assert!(said.contains("/etc/cgsandbox/cgsandbox.toml:2"), "{said}");
    assert!(said.contains("cgsandbox check"), "{said}");
    let place = machine.ssh("alice").cmd(Machine::WHERE).run();
    machine.assert_inside("alice", place.ok());
    assert_eq!(machine.ssh("root").cmd("id -u").run().ok(), "0");
}

#[test]
fn removed_while_a_user_is_logged_in() {
    let machine = machine();
    let mut session = machine.session("alice");
    let before = machine.read("/etc/pam.d/sshd").unwrap();
    assert!(before.contains(LINE));
    println!("{}", machine.sh(REMOVE));
    // The lines are gone with the module, so that nothing complains of it.
    let lines = machine.sh("grep -rl pam_cgsandbox /etc/pam.d || true");
    assert_eq!(lines, "");
    // Who is inside stays inside, without limits that nobody could lift any more.
    assert_ne!(machine.tasks_max("alice"), Some(99));
    machine.assert_inside("alice", &session.sh(Machine::WHERE));
    let place = machine.ssh("bob").cmd(Machine::WHERE).run();
    assert!(!machine.is_inside("bob", place.ok()), "{}", place.stdout);
    assert_eq!(machine.ssh("root").cmd("id -u").run().ok(), "0");
    session.logout();
    machine.wait_until_gone("alice");
    // Installed again, it finds what nobody was there to take back.
    machine.sh(&format!("dpkg --install {PACKAGES}/*.deb 2>&1"));
    machine.gc();
    machine.assert_nothing_left();
}

/// Nothing of ours is left that limits anybody, and nothing that only we could take away.
#[test]
fn purged_while_a_user_is_logged_in() {
    let machine = machine();
    let mut session = machine.session("alice");
    assert_eq!(machine.tasks_max("alice"), Some(99));
    let told = machine.sh("dpkg --purge cgsandbox libpam-cgsandbox 2>&1");
    assert!(
        told.contains(&format!("these uids have open sessions: {}", machine.uid("alice"))),
        "{told}"
    );
    assert!(machine.runtime_drop_ins("alice").is_empty());
    assert_ne!(machine.tasks_max("alice"), Some(99));
    assert_eq!(machine.sh("ls -A /run/cgsandbox 2>/dev/null || true"), "");
    assert_eq!(session.sh("echo works"), "works");
    session.logout();
    machine.wait_until_gone("alice");
    let mut later = machine.session("alice");
    assert_ne!(machine.tasks_max("alice"), Some(99));
    assert_eq!(later.sh("ls -d /proc/1"), "/proc/1");
    later.logout();
    assert_eq!(machine.sh("find /run /etc -name '*cgsandbox*' 2>/dev/null || true"), "");
    machine.sh(&format!("dpkg --install {PACKAGES}/*.deb 2>&1"));
}

#[test]
fn removed_while_the_profile_is_enabled() {
    let machine = Machine::build().user("alice").policy(LIMITED);
    let machine = machine.without_service("sshd").without_service("systemd-user").start();
    let policy = "services = [\"sshd\", \"systemd-user\"]\n[profile.default]\ntasks_max = 99\n";
    machine.set_policy_of(&["sshd", "systemd-user"], policy.split_once('\n').unwrap().1);
    let common = machine.read("/etc/pam.d/common-session").unwrap();
    machine.sh("pam-auth-update --enable cgsandbox");
    let enabled = machine.read("/etc/pam.d/common-session").unwrap();
    let (logind, ours) = (enabled.find("pam_systemd.so"), enabled.find("pam_cgsandbox.so"));
    assert!(ours.is_some() && logind < ours, "{enabled}");
    let place = machine.ssh("alice").cmd(Machine::WHERE).run();
    machine.assert_inside("alice", place.ok());
    let managed = machine
        .session("alice")
        .sh("systemd-run --user -q --wait --pipe readlink /proc/self/ns/mnt");
    assert!(place.stdout.contains(&managed), "the user's manager is elsewhere: {managed}");
    println!("{}", machine.sh("cgsandbox doctor alice || true"));
    machine.sh(REMOVE);
    assert_eq!(machine.read("/etc/pam.d/common-session").unwrap(), common);
    machine.ssh("alice").cmd("true").run().ok();
}

/// What every package says that it has is there, root's, and nobody else's to write.
#[test]
fn files_are_roots_and_units_are_sound() {
    let machine = machine();
    let owned = machine
        .sh("dpkg -L cgsandbox libpam-cgsandbox | sort -u | xargs stat -Lc '%U:%G %a %n' |
            grep -v '^root:root [0-7]*[0145][0145] ' || true");
    assert_eq!(owned, "");
    // Of the configuration, tests have made their own.
    assert_eq!(
        machine.sh("dpkg --verify cgsandbox libpam-cgsandbox | grep -v ' /etc/cgsandbox' || true"),
        ""
    );
    let told = machine
        .sh("systemd-analyze verify --man=no cgsandbox-gc.service cgsandbox-gc.timer 2>&1 || true");
    assert!(!told.contains("cgsandbox"), "{told}");
    println!(
        "{}",
        machine.sh("systemd-analyze security --no-pager cgsandbox-gc.service | tail -n 1")
    );
}

/// The timer's service finishes what a kill -9 has left, with no more rights than it has.
#[test]
fn the_timers_service_collects() {
    let policy = format!("{LIMITED}loopback = \"private\"\n");
    let machine = Machine::build().user("alice").policy(&policy).without_logind().start();
    machine.session("alice").kill_monitor();
    let left = machine.leftovers();
    assert!(!left.is_empty());
    let addresses = || machine.sh("ip -6 address show dev lo");
    assert!(addresses().contains("fd63:6773:6278:"), "{}", addresses());
    machine.sh("systemctl start cgsandbox-gc.service");
    machine.assert_nothing_left();
    assert!(!addresses().contains("fd63:6773:6278:"), "{}", addresses());
    machine.wait_log(&["event=residue_removed", "uid="]);
}

/// After a boot it may be the first: what it leaves in its own view of /run is in the machine's.
#[test]
fn the_timers_service_makes_the_state_for_all() {
    let machine = machine();
    machine.sh("umount --recursive --lazy /run/cgsandbox; rm -rf --one-file-system /run/cgsandbox
        systemd-tmpfiles --create cgsandbox.conf
        systemctl start cgsandbox-gc.service");
    let mounts = machine.sh("grep -F ' /run/cgsandbox ' /proc/1/mountinfo");
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    assert!(mounts.contains(" - tmpfs cgsandbox "), "{mounts}");
    assert_eq!(machine.sh("readlink /run/cgsandbox/on_error"), "deny");
    let place = machine.ssh("alice").cmd(Machine::WHERE).run();
    machine.assert_inside("alice", place.ok());
    machine.assert_nothing_left();
}
