//! Completions for shells, made from the command's own grammar.

use clap_complete::{Shell, generate};

/// Each shell's file, by the name under which that shell looks for it.
pub const FILES: [(&str, Shell); 3] =
    [("cgsandbox.bash", Shell::Bash), ("_cgsandbox", Shell::Zsh), ("cgsandbox.fish", Shell::Fish)];

/// The directory that they are kept in, from the repository's top.
pub const DIRECTORY: &str = "packaging/completions";

/// What the file for `shell` is to hold.
pub fn of(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut cgsandbox::command::grammar(), "cgsandbox", &mut text);
    String::from_utf8(text).expect("names of ours are UTF-8")
}
