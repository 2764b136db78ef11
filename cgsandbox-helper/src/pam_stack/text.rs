//! The lines of a PAM file and their words, as Linux-PAM parts them.

/// One line as Linux-PAM reads it: a backslash at the end of a physical line joins the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    /// The number of its first physical line, from 1.
    pub number: usize,
    /// The number of its last one.
    pub last: usize,
    /// Its words without comments; none where it is blank.
    pub words: Vec<String>,
    /// Whether the file ends where a backslash promises more.
    pub is_cut: bool,
}

/// All lines of `text`, blank ones too.
pub(super) fn lines(text: &str) -> Vec<Logical> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    let mut last = 0;
    for (at, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
        last = at + 1;
        let line = line.split('#').next().unwrap_or_default();
        let (line, goes_on) = match line.trim_end_matches(is_blank).strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (number, mut joined) = pending.take().unwrap_or((last, String::new()));
        joined.push_str(line);
        joined.push(' ');
        match goes_on {
            true => pending = Some((number, joined)),
            false => lines.push(Logical { number, last, words: words(&joined), is_cut: false }),
        }
    }
    let cut = |(number, joined): (usize, String)| Logical {
        number,
        last,
        words: words(&joined),
        is_cut: true,
    };
    lines.extend(pending.map(cut));
    lines
}

/// Words are parted by blanks; one in brackets may hold blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let end = match rest.starts_with('[') {
            true => rest.find(']').map_or(rest.trim_end_matches(is_blank).len(), |at| at + 1),
            false => rest.find(is_blank).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word.to_owned());
        rest = after.trim_start_matches(is_blank);
    }
    words
}

/// A carriage return is none: it is a part of the word before it.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
