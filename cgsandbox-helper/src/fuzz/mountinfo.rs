//! `/proc/PID/mountinfo` and `/proc/PID/cgroup`: users name mount points and cgroups.

use std::path::{Path, PathBuf};

use cgsandbox_fuzz::Fuzz;

use crate::cgroup::{Membership, Version, find, unescape};

/// As the kernel writes a path into mountinfo (fs/proc_namespace.c).
fn escape(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => text += &format!("\\{:03o}", c as u32),
            c => text.push(c),
        }
    }
    text
}

#[test]
fn what_is_found_leads_back_to_where_it_is_mounted() {
    Fuzz::target("mountinfo").words(&WORDS).run(|input| {
        let text = String::from_utf8_lossy(input);
        let found = find(&text);
        assert!(found.len() <= text.lines().count());
        for (at, hierarchy) in found.iter().enumerate() {
            assert!(!found[..at].iter().any(|other| other.is_twin_of(hierarchy)), "found twice");
            assert!(!hierarchy.root.starts_with("/.."), "outside of the cgroup namespace");
            for relative in ["", "a", "a/b c"] {
                let path = hierarchy.path(relative);
                let expected = hierarchy.mount.join(relative);
                assert_eq!(hierarchy.directory(path.trim_end_matches('/')), Some(expected));
            }
        }
        let kinds: Vec<(bool, usize)> = found
            .iter()
            .map(|it| (it.version == Version::Unified, it.controllers.len().min(3)))
            .take(4)
            .collect();
        named(&text);
        let member = Membership::parse(&text);
        // Not assert_eq: it would print both, which may have a hundred thousand entries.
        assert!(Membership::parse(&member.to_text()) == member, "read otherwise than written");
        member.root_above("user-1000");
        let places = found.iter().filter(|it| member.path_in(it).is_some()).count();
        (kinds, places.min(3))
    });
}

/// Whatever a mount point is called, it is found by that name, and nothing else is.
fn named(name: &str) {
    let mount = format!("/mnt/{name}");
    assert_eq!(unescape(&escape(&mount)), mount);
    let line = format!(
        "31 23 0:28 / / rw - tmpfs tmpfs rw\n\
         32 31 0:29 / {} rw,relatime shared:9 - cgroup cgroup rw,memory,pids\n",
        escape(&mount)
    );
    // A carriage return is not escaped, and does not end a line for the kernel.
    let found = find(&line);
    let mounts: Vec<&Path> = found.iter().map(|it| it.mount.as_path()).collect();
    assert_eq!(mounts, [PathBuf::from(&mount)], "{line:?}");
}

const WORDS: [&str; 18] = [
    " - ",
    " - cgroup cgroup rw,memory\n",
    " - cgroup2 cgroup2 rw\n",
    "36 31 0:32 / /mnt/x rw shared:1",
    "/..",
    "\\040",
    "\\134",
    "\\012",
    "/docker/7",
    "name=systemd",
    "rw",
    "cpu,cpuacct",
    "0::/user-1000/session-1\n",
    "4:memory:/user-1000\n",
    ":",
    ",",
    " ",
    "\n",
];
