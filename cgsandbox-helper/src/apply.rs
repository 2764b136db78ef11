//! `apply`: what the configuration says now, for who is logged in already.
//!
//! Every login brings its user's sandbox to the policy of the moment; this does so without one.
//! What processes have and not cgroups, their rlimits and their mount namespace, stays as it was.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Event, Level};
use crate::back_end::BackEnd;
use crate::cgroup::{Unfit, attributes, session_attributes};
use crate::config::value::{HidePid, OnLogout};
use crate::config::{self, Sources};
use crate::decision::{Attempt, Decision, Loaded, Look, decide};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::loopback::address::Address;
use crate::open::localhost;
use crate::pam_stack::Directories;
use crate::plan::{Enforcement, Plan};
use crate::policy::{Mentioned, Policy, Profile, Subject};
use crate::session::{Session, Stage};
use crate::state::State;
use crate::systemd::{Applied, Overridden};
use crate::{loopback, namespace, subject};

/// How long to wait for a login or logout of the user that is under way, and for systemd.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of one user.
#[derive(Debug)]
pub struct Change {
    /// Whose.
    pub uid: u32,
    /// The name that the user logged in by last.
    pub user: String,
    /// How many sessions there are.
    pub sessions: usize,
    /// What is in force now, or why it is what it was before.
    pub outcome: Result<InForce>,
}

/// What is in force for one user.
#[derive(Debug)]
pub struct InForce {
    /// The profile; none where the policy has let the user go, and nothing is limited any more.
    pub profile: Option<String>,
    /// How much of it.
    pub enforcement: Enforcement,
    /// What an administrator's own unit files decide.
    pub overridden: Vec<Overridden>,
    /// The user's own localhost.
    pub address: Option<Address>,
}

/// Brings everybody's sandbox, or that of uid `asked` alone, to what `policy` says, which is that
/// of `sources`. Whose PAM service goes by another configuration gets that one's.
pub fn apply(
    state: &State,
    sources: &Sources,
    policy: &Arc<Policy>,
    asked: Option<u32>,
) -> Result<Vec<Change>> {
    state.prepare()?;
    state.publish_on_error(sources, policy.on_error)?;
    let uids = asked.map_or_else(|| state.users(), |uid| vec![uid]);
    let change = |uid| to_user(state, sources, policy, uid);
    Ok(uids.into_iter().filter_map(change).collect())
}

/// None where the user has no session.
fn to_user(state: &State, sources: &Sources, policy: &Arc<Policy>, uid: u32) -> Option<Change> {
    let mut sessions = sessions_of(state, uid);
    let user = sessions.last()?.user.clone();
    let outcome = (|| {
        let _sharing = state.share_host(PATIENCE)?;
        let _lock = state.lock(uid, PATIENCE)?;
        sessions = sessions_of(state, uid);
        let own = |last: &Session| Directories::of_host().configuration_of(&last.service);
        match sessions.last().map(own) {
            Some(other) if other != *sources => {
                let policy = config::current(&other, state.directory());
                let failed = |errors| Error::new("use", "the configuration", errors);
                bring(state, &Arc::new(policy.map_err(failed)?), uid, &mut sessions)
            }
            _ => bring(state, policy, uid, &mut sessions),
        }
    })();
    (!sessions.is_empty()).then_some(Change { uid, user, sessions: sessions.len(), outcome })
}

/// A user's sessions, the latest last.
fn sessions_of(state: &State, uid: u32) -> Vec<Session> {
    let ids = Session::ids(state, uid);
    let mut sessions: Vec<Session> =
        ids.iter().filter_map(|id| Session::read(state, uid, id)).collect();
    sessions.sort_by_key(|session| session.since_boot_ms);
    sessions
}

/// What a decision asks for, looked up for the sessions of a user. They are in their sandbox, and
/// are asked about as if they were not.
struct Facts<'a> {
    user: &'a str,
    uid: u32,
    subject: Option<Result<Subject>>,
}

impl Facts<'_> {
    /// A name may be somebody else's by now.
    fn same(&self, subject: Subject) -> Result<Subject> {
        if subject.uid == self.uid {
            return Ok(subject);
        }
        let cause = format!("the name has uid {} now", subject.uid);
        Err(Error::new("look up", format!("{:?} of uid {}", self.user, self.uid), cause))
    }
}

impl Look for Facts<'_> {
    fn user(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        // Asked once for all of the sessions: a directory may be slow.
        let found = self.subject.take();
        let found = found.unwrap_or_else(|| subject::resolve(self.user, mentioned));
        self.subject = Some(found.clone());
        found.and_then(|subject| self.same(subject))
    }

    fn user_without_groups(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        subject::resolve_without_groups(self.user, mentioned).and_then(|subject| self.same(subject))
    }

    fn is_inside(&mut self) -> bool {
        false
    }

    fn host(&mut self, policy: &Policy) -> Result<Host> {
        Host::look(&policy.cgroup_root)
    }

    fn is_nested(&mut self, _: &Host) -> Result<bool> {
        Ok(false)
    }

    fn disks(&mut self, host: &mut Host, profile: &Profile) {
        host.look_for_disks(profile);
    }
}

/// What the user's next login would get through the service of the latest session that gets a
/// sandbox: those of others may be none of ours any more. None where no session gets one.
fn plan_of(policy: &Arc<Policy>, uid: u32, sessions: &[Session]) -> Result<Option<Plan>> {
    let Some(last) = sessions.last() else {
        return Err(Error::new("find", format!("a session of uid {uid}"), "it has just ended"));
    };
    let loaded = Loaded::Policy(Arc::clone(policy));
    let mut facts = Facts { user: &last.user, uid, subject: None };
    for session in sessions.iter().rev() {
        let attempt = Attempt { user: &last.user, service: &session.service, rhost: "" };
        match decide(&attempt, &loaded, &mut facts) {
            Decision::Sandbox(plan) | Decision::Refused { plan, .. } => return Ok(Some(*plan)),
            Decision::Failed { error, .. } => return Err(error),
            Decision::Unconfined(_) | Decision::Inside => {}
        }
    }
    Ok(None)
}

/// Refuses where a session's cgroups are in another place than those of `host`.
fn must_be_here(host: &Host, sessions: &[Session]) -> Result<()> {
    let is_elsewhere = |it: &&Session| !host.tree.is_of(it.owner, &it.cgroup_root);
    let Some(elsewhere) = sessions.iter().find(is_elsewhere) else { return Ok(()) };
    let cause = format!(
        "it is below {}, and cgroup_root is another now: it keeps its limits until it ends",
        elsewhere.cgroup_root
    );
    Err(Error::new("change", format!("session {}", elsewhere.id), cause))
}

/// Ends all limits of a user whom the policy has let go.
fn let_go(state: &State, policy: &Policy, uid: u32, sessions: &[Session]) -> Result<InForce> {
    let mut host = Host::look(&policy.cgroup_root)?;
    must_be_here(&host, sessions)?;
    host.prepare_cgroups(state)?;
    let (of_user, _) = attributes(&Profile::default(), &host);
    let (of_session, _) = session_attributes(&Profile::default(), &host);
    let mut back_end = BackEnd::of(state, &host.tree, uid, PATIENCE);
    let (applied, tree) = back_end.limit_anew(uid, &of_user, &of_session, sessions)?;
    loopback::withdraw(state, &tree, uid, PATIENCE)?;
    let enforcement = Enforcement::without(applied.missing);
    Ok(InForce { profile: None, enforcement, overridden: Vec::new(), address: None })
}

/// Holding the user's lock.
fn bring(
    state: &State,
    policy: &Arc<Policy>,
    uid: u32,
    sessions: &mut [Session],
) -> Result<InForce> {
    let Some(plan) = plan_of(policy, uid, sessions)? else {
        return let_go(state, policy, uid, sessions);
    };
    must_be_here(&plan.host, sessions)?;
    let Plan { sandbox, host, .. } = plan.with_cgroups(state)?;
    let mut back_end = BackEnd::of(state, &host.tree, uid, PATIENCE);
    let (of_user, of_session) = (&sandbox.attributes, &sandbox.session_attributes);
    let (mut applied, tree) = back_end.limit_anew(uid, of_user, of_session, sessions)?;
    applied.missing.splice(0..0, sandbox.missing.clone());
    let address = localhost(state, &tree, policy, &sandbox, PATIENCE, &mut applied)?;
    match (sandbox.hidepid, namespace::pinned(state, uid)?.is_some()) {
        (HidePid::Off, false) => {}
        (hidepid, true) => {
            let namespace = namespace::obtain(state, &tree, uid, sandbox.shown())?;
            let is_outside = |it: &&Session| {
                let is_open = it.stage == Stage::Open && it.leader.is_alive();
                is_open && !namespace::holds(&namespace, it.leader.pid).unwrap_or(true)
            };
            let outside: Vec<&str> =
                sessions.iter().filter(is_outside).map(|it| it.id.as_str()).collect();
            if hidepid != HidePid::Off && !outside.is_empty() {
                let why = format!("began without a view of its own: {}", outside.join(", "));
                applied.missing.push(Unfit { directive: "hidepid", why });
            }
        }
        (_, false) => {
            let why = "the sessions that are open began without a view of their own".to_owned();
            applied.missing.push(Unfit { directive: "hidepid", why });
        }
    }
    for session in sessions.iter_mut().filter(|session| session.stage != Stage::Opening) {
        session.profile = sandbox.confined.rule.profile.value.clone();
        session.kill_at_logout = sandbox.on_logout == OnLogout::Kill;
        session.update(state)?;
    }
    let Applied { missing, overridden } = applied;
    let profile = Some(sandbox.confined.rule.profile.value.clone());
    Ok(InForce { profile, enforcement: Enforcement::without(missing), overridden, address })
}

impl Change {
    /// Tells the log.
    pub fn log(&self, state: &State) {
        match &self.outcome {
            Ok(now) => self
                .describe(Event::new(Level::Info, "policy_applied"))
                .with_some("profile", now.profile.as_ref())
                .with("enforced", now.word())
                .with_some("missing", now.enforcement.missing())
                .with_some("address", now.address.map(|address| address.v4))
                .with_some("overridden", Overridden::names(&now.overridden))
                .send(state),
            Err(error) => self
                .describe(Event::new(Level::Error, "policy_applied"))
                .with_error(error)
                .send(state),
        }
    }

    fn describe(&self, event: Event) -> Event {
        event.with("user", &self.user).with("uid", self.uid).with("sessions", self.sessions)
    }
}

impl InForce {
    /// As in the audit line.
    pub fn word(&self) -> &'static str {
        if self.profile.is_some() { self.enforcement.word() } else { "none" }
    }
}
