//! An explanation for programs.

use std::sync::Arc;

use cgsandbox_protocol::Login;
use serde_json::{Value, json};

use crate::cgroup::Attribute;
use crate::config::{ConfigErrors, Origin};
use crate::decision::Decision;
use crate::explain::{Configuration, Explanation, Prospect};
use crate::policy::{Loss, Rule, Setting, Unconfined};
use crate::subject;

pub(super) fn of(explanation: &Explanation) -> Value {
    let subject = &explanation.subject;
    let group = |(gid, name): (u32, Option<String>)| json!({ "gid": gid, "name": name });
    let groups = subject.groups.as_ref().map(|groups| subject::named(groups.ids.clone()));
    let decision = &explanation.decision;
    let (login, why) = match decision {
        Decision::Unconfined(reason) => ("unconfined", Some(unconfined(reason))),
        Decision::Inside => ("unconfined", None),
        _ if explanation.is_uncalled() => {
            ("unconfined", Some("PAM has no line of the module".to_owned()))
        }
        Decision::Sandbox(_) => ("sandbox", None),
        Decision::Refused { .. } | Decision::Failed { on_error: Login::Deny, .. } => {
            ("refused", decision.failure())
        }
        Decision::Failed { on_error: Login::Allow, .. } => ("let in", decision.failure()),
    };
    let (configuration, errors) = match &explanation.configuration {
        Configuration::NotRead => ("not read", None),
        Configuration::Current => ("current", None),
        Configuration::Kept(errors) => ("kept", Some(errors)),
        Configuration::Unusable(errors) => ("unusable", Some(errors)),
    };
    let enforced = match decision {
        Decision::Sandbox(_) if explanation.is_uncalled() => "none",
        Decision::Sandbox(plan) if plan.sandbox.missing.is_empty() => "full",
        Decision::Sandbox(_) => "partial",
        _ => "none",
    };
    json!({
        "ok": explanation.is_well(),
        "user": subject.name,
        "uid": subject.uid,
        "gid": subject.gid,
        "groups": groups.map(|groups| groups.into_iter().map(group).collect::<Vec<_>>()),
        "service": explanation.service,
        "pam_line": explanation.line.as_ref().map(ToString::to_string),
        "configuration": configuration,
        "errors": errors.map(self::errors).unwrap_or_default(),
        "login": login,
        "why": why,
        "enforced": enforced,
        "sandbox": explanation.prospect().map(|prospect| sandbox(&prospect)),
        "unknown": explanation.unknown,
    })
}

/// Why a login gets no sandbox.
fn unconfined(reason: &Unconfined) -> String {
    match reason {
        Unconfined::Root => "uid 0 is never confined".to_owned(),
        Unconfined::Exempt(by) => format!("exempt by \"{}\" at {}", by.value, by.origin),
        Unconfined::Service { .. } => "the configuration is for other services".to_owned(),
        Unconfined::NoRule => "no rule is for this user".to_owned(),
    }
}

fn errors(errors: &ConfigErrors) -> Vec<String> {
    errors.problems().iter().map(ToString::to_string).collect()
}

fn sandbox(prospect: &Prospect<'_>) -> Value {
    let sandbox = &prospect.sandbox;
    let confined = &sandbox.confined;
    let lost = |(rule, loss): &(Arc<Rule>, Loss)| {
        let (why, by) = match loss {
            Loss::NoMatch => ("no match", None),
            Loss::Excluded(by) => ("excluded", Some(by)),
            Loss::LessSpecific(by) => ("less specific", Some(by)),
            Loss::Earlier => ("earlier", None),
        };
        let mut rule = self::rule(rule);
        rule["why"] = json!(why);
        rule["pattern"] = json!(by.map(|pattern| pattern.value.to_string()));
        rule
    };
    let mut winner = rule(&confined.rule);
    winner["pattern"] = json!(confined.pattern.value.to_string());
    let rlimit = |(name, soft, hard): &crate::limits::Wanted| json!({ "name": name.name(), "soft": soft, "hard": hard });
    json!({
        "rule": winner,
        "lost": confined.lost.iter().map(lost).collect::<Vec<_>>(),
        "profile": confined.chain.first(),
        "inherits": confined.chain.get(1..),
        "settings": confined.profile.settings().iter().map(setting).collect::<Vec<_>>(),
        "backend": prospect.tree.back_end(),
        "cgroup_files": sandbox.attributes.iter().map(|a| file(prospect, a)).collect::<Vec<_>>(),
        "session_cgroup_files": sandbox.session_attributes.iter().map(of_session).collect::<Vec<_>>(),
        "elsewhere": prospect.elsewhere,
        "rlimits": sandbox.rlimits.iter().map(rlimit).collect::<Vec<_>>(),
        "hidepid": sandbox.hidepid.to_string(),
        "hide_cgroups": sandbox.hide_cgroups,
        "loopback": sandbox.loopback.as_ref().map(|loopback| json!({
            "ipv4": loopback.address.v4,
            "ipv6": loopback.address.v6,
            "services": loopback.services,
            "wildcard_is_own": loopback.wildcard_is_own,
        })),
        "max_logins": sandbox.max_logins,
        "sessions": prospect.sessions,
        "on_logout": sandbox.on_logout.to_string(),
        "strict": sandbox.strict,
        "missing": sandbox.missing,
    })
}

fn rule(rule: &Rule) -> Value {
    let mut value = json!({ "match": rule.matches.to_string(), "profile": rule.profile.value });
    cite(&mut value, Some(&rule.origin));
    value
}

fn setting(setting: &Setting) -> Value {
    let mut value = json!({ "directive": setting.directive, "value": setting.value });
    cite(&mut value, Some(&setting.origin));
    value
}

fn file(prospect: &Prospect<'_>, attribute: &Attribute) -> Value {
    let mut value = json!({
        "file": prospect.directory_of(attribute).map(|directory| directory.join(attribute.file)),
        "disk": attribute.disk.map(|disk| disk.to_string()),
        "value": attribute.value.trim_end(),
        "directive": attribute.directive,
    });
    cite(&mut value, attribute.origin.as_ref());
    value
}

/// In a directory that has no name before the login.
fn of_session(attribute: &Attribute) -> Value {
    let mut value = json!({
        "file": attribute.file,
        "value": attribute.value.trim_end(),
        "directive": attribute.directive,
    });
    cite(&mut value, attribute.origin.as_ref());
    value
}

/// Adds where something is written; null where it is nowhere.
fn cite(value: &mut Value, origin: Option<&Origin>) {
    value["origin"] = json!(origin.map(ToString::to_string));
}
