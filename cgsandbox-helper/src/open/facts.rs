//! What a login's decision asks for, looked up and not changed.

use super::Login;
use crate::cgroup::{Membership, Tree};
use crate::decision::Look;
use crate::error::Result;
use crate::host::Host;
use crate::policy::{Mentioned, Policy, Profile, Subject};
use crate::session::{Session, USER_MANAGER};
use crate::state::State;
use crate::{namespace, subject, teardown};

/// What a decision asks for, looked up for a login that is waiting.
pub(super) struct Facts<'a> {
    state: &'a State,
    login: &'a Login,
    /// The user's, once it was asked for.
    pub(super) uid: Option<u32>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(state: &'a State, login: &'a Login) -> Self {
        Facts { state, login, uid: None }
    }
}

impl Look for Facts<'_> {
    fn user(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        subject::resolve(&self.login.user, mentioned).inspect(|it| self.uid = Some(it.uid))
    }

    fn user_without_groups(&mut self, mentioned: &Mentioned<'_>) -> Result<Subject> {
        let subject = subject::resolve_without_groups(&self.login.user, mentioned);
        subject.inspect(|it| self.uid = Some(it.uid))
    }

    fn is_inside(&mut self) -> bool {
        namespace::is_inside(self.state)
    }

    fn host(&mut self, policy: &Policy) -> Result<Host> {
        Host::look(&policy.cgroup_root)
    }

    fn is_nested(&mut self, host: &Host) -> Result<bool> {
        is_nested(self.state, &host.tree, self.login)
    }

    fn disks(&mut self, host: &mut Host, profile: &Profile) {
        host.look_for_disks(profile);
    }
}

/// Whether the process that opens is in a sandbox already: it stays there, whoever it becomes.
///
/// Moving it out would let a user leave the own limits by su(1), and end the outer session
/// where systemd keeps it by that process.
///
/// The cgroup alone does not tell: `user@UID.service` is one cgroup for every manager of a user. When
/// a manager cannot end, systemd starts the next one there, in the host's mount namespace.
fn is_nested(state: &State, tree: &Tree, login: &Login) -> Result<bool> {
    // systemd starts managers itself, never out of a session.
    if login.service == USER_MANAGER {
        return Ok(false);
    }
    let leader = login.leader;
    let Some((uid, leaf)) = tree.locate(&Membership::of(leader.pid)?) else { return Ok(false) };
    let outer = teardown::live_sessions(state, uid)?;
    let mut outer = outer.iter().filter(|it| it.leaf == leaf && it.leader != leader).peekable();
    if outer.peek().is_none() {
        return Ok(false);
    }
    let Some(namespace) = namespace::pinned(state, uid)? else { return Ok(true) };
    // A session from before the policy gave a view has none: there the cgroup tells. A leader that
    // has just ended has no session any more.
    let has_view = |session: &Session| namespace::holds(&namespace, session.leader.pid);
    Ok(namespace::holds(&namespace, leader.pid)? || outer.any(|it| !has_view(it).unwrap_or(true)))
}
