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
