//! The one line in each service's PAM stack, and its place there.

mod line;
mod others;

use std::path::Path;

use super::configuration::Configuration;
use super::{Finding, files};
use crate::pam_stack::{Directories, LINE, Line, MODULE, Stack};
use crate::session::USER_MANAGER;
use crate::systemd;

pub(crate) const PAM: &str = "PAM";

/// What pam-auth-update(8) offers to put the line into all services by.
const PROFILE: &str = "/usr/share/pam-configs/cgsandbox";

/// What the host has, as far as the line's place depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings {
    /// Our module in a directory of PAM modules.
    pub module: bool,
    /// systemd, and logind with it.
    pub systemd: bool,
    /// SELinux, switched on.
    pub selinux: bool,
    /// The profile for pam-auth-update.
    pub profile: bool,
    /// Limits of processes in the configuration, which other modules set too.
    pub rlimits: bool,
}

impl Surroundings {
    pub(super) fn of_host(configuration: &Configuration) -> Self {
        Surroundings {
            module: !files::modules().is_empty(),
            systemd: systemd::is_manager(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            profile: Path::new(PROFILE).exists(),
            rlimits: configuration.has_rlimits(),
        }
    }

    /// The user manager's name may stand in the configuration of a host that has none.
    fn has_use_for(&self, service: &str) -> bool {
        service != USER_MANAGER || self.systemd
    }
}

/// Looks at the stacks of `services`, to which the configuration applies, and of the others.
pub(super) fn look(
    directories: &Directories,
    services: &[String],
    around: &Surroundings,
) -> Vec<Finding> {
    let used = services.iter().filter(|name| around.has_use_for(name));
    let mut findings: Vec<Finding> =
        used.flat_map(|service| look_at(directories, service, around)).collect();
    findings.extend(others::look(directories, services, around));
    findings.extend(others::profile(directories, around));
    findings
}

/// Looks at the stack of one service.
pub(super) fn look_at(
    directories: &Directories,
    service: &str,
    around: &Surroundings,
) -> Vec<Finding> {
    let file = directories.0.first().map(|dir| dir.join(service)).unwrap_or_default();
    let file = file.display();
    if !directories.has(service) {
        let what = format!("there is no {file}: no login through {service} gets a sandbox");
        let remedy = format!("create it, or remove \"{service}\" from services in cgsandbox.toml");
        return vec![Finding::problem(PAM, what).remedy(remedy)];
    }
    let Some(stack) = directories.stack(service) else { return Vec::new() };
    let mut findings: Vec<Finding> = stack
        .broken
        .iter()
        .map(|mistake| Finding::problem(PAM, mistake.to_string()).remedy(&mistake.remedy))
        .collect();
    findings.extend(stack.misspelt.iter().map(|line| misspelt(line, service)));
    let ours = stack.ours();
    let has_line = !ours.is_empty();
    findings.extend(stack.strays.iter().map(|line| stray(line, has_line)));
    let Some(&at) = ours.first() else {
        // What was meant to be it has been named.
        if !stack.has_ours_gone_wrong() {
            findings.push(missing(&stack, service));
        }
        return findings;
    };
    findings.extend(several(&stack, &ours, service));
    let line = &stack.session[at];
    let doubts = [
        line::control(line, around),
        line::arguments(line),
        line::place(&stack, at, around),
        line::ways_past(&stack, at),
        line::alone(&stack),
    ];
    findings.extend(doubts.into_iter().flatten());
    if findings.is_empty() {
        findings.push(Finding::ok(PAM, format!("{line} has the line, last in the session stack")));
    }
    findings
}

fn missing(stack: &Stack, service: &str) -> Finding {
    let what =
        format!("{} has no session line of {MODULE}: nobody gets a sandbox", stack.file.display());
    let remedy = format!("run cgsandbox enable --service {service}, or add as its last line:");
    Finding::problem(PAM, what).remedy(remedy).line(LINE)
}

/// Linux-PAM looks for a module by exactly the name that is written.
fn misspelt(line: &Line, service: &str) -> Finding {
    let is_relative = line.module.contains('/') && !line.module.starts_with('/');
    let why = match (line.module_name() == MODULE, is_relative) {
        (true, true) => "looks for it below its own directory of modules",
        _ => "finds no module of that name",
    };
    let effect = match line.control.on("module_unknown").refuses() {
        true => "nobody gets in, not even root",
        false => "nobody gets a sandbox from this line",
    };
    let what = format!("{line}: \"{}\": PAM {why}, and {effect}", line.module);
    let remedy = format!("write {MODULE}, or run cgsandbox disable and enable --service {service}");
    Finding::problem(PAM, what).remedy(remedy)
}

/// A line of another type than session.
fn stray(line: &Line, has_line: bool) -> Finding {
    let what = format!("{line}: for {} the module does nothing", line.kind);
    match has_line {
        true => Finding::note(PAM, what).remedy("remove it: the session line does everything"),
        false => {
            Finding::problem(PAM, what + ", and there is no session line: nobody gets a sandbox")
                .remedy("make it a session line")
        }
    }
}

/// The second one finds a session open already, and refuses.
fn several(stack: &Stack, ours: &[usize], service: &str) -> Option<Finding> {
    let lines: Vec<&Line> = ours.iter().map(|at| &stack.session[*at]).collect();
    if lines.len() < 2 {
        return None;
    }
    let times = if lines.len() == 2 { "twice" } else { "several times" };
    let places: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let what = format!(
        "the line is there {times}: {}: the second one refuses every user whom the first one has \
         sandboxed",
        places.join(" and ")
    );
    let is_own = |line: &&&Line| line.file == stack.file;
    let remedy = match lines.iter().filter(is_own).count() {
        0 => "remove all but one".to_owned(),
        own if own == lines.len() => {
            format!("run cgsandbox disable --service {service}, then enable --service {service}")
        }
        _ => format!(
            "keep one: cgsandbox disable --service {service} takes it out of {}, \
             pam-auth-update --disable cgsandbox out of what others include too",
            stack.file.display()
        ),
    };
    Some(Finding::problem(PAM, what).remedy(remedy))
}

#[cfg(test)]
mod tests;
