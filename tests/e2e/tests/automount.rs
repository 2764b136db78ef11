//! What an automount daemon mounts is there in users' views, or doctor says what it takes.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Propagation, Running, eventually};

/// See there.
const DAEMON: &str = include_str!("automount.py");

const PLACE: &str = "/home/auto";

fn host(propagation: Propagation) -> (Host, Running) {
    let host = Host::build().user("alice").propagation(propagation).start();
    host.write("/tmp/automount.py", DAEMON);
    let daemon = host.as_root(["python3", "/tmp/automount.py", PLACE]).start();
    eventually("the daemon is ready", 10.0, || daemon.stdout().contains("ready"));
    (host, daemon)
}

fn end(host: &Host, daemon: Running) {
    host.sh(&format!("for m in $(grep -o '{PLACE}/[^ ]*' /proc/mounts); do umount $m; done"));
    daemon.kill();
    host.sh(&format!("umount -l {PLACE}"));
    host.assert_nothing_left();
}

fn problems(host: &Host) -> String {
    let said = host.as_root(["cgsandbox", "doctor"]).run().stdout;
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn automounts_arrive_inside_on_a_host_with_shared_mounts() {
    let (host, daemon) = host(Propagation::Shared);
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh(&format!("cat {PLACE}/disk/file")), "automounted");
    assert!(!problems(&host).contains("automount point"));
    session.logout();
    end(&host, daemon);
}

#[test]
fn automounts_on_a_host_with_private_mounts_are_told_of_and_the_remedy_mends_it() {
    let (host, daemon) = host(Propagation::Private);
    let mut session = host.spawn_session("alice");
    let said = session.sh(&format!("cat {PLACE}/disk/file"));
    assert!(said.contains("Too many levels of symbolic links"), "{said}");
    session.logout();
    let told = problems(&host);
    assert!(told.contains(&format!("the automount point {PLACE} is private")), "{told}");
    let remedy = format!("mount --make-shared {PLACE}");
    assert!(told.contains(&remedy), "{told}");
    host.sh(&remedy);
    let mut session = host.spawn_session("alice");
    assert_eq!(session.sh(&format!("cat {PLACE}/other/file")), "automounted");
    assert!(!problems(&host).contains("automount point"));
    session.logout();
    end(&host, daemon);
}
