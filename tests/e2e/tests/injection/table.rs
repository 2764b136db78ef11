//! Runs one injection after another, and writes what came of each.

use std::fmt::Write as _;
use std::path::PathBuf;

use cgsandbox_rig::patience;

use super::{Injection, Whose, host};

/// One system call that can be made to fail: the `nth` of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub nth: usize,
    /// Whether it is made before the program itself begins.
    pub is_loaders: bool,
}

/// Whether every call gets everything; else every few calls get one thing each.
pub fn all() -> bool {
    std::env::var("CGSANDBOX_FAULTS").is_ok_and(|which| which == "all")
}

/// All calls, or each `step`th of the program itself; on an emulated machine fewer.
fn chosen(mut calls: Vec<Call>, step: usize) -> Vec<Call> {
    if !all() {
        calls.retain(|call| !call.is_loaders);
        let step = step * patience(1.0).as_secs().max(1) as usize;
        calls = calls.into_iter().step_by(step).collect();
    }
    calls
}

/// Does one of `whats` to each `step`th call, and all of them to each call where that is asked for.
/// With `standing`, a session of the same user is there.
pub fn run_everywhere(name: &str, standing: bool, whose: Whose, whats: &[&str], step: usize) {
    let host = host();
    let injection = Injection::on(&host, standing);
    let calls = chosen(injection.calls(whose), step);
    run(name, injection, whose, &calls, whats);
}

/// The same for these calls.
pub fn run(name: &str, mut injection: Injection<'_>, whose: Whose, calls: &[Call], whats: &[&str]) {
    let (mut table, mut faults) = (String::new(), Vec::new());
    for (at, call) in calls.iter().enumerate() {
        let one = at % whats.len();
        let whats = if all() { whats } else { &whats[one..=one] };
        for what in whats {
            // on_error is a matter of what has failed, not of with what.
            let on_error = if at % 2 == 0 { "deny" } else { "allow" };
            let Call { name: syscall, nth, .. } = call;
            let outcome = injection.with(whose, syscall, &format!("{what}:when={nth}"), on_error);
            let ms = outcome.took.as_millis();
            let fault = outcome.faults.first().map_or("", String::as_str);
            let came_of_it = &outcome.what;
            let _ = writeln!(
                table,
                "{name}\t{syscall}\t{nth}\t{what}\t{on_error}\t{came_of_it}\t{ms}\t{fault}"
            );
            if !outcome.faults.is_empty() {
                let all = outcome.faults.join("\n  ");
                let fault = format!("{name}: {syscall} {nth} {what} {on_error}:\n  {all}");
                // All of them take an hour: the first is not to be waited for.
                println!("{fault}");
                faults.push(fault);
            }
        }
    }
    injection.end();
    let count = table.lines().count();
    write(name, &table);
    println!("injections {name}: {count}, {} faults", faults.len());
    assert!(count > 1, "{table}");
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// One table for all: each name replaces its own lines.
fn write(name: &str, lines: &str) {
    let head = "what\tsyscall\tnumber\tinjected\ton_error\toutcome\tmilliseconds\tfault\n";
    let Some(path) = path() else { return };
    let lock = std::fs::File::create(path.with_extension("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let ours = format!("{name}\t");
    let others = before.lines().filter(|line| !line.starts_with(&ours) && !head.starts_with(line));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, format!("{head}{others}{lines}")).unwrap();
}

/// In cargo's target directory, where the test runs in it: not on a virtual machine.
fn path() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent()?;
    directory.ends_with("deps").then(|| directory.join("../../injections.tsv"))
}
