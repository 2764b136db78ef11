//! Volumes that other PAM modules mount at login and unmount at logout, wherever their lines are.
#![allow(clippy::unwrap_used)]

use cgsandbox_rig::{Host, Propagation};

/// What such a module does; `$1` is where.
const SCRIPT: &str = "#!/bin/sh\n\
    case $PAM_TYPE in\n\
    open_session) mkdir -p $1 && mount -t tmpfs volume $1 && echo mine >$1/file ;;\n\
    close_session) umount $1 2>>/tmp/umount-log || echo failed at $1 >>/tmp/umount-log ;;\n\
    esac\n";

#[derive(Clone, Copy, Debug)]
enum Line {
    Before,
    After,
}

fn host(line: Line, propagation: Propagation, place: &str) -> Host {
    let exec = format!("session optional pam_exec.so /usr/local/bin/volume {place}");
    let builder = Host::build().user_with_uid("alice", 1_999_990).propagation(propagation);
    let host = match line {
        Line::Before => builder.pam(&exec).start(),
        Line::After => builder.start(),
    };
    host.write("/usr/local/bin/volume", SCRIPT);
    host.sh("chmod 755 /usr/local/bin/volume");
    if matches!(line, Line::After) {
        host.sh(&format!("echo '{exec}' >>/etc/pam.d/sshd"));
    }
    host
}

fn is_mounted(host: &Host, place: &str) -> bool {
    host.mount_table().iter().any(|line| line.split(' ').nth(1) == Some(place))
}

#[test]
fn a_volume_is_there_at_login_and_gone_after_logout() {
    for line in [Line::Before, Line::After] {
        for propagation in [Propagation::Shared, Propagation::Private] {
            for place in ["/home/1999990/vol", "/home/media/alice"] {
                let host = host(line, propagation, place);
                for _ in 0..2 {
                    let mut session = host.spawn_session("alice");
                    assert_eq!(session.sh(&format!("cat {place}/file")), "mine");
                    session.logout();
                    assert!(!is_mounted(&host, place), "{line:?} {propagation:?} {place}");
                }
                host.assert_nothing_left();
            }
        }
    }
}

/// What the host and others have mounted stays, whatever a session's end unmounts.
#[test]
fn only_what_was_unmounted_in_the_view_is_unmounted_on_the_host() {
    let place = "/home/1999990/vol";
    let host = host(Line::Before, Propagation::Shared, place);
    host.sh("mkdir -p /home/1999990/other /home/disk");
    host.sh("mount -t tmpfs other /home/1999990/other && mount -t tmpfs disk /home/disk");
    let session = host.spawn_session("alice");
    // Mounted while the session lasts.
    host.sh("mkdir /home/1999990/later && mount -t tmpfs later /home/1999990/later");
    session.logout();
    assert!(!is_mounted(&host, place));
    for kept in ["/home/1999990/other", "/home/1999990/later", "/home/disk"] {
        assert!(is_mounted(&host, kept), "{kept}");
        host.sh(&format!("umount {kept}"));
    }
    host.assert_nothing_left();
}

/// The directories above a volume in a home directory are the user's to rename.
#[test]
fn a_directory_that_the_user_has_replaced_leads_to_nothing_of_others() {
    let place = "/home/1999990/dir/vol";
    let host = host(Line::Before, Propagation::Shared, place);
    host.sh("mkdir -p /home/other/vol && mount -t tmpfs other /home/other/vol");
    let mut session = host.spawn_session("alice");
    let said = session.sh("cd && mv dir away && ln -s /home/other dir && echo done");
    assert_eq!(said, "done");
    session.logout();
    assert!(is_mounted(&host, "/home/other/vol"), "another's was unmounted");
    host.sh("umount /home/other/vol; umount /home/1999990/away/vol");
    host.assert_nothing_left();
}

/// As long as anybody of the user's needs it, the module that mounted it leaves it.
#[test]
fn a_volume_that_is_still_mounted_inside_stays_on_the_host() {
    let place = "/home/1999990/vol";
    let host = host(Line::Before, Propagation::Shared, place);
    let first = host.spawn_session("alice");
    host.sh("mv /usr/local/bin/volume /root/volume");
    let mut second = host.spawn_session("alice");
    first.logout();
    assert!(is_mounted(&host, place));
    assert_eq!(second.sh(&format!("cat {place}/file")), "mine");
    host.sh("mv /root/volume /usr/local/bin/volume");
    second.logout();
    assert!(!is_mounted(&host, place));
    host.assert_nothing_left();
}
