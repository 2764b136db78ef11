//! What an earlier policy set, taken from who gets no sandbox any more.

use super::Login;
use crate::audit::{Event, Level};
use crate::cgroup::{Tree, mounted};
use crate::error::Result;
use crate::state::State;
use crate::{loopback, systemd, teardown};

/// Ends what an earlier policy set for who gets no sandbox now. Without a uid nobody was looked up,
/// for the service is not ours.
pub(super) fn leave_alone(state: &State, login: &Login, uid: Option<u32>) {
    let Some(uid) = uid else { return };
    if let Err(error) = lift(state, uid, login) {
        Event::new(Level::Error, "degraded")
            .with("user", &login.user)
            .with("uid", uid)
            .with_error(&error)
            .send(state);
    }
}

/// Takes from who is to be left alone now what an earlier policy set: systemd keeps limits beyond
/// the logout, and the programs stay on the slice for as long as anything of the user's is there.
fn lift(state: &State, uid: u32, login: &Login) -> Result<()> {
    let is_set = || systemd::is_set(state, uid) || loopback::is_set(state, uid);
    if !systemd::is_manager() || !is_set() {
        return Ok(());
    }
    // Three may have to be waited for.
    let patience = login.deadline.patience() / 3;
    let _lock = state.lock(uid, patience)?;
    // What another PAM line's configuration set for sessions that are open is not this one's.
    if teardown::live_sessions(state, uid)?.iter().any(|session| session.config != login.config) {
        return Ok(());
    }
    systemd::release(state, uid, patience)?;
    loopback::withdraw(state, &Tree::of_systemd(&mounted()?), uid, patience)
}
