//! A session of root's, opened and closed by the real libpam, with the line as it is to be
//! written: what would lock root out is found out before it is.
//!
//! It takes a program that links libpam, and a process that may be hurt: the command itself,
//! run anew.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::pam_stack::{LINE, MODULE};

/// The first argument that makes the command a trial; what follows is a directory of PAM
/// files, a service and a user.
pub const ARGUMENT: &str = "--open-a-session-on-trial";

/// What a trial says at its end where all went well: a module may end the process with 0.
pub const DONE: &str = "opened and closed";

/// What a trial ends with that libpam could not load the module in.
const MODULE_UNKNOWN: i32 = 28;

/// Only root writes there, and nothing of it stays over a boot.
const DIRECTORY: &str = "/run/cgsandbox-trial";

/// A session of root's takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands for the rest of a stack, that libpam takes for the services it has no file of too.
const OTHERS: &str = "session required pam_permit.so\n";

/// An error where root could not log in through `service` with the line at its end, or where
/// the line would do nothing because the module cannot be loaded.
pub(super) fn try_root(service: &str) -> Result<()> {
    let directory = Scratch::make()?;
    // As it will be, the line lets everybody in where there is no module.
    let loads = format!("{OTHERS}session [module_unknown=die default=ignore] {MODULE}\n");
    let as_written = format!("{OTHERS}{LINE}\n");
    for (name, stack) in [("loads", loads), ("as-written", as_written)] {
        match run(&directory.stack(name, service, &stack)?, service)? {
            Ended::Well => {}
            Ended::Unloadable => return Err(unloadable(service)),
            Ended::Badly(said) => return Err(failed(service, &said)),
        }
    }
    Ok(())
}

fn unloadable(service: &str) -> Error {
    let there = crate::doctor::modules();
    let cause = match there.first() {
        None => format!("{MODULE} is in no directory of PAM modules; install its package"),
        Some(path) => {
            let path = path.display();
            format!("libpam cannot load {path}; look with ldd {path}, or install its package again")
        }
    };
    Error::new("enable", service, cause)
}

fn failed(service: &str, said: &str) -> Error {
    let cause = format!("root could not log in with the line: {said}; the log (authpriv) has more");
    Error::new("enable", service, cause)
}

/// A directory for the stacks of one trial. Its name is always the same: who makes one holds
/// the lock on `/etc/pam.d`, and removes what a killed one left.
struct Scratch(PathBuf);

/// Removes what a killed trial has left.
pub(super) fn clear_up() -> Result<()> {
    match std::fs::remove_dir_all(DIRECTORY) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::os("remove", DIRECTORY)(error))
        }
        _ => Ok(()),
    }
}

impl Scratch {
    fn make() -> Result<Self> {
        clear_up()?;
        let path = PathBuf::from(DIRECTORY);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(Error::os("create", DIRECTORY))?;
        Ok(Scratch(path))
    }

    fn stack(&self, name: &str, service: &str, text: &str) -> Result<PathBuf> {
        let directory = self.0.join(name);
        let write = |file: &str, text: &str| std::fs::write(directory.join(file), text);
        std::fs::create_dir(&directory)
            .and_then(|()| write("other", OTHERS))
            .and_then(|()| write(service, text))
            .map_err(Error::os("write to", directory.display()))?;
        Ok(directory)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If not now, then before the next one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

enum Ended {
    Well,
    Unloadable,
    /// What it said.
    Badly(String),
}

fn run(directory: &Path, service: &str) -> Result<Ended> {
    let root = nix::unistd::User::from_uid(nix::unistd::ROOT).ok().flatten();
    let root = root.map_or_else(|| "root".to_owned(), |user| user.name);
    let failed = |error| Error::os("try", format!("a session of {root}'s"))(error);
    let mut child = Command::new("/proc/self/exe")
        // What libpam logs is logged under this name.
        .arg0("cgsandbox")
        .arg(ARGUMENT)
        .arg(directory)
        .args([service, &root])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let Some(status) = wait(&mut child).map_err(failed)? else {
        return Ok(Ended::Badly(format!("it did not finish within {} s", PATIENCE.as_secs())));
    };
    let done = text(child.stdout.take()) == DONE;
    let said = text(child.stderr.take());
    Ok(match status.code() {
        Some(0) if done => Ended::Well,
        Some(code) if code == MODULE_UNKNOWN => Ended::Unloadable,
        Some(_) if !said.is_empty() => Ended::Badly(said),
        _ => Ended::Badly(format!("libpam or the module ended the program ({status})")),
    })
}

/// A line or two, all of which the pipe of a program that has ended holds.
fn text(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    let read = pipe.map(|pipe| pipe.take(4096).read_to_string(&mut text));
    drop(read);
    text.trim().to_owned()
}

/// None when it took too long, and was killed.
fn wait(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
