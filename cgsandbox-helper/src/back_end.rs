//! What makes a login's cgroups: ourselves in cgroupfs, or systemd.

use crate::cgroup::{Owner, Tree, apply_limits, apply_to_session};
use crate::error::Result;
use crate::open::Login;
use crate::plan::Sandbox;
use crate::session::Session;
use crate::state::State;
use crate::systemd::{Applied, Manager};

/// The back end of one login.
#[derive(Debug)]
pub enum BackEnd<'a> {
    /// The host's cgroups are free for us.
    Cgroupfs(&'a Tree),
    /// They are systemd's.
    Systemd(Manager<'a>),
}

impl<'a> BackEnd<'a> {
    /// For `tree`; gives `session` its leaf there.
    pub fn of(
        state: &'a State,
        tree: &'a Tree,
        uid: u32,
        login: &Login,
        session: &mut Session,
    ) -> Result<Self> {
        Ok(match tree.owner() {
            Owner::Cgsandbox => BackEnd::Cgroupfs(tree),
            Owner::Systemd => {
                let manager = Manager::new(state, tree, uid, login.patience());
                session.leaf = manager.leaf_of(login.leader.pid, &session.id)?;
                BackEnd::Systemd(manager)
            }
        })
    }

    /// Makes the user's cgroup and a session's in it, with their limits; and what of the tree
    /// they are in.
    pub fn limit(&mut self, sandbox: &Sandbox, session: &Session) -> Result<(Applied, Tree)> {
        let (uid, leaf) = (session.uid, session.leaf.as_str());
        match self {
            BackEnd::Cgroupfs(tree) => {
                let (of_user, made) = tree.make_user(uid, sandbox.needs_cpuset())?;
                let mut missing = apply_limits(tree, uid, &sandbox.attributes, &made);
                of_user.make_session(uid, leaf)?;
                missing.extend(apply_to_session(&of_user, uid, leaf, &sandbox.session_attributes));
                Ok((Applied { missing, overridden: Vec::new() }, of_user))
            }
            BackEnd::Systemd(manager) => {
                let applied = manager.limit_login(leaf, session.leader.pid, sandbox)?;
                Ok((applied, manager.tree().of_user(uid)))
            }
        }
    }

    /// Moves the leader into its session's cgroup, where it is not there yet.
    pub fn enter(&self, tree: &Tree, session: &Session) -> Result<()> {
        match self {
            BackEnd::Cgroupfs(_) => tree.enter(session.uid, &session.leaf, session.leader.pid),
            // It is where pam_systemd or `limit` has put it.
            BackEnd::Systemd(_) => Ok(()),
        }
    }
}
