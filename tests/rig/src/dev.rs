//! A `/dev` of the host's own: a socket made in the machine's would be seen by everyone.

use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod, stat, umask};

/// Mounts a tmpfs on `/dev` of the calling thread and fills it. Block devices come along:
/// a policy may name them.
pub fn make() {
    let disks = block_devices();
    mount(Some("dev"), "/dev", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
        .expect("can't mount /dev");
    let before = umask(Mode::empty());
    let characters =
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];
    for (name, major, minor) in characters.into_iter().chain([("tty", 5, 0)]) {
        make_node(name, SFlag::S_IFCHR, 0o666, makedev(major, minor));
    }
    for (name, device) in disks {
        make_node(&name, SFlag::S_IFBLK, 0o660, device);
    }
    umask(before);
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(target, format!("/dev/{name}")).expect("can't make a symlink in /dev");
    }
    std::fs::create_dir("/dev/pts").expect("can't make /dev/pts");
    let terminals = Some("newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::MS_NOSUID, terminals)
        .expect("can't mount /dev/pts");
    std::fs::create_dir("/dev/shm").expect("can't make /dev/shm");
    mount(Some("shm"), "/dev/shm", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=1777"))
        .expect("can't mount /dev/shm");
}

fn make_node(name: &str, kind: SFlag, mode: u32, device: u64) {
    mknod(format!("/dev/{name}").as_str(), kind, Mode::from_bits_truncate(mode), device)
        .unwrap_or_else(|error| panic!("can't make /dev/{name}: {error}"));
}

/// The whole disks of the machine, by name.
fn block_devices() -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let device = stat(format!("/dev/{name}").as_str()).ok()?.st_rdev;
            Some((name, makedev(major(device), minor(device))))
        })
        .collect()
}
