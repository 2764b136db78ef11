//! A service's PAM stack as Linux-PAM reads it (pam.conf(5)): where our line is in it.
//!
//! Only to tell an administrator; nothing of a login depends on it.

mod control;

pub use control::{Action, Control};

use std::path::{Path, PathBuf};

/// What our module's file is called.
pub const MODULE: &str = "pam_cgsandbox.so";

/// How deep files may include each other (`PAM_SUBSTACK_MAX_LEVEL`).
const DEEPEST: usize = 16;

/// The service whose lines count for services that have none.
const DEFAULT_SERVICE: &str = "other";

/// Where the stacks are, first things first.
#[derive(Debug, Clone)]
pub struct Directories(pub Vec<PathBuf>);

/// What a service does when a session begins.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The file that it is in; that of the service `other` where it has none of its own.
    pub file: PathBuf,
    /// Its session lines in the order in which they are run, included ones in their places.
    pub session: Vec<Line>,
    /// Lines of our module for something else than sessions.
    pub strays: Vec<Line>,
    /// The files that it includes.
    pub included: Vec<PathBuf>,
    /// What Linux-PAM would stumble on.
    pub broken: Vec<String>,
}

/// One line that names a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file that it is in.
    pub file: PathBuf,
    /// Its number there, from 1.
    pub number: usize,
    /// `auth`, `account`, `password` or `session`.
    pub kind: String,
    /// What its outcome means.
    pub control: Control,
    /// The module as it is written: a name or a path.
    pub module: String,
    /// What the module is told.
    pub arguments: Vec<String>,
    /// In how many substacks it is.
    pub depth: usize,
}

/// `file:line`
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

impl Line {
    /// The module's file name.
    pub fn module_name(&self) -> &str {
        self.module.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a line of our module.
    pub fn is_ours(&self) -> bool {
        self.module_name() == MODULE
    }

    /// What follows `key=` among its arguments; the last one counts.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments.iter().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

impl Stack {
    /// Where in the session stack our line is; several where it is there several times.
    pub fn ours(&self) -> Vec<usize> {
        (0..self.session.len()).filter(|at| self.session[*at].is_ours()).collect()
    }

    /// Our line, the first of them.
    pub fn line(&self) -> Option<&Line> {
        self.session.iter().find(|line| line.is_ours())
    }
}

impl Directories {
    /// This host's.
    pub fn of_host() -> Self {
        let all = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d", "/usr/share/pam.d"];
        Directories(all.map(PathBuf::from).to_vec())
    }

    /// The stack of `service`; none where neither it nor `other` has a file.
    pub fn stack(&self, service: &str) -> Option<Stack> {
        let own = self.find(service).map(|file| self.read(file));
        match own {
            Some(stack) if !stack.session.is_empty() => Some(stack),
            own => {
                let mut stack = self.find(DEFAULT_SERVICE).map(|file| self.read(file));
                if let (Some(stack), Some(own)) = (&mut stack, &own) {
                    stack.strays.extend(own.strays.iter().cloned());
                    stack.broken.extend(own.broken.iter().cloned());
                }
                stack.or(own)
            }
        }
    }

    /// Whether `service` has a file of its own.
    pub fn has(&self, service: &str) -> bool {
        self.find(service).is_some()
    }

    /// Every service that has a file; what other files include is none.
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.0.iter().flat_map(|dir| crate::state::names_in(dir)).collect();
        names.sort_unstable();
        names.dedup();
        // Editors' backups and package managers' leftovers: no program asks for such.
        names.retain(|name| !name.starts_with('.') && !name.ends_with(['~', '#']));
        names.retain(|name| !name.contains(".dpkg-") && !name.contains(".rpm"));
        let stacks: Vec<Stack> =
            names.iter().filter_map(|name| Some(self.read(self.find(name)?))).collect();
        let is_included = |name: &String| {
            let file = self.find(name);
            stacks.iter().any(|stack| stack.included.iter().any(|path| Some(path) == file.as_ref()))
        };
        names.retain(|name| !is_included(name));
        names
    }

    fn find(&self, service: &str) -> Option<PathBuf> {
        // joining an absolute path gives that path: "@include /etc/x" means it so.
        self.0.iter().map(|dir| dir.join(service)).find(|path| path.is_file())
    }

    fn read(&self, file: PathBuf) -> Stack {
        let mut stack = Stack {
            file: file.clone(),
            session: Vec::new(),
            strays: Vec::new(),
            included: Vec::new(),
            broken: Vec::new(),
        };
        self.read_into(&mut stack, &file, None, 0, 0);
        stack
    }

    /// Adds the lines of `file`; only those of `kind` where an include names one.
    fn read_into(
        &self,
        stack: &mut Stack,
        file: &Path,
        kind: Option<&str>,
        level: usize,
        depth: usize,
    ) {
        let text = match std::fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                return stack.broken.push(format!("cannot read {}: {error}", file.display()));
            }
        };
        for (number, words) in logical_lines(&text) {
            let place = || format!("{}:{number}", file.display());
            let mut words = words.into_iter();
            let Some(first) = words.next() else { continue };
            let (own_kind, control) = match first.as_str() {
                // Debian's own: lines of every kind.
                "@include" => (None, "include".to_owned()),
                word => {
                    let word = word.trim_start_matches('-').to_ascii_lowercase();
                    let Some(control) = words.next() else {
                        stack.broken.push(format!("{}: \"{first}\" and nothing after it", place()));
                        continue;
                    };
                    (Some(word), control)
                }
            };
            let Some(target) = words.next() else {
                stack.broken.push(format!("{}: no module is named", place()));
                continue;
            };
            if let (Some(asked), Some(own)) = (kind, &own_kind)
                && asked != own
            {
                continue;
            }
            let is_substack = control.eq_ignore_ascii_case("substack");
            if is_substack || control.eq_ignore_ascii_case("include") {
                let kind = own_kind.as_deref().or(kind);
                match self.find(&target) {
                    Some(path) if level + 1 < DEEPEST => {
                        stack.included.push(path.clone());
                        let depth = depth + usize::from(is_substack);
                        self.read_into(stack, &path, kind, level + 1, depth);
                    }
                    Some(_) => {
                        stack
                            .broken
                            .push(format!("{}: files include each other in a circle", place()));
                    }
                    None => {
                        stack.broken.push(format!("{}: there is no {target} to include", place()))
                    }
                }
                continue;
            }
            let line = Line {
                file: file.to_owned(),
                number,
                kind: own_kind.unwrap_or_default(),
                control: Control::parse(&control),
                module: target,
                arguments: words.collect(),
                depth,
            };
            match line.kind.as_str() {
                "session" => stack.session.push(line),
                _ if line.is_ours() => stack.strays.push(line),
                _ => {}
            }
        }
    }
}

/// The words of each line, with the number of the physical line that it begins on. A
/// backslash at the end of a line joins the next one to it.
fn logical_lines(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let (line, goes_on) = match line.trim_end().strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (number, mut joined) = pending.take().unwrap_or((at + 1, String::new()));
        joined.push_str(line);
        joined.push(' ');
        match goes_on {
            true => pending = Some((number, joined)),
            false => lines.push((number, words(&joined))),
        }
    }
    lines.extend(pending.map(|(number, joined)| (number, words(&joined))));
    lines
}

/// Words are parted by blanks; one in brackets may hold blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = match rest.starts_with('[') {
            true => rest.find(']').map_or(rest.len(), |at| at + 1),
            false => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
pub(crate) mod tests;
