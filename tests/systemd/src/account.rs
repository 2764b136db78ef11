//! The users of a test.

use std::fs::{Permissions, create_dir_all, read_to_string, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::sh;

/// Their uids: nobody else's, far from those that distributions give.
pub const UIDS: std::ops::Range<u32> = 20_000..30_000;

/// A user with a home directory and the machine's own key.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub uid: u32,
}

/// A uid that no test of this program has had before.
pub fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(UIDS.start);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Enters the user everywhere, as useradd would in ten times the time.
pub fn add(user: &User) {
    let User { name, uid } = user;
    append("/etc/passwd", &format!("{name}:x:{uid}:{uid}::/home/{name}:/bin/bash\n"));
    append("/etc/group", &format!("{name}:x:{uid}:\n"));
    append("/etc/shadow", &format!("{name}:*:19000::::::\n"));
    let home = format!("/home/{name}");
    create_dir_all(&home).expect("can't make a home directory");
    chown(&home, Some(*uid), Some(*uid)).expect("can't give a home directory away");
    set_permissions(&home, Permissions::from_mode(0o700)).expect("can't chmod");
    if Path::new("/sys/fs/selinux/enforce").exists() {
        sh(&format!("restorecon -F {home}"));
    }
}

/// Strikes the user out everywhere, and its home directory with it.
pub fn remove(name: &str) {
    for file in ["/etc/passwd", "/etc/group", "/etc/shadow"] {
        let own = format!("{name}:");
        let kept = text(file);
        let kept: Vec<&str> = kept.lines().filter(|line| !line.starts_with(&own)).collect();
        write(file, kept.join("\n") + "\n").expect("can't write an account file");
    }
    std::fs::remove_dir_all(format!("/home/{name}")).expect("can't remove a home directory");
}

/// Everyone whom a test has added.
pub fn all() -> Vec<User> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let user = User { name: fields.next()?.to_owned(), uid: fields.nth(1)?.parse().ok()? };
        UIDS.contains(&user.uid).then_some(user)
    };
    text("/etc/passwd").lines().filter_map(of_line).collect()
}

fn append(file: &str, line: &str) {
    write(file, text(file) + line).expect("can't write an account file");
}

fn text(file: &str) -> String {
    read_to_string(file).unwrap_or_else(|error| panic!("can't read {file}: {error}"))
}
