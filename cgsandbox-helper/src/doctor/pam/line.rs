//! What a service's line makes of the module, and its place among the others.

use cgsandbox_protocol::Arguments;

use super::{PAM, Surroundings};
use crate::doctor::Finding;
use crate::pam_stack::{Action, LINE, Line, MODULE, Stack};

/// Modules that undo a part of the sandbox, or break on it, when they come after our line.
const SPOILERS: [(&str, &str); 10] = [
    ("pam_namespace.so", "makes a mount namespace of its own"),
    ("pam_mount.so", "mounts in the user's view alone, and cannot unmount there at logout"),
    ("pam_zfs_key.so", "mounts in the user's view alone, and cannot unmount there at logout"),
    ("pam_ecryptfs.so", "mounts in the user's view alone, and cannot unmount there at logout"),
    ("pam_selinux.so", "relabels in the user's view of the files"),
    ("pam_elogind.so", "moves the login to a cgroup of its own"),
    ("pam_cgroup.so", "moves the login to a cgroup of its own"),
    ("pam_cgfs.so", "moves the login to a cgroup of its own"),
    ("pam_limits.so", "replaces the rlimits of cgsandbox.toml"),
    ("pam_slurm_adopt.so", "moves the login to a cgroup of its own"),
];

/// What the line makes of the module's outcomes.
pub(super) fn control(line: &Line, around: &Surroundings) -> Vec<Finding> {
    let on = |code: &str| line.control.on(code);
    let text = &line.control.text;
    let remedy = "write the line as it ships, whatever arguments follow:";
    let mut findings = Vec::new();
    if !on("session_err").refuses() {
        let what = format!("{line}: with \"{text}\" a login without its sandbox goes on");
        findings.push(Finding::problem(PAM, what).remedy(remedy).line(LINE));
    }
    if on("ignore") != Action::Ignore {
        let what = format!("{line}: \"{text}\" refuses root and all users who get no sandbox");
        findings.push(Finding::problem(PAM, what).remedy(remedy).line(LINE));
    }
    if on("module_unknown").refuses() {
        let what =
            format!("{line}: with \"{text}\" nobody, not even root, gets in without {MODULE}");
        findings.push(match around.module {
            true => {
                Finding::note(PAM, what + " if the package is removed").remedy(remedy).line(LINE)
            }
            false => Finding::problem(PAM, what + ", which is not there").remedy(remedy).line(LINE),
        });
    }
    if on("success") != Action::Ok {
        let what = format!(
            "{line}: with \"{text}\" the module's success does not simply count as success"
        );
        findings.push(Finding::note(PAM, what).remedy(remedy).line(LINE));
    }
    findings
}

/// The module refuses every login when it does not understand a word.
pub(super) fn arguments(line: &Line) -> Vec<Finding> {
    let unknown = line.arguments.iter().filter(|word| Arguments::parse([word]).is_err());
    unknown
        .map(|word| {
            let what =
                format!("{line}: the module does not know \"{word}\" and refuses every login");
            Finding::problem(PAM, what).remedy(format!("it takes {}", Arguments::KNOWN))
        })
        .collect()
}

/// The line is to be the last one.
pub(super) fn place(stack: &Stack, at: usize, around: &Surroundings) -> Vec<Finding> {
    let (line, after) = (&stack.session[at], stack.session.get(at + 1..).unwrap_or_default());
    let after: Vec<&Line> = after.iter().filter(|line| !line.is_ours()).collect();
    // When a session is opened, this one does nothing.
    let closes = |line: &Line| {
        line.module_name() == "pam_selinux.so" && line.arguments.iter().any(|word| word == "close")
    };
    let is_idle = |line: &Line| match line.module_name() {
        "pam_selinux.so" => !around.selinux || closes(line),
        // It gives every process limits, PID 1's where limits.conf(5) has none.
        "pam_limits.so" => !around.rlimits,
        // Without logind it does nothing; with it, see below.
        "pam_systemd.so" => true,
        _ => false,
    };
    let spoiler = |line: &&Line| {
        let found = SPOILERS.into_iter().find(|(name, _)| *name == line.module_name());
        found.filter(|_| !is_idle(line))
    };
    let remedy = match line.is_common() {
        true => "put it last: pam-auth-update --disable cgsandbox, then cgsandbox enable",
        false => "move the line of pam_cgsandbox.so to the end, after every @include",
    };
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
    let logind = after.iter().find(|line| line.module_name() == "pam_systemd.so");
    match (logind.filter(|_| around.systemd), after.first()) {
        (Some(logind), _) => {
            let what = format!(
                "{line} comes before pam_systemd.so ({logind}): the user's limits hold, but a \
                 login loses its session_ limits, and the log what it used, when pam_systemd \
                 moves it on"
            );
            vec![Finding::note(PAM, what).remedy(remedy)]
        }
        (None, Some(next)) => {
            let what = format!(
                "{line} is not the last session line: {} follows at {next}",
                next.module_name()
            );
            vec![Finding::note(PAM, what).remedy(remedy)]
        }
        (None, None) => Vec::new(),
    }
}

/// Lines before ours that end the stack with success, or jump over ours.
pub(super) fn ways_past(stack: &Stack, at: usize) -> Vec<Finding> {
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
            .remedy("move the line of pam_cgsandbox.so before it, or correct the jump")
    })
    .collect()
}

/// libpam refuses where every module said "ignore", as ours does for root.
pub(super) fn alone(stack: &Stack) -> Vec<Finding> {
    if stack.session.iter().any(|line| !line.is_ours()) {
        return Vec::new();
    }
    let what = format!("{} has no other session line: root would be refused", stack.file.display());
    vec![Finding::problem(PAM, what).remedy("add before it: session required pam_unix.so")]
}
