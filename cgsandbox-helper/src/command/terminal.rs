//! Writing for people and for pipes.

use std::io::{self, IsTerminal, Write};

/// Whether to colour what goes to `stream`: on a terminal, unless `NO_COLOR` is set
/// (no-color.org) or the terminal has no colours.
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// To standard output. A reader that has gone away, as `head` does, is no error.
pub(super) fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// To standard error, likewise.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A heading, bold where standard output has colours.
pub(super) fn heading(text: &str) -> String {
    styled("1", text) + "\n"
}

/// `text` in the style of this SGR code, where standard output has colours.
pub(super) fn styled(code: &str, text: &str) -> String {
    match colours(&io::stdout()) {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// The width that running text is broken to.
const WIDTH: usize = 80;

/// `text` as it stands right of column `indent`, broken at blanks into lines that fit, each
/// further one indented as the first, and a newline.
pub(super) fn hanging(indent: usize, text: &str) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for word in text.replace(|c: char| c.is_control(), " ").split_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            lines += &format!("\n{}", " ".repeat(indent));
            column = indent;
        } else if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += width;
    }
    lines + "\n"
}

/// Columns as wide as their widest cell.
pub(super) struct Table {
    rows: Vec<(Vec<String>, bool)>,
    indent: usize,
}

impl Table {
    pub(super) fn new(titles: &[&str]) -> Self {
        let titles = titles.iter().map(|&title| title.to_owned()).collect();
        Table { rows: vec![(titles, false)], indent: 0 }
    }

    /// So many blanks before each line.
    pub(super) fn indented(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // What a user can choose, a host name say, must not steer the terminal.
        let plain = |cell: String| cell.replace(|c: char| c.is_control(), "?");
        self.rows.push((cells.map(plain).to_vec(), false));
    }

    /// Marks the last row.
    pub(super) fn warn_if(&mut self, warn: bool) {
        if let Some(last) = self.rows.last_mut() {
            last.1 = warn;
        }
    }

    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(|(cells, _)| cells.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (at, (cells, warn)) in self.rows.iter().enumerate() {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = padded.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            text += &" ".repeat(self.indent);
            text += &match (at, warn) {
                (0, _) => styled("1", line),
                (_, true) => styled("33", line),
                _ => line.to_owned(),
            };
            text.push('\n');
        }
        text
    }
}
