//! What makes a login's cgroups: ourselves in cgroupfs, or systemd.

use std::time::Duration;

use crate::cgroup::{Attribute, Controller, Owner, Tree, Unfit, apply_limits, apply_to_session};
use crate::error::Result;
use crate::plan::Sandbox;
use crate::session::Session;
use crate::state::State;
use crate::systemd::{Applied, Manager};

/// The back end of what is done to one user.
#[derive(Debug)]
pub enum BackEnd<'a> {
    /// The host's cgroups are free for us.
    Cgroupfs(&'a Tree),
    /// They are systemd's.
    Systemd(Manager<'a>),
}

impl<'a> BackEnd<'a> {
    /// For what is done to `uid` in `tree`; systemd's answers take at most `patience` in all.
    pub fn of(state: &'a State, tree: &'a Tree, uid: u32, patience: Duration) -> Self {
        match tree.owner() {
            Owner::Cgsandbox => BackEnd::Cgroupfs(tree),
            Owner::Systemd => BackEnd::Systemd(Manager::new(state, tree, uid, patience)),
        }
    }

    /// The leaf of a new session.
    pub fn leaf_of(&self, session: &Session) -> Result<String> {
        match self {
            BackEnd::Cgroupfs(_) => Ok(Tree::leaf_for(&session.id)),
            BackEnd::Systemd(manager) => manager.leaf_of(session.leader.pid, &session.id),
        }
    }

    /// Makes the user's cgroup and a session's in it, with their limits; and what of the tree
    /// they are in.
    pub fn limit(&mut self, sandbox: &Sandbox, session: &Session) -> Result<(Applied, Tree)> {
        let (uid, leaf) = (session.uid, session.leaf.as_str());
        match self {
            BackEnd::Cgroupfs(tree) => {
                let (tree, mut missing) = limit_user(tree, uid, &sandbox.attributes)?;
                tree.make_session(uid, leaf)?;
                let of_session = &sandbox.session_attributes;
                missing.extend(apply_to_session(&tree, uid, leaf, of_session, true));
                Ok((Applied { missing, overridden: Vec::new() }, tree))
            }
            BackEnd::Systemd(manager) => {
                let applied = manager.limit_login(leaf, session.leader.pid, sandbox)?;
                Ok((applied, manager.tree().of_user(uid)))
            }
        }
    }

    /// Gives a user who is logged in other limits, and each of `sessions`.
    pub fn limit_anew(
        &mut self,
        uid: u32,
        of_user: &[Attribute],
        of_session: &[Attribute],
        sessions: &[Session],
    ) -> Result<(Applied, Tree)> {
        let leaves = sessions.iter().map(|session| session.leaf.as_str());
        match self {
            BackEnd::Cgroupfs(tree) => {
                let (tree, mut missing) = limit_user(tree, uid, of_user)?;
                // Of one that a crash has ended there may be the record alone.
                for leaf in leaves.filter(|leaf| tree.has_session(uid, leaf)) {
                    if let Err(error) = tree.gather_session(uid, leaf) {
                        let why = error.to_string();
                        missing.push(Unfit { directive: "allowed_cpus", why });
                    }
                    missing.extend(apply_to_session(&tree, uid, leaf, of_session, false));
                }
                Ok((Applied { missing, overridden: Vec::new() }, tree))
            }
            BackEnd::Systemd(manager) => {
                let tree = manager.tree();
                let mut applied = manager.limit_user(of_user)?;
                for leaf in leaves {
                    if let Some(member) = tree.members(uid, leaf).first() {
                        let missing = manager.limit_session(leaf, *member, of_session, false)?;
                        applied.missing.extend(missing);
                    }
                }
                Ok((applied, tree.of_user(uid)))
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

/// Makes the user's cgroup where it is not there yet, and limits it; what of `tree` it is in.
fn limit_user(tree: &Tree, uid: u32, attributes: &[Attribute]) -> Result<(Tree, Vec<Unfit>)> {
    let is_of_cpuset = |it: &Attribute| it.controller == Controller::Cpuset && it.origin.is_some();
    let (of_user, made) = tree.make_user(uid, attributes.iter().any(is_of_cpuset))?;
    let missing = apply_limits(&of_user, uid, attributes, &made);
    Ok((of_user, missing))
}
