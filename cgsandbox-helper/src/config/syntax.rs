//! Text that is not TOML: the parser's words, with what usually mends it.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::diagnostic::{Locator, Problem, SourceText};

/// Above this only the first mistake is reported: the list of a megabyte of rubbish
/// takes more memory than a login's helper may.
const LARGEST_TO_REPORT_ALL: usize = 64 << 10;

/// More than this nobody reads; they are mostly one mistake's echo.
const MOST_REPORTED: usize = 10;

/// Every mistake in `source`, of which `first` is the first.
pub(super) fn problems(source: &SourceText, locator: &Locator<'_>, first: Error) -> Vec<Problem> {
    if source.text.len() > LARGEST_TO_REPORT_ALL {
        return vec![problem(locator, &first, None)];
    }
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut problems: Vec<Problem> = Vec::new();
    for error in &errors {
        if problems.len() == MOST_REPORTED {
            break;
        }
        let problem = problem(locator, error, Some((source, table.get_ref())));
        let line = |problem: &Problem| problem.origin.as_ref().map(|at| at.line);
        // The parser goes on where it stopped; a second complaint about a line is noise.
        if problems.last().is_none_or(|last| line(last) != line(&problem)) {
            problems.push(problem);
        }
    }
    problems
}

fn problem(
    locator: &Locator<'_>,
    error: &Error,
    document: Option<(&SourceText, &DeTable<'_>)>,
) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let origin = locator.origin(span.clone());
    let mut problem = Problem::at(origin, error.message());
    if error.message() == "duplicate key" {
        problem = problem.help("keep one of them");
        if let Some((source, table)) = document
            && let Some(key) = source.text.get(span.clone())
            && let Some(first) = first_of(table, key.trim_matches(['"', '\'']), span.start)
                .or_else(|| first_header(&source.text, &span))
        {
            problem = problem.see(locator.origin(first..first + key.len()), "is first here");
        }
        return problem;
    }
    match remedy(error.message(), locator.line_of(span.start)) {
        Some(remedy) => problem.help(remedy),
        None => problem,
    }
}

/// The last key of this name that begins before `before`.
fn first_of(table: &DeTable<'_>, name: &str, before: usize) -> Option<usize> {
    let mut nearest = None;
    let mut tables = vec![table];
    while let Some(table) = tables.pop() {
        for (key, value) in table {
            if key.get_ref() == name && key.span().start < before {
                nearest = nearest.max(Some(key.span().start));
            }
            tables.extend(value.get_ref().as_table());
            let entries = value.get_ref().as_array().into_iter().flat_map(|array| array.iter());
            tables.extend(entries.filter_map(|entry| entry.get_ref().as_table()));
        }
    }
    nearest
}

/// Where a line like that of `span` is first: the parser forgets the first `[table]`.
fn first_header(text: &str, span: &Range<usize>) -> Option<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next()?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let key = (span.start - start).checked_sub(indent(line))?;
    let header = line.trim();
    let mut at = 0;
    for line in text[..start].split_inclusive('\n') {
        if line.trim() == header {
            return Some(at + indent(line) + key);
        }
        at += line.len();
    }
    None
}

/// What mends a mistake that the parser calls `message`, in the line `written`.
fn remedy(message: &str, written: &str) -> Option<&'static str> {
    let after = |sign| written.split_once(sign).map_or("", |(_, value)| value.trim_start());
    if message.contains("escape") || message.contains("unicode value") {
        Some("a backslash in \" \" is written twice; or use single quotes: 'DOM\\alice'")
    } else if message.contains("must be quoted") && after('=').starts_with(['*', '@', '!']) {
        Some("put it in quotes: match = \"*\", match = \"@staff\"")
    } else if message.contains("must be quoted") {
        Some("put it in quotes: \"2G\"; only whole numbers, true and false go without")
    } else if message.contains("string") {
        Some("a string begins and ends with \" on one line")
    } else if message.contains("array table") {
        Some("a rule begins with the line [[rule]]")
    } else {
        None
    }
}
