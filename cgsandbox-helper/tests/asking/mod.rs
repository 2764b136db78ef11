//! Running the command that was built.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

const NOBODY: u32 = 65534;

const COMMAND: &str = env!("CARGO_BIN_EXE_cgsandbox");

/// What `cgsandbox` with these arguments ends with and says: status, stdout, stderr.
pub fn ask(arguments: &[&str]) -> (Option<i32>, String, String) {
    told(Command::new(COMMAND).args(arguments))
}

/// The same where an ordinary user runs it.
pub fn ask_as_nobody(arguments: &[&str]) -> (Option<i32>, String, String) {
    if !nix::unistd::geteuid().is_root() {
        return ask(arguments);
    }
    // By its fd: the build directory may be one that only its owner enters.
    let program = File::open(COMMAND).unwrap();
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    told(Command::new(path).args(arguments).current_dir("/").uid(NOBODY).gid(NOBODY))
}

fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command.env_clear().stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}
