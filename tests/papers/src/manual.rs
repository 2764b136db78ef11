//! The manual pages, taken apart by their mdoc(7) macros.

use std::collections::BTreeSet;

use crate::repository;

/// The pages, from the repository's top.
pub const PAGES: [&str; 3] = [
    "packaging/man/pam_cgsandbox.8",
    "packaging/man/cgsandbox.8",
    "packaging/man/cgsandbox.toml.5",
];

/// Of the module.
pub const MODULE: &str = PAGES[0];
/// Of the command.
pub const COMMAND: &str = PAGES[1];
/// Of the configuration.
pub const CONFIGURATION: &str = PAGES[2];

/// The lines of a section or subsection, by its title.
pub fn section(page: &str, title: &str) -> String {
    let text = repository::read(page);
    let is_title = |line: &str| {
        let named = line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss "));
        named.is_some_and(|named| named.replace("\\~", " ") == title)
    };
    let mut lines = text.lines().skip_while(|line| !is_title(line));
    let ends: &[&str] = match lines.next() {
        Some(first) if first.starts_with(".Ss") => &[".Sh ", ".Ss "],
        Some(_) => &[".Sh "],
        None => panic!("{page} has no section {title}"),
    };
    let inside = lines.take_while(|line| !ends.iter().any(|end| line.starts_with(end)));
    inside.collect::<Vec<_>>().join("\n")
}

/// What the items of lists are headed by: the words after `.It` and this macro.
pub fn items(text: &str, of: &str) -> BTreeSet<String> {
    let heads = text.lines().filter_map(|line| line.strip_prefix(".It "));
    heads.filter_map(|head| arguments(head, of)).flatten().collect()
}

/// All arguments of a macro, wherever it is called.
pub fn calls(text: &str, of: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('.'));
    let mut found = BTreeSet::new();
    for line in lines {
        let mut rest = line;
        while let Some(at) = word_at(rest, of) {
            rest = &rest[at..];
            found.extend(arguments(rest, of).into_iter().flatten());
            rest = rest.get(of.len()..).unwrap_or_default();
        }
    }
    found
}

/// The literal displays, as they are to be typed.
pub fn displays(text: &str) -> Vec<String> {
    let parts = text.split("\n.Bd -literal").skip(1);
    let bodies = parts.filter_map(|part| part.split_once('\n')?.1.split_once("\n.Ed"));
    bodies.map(|(body, _)| body.replace("\\e", "\\") + "\n").collect()
}

/// Where `word` stands by itself.
fn word_at(line: &str, word: &str) -> Option<usize> {
    let is_start = |at: usize| at == 0 || line.as_bytes()[at - 1] == b' ';
    let is_end = |at: usize| line.as_bytes().get(at + word.len()).is_none_or(|next| *next == b' ');
    let mut all = line.match_indices(word).map(|(at, _)| at);
    all.find(|at| is_start(*at) && is_end(*at))
}

/// The arguments of the macro that `line` begins with, up to the next macro.
fn arguments(line: &str, of: &str) -> Option<Vec<String>> {
    let rest = line.strip_prefix(of)?.strip_prefix(' ')?;
    let is_macro = |word: &&str| {
        word.len() == 2
            && word.chars().next().is_some_and(|c| c.is_ascii_uppercase())
            && word.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase())
    };
    let words = rest.split(' ').take_while(|word| !is_macro(word));
    Some(
        words
            .filter(|word| word.len() > 1 || word.chars().all(char::is_alphanumeric))
            .map(str::to_owned)
            .collect(),
    )
}
