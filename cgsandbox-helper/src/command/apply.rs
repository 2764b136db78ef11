//! `cgsandbox apply`: the configuration as it is now, for who is logged in already.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::terminal::{self, Table};
use super::{Outcome, must_be_root_outside, uid_of};
use crate::apply::{self, Change, InForce};
use crate::cgroup::Unfit;
use crate::config::{self, ConfigErrors};
use crate::error::Error;
use crate::pam_stack::configuration_of_ssh;
use crate::plan::Enforcement;
use crate::state::State;

/// Why nothing was changed.
enum Hindrance {
    Error(Error),
    Configuration(ConfigErrors),
}

pub(super) fn run(user: Option<&str>, as_json: bool) -> Outcome {
    match carry_out(user) {
        Ok(changes) => {
            match (as_json, changes.is_empty(), user) {
                (true, ..) => terminal::say(&format!("{:#}\n", to_json(&changes))),
                (false, true, None) => terminal::say("nobody is in a sandbox\n"),
                (false, true, Some(user)) => terminal::say(&format!("{user} is in no sandbox\n")),
                (false, false, _) => tell(&changes),
            }
            for (change, error) in changes.iter().filter_map(failure) {
                terminal::complain(&format!("cgsandbox apply: {}: {error}\n", change.user));
            }
            if changes.iter().all(is_in_full) { Outcome::Well } else { Outcome::Unwell }
        }
        Err(Hindrance::Error(error)) => {
            terminal::complain(&format!("cgsandbox apply: {error}\n"));
            Outcome::NotDone
        }
        Err(Hindrance::Configuration(errors)) => {
            let errors = errors.render(terminal::colours(&io::stderr()));
            terminal::complain(&format!("{errors}\ncgsandbox apply: nothing was changed\n"));
            Outcome::NotDone
        }
    }
}

fn carry_out(user: Option<&str>) -> Result<Vec<Change>, Hindrance> {
    let state = State::of_host();
    must_be_root_outside(&state, "change", "other users' sandboxes").map_err(Hindrance::Error)?;
    let asked = user.map(uid_of).transpose().map_err(Hindrance::Error)?;
    let sources = configuration_of_ssh();
    let policy = config::current(&sources, state.directory());
    let policy = Arc::new(policy.map_err(Hindrance::Configuration)?);
    let changes = apply::apply(&state, &sources, &policy, asked).map_err(Hindrance::Error)?;
    changes.iter().for_each(|change| change.log(&state));
    Ok(changes)
}

fn failure(change: &Change) -> Option<(&Change, &Error)> {
    Some((change, change.outcome.as_ref().err()?))
}

fn missing(now: &InForce) -> &[Unfit] {
    match &now.enforcement {
        Enforcement::Full => &[],
        Enforcement::Partial(missing) => missing,
    }
}

fn is_in_full(change: &Change) -> bool {
    change.outcome.as_ref().is_ok_and(|now| missing(now).is_empty())
}

fn tell(changes: &[Change]) {
    let mut table = Table::new(&["USER", "SESSIONS", "PROFILE", "ENFORCED"]);
    let mut reasons = String::new();
    for change in changes {
        let (profile, enforced) = match &change.outcome {
            Ok(now) => (now.profile.as_deref().unwrap_or("-"), now.word()),
            Err(_) => ("-", "as before"),
        };
        let (user, sessions) = (change.user.clone(), change.sessions.to_string());
        table.row([user, sessions, profile.to_owned(), enforced.to_owned()]);
        table.warn_if(!is_in_full(change));
        for unfit in change.outcome.iter().flat_map(missing) {
            let text = format!("{}: without {}: {}", change.user, unfit.directive, unfit.why);
            reasons += &terminal::hanging(0, &text);
        }
        for other in change.outcome.iter().flat_map(|now| &now.overridden) {
            let text = format!(
                "{}: {} is {}, by {}",
                change.user, other.directive, other.value, other.origin
            );
            reasons += &terminal::hanging(0, &text);
        }
    }
    terminal::say(&(table.render() + &reasons));
}

fn to_json(changes: &[Change]) -> Value {
    let change = |change: &Change| {
        let now = change.outcome.as_ref().ok();
        json!({
            "user": change.user,
            "uid": change.uid,
            "sessions": change.sessions,
            "error": change.outcome.as_ref().err().map(ToString::to_string),
            "profile": now.and_then(|now| now.profile.as_ref()),
            "enforced": now.map(InForce::word),
            "missing": now.map(missing),
            "elsewhere": now.map(|now| &now.overridden),
            "address": now.and_then(|now| now.address).map(|address| address.v4),
        })
    };
    json!({ "users": changes.iter().map(change).collect::<Vec<_>>() })
}
