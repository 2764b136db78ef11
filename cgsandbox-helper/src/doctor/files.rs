//! Whether what root runs and reads can only have been written by root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cgsandbox_protocol::HELPER;

use super::Finding;
use crate::pam_stack::{Line, MODULE};

const FILES: &str = "files";

const COMMAND: &str = "/usr/bin/cgsandbox";

/// The module in the directories that distributions have their PAM modules in.
pub(crate) fn modules() -> Vec<PathBuf> {
    let mut directories = vec!["/usr/lib/security".into(), "/usr/lib64/security".into()];
    let triplets = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    directories.extend(triplets.map(|entry| entry.path().join("security")));
    directories.sort();
    directories.dedup();
    directories
        .into_iter()
        .map(|dir: PathBuf| dir.join(MODULE))
        .filter(|path| path.exists())
        .collect()
}

/// `line` names the helper where it is not the usual one.
pub(super) fn look(line: Option<&Line>, modules: &[PathBuf], state: &Path) -> Vec<Finding> {
    let helper = line.and_then(|line| line.argument("helper")).unwrap_or(HELPER);
    let mut findings =
        match line.map(|line| Path::new(&line.module)).filter(|path| path.is_absolute()) {
            Some(named) => vec![look_at(named, "the module")],
            None if modules.is_empty() => {
                let what =
                    format!("{MODULE} is in no directory of PAM modules: nobody gets a sandbox");
                vec![Finding::problem(FILES, what).remedy("install the package again")]
            }
            None => modules.iter().map(|module| look_at(module, "the module")).collect(),
        };
    findings.push(look_at_helper(Path::new(helper)));
    if Path::new(COMMAND).exists() {
        findings.push(look_at(Path::new(COMMAND), "the command"));
    }
    findings.push(look_at_state(state));
    findings
}

fn look_at(path: &Path, name: &str) -> Finding {
    match distrust(path) {
        None => Finding::ok(FILES, format!("{name} is {}, and root's alone", path.display())),
        Some((what, remedy)) => Finding::problem(FILES, what).remedy(remedy),
    }
}

pub(super) fn look_at_helper(path: &Path) -> Finding {
    let shown = path.display();
    let finding = look_at(path, "the helper");
    if finding.remedy.is_some() {
        return finding;
    }
    let mode = std::fs::metadata(path).map_or(0, |about| about.permissions().mode());
    let (what, remedy) = match mode {
        mode if mode & 0o6000 != 0 => {
            ("is setuid or setgid, and refuses to run like that", "chmod u-s,g-s")
        }
        mode if mode & 0o100 == 0 => ("may not be executed", "chmod 755"),
        _ => match starts(path) {
            Ok(()) => return finding,
            Err(cause) => {
                let what = format!("{shown} does not start: {cause}");
                return Finding::problem(FILES, what).remedy("install the package again");
            }
        },
    };
    Finding::problem(FILES, format!("{shown} {what}")).remedy(format!("{remedy} {shown}"))
}

/// Run by another than the module, the helper says so and does nothing else.
fn starts(helper: &Path) -> std::result::Result<(), String> {
    let output = Command::new(helper)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(2) => Ok(()),
        _ => Err(said.lines().next().map_or_else(|| output.status.to_string(), str::to_owned)),
    }
}

fn look_at_state(directory: &Path) -> Finding {
    let shown = directory.display();
    let Ok(about) = std::fs::symlink_metadata(directory) else {
        return Finding::ok(FILES, format!("{shown} is made by the first login"));
    };
    let mode = about.mode() & 0o7777;
    if !about.is_dir() || about.uid() != 0 || mode & 0o077 != 0 {
        let what = format!(
            "{shown} (uid {}, mode {mode:04o}) must be root's directory, 0700",
            about.uid()
        );
        let remedy = "look into it, then remove it: every login is refused until then";
        return Finding::problem(FILES, what).remedy(remedy);
    }
    match directory.parent().and_then(distrust_directory) {
        Some((what, remedy)) => Finding::problem(FILES, what).remedy(remedy),
        None => Finding::ok(FILES, format!("{shown} is root's alone (0700)")),
    }
}

/// Why others than root could change what is found at `path`, and what ends that.
fn distrust(path: &Path) -> Option<(String, String)> {
    let shown = path.display();
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) => {
            return Some((format!("{shown}: {error}"), "install the package again".into()));
        }
    };
    if !about.is_file() {
        return Some((format!("{shown} is not a file"), "install the package again".into()));
    }
    let way = |path: &Path| path.parent().and_then(distrust_directory);
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    writable(path, about.uid(), about.mode()).or_else(|| way(path)).or_else(|| way(&real))
}

/// The same of a directory and all above it.
fn distrust_directory(directory: &Path) -> Option<(String, String)> {
    directory.ancestors().find_map(|directory| {
        let about = std::fs::metadata(directory).ok()?;
        writable(directory, about.uid(), about.mode())
    })
}

fn writable(path: &Path, uid: u32, mode: u32) -> Option<(String, String)> {
    let shown = path.display();
    if uid != 0 {
        return Some((format!("{shown} belongs to uid {uid}"), format!("chown root:root {shown}")));
    }
    (mode & 0o022 != 0).then(|| {
        let what =
            format!("{shown} can be written by others than root (mode {:04o})", mode & 0o7777);
        (what, format!("chmod go-w {shown}"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_write_what_root_runs() {
        let path = Path::new("/x/helper");
        assert_eq!(writable(path, 0, 0o755), None);
        for (uid, mode, word) in
            [(1000, 0o755, "uid 1000"), (0, 0o775, "0775"), (0, 0o1777, "1777")]
        {
            let (what, remedy) = writable(path, uid, mode).unwrap();
            assert!(what.contains(word) && remedy.ends_with("/x/helper"), "{what}: {remedy}");
        }
    }

    #[test]
    fn a_directory_above_that_others_may_write_is_told() {
        let file = std::env::temp_dir().join(format!("cgsandbox-files-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let found = distrust(&file);
        std::fs::remove_file(&file).unwrap();
        assert!(found.is_some(), "anybody can replace what is in /tmp");
        assert!(distrust(Path::new("/nonexistent")).is_some());
    }
}
