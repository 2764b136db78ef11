//! Whether the configuration can be used, and what of it hardly means what it says.

use cgsandbox_protocol::Login;

use super::Finding;
use crate::config::value::CpuSet;
use crate::config::{self, ConfigErrors, DEFAULT_CGROUP_ROOT, Facts, Load, Problem, Sources};
use crate::loopback::ports::Free;
use crate::pam_stack::Directories;
use crate::policy::Policy;
use crate::state::State;
use crate::subject;

const CONFIGURATION: &str = "configuration";

/// How many of its errors are shown; `cgsandbox check` has them all.
const SHOWN: usize = 3;

/// The configuration as logins have it now.
pub(super) struct Configuration {
    policy: Option<Policy>,
    services: Vec<String>,
    on_error: Login,
    findings: Vec<Finding>,
}

impl Configuration {
    pub(super) fn load(sources: &Sources, state: &State) -> Self {
        match config::preview(sources, state.directory()) {
            Ok(Load::Current { policy, .. }) => Self::of(policy, warnings(sources)),
            Ok(Load::Kept { policy, errors }) => {
                let what = "logins use the configuration as it was before these errors";
                let last = Finding::note(CONFIGURATION, what);
                Self::of(policy, told(&errors).chain([last]).collect())
            }
            Err(unusable) => {
                let on_error = unusable.on_error(|| Login::published(&sources.argument()));
                let becomes = match on_error {
                    Login::Deny => "refused",
                    Login::Allow => "let in without a sandbox",
                };
                let what = format!(
                    "no configuration can be used: all but root and exempt users are {becomes}"
                );
                let last = Finding::problem(CONFIGURATION, what)
                    .remedy("correct it; run: cgsandbox check");
                let findings = told(&unusable.errors).chain([last]).collect();
                // The line that ships is sshd's, whatever the file was to say.
                Configuration {
                    policy: None,
                    services: vec!["sshd".to_owned()],
                    on_error,
                    findings,
                }
            }
        }
    }

    fn of(policy: Policy, findings: Vec<Finding>) -> Self {
        let (services, on_error) = (policy.services.clone(), policy.on_error);
        Configuration { policy: Some(policy), services, on_error, findings }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }

    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    /// Whether any profile limits single processes.
    pub(super) fn has_rlimits(&self) -> bool {
        let has =
            |policy: &Policy| policy.profiles.values().any(|one| !one.profile.limits.is_empty());
        self.policy.as_ref().is_some_and(has)
    }

    /// Whether any profile gives users a localhost of their own.
    pub(super) fn has_private_localhost(&self) -> bool {
        self.policy.as_ref().is_some_and(Policy::has_private_localhost)
    }

    pub(super) fn on_error(&self) -> Login {
        self.on_error
    }

    pub(super) fn cgroup_root(&self) -> &str {
        self.policy.as_ref().map_or(DEFAULT_CGROUP_ROOT, |policy| &policy.cgroup_root)
    }
}

fn warnings(sources: &Sources) -> Vec<Finding> {
    let Ok(texts) = config::read(sources) else { return Vec::new() };
    let Ok(policy) = config::parse(&texts) else { return Vec::new() };
    let files = config::named(&texts);
    let mut findings = vec![Finding::ok(CONFIGURATION, format!("no errors in {files}"))];
    let mut doubtful = config::lint(&policy, &texts, subject::is_known);
    doubtful.extend(config::squattable(&policy, &Free::of_host()));
    doubtful.extend(lint_for_this_host(&policy));
    findings.extend(doubtful.iter().map(|problem| {
        let finding = Finding::note(CONFIGURATION, problem.without_help().to_string());
        match &problem.help {
            Some(help) => finding.remedy(help.clone()),
            None => finding,
        }
    }));
    findings
}

/// Warnings about what the configuration speaks of and this host does not have.
pub(crate) fn lint_for_this_host(policy: &Policy) -> Vec<Problem> {
    let present = std::fs::read_to_string("/sys/devices/system/cpu/present").ok();
    let about = rustix::system::sysinfo();
    let facts = Facts {
        uid_of: &subject::uid_of,
        services: Directories::of_host().files(),
        exists: &|path| std::path::Path::new(path).exists(),
        cpus: present.and_then(|list| CpuSet::of_list(&list)),
        memory: about.totalram as u64 * u64::from(about.mem_unit),
        swap: about.totalswap > 0,
    };
    config::lint_for_host(policy, &facts)
}

fn told(errors: &ConfigErrors) -> impl Iterator<Item = Finding> {
    let problems = errors.problems();
    let shown = problems.iter().take(SHOWN).map(|problem| {
        let help = problem.help.clone().unwrap_or_else(|| "run: cgsandbox check".to_owned());
        Finding::problem(CONFIGURATION, problem.without_help().to_string()).remedy(help)
    });
    let more = problems.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| {
        let what = format!("and {more} more errors");
        Finding::problem(CONFIGURATION, what).remedy("run: cgsandbox check")
    });
    shown.chain(more).collect::<Vec<_>>().into_iter()
}
