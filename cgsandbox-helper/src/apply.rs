//! `apply`: what the configuration says now, for who is logged in already.
//!
//! Every login brings its user's sandbox to the policy of the moment; this does so without one.
//! What processes have and not cgroups, their rlimits and their mount namespace, stays as it was.

use std::time::Duration;

use crate::audit::{Event, Level};
use crate::back_end::BackEnd;
use crate::cgroup::{Unfit, attributes, session_attributes};
use crate::config::value::{HidePid, OnLogout};
use crate::config::{self, Sources};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::loopback::address::Address;
use crate::open::localhost;
use crate::pam_stack::Directories;
use crate::plan::{Enforcement, Sandbox};
use crate::policy::{Choice, Policy, Profile};
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
    policy: &Policy,
    asked: Option<u32>,
) -> Result<Vec<Change>> {
    state.prepare()?;
    state.publish_on_error(sources, policy.on_error)?;
    let uids = asked.map_or_else(|| state.users(), |uid| vec![uid]);
    let change = |uid| to_user(state, sources, policy, uid);
    Ok(uids.into_iter().filter_map(change).collect())
}

/// None where the user has no session.
fn to_user(state: &State, sources: &Sources, policy: &Policy, uid: u32) -> Option<Change> {
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
                bring(state, &policy.map_err(failed)?, uid, &mut sessions)
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

/// Holding the user's lock.
fn bring(state: &State, policy: &Policy, uid: u32, sessions: &mut [Session]) -> Result<InForce> {
    let Some(last) = sessions.last() else {
        return Err(Error::new("find", format!("a session of uid {uid}"), "it has just ended"));
    };
    let subject = subject::resolve(&last.user, &policy.mentioned())?;
    if subject.uid != uid {
        let cause = format!("the name has uid {} now", subject.uid);
        return Err(Error::new("look up", format!("{:?} of uid {uid}", last.user), cause));
    }
    let mut host = Host::look(&policy.cgroup_root)?;
    if let Some(elsewhere) = sessions.iter().find(|it| !host.tree.is_of(it.owner, &it.cgroup_root))
    {
        let cause = format!(
            "it is below {}, and cgroup_root is another now: it keeps its limits until it ends",
            elsewhere.cgroup_root
        );
        return Err(Error::new("change", format!("session {}", elsewhere.id), cause));
    }
    host.prepare_cgroups(state)?;
    // Some of the sessions' services may be none of ours any more.
    let confined =
        sessions.iter().rev().find_map(|session| match policy.choose(&subject, &session.service) {
            Choice::Confined(confined) => Some(*confined),
            Choice::Unconfined(_) => None,
        });
    if let Some(confined) = &confined {
        host.look_for_disks(&confined.profile);
    }
    let mut back_end = BackEnd::of(state, &host.tree, uid, PATIENCE);
    let Some(confined) = confined else {
        let (of_user, _) = attributes(&Profile::default(), &host);
        let (of_session, _) = session_attributes(&Profile::default(), &host);
        let (applied, tree) = back_end.limit_anew(uid, &of_user, &of_session, sessions)?;
        loopback::withdraw(state, &tree, uid, PATIENCE)?;
        let enforcement = Enforcement::without(applied.missing);
        return Ok(InForce { profile: None, enforcement, overridden: Vec::new(), address: None });
    };
    let sandbox = Sandbox::new(policy, subject, confined, &host);
    let (of_user, of_session) = (&sandbox.attributes, &sandbox.session_attributes);
    let (mut applied, tree) = back_end.limit_anew(uid, of_user, of_session, sessions)?;
    applied.missing.splice(0..0, sandbox.missing.clone());
    let address = localhost(state, &tree, policy, &sandbox, PATIENCE, &mut applied)?;
    match (sandbox.hidepid, namespace::pinned(state, uid)?.is_some()) {
        (HidePid::Off, false) => {}
        (hidepid, true) => {
            let namespace = namespace::obtain(state, &tree, uid, hidepid)?;
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
