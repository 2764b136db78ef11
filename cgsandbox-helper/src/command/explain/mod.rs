//! `cgsandbox explain`: what a login would get, and from which line.

mod json;
mod text;

use super::{Outcome, terminal};
use crate::error::{Error, Result};
use crate::explain::{Explanation, explain};
use crate::namespace;
use crate::state::State;

pub(super) fn run(user: &str, service: &str, as_json: bool) -> Outcome {
    // As Linux-PAM takes a service's name.
    match look(user, &service.to_ascii_lowercase()) {
        Ok(explanation) => {
            match as_json {
                true => terminal::say(&format!("{:#}\n", json::of(&explanation))),
                false => terminal::say(&text::of(&explanation)),
            }
            if explanation.is_well() { Outcome::Well } else { Outcome::Unwell }
        }
        Err(error) => {
            terminal::complain(&format!("cgsandbox explain: {error}\n"));
            Outcome::NotDone
        }
    }
}

fn look(user: &str, service: &str) -> Result<Explanation> {
    let asking = nix::unistd::geteuid();
    if asking.is_root() && namespace::is_inside(&State::of_host()) {
        let cause = "this is the inside of a sandbox; log in as root or as an exempt user";
        return Err(Error::new("explain", "a login", cause));
    }
    let explanation = explain(user, service)?;
    if !asking.is_root() && explanation.subject.uid != asking.as_raw() {
        return Err(Error::new("explain", "another user's login", "only root may; use sudo"));
    }
    Ok(explanation)
}

#[cfg(test)]
mod tests;
