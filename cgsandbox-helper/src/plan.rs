//! The sandbox that a login is to get: policy and host put together. Pure, and the same value is
//! shown by `cgsandbox explain` and carried out by `cgsandbox-helper open`.

use std::fmt;
use std::sync::Arc;

use crate::cgroup::{Attribute, Unfit, attributes, session_attributes};
use crate::config::value::{HidePid, OnLogout, Port, Privacy, RlimitValue, Wildcard};
use crate::error::Result;
use crate::host::Host;
use crate::limits::Wanted;
use crate::loopback::Loopback;
use crate::namespace::Shown;
use crate::policy::{Confined, Policy, Profile, Subject};
use crate::session::USER_MANAGER;
use crate::state::State;
use crate::tasks::Full;

/// Mail and names: what a host gives its users on localhost, if anything. Ports that no user
/// can bind to anyway.
pub const DEFAULT_SERVICES: [u16; 2] = [25, 53];

/// A sandbox that a login is to get, with what it was drawn up from.
#[derive(Debug)]
pub struct Plan {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The host that it is for.
    pub host: Host,
    /// The policy that it is by.
    pub policy: Arc<Policy>,
}

/// The sandbox of a login, in full.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Whose.
    pub subject: Subject,
    /// The rule that won, those that lost, and the profile.
    pub confined: Confined,
    /// What is written into the user's cgroup.
    pub attributes: Vec<Attribute>,
    /// What is asked of the session's own cgroup.
    pub session_attributes: Vec<Attribute>,
    /// The rlimits of the leader.
    pub rlimits: Vec<Wanted>,
    /// How much of other users' processes `/proc` shows.
    pub hidepid: HidePid,
    /// Whether the cgroups of other users are hidden, where the sandbox has a view of its own.
    pub hide_cgroups: bool,
    /// How many sessions the user may have at once.
    pub max_logins: Option<u64>,
    /// What becomes of processes that are left at logout.
    pub on_logout: OnLogout,
    /// The user's own localhost; none where it is the machine's.
    pub loopback: Option<Loopback>,
    /// Whether a login is refused when anything is missing.
    pub strict: bool,
    /// What this host can't carry of all that.
    pub missing: Vec<Unfit>,
}

/// Why a login is refused by a rule of its own profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The user is logged in as often as `max_logins` allows.
    TooManyLogins {
        /// How often that is.
        max: u64,
        /// How often the user is logged in.
        now: u64,
    },
    /// The user has used up the tasks limit.
    TasksFull(Full),
    /// `strict` is set, and the host lacks these.
    Strict(Vec<Unfit>),
}

impl Plan {
    /// For a subject whom the policy confines, on a host whose disks have been looked for.
    pub fn new(policy: Arc<Policy>, subject: Subject, confined: Confined, host: Host) -> Self {
        let sandbox = Sandbox::new(&policy, subject, confined, &host);
        Plan { sandbox, host, policy }
    }

    /// Makes the cgroups above all users', and draws up the plan anew for the host as that shows it to
    /// be.
    pub fn with_cgroups(mut self, state: &State) -> Result<Self> {
        self.host.prepare_cgroups(state)?;
        if !self.sandbox.hide_cgroups {
            self.host.tree.let_pass()?;
        }
        Ok(self.redrawn())
    }

    /// The same for the host as it has turned out to be since.
    pub(crate) fn redrawn(self) -> Self {
        let Plan { sandbox: Sandbox { subject, confined, .. }, host, policy } = self;
        Plan::new(policy, subject, confined, host)
    }
}

impl Sandbox {
    /// For a subject whom the policy confines, on a host whose disks have been looked for.
    pub fn new(policy: &Policy, subject: Subject, confined: Confined, host: &Host) -> Self {
        let profile = &confined.profile;
        let (attributes, mut missing) = attributes(profile, host);
        let (session_attributes, missing_there) = session_attributes(profile, host);
        missing.extend(missing_there);
        if let Some(why) = &host.no_cgroups {
            missing.push(Unfit { directive: "cgroup", why: why.clone() });
        }
        let hidepid = host.hidepid(profile);
        if let (true, Some(lack)) = (hidepid != profile.hidepid(), &host.no_procfs) {
            missing.push(Unfit { directive: "hidepid", why: lack.to_string() });
        }
        let number = |value: RlimitValue| match value {
            RlimitValue::At(number) => Some(number),
            RlimitValue::Infinity => None,
        };
        let rlimits = profile
            .limits
            .iter()
            .map(|(name, pair)| (*name, number(pair.value.soft), number(pair.value.hard)))
            .collect();
        let (loopback, no_loopback) = loopback(policy, &subject, profile, host);
        missing.extend(no_loopback);
        Sandbox {
            loopback,
            subject,
            attributes,
            session_attributes,
            rlimits,
            hidepid,
            hide_cgroups: profile.hide_cgroups(),
            max_logins: profile.max_logins.as_ref().and_then(|max| max.value.number()),
            on_logout: profile.on_logout(),
            strict: profile.strict(),
            missing,
            confined,
        }
    }

    /// What the user's view shows of others.
    pub fn shown(&self) -> Shown {
        Shown { hidepid: self.hidepid, cgroups: !self.hide_cgroups }
    }

    /// Why a user who is logged in `now` times does not get in once more, if so.
    pub fn refuses_another(&self, now: u64) -> Option<Denial> {
        let max = self.max_logins.filter(|max| now >= *max)?;
        Some(Denial::TooManyLogins { max, now })
    }

    /// Why a login is refused where these are missing, if it is.
    pub fn refuses_without(&self, missing: &[Unfit]) -> Option<Denial> {
        (self.strict && !missing.is_empty()).then(|| Denial::Strict(missing.to_vec()))
    }
}

/// The localhost that `profile` asks for, or why there is none.
fn loopback(
    policy: &Policy,
    subject: &Subject,
    profile: &Profile,
    host: &Host,
) -> (Option<Loopback>, Option<Unfit>) {
    if profile.loopback() != Privacy::Private {
        return (None, None);
    }
    let lacking = |why: String| (None, Some(Unfit { directive: "loopback", why }));
    if let Some(why) = &host.no_loopback {
        return lacking(why.clone());
    }
    let Some(address) = policy.address_of(subject) else {
        let (uid, pool) = (subject.uid, policy.pool.v4);
        return lacking(format!("uid {uid} has no address in {pool}; see loopback_addresses"));
    };
    let services = profile.loopback_services.as_ref();
    let services = services
        .map_or(DEFAULT_SERVICES.to_vec(), |ports| ports.value.iter().map(Port::number).collect());
    let wildcard = profile.loopback_wildcard.as_ref().map(|choice| choice.value);
    let wildcard_is_own = wildcard == Some(Wildcard::Localhost);
    (Some(Loopback { address, pool: policy.pool, wildcard_is_own, services }), None)
}

/// How much of a plan was put into effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is not enforced must be said"]
pub enum Enforcement {
    /// All of it.
    Full,
    /// All but these directives.
    Partial(Vec<Unfit>),
}

impl Enforcement {
    /// From what turned out to be missing.
    pub fn without(missing: Vec<Unfit>) -> Self {
        if missing.is_empty() { Enforcement::Full } else { Enforcement::Partial(missing) }
    }

    /// As in the audit line.
    pub fn word(&self) -> &'static str {
        match self {
            Enforcement::Full => "full",
            Enforcement::Partial(_) => "partial",
        }
    }

    /// The missing directives, each once, for the audit line; none when nothing is missing.
    pub fn missing(&self) -> Option<String> {
        match self {
            Enforcement::Full => None,
            Enforcement::Partial(missing) => Some(names(missing).join(",")),
        }
    }
}

/// Whether a session of `service` is a login, which the limits on logins and on tasks may refuse. The
/// user's manager is none.
pub fn is_login(service: &str) -> bool {
    service != USER_MANAGER
}

/// The directives that are missing, each once.
pub fn names(missing: &[Unfit]) -> Vec<&'static str> {
    let mut names: Vec<&str> = missing.iter().map(|unfit| unfit.directive).collect();
    names.dedup();
    names
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::TooManyLogins { max, now } => {
                write!(f, "logged in {now} times already, and max_logins is {max}")
            }
            Denial::TasksFull(Full { used, max, by }) => {
                write!(f, "{used} tasks are running, and tasks_max is {max}: {by}")
            }
            Denial::Strict(missing) => {
                write!(
                    f,
                    "strict is true, and this host cannot carry {}",
                    names(missing).join(", ")
                )
            }
        }
    }
}
