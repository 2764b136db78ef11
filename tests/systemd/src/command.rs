//! Programs of root's, outside every sandbox.

use std::process::{Command, Stdio};

use cgsandbox_rig::{Output, Running, patience};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts a program with a minimal environment and its three streams piped.
pub fn start<W: AsRef<str>>(argv: &[W]) -> Running {
    let name = argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
    let mut command = Command::new(argv[0].as_ref());
    command
        .args(argv[1..].iter().map(AsRef::as_ref))
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("can't start {name}: {error}"));
    Running::watch(name, child)
}

/// Runs a program to its end, at most [`patience`]`(seconds)`.
#[track_caller]
pub fn run<W: AsRef<str>>(argv: &[W], seconds: f64) -> Output {
    start(argv).finish(patience(seconds))
}

/// Runs `script` by `sh`; its stdout, trimmed. Panics if it fails.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = run(&["sh", "-c", script], 30.0);
    assert_eq!(output.status, 0, "{script}\nstdout: {}\nstderr: {}", output.stdout, output.stderr);
    output.stdout.trim().to_owned()
}
