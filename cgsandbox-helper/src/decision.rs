//! What becomes of a login. `open`, `explain`, `apply` and `doctor` ask here, and decide nothing
//! themselves.
//!
//! [`decide`] is pure: it asks [`Look`] for one fact after the other, and stops at the first that
//! settles the matter. The order has two promises in it: a service that is not ours costs no look-up
//! of its user, and an exempt user gets in whatever is wrong with the host.

use std::sync::Arc;

use cgsandbox_protocol::Login;

use crate::cgroup::Unfit;
use crate::config::Unusable;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{Denial, Plan, is_login};
use crate::policy::{Match, Mentioned, Policy, Profile, Subject, Unconfined, Verdict};
use crate::tasks::Full;

/// Who wants to log in, and how.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The name of the user.
    pub user: &'a str,
    /// The PAM service.
    pub service: &'a str,
    /// The host that the user comes from (`PAM_RHOST`); empty where it is this one.
    pub rhost: &'a str,
}

/// What could be loaded of the configuration.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// All of it, as it is or as it last could be used.
    Policy(Arc<Policy>),
    /// Who is exempt, and what becomes of everybody else.
    Salvage {
        /// Who gets in whatever `on_error` says.
        exempt: Match,
        /// What becomes of the others.
        on_error: Login,
    },
}

/// The facts that a decision asks for, each when it is needed. Looking changes nothing.
pub trait Look {
    /// The user who logs in, with what NSS knows of what is `mentioned`.
    fn user(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject>;
    /// The same without groups; asked for where a directory fails to tell them.
    fn user_without_groups(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject>;
    /// Whether the process that logs in has the mounts of a sandbox.
    fn is_inside(&mut self) -> bool;
    /// What this host offers.
    fn host(&mut self, policy: &Policy) -> Result<Host>;
    /// Whether the process that logs in is in a sandbox by its cgroup.
    fn is_nested(&mut self, host: &Host) -> Result<bool>;
    /// Finds the disks that `profile` limits by path.
    fn disks(&mut self, host: &mut Host, profile: &Profile);
}

/// What becomes of a login.
#[derive(Debug)]
pub enum Decision {
    /// It goes on without a sandbox, as the policy wants.
    Unconfined(Unconfined),
    /// It comes out of a sandbox, and stays in that one.
    Inside,
    /// It gets this sandbox, if the rules of its own profile let it in: see [`Plan::judge`].
    Sandbox(Box<Plan>),
    /// It is refused by a rule of its own profile.
    Refused {
        /// What it was to get.
        plan: Box<Plan>,
        /// The rule.
        denial: Denial,
    },
    /// The sandbox cannot be built, and `on_error` decides.
    Failed {
        /// Why not.
        error: Error,
        /// What then becomes of the login.
        on_error: Login,
    },
}

impl Loaded {
    /// What is left of an unusable configuration. `published` is what it last said of `on_error`.
    pub fn salvage(unusable: &Unusable, published: impl FnOnce() -> Login) -> Self {
        let on_error = unusable.on_error(published);
        Loaded::Salvage { exempt: unusable.salvaged.exempt.clone(), on_error }
    }
}

/// What the module decides by itself, before anything is read: whatever is broken, root gets in.
pub fn by_module(uid: u32) -> Option<Decision> {
    (uid == 0).then_some(Decision::Unconfined(Unconfined::Root))
}

/// What becomes of a login, by what is loaded and by the facts that `look` tells.
pub fn decide(attempt: &Attempt<'_>, loaded: &Loaded, look: &mut impl Look) -> Decision {
    let (decided, on_error) = match loaded {
        Loaded::Policy(policy) => (by_policy(attempt, policy, look), policy.on_error),
        Loaded::Salvage { exempt, on_error } => (by_salvage(exempt, look), *on_error),
    };
    decided.unwrap_or_else(|error| Decision::Failed { error, on_error })
}

fn by_policy(
    attempt: &Attempt<'_>,
    policy: &Arc<Policy>,
    look: &mut impl Look,
) -> Result<Decision> {
    // First, for it costs no look-up: most services of a host are not ours.
    if let Some(why) = policy.leaves_alone(attempt.service) {
        return Ok(Decision::Unconfined(why));
    }
    let subject = identify(&policy.mentioned(), &policy.exempt, look)?;
    // Before the host is looked at: whatever is wrong with it, exempt users get in.
    let confined = match policy.choose(&subject, attempt.service) {
        Ok(confined) => *confined,
        Err(why) => return Ok(Decision::Unconfined(why)),
    };
    if look.is_inside() {
        return stay_inside(attempt);
    }
    let mut host = look.host(policy)?;
    if look.is_nested(&host)? {
        return stay_inside(attempt);
    }
    look.disks(&mut host, &confined.profile);
    Ok(Decision::Sandbox(Box::new(Plan::new(Arc::clone(policy), subject, confined, host))))
}

/// With neither a configuration that can be used nor an older one, exempt users still get in where
/// the file can be read that far.
fn by_salvage(exempt: &Match, look: &mut impl Look) -> Result<Decision> {
    let subject = identify(&exempt.mentioned(), exempt, look)?;
    if let Some(decision) = by_module(subject.uid) {
        return Ok(decision);
    }
    match exempt.judge(&subject) {
        Verdict::Matched(by) => Ok(Decision::Unconfined(Unconfined::Exempt(by.clone()))),
        Verdict::NoMatch | Verdict::Excluded(_) => {
            let cause = "it has errors and none has parsed before; run: cgsandbox check";
            Err(Error::new("use", "the configuration", cause))
        }
    }
}

/// Who logs in. A user without groups will do where a directory fails to tell them, and the user is
/// exempt whatever they are: by name or number, in a list that leaves nobody out.
fn identify(mentioned: &Mentioned<'_>, exempt: &Match, look: &mut impl Look) -> Result<Subject> {
    let is_exempt = |subject: &Subject| exempt.has(subject) && !exempt.leaves_out();
    look.user(mentioned).or_else(|error| {
        let alone = look.user_without_groups(mentioned).ok();
        alone.filter(is_exempt).ok_or(error)
    })
}

/// A login out of a sandbox stays in it. Who comes from elsewhere came through a daemon, and that
/// is not to be inside.
fn stay_inside(attempt: &Attempt<'_>) -> Result<Decision> {
    if attempt.rhost.is_empty() {
        return Ok(Decision::Inside);
    }
    let cause = "this daemon itself was started inside a sandbox; \
                 start it anew from the console or from an exempt user's login";
    Err(Error::new("build a sandbox for", attempt.user.escape_default(), cause))
}

/// What putting a plan into effect meets, as far as that is known.
#[derive(Debug, Default)]
pub struct Met {
    /// How often the user is logged in.
    pub logins: Option<u64>,
    /// Whether the user has used up the tasks limit.
    pub full: Option<Full>,
    /// What this host cannot carry besides.
    pub missing: Vec<Unfit>,
}

impl Plan {
    /// What becomes of a login through `service` that is to get this sandbox and meets that.
    pub fn judge(mut self: Box<Self>, service: &str, met: Met) -> Decision {
        self.sandbox.missing.extend(met.missing);
        let sandbox = &self.sandbox;
        let is_login = is_login(service);
        let too_many = || met.logins.and_then(|now| sandbox.refuses_another(now));
        let full = || met.full.map(Denial::TasksFull);
        let of_logins = if is_login { too_many().or_else(full) } else { None };
        match of_logins.or_else(|| sandbox.refuses_without(&sandbox.missing)) {
            Some(denial) => Decision::Refused { plan: self, denial },
            None => Decision::Sandbox(self),
        }
    }
}

impl Decision {
    /// Why there is no sandbox although the policy wants one, in one line.
    pub fn failure(&self) -> Option<String> {
        match self {
            Decision::Unconfined(_) | Decision::Inside | Decision::Sandbox(_) => None,
            Decision::Refused { denial, .. } => Some(denial.to_string()),
            Decision::Failed { error, .. } => Some(error.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod scene;
#[cfg(test)]
mod tests;
