//! `close`: a session ends, is accounted for, and what is no longer in use is removed.

use std::time::Duration;

use cgsandbox_protocol::Reply;

use crate::audit::{Event, Level};
use crate::cgroup::Membership;
use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::session::{Leader, Session, Stage};
use crate::state::State;
use crate::{namespace, teardown};

/// How long sshd's own process, which is ending just then, may keep a session's cgroup busy.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long processes that were killed may take to end: on a busy machine they wait for their turn.
const KILLED_PATIENCE: Duration = Duration::from_secs(1);

/// Serves one `Request::Close`.
pub fn close(
    channel: &Channel,
    uid: u32,
    ticket: u64,
    leader: Leader,
    deadline: Deadline,
) -> Result<()> {
    let state = State::of_host();
    // Only the process that opened a session finds it. An open whose helper died before it
    // wrote the record has left empty directories at most.
    match Session::opened_by(&state, uid, leader, ticket)? {
        Some(session) if session.stage == Stage::Opening => teardown::take_back(&state, &session),
        Some(session) => end(&state, session, deadline)?,
        None => teardown::forget_unused(&state, uid, leader),
    }
    channel.reply(&Reply::Closed, &[])
}

fn end(state: &State, mut session: Session, deadline: Deadline) -> Result<()> {
    let host_tree = teardown::tree_of(&session)?;
    let (tree, uid) = (&host_tree, session.uid);
    // First the leader, and this process, which it spawned from inside: from here on they
    // are not the user's to limit or to kill.
    let origin = Membership::parse(&session.origin);
    let own = [std::process::id(), session.leader.pid];
    for pid in own {
        tree.leave(uid, &session.leaf, pid, &origin)?;
    }
    teardown::restore_limits(state, &session);
    if let Err(error) = namespace::unmount_gone(state, uid, &session.volumes) {
        session.describe(Event::new(Level::Error, "degraded")).with_error(&error).send(state);
    }
    let mut patience = PATIENCE;
    if session.kill_at_logout {
        tree.kill_session(uid, &session.leaf, &own);
        patience = KILLED_PATIENCE.min(deadline.patience() / 2);
    }
    let left = tree.wait_for_end(uid, &session.leaf, &own, patience);
    session.closed(teardown::usage(tree, &session)).with("processes_left", left).send(state);

    let _lock = state.lock(uid, deadline.patience())?;
    session.stage = Stage::Closed;
    session.keep(state)?;
    teardown::sweep_quietly(state, tree, uid)
}
