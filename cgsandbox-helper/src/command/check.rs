//! `cgsandbox check`: what is wrong with the configuration.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::{Outcome, terminal};
use crate::config::{self, ConfigErrors, Problem, Severity, SourceText};
use crate::doctor::lint_for_this_host;
use crate::loopback::ports::Free;
use crate::pam_stack::configuration_of_ssh;
use crate::policy::Policy;
use crate::subject;

/// How many problems a terminal gets.
const SHOWN: usize = 50;

/// What a check found.
struct Findings {
    policy: Option<Policy>,
    problems: Vec<Problem>,
    texts: Vec<SourceText>,
}

pub(super) fn run(file: Option<&Path>, as_json: bool) -> Outcome {
    let findings = match file {
        Some(file) => config::read_draft(file),
        None => config::read(&configuration_of_ssh()).map(|texts| (texts, Vec::new())),
    };
    let findings = findings
        .and_then(|(texts, warnings)| examine(texts, warnings))
        .unwrap_or_else(Findings::from);
    match as_json {
        true => terminal::say(&format!("{:#}\n", findings.to_json())),
        false => findings.tell(),
    }
    findings.outcome()
}

fn examine(texts: Vec<SourceText>, warnings: Vec<Problem>) -> Result<Findings, ConfigErrors> {
    let policy = config::parse(&texts)?;
    let mut problems = warnings;
    if policy.has_private_localhost() {
        problems.extend(config::collisions(&policy, &texts, &subject::local(&policy.mentioned())));
    }
    problems.extend(config::squattable(&policy, &Free::of_host()));
    problems.extend(config::lint(&policy, &texts, subject::is_known));
    problems.extend(lint_for_this_host(&policy));
    Ok(Findings { policy: Some(policy), problems, texts })
}

impl From<ConfigErrors> for Findings {
    fn from(errors: ConfigErrors) -> Self {
        Findings {
            policy: None,
            problems: errors.problems().to_vec(),
            texts: errors.texts().to_vec(),
        }
    }
}

impl Findings {
    fn outcome(&self) -> Outcome {
        if self.problems.iter().any(|problem| problem.unread) {
            Outcome::NotDone
        } else if self.of(Severity::Error).count() > 0 {
            Outcome::Unwell
        } else {
            Outcome::Well
        }
    }

    fn tell(&self) {
        let colours = terminal::colours(&io::stderr());
        for problem in self.problems.iter().take(SHOWN) {
            terminal::complain(&format!("{}\n", problem.render(&self.texts, colours)));
        }
        if let Some(more) = self.problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            terminal::complain(&format!("and {more} more; --json has them all\n\n"));
        }
        let warnings = counted(self.of(Severity::Warning).count(), "warning");
        let errors = self.of(Severity::Error).count();
        let Some(policy) = self.policy.as_ref().filter(|_| errors == 0) else {
            return terminal::complain(&format!("{}, {warnings}\n", counted(errors, "error")));
        };
        let files = config::named(&self.texts);
        let profiles = counted(policy.profiles.len(), "profile");
        let rules = counted(policy.rules.len(), "rule");
        terminal::say(&format!("ok: {profiles}, {rules}, {warnings} in {files}\n"));
    }

    fn to_json(&self) -> Value {
        let of = |severity| self.of(severity).map(problem_to_json).collect::<Vec<_>>();
        json!({
            "ok": self.of(Severity::Error).count() == 0,
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
            "files": self.texts.iter().map(|source| &*source.path).collect::<Vec<_>>(),
        })
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.severity == severity)
    }
}

fn problem_to_json(problem: &Problem) -> Value {
    json!({
        "file": &*problem.file,
        "line": problem.origin.as_ref().map(|at| at.line),
        "column": problem.origin.as_ref().map(|at| at.column),
        "message": problem.message,
        "help": problem.help,
    })
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
