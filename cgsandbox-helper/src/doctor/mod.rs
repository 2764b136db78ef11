//! What stands in the way of logins landing in their sandboxes. Looks, and changes nothing.
//!
//! Each file has one subject and yields its findings as values; only this one knows them
//! all.

mod cgroups;
mod configuration;
mod delegated;
mod files;
mod kernel;
mod log;
mod login;
mod mounts;
mod outside;
mod pam;
mod sshd;
mod state;

pub(crate) use configuration::lint_for_this_host;
pub(crate) use files::modules;
pub(crate) use pam::PAM;

use serde::Serialize;

use crate::config::Sources;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::namespace;
use crate::pam_stack::{Directories, Line};
use crate::state::State;
use configuration::Configuration;
use pam::Surroundings;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it is to be.
    Ok,
    /// To be known; nothing needs to be done.
    Note,
    /// To be mended.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to.
    pub subject: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in one line.
    pub what: String,
    /// What mends it, in one line; none where nothing has to be done.
    pub remedy: Option<String>,
    /// What is to be written for that, word for word.
    pub line: Option<&'static str>,
}

impl Finding {
    fn new(subject: &'static str, level: Level, what: impl Into<String>) -> Self {
        Finding { subject, level, what: what.into(), remedy: None, line: None }
    }

    /// That all is well with something.
    pub fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self::new(subject, Level::Ok, what)
    }

    /// Something that is good to know.
    pub fn note(subject: &'static str, what: impl Into<String>) -> Self {
        Self::new(subject, Level::Note, what)
    }

    /// Something that is wrong.
    pub fn problem(subject: &'static str, what: impl Into<String>) -> Self {
        Self::new(subject, Level::Problem, what)
    }

    /// The same with what mends it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same with a line to be written as it is.
    pub fn line(mut self, line: &'static str) -> Self {
        self.line = Some(line);
        self
    }
}

/// What there is to say of the line in the stack of `service`.
pub(crate) fn service(directories: &Directories, service: &str) -> Vec<Finding> {
    let configuration =
        Configuration::load(&directories.configuration_of(service), &State::of_host());
    pam::look_at(directories, service, &Surroundings::of_host(&configuration))
}

/// Whether the helper is where the module looks for it, and starts.
pub(crate) fn helper() -> Finding {
    files::look_at_helper(cgsandbox_protocol::HELPER.as_ref())
}

/// Looks at everything that a login depends on. `user` names whose login to try dry; without
/// one it is that of the first ordinary user who gets a sandbox.
pub fn examine(user: Option<&str>) -> Result<Vec<Finding>> {
    let state = State::of_host();
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new("look at", "this host", "only root may; use sudo"));
    }
    if namespace::is_inside(&state) {
        let cause = "this is the inside of a sandbox; log in as root or as an exempt user";
        return Err(Error::new("look at", "this host", cause));
    }
    let directories = Directories::of_host();
    let ssh_line = directories.stack("sshd").and_then(|stack| stack.line().cloned());
    let sources = ssh_line.as_ref().map_or(Sources::System, Line::configuration);
    let configuration = Configuration::load(&sources, &state);
    let modules = files::modules();
    let around = Surroundings::of_host(&configuration);
    let mut findings = pam::look(&directories, configuration.services(), &around);
    findings.extend(sshd::look(configuration.services()));
    findings.extend(configuration.findings());
    match Host::look(configuration.cgroup_root()) {
        Ok(mut host) => {
            host.foresee_cgroups();
            host.foresee_namespaces();
            findings.extend(cgroups::look(&host));
            findings.extend(kernel::look(&state, &host, configuration.has_private_localhost()));
            findings.extend(mounts::look(&host.mountinfo));
        }
        Err(error) => findings.push(Finding::problem("host", error.to_string())),
    }
    findings.extend(files::look(ssh_line.as_ref(), &modules, state.directory()));
    findings.extend(log::look(&state));
    findings.extend(state::look(
        &state,
        &sources,
        configuration.cgroup_root(),
        configuration.on_error(),
    ));
    findings.extend(outside::look(&state, configuration.cgroup_root()));
    findings.extend(delegated::look());
    findings.extend(login::look(user, configuration.services()));
    Ok(findings)
}
