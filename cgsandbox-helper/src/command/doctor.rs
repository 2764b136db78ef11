//! `cgsandbox doctor`: what keeps logins from landing in their sandboxes.

use serde_json::json;

use super::{Outcome, terminal};
use crate::doctor::{self, Finding, Level};

pub(super) fn run(user: Option<&str>, as_json: bool) -> Outcome {
    match doctor::examine(user) {
        Ok(findings) => {
            let count = |level| findings.iter().filter(|finding| finding.level == level).count();
            let (problems, notes) = (count(Level::Problem), count(Level::Note));
            match as_json {
                true => {
                    let report = json!({ "ok": problems == 0, "findings": findings });
                    terminal::say(&format!("{report:#}\n"));
                }
                false => {
                    terminal::say(&tell(&findings));
                    terminal::say(&format!("{}\n", sum(problems, notes)));
                }
            }
            if problems == 0 { Outcome::Well } else { Outcome::Unwell }
        }
        Err(error) => {
            terminal::complain(&format!("cgsandbox doctor: {error}\n"));
            Outcome::NotDone
        }
    }
}

fn tell(findings: &[Finding]) -> String {
    const INDENT: usize = 11;
    let mut text = String::new();
    let mut subject = "";
    for finding in findings {
        if finding.subject != subject {
            subject = finding.subject;
            text += &terminal::heading(subject);
        }
        let (word, colour) = match finding.level {
            Level::Ok => ("ok", "32"),
            Level::Note => ("note", "33"),
            Level::Problem => ("problem", "1;31"),
        };
        text += &format!("  {}", terminal::styled(colour, &format!("{word:<9}")));
        text += &terminal::hanging(INDENT, &finding.what);
        if let Some(remedy) = &finding.remedy {
            text += &format!("{:INDENT$}-> {}", "", terminal::hanging(INDENT + 3, remedy));
        }
        text += &finding.line.map(literal).unwrap_or_default();
    }
    text
}

/// A line for a file, to be copied as it is: where it is too long for the screen, it is
/// joined by a backslash, as PAM's files allow.
fn literal(line: &str) -> String {
    const ROOM: usize = 74;
    match line.char_indices().nth(ROOM).and_then(|(at, _)| line[..at].rfind("] ")) {
        Some(at) => format!("    {} \\\n        {}\n", &line[..=at], &line[at + 2..]),
        None => format!("    {line}\n"),
    }
}

fn sum(problems: usize, notes: usize) -> String {
    let counted = |number: usize, what: &str| match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    format!("{}, {}", counted(problems, "problem"), counted(notes, "note"))
}
