//! `cgsandbox gc`: what a crash or a `kill -9` left is finished.

use serde_json::json;

use super::{Outcome, must_be_root_outside, terminal};
use crate::config;
use crate::gc::{self, Collected};
use crate::pam_stack::configuration_of_ssh;
use crate::state::State;

pub(super) fn run(as_json: bool) -> Outcome {
    match collect() {
        Ok(collected) => {
            match as_json {
                true => terminal::say(&format!("{:#}\n", to_json(&collected))),
                false => tell(&collected),
            }
            if collected.failed.is_empty() { Outcome::Well } else { Outcome::Unwell }
        }
        Err(error) => {
            terminal::complain(&format!("cgsandbox gc: {error}\n"));
            Outcome::NotDone
        }
    }
}

fn collect() -> crate::error::Result<Collected> {
    let state = State::of_host();
    must_be_root_outside(&state, "collect", "other users' leftovers")?;
    // A broken configuration is no reason to leave things lying about.
    let sources = configuration_of_ssh();
    let root = match config::in_force(&sources, state.directory()) {
        Some(policy) => {
            state.prepare()?;
            // After a boot this is what tells the module, before the first login does.
            state.publish_on_error(&sources, policy.on_error)?;
            policy.cgroup_root
        }
        None => config::DEFAULT_CGROUP_ROOT.to_owned(),
    };
    gc::collect(&state, &root)
}

fn tell(collected: &Collected) {
    for residue in &collected.removed {
        let (uid, session, reason) = (residue.uid, &residue.session, residue.reason);
        terminal::say(&format!("removed session {session} of uid {uid}: {reason}\n"));
    }
    for error in &collected.failed {
        terminal::complain(&format!("cgsandbox gc: {error}\n"));
    }
    if collected.removed.is_empty() && collected.failed.is_empty() {
        terminal::say("nothing is left over\n");
    }
}

fn to_json(collected: &Collected) -> serde_json::Value {
    json!({
        "removed": collected.removed,
        "failed": collected.failed.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
