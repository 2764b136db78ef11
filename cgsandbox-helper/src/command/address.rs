//! `cgsandbox address`: where a user's own localhost is, for a reverse proxy say.

use std::net::IpAddr;

use serde_json::json;

use super::{Outcome, terminal};
use crate::config;
use crate::error::{Error, Result};
use crate::loopback;
use crate::pam_stack::configuration_of_ssh;
use crate::state::State;
use crate::subject;

pub(super) fn run(user: &str, as_json: bool) -> Outcome {
    match look(user) {
        Ok(Some(addresses)) => {
            let [v4, v6] = addresses;
            terminal::say(&match as_json {
                true => format!("{:#}\n", json!({ "ipv4": v4, "ipv6": v6, "reason": null })),
                false => format!("{v4}\n{v6}\n"),
            });
            Outcome::Well
        }
        Ok(None) => {
            let reason = "the machine's localhost: no loopback = \"private\" in the profile";
            match as_json {
                true => {
                    let none = json!({ "ipv4": null, "ipv6": null, "reason": reason });
                    terminal::say(&format!("{none:#}\n"));
                }
                false => terminal::complain(&format!("cgsandbox address: {user} has {reason}\n")),
            }
            Outcome::Unwell
        }
        Err(error) => {
            terminal::complain(&format!("cgsandbox address: {error}\n"));
            Outcome::NotDone
        }
    }
}

/// What the user has while logged in; else what the next login gets.
fn look(user: &str) -> Result<Option<[IpAddr; 2]>> {
    let state = State::of_host();
    let policy = config::in_force(&configuration_of_ssh(), state.directory()).ok_or_else(|| {
        let cause = "it has errors, and none has parsed before; run: cgsandbox check";
        Error::new("use", "the configuration", cause)
    })?;
    let subject = subject::find(user)?;
    let subject = subject::resolve(&subject.name, &policy.mentioned())?;
    let asking = nix::unistd::geteuid();
    if !asking.is_root() && subject.uid != asking.as_raw() {
        return Err(Error::new("look at", "another user's addresses", "only root may; use sudo"));
    }
    let now = loopback::address_of(&state, subject.uid);
    let next = policy.is_private(&subject).then(|| policy.address_of(&subject)).flatten();
    Ok(now.or(next).map(|address| [address.v4.into(), address.v6.into()]))
}
