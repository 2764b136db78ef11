//! An explanation for people, in 80 columns.

use std::path::PathBuf;

use cgsandbox_protocol::Login;

use super::terminal::{Table, hanging, heading, styled};
use crate::cgroup::{Attribute, Owner};
use crate::config::value::HidePid;
use crate::config::{ConfigErrors, Origin};
use crate::decision::Decision;
use crate::explain::{Configuration, Explanation, Prospect};
use crate::loopback::address::Address;
use crate::plan::names;
use crate::policy::{Confined, DIRECTIVES, Loss, Rule, Subject, Unconfined};
use crate::subject;

/// How many errors of the configuration, and of the rules for others, are shown.
const SHOWN: usize = 5;

/// How much of a long match is shown; the line that it cites has all of it.
const WIDEST_MATCH: usize = 26;

pub(super) fn of(explanation: &Explanation) -> String {
    let mut text = headline(explanation);
    text += &match (&explanation.decision, explanation.prospect()) {
        (Decision::Unconfined(reason), _) => paragraph(&unconfined(explanation, reason)),
        (Decision::Failed { .. }, _) if explanation.is_uncalled() => {
            paragraph(&no_line(&explanation.service))
        }
        (Decision::Failed { error, on_error }, _) => failed(&error.to_string(), *on_error),
        (_, Some(prospect)) => sandbox(explanation, &prospect),
        (_, None) => String::new(),
    };
    text += &match &explanation.configuration {
        Configuration::NotRead | Configuration::Current => String::new(),
        Configuration::Kept(errors) => {
            let using = "Logins go by the configuration as it was before these errors, and the \
                         lines above are those of that time.";
            configuration(errors, using)
        }
        Configuration::Unusable(errors) => {
            configuration(errors, "No earlier version is kept that could be used instead.")
        }
    };
    if !explanation.unknown.is_empty() {
        text += &section("Only root can tell");
        explanation.unknown.iter().for_each(|what| text += &paragraph(what));
    }
    text
}

fn headline(explanation: &Explanation) -> String {
    let Subject { name, uid, .. } = &explanation.subject;
    let who = format!("{name} (uid {uid}) through {}", explanation.service);
    let (colour, ending) = match &explanation.decision {
        Decision::Unconfined(_) | Decision::Inside => ("32", "no sandbox"),
        _ if explanation.is_uncalled() => ("31", "no sandbox, for PAM has no line for it"),
        Decision::Sandbox(plan) if plan.sandbox.missing.is_empty() => {
            ("32", "a sandbox, enforced in full")
        }
        Decision::Sandbox(_) => ("33", "a sandbox, enforced in part"),
        Decision::Refused { .. } | Decision::Failed { on_error: Login::Deny, .. } => {
            ("31", "the login is refused")
        }
        Decision::Failed { on_error: Login::Allow, .. } => ("31", "let in without a sandbox"),
    };
    format!("{}: {}\n", styled("1", &who), styled(colour, ending))
}

fn unconfined(explanation: &Explanation, reason: &Unconfined) -> String {
    match reason {
        Unconfined::Root => "uid 0 is never confined: the module lets it through before it reads \
                             anything."
            .to_owned(),
        Unconfined::Exempt(by) => {
            format!("exempt: \"{}\" fits, at {}:{}", by.value, by.origin, by.origin.column)
        }
        Unconfined::Service { service, services } => {
            let services = services.join(", ");
            format!("services does not name {service}; the configuration is for: {services}")
        }
        Unconfined::NoRule => {
            let name = &explanation.subject.name;
            format!("no [[rule]] matches {name}. A last rule with match = \"*\" takes everyone.")
        }
    }
}

fn failed(error: &str, on_error: Login) -> String {
    let becomes = match on_error {
        Login::Deny => "so the login is refused",
        Login::Allow => "so the login goes on without",
    };
    paragraph(error) + &paragraph(&format!("on_error is \"{}\", {becomes}.", on_error.name()))
}

fn sandbox(explanation: &Explanation, prospect: &Prospect<'_>) -> String {
    let confined = &prospect.sandbox.confined;
    let places = Places::of(prospect);
    let mut text = String::new();
    if let (Some(why), false) = (explanation.decision.failure(), explanation.is_uncalled()) {
        text += &paragraph(&why);
    }
    let rule = &confined.rule;
    let mut field =
        |name: &str, value: String| text += &format!("  {name:<9}{}", hanging(11, &value));
    field("rule", format!("\"{}\" at {}", confined.pattern.value, places.of_origin(&rule.origin)));
    field("profile", confined.chain.join(", which inherits "));
    field("groups", groups(&explanation.subject));
    match &explanation.line {
        Some(line) => field("PAM line", line.to_string()),
        None => field("PAM line", no_line(&explanation.service) + " With it, this would follow:"),
    }
    for (at, file) in places.files.iter().enumerate() {
        field(if at == 0 { "files" } else { "" }, file.clone());
    }
    text += &lost(confined, &places);
    text += &settings(prospect, &places);
    text += &effects(prospect);
    text += &missing(prospect);
    text
}

fn no_line(service: &str) -> String {
    format!("{service} has no session line of pam_cgsandbox.so; cgsandbox doctor shows the line.")
}

fn groups(subject: &Subject) -> String {
    let others = subject.groups.iter().flat_map(|groups| &groups.ids).copied();
    let gids = [subject.gid].into_iter().chain(others.filter(|gid| *gid != subject.gid));
    let shown = |(gid, name)| match name {
        Some(name) => format!("{name} ({gid})"),
        None => format!("{gid}"),
    };
    let mut all: Vec<String> = subject::named(gids).into_iter().map(shown).collect();
    if subject.groups.is_none() {
        all.push("others do not matter here".to_owned());
    }
    all.join(", ")
}

fn lost(confined: &Confined, places: &Places) -> String {
    let mut table = Table::new(&["WHERE", "MATCH", "WHY"]).indented(2);
    let mut row = |rule: &Rule, why: String| {
        let origin = places.of_origin(&rule.origin);
        table.row([origin, shortened(&rule.matches.to_string()), why]);
    };
    let (others, fitting): (Vec<_>, Vec<_>) =
        confined.lost.iter().partition(|(_, loss)| *loss == Loss::NoMatch);
    for (rule, loss) in fitting {
        row(
            rule,
            match loss {
                Loss::NoMatch => continue,
                Loss::Excluded(by) => {
                    format!("leaves out \"{}\"", by.value.to_string().trim_start_matches('!'))
                }
                Loss::LessSpecific(by) => format!("less specific: {}", by.value.specificity()),
                Loss::Earlier => "as specific, but earlier".to_owned(),
            },
        );
    }
    others.iter().take(SHOWN).for_each(|(rule, _)| row(rule, "for others".to_owned()));
    if confined.lost.is_empty() {
        return String::new();
    }
    let mut text = section("Rules that lost") + &table.render();
    if others.len() > SHOWN {
        text += &paragraph(&format!("and {} more for others", others.len() - SHOWN));
    }
    text
}

fn settings(prospect: &Prospect<'_>, places: &Places) -> String {
    let sandbox = &prospect.sandbox;
    let mut table = Table::new(&["SETTING", "VALUE", "WHERE"]).indented(2);
    let settings = sandbox.confined.profile.settings();
    for setting in &settings {
        // A list of disks is longer than a line.
        let values: Vec<&str> = match setting.directive.starts_with("io_") {
            true => setting.value.split(", ").collect(),
            false => vec![&setting.value],
        };
        for (at, value) in values.into_iter().enumerate() {
            let directive = if at == 0 { setting.directive } else { "" };
            table.row([directive.to_owned(), value.to_owned(), places.of_origin(&setting.origin)]);
        }
    }
    for (directive, default) in DIRECTIVES.iter().filter_map(|it| Some((it.name, it.default?))) {
        // What the host lacks is off, whatever was set; that is told below.
        if !settings.iter().any(|setting| setting.directive == directive)
            && !prospect.sandbox.missing.iter().any(|unfit| unfit.directive == directive)
        {
            table.row([directive.to_owned(), default(), "default".to_owned()]);
        }
    }
    section("Settings") + &table.render()
}

/// What the settings come to here, in the kernel's own units.
fn effects(prospect: &Prospect<'_>) -> String {
    let sandbox = &prospect.sandbox;
    let mut text = section(&format!("On this host (back end {})", prospect.tree.back_end()));
    let mut groups: Vec<(PathBuf, Vec<&Attribute>)> = Vec::new();
    for attribute in &sandbox.attributes {
        let Some(directory) = prospect.directory_of(attribute) else { continue };
        match groups.iter_mut().find(|(known, _)| *known == directory) {
            Some((_, attributes)) => attributes.push(attribute),
            None => groups.push((directory, vec![attribute])),
        }
    }
    let widest = sandbox.attributes.iter().map(|a| a.file.len()).max().unwrap_or(0);
    for (directory, attributes) in groups {
        text += &format!("  {}\n", directory.display());
        for attribute in attributes {
            let value = hanging(6 + widest, &value(prospect, attribute));
            text += &format!("    {:widest$}  {value}", attribute.file);
        }
    }
    if !sandbox.session_attributes.is_empty() {
        text += "  the login's own cgroup in there\n";
    }
    for attribute in &sandbox.session_attributes {
        let value = value(prospect, attribute);
        text += &format!("    {:widest$}  {value}\n", attribute.file);
    }
    let mut of_leader = Vec::new();
    for (name, soft, hard) in &sandbox.rlimits {
        let number = |limit: &Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
        let lacks =
            prospect.sandbox.missing.iter().any(|unfit| unfit.directive == name.directive());
        let refused = if lacks { ", refused" } else { "" };
        let (soft, hard) = (number(soft), number(hard));
        of_leader.push(format!("{:widest$}  {soft} (hard {hard}){refused}", name.name()));
    }
    of_leader.push(format!("{:widest$}  0 where it is lower", "oom_score_adj"));
    text += "  the login's process, and all that it starts\n";
    of_leader.iter().for_each(|line| text += &format!("    {line}\n"));
    text += "  /proc\n    ";
    text += &hanging(
        4,
        &match sandbox.hidepid {
            HidePid::Off => "the host's".to_owned(),
            hidepid => format!("an instance of its own, hidepid={hidepid}"),
        },
    );
    text += "  localhost\n    ";
    text += &hanging(4, &localhost(prospect));
    if let Some(max) = sandbox.max_logins {
        let now = prospect.sessions.map_or(String::new(), |now| format!(", {now} now"));
        text += &format!("  logins\n    at most {max} at a time{now}\n");
    }
    text
}

fn localhost(prospect: &Prospect<'_>) -> String {
    let Some(loopback) = &prospect.sandbox.loopback else { return "the machine's".to_owned() };
    let ports: Vec<String> = loopback.services.iter().map(u16::to_string).collect();
    let services = match ports.is_empty() {
        true => "no port".to_owned(),
        false => format!("port {}", ports.join(", ")),
    };
    let Address { v4, v6, .. } = loopback.address;
    format!("{v4} and {v6}; the machine's for {services}")
}

fn value(prospect: &Prospect<'_>, attribute: &Attribute) -> String {
    let mut elsewhere = prospect.elsewhere.iter();
    if let Some(word) = elsewhere.find(|word| word.directive == attribute.directive) {
        let instead = match attribute.origin {
            Some(_) => format!(", not {}", attribute.value.trim_end()),
            None => String::new(),
        };
        return format!("{} by {}{instead}", word.value, word.origin);
    }
    let value = match (&attribute.disk, attribute.value.trim_end()) {
        (Some(disk), value) => format!("{disk} {value}"),
        (None, "") => "all that there are".to_owned(),
        (None, value) => value.to_owned(),
    };
    match attribute.origin {
        Some(_) => value,
        None if prospect.tree.owner() == Owner::Systemd => format!("{value} (systemd's default)"),
        None => format!("{value} (the kernel's default)"),
    }
}

fn missing(prospect: &Prospect<'_>) -> String {
    let missing = &prospect.sandbox.missing;
    if missing.is_empty() {
        return String::new();
    }
    let mut text = section("Missing on this host");
    let widest = missing.iter().map(|unfit| unfit.directive.len()).max().unwrap_or(0);
    for unfit in missing {
        let name = styled("33", &format!("{:widest$}", unfit.directive));
        text += &format!("  {name}  {}", hanging(widest + 4, &unfit.why));
    }
    let names = names(missing);
    text += &paragraph(&match prospect.sandbox.strict {
        true => "strict is true, so the login is refused.".to_owned(),
        false => format!("The login goes on without: enforced=partial missing={}", names.join(",")),
    });
    text
}

fn configuration(errors: &ConfigErrors, using: &str) -> String {
    let problems = errors.problems();
    let mut text = section("The configuration has errors");
    problems.iter().take(SHOWN).for_each(|problem| text += &paragraph(&problem.to_string()));
    if problems.len() > SHOWN {
        text += &paragraph(&format!("and {} more", problems.len() - SHOWN));
    }
    text + &paragraph(using) + &paragraph("cgsandbox check shows them in full.")
}

fn section(title: &str) -> String {
    format!("\n{}", heading(title))
}

fn paragraph(text: &str) -> String {
    format!("  {}", hanging(2, text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WIDEST_MATCH) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

/// The files that are cited, each told once in full and from then on by its name.
struct Places {
    files: Vec<String>,
}

impl Places {
    fn of(prospect: &Prospect<'_>) -> Self {
        let confined = &prospect.sandbox.confined;
        let mut origins = vec![confined.rule.origin.clone()];
        origins.extend(confined.lost.iter().map(|(rule, _)| rule.origin.clone()));
        origins.extend(confined.profile.settings().into_iter().map(|setting| setting.origin));
        let mut files: Vec<String> = origins.iter().map(|at| at.file.to_string()).collect();
        files.sort();
        files.dedup();
        Places { files }
    }

    /// `name:line`; with the whole path where two files have the same name.
    fn of_origin(&self, origin: &Origin) -> String {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let own = name(&origin.file);
        match self.files.iter().filter(|file| name(file) == own).count() {
            0 | 1 => format!("{own}:{}", origin.line),
            _ => origin.to_string(),
        }
    }
}
