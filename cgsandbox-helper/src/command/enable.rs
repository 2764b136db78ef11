//! `cgsandbox enable` and `cgsandbox disable`: the line in PAM services, and what to do next.

use serde_json::json;

use super::{Outcome, terminal};
use crate::error::Error;
use crate::service::{self, Switched};

const ENABLE: &str = "enable";
const DISABLE: &str = "disable";

/// Puts the line into `services`; without any, into those of SSH logins.
pub(super) fn enable(services: Vec<String>, as_json: bool) -> Outcome {
    let usual = if services.is_empty() { service::usual() } else { services };
    run(ENABLE, usual, service::enable, as_json)
}

/// Takes the line out of `services`; without any, out of all that have it.
pub(super) fn disable(services: Vec<String>, as_json: bool) -> Outcome {
    let all = if services.is_empty() { service::with_the_line() } else { services };
    run(DISABLE, all, service::disable, as_json)
}

fn run(
    command: &str,
    services: Vec<String>,
    switch: fn(&str) -> crate::error::Result<Switched>,
    as_json: bool,
) -> Outcome {
    if let Err(error) = service::may_change() {
        terminal::complain(&format!("cgsandbox {command}: {error}\n"));
        return Outcome::NotDone;
    }
    let mut named = Vec::new();
    for service in services {
        // Named twice is named once.
        if !named.contains(&service) {
            named.push(service);
        }
    }
    let (done, failed) = each(&named, switch);
    match as_json {
        true => terminal::say(&format!("{:#}\n", to_json(command, &done, &failed))),
        false => tell(command, &done, &failed),
    }
    if !failed.is_empty() {
        Outcome::NotDone
    } else if done.iter().any(Switched::has_problems) {
        Outcome::Unwell
    } else {
        Outcome::Well
    }
}

/// One that fails is no reason to leave the others.
fn each(
    services: &[String],
    switch: fn(&str) -> crate::error::Result<Switched>,
) -> (Vec<Switched>, Vec<(String, Error)>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for service in services {
        match switch(service) {
            Ok(switched) => done.push(switched),
            Err(error) => failed.push((service.clone(), error)),
        }
    }
    (done, failed)
}

fn tell(command: &str, done: &[Switched], failed: &[(String, Error)]) {
    for switched in done {
        terminal::say(&describe(command, switched));
    }
    for (_, error) in failed {
        terminal::complain(&beside(&format!("cgsandbox {command}: "), &error.to_string()));
    }
    if done.is_empty() && failed.is_empty() {
        terminal::say("no service in /etc/pam.d has the line\n");
    }
    if let Some(next) = next(done) {
        terminal::say(&beside("next: ", next));
    }
}

/// `text` behind its `head`, and its further lines below its first word.
fn beside(head: &str, text: &str) -> String {
    head.to_owned() + &terminal::hanging(head.chars().count(), text)
}

fn describe(command: &str, switched: &Switched) -> String {
    const INDENT: usize = 2;
    let is = if switched.enabled { "enabled" } else { "disabled" };
    let already = if switched.changed { "" } else { " already, nothing was changed" };
    let became = match (&switched.line, &switched.copy_of) {
        (Some(line), Some(vendors)) => {
            format!("{is}, by {line}, in a copy of {}", vendors.display())
        }
        (Some(line), None) if command == DISABLE => format!("still {is}, by {line}"),
        (Some(line), None) => format!("{is}{already}, by {line}"),
        (None, Some(vendors)) => {
            format!("{is}, by {} again", vendors.display())
        }
        (None, None) => format!("{is}{already}"),
    };
    let mut text = beside(&format!("{}: ", switched.service), &became);
    let indented = |text: &str| beside(&" ".repeat(INDENT), text);
    if let Some(backup) = &switched.backup {
        text += &indented(&format!("the previous file: {}", backup.display()));
    }
    for finding in &switched.findings {
        text += &indented(&finding.what);
        if let Some(remedy) = &finding.remedy {
            text += &beside(&format!("{:INDENT$}-> ", ""), remedy);
        }
    }
    text
}

/// What an administrator does after a change, in a line.
fn next(done: &[Switched]) -> Option<&'static str> {
    let enabled = done.iter().any(|switched| switched.enabled && switched.changed);
    let disabled = done.iter().any(|switched| !switched.enabled && switched.changed);
    match (enabled, disabled) {
        (true, _) => Some("run cgsandbox doctor, then log in again and keep this session open"),
        (_, true) => Some("sessions that are open stay in their sandboxes until they end"),
        _ => None,
    }
}

fn to_json(command: &str, done: &[Switched], failed: &[(String, Error)]) -> serde_json::Value {
    let failed: Vec<serde_json::Value> = failed
        .iter()
        .map(|(service, error)| json!({ "service": service, "error": error.to_string() }))
        .collect();
    json!({
        "command": command,
        "ok": failed.is_empty() && !done.iter().any(Switched::has_problems),
        "services": done,
        "failed": failed,
        "next": next(done),
    })
}
