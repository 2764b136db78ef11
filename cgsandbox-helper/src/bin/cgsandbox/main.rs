//! `cgsandbox`: the administrator's command.

mod trial;

use cgsandbox::{command, service};

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        // Run by the command itself, to have libpam in a process of its own.
        Some(word) if word == service::TRIAL => trial::main(words),
        _ => command::main(),
    }
}
