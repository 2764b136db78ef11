//! What a user's next login would get, and why: the plan that `open` would run, not run.

use std::path::PathBuf;

use cgsandbox_protocol::Login;
use rustix::thread::CapabilitySet;

use crate::cgroup::{Attribute, Controller, Owner, Tree, Unfit, Version};
use crate::config::{self, ConfigErrors, Load, Sources};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::limits::{self, Wanted};
use crate::pam_stack::{Directories, Line};
use crate::plan::{Plan, Sandbox};
use crate::policy::{Choice, Policy, Subject, Unconfined, Verdict};
use crate::state::State;
use crate::systemd::{self, Overridden};
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
    pub outcome: Outcome,
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

/// What a login gets.
#[derive(Debug)]
pub enum Outcome {
    /// No sandbox, by the policy.
    Unconfined(Unconfined),
    /// A sandbox, or a refusal by its own rules.
    Sandbox(Box<Prospect>),
    /// The sandbox cannot be built, and `on_error` decides.
    Failed {
        /// Why not.
        error: Error,
        /// What then becomes of the login.
        on_error: Login,
    },
}

/// A sandbox that is not built yet.
#[derive(Debug)]
pub struct Prospect {
    /// The plan.
    pub sandbox: Sandbox,
    /// The cgroups below which it is made.
    pub tree: Tree,
    /// What unit files say in place of the policy, or where it is silent.
    pub elsewhere: Vec<Overridden>,
    /// What this host cannot carry: the plan's own and what applying it would meet.
    pub missing: Vec<Unfit>,
    /// How many sessions the user has; none where only root may know.
    pub sessions: Option<u64>,
}

/// How a login ends.
#[derive(Debug)]
pub enum Fate<'a> {
    /// It goes on without a sandbox, as the policy wants.
    Unconfined,
    /// It goes on without the sandbox that it was to have, because PAM never calls the module.
    Uncalled,
    /// It is in its sandbox.
    Confined {
        /// What is missing from that.
        missing: &'a [Unfit],
    },
    /// It is refused.
    Refused {
        /// Why, in one line.
        why: String,
    },
    /// It goes on without the sandbox that it was to have.
    LetIn {
        /// Why, in one line.
        why: String,
    },
}

/// Explains a login of `user`, a name or a uid, through the PAM service `service`.
pub fn explain(user: &str, service: &str) -> Result<Explanation> {
    let subject = subject::find(user)?;
    let line = Directories::of_host().stack(service).and_then(|stack| stack.line().cloned());
    let mut explanation = Explanation {
        service: service.to_owned(),
        line,
        configuration: Configuration::NotRead,
        outcome: Outcome::Unconfined(Unconfined::Root),
        unknown: Vec::new(),
        subject,
    };
    if explanation.subject.uid != 0 {
        explanation.look()?;
    }
    Ok(explanation)
}

impl Explanation {
    fn look(&mut self) -> Result<()> {
        let state = State::of_host();
        let is_root = nix::unistd::geteuid().is_root();
        let sources = self.line.as_ref().map_or(Sources::System, Line::configuration);
        if namespace::is_inside(&state) {
            self.unknown.push("what is in /run/cgsandbox: it cannot be seen from inside a sandbox");
        }
        let policy = match config::preview(&sources, state.directory()) {
            Ok(Load::Current { policy, .. }) => {
                self.configuration = Configuration::Current;
                policy
            }
            Ok(Load::Kept { policy, errors }) => {
                self.configuration = Configuration::Kept(errors);
                policy
            }
            Err(unusable) => {
                // Who asks lacks a right; that says nothing of a login.
                if let Some(unread) =
                    unusable.errors.problems().iter().find(|problem| problem.unread)
                {
                    let cause = format!("{}; run this as root", unread.message);
                    return Err(Error::new("read", &unread.file, cause));
                }
                return self.without_configuration(*unusable);
            }
        };
        // In the order of open: a login meets the first of these that applies.
        self.subject = subject::resolve(&self.subject.name, &policy.mentioned())?;
        self.outcome = match policy.choose(&self.subject, &self.service) {
            Choice::Unconfined(reason) => Outcome::Unconfined(reason),
            Choice::Confined(_) => match self.sandbox(&policy, &state, is_root) {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Failed { error, on_error: policy.on_error },
            },
        };
        Ok(())
    }

    fn without_configuration(&mut self, unusable: config::Unusable) -> Result<()> {
        let salvaged = unusable.salvaged;
        self.subject = subject::resolve(&self.subject.name, &salvaged.exempt.mentioned())?;
        self.outcome = match salvaged.exempt.judge(&self.subject) {
            Verdict::Matched(by) => Outcome::Unconfined(Unconfined::Exempt(by.clone())),
            _ => {
                let cause = "it has errors, and none has parsed before";
                let error = Error::new("use", "the configuration", cause);
                Outcome::Failed { error, on_error: salvaged.on_error }
            }
        };
        self.configuration = Configuration::Unusable(unusable.errors);
        Ok(())
    }

    fn sandbox(&mut self, policy: &Policy, state: &State, is_root: bool) -> Result<Outcome> {
        if is_root {
            state.must_be_roots_own()?;
        }
        let mut host = Host::look(&policy.cgroup_root)?;
        if is_root && host.tree.owner() == Owner::Systemd {
            systemd::version()?;
        }
        host.foresee_cgroups();
        if is_root {
            host.foresee_namespaces();
        }
        if !is_root && host.no_procfs.take().is_some() && !namespace::is_inside(state) {
            self.unknown.push("whether this kernel gives a sandbox a /proc of its own");
        }
        if let Choice::Confined(confined) = policy.choose(&self.subject, &self.service) {
            host.look_for_disks(&confined.profile);
        }
        let mut sandbox = match Plan::new(policy, &self.subject, &self.service, &host) {
            Plan::Unconfined(reason) => return Ok(Outcome::Unconfined(reason)),
            Plan::Sandbox(sandbox) => *sandbox,
        };
        let mut missing = sandbox.missing.clone();
        if is_root {
            missing.extend(unraisable(&sandbox.rlimits)?);
            if sandbox.loopback.is_some() {
                missing.extend(untaken()?);
            }
        }
        let uid = self.subject.uid;
        // v1's has what is above it, whatever that is, or is not made.
        let is_v1s_cpuset = |it: &Attribute| {
            let hierarchy = host.tree.carrier(it.controller).map(|hierarchy| hierarchy.version);
            it.controller == Controller::Cpuset && hierarchy == Some(Version::Legacy)
        };
        sandbox.attributes.retain(|it| it.origin.is_some() || !is_v1s_cpuset(it));
        // A login's own cgroup is new, and has what is asked for alone.
        sandbox.session_attributes.retain(|it| it.origin.is_some());
        let sessions = is_root.then(|| teardown::logins(state, uid).ok()).flatten();
        Ok(Outcome::Sandbox(Box::new(Prospect {
            elsewhere: systemd::said_elsewhere(&host.tree, uid, &sandbox.attributes),
            sandbox,
            tree: host.tree,
            missing,
            sessions,
        })))
    }

    /// How the login ends.
    pub fn fate(&self) -> Fate<'_> {
        match &self.outcome {
            Outcome::Unconfined(_) => Fate::Unconfined,
            _ if self.line.is_none() => Fate::Uncalled,
            Outcome::Sandbox(prospect) => prospect.fate(),
            Outcome::Failed { error, on_error: Login::Deny } => {
                Fate::Refused { why: error.to_string() }
            }
            Outcome::Failed { error, on_error: Login::Allow } => {
                Fate::LetIn { why: error.to_string() }
            }
        }
    }

    /// Whether it comes as the policy wants it, all of it.
    pub fn is_well(&self) -> bool {
        let fate = match self.fate() {
            Fate::Unconfined => true,
            Fate::Confined { missing } => missing.is_empty(),
            Fate::Uncalled | Fate::Refused { .. } | Fate::LetIn { .. } => false,
        };
        let configuration = match &self.configuration {
            Configuration::NotRead | Configuration::Current => true,
            Configuration::Kept(_) | Configuration::Unusable(_) => false,
        };
        fate && configuration
    }
}

impl Prospect {
    /// The cgroup that a value is written to; none where the host has no cgroups.
    pub fn directory_of(&self, attribute: &Attribute) -> Option<PathBuf> {
        let hierarchy = self.tree.carrier(attribute.controller)?;
        Some(self.tree.user_in(hierarchy, self.sandbox.subject.uid))
    }

    fn fate(&self) -> Fate<'_> {
        let full = self.sandbox.max_logins.zip(self.sessions).filter(|(max, now)| now >= max);
        if let Some((max, now)) = full {
            let why = format!("logged in {now} times already, and max_logins is {max}");
            return Fate::Refused { why };
        }
        if self.sandbox.strict && !self.missing.is_empty() {
            let names: Vec<&str> = self.missing.iter().map(|unfit| unfit.directive).collect();
            let why = format!("strict is true, and this host cannot carry {}", names.join(", "));
            return Fate::Refused { why };
        }
        Fate::Confined { missing: &self.missing }
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
