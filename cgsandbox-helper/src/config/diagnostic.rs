//! What is wrong in a configuration, and where: file, line, column, caret, remedy.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A configuration file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// Its absolute path, or as the administrator named it.
    pub path: Arc<str>,
    /// Its contents.
    pub text: Arc<str>,
    /// Whether it is a drop-in: those need no `version`.
    pub drop_in: bool,
}

/// Where in the configuration something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file's path.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: usize,
    /// Its first character in that line, from 1.
    pub column: usize,
    /// How many characters of that line it takes.
    pub width: usize,
}

/// `file:line`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A value of the configuration, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub origin: Origin,
}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Whether the configuration can be used in spite of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but hardly does what its author wants.
    Warning,
}

impl Severity {
    /// As it stands before the message.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it keeps the configuration from being used.
    pub severity: Severity,
    /// The file or directory it is about.
    pub file: Arc<str>,
    /// The place in that file; none when it is about the file itself.
    pub origin: Option<Origin>,
    /// What is wrong, in one line.
    pub message: String,
    /// What mends it, in one line.
    pub help: Option<String>,
    /// Another place that the message speaks of, and what is there.
    pub see: Option<Box<(Origin, &'static str)>>,
    /// Whether it kept from looking, as a lack of permission does.
    pub unread: bool,
}

impl Problem {
    /// An error at a place.
    pub fn at(origin: Origin, message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            file: Arc::clone(&origin.file),
            origin: Some(origin),
            message: shortened(message.into()),
            help: None,
            see: None,
            unread: false,
        }
    }

    /// An error of a file or directory as such.
    pub fn of(file: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            file: file.into(),
            origin: None,
            message: shortened(message.into()),
            help: None,
            see: None,
            unread: false,
        }
    }

    /// The same with a remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shortened(help.into()));
        self
    }

    /// The same, but for the remedy, where that is told apart.
    pub fn without_help(&self) -> Self {
        Problem { help: None, ..self.clone() }
    }

    /// The same with a second place.
    pub fn see(mut self, origin: Origin, what: &'static str) -> Self {
        self.see = Some(Box::new((origin, what)));
        self
    }

    /// The same, but the configuration can be used.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// As rustc prints its own; `texts` supplies the line for the caret.
    pub fn render(&self, texts: &[SourceText], colour: bool) -> String {
        let paint = Paint { colour };
        let name = match self.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
        };
        let mut out = format!("{name}{}\n", paint.bold(&format!(": {}", plain(&self.message))));
        let gutter = self.places().map(|(at, _)| at.line.to_string().len()).max().unwrap_or(1);
        let blank = " ".repeat(gutter);
        match &self.origin {
            None => out += &format!("{blank}{} {}\n", paint.blue("-->"), plain(&self.file)),
            Some(at) => {
                let place = format!("{at}:{}", at.column);
                out += &format!("{blank}{} {}\n", paint.blue("-->"), plain(&place));
            }
        }
        for (at, what) in self.places() {
            let elsewhere = self.origin.as_ref().is_none_or(|first| first.file != at.file);
            if elsewhere {
                out += &format!("{blank}{} {}\n", paint.blue(":::"), plain(&at.to_string()));
            }
            let Some(line) = line_of(texts, at) else { continue };
            out += &format!("{blank} {}\n", paint.blue("|"));
            let number = format!("{:>gutter$} |", at.line);
            let (excerpt, before, width) = excerpt(line, at);
            out += &format!("{} {}\n", paint.blue(&number), plain(&excerpt));
            let caret = format!("{}{what}", "^".repeat(width));
            let indent = " ".repeat(before);
            out += &format!("{blank} {} {indent}{}\n", paint.blue("|"), paint.red(&caret));
        }
        if let Some(help) = &self.help {
            out += &format!("{blank} {} {}\n", paint.blue("="), plain(&format!("help: {help}")));
        }
        out
    }

    fn places(&self) -> impl Iterator<Item = (&Origin, String)> {
        let first = self.origin.iter().map(|at| (at, String::new()));
        first.chain(self.see.iter().map(|see| (&see.0, format!(" {}", see.1))))
    }
}

/// `file:line:column: message; remedy`, for the log.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(at) => write!(f, "{}:{}: ", plain(&at.to_string()), at.column)?,
            None => write!(f, "{}: ", plain(&self.file))?,
        }
        f.write_str(&plain(&self.message))?;
        if let Some(see) = &self.see {
            write!(f, " ({}: {})", see.1, plain(&see.0.to_string()))?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {}", plain(help))?;
        }
        Ok(())
    }
}

/// Why a configuration cannot be used: every problem found, in the order of the files.
///
/// Displays as the first of them, for the log; [`Self::render`] shows all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
    texts: Vec<SourceText>,
}

impl ConfigErrors {
    pub(super) fn new(problems: Vec<Problem>, texts: Vec<SourceText>) -> Self {
        ConfigErrors { problems, texts }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Every problem found; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The files that could be read.
    pub fn texts(&self) -> &[SourceText] {
        &self.texts
    }

    /// All of them for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let all: Vec<String> =
            self.problems.iter().map(|problem| problem.render(&self.texts, colour)).collect();
        all.join("\n")
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [] => write!(f, "unusable configuration"),
            [only] => write!(f, "{only}"),
            [first, rest @ ..] => write!(f, "{first} (and {} more)", rest.len()),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Turns byte offsets into lines and columns.
pub(super) struct Locator<'a> {
    source: &'a SourceText,
    line_starts: Vec<usize>,
    /// The last place that was asked for, and its column: to count every line of a long
    /// list from its start would take a login's whole time.
    last: Cell<(usize, usize)>,
}

impl<'a> Locator<'a> {
    pub(super) fn of(source: &'a SourceText) -> Self {
        let ends = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Locator { source, line_starts, last: Cell::new((0, 1)) }
    }

    /// The place of a byte range; one that spans lines is shown to the end of its first.
    pub(super) fn origin(&self, span: Range<usize>) -> Origin {
        let text = &*self.source.text;
        let start = floor_to_char(text, span.start);
        let line = self.line_starts.partition_point(|&first| first <= start).max(1);
        let first = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let next = self.line_starts.get(line).map_or(text.len(), |next| next - 1);
        let end = floor_to_char(text, span.end).clamp(start, next.max(start));
        Origin {
            file: Arc::clone(&self.source.path),
            line,
            column: self.column(first, start),
            width: text[start..end].trim_end_matches('\r').chars().count(),
        }
    }

    /// The line that has the byte at `at`.
    pub(super) fn line_of(&self, at: usize) -> &'a str {
        let text = &*self.source.text;
        let at = floor_to_char(text, at);
        let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        text[start..].lines().next().unwrap_or_default()
    }

    fn column(&self, first: usize, start: usize) -> usize {
        let (at, column) = match self.last.get() {
            (at, column) if (first..=start).contains(&at) => (at, column),
            _ => (first, 1),
        };
        let column = column + self.source.text[at..start].chars().count();
        self.last.set((start, column));
        column
    }
}

fn floor_to_char(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// What `word` was probably meant to be.
pub(crate) fn did_you_mean<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Without case and separators first: they are what systemd's own spelling differs in.
    let squeeze = |word: &str| word.replace(['_', '-'], "").to_lowercase();
    let squeezed = squeeze(word);
    let close = |known: &str| strsim::jaro_winkler(&squeezed, &squeeze(known));
    known
        .iter()
        .map(|known| (close(known), *known))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn line_of<'a>(texts: &'a [SourceText], at: &Origin) -> Option<&'a str> {
    let source = texts.iter().find(|source| source.path == at.file)?;
    source.text.lines().nth(at.line.checked_sub(1)?)
}

/// Messages cite what is written, which may be a whole wrong file.
fn shortened(text: String) -> String {
    const LONGEST: usize = 1200;
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

/// What fits a terminal of `line`, and what of it is before and what is within `at`,
/// in characters.
fn excerpt(line: &str, at: &Origin) -> (String, usize, usize) {
    const WIDEST: usize = 90;
    const BEFORE: usize = 40;
    let before = at.column.saturating_sub(1);
    if line.chars().nth(WIDEST).is_none() {
        return (line.to_owned(), before, at.width.max(1));
    }
    let cut = before.saturating_sub(BEFORE);
    let mut part: String = line.chars().skip(cut).take(WIDEST).collect();
    if line.chars().nth(cut + WIDEST).is_some() {
        part.push_str("...");
    }
    let width = at.width.clamp(1, WIDEST - (before - cut));
    match cut {
        0 => (part, before, width),
        _ => (format!("...{part}"), before - cut + 3, width),
    }
}

/// One column per character, and nothing that a terminal would obey.
fn plain(text: &str) -> String {
    let harmless = |char: char| match char {
        '\t' => ' ',
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().map(harmless).collect()
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn red(&self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    fn blue(&self, text: &str) -> String {
        self.wrap("1;34", text)
    }

    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
