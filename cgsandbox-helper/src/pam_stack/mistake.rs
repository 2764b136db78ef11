//! What Linux-PAM stumbles on in a line.

use std::path::{Path, PathBuf};

use super::control::Control;
use super::spelling;
use super::text::Logical;
use crate::config::did_you_mean;

const KINDS: [&str; 4] = ["auth", "account", "password", "session"];

/// Something that Linux-PAM cannot read, at `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file that it is in.
    pub file: PathBuf,
    /// The number of its line, from 1; 0 for the file as a whole.
    pub number: usize,
    /// What is wrong, and what comes of it.
    pub what: String,
    /// What mends it.
    pub remedy: String,
    /// Whether the line is one of our module, or was meant to be.
    pub is_ours: bool,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            number => write!(f, "{}:{number}: {}", self.file.display(), self.what),
        }
    }
}

impl Mistake {
    /// In the line `number` of `file`.
    pub(super) fn new(
        file: &Path,
        number: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (file, what, remedy) = (file.to_owned(), what.into(), remedy.into());
        Mistake { file, number, what, remedy, is_ours: false }
    }
}

/// The first mistake in a line that has words.
pub(super) fn find(file: &Path, line: &Logical) -> Option<Mistake> {
    let (what, remedy) = look(line)?;
    let rest = line.words.get(1..).unwrap_or_default();
    let is_ours = spelling::module(rest).is_some_and(spelling::is_meant);
    Some(Mistake { is_ours, ..Mistake::new(file, line.number, what, remedy) })
}

fn look(line: &Logical) -> Option<(String, String)> {
    if line.is_cut {
        let what = "the file ends in a backslash: PAM refuses the whole of it";
        return Some((what.to_owned(), "take the backslash away".to_owned()));
    }
    if line.words.iter().any(|word| word.contains('\r')) {
        let what = "the line ends in a carriage return, which PAM takes for a part of the word";
        return Some((what.to_owned(), "save the file with Unix's ends of lines".to_owned()));
    }
    let mut words = line.words.iter().map(String::as_str);
    let kind = words.next()?;
    if kind == "@include" {
        return words.next().is_none().then(|| {
            let what = "no file is named: whatever asks for this service is refused";
            (what.to_owned(), "name the file, or remove the line".to_owned())
        });
    }
    let bare = kind.strip_prefix('-').unwrap_or(kind).to_ascii_lowercase();
    if !KINDS.contains(&bare.as_str()) {
        let what = format!("\"{kind}\" is no type: PAM takes the line for an auth that fails");
        let remedy = match did_you_mean(&bare, &KINDS) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write one of {}", KINDS.join(", ")),
        };
        return Some((what, remedy));
    }
    let refused = match bare.as_str() {
        "session" => "no session is opened, root's neither",
        _ => "everybody is refused, root too",
    };
    let Some(control) = words.next() else {
        let what = format!("\"{kind}\" and nothing after it: {refused}");
        return Some((what, "complete the line, or remove it".to_owned()));
    };
    if control.starts_with('[') && !control.ends_with(']') {
        let what = format!("the [ is never closed: {refused}");
        return Some((what, "write the ] before the module's name".to_owned()));
    }
    let module = words.next();
    if !control.starts_with('[')
        && control.contains('=')
        && module.is_some_and(|word| word.contains('=') || word.ends_with(']'))
    {
        let what =
            format!("no [ before \"{control}\": PAM takes the next word for the module; {refused}");
        return Some((what, format!("write [{control} ...]")));
    }
    let is_include = ["include", "substack"].iter().any(|word| control.eq_ignore_ascii_case(word));
    if !is_include && let Some(mistake) = Control::parse(control).mistake {
        let what = format!("PAM takes every outcome of the module for a failure: {refused}");
        return Some((what, mistake));
    }
    module.is_none().then(|| {
        let what = format!("no module is named: {refused}");
        (what, "complete the line, or remove it".to_owned())
    })
}
