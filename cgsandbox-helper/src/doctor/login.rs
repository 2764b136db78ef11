//! Logins tried dry: root's, and one that is to get a sandbox.

use super::Finding;
use cgsandbox_protocol::Login;

use crate::decision::Decision;
use crate::explain::{self, Explanation};
use crate::plan::names;
use crate::policy::Unconfined;

const LOGIN: &str = "login";

/// Shells of accounts that nobody logs in by.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "sync", "halt"];

/// The uids below are the system's, nobody's is the last (login.defs(5)).
const ORDINARY: std::ops::Range<u32> = 1000..65534;

/// How many users are tried before it is said that the configuration is for none of them.
const TRIED: usize = 50;

pub(super) fn look(user: Option<&str>, services: &[String]) -> Vec<Finding> {
    let service = match services {
        [first, ..] if !services.iter().any(|name| name == "sshd") => first,
        _ => "sshd",
    };
    let mut findings = vec![root(service)];
    findings.extend(match user {
        Some(name) => Some(named(name, service)),
        None => first_confined(service),
    });
    findings
}

fn root(service: &str) -> Finding {
    let explained = explain::explain("root", service);
    match explained.as_ref().map(|explanation| &explanation.decision) {
        Ok(Decision::Unconfined(Unconfined::Root)) => {
            Finding::ok(LOGIN, format!("root through {service}: no sandbox, whatever happens"))
        }
        Ok(_) => {
            let what = "the account called root is not uid 0, and is treated like any other";
            Finding::problem(LOGIN, what).remedy("correct root's line in /etc/passwd")
        }
        Err(error) => Finding::problem(LOGIN, error.to_string())
            .remedy("correct /etc/passwd or nsswitch.conf"),
    }
}

fn named(user: &str, service: &str) -> Finding {
    match explain::explain(user, service) {
        Ok(explanation) => judge(&explanation),
        Err(error) => Finding::problem(LOGIN, error.to_string()).remedy("name a user that exists"),
    }
}

fn first_confined(service: &str) -> Option<Finding> {
    let users = ordinary_users(&crate::subject::passwd());
    let explained =
        users.iter().take(TRIED).filter_map(|name| explain::explain(name, service).ok());
    let is_to_be_confined =
        |explanation: &Explanation| !matches!(explanation.decision, Decision::Unconfined(_));
    let found = explained.into_iter().find(is_to_be_confined);
    Some(match (found, users.is_empty()) {
        (Some(explanation), _) => judge(&explanation),
        (None, true) => Finding::note(LOGIN, "/etc/passwd has no ordinary user whose login to try")
            .remedy("name one: cgsandbox doctor USER"),
        (None, false) => Finding::note(LOGIN, "no user in /etc/passwd would get a sandbox")
            .remedy("if this is not intended, check exempt and the rules, or name a user"),
    })
}

fn judge(explanation: &Explanation) -> Finding {
    let who = format!("{} through {}", explanation.subject.name, explanation.service);
    let more = format!("run: cgsandbox explain {}", explanation.subject.name);
    let decision = &explanation.decision;
    let why = decision.failure().unwrap_or_default();
    let finding = match decision {
        Decision::Unconfined(_) | Decision::Inside => {
            Finding::note(LOGIN, format!("{who}: no sandbox"))
        }
        _ if explanation.is_uncalled() => {
            Finding::problem(LOGIN, format!("{who}: no sandbox, for PAM has no line for it"))
        }
        Decision::Sandbox(plan) if plan.sandbox.missing.is_empty() => {
            return Finding::ok(LOGIN, format!("{who}: a sandbox, enforced in full"));
        }
        Decision::Sandbox(plan) => {
            let names = names(&plan.sandbox.missing).join(", ");
            Finding::problem(LOGIN, format!("{who}: a sandbox, but without {names}"))
        }
        Decision::Refused { .. } | Decision::Failed { on_error: Login::Deny, .. } => {
            Finding::problem(LOGIN, format!("{who}: refused: {why}"))
        }
        Decision::Failed { on_error: Login::Allow, .. } => {
            Finding::problem(LOGIN, format!("{who}: let in without a sandbox: {why}"))
        }
    };
    finding.remedy(more)
}

/// Those of passwd(5) who can log in and are people rather than services.
fn ordinary_users(passwd: &str) -> Vec<String> {
    let ordinary = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, _, _, _, shell] = fields.as_slice() else { return None };
        let uid: u32 = uid.parse().ok()?;
        let shell = shell.rsplit('/').next().unwrap_or_default();
        let is_ordinary = ORDINARY.contains(&uid) || uid > ORDINARY.end + 1;
        (is_ordinary && !NO_SHELLS.contains(&shell)).then(|| (*name).to_owned())
    };
    passwd.lines().filter_map(ordinary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_users_are_those_who_can_log_in() {
        let passwd = "\
root:x:0:0::/root:/bin/bash
daemon:x:1:1::/:/usr/sbin/nologin
alice:x:1000:1000::/home/alice:/bin/bash
ftp:x:1001:1001::/srv:/bin/false
nobody:x:65534:65534::/:/bin/sh
directory:x:2000001:100::/home/d:
broken:x:1002
";
        assert_eq!(ordinary_users(passwd), ["alice", "directory"]);
    }
}
