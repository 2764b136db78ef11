//! Our line put into a PAM service's file, and taken out of it.
//!
//! `enable` changes a file only when it is sure that root can still log in: the file is one
//! that Linux-PAM can read, and libpam itself has opened and closed a session of root's with
//! the line. Nothing is ever half written, and whatever fails leaves the file as it was.

mod backup;
mod file;
mod trial;

pub use trial::{ARGUMENT as TRIAL, DONE as TRIAL_DONE};

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{self, DEFAULT_SERVICES, did_you_mean};
use crate::doctor::{self, Finding, Level};
use crate::error::{Error, Result};
use crate::namespace;
use crate::pam_stack::{self, Directories, Line, Stack};
use crate::session::USER_MANAGER;
use crate::state::State;
use crate::systemd;
use backup::{Backup, Origin};
use file::{Directory, Found};

/// What pam-auth-update leaves alone once somebody else has changed it.
const OF_PAM_AUTH_UPDATE: &[u8] = b"# end of pam-auth-update config";

/// What became of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Switched {
    /// Its name.
    pub service: String,
    /// Whether its sessions meet our line now.
    pub enabled: bool,
    /// Whether that was otherwise before.
    pub changed: bool,
    /// Where the line is, as `file:line`.
    pub line: Option<String>,
    /// The distribution's file of which that in `/etc/pam.d` is a copy, or was till now.
    pub copy_of: Option<PathBuf>,
    /// The file as it was before the last `enable`.
    pub backup: Option<PathBuf>,
    /// What the administrator should know of it.
    pub findings: Vec<Finding>,
}

impl Switched {
    fn new(service: &str, enabled: bool, changed: bool) -> Self {
        Switched {
            service: service.to_owned(),
            enabled,
            changed,
            line: None,
            copy_of: None,
            backup: None,
            findings: Vec::new(),
        }
    }

    /// Whether something about it has to be mended.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Problem)
    }
}

/// The services that are enabled where none is named: those of SSH logins.
pub fn usual() -> Vec<String> {
    let directories = Directories::of_host();
    // A host may have systemd and no user managers.
    let is_there = |name: &&&str| {
        **name != USER_MANAGER || (systemd::is_manager() && directories.has(USER_MANAGER))
    };
    DEFAULT_SERVICES.iter().filter(is_there).map(|name| (*name).to_owned()).collect()
}

/// The files in `/etc/pam.d` that have a line of ours, however it is written.
pub fn with_the_line() -> Vec<String> {
    let directories = Directories::of_host();
    let Some(own) = directories.0.first() else { return Vec::new() };
    let has_line = |name: &String| {
        let text = std::fs::read(own.join(name)).unwrap_or_default();
        pam_stack::without_lines(&text).1 > 0
    };
    directories.files().into_iter().filter(has_line).collect()
}

/// Refuses who cannot change a service: all but root, outside of every sandbox.
pub fn may_change() -> Result<()> {
    let refused = |cause| Err(Error::new("change", "PAM services", cause));
    if !nix::unistd::geteuid().is_root() {
        return refused("only root may; use sudo");
    }
    if namespace::is_inside(&State::of_host()) {
        return refused("this is the inside of a sandbox; log in as root or as an exempt user");
    }
    Ok(())
}

/// Puts the line last into the file of `service`, where its sessions do not meet it yet.
pub fn enable(service: &str) -> Result<Switched> {
    let directories = Directories::of_host();
    let directory = begin("enable", service, &directories)?;
    let own = directory.read(service)?;
    let vendors = match own {
        Some(_) => None,
        None => Some(directories.vendors_file(service).ok_or_else(|| unknown(service))?),
    };
    let stack = directories.stack(service);
    if let Some(line) = stack.as_ref().and_then(Stack::line) {
        let mut already = Switched::new(service, true, false);
        already.line = Some(line.to_string());
        already.findings = doubts(&directories, service);
        return Ok(already);
    }
    must_be_sound("enable", service, stack.as_ref())?;
    let before = match (&own, &vendors) {
        (None, Some(path)) => std::fs::read(path).map_err(Error::os("read", path.display()))?,
        (own, _) => own.as_ref().map(|found| found.bytes.clone()).unwrap_or_default(),
    };
    let after = pam_stack::with_line(&before);
    let place = foresee(&directories, service, &before, &after)?;
    helper_must_start(service)?;
    configured_services(service)?;
    trial::try_root(service)?;
    let root = Path::new(backup::DIRECTORY);
    let origin = if own.is_some() { Origin::Own } else { Origin::Vendors };
    let mut kept = None;
    let keep = || {
        kept = Some(Backup::keep(root, origin, service, &before)?);
        Ok(())
    };
    let written = match &own {
        Some(own) => directory.replace(own, &after, keep),
        None => directory.create(service, &after, keep),
    };
    if let Err(error) = written {
        // It is of a file that has not changed.
        return match kept.map_or(Ok(()), Backup::remove) {
            Ok(()) => Err(error),
            Err(second) => Err(Error::new("enable", service, format!("{error}; {second}"))),
        };
    }
    let mut enabled = Switched::new(service, true, true);
    enabled.line = Some(place);
    enabled.copy_of = vendors;
    enabled.backup = kept.filter(|kept| kept.origin == Origin::Own).map(|kept| kept.path);
    enabled.findings = doubts(&directories, service);
    enabled.findings.extend(start_slice());
    Ok(enabled)
}

/// A login must find the cgroup for helpers; what keeps systemd from making it.
fn start_slice() -> Option<Finding> {
    let is_lacking = systemd::is_manager() && !systemd::has_slice();
    let error = is_lacking.then(systemd::start_slice)?.err()?;
    let what = format!("{} is not active: {error}", systemd::SLICE);
    let remedy = format!("systemctl start {}", systemd::SLICE);
    // Logins go without it. Where systemd runs and this is no image that is being made, doctor
    // calls it a problem.
    Some(Finding::note(doctor::PAM, what).remedy(remedy))
}

/// Takes every line of ours out of the file of `service`, however it is written.
pub fn disable(service: &str) -> Result<Switched> {
    let directories = Directories::of_host();
    let directory = begin("disable", service, &directories)?;
    let Some(found) = directory.read(service)? else {
        return match directories.has(service) {
            true => Ok(left(&directories, Switched::new(service, false, false))),
            false => Err(unknown(service)),
        };
    };
    let (bare, lines) = pam_stack::without_lines(&found.bytes);
    let backup = Backup::find(Path::new(backup::DIRECTORY), service);
    if lines == 0 {
        // One that a killed enable has left, or that somebody has made needless by hand.
        if let Some(needless) = backup.filter(|backup| backup.bytes == bare) {
            needless.remove()?;
        }
        return Ok(left(&directories, Switched::new(service, false, false)));
    }
    let ends = |line: &[u8]| line.trim_ascii() == OF_PAM_AUTH_UPDATE;
    if found.bytes.split(|byte| *byte == b'\n').any(ends) {
        let cause = "pam-auth-update manages that file; run: pam-auth-update --disable cgsandbox";
        return Err(Error::new("change", found.path.display(), cause));
    }
    take_out(&directories, &directory, &found, &bare, backup)
}

/// Back to how the file was before the line, as far as that is known.
fn take_out(
    directories: &Directories,
    directory: &Directory,
    found: &Found,
    bare: &[u8],
    backup: Option<Backup>,
) -> Result<Switched> {
    let mut disabled = Switched::new(&found.name, false, true);
    let is_as_before = backup.as_ref().is_some_and(|backup| backup.bytes == bare);
    match (backup, is_as_before) {
        (Some(backup), true) => {
            let vendors = directories.vendors_file(&found.name);
            match vendors.filter(|_| backup.origin == Origin::Vendors) {
                Some(vendors) => {
                    directory.remove(found)?;
                    disabled.copy_of = Some(vendors);
                }
                None => directory.replace(found, bare, || Ok(()))?,
            }
            backup.remove()?;
        }
        (backup, _) => {
            directory.replace(found, bare, || Ok(()))?;
            if let Some(backup) = backup {
                let what = format!(
                    "{} has other changes since it was enabled, which stay",
                    found.path.display()
                );
                let remedy = format!("to look at them: diff {} it", backup.path.display());
                disabled.findings.push(Finding::note(doctor::PAM, what).remedy(remedy));
                disabled.backup = Some(backup.path);
            }
        }
    }
    Ok(left(directories, disabled))
}

/// With what is still there: a line that the service's stack gets from another file.
fn left(directories: &Directories, mut disabled: Switched) -> Switched {
    let stack = directories.stack(&disabled.service);
    let Some(line) = stack.as_ref().and_then(Stack::line) else { return disabled };
    disabled.enabled = true;
    disabled.line = Some(line.to_string());
    let what = format!("{} still has the line, by {line}", disabled.service);
    let finding = Finding::problem(doctor::PAM, what).remedy(way_out(line));
    disabled.findings.push(finding);
    disabled
}

/// How a line in an included file is taken out, which other services may include too.
fn way_out(line: &Line) -> String {
    let name = line.file.file_name().unwrap_or_default().to_string_lossy();
    match line.is_common() {
        true => "run: pam-auth-update --disable cgsandbox".to_owned(),
        false => format!("for all that include that file: cgsandbox disable --service {name}"),
    }
}

/// Where the line will be; an error where libpam would not run it, or root's login not pass.
fn foresee(
    directories: &Directories,
    service: &str,
    before: &[u8],
    after: &[u8],
) -> Result<String> {
    if directories.stack_of(service, before).session.is_empty() {
        let cause = "its file has no session lines: with this one alone PAM would refuse root; \
                     add before it: session required pam_unix.so";
        return Err(Error::new("enable", service, cause));
    }
    let stack = directories.stack_of(service, after);
    must_be_sound("enable", service, Some(&stack))?;
    match stack.session.last() {
        Some(line) if line.is_ours() => Ok(line.to_string()),
        _ => Err(Error::new("enable", service, "PAM would not read a line at its file's end")),
    }
}

/// Refuses a stack that Linux-PAM stumbles on, and one with a line of ours that it ignores.
fn must_be_sound(operation: &'static str, service: &str, stack: Option<&Stack>) -> Result<()> {
    let Some(stack) = stack else { return Ok(()) };
    if let Some(mistake) = stack.broken.first() {
        return Err(Error::new(operation, service, format!("{mistake}; {}", mistake.remedy)));
    }
    match stack.misspelt.first() {
        None => Ok(()),
        Some(line) => {
            let cause = format!(
                "{line} looks like the line, but PAM finds no \"{}\"; \
                 run first: cgsandbox disable --service {service}",
                line.module
            );
            Err(Error::new(operation, service, cause))
        }
    }
}

/// Without it, every login but root's would be refused.
fn helper_must_start(service: &str) -> Result<()> {
    let helper = doctor::helper();
    match helper.level {
        Level::Problem => {
            let remedy = helper.remedy.unwrap_or_default();
            Err(Error::new("enable", service, format!("{}; {remedy}", helper.what)))
        }
        _ => Ok(()),
    }
}

/// The services that the configuration is for; an error where none can be used, for then every
/// login but root's would be refused, or have no sandbox.
fn configured_services(service: &str) -> Result<Vec<String>> {
    let sources = Directories::of_host().configuration_of(service);
    let policy = config::in_force(&sources, State::of_host().directory()).ok_or_else(|| {
        let cause = "no configuration can be used; correct it first, and run: cgsandbox check";
        Error::new("enable", service, cause)
    })?;
    Ok(policy.services)
}

/// What is wrong around the line, and whether the configuration is for the service at all.
fn doubts(directories: &Directories, service: &str) -> Vec<Finding> {
    let found = doctor::service(directories, service);
    let mut doubts: Vec<Finding> =
        found.into_iter().filter(|finding| finding.level == Level::Problem).collect();
    match configured_services(service) {
        Ok(services) if services.iter().any(|name| name == service) => {}
        Ok(mut services) => {
            let what = format!(
                "services in the configuration does not name {service}: the line does nothing yet"
            );
            services.push(service.to_owned());
            let remedy = format!("write into cgsandbox.toml: services = {services:?}");
            doubts.push(Finding::note(doctor::PAM, what).remedy(remedy));
        }
        Err(error) => {
            let finding = Finding::problem(doctor::PAM, error.cause);
            doubts.push(finding.remedy("root and exempt users can still log in to do this"));
        }
    }
    doubts
}

/// The administrator's directory, locked, without what a killed change has left there.
fn begin(operation: &'static str, service: &str, directories: &Directories) -> Result<Directory> {
    must_be_a_name(operation, service)?;
    let own = directories.0.first().map_or(Path::new("/etc/pam.d"), PathBuf::as_path);
    let directory = Directory::lock(own)?;
    // Where neither can be removed, it is in nobody's way but the next change's, which says so.
    let _ = directory.clear_up(service);
    let _ = trial::clear_up();
    Ok(directory)
}

/// PAM asks for services by names in small letters, without directories.
fn must_be_a_name(operation: &'static str, service: &str) -> Result<()> {
    let is_odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if service.is_empty() || service.starts_with(['.', '-']) || service.contains(is_odd) {
        let cause = "this is not a valid name of a PAM service";
        return Err(Error::new(operation, format!("{service:?}"), cause));
    }
    Ok(())
}

fn unknown(service: &str) -> Error {
    let known = Directories::of_host().services();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let cause = match did_you_mean(service, &known) {
        Some(meant) => format!("there is no such PAM service; did you mean \"{meant}\"?"),
        None => "there is no such PAM service; to list them: ls /etc/pam.d".to_owned(),
    };
    Error::new("find", service, cause)
}
