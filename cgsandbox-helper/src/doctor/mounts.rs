//! What of the host's mounts, and of what makes mounts, does not go well with users' own views.

use std::path::Path;

use super::Finding;
use crate::cgroup::unescape;
use crate::kernel_file;

const MOUNTS: &str = "mounts";

/// Where distributions and snapd itself install it.
const SNAP_CONFINE: [&str; 3] = [
    "/usr/lib/snapd/snap-confine",
    "/usr/libexec/snapd/snap-confine",
    "/snap/snapd/current/usr/lib/snapd/snap-confine",
];

/// With so many mounts a copy of a mount namespace takes some 15 ms, in which nobody else mounts.
const BEARABLE_MOUNTS: u64 = 10_000;

/// `mountinfo` is the host's.
pub(super) fn look(mountinfo: &str) -> Vec<Finding> {
    let mut findings = autofs(mountinfo);
    findings.extend(snap_confine());
    findings.extend(mount_storm(&number));
    findings
}

/// What an automount daemon mounts reaches the users' views by propagation alone.
fn autofs(mountinfo: &str) -> Vec<Finding> {
    let is_private = |line: &&str| {
        let Some((before, after)) = line.split_once(" - ") else { return false };
        after.starts_with("autofs ") && !before.split(' ').any(|word| word.starts_with("shared:"))
    };
    let lines = mountinfo.lines().filter(is_private);
    let mut places: Vec<String> =
        lines.filter_map(|line| Some(unescape(line.split(' ').nth(4)?))).collect();
    places.dedup();
    let finding = |place: &String| {
        let what = format!(
            "the automount point {place} is private: mounts there do not reach users \
             in a sandbox, who get \"Too many levels of symbolic links\""
        );
        let remedy = format!(
            "mount --make-shared {place}, and for good at boot, before the automount daemon \
             starts: mount --make-rshared /; users see it from their next first login on"
        );
        Finding::problem(MOUNTS, what).remedy(remedy)
    };
    places.iter().map(finding).collect()
}

fn snap_confine() -> Option<Finding> {
    let path = SNAP_CONFINE.into_iter().find(|path| Path::new(path).exists())?;
    let what = format!(
        "{path} is setuid and enters the mount namespace of process 1: in a snap a user sees \
         all processes"
    );
    let remedy = "if that matters, remove snapd";
    Some(Finding::note(MOUNTS, what).remedy(remedy))
}

/// A user who may make user namespaces can fill a mount namespace, and copy it without end: all that
/// others mount, and with it their logins, waits in between.
fn mount_storm(number: &dyn Fn(&str) -> Option<u64>) -> Option<Finding> {
    let is_denied = |path: &str| number(path) == Some(0);
    if ["user/max_user_namespaces", "user/max_mnt_namespaces", "kernel/unprivileged_userns_clone"]
        .into_iter()
        .any(is_denied)
    {
        return None;
    }
    let most = number("fs/mount-max").filter(|most| *most > BEARABLE_MOUNTS)?;
    let what = format!(
        "users may have {most} mounts in a namespace of their own: by copying it in a loop they \
         can slow down the logins of others"
    );
    let remedy = format!(
        "if nothing here needs so many: sysctl fs.mount-max={BEARABLE_MOUNTS} \
         user.max_mnt_namespaces=1000"
    );
    Some(Finding::note(MOUNTS, what).remedy(remedy))
}

/// What a file below /proc/sys holds; none where there is none.
fn number(path: &str) -> Option<u64> {
    kernel_file::read(Path::new("/proc/sys").join(path)).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
41 27 0:36 / /home rw,relatime - autofs /etc/auto.home rw,fd=6,indirect
42 41 0:51 / /home/alice rw - nfs4 server:/alice rw
43 27 0:37 / /proc/sys/fs/binfmt_misc rw shared:14 - autofs systemd-1 rw,direct
44 27 0:38 / /net\\040work rw master:3 - autofs -hosts rw,indirect";

    #[test]
    fn an_automount_point_that_is_not_shared_is_told_with_what_mends_it() {
        let found = autofs(MOUNTINFO);
        let remedies: Vec<_> = found.iter().map(|one| one.remedy.clone().unwrap()).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(remedies[0].starts_with("mount --make-shared /home,"), "{remedies:?}");
        assert!(remedies[1].contains("/net work"), "{remedies:?}");
    }

    #[test]
    fn many_mounts_matter_where_users_may_make_namespaces() {
        let host = |userns: u64, mounts: u64| {
            mount_storm(&|path: &str| match path {
                "user/max_user_namespaces" => Some(userns),
                "fs/mount-max" => Some(mounts),
                _ => None,
            })
        };
        assert!(host(1000, 100_000).is_some());
        assert!(host(0, 100_000).is_none(), "nobody may make one");
        assert!(host(1000, 10_000).is_none(), "few enough");
    }
}
