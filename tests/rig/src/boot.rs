//! What makes a copy of the machine's mount namespace a host of its own.

use std::fs::{create_dir, create_dir_all};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};

use crate::builder::Propagation;
use crate::program::{PATH, spawn};
use crate::{dev, etc};

/// The programs under test, read while the machine's own directories are still in sight.
pub struct Programs {
    module: Vec<u8>,
    helper: Vec<u8>,
    command: Vec<u8>,
}

/// Reads them from `directory`.
pub fn read_programs(directory: &Path) -> Programs {
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read(&path).unwrap_or_else(|error| {
            panic!("can't read {}: {error}; `make build` makes it", path.display())
        })
    };
    Programs {
        module: read("libpam_cgsandbox.so"),
        helper: read("cgsandbox-helper"),
        command: read("cgsandbox"),
    }
}

/// Puts them where a package would.
pub fn install(programs: &Programs) {
    let module = pam_directory().join("pam_cgsandbox.so");
    etc::write_file(&module.to_string_lossy(), &programs.module, 0o644);
    etc::write_file("/usr/libexec/cgsandbox/cgsandbox-helper", &programs.helper, 0o755);
    etc::write_file("/usr/bin/cgsandbox", &programs.command, 0o755);
}

/// Where the distribution has its PAM modules.
fn pam_directory() -> PathBuf {
    let candidates = std::fs::read_dir("/usr/lib").expect("no /usr/lib");
    let mut candidates: Vec<PathBuf> =
        candidates.flatten().map(|entry| entry.path().join("security")).collect();
    candidates.push("/usr/lib64/security".into());
    let found = candidates.into_iter().find(|path| path.join("pam_permit.so").exists());
    found.expect("pam_permit.so is nowhere: is libpam-modules installed?")
}

/// Unmounts from the calling thread's mounts, which are nobody else's.
pub fn unmount(path: &Path) {
    nix::mount::umount(path)
        .unwrap_or_else(|error| panic!("can't unmount {}: {error}", path.display()));
}

/// Detaches the calling thread's mounts from the machine's and lays the host's over them.
pub fn mount_everything() {
    let none = None::<&str>;
    let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, all, none).expect("can't make / private");
    mount_tmpfs("/run", "0755");
    for directory in ["etc", "usr"] {
        let (upper, work) = (format!("/run/{directory}/upper"), format!("/run/{directory}/work"));
        create_dir_all(&upper).expect("can't make an upper directory");
        create_dir_all(&work).expect("can't make a work directory");
        let options = format!("lowerdir=/{directory},upperdir={upper},workdir={work}");
        let target = format!("/{directory}");
        mount(
            Some("overlay"),
            target.as_str(),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap_or_else(|error| panic!("can't mount an overlay on {target}: {error}"));
    }
    // Hides the upper directories.
    mount_tmpfs("/run", "0755");
    for (path, mode) in
        [("/home", "0755"), ("/root", "0700"), ("/tmp", "1777"), ("/var/log", "0755")]
    {
        mount_tmpfs(path, mode);
    }
    create_dir("/run/sshd").expect("can't make /run/sshd");
    dev::make();
}

fn mount_tmpfs(path: &str, mode: &str) {
    let mode = format!("mode={mode}");
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(mode.as_str()))
        .unwrap_or_else(|error| panic!("can't mount a tmpfs on {path}: {error}"));
}

/// Starts the host's init. It mounts the host's `/proc`, adopts and reaps orphans, and ends
/// when its stdin does; then the kernel kills every process of the host.
pub fn start_init() -> Child {
    const INIT: &str = "mount -t proc proc /proc && echo ready && exec 3<&0 >/dev/null || exit 1
        cat <&3 & wait";
    let mut command = Command::new("sh");
    command
        .args(["-c", INIT])
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut init = spawn(&mut command).expect("can't start the host's init");
    let mut answer = String::new();
    let stdout = init.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut answer).expect("can't read from the host's init");
    assert_eq!(answer, "ready\n", "the host's init can't mount /proc");
    init
}

/// Makes all mounts shared, or leaves them private.
pub fn set_propagation(propagation: Propagation) {
    let none = None::<&str>;
    if propagation == Propagation::Shared {
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)
            .expect("can't make / shared");
    }
}
