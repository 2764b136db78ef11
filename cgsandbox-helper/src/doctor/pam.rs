//! The one line in each service's PAM stack, and its place there.

use super::Finding;
use crate::pam_stack::{Action, Directories, LINE, Line, MODULE, Stack};
use crate::session::USER_MANAGER;
use crate::systemd;

pub(crate) const PAM: &str = "PAM";

/// Modules that undo a part of the sandbox, or break on it, when they come after our line.
const SPOILERS: [(&str, &str); 8] = [
    ("pam_namespace.so", "makes a mount namespace of its own"),
    ("pam_selinux.so", "relabels in the user's view of the files"),
    ("pam_systemd.so", "moves the login to a cgroup of its own"),
    ("pam_elogind.so", "moves the login to a cgroup of its own"),
    ("pam_cgroup.so", "moves the login to a cgroup of its own"),
    ("pam_cgfs.so", "moves the login to a cgroup of its own"),
    ("pam_limits.so", "sets other rlimits"),
    ("pam_slurm_adopt.so", "moves the login to a cgroup of its own"),
];

/// Services whose stacks are asked to check or change something, and run nothing for a user.
const RUN_NOTHING: [&str; 9] =
    ["other", "passwd", "chpasswd", "chfn", "chsh", "newusers", "polkit-1", "vlock", "groupmems"];

/// Looks at the stacks of `services`, to which the configuration applies, and of the others.
pub(super) fn look(
    directories: &Directories,
    services: &[String],
    module_is_there: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Its name may stand in the configuration of a host that has no use for it.
    let is_used = |name: &&String| name.as_str() != USER_MANAGER || systemd::is_manager();
    for service in services.iter().filter(is_used) {
        findings.extend(look_at(directories, service, module_is_there));
    }
    let others: Vec<String> =
        directories.services().into_iter().filter(|name| !services.contains(name)).collect();
    let has_line =
        |name: &&String| directories.stack(name).is_some_and(|stack| stack.line().is_some());
    let (with, without): (Vec<&String>, Vec<&String>) = others.iter().partition(has_line);
    if !with.is_empty() {
        let names = list(&with);
        let what =
            format!("the line is there for {names} too, but the configuration is not for them");
        let remedy = "add them to services in cgsandbox.toml, or remove the line there";
        findings.push(Finding::note(PAM, what).remedy(remedy));
    }
    let runs_programs = |name: &&String| {
        let is_part = name.starts_with("common-");
        let opens = directories.stack(name).is_some_and(|stack| !stack.session.is_empty());
        !is_part && opens && !RUN_NOTHING.contains(&name.as_str())
    };
    let outside: Vec<&String> = without.into_iter().filter(is_used).filter(runs_programs).collect();
    if !outside.is_empty() {
        let what = format!(
            "what a user runs through {} is in no sandbox, and lets the same user's sandbox see \
             all of /proc",
            list(&outside)
        );
        let remedy = "there too: the line, and its name in services in cgsandbox.toml";
        findings.push(Finding::note(PAM, what).remedy(remedy));
    }
    findings
}

pub(super) fn look_at(
    directories: &Directories,
    service: &str,
    module_is_there: bool,
) -> Vec<Finding> {
    let file = directories.0.first().map(|dir| dir.join(service)).unwrap_or_default();
    let file = file.display();
    if !directories.has(service) {
        let what = format!("there is no {file}: no login through {service} gets a sandbox");
        let remedy = format!("create it, or take \"{service}\" out of services in cgsandbox.toml");
        return vec![Finding::problem(PAM, what).remedy(remedy)];
    }
    let Some(stack) = directories.stack(service) else { return Vec::new() };
    let mut findings: Vec<Finding> = stack
        .broken
        .iter()
        .map(|mistake| Finding::problem(PAM, mistake.to_string()).remedy(&mistake.remedy))
        .collect();
    let strays = stack.strays.iter().map(|line| {
        let what = format!("{line}: for {} the module does nothing", line.kind);
        Finding::note(PAM, what).remedy("make it a session line, or remove it")
    });
    findings.extend(strays);
    let ours = stack.ours();
    let Some(&at) = ours.first() else {
        let what = format!(
            "{} has no session line of {MODULE}: nobody gets a sandbox",
            stack.file.display()
        );
        findings.push(Finding::problem(PAM, what).remedy("add as its last line:").line(LINE));
        return findings;
    };
    if let Some(&second) = ours.get(1) {
        let what =
            format!("the line is there twice: {} and {}", stack.session[at], stack.session[second]);
        findings.push(Finding::problem(PAM, what).remedy("remove one of them"));
    }
    let line = &stack.session[at];
    let doubts = [
        control(line, module_is_there),
        arguments(line),
        place(&stack, at),
        ways_past(&stack, at),
        alone(&stack),
    ];
    let doubts: Vec<Finding> = doubts.into_iter().flatten().collect();
    if doubts.is_empty() && findings.is_empty() {
        findings.push(Finding::ok(PAM, format!("{line} has the line, last in the session stack")));
    }
    findings.extend(doubts);
    findings
}

/// What the line makes of the module's outcomes.
fn control(line: &Line, module_is_there: bool) -> Vec<Finding> {
    let on = |code: &str| line.control.on(code);
    let text = &line.control.text;
    let remedy = "write the line as it ships, whatever arguments follow:";
    let mut findings = Vec::new();
    if !on("session_err").refuses() {
        let what = format!("{line}: with \"{text}\" a login without its sandbox goes on");
        findings.push(Finding::problem(PAM, what).remedy(remedy).line(LINE));
    }
    if on("ignore") != Action::Ignore {
        let what = format!("{line}: \"{text}\" refuses root and all who are to have no sandbox");
        findings.push(Finding::problem(PAM, what).remedy(remedy).line(LINE));
    }
    if on("module_unknown").refuses() {
        let what =
            format!("{line}: with \"{text}\" nobody, not even root, gets in without {MODULE}");
        findings.push(match module_is_there {
            true => Finding::note(PAM, what + ", should the package go").remedy(remedy).line(LINE),
            false => Finding::problem(PAM, what + ", which is not there").remedy(remedy).line(LINE),
        });
    }
    if on("success") != Action::Ok {
        let what = format!("{line}: with \"{text}\" success does not simply count as success");
        findings.push(Finding::note(PAM, what).remedy(remedy).line(LINE));
    }
    findings
}

/// The module refuses every login when it does not understand a word.
fn arguments(line: &Line) -> Vec<Finding> {
    let known = |word: &str| match word.split_once('=') {
        Some(("config" | "helper", path)) => path.starts_with('/'),
        Some(("timeout", time)) => milliseconds(time).is_some_and(|ms| (1..=60_000).contains(&ms)),
        _ => word == "debug",
    };
    let unknown = line.arguments.iter().filter(|word| !known(word));
    unknown
        .map(|word| {
            let what =
                format!("{line}: the module does not know \"{word}\" and refuses every login");
            let remedy = "it takes config=/PATH, helper=/PATH, timeout=1ms to 600s, and debug";
            Finding::problem(PAM, what).remedy(remedy)
        })
        .collect()
}

fn milliseconds(time: &str) -> Option<u32> {
    let time = time.strip_suffix('s')?;
    let (number, unit) = time.strip_suffix('m').map_or((time, 1000), |number| (number, 1));
    Some(u32::from(number.parse::<u16>().ok()?) * unit)
}

/// The line is to be the last one.
fn place(stack: &Stack, at: usize) -> Vec<Finding> {
    let (line, after) = (&stack.session[at], stack.session.get(at + 1..).unwrap_or_default());
    let after: Vec<&Line> = after.iter().filter(|line| !line.is_ours()).collect();
    // At the beginning of a session this one does nothing.
    let closes = |line: &Line| {
        line.module_name() == "pam_selinux.so" && line.arguments.iter().any(|word| word == "close")
    };
    let spoiler = |line: &&Line| {
        let found = SPOILERS.into_iter().find(|(name, _)| *name == line.module_name());
        found.filter(|_| !closes(line))
    };
    let remedy = "move the line of pam_cgsandbox.so to the end, after every @include";
    let spoiled: Vec<Finding> = after
        .iter()
        .filter_map(|other| Some((other, spoiler(other)?)))
        .map(|(other, (name, does))| {
            let what = format!("{other}: {name} comes after the line of {MODULE} and {does}");
            Finding::problem(PAM, what).remedy(remedy)
        })
        .collect();
    if !spoiled.is_empty() {
        return spoiled;
    }
    match after.first() {
        Some(next) => {
            let what = format!(
                "{line} is not the last session line: {} follows at {next}",
                next.module_name()
            );
            vec![Finding::note(PAM, what).remedy(remedy)]
        }
        None => Vec::new(),
    }
}

/// Lines before ours that end the stack with success, or jump over ours.
fn ways_past(stack: &Stack, at: usize) -> Vec<Finding> {
    let ours = &stack.session[at];
    let leads_past = |before: usize| {
        let line = &stack.session[before];
        // What ends a substack ends that alone, unless ours is in it too.
        let same_level = stack.session[before..=at].iter().all(|other| other.depth >= line.depth);
        let jump = |action: Action| match action {
            Action::Done => same_level,
            Action::Jump(over) => {
                let passed = &stack.session[before + 1..=at];
                same_level
                    && passed.iter().filter(|other| other.depth <= line.depth).count() <= over
            }
            _ => false,
        };
        let default = line.control.on("");
        [line.control.on("success"), line.control.on("ignore"), default].into_iter().any(jump)
    };
    let past = (0..at).filter(|before| leads_past(*before));
    past.map(|before| {
        let line = &stack.session[before];
        let what = format!(
            "{line}: {} with \"{}\" can lead past {ours}",
            line.module_name(),
            line.control.text
        );
        Finding::problem(PAM, what)
            .remedy("move the line of pam_cgsandbox.so before it, or mend the jump")
    })
    .collect()
}

/// libpam refuses where every module said "ignore", as ours does for root.
fn alone(stack: &Stack) -> Vec<Finding> {
    if stack.session.iter().any(|line| !line.is_ours()) {
        return Vec::new();
    }
    let what = format!("{} has no other session line: root would be refused", stack.file.display());
    vec![Finding::problem(PAM, what).remedy("add before it: session required pam_unix.so")]
}

fn list(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
