//! sshd's process has left the host's mount namespace before our line: by pam_namespace, or because its
//! service has a namespace of its own.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Builder, Host, Propagation, Running, eventually};

fn with_pam_namespace(propagation: Propagation) -> Host {
    let line = "session required pam_namespace.so";
    prepared(Host::build().pam(line).propagation(propagation))
}

fn prepared(builder: Builder) -> Host {
    let host = builder.user("alice").user("bob").start();
    host.write("/etc/security/namespace.conf", "/tmp /home/instances/ user root\n");
    host.sh("mkdir -m 000 /home/instances");
    host
}

const VIEW: &str = "readlink /proc/self/ns/mnt";

#[track_caller]
fn assert_one_view(host: &Host) {
    let (mut first, mut second) = (host.spawn_session("alice"), host.spawn_session("alice"));
    assert_eq!(first.sh(VIEW), second.sh(VIEW), "two views");
    let pid = first.sh("sleep 1000 & echo $!");
    assert_eq!(second.sh(&format!("ps -o args= -p {pid}; kill {pid}")), "sleep 1000");
    host.set_policy("[profile.default]\nhidepid = \"off\"\n");
    let said = host.sh("cgsandbox apply");
    assert!(said.contains("full"), "{said}");
    for session in [&mut first, &mut second] {
        eventually("/proc is open", 5.0, || session.sh("test -e /proc/1 && echo open") == "open");
    }
    let doctor = host.as_root(["cgsandbox", "doctor"]).run().stdout;
    assert!(!doctor.contains("has processes outside it"), "{doctor}");
    let user = host.uid("alice");
    assert!(host.exists(format!("/run/cgsandbox/user/{user}/ns/mnt")));
    first.logout();
    second.logout();
    host.assert_nothing_left();
}

#[test]
fn all_of_a_users_logins_have_one_view_after_pam_namespace() {
    for propagation in [Propagation::Shared, Propagation::Private] {
        let host = with_pam_namespace(propagation);
        let mut session = host.spawn_session("alice");
        // pam_namespace's own work is there, too.
        host.sh("touch /tmp/of-the-host");
        assert_eq!(session.sh("ls /tmp"), "");
        assert_eq!(session.sh("test -e /proc/1 || echo hidden"), "hidden");
        session.logout();
        host.assert_nothing_left();
        assert_one_view(&host);
    }
}

/// As with PrivateTmp=yes in sshd's unit, and a restart of the service between two logins.
#[test]
fn all_of_a_users_logins_have_one_view_whatever_sshds_own_is() {
    let host = prepared(Host::build().sshd_through(&["unshare", "-m"]));
    assert_one_view(&host);
}

/// A user manager of alice's that stays, as on a host with systemd: its service has no pam_namespace.
fn start_manager(host: &Host) -> Running {
    let ours = host.read("/etc/pam.d/sshd").unwrap();
    let ours = ours.lines().find(|line| line.contains("pam_cgsandbox.so")).unwrap();
    let waits = "session required pam_exec.so /bin/sleep 1000";
    host.write(
        "/etc/pam.d/systemd-user",
        format!("account required pam_permit.so\n{ours}\n{waits}\n"),
    );
    host.set_policy("services = [\"sshd\", \"systemd-user\"]\n[profile.default]\n");
    let manager = host.as_root(["pamtester", "systemd-user", "alice", "open_session"]).start();
    host.wait_log(&["event=session_open", "service=systemd-user"]);
    manager
}

fn stop_manager(host: &Host, manager: Running) {
    host.sh("kill $(pgrep -x -f '/bin/sleep 1000')");
    manager.kill();
    host.as_root(["cgsandbox", "gc"]).run();
    host.assert_nothing_left();
}

/// How often `table`, a mountinfo, has /tmp.
fn mounts_of_tmp(table: &str) -> usize {
    table.lines().filter(|line| line.split(' ').nth(4) == Some("/tmp")).count()
}

#[test]
fn what_pam_namespace_mounts_is_there_where_the_user_manager_came_first() {
    for propagation in [Propagation::Shared, Propagation::Private] {
        let host = with_pam_namespace(propagation);
        let manager = start_manager(&host);
        host.sh("touch /tmp/of-the-host");
        let (mut first, mut second) = (host.spawn_session("alice"), host.spawn_session("alice"));
        for session in [&mut first, &mut second] {
            assert_eq!(session.sh("ls /tmp"), "");
            assert_eq!(session.sh("test -e /proc/1 || echo hidden"), "hidden");
        }
        assert_eq!(first.sh(VIEW), second.sh(VIEW), "two views");
        first.sh("touch /tmp/of-alice");
        assert_eq!(second.sh("ls /tmp"), "of-alice");
        // The second login has brought nothing that was there.
        let on_host = mounts_of_tmp(&host.sh("cat /proc/self/mountinfo"));
        assert_eq!(mounts_of_tmp(&second.sh("cat /proc/self/mountinfo")), on_host + 1);
        assert!(!host.exists("/tmp/of-alice"));
        first.logout();
        second.logout();
        stop_manager(&host, manager);
    }
}

/// Each login has another directory, and the view is kept by the manager between them.
#[test]
fn mounts_do_not_pile_up_in_a_view_that_a_user_manager_keeps() {
    let host = with_pam_namespace(Propagation::Shared);
    host.write("/etc/security/namespace.conf", "/tmp /home/instances/ tmpdir root\n");
    let manager = start_manager(&host);
    let on_host = mounts_of_tmp(&host.sh("cat /proc/self/mountinfo"));
    for _ in 0..3 {
        let mut session = host.spawn_session("alice");
        assert_eq!(session.sh("ls /tmp"), "");
        assert_eq!(mounts_of_tmp(&session.sh("cat /proc/self/mountinfo")), on_host + 1);
        session.sh("touch /tmp/of-alice");
        session.logout();
    }
    stop_manager(&host, manager);
}
