//! The host's own files below `/etc`.

use std::fmt::Write as _;
use std::fs::{Permissions, create_dir_all, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, chown};

use crate::builder::Builder;
use crate::program::{output_of, with_nothing_starting};

/// The one line, as documented, but for the arguments.
const LINE: &str = "session [success=ok ignore=ignore module_unknown=ignore default=bad]";

/// What stands before it. Keys let in, never a password: the port is open to every user of
/// the machine. A stack of which every module said "ignore" would refuse.
const STACK: &str = "auth required pam_deny.so\n\
                     account required pam_permit.so\n\
                     session required pam_permit.so\n";

/// A user with its numbers settled.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub groups: Vec<String>,
}

/// Writes accounts, PAM stack, configuration and sshd's files; makes the home directories.
pub fn fill(builder: &Builder, users: &[User], port: u16) {
    write_accounts(users);
    write_pam_stack(builder);
    // What the machine itself has there is no part of this host's policy.
    let _ = std::fs::remove_dir_all("/etc/cgsandbox");
    write_file("/etc/cgsandbox/cgsandbox.toml", &builder.policy, 0o644);
    write_sshd_files(builder, port);
    let databases = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n";
    write_file("/etc/nsswitch.conf", databases, 0o644);
    write_file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644);
    write_file("/etc/bash.bashrc", "", 0o644);
}

/// Writes a file of root's with exactly this mode, and the directories above it.
pub fn write_file(path: &str, content: impl AsRef<[u8]>, mode: u32) {
    let parent = std::path::Path::new(path).parent().expect("an absolute path");
    create_dir_all(parent).unwrap_or_else(|error| panic!("can't make {parent:?}: {error}"));
    with_nothing_starting(|| write(path, content))
        .unwrap_or_else(|error| panic!("can't write {path}: {error}"));
    set_permissions(path, Permissions::from_mode(mode)).expect("can't chmod");
}

fn write_accounts(users: &[User]) {
    let mut passwd = String::from(
        "root:x:0:0:root:/root:/bin/bash\n\
         sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    );
    let mut shadow = String::from("root:*:19000::::::\nsshd:*:19000::::::\nnobody:*:19000::::::\n");
    let mut groups: Vec<(String, u32, Vec<&str>)> =
        [("root", 0), ("tty", 5), ("disk", 6), ("utmp", 43), ("nogroup", 65534)]
            .map(|(name, gid)| (name.to_owned(), gid, Vec::new()))
            .into();
    for User { name, uid, groups: memberships } in users {
        let _ = writeln!(passwd, "{name}:x:{uid}:{uid}::/home/{uid}:/bin/bash");
        let _ = writeln!(shadow, "{name}:*:19000::::::");
        if groups.iter().all(|(_, gid, _)| gid != uid) {
            groups.push((name.clone(), *uid, Vec::new()));
        }
        for group in memberships {
            match groups.iter_mut().find(|(known, _, _)| known == group) {
                Some((_, _, members)) => members.push(name),
                None => groups.push((group.clone(), uid + 50_000, vec![name])),
            }
        }
        let home = format!("/home/{uid}");
        create_dir_all(&home).expect("can't make a home directory");
        chown(&home, Some(*uid), Some(*uid)).expect("can't give a home directory away");
        set_permissions(&home, Permissions::from_mode(0o700)).expect("can't chmod");
    }
    let group: String = groups
        .iter()
        .map(|(name, gid, members)| format!("{name}:x:{gid}:{}\n", members.join(",")))
        .collect();
    write_file("/etc/passwd", passwd, 0o644);
    write_file("/etc/shadow", shadow, 0o600);
    write_file("/etc/group", group, 0o644);
}

fn write_pam_stack(builder: &Builder) {
    let mut stack = String::from(STACK);
    for line in &builder.pam_lines {
        let _ = writeln!(stack, "{line}");
    }
    if builder.module_line {
        let _ = writeln!(stack, "{LINE} pam_cgsandbox.so {}", builder.module_arguments);
    }
    write_file("/etc/pam.d/sshd", stack, 0o644);
}

fn write_sshd_files(builder: &Builder, port: u16) {
    let sshd = format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey /etc/ssh/host_key\n\
         PidFile none\n\
         UsePAM yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         AuthorizedKeysFile /etc/ssh/client_key.pub\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         UseDNS no\n\
         MaxStartups 1000\n\
         MaxSessions 200\n\
         LoginGraceTime 600\n\
         LogLevel VERBOSE\n\
         Subsystem sftp internal-sftp\n\
         {}\n",
        builder.sshd_lines.join("\n")
    );
    let client = format!(
        "Host *\n\
         HostName 127.0.0.1\n\
         Port {port}\n\
         IdentityFile /etc/ssh/client_key\n\
         IdentitiesOnly yes\n\
         BatchMode yes\n\
         StrictHostKeyChecking no\n\
         UserKnownHostsFile /dev/null\n\
         LogLevel ERROR\n"
    );
    // The subsystem of the distribution is a program of its own; it must land inside too.
    let sshd = match std::path::Path::new("/usr/lib/openssh/sftp-server") {
        program if program.exists() => {
            sshd.replace("internal-sftp", "/usr/lib/openssh/sftp-server")
        }
        _ => sshd,
    };
    write_file("/etc/ssh/sshd_config", sshd, 0o600);
    write_file("/etc/ssh/ssh_config", client, 0o644);
    for key in ["host_key", "client_key"] {
        let path = format!("/etc/ssh/{key}");
        let made =
            output_of(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &path]);
        assert!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr));
    }
    stop_penalties();
}

/// Since 9.8, sshd turns an address away for a while after one of its processes was killed, as
/// tests do. Older ones do not know the word.
fn stop_penalties() {
    let known = output_of(&["/usr/sbin/sshd", "-t", "-o", "PerSourcePenalties=no"]);
    if known.status.success() {
        let path = "/etc/ssh/sshd_config";
        let configuration = std::fs::read_to_string(path).expect("it was just written");
        write_file(path, format!("PerSourcePenalties no\n{configuration}"), 0o600);
    }
}
