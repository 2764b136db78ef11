//! What is fuzzed, and the properties that hold for every input. The program that makes the inputs
//! is in `tests/fuzz`; `make fuzz` runs all of these for ten minutes each.
//!
//! ```text
//! config      configuration files     a policy, or errors that name lines
//! protocol    datagrams, PAM's words  nothing decodes that does not encode to the same again
//! pam_stack   PAM's files             our line goes in and out again, and nothing else changes
//! mountinfo   mountinfo, cgroup       what was found leads back to where it was mounted
//! records     /run/cgsandbox          what a crash cut short is no record
//! log         fields of the log       no value ends a line or adds a key
//! bpf         the BPF programs        the interpreter and the model agree (loopback/tests)
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

mod config;
mod log;
mod mountinfo;
mod pam_stack;
mod protocol;
mod records;

/// A message without what it cites, so that errors of one kind are one outcome.
fn kind_of(message: &str) -> String {
    let mut kind = String::new();
    let mut is_cited = false;
    for c in message.chars() {
        match c {
            '"' => is_cited = !is_cited,
            c if !is_cited && !c.is_ascii_digit() && c.is_ascii() => kind.push(c),
            _ => {}
        }
    }
    kind.truncate(60);
    kind
}
