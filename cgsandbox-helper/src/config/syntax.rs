//! Text that is not TOML: the parser's words, with what usually mends it.

use toml::de::{DeTable, Error};

use super::diagnostic::{Locator, Origin, Problem, SourceText};

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
        let problem = problem(locator, error, Some((source, table.get_ref())));
        let line = |problem: &Problem| problem.origin.as_ref().map(|at| at.line);
        // The parser goes on where it stopped; a second complaint about a line is noise.
        if problems.last().is_none_or(|last| line(last) != line(&problem)) {
            problems.push(problem);
        }
    }
    problems.truncate(MOST_REPORTED);
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
        {
            let origin: Origin = locator.origin(first..first + key.len());
            problem = problem.see(origin, "is first here");
        }
        return problem;
    }
    problem.help("quote what is neither a whole number nor true or false: memory_max = \"2G\"")
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
