//! What users do with systemd, logind and the bus works inside, and what it starts is inside.
#![allow(clippy::unwrap_used, clippy::panic)]

use cgsandbox_systemd_tests::{Machine, Session, eventually};

const LIMITED: &str = "[profile.default]\nmemory_max = \"400M\"\ntasks_max = 199\n";

fn machine() -> Machine {
    Machine::build().user("alice").user("bob").policy(LIMITED).start()
}

#[test]
fn systemctl_user() {
    let machine = machine();
    let mut session = machine.session("alice");
    let state = session.sh("systemctl --user is-system-running");
    assert_eq!(state, "running");
    machine.write_at_home(
        "alice",
        ".config/systemd/user/own.service",
        "[Service]\nExecStart=sleep 1000\n",
    );
    assert_eq!(
        session.sh("systemctl --user daemon-reload && systemctl --user start own && echo ok"),
        "ok"
    );
    let pid = session.sh("systemctl --user show --value -p MainPID own");
    let place = machine.sh(&format!("cat /proc/{pid}/cgroup; readlink /proc/{pid}/ns/mnt"));
    machine.assert_inside("alice", &place);
    assert_eq!(session.sh("systemctl --user is-active own"), "active");
    // A user may stop and see its own unit, although the manager is root's child.
    assert!(session.sh("systemctl --user status own --no-pager").contains("sleep 1000"));
    assert_eq!(session.sh("systemctl --user stop own && echo ok"), "ok");
    session.logout();
    machine.assert_nothing_left();
}

#[test]
fn systemd_run_user_is_inside() {
    let machine = machine();
    let mut session = machine.session("alice");
    let place =
        session.sh(&format!("systemd-run --user -q --wait --pipe sh -c '{}'", Machine::WHERE));
    machine.assert_inside("alice", &place);
    let place = session.sh(&format!("systemd-run --user -q --scope sh -c '{}'", Machine::WHERE));
    machine.assert_inside("alice", &place);
    // Limits of one's own, below those of the slice.
    let limit = session.sh("systemd-run --user -q --wait --pipe -p TasksMax=11 \
        sh -c 'cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/pids.max'");
    if machine.is_unified() {
        assert_eq!(limit, "11");
    }
    assert_eq!(session.sh("ls -d /proc/1 2>&1 >/dev/null | wc -l"), "1");
    let hidden = session.sh("systemd-run --user -q --wait --pipe ls -d /proc/1 2>&1");
    assert!(hidden.contains("No such file"), "{hidden}");
}

#[test]
fn journalctl_user() {
    let machine = machine();
    let mut session = machine.session("alice");
    session.sh("systemd-run --user -q --wait --unit=spoken echo words-of-alice");
    eventually("the journal has it", 8.0, || {
        session.sh("journalctl --user --no-pager -u spoken").contains("words-of-alice")
    });
    assert!(session.sh("journalctl --no-pager -n 5").contains("alice"));
}

#[test]
fn loginctl() {
    let machine = machine();
    let _bob = machine.session("bob");
    let mut session = machine.session("alice");
    let id = session.sh("echo $XDG_SESSION_ID");
    assert!(session.sh("loginctl list-sessions --no-legend").contains(" alice"));
    let own = session.sh("loginctl session-status --no-pager");
    assert!(own.contains("alice") && own.contains(&id), "{own}");
    let shown = session.sh(&format!("loginctl show-session --value -p Name {id}"));
    assert_eq!(shown, "alice");
    assert!(session.sh("loginctl user-status --no-pager").contains("alice"));
    // A user without a seat may ask for its own lingering only through polkit.
    let told = session.sh("loginctl --no-ask-password enable-linger; echo $?");
    assert!(told.ends_with('0') || told.contains("denied") || told.contains("required"), "{told}");
    session.send("loginctl terminate-session ''");
    eventually("the session is over", 8.0, || !session.is_open());
}

#[test]
fn the_bus_starts_services_and_polkit_answers() {
    let machine = machine();
    let mut session = machine.session("alice");
    let names = session.sh("busctl --user --no-pager list");
    assert!(names.contains("org.freedesktop.systemd1"), "{names}");
    // polkit looks its caller up in the machine's own /proc.
    let answer =
        session.sh("pkcheck --action-id org.freedesktop.login1.reboot --process $$ 2>&1; echo $?");
    assert!(!answer.contains("rror getting"), "{answer}");
    assert!(answer.ends_with('1') || answer.ends_with('2') || answer.ends_with('3'), "{answer}");
    assert_ne!(machine.sh("systemctl is-active polkit"), "failed");
    // Started by the bus on demand, as the user's unit.
    machine.write_at_home(
        "alice",
        ".local/share/dbus-1/services/org.example.Note.service",
        &format!(
            "[D-BUS Service]\nName=org.example.Note\n\
             Exec=/bin/sh -c '{{ {}; }} >/home/alice/where'\n",
            Machine::WHERE
        ),
    );
    session.sh("busctl --user call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig");
    session.sh("busctl --user call org.example.Note / org.freedesktop.DBus.Peer Ping");
    eventually("the bus has started it", 8.0, || {
        machine.read("/home/alice/where").is_some_and(|text| text.contains("mnt:["))
    });
    machine.assert_inside("alice", &machine.read("/home/alice/where").unwrap());
}

/// What flatpak and rootless containers are made of.
#[test]
fn unprivileged_namespaces() {
    let machine = machine();
    let mut session = machine.session("alice");
    let id = session.sh("unshare --user --map-root-user --mount id -u");
    assert_eq!(id, "0");
    let told = session.sh("bwrap --ro-bind / / --dev /dev --tmpfs /tmp echo ok");
    assert_eq!(told, "ok");
    // One's own pid namespace with a /proc of its own.
    let first =
        session.sh("bwrap --ro-bind / / --dev /dev --unshare-pid --proc /proc sh -c 'echo ok'");
    assert_eq!(first, "ok");
}

#[test]
fn the_administrator_sees_everything_as_before() {
    let machine = machine();
    let session: Session = machine.session("alice");
    let shell = session.shell();
    let status = machine.sh(&format!("systemctl status --no-pager {shell}"));
    assert!(status.contains(&machine.slice("alice")), "{status}");
    let tree = machine.sh(&format!("systemd-cgls --no-pager -u {}", machine.slice("alice")));
    assert!(tree.contains("sshd"), "{tree}");
    assert!(machine.sh("who").contains("alice") || !machine.sh("loginctl").is_empty());
    assert!(machine.sh("loginctl user-status --no-pager alice").contains("alice"));
    let manager = machine.sh("systemctl --user -M alice@ is-system-running || true");
    assert_eq!(manager, "running");
}
