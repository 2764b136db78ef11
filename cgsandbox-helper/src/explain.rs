//! What a user's next login would get, and why: the plan that `open` would run, not run.

use std::path::PathBuf;
use std::sync::Arc;

use cgsandbox_protocol::Login;
use rustix::thread::CapabilitySet;

use crate::cgroup::{Attribute, Controller, Owner, Tree, Unfit, Version};
use crate::config::{self, ConfigErrors, Load, Sources};
use crate::decision::{self, Attempt, Decision, Loaded, Look, Met, decide};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::limits::{self, Wanted};
use crate::pam_stack::{Directories, Line};
use crate::plan::{Plan, Sandbox};
use crate::policy::{Mentioned, Policy, Profile, Subject};
use crate::state::State;
use crate::systemd::{self, Overridden};
use crate::tasks::{self, Full};
use crate::{loopback, namespace, subject, teardown};

/// What becomes of one login.
#[derive(Debug)]
pub struct Explanation {
    /// Who logs in.
    pub subject: Subject,
    /// Through which PAM service.
    pub service: String,
    /// The line by which that service calls our module; none where there is none.
    pub line: Option<Line>,
    /// Which configuration counts.
    pub configuration: Configuration,
    /// What the login gets.
    pub decision: Decision,
    /// See [`Prospect::elsewhere`].
    elsewhere: Vec<Overridden>,
    /// See [`Prospect::sessions`].
    sessions: Option<u64>,
    /// What could not be found out with the rights of who asks.
    pub unknown: Vec<&'static str>,
}

/// Which configuration a login goes by.
#[derive(Debug)]
pub enum Configuration {
    /// None: uid 0 is let through before anything is read.
    NotRead,
    /// The present one.
    Current,
    /// The last one that could be used, for these errors in the present one.
    Kept(ConfigErrors),
    /// None, for these errors.
    Unusable(ConfigErrors),
}

/// A sandbox that is not built yet, as far as it can be told beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Prospect<'a> {
    /// The sandbox.
    pub sandbox: &'a Sandbox,
    /// The cgroups below which it is made.
    pub tree: &'a Tree,
    /// What unit files say in place of the policy, or where it is silent.
    pub elsewhere: &'a [Overridden],
    /// How many sessions the user has; none where only root may know.
    pub sessions: Option<u64>,
}

/// Explains a login of `user`, a name or a uid, through the PAM service `service`.
pub fn explain(user: &str, service: &str) -> Result<Explanation> {
    let subject = subject::find(user)?;
    let line = Directories::of_host().stack(service).and_then(|stack| stack.line().cloned());
    if let Some(decision) = decision::by_module(subject.uid) {
        let configuration = Configuration::NotRead;
        return Ok(Explanation::new(subject, service, line, configuration, decision));
    }
    let state = State::of_host();
    let mut facts = Facts {
        state: &state,
        is_root: nix::unistd::geteuid().is_root(),
        subject,
        unknown: Vec::new(),
    };
    if namespace::is_inside(&state) {
        facts.unknown.push("what is in /run/cgsandbox: it cannot be seen from inside a sandbox");
    }
    let sources = line.as_ref().map_or(Sources::System, Line::configuration);
    let (loaded, configuration) = load(&sources, &state, facts.is_root)?;
    let name = facts.subject.name.clone();
    let attempt = Attempt { user: &name, service, rhost: "" };
    let decision = decide(&attempt, &loaded, &mut facts);
    let mut unknown = std::mem::take(&mut facts.unknown);
    let subject = facts.subject.clone();
    let mut explanation = Explanation::new(subject, service, line, configuration, decision);
    explanation.foresee(|plan| facts.foresee(plan));
    explanation.unknown.append(&mut unknown);
    Ok(explanation)
}

/// What a login goes by. An error where an ordinary user may not read it: that says nothing of a
/// login.
fn load(sources: &Sources, state: &State, is_root: bool) -> Result<(Loaded, Configuration)> {
    match config::preview(sources, state.directory()) {
        Ok(Load::Current { policy, .. }) => {
            Ok((Loaded::Policy(Arc::new(policy)), Configuration::Current))
        }
        Ok(Load::Kept { policy, errors }) => {
            Ok((Loaded::Policy(Arc::new(policy)), Configuration::Kept(errors)))
        }
        Err(unusable) => {
            let unread = unusable.errors.problems().iter().find(|problem| problem.unread);
            if let Some(unread) = unread.filter(|_| !is_root) {
                let cause = format!("{}; run this as root", unread.message);
                return Err(Error::new("read", &unread.file, cause));
            }
            let loaded = Loaded::salvage(&unusable, || Login::published(&sources.argument()));
            Ok((loaded, Configuration::Unusable(unusable.errors)))
        }
    }
}

/// What a decision asks for, as far as it can be told without making anything. The login that is
/// told of is a new one: it comes out of no sandbox.
struct Facts<'a> {
    state: &'a State,
    is_root: bool,
    /// With what NSS had to be asked.
    subject: Subject,
    unknown: Vec<&'static str>,
}

impl Look for Facts<'_> {
    fn user(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        self.subject = subject::resolve(&self.subject.name, mentioned)?;
        Ok(self.subject.clone())
    }

    fn user_without_groups(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        self.subject = subject::resolve_without_groups(&self.subject.name, mentioned)?;
        Ok(self.subject.clone())
    }

    fn is_inside(&mut self) -> bool {
        false
    }

    fn host(&mut self, policy: &Policy) -> Result<Host> {
        if self.is_root {
            self.state.must_be_roots_own()?;
        }
        let mut host = Host::look(&policy.cgroup_root)?;
        if self.is_root && host.tree.owner() == Owner::Systemd {
            systemd::version()?;
        }
        host.foresee_cgroups();
        if self.is_root {
            host.foresee_namespaces();
        } else if host.no_procfs.take().is_some() && !namespace::is_inside(self.state) {
            self.unknown.push("whether this kernel gives a sandbox a /proc of its own");
        }
        Ok(host)
    }

    fn is_nested(&mut self, _: &Host) -> Result<bool> {
        Ok(false)
    }

    fn disks(&mut self, host: &mut Host, profile: &Profile) {
        host.look_for_disks(profile);
    }
}

impl Facts<'_> {
    /// What putting a plan into effect would meet, and what unit files say in its place.
    fn foresee(&self, plan: &Plan) -> Result<(Met, Vec<Overridden>)> {
        let (sandbox, tree) = (&plan.sandbox, &plan.host.tree);
        let uid = sandbox.subject.uid;
        let elsewhere = systemd::said_elsewhere(tree, uid, &sandbox.attributes);
        let mut met = Met { full: full(plan, &elsewhere), ..Met::default() };
        if self.is_root {
            // As a login meets them, and its line in the log names them.
            if sandbox.loopback.is_some() {
                met.missing.extend(untaken()?);
            }
            met.missing.extend(unraisable(&sandbox.rlimits)?);
            met.logins = teardown::logins(self.state, uid).ok();
        }
        Ok((met, elsewhere))
    }
}

impl Explanation {
    pub(crate) fn new(
        subject: Subject,
        service: &str,
        line: Option<Line>,
        configuration: Configuration,
        decision: Decision,
    ) -> Self {
        Explanation {
            subject,
            service: service.to_owned(),
            line,
            configuration,
            decision,
            elsewhere: Vec::new(),
            sessions: None,
            unknown: Vec::new(),
        }
    }

    /// Judges a plan by what putting it into effect would meet, as the login itself does by what it
    /// meets.
    pub(crate) fn foresee(&mut self, look: impl FnOnce(&Plan) -> Result<(Met, Vec<Overridden>)>) {
        let none = Decision::Inside;
        self.decision = match std::mem::replace(&mut self.decision, none) {
            Decision::Sandbox(mut plan) => {
                plan.leave_out_silent_values();
                match look(&plan) {
                    Ok((met, elsewhere)) => {
                        (self.sessions, self.elsewhere) = (met.logins, elsewhere);
                        plan.judge(&self.service, met)
                    }
                    Err(error) => Decision::Failed { error, on_error: plan.policy.on_error },
                }
            }
            decided => decided,
        };
    }

    /// The sandbox, where there is a plan of one.
    pub fn prospect(&self) -> Option<Prospect<'_>> {
        let (Decision::Sandbox(plan) | Decision::Refused { plan, .. }) = &self.decision else {
            return None;
        };
        Some(Prospect {
            sandbox: &plan.sandbox,
            tree: &plan.host.tree,
            elsewhere: &self.elsewhere,
            sessions: self.sessions,
        })
    }

    /// Whether it would be in a sandbox, but for PAM, which never calls the module.
    pub fn is_uncalled(&self) -> bool {
        !matches!(self.decision, Decision::Unconfined(_) | Decision::Inside) && self.line.is_none()
    }

    /// Whether it comes as the policy wants it, all of it.
    pub fn is_well(&self) -> bool {
        let decision = match &self.decision {
            Decision::Unconfined(_) | Decision::Inside => true,
            Decision::Sandbox(plan) => !self.is_uncalled() && plan.sandbox.missing.is_empty(),
            Decision::Refused { .. } | Decision::Failed { .. } => false,
        };
        let configuration = match &self.configuration {
            Configuration::NotRead | Configuration::Current => true,
            Configuration::Kept(_) | Configuration::Unusable(_) => false,
        };
        decision && configuration
    }
}

impl Prospect<'_> {
    /// The cgroup that a value is written to; none where the host has no cgroups.
    pub fn directory_of(&self, attribute: &Attribute) -> Option<PathBuf> {
        let hierarchy = self.tree.carrier(attribute.controller)?;
        Some(self.tree.user_in(hierarchy, self.sandbox.subject.uid))
    }
}

impl Plan {
    /// Leaves out what a login has without being asked for, and would only confuse who reads it.
    fn leave_out_silent_values(&mut self) {
        let tree = &self.host.tree;
        // v1's has what is above it, whatever that is, or is not made.
        let is_v1s_cpuset = |it: &Attribute| {
            let hierarchy = tree.carrier(it.controller).map(|hierarchy| hierarchy.version);
            it.controller == Controller::Cpuset && hierarchy == Some(Version::Legacy)
        };
        self.sandbox.attributes.retain(|it| it.origin.is_some() || !is_v1s_cpuset(it));
        // A login's own cgroup is new, and has what is asked for alone.
        self.sandbox.session_attributes.retain(|it| it.origin.is_some());
    }
}

/// Whether the tasks that run leave no room for a login, by the limit that is to be.
fn full(plan: &Plan, elsewhere: &[Overridden]) -> Option<Full> {
    let is_limit = |it: &&Attribute| it.directive == "tasks_max" && it.origin.is_some();
    let limit = plan.sandbox.attributes.iter().find(is_limit)?;
    let (tree, uid) = (&plan.host.tree, plan.sandbox.subject.uid);
    match elsewhere.iter().any(|it| it.directive == limit.directive) {
        // It is in force already.
        true => tasks::full(tree, uid, false),
        false => tasks::full_by(tree, uid, limit.value.parse().ok()?),
    }
}

/// Why the kernel does not take the programs of a private localhost, if it does not.
fn untaken() -> Result<Option<Unfit>> {
    let unfit = |error: Error| Unfit { directive: "loopback", why: error.to_string() };
    Ok(loopback::try_out()?.map(unfit))
}

/// The rlimits that root may not set here. Without the capability nobody's hard limit can be
/// raised; sshd's is taken to be that of this process.
fn unraisable(wanted: &[Wanted]) -> Result<Vec<Unfit>> {
    let held =
        rustix::thread::capabilities(None).map_err(Error::os("ask for", "own capabilities"))?;
    if held.effective.contains(CapabilitySet::SYS_RESOURCE) {
        return Ok(Vec::new());
    }
    let own = limits::remember(std::process::id(), wanted)?.rlimits;
    let too_high = |(name, _, hard): &Wanted| {
        let (_, most) = *own.get(name.name())?;
        let most = most.filter(|most| hard.is_none_or(|hard| hard > *most))?;
        let why = format!("over the hard limit of {most}, and root here has no CAP_SYS_RESOURCE");
        Some(Unfit { directive: name.directive(), why })
    };
    Ok(wanted.iter().filter_map(too_high).collect())
}
